//! The only code that knows sqlx: statements and their rows. Each public function is one
//! transaction or one read; statements are written so that both SQLite and PostgreSQL take
//! them (`$1` placeholders, `RETURNING`, `ON CONFLICT`).

mod accounts;
mod database;
mod events;
mod jobs;
mod leases;
mod projects;
mod rows;

pub use database::{Database, OpenError};

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
    /// The writer is gone: the process is shutting down.
    #[error("the database is closed")]
    Closed,
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
