//! Live events: of this process, and of other nodes where there are any. The log in the
//! database is the truth; this is only what makes it quick: a subscriber that falls behind,
//! or that something may have passed by, reads the log again.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use dashmap::DashMap;
use tokio::sync::broadcast;

use super::{model::Event, remote::Remote};
use crate::ids::{JobId, UserId};

/// Events of one job that a slow subscriber may be behind before it has to read the log again.
const BACKLOG_OF_JOB: usize = 64;
/// The same of all jobs of a user: several at once tell more than a burst of a hundred, and a
/// thousand subscribers that read the log cost more than the places for its events.
const BACKLOG_OF_OWNER: usize = 1_024;

/// What a subscriber hears.
#[derive(Debug, Clone)]
pub enum Live {
    /// A durable event.
    Event(Arc<Event>),
    /// The log goes up to this number (of a job) or position (of a user); its events did not
    /// come this way.
    Reaches(i64),
}

/// Hands committed events to whoever listens.
#[derive(Clone, Default)]
pub struct Bus {
    topics: Arc<Topics>,
    remote: Option<Arc<dyn Remote>>,
}

#[derive(Default)]
struct Topics {
    jobs: DashMap<JobId, Topic>,
    owners: DashMap<UserId, Topic>,
}

struct Topic {
    sender: broadcast::Sender<Live>,
    /// The highest number that was told; 0 when none was.
    told: AtomicI64,
}

impl Bus {
    /// One that tells other nodes too.
    #[must_use]
    pub fn with_remote(remote: Arc<dyn Remote>) -> Self {
        Self {
            topics: Arc::default(),
            remote: Some(remote),
        }
    }

    /// Tells events that this node made durable, in the order of the log.
    pub fn publish(&self, events: Vec<Event>) {
        let events: Vec<_> = events.into_iter().map(Arc::new).collect();
        for event in &events {
            self.tell(event);
        }
        if let Some(remote) = &self.remote
            && !events.is_empty()
        {
            remote.publish(&events);
        }
    }

    /// Tells an event that another node made durable.
    pub fn arrived(&self, event: Event) {
        self.tell(&Arc::new(event));
    }

    /// Live events of one job, from here on.
    #[must_use]
    pub fn listen_job(&self, job: JobId) -> broadcast::Receiver<Live> {
        listen(&self.topics.jobs, job, BACKLOG_OF_JOB)
    }

    /// Live events of a user's jobs, from here on.
    #[must_use]
    pub fn listen_owner(&self, owner: UserId) -> broadcast::Receiver<Live> {
        listen(&self.topics.owners, owner, BACKLOG_OF_OWNER)
    }

    /// The jobs that somebody listens to.
    #[must_use]
    pub fn heard_jobs(&self) -> Vec<JobId> {
        heard(&self.topics.jobs)
    }

    /// The users whose jobs somebody listens to.
    #[must_use]
    pub fn heard_owners(&self) -> Vec<UserId> {
        heard(&self.topics.owners)
    }

    /// A job's log goes up to `seq`: whoever has heard less reads it.
    pub fn job_reaches(&self, job: JobId, seq: i64) {
        reaches(&self.topics.jobs, job, seq);
    }

    /// The log of a user's jobs goes up to `position`: whoever has heard less reads it.
    pub fn owner_reaches(&self, owner: UserId, position: i64) {
        reaches(&self.topics.owners, owner, position);
    }

    fn tell(&self, event: &Arc<Event>) {
        let live = || Live::Event(Arc::clone(event));
        send(&self.topics.jobs, event.job, event.seq, live);
        send(&self.topics.owners, event.owner, event.position, live);
    }
}

fn listen<K: std::hash::Hash + Eq>(
    topics: &DashMap<K, Topic>,
    key: K,
    backlog: usize,
) -> broadcast::Receiver<Live> {
    topics
        .entry(key)
        .or_insert_with(|| Topic {
            sender: broadcast::channel(backlog).0,
            told: AtomicI64::new(0),
        })
        .sender
        .subscribe()
}

/// Topics with listeners; the others are forgotten on the way.
fn heard<K: std::hash::Hash + Eq + Copy>(topics: &DashMap<K, Topic>) -> Vec<K> {
    topics.retain(|_, topic| topic.sender.receiver_count() > 0);
    topics.iter().map(|entry| *entry.key()).collect()
}

fn reaches<K: std::hash::Hash + Eq>(topics: &DashMap<K, Topic>, key: K, number: i64) {
    let news = topics
        .get(&key)
        .is_some_and(|topic| topic.told.load(Ordering::Relaxed) < number);
    if news {
        send(topics, key, number, || Live::Reaches(number));
    }
}

fn send<K: std::hash::Hash + Eq>(
    topics: &DashMap<K, Topic>,
    key: K,
    number: i64,
    live: impl FnOnce() -> Live,
) {
    let unheard = topics.get(&key).is_some_and(|topic| {
        topic.told.fetch_max(number, Ordering::Relaxed);
        topic.sender.send(live()).is_err()
    });
    if unheard {
        // The last listener left: forget the topic, unless one came meanwhile.
        topics.remove_if(&key, |_, topic| topic.sender.receiver_count() == 0);
    }
}
