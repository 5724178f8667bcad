//! The only code that knows sqlx: statements and their rows. Each public function is one
//! transaction or one read. A statement is written once for SQLite and PostgreSQL (`$1`
//! placeholders, `RETURNING`, `ON CONFLICT`); `dialect` has the few words that differ.

mod accept;
mod accounts;
mod acts;
mod audit;
mod batches;
mod circuits;
mod clock;
mod database;
mod dialect;
mod embedded;
mod events;
mod heads;
mod holds;
mod identities;
mod jobs;
mod keys;
mod leases;
mod ledger;
mod limits;
mod links;
mod mails;
mod outbox;
mod payments;
mod plugins;
mod postgres;
mod projects;
mod provider_secrets;
mod query;
mod quotes;
mod readers;
mod reconciling;
mod removals;
mod reuse;
mod roles;
mod rows;
mod sessions;
mod settling;
mod signing;
mod spending;
mod uploads;
mod values;
mod webhooks;

use std::path::PathBuf;

use crate::{
    billing::{Shortage, budget::Overrun},
    jobs::limits::TooMany,
};

pub use database::Database;
pub use payments::Settled;
pub use plugins::{InUse, InstallError, Installer};
pub use postgres::{Options as PostgresOptions, migrate as migrate_postgres};
pub use removals::Removal;

/// Why the database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("{path} is in use by another genvid process; stop it, or choose another --data-dir")]
    InUse {
        /// The lock file.
        path: PathBuf,
    },
    /// The folder cannot be used.
    #[error("cannot use {path}")]
    Folder {
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is not a usable database, or does not answer.
    #[error("cannot open the database {place}")]
    Open {
        /// Which one; never with a password.
        place: String,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
    /// The tables could not be brought up to date.
    #[error("cannot migrate the database {place}")]
    Migrate {
        /// Which one; never with a password.
        place: String,
        /// Why.
        #[source]
        source: sqlx::migrate::MigrateError,
    },
    /// The server has not what this program needs; the words say what to do.
    #[error("the database {place} cannot be used: {reason}")]
    Unfit {
        /// Which one; never with a password.
        place: String,
        /// What is wrong and what to do.
        reason: String,
    },
}

/// The database did not answer as it should.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database refused or failed.
    #[error("the database failed")]
    Sql(#[from] sqlx::Error),
    /// A stored value does not decode: written by a newer version, or damaged.
    #[error("stored {what} does not decode")]
    Decode {
        /// Which value.
        what: &'static str,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Somebody has fewer credits than are needed; nothing was changed.
    #[error("{} credits are needed and {} are available", .0.required, .0.available)]
    InsufficientCredits(Shortage),
    /// A job may cost more credits than its owner allows; nothing was changed.
    #[error("it may cost {0} credits, more than its owner allows")]
    OverLimit(i64),
    /// Somebody has as many jobs under way as they may; nothing was changed.
    #[error("{} jobs are under way, and {} may be", .0.in_flight, .0.limit)]
    TooManyJobs(TooMany),
    /// It would pass a budget; nothing was changed.
    #[error("the budget is {}", .0.budget.limit.words())]
    BudgetExceeded(Overrun),
    /// An attempt may cost more than its job has left to spend; nothing was changed.
    #[error("the attempt may cost more than the job holds")]
    OverHold,
    /// The same is being bought by another step, or was just now; nothing was changed.
    #[error("the same is being bought already")]
    Underway,
    /// An item of a batch is a job or refused, or in other hands; nothing was changed.
    #[error("the item of the batch is decided, or in other hands")]
    Decided,
    /// Somebody else was quicker; nothing was changed.
    #[error("somebody else was quicker")]
    Raced,
    /// The writer is gone: the process is shutting down.
    #[error("the database is closed")]
    Closed,
    /// A function that serves users and the worker was called for neither.
    #[error("nobody said for whom the database is asked")]
    Unscoped,
}

impl Error {
    /// Whether somebody else was quicker with what may be there once.
    pub(crate) fn is_duplicate(&self) -> bool {
        matches!(self, Self::Raced)
            || matches!(self, Self::Sql(sqlx::Error::Database(answer)) if answer.is_unique_violation())
    }
}

impl Error {
    pub(crate) fn decode(
        what: &'static str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Decode {
            what,
            source: source.into(),
        }
    }
}
