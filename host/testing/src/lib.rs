//! Private instances of the servers that a grown-up Genvid uses: on free ports, in temporary
//! folders, gone when dropped or when the test that started them dies.

mod postgres;
mod process;
mod redis;
mod s3;

pub use postgres::{Database, Postgres};
pub use redis::Redis;
pub use s3::{BUCKET, DOMAIN, KEY_ID, ObjectStore, SECRET};

/// Why a server could not be started or asked.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// It is not installed.
    #[error("{program} is not installed; `cargo xtask setup` installs it, or: {by_hand}")]
    Missing {
        /// What was looked for.
        program: &'static str,
        /// The command that installs it.
        by_hand: &'static str,
    },
    /// It cannot be run.
    #[error("cannot run {program}")]
    Run {
        /// What.
        program: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It ran and failed.
    #[error("{program} failed: {output}")]
    Failed {
        /// What.
        program: String,
        /// What it said.
        output: String,
    },
}
