//! What one call did so far. Shared with everything that works for the call, so that it is
//! right also when the call is cut off in the middle.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::call::{Permission, Trace};

/// The facts of one call. All orderings are relaxed: one task works for a call, and who reads
/// the result does so after that task has ended or was dropped.
pub(crate) struct Meter {
    permission: Option<Permission>,
    withheld: AtomicBool,
    requests: AtomicU32,
    begun: AtomicU32,
    answered: AtomicU32,
    last_status: AtomicU16,
    started: Instant,
    slice_started: AtomicU64,
    computed: AtomicU64,
    instantiate: AtomicU64,
}

impl fmt::Debug for Meter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.trace().fmt(formatter)
    }
}

impl Meter {
    pub(crate) fn new(started: Instant, permission: Option<Permission>) -> Self {
        Self {
            permission,
            withheld: AtomicBool::new(false),
            requests: AtomicU32::new(0),
            begun: AtomicU32::new(0),
            answered: AtomicU32::new(0),
            last_status: AtomicU16::new(0),
            started,
            slice_started: AtomicU64::new(0),
            computed: AtomicU64::new(0),
            instantiate: AtomicU64::new(0),
        }
    }

    /// Counts a request.
    pub(crate) fn request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn requests(&self) -> u32 {
        self.requests.load(Ordering::Relaxed)
    }

    pub(crate) fn begun_count(&self) -> u32 {
        self.begun.load(Ordering::Relaxed)
    }

    /// A request other than GET and HEAD is about to put its first byte on the wire. False
    /// when it may not.
    pub(crate) fn begin(&self) -> bool {
        if self.permission.as_ref().is_some_and(|may| !may()) {
            self.withheld.store(true, Ordering::Relaxed);
            return false;
        }
        self.begun.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// One of those has its whole answer.
    pub(crate) fn answered(&self) {
        self.answered.fetch_add(1, Ordering::Relaxed);
    }

    /// An answer that was counted as whole broke off after all.
    pub(crate) fn broke_off(&self) {
        self.answered.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn status(&self, status: u16) {
        self.last_status.store(status, Ordering::Relaxed);
    }

    pub(crate) fn instantiated(&self, took: Duration) {
        self.instantiate.store(nanos(took), Ordering::Relaxed);
    }

    /// A slice of work on a thread begins.
    pub(crate) fn slice(&self) {
        self.slice_started
            .store(nanos(self.started.elapsed()), Ordering::Relaxed);
    }

    /// Adds the time since the slice began, or since the last look, and answers how long the
    /// guest has computed. Time in which the call waits belongs to no slice and does not count.
    pub(crate) fn computed(&self) -> Duration {
        let now = nanos(self.started.elapsed());
        let since = now.saturating_sub(self.slice_started.swap(now, Ordering::Relaxed));
        Duration::from_nanos(self.computed.fetch_add(since, Ordering::Relaxed) + since)
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    pub(crate) fn trace(&self) -> Trace {
        let begun = self.begun.load(Ordering::Relaxed);
        let status = self.last_status.load(Ordering::Relaxed);
        Trace {
            requests: self.requests.load(Ordering::Relaxed),
            sent: begun > 0,
            unanswered: begun > self.answered.load(Ordering::Relaxed),
            withheld: self.withheld.load(Ordering::Relaxed),
            last_status: (status != 0).then_some(status),
            elapsed: self.started.elapsed(),
            instantiate: Duration::from_nanos(self.instantiate.load(Ordering::Relaxed)),
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
