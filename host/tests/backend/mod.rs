//! Which database tests run on. `GENVID_TEST_BACKEND=postgres` runs a suite on PostgreSQL
//! that otherwise runs on the embedded database; `GENVID_TEST_POSTGRES_PORT` names a server
//! of the test kit that is there already, so that not every test starts one of its own.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use genvid_testkit::servers::Postgres;

/// A database to run tests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backend {
    /// A file.
    Embedded,
    /// A server.
    Postgres,
}

/// What the environment asks for.
#[expect(dead_code, reason = "not every suite that shares this file chooses")]
pub(crate) fn wanted() -> Backend {
    match std::env::var("GENVID_TEST_BACKEND").as_deref() {
        Err(_) | Ok("" | "embedded") => Backend::Embedded,
        Ok("postgres") => Backend::Postgres,
        Ok(other) => panic!("GENVID_TEST_BACKEND is embedded or postgres, not {other:?}"),
    }
}

/// The server of this process's tests; it ends with the last test that holds it.
pub(crate) fn server() -> Arc<Postgres> {
    static SHARED: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(server) = shared.upgrade() {
        return server;
    }
    let server = match std::env::var("GENVID_TEST_POSTGRES_PORT") {
        Ok(port) => Postgres::at(port.parse().expect("GENVID_TEST_POSTGRES_PORT is a port")),
        Err(_) => Postgres::start(),
    };
    let server = Arc::new(server.unwrap_or_else(|error| panic!("no PostgreSQL: {error}")));
    *shared = Arc::downgrade(&server);
    server
}
