//! How long a worker may believe that it holds a step, by its own clock.
//!
//! The database decides who holds a step; a worker that was stopped for a while does not know
//! that somebody else has it by now. Its writes are refused then, but a paid call is no write:
//! so right before such a call leaves, it asks here.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// The leases of one node, which are renewed together. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Leases {
    length: Duration,
    /// When the newest renewal that succeeded began: all that was held then is held for one
    /// length from then on, if not longer.
    renewed: Arc<Mutex<Option<Instant>>>,
}

impl Leases {
    /// Of this length.
    #[must_use]
    pub fn new(length: Duration) -> Self {
        Self {
            length,
            renewed: Arc::default(),
        }
    }

    /// All were renewed by a statement that was begun at that time.
    pub fn renewed(&self, began: Instant) {
        let mut renewed = self.renewed.lock().unwrap_or_else(PoisonError::into_inner);
        *renewed = (*renewed).max(Some(began));
    }

    /// What was claimed by a statement that was begun at that time and has been answered now.
    #[must_use]
    pub fn claimed(&self, began: Instant) -> Lease {
        Lease {
            began,
            answered: Instant::now(),
            all: self.clone(),
        }
    }
}

/// The lease of one step.
#[derive(Debug, Clone)]
pub struct Lease {
    began: Instant,
    answered: Instant,
    all: Leases,
}

impl Lease {
    /// Whether nobody else can have the step at that time.
    #[must_use]
    pub fn holds(&self, now: Instant) -> bool {
        let renewed = *self
            .all
            .renewed
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // An older renewal may not have seen this step.
        let since = renewed
            .filter(|renewed| *renewed >= self.answered)
            .unwrap_or(self.began);
        now.duration_since(since) < self.all.length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: Duration = Duration::from_secs(30);
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_claim_holds_for_its_length() {
        let began = Instant::now();
        let lease = Leases::new(LENGTH).claimed(began);
        assert!(lease.holds(began + LENGTH - SECOND));
        assert!(!lease.holds(began + LENGTH));
    }

    #[test]
    fn a_renewal_holds_what_was_claimed_before_it() {
        let leases = Leases::new(LENGTH);
        let began = Instant::now();
        let lease = leases.claimed(began);
        let renewal = Instant::now() + SECOND;
        leases.renewed(renewal);
        assert!(lease.holds(renewal + LENGTH - SECOND));
        assert!(!lease.holds(renewal + LENGTH));
        // An answer that comes late takes nothing back.
        leases.renewed(began);
        assert!(lease.holds(renewal + LENGTH - SECOND));
    }

    #[test]
    fn a_renewal_says_nothing_of_later_claims() {
        let leases = Leases::new(LENGTH);
        let began = Instant::now();
        leases.renewed(began);
        let lease = leases.claimed(began);
        assert!(lease.holds(began + LENGTH - SECOND));
        assert!(!lease.holds(began + LENGTH));
    }
}
