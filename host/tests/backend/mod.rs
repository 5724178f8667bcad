//! Which backends tests run on. `GENVID_TEST_BACKEND=servers` runs a suite on PostgreSQL,
//! Redis and S3 that otherwise runs on what is embedded.

mod server;

pub(crate) use server::server;

/// What to run tests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backend {
    /// Files, and one process.
    Embedded,
    /// PostgreSQL, and where a suite needs them Redis and S3.
    Servers,
}

/// What the environment asks for.
pub(crate) fn wanted() -> Backend {
    match std::env::var("GENVID_TEST_BACKEND").as_deref() {
        Err(_) | Ok("" | "embedded") => Backend::Embedded,
        Ok("servers") => Backend::Servers,
        Ok(other) => panic!("GENVID_TEST_BACKEND is embedded or servers, not {other:?}"),
    }
}
