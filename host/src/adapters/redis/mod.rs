//! The only code that knows redis: what makes several nodes quick together. One connection
//! for commands and one for what is heard, whatever the number of jobs and subscribers.
//!
//! Nothing here is the truth. Redis may be stopped, restarted or emptied at any time: events
//! are read from the database (`jobs::catch_up`), workers sweep by themselves, and the
//! vendors' places are counted anew.

mod link;
mod pace;
mod places;
mod publish;
mod rates;
mod subscribe;
mod wire;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use genvid_runtime::Pace;
use redis::Client;
use secrecy::{ExposeSecret, SecretString};
use tokio::{sync::watch, task::JoinSet};

use crate::{
    ids::NodeId,
    jobs::{
        bus::Bus,
        model::Event,
        remote::{Ear, Nudge, Reach, Remote},
    },
    providers::Places,
    rates::Counter,
};
use link::Link;
use publish::{Outbox, Outgoing};

/// How long an attempt to connect may take, and how long an answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// First and longest wait before the next attempt to connect.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// How to reach Redis, and as whom.
#[derive(Clone)]
pub struct Options {
    /// `redis://`, `rediss://` (TLS) or `unix://`, as the crate reads them.
    pub url: SecretString,
    /// Before every key and channel: installations that share a Redis have different ones.
    pub prefix: String,
    /// This node.
    pub node: NodeId,
    /// How long a place at a vendor lasts that nobody keeps alive. Longer than a worker's
    /// lease: whoever takes a step over takes its place over too.
    pub place_life: Duration,
}

/// The address cannot be used. Never holds the address, which may hold a password.
#[derive(Debug, thiserror::Error)]
#[error("redis.url cannot be used: {0}")]
pub struct BadAddress(String);

/// This node's way to Redis. Works in the background until [`Redis::close`].
pub struct Redis {
    client: Client,
    names: Arc<Names>,
    node: NodeId,
    place_life: Duration,
    link: Link,
    reach: watch::Sender<Reach>,
    outbox: Outbox,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

/// Keys and channels.
struct Names {
    prefix: String,
    events: String,
    nudges: String,
}

impl Names {
    fn new(prefix: &str) -> Self {
        // In braces: a cluster keeps what a script touches together in one of its nodes.
        let prefix = format!("{{{prefix}}}");
        Self {
            events: format!("{prefix}:events"),
            nudges: format!("{prefix}:nudges"),
            prefix,
        }
    }

    fn key(&self, name: &str) -> String {
        format!("{}:{name}", self.prefix)
    }

    fn of_provider(&self, provider: &str, name: &str) -> String {
        format!("{}:{provider}:{name}", self.prefix)
    }
}

impl Redis {
    /// Begins to connect; does not wait until it did. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the address is none.
    pub fn open(options: &Options) -> Result<Self, BadAddress> {
        let client = Client::open(options.url.expose_secret())
            .map_err(|error| BadAddress(error.category().to_owned()))?;
        let names = Arc::new(Names::new(&options.prefix));
        let (reach, _) = watch::channel(Reach::default());
        let (stop, stopping) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let (link, keeper) = Link::new(client.clone(), reach.clone());
        tasks.spawn(keeper.run(stopping.clone()));
        let (outbox, publisher) = publish::channel(link.clone(), Arc::clone(&names), options.node);
        tasks.spawn(publisher.run(stopping));
        Ok(Self {
            client,
            names,
            node: options.node,
            place_life: options.place_life,
            link,
            reach,
            outbox,
            stop,
            tasks,
        })
    }

    /// What tells other nodes.
    #[must_use]
    pub fn remote(&self) -> Arc<dyn Remote> {
        Arc::new(Telling {
            outbox: self.outbox.clone(),
            reach: self.reach.clone(),
        })
    }

    /// Hands what other nodes tell to the subscribers of `bus`, and their calls to `ear`, as
    /// far as there are any.
    pub fn listen(&mut self, bus: Option<Bus>, ear: Option<Ear>) {
        let listener = subscribe::Listener {
            client: self.client.clone(),
            names: Arc::clone(&self.names),
            node: self.node,
            bus,
            ear,
            reach: self.reach.clone(),
        };
        self.tasks.spawn(listener.run(self.stop.subscribe()));
    }

    /// Counts places at vendors together with other nodes, as one that takes some.
    pub fn places(&mut self) -> Arc<dyn Places> {
        let (places, counter) = places::channel(places::Parts {
            link: self.link.clone(),
            names: Arc::clone(&self.names),
            node: self.node,
            life: self.place_life,
        });
        self.tasks.spawn(counter.run(self.stop.subscribe()));
        Arc::new(places)
    }

    /// Counts requests at vendors together with other nodes.
    #[must_use]
    pub fn pace(&self) -> Arc<dyn Pace> {
        Arc::new(pace::SharedPace {
            link: self.link.clone(),
            names: Arc::clone(&self.names),
            node: self.node,
            callers: Mutex::default(),
        })
    }

    /// Counts what is limited together with other nodes.
    #[must_use]
    pub fn rates(&self) -> Arc<dyn Counter> {
        Arc::new(rates::SharedRates {
            link: self.link.clone(),
            names: Arc::clone(&self.names),
        })
    }

    /// Tells what is still to be told, gives back what is still to be given back, and ends.
    pub async fn close(mut self) {
        self.stop.send_replace(true);
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(3 * PATIENCE, all).await.is_err() {
            tracing::warn!(
                "Redis did not take the last messages; other nodes find out by themselves"
            );
        }
    }
}

/// Until this node stops, or its owner is gone, which is a stop too.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

struct Telling {
    outbox: Outbox,
    reach: watch::Sender<Reach>,
}

impl Remote for Telling {
    fn publish(&self, events: &[Arc<Event>]) {
        self.outbox.put(Outgoing::Events(events.to_vec()));
    }

    fn nudge(&self, nudge: Nudge) {
        self.outbox.put(Outgoing::Nudge(nudge));
    }

    fn reach(&self) -> watch::Receiver<Reach> {
        self.reach.subscribe()
    }
}
