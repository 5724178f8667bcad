//! The PostgreSQL server that tests use. `GENVID_TEST_POSTGRES_PORT` names one of the test
//! kit's that is there already, so that not every test starts one of its own.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use genvid_testing::Postgres;

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
