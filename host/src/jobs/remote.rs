//! The way to this installation's other nodes. It is only speed: what gets lost on it is
//! found in the database.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use super::model::Event;
use crate::ids::JobId;

/// Tells other nodes. Nothing here waits or fails; whatever cannot be told is dropped, and
/// [`Reach`] says so.
pub trait Remote: Send + Sync + 'static {
    /// Tells events that are durable, in the order of the log.
    fn publish(&self, events: &[Arc<Event>]);

    /// Calls the workers of other nodes.
    fn nudge(&self, nudge: Nudge);

    /// How well things are told, as it changes.
    fn reach(&self) -> watch::Receiver<Reach>;
}

/// How well nodes hear each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reach {
    /// What this node tells reaches the others, as far as is known.
    pub telling: bool,
    /// What others tell reaches this node, as far as is known.
    pub hearing: bool,
    /// Grows whenever something may have been lost, on whichever side.
    pub losses: u64,
}

impl Reach {
    /// Does everything get through?
    #[must_use]
    pub fn is_whole(self) -> bool {
        self.telling && self.hearing
    }
}

/// What workers are told, so that they need not look all the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nudge {
    /// There is something new to claim.
    Work,
    /// Somebody asked this job to stop.
    Cancel(JobId),
    /// A vendor's callback says that this job's task has news.
    Look(JobId),
    /// One of a vendor's places came free on another node.
    Room,
    /// Installed plugins or the providers' settings changed. For every node, with a worker or
    /// without.
    Plugins,
    /// A provider is left alone from now on, or no more. For every node.
    Health,
}

/// What hears calls of other nodes. Must not wait.
pub type Ear = Arc<dyn Fn(Nudge) + Send + Sync>;

/// Calls workers: this node's, if it has one, and those of other nodes. Without any the
/// workers' own sweeps find the same.
#[derive(Clone, Default)]
pub struct Nudges {
    here: Option<mpsc::UnboundedSender<Nudge>>,
    elsewhere: Option<Arc<dyn Remote>>,
}

impl Nudges {
    /// To whom nudges go.
    #[must_use]
    pub fn new(
        here: Option<mpsc::UnboundedSender<Nudge>>,
        elsewhere: Option<Arc<dyn Remote>>,
    ) -> Self {
        Self { here, elsewhere }
    }

    /// Calls everybody.
    pub fn send(&self, nudge: Nudge) {
        if let Some(here) = &self.here {
            // Fails only while the worker goes away; the next one looks for itself.
            let _ = here.send(nudge);
        }
        if let Some(elsewhere) = &self.elsewhere {
            elsewhere.nudge(nudge);
        }
    }
}
