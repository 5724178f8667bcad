//! The course of one film task over time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{options::Profile, twists::Twists};

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    chrono::Utc::now().timestamp_millis()
}

/// Where a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Queued,
    Running,
    Done,
    Failed,
}

/// States follow from the time that has passed: a waiting task costs no timer.
#[derive(Debug)]
pub(crate) struct Run {
    started: Instant,
    pub(crate) started_ms: i64,
    queue: Duration,
    render: Duration,
    pub(crate) twists: Arc<Twists>,
    looks: AtomicU32,
}

impl Run {
    pub(crate) fn start(profile: &Profile, twists: Arc<Twists>) -> Self {
        Self {
            started: Instant::now(),
            started_ms: now_ms(),
            queue: profile.queue,
            render: twists.render.unwrap_or(profile.render),
            twists,
            looks: AtomicU32::new(0),
        }
    }

    /// Time from acceptance until the vendor starts on it.
    pub(crate) fn queue_length(&self) -> Duration {
        self.queue
    }

    /// Time from acceptance to the end.
    pub(crate) fn length(&self) -> Duration {
        self.queue + self.render
    }

    pub(crate) fn phase(&self) -> Phase {
        let passed = self.started.elapsed();
        if passed < self.queue {
            Phase::Queued
        } else if passed < self.length() || self.twists.stuck {
            Phase::Running
        } else if self.twists.failure.is_some() {
            Phase::Failed
        } else {
            Phase::Done
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self.phase(), Phase::Queued | Phase::Running)
    }

    /// When the task ended, milliseconds since 1970.
    pub(crate) fn ended_ms(&self) -> i64 {
        self.started_ms
            .saturating_add(i64::try_from(self.length().as_millis()).unwrap_or(i64::MAX))
    }

    /// When the task last changed, milliseconds since 1970.
    pub(crate) fn updated_ms(&self) -> i64 {
        match self.phase() {
            Phase::Queued => self.started_ms,
            Phase::Running => self.started_ms + i64::try_from(self.queue.as_millis()).unwrap_or(0),
            Phase::Done | Phase::Failed => self.ended_ms(),
        }
    }

    /// Counts a look at the finished task; false while its link is still to be held back.
    pub(crate) fn link_is_there(&self) -> bool {
        if self.twists.links_missing == 0 {
            return true;
        }
        self.looks.fetch_add(1, Ordering::Relaxed) >= self.twists.links_missing
    }
}
