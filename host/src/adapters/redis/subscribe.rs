//! Hearing other nodes: one connection for everything that this node listens to.

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use redis::{Client, Msg, RedisError, aio::PubSub};
use tokio::sync::watch;

use super::{
    Names, PATIENCE,
    link::Backoff,
    stopped,
    wire::{Body, Calls, Message},
};
use crate::{
    ids::NodeId,
    jobs::{
        bus::Bus,
        remote::{Ear, Nudge, Reach},
    },
};

/// How often a silent connection is tried.
const TRY: Duration = Duration::from_secs(2);

/// Hears what others tell.
pub(super) struct Listener {
    pub(super) client: Client,
    pub(super) names: Arc<Names>,
    pub(super) node: NodeId,
    pub(super) bus: Option<Bus>,
    pub(super) ear: Option<Ear>,
    pub(super) reach: watch::Sender<Reach>,
}

impl Listener {
    pub(super) async fn run(self, mut stop: watch::Receiver<bool>) {
        let work = async {
            let mut wait = Backoff::default();
            loop {
                match self.connect().await {
                    Ok(connection) => {
                        wait = Backoff::default();
                        // Whatever was told before this moment was not heard.
                        self.reach.send_modify(|reach| {
                            reach.hearing = true;
                            reach.losses += 1;
                        });
                        self.call(Calls {
                            work: true,
                            room: true,
                            plugins: true,
                            ..Calls::default()
                        });
                        self.hear(connection).await;
                        self.reach.send_modify(|reach| reach.hearing = false);
                    }
                    Err(error) => {
                        wait.told(|| tracing::warn!(%error, "other nodes cannot be heard"))
                    }
                }
                wait.pass().await;
            }
        };
        tokio::select! {
            () = work => {}
            () = stopped(&mut stop) => {}
        }
    }

    async fn connect(&self) -> Result<PubSub, RedisError> {
        let connect = async {
            let mut connection = self.client.get_async_pubsub().await?;
            if self.bus.is_some() {
                connection.subscribe(&self.names.events).await?;
            }
            if self.ear.is_some() {
                connection.subscribe(&self.names.nudges).await?;
            }
            Ok(connection)
        };
        tokio::time::timeout(PATIENCE, connect)
            .await
            .unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()))
    }

    /// Returns once the connection no longer works.
    async fn hear(&self, connection: PubSub) {
        let (mut sink, mut messages) = connection.split();
        loop {
            tokio::select! {
                message = messages.next() => match message {
                    Some(message) => self.take(&message),
                    None => return,
                },
                () = tokio::time::sleep(TRY) => {
                    // A connection whose other end vanished stays silent for ever.
                    let answer = tokio::time::timeout(PATIENCE, sink.ping::<redis::Value>()).await;
                    if !matches!(answer, Ok(Ok(_))) {
                        tracing::warn!("other nodes cannot be heard any more");
                        return;
                    }
                }
            }
        }
    }

    fn take(&self, message: &Msg) {
        let message = match Message::decode(message.get_payload_bytes()) {
            Ok(message) => message,
            Err(unclear) => {
                tracing::warn!(
                    error = &unclear as &dyn std::error::Error,
                    "a message of another node was not understood"
                );
                self.lost();
                return;
            }
        };
        if message.node == self.node {
            return;
        }
        match message.body {
            Body::Events(lines) => {
                if let Some(bus) = &self.bus {
                    for line in lines {
                        bus.arrived(line.into());
                    }
                }
            }
            Body::Lost {} => self.lost(),
            Body::Nudges(calls) => self.call(calls),
        }
    }

    fn lost(&self) {
        self.reach.send_modify(|reach| reach.losses += 1);
        self.call(Calls {
            work: true,
            ..Calls::default()
        });
    }

    fn call(&self, calls: Calls) {
        let Some(ear) = &self.ear else {
            return;
        };
        let all = (calls.cancel.into_iter().map(Nudge::Cancel))
            .chain(calls.look.into_iter().map(Nudge::Look))
            .chain(calls.work.then_some(Nudge::Work))
            .chain(calls.room.then_some(Nudge::Room))
            .chain(calls.plugins.then_some(Nudge::Plugins))
            .chain(calls.health.then_some(Nudge::Health));
        for nudge in all {
            ear(nudge);
        }
    }
}
