//! The requests per second of one plugin.

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// A token bucket that holds one second's requests. Who asks gets the time at which the
/// request may go, so that waiters keep their order and nobody wakes in vain.
#[derive(Debug)]
pub(crate) struct Rate {
    interval: Duration,
    /// When the bucket is full again, if nobody asks any more.
    full: Mutex<Option<Instant>>,
}

impl Rate {
    pub(crate) fn new(per_second: u32) -> Self {
        Self {
            interval: Duration::from_secs(1) / per_second.max(1),
            full: Mutex::new(None),
        }
    }

    /// Takes one token, unless it comes later than `latest`; answers when the request may go.
    /// Only every `share`th token is this process's own.
    pub(crate) fn take(&self, now: Instant, latest: Instant, share: u32) -> Option<Instant> {
        let interval = self.interval * share.max(1);
        let mut full = match self.full.lock() {
            Ok(full) => full,
            // The value is a plain instant, whole at any time.
            Err(poisoned) => poisoned.into_inner(),
        };
        let next = full.map_or(now, |full| full.max(now)) + interval;
        let burst = Duration::from_secs(1);
        let at = next.checked_sub(burst).map_or(now, |at| at.max(now));
        if at > latest {
            return None;
        }
        *full = Some(next);
        Some(at)
    }
}
