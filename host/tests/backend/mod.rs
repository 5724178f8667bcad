//! Which database tests run on. `GENVID_TEST_BACKEND=postgres` runs a suite on PostgreSQL
//! that otherwise runs on the embedded database.

mod server;

pub(crate) use server::server;

/// A database to run tests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backend {
    /// A file.
    Embedded,
    /// A server.
    Postgres,
}

/// What the environment asks for.
pub(crate) fn wanted() -> Backend {
    match std::env::var("GENVID_TEST_BACKEND").as_deref() {
        Err(_) | Ok("" | "embedded") => Backend::Embedded,
        Ok("postgres") => Backend::Postgres,
        Ok(other) => panic!("GENVID_TEST_BACKEND is embedded or postgres, not {other:?}"),
    }
}
