//! Following event logs: replay from the database, then live, in order and without a gap.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::Stream;
use tokio::{
    sync::broadcast::{Receiver, error::RecvError},
    time::{Instant, timeout_at},
};

use super::{
    bus::{Bus, Live},
    model::Event,
};
use crate::{
    adapters::sql::{self, Database},
    ids::{JobId, UserId},
};

/// Events that are read from the log at a time.
const PAGE: u32 = 200;
/// How long one that came too early waits for those before it. Jobs that go on at once are told
/// of in any order; what is missing mostly comes right after, and a thousand subscribers that
/// read the log for it would each read the same.
const PATIENCE: Duration = Duration::from_millis(20);
/// Events that may wait for one before them.
const MOST_AHEAD: usize = 256;

/// The events of one job after `after`, ending after the event that brings it to rest.
pub fn follow_job(
    database: Database,
    bus: Bus,
    job: JobId,
    after: i64,
) -> impl Stream<Item = Result<Arc<Event>, sql::Error>> + Send + 'static {
    let source = Source::Job(job);
    follow(Follower {
        database,
        bus,
        source,
        last: after,
        queue: Vec::new(),
        ahead: BTreeMap::new(),
        patience: None,
        live: None,
        ended: false,
    })
}

/// The events of all of a user's jobs after a position; never ends by itself.
pub fn follow_owner(
    database: Database,
    bus: Bus,
    owner: UserId,
    after: i64,
) -> impl Stream<Item = Result<Arc<Event>, sql::Error>> + Send + 'static {
    let source = Source::Owner(owner);
    follow(Follower {
        database,
        bus,
        source,
        last: after,
        queue: Vec::new(),
        ahead: BTreeMap::new(),
        patience: None,
        live: None,
        ended: false,
    })
}

#[derive(Clone, Copy)]
enum Source {
    Job(JobId),
    Owner(UserId),
}

struct Follower {
    database: Database,
    bus: Bus,
    source: Source,
    /// Sequence number (of a job) or position (of a user) of the last event that was told.
    last: i64,
    /// Events of the log that are still to be told, newest first.
    queue: Vec<Arc<Event>>,
    /// Events that came too early, by their number.
    ahead: BTreeMap<i64, Arc<Event>>,
    /// Until when those wait.
    patience: Option<Instant>,
    live: Option<Receiver<Live>>,
    ended: bool,
}

fn follow(
    follower: Follower,
) -> impl Stream<Item = Result<Arc<Event>, sql::Error>> + Send + 'static {
    futures::stream::unfold(follower, |mut follower| async move {
        let item = follower.next().await?;
        Some((item, follower))
    })
}

impl Follower {
    async fn next(&mut self) -> Option<Result<Arc<Event>, sql::Error>> {
        loop {
            if self.ended {
                return None;
            }
            if let Some(event) = self.queue.pop() {
                return Some(self.tell(event).await);
            }
            if let Some(event) = self.next_in_hand() {
                return Some(self.tell(event).await);
            }
            let Some(live) = &mut self.live else {
                // Listening begins before the log is read: what commits in between comes
                // twice and is dropped by its number, never missed.
                let live = match self.source {
                    Source::Job(job) => self.bus.listen_job(job),
                    Source::Owner(owner) => self.bus.listen_owner(owner),
                };
                match self.read_log().await {
                    Ok(true) => {}
                    Ok(false) => {
                        self.live = Some(live);
                        if self.rests().await {
                            return None;
                        }
                    }
                    Err(error) => {
                        self.ended = true;
                        return Some(Err(error));
                    }
                }
                continue;
            };
            let heard = match self.patience {
                Some(until) => timeout_at(until, live.recv()).await.ok(),
                None => Some(live.recv().await),
            };
            match heard {
                Some(Ok(Live::Event(event))) if self.number(&event) <= self.last => {}
                Some(Ok(Live::Event(event))) if self.follows(&event) => {
                    return Some(self.tell(event).await);
                }
                Some(Ok(Live::Event(event))) if self.ahead.len() < MOST_AHEAD => {
                    self.ahead.insert(self.number(&event), event);
                }
                Some(Ok(Live::Reaches(number))) if number <= self.last => {}
                // What lies before this one is durable already, and the log has it.
                Some(Ok(_)) | None => match self.read_log().await {
                    Ok(_) if self.queue.len() < PAGE as usize => {}
                    // More than a page: read on until there is nothing.
                    Ok(_) => self.live = None,
                    Err(error) => {
                        self.ended = true;
                        return Some(Err(error));
                    }
                },
                // Too slow to keep up: the log knows.
                Some(Err(RecvError::Lagged(_) | RecvError::Closed)) => self.live = None,
            }
        }
    }

    /// The next one, if it came before its time.
    fn next_in_hand(&mut self) -> Option<Arc<Event>> {
        while let Some(first) = self.ahead.first_entry() {
            match *first.key() {
                number if number <= self.last => drop(first.remove()),
                number if number == self.last + 1 => return Some(first.remove()),
                _ => {
                    self.patience
                        .get_or_insert_with(|| Instant::now() + PATIENCE);
                    return None;
                }
            }
        }
        self.patience = None;
        None
    }

    /// Reads the next page of the log; false when there was nothing.
    async fn read_log(&mut self) -> Result<bool, sql::Error> {
        self.patience = None;
        let mut events = match self.source {
            Source::Job(job) => self.database.job_events(job, self.last, PAGE).await?,
            Source::Owner(owner) => self.database.owner_events(owner, self.last, PAGE).await?,
        };
        events.reverse();
        self.queue = events.into_iter().map(Arc::new).collect();
        Ok(!self.queue.is_empty())
    }

    async fn tell(&mut self, event: Arc<Event>) -> Result<Arc<Event>, sql::Error> {
        self.last = self.number(&event);
        if event.body.event.is_final() && self.rests().await {
            self.ended = true;
        }
        Ok(event)
    }

    /// Is the job at rest, with nothing after what was told? A retried job goes on after
    /// its final event.
    async fn rests(&self) -> bool {
        let Source::Job(job) = self.source else {
            return false;
        };
        match self.database.get_job(job).await {
            Ok(job) => job.status.is_final() && job.last_seq <= self.last,
            Err(_) => false,
        }
    }

    fn number(&self, event: &Event) -> i64 {
        match self.source {
            Source::Job(_) => event.seq,
            Source::Owner(_) => event.position,
        }
    }

    /// Is there nothing between this one and what was told last? Neither the numbers of one
    /// job nor the positions of one user have gaps.
    fn follows(&self, event: &Event) -> bool {
        self.number(event) == self.last + 1
    }
}
