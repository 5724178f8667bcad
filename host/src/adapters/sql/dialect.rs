//! What the two databases say differently. Everything else is one text for both.
//!
//! | | SQLite | PostgreSQL |
//! |---|---|---|
//! | identifiers | 16-byte `BLOB` | `uuid` |
//! | instants | `INTEGER`, milliseconds since 1970 | `timestamptz` |
//! | documents | `TEXT` | `jsonb` |
//! | the clock | of this host, which is the database's | of the database server |
//! | locks | one writer at a time, nothing to lock | rows |
//! | who sees what | predicates of each statement | the same, and row-level security behind them |
//!
//! How values are stored is in `values`; how a transaction begins is in `embedded` and
//! `postgres`; the words that differ within statements are here.

use std::time::Duration;

use crate::time::{self, Timestamp};

/// Words that differ within statements.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dialect {
    /// The database's clock at the beginning of the transaction, as it stores instants.
    pub(super) now: &'static str,
    /// What a number of milliseconds is multiplied with before it is added to an instant.
    pub(super) millisecond: &'static str,
    /// Ends a subselect: lock these rows until the transaction ends. Rows that refer to them may
    /// be written meanwhile: a second change of a row within one transaction has the server look
    /// at what it refers to again, and two transactions could wait for each other there.
    pub(super) lock: &'static str,
    /// Ends a subselect: lock these rows, and leave out those that somebody else has locked.
    pub(super) lock_free: &'static str,
}

/// The embedded database. Its clock counts in milliseconds, as `julianday` does.
pub(super) const SQLITE: Dialect = Dialect {
    now: "CAST(ROUND(unixepoch('subsec') * 1000) AS INTEGER)",
    millisecond: "1",
    lock: "",
    lock_free: "",
};

/// The server. `now()` stands still within a transaction.
pub(super) const POSTGRES: Dialect = Dialect {
    now: "now()",
    millisecond: "interval '1 millisecond'",
    lock: "FOR NO KEY UPDATE",
    lock_free: "FOR UPDATE SKIP LOCKED",
};

/// How long to wait for an instant of this process's clock, in milliseconds; negative when it
/// is past. The database adds it to its own clock.
pub(super) fn wait(until: Timestamp) -> i64 {
    until.millis().saturating_sub(time::now().millis())
}

/// A length of time as it is bound.
pub(super) fn millis(length: Duration) -> i64 {
    i64::try_from(length.as_millis()).unwrap_or(i64::MAX)
}
