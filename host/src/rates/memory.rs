//! Counts in this process.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use dashmap::DashMap;
use tokio::time::Instant;

use super::{Counter, Limit, Taken, Unreachable};

/// From so many subjects on those that have nothing left to count are looked for.
const MANY: usize = 10_000;

#[derive(Default)]
struct Log {
    window: Duration,
    /// Oldest first.
    counted: VecDeque<(u64, Instant)>,
}

impl Log {
    fn forget(&mut self, now: Instant) {
        let over = |at: Instant| now.saturating_duration_since(at) >= self.window;
        let old = self.counted.partition_point(|(_, at)| over(*at));
        self.counted.drain(..old);
    }
}

/// Counts in this process: forgets everything with it.
#[derive(Default)]
pub struct Memory {
    logs: DashMap<String, Log>,
    tickets: AtomicU64,
    swept: AtomicU64,
}

#[async_trait]
impl Counter for Memory {
    async fn take(&self, subject: &str, limit: Limit) -> Result<Taken, Unreachable> {
        Ok(self.take_at(subject, limit, Instant::now()))
    }

    async fn give_back(&self, subject: &str, ticket: u64) {
        if let Some(mut log) = self.logs.get_mut(subject) {
            log.counted.retain(|(counted, _)| *counted != ticket);
        }
    }
}

impl Memory {
    fn take_at(&self, subject: &str, limit: Limit, now: Instant) -> Taken {
        let ticket = self.tickets.fetch_add(1, Ordering::Relaxed);
        self.sweep(now, ticket);
        let mut log = self.logs.entry(subject.to_owned()).or_default();
        log.window = limit.window;
        log.forget(now);
        let most = usize::try_from(limit.count).unwrap_or(usize::MAX);
        let counted = log.counted.len();
        // So that the count is below the limit when it is over.
        let first = log.counted.get(counted.saturating_sub(most));
        let wait = |at: Instant| {
            limit
                .window
                .saturating_sub(now.saturating_duration_since(at))
        };
        if counted >= most {
            let wait = first.map_or(limit.window, |(_, at)| wait(*at));
            return Taken::Refused(wait);
        }
        log.counted.push_back((ticket, now));
        let oldest = log.counted.front().map_or(now, |(_, at)| *at);
        let left = most - log.counted.len();
        Taken::Granted {
            ticket,
            left: u32::try_from(left).unwrap_or(u32::MAX),
            reset: wait(oldest),
        }
    }

    /// Now and then, so that what is not counted any more takes no room.
    fn sweep(&self, now: Instant, ticket: u64) {
        const EVERY: u64 = 1_000;
        let last = self.swept.load(Ordering::Relaxed);
        if self.logs.len() < MANY || ticket < last + EVERY {
            return;
        }
        self.swept.store(ticket, Ordering::Relaxed);
        self.logs.retain(|_, log| {
            log.forget(now);
            !log.counted.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_slides() {
        let memory = Memory::default();
        let limit = Limit {
            count: 2,
            window: Duration::from_secs(60),
        };
        let start = Instant::now();
        let take = |who: &str, at: u64| memory.take_at(who, limit, start + Duration::from_secs(at));
        assert!(matches!(take("ann", 0), Taken::Granted { left: 1, .. }));
        assert!(matches!(take("ann", 40), Taken::Granted { left: 0, .. }));
        assert_eq!(take("ann", 40), Taken::Refused(Duration::from_secs(20)));
        assert!(matches!(take("ann", 60), Taken::Granted { left: 0, .. }));
        assert_eq!(take("ann", 60), Taken::Refused(Duration::from_secs(40)));
        assert!(matches!(take("bob", 60), Taken::Granted { left: 1, .. }));
    }
}
