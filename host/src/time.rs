//! Instants as the database stores them, and where they come from.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From milliseconds since 1970.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub fn millis(self) -> i64 {
        self.0
    }

    /// Later by `duration`.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)),
        )
    }

    /// Earlier by `duration`.
    #[must_use]
    pub fn before(self, duration: Duration) -> Self {
        let length = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_sub(length))
    }

    /// Time from `earlier` to here; zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// As a calendar time, for the edges.
    #[must_use]
    pub fn datetime(self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.0).unwrap_or_default()
    }
}

impl std::fmt::Display for Timestamp {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.datetime().to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

impl From<DateTime<Utc>> for Timestamp {
    fn from(value: DateTime<Utc>) -> Self {
        Self(value.timestamp_millis())
    }
}

/// How much the database's clock is ahead of this host's, in milliseconds.
static AHEAD: AtomicI64 = AtomicI64::new(0);

/// The clock of this installation: the host's with an embedded database, the server's with
/// one that several nodes share.
#[must_use]
pub fn now() -> Timestamp {
    Timestamp(host_clock().0.saturating_add(AHEAD.load(Ordering::Relaxed)))
}

/// The clock of this host.
pub(crate) fn host_clock() -> Timestamp {
    Timestamp(Utc::now().timestamp_millis())
}

/// Takes over that the database's clock is `ahead` milliseconds ahead of the host's, unless
/// that is what is known already, give or take `slack`. True when it was news.
pub(crate) fn follow(ahead: i64, slack: i64) -> bool {
    let known = AHEAD.load(Ordering::Relaxed);
    let news = known.abs_diff(ahead) > slack.unsigned_abs();
    if news {
        AHEAD.store(ahead, Ordering::Relaxed);
    }
    news
}
