//! Live events in this process. The log in the database is the truth; this is only what
//! makes it quick: a subscriber that falls behind is told so and reads the log again.

use std::sync::Arc;

use dashmap::DashMap;
use tokio::sync::broadcast;

use super::model::Event;
use crate::ids::{JobId, UserId};

/// Events that a slow subscriber may be behind before it has to read the log again.
const BACKLOG: usize = 64;

/// Hands committed events to whoever listens.
#[derive(Clone, Default)]
pub struct Bus {
    topics: Arc<Topics>,
}

#[derive(Default)]
struct Topics {
    jobs: DashMap<JobId, broadcast::Sender<Arc<Event>>>,
    owners: DashMap<UserId, broadcast::Sender<Arc<Event>>>,
}

impl Bus {
    /// Tells events that are durable, in the order of the log.
    pub fn publish(&self, events: Vec<Event>) {
        for event in events {
            let event = Arc::new(event);
            tell(&self.topics.jobs, event.job, &event);
            tell(&self.topics.owners, event.owner, &event);
        }
    }

    /// Live events of one job, from here on.
    #[must_use]
    pub fn listen_job(&self, job: JobId) -> broadcast::Receiver<Arc<Event>> {
        listen(&self.topics.jobs, job)
    }

    /// Live events of a user's jobs, from here on.
    #[must_use]
    pub fn listen_owner(&self, owner: UserId) -> broadcast::Receiver<Arc<Event>> {
        listen(&self.topics.owners, owner)
    }
}

fn listen<K: std::hash::Hash + Eq>(
    topics: &DashMap<K, broadcast::Sender<Arc<Event>>>,
    key: K,
) -> broadcast::Receiver<Arc<Event>> {
    topics
        .entry(key)
        .or_insert_with(|| broadcast::channel(BACKLOG).0)
        .subscribe()
}

fn tell<K: std::hash::Hash + Eq>(
    topics: &DashMap<K, broadcast::Sender<Arc<Event>>>,
    key: K,
    event: &Arc<Event>,
) {
    let unheard = topics
        .get(&key)
        .is_some_and(|sender| sender.send(Arc::clone(event)).is_err());
    if unheard {
        // The last listener left: forget the topic, unless one came meanwhile.
        topics.remove_if(&key, |_, sender| sender.receiver_count() == 0);
    }
}
