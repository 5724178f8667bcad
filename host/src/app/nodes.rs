//! Wiring of what several nodes do together; nothing of it with an embedded database.

use std::{sync::Arc, time::Duration};

use genvid_runtime::Pace;
use secrecy::ExposeSecret;
use tokio::{
    sync::{Notify, mpsc, watch},
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
        remote::{Ear, Nudge, Nudges, Reach},
    },
    providers::Places,
    rates::Counter,
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
    /// Notified when somebody tells that what is installed has changed.
    pub(super) installed: Arc<Notify>,
    /// Notified when somebody tells that a provider does worse or better.
    pub(super) health: Arc<Notify>,
    /// Tells others so.
    pub(super) tell_health: Box<dyn Fn() + Send + Sync>,
    /// The vendors' places, where they are shared.
    pub(super) places: Option<Arc<dyn Places>>,
    /// The vendors' requests per second, likewise.
    pub(super) pace: Option<Arc<dyn Pace>>,
    /// What users may do how often, likewise.
    pub(super) rates: Option<Arc<dyn Counter>>,
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
        let installed = Arc::new(Notify::new());
        let health = Arc::new(Notify::new());
        let mut redis = open(settings, node)?;
        let remote = redis.as_ref().map(Redis::remote);
        let bus = match &remote {
            Some(remote) => Bus::with_remote(Arc::clone(remote)),
            None => Bus::default(),
        };
        let mut places = None;
        if let Some(redis) = &mut redis {
            let (worker, plugins) = (here.clone(), Arc::clone(&installed));
            let circuits = Arc::clone(&health);
            let ear: Ear = Arc::new(move |nudge| match (nudge, &worker) {
                (Nudge::Plugins, _) => plugins.notify_one(),
                (Nudge::Health, _) => circuits.notify_one(),
                (nudge, Some(worker)) => {
                    // Fails only while the worker goes away.
                    let _ = worker.send(nudge);
                }
                (_, None) => {}
            });
            redis.listen(role.answers().then(|| bus.clone()), Some(ear));
            places = role.works().then(|| redis.places());
        }
        let heard = remote.as_ref().map(|remote| remote.reach());
        let (reach, alone) = watch::channel(Reach::default());
        // With an embedded database too: operators' commands write events beside this process.
        let catching_up = role.answers().then(|| {
            let reach = heard.clone().unwrap_or(alone);
            tokio::spawn(catch_up(database.clone(), bus.clone(), reach))
        });
        let elsewhere = remote.clone();
        Ok(Self {
            bus,
            nudges: Nudges::new(here, remote),
            inbox,
            installed,
            health,
            tell_health: Box::new(move || {
                if let Some(remote) = &elsewhere {
                    remote.nudge(Nudge::Health);
                }
            }),
            places,
            pace: redis.as_ref().map(Redis::pace),
            rates: redis.as_ref().map(Redis::rates),
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
    Ok(Some(Redis::open(&options(settings, node))?))
}

fn options(settings: &Settings, node: NodeId) -> redis::Options {
    redis::Options {
        url: settings.redis.url.clone(),
        prefix: settings.redis.prefix.clone(),
        node,
        place_life: Duration::from_secs(settings.jobs.lease_seconds) + BEYOND_LEASE,
    }
}

/// A tie to Redis for a command that calls vendors beside running nodes: they share the vendors'
/// requests per second.
pub(super) fn beside(settings: &Settings) -> anyhow::Result<Option<Redis>> {
    if settings.redis.url.expose_secret().is_empty() {
        return Ok(None);
    }
    Ok(Some(Redis::open(&options(settings, NodeId::generate()))?))
}

/// Tells every running node that what is installed has changed, if nodes have a Redis.
///
/// # Errors
/// When it is not told within `patience`.
pub async fn call_nodes(settings: &Settings, patience: Duration) -> anyhow::Result<()> {
    if settings.redis.url.expose_secret().is_empty() {
        return Ok(());
    }
    let redis = Redis::open(&options(settings, NodeId::generate()))?;
    let remote = redis.remote();
    let mut reach = remote.reach();
    let told = tokio::time::timeout(patience, reach.wait_for(|reach| reach.telling)).await;
    if matches!(told, Ok(Ok(_))) {
        remote.nudge(Nudge::Plugins);
    }
    redis.close().await;
    anyhow::ensure!(matches!(told, Ok(Ok(_))), "Redis does not answer");
    Ok(())
}
