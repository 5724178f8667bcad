//! Telling other nodes: a bounded queue and one task, so that whoever tells never waits.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use redis::{RedisError, aio::MultiplexedConnection};
use tokio::sync::{mpsc, watch};

use super::{
    Names,
    link::Link,
    stopped,
    wire::{Body, Calls, Line, MAX_EVENTS, Message},
};
use crate::{
    ids::NodeId,
    jobs::{model::Event, remote::Nudge},
};

/// Things to tell that may wait.
const QUEUE: usize = 4_096;
/// Things that go out together.
const TOGETHER: usize = 256;

/// Something to tell.
pub(super) enum Outgoing {
    Events(Vec<Arc<Event>>),
    Nudge(Nudge),
}

/// Where to put what is to be told.
#[derive(Clone)]
pub(super) struct Outbox {
    queue: mpsc::Sender<Outgoing>,
    /// Events were dropped since others were last told so.
    lost: Arc<AtomicBool>,
}

impl Outbox {
    pub(super) fn put(&self, outgoing: Outgoing) {
        if let Err(error) = self.queue.try_send(outgoing) {
            // Nudges are repeated by the sweeps; of events others have to know.
            if let Outgoing::Events(_) = error.into_inner() {
                self.lost.store(true, Ordering::Relaxed);
            }
        }
    }
}

pub(super) fn channel(link: Link, names: Arc<Names>, node: NodeId) -> (Outbox, Publisher) {
    let (sender, queue) = mpsc::channel(QUEUE);
    let lost = Arc::new(AtomicBool::new(false));
    let publisher = Publisher {
        link,
        names,
        node,
        queue,
        lost: Arc::clone(&lost),
    };
    (
        Outbox {
            queue: sender,
            lost,
        },
        publisher,
    )
}

/// Tells what is in the queue.
pub(super) struct Publisher {
    link: Link,
    names: Arc<Names>,
    node: NodeId,
    queue: mpsc::Receiver<Outgoing>,
    lost: Arc<AtomicBool>,
}

impl Publisher {
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut batch = Vec::with_capacity(TOGETHER);
        loop {
            tokio::select! {
                biased;
                count = self.queue.recv_many(&mut batch, TOGETHER) => {
                    if count == 0 {
                        return;
                    }
                }
                // With a new connection others can be told what they missed.
                () = self.link.changed() => {}
                () = stopped(&mut stop) => return,
            }
            self.tell(std::mem::take(&mut batch)).await;
        }
    }

    async fn tell(&mut self, batch: Vec<Outgoing>) {
        let mut lines = Vec::new();
        let mut calls = Calls::default();
        for outgoing in batch {
            match outgoing {
                Outgoing::Events(events) => {
                    lines.extend(events.iter().map(|event| Line::from(&**event)));
                }
                Outgoing::Nudge(Nudge::Work) => calls.work = true,
                Outgoing::Nudge(Nudge::Room) => calls.room = true,
                Outgoing::Nudge(Nudge::Plugins) => calls.plugins = true,
                Outgoing::Nudge(Nudge::Health) => calls.health = true,
                Outgoing::Nudge(Nudge::Cancel(job)) => add(&mut calls.cancel, job),
                Outgoing::Nudge(Nudge::Look(job)) => add(&mut calls.look, job),
            }
        }
        let has_events = !lines.is_empty();
        let Some(mut connection) = self.link.connection() else {
            if has_events {
                self.lost.store(true, Ordering::Relaxed);
            }
            return;
        };
        let lost = self.lost.swap(false, Ordering::Relaxed);
        if !lost && !has_events && calls == Calls::default() {
            return;
        }
        if let Err(error) = self.send(&mut connection, lost, lines, calls).await {
            self.link.failed("pass messages on", &error);
            if lost || has_events {
                self.lost.store(true, Ordering::Relaxed);
            }
        }
    }

    async fn send(
        &self,
        connection: &mut MultiplexedConnection,
        lost: bool,
        lines: Vec<Line>,
        calls: Calls,
    ) -> Result<(), RedisError> {
        let mut pipeline = redis::pipe();
        let mut publish = |channel: &str, body: Body| match Message::new(self.node, body).encode() {
            Ok(bytes) => {
                pipeline.publish(channel, bytes).ignore();
            }
            // Plain data with text keys always encodes; and if not, others look for themselves.
            Err(error) => tracing::error!(%error, "a message could not be written"),
        };
        if lost {
            publish(&self.names.events, Body::Lost {});
        }
        let mut some = Vec::new();
        let mut size = 0;
        for line in lines {
            size += line.size();
            some.push(line);
            if some.len() >= MAX_EVENTS.0 || size >= MAX_EVENTS.1 {
                publish(&self.names.events, Body::Events(std::mem::take(&mut some)));
                size = 0;
            }
        }
        if !some.is_empty() {
            publish(&self.names.events, Body::Events(some));
        }
        if calls != Calls::default() {
            publish(&self.names.nudges, Body::Nudges(calls));
        }
        pipeline.query_async::<()>(connection).await
    }
}

fn add<T: PartialEq>(list: &mut Vec<T>, item: T) {
    if !list.contains(&item) {
        list.push(item);
    }
}
