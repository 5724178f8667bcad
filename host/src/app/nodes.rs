//! Wiring of what several nodes do together; nothing of it with an embedded database.

use std::{sync::Arc, time::Duration};

use secrecy::ExposeSecret;
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use crate::{
    adapters::{
        redis::{self, Redis},
        sql::Database,
    },
    config::{Role, Settings},
    ids::NodeId,
    jobs::{
        bus::Bus,
        catch_up::catch_up,
        remote::{Nudge, Nudges, Reach},
    },
    providers::Places,
};

/// How much longer than a worker's lease a place at a vendor lasts: time for the others'
/// sweeps, and to read what they claimed.
const BEYOND_LEASE: Duration = Duration::from_secs(15);

/// This node's ties to others.
pub(super) struct Nodes {
    /// Live events, of other nodes too.
    pub(super) bus: Bus,
    /// Every worker's ear.
    pub(super) nudges: Nudges,
    /// What this node's worker listens to.
    pub(super) inbox: mpsc::UnboundedReceiver<Nudge>,
    /// The vendors' places, where they are shared.
    pub(super) places: Option<Arc<dyn Places>>,
    pub(super) ties: Ties,
}

/// What ends with this node.
pub(super) struct Ties {
    redis: Option<Redis>,
    /// Stays at nothing where there is no Redis.
    reach: watch::Sender<Reach>,
    heard: Option<watch::Receiver<Reach>>,
    catching_up: Option<JoinHandle<()>>,
}

impl Nodes {
    /// Begins to look for others; does not wait for them.
    pub(super) fn start(
        settings: &Settings,
        database: &Database,
        node: NodeId,
    ) -> anyhow::Result<Self> {
        let role = settings.server.role;
        let (sender, inbox) = mpsc::unbounded_channel();
        let here = role.works().then_some(sender);
        let mut redis = open(settings, node)?;
        let remote = redis.as_ref().map(Redis::remote);
        let bus = match &remote {
            Some(remote) => Bus::with_remote(Arc::clone(remote)),
            None => Bus::default(),
        };
        let mut places = None;
        if let Some(redis) = &mut redis {
            redis.listen(role.answers().then(|| bus.clone()), here.clone());
            places = role.works().then(|| redis.places());
        }
        let heard = remote.as_ref().map(|remote| remote.reach());
        let (reach, alone) = watch::channel(Reach::default());
        let catching_up = (role.answers() && !database.is_embedded()).then(|| {
            let reach = heard.clone().unwrap_or(alone);
            tokio::spawn(catch_up(database.clone(), bus.clone(), reach))
        });
        Ok(Self {
            bus,
            nudges: Nudges::new(here, remote),
            inbox,
            places,
            ties: Ties {
                redis,
                reach,
                heard,
                catching_up,
            },
        })
    }
}

impl Ties {
    /// How well nodes hear each other; nothing where they do not try.
    pub(super) fn reach(&self) -> Option<watch::Receiver<Reach>> {
        self.heard.clone()
    }

    /// Tells others what is still to be told.
    pub(super) async fn close(self) {
        if let Some(task) = self.catching_up {
            task.abort();
        }
        drop(self.reach);
        if let Some(redis) = self.redis {
            redis.close().await;
        }
    }
}

fn open(settings: &Settings, node: NodeId) -> anyhow::Result<Option<Redis>> {
    if settings.redis.url.expose_secret().is_empty() {
        if settings.server.role != Role::All {
            tracing::warn!(
                "without redis.url nodes find each other's work by looking, every second or so"
            );
        }
        return Ok(None);
    }
    let options = redis::Options {
        url: settings.redis.url.clone(),
        prefix: settings.redis.prefix.clone(),
        node,
        place_life: Duration::from_secs(settings.jobs.lease_seconds) + BEYOND_LEASE,
    };
    Ok(Some(Redis::open(&options)?))
}
