//! Following event logs: replay from the database, then live, in order and without a gap.

use std::sync::Arc;

use futures::Stream;
use tokio::sync::broadcast::{Receiver, error::RecvError};

use super::{bus::Bus, model::Event};
use crate::{
    adapters::sql::{self, Database},
    ids::{JobId, UserId},
};

/// Events that are read from the log at a time.
const PAGE: u32 = 200;

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
    live: Option<Receiver<Arc<Event>>>,
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
            match live.recv().await {
                Ok(event) if self.number(&event) <= self.last => {}
                Ok(event) if self.follows(&event) => return Some(self.tell(event).await),
                // Events of several jobs are told by whoever wrote them, in any order. What
                // lies before this one is durable already.
                Ok(_) if matches!(self.source, Source::Owner(_)) => match self.read_log().await {
                    Ok(_) if self.queue.len() < PAGE as usize => {}
                    // More than a page: read on until there is nothing.
                    Ok(_) => self.live = None,
                    Err(error) => {
                        self.ended = true;
                        return Some(Err(error));
                    }
                },
                // A gap, or too slow to keep up: the log knows.
                Ok(_) | Err(RecvError::Lagged(_)) => self.live = None,
                Err(RecvError::Closed) => self.live = None,
            }
        }
    }

    /// Reads the next page of the log; false when there was nothing.
    async fn read_log(&mut self) -> Result<bool, sql::Error> {
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
