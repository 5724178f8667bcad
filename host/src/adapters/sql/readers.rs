//! Connections that read the embedded database.
//!
//! The library's own pool asks each connection whether it lives when it is given back, which
//! costs as much as most reads here. A file does not hang up, so nobody is asked; what failed,
//! or was left in the middle of something, is closed instead of given back.

use std::sync::{Arc, Mutex, PoisonError};

use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Some connections, opened when they are first needed.
#[derive(Clone)]
pub(super) struct Readers {
    options: Arc<SqliteConnectOptions>,
    idle: Arc<Mutex<Vec<SqliteConnection>>>,
    places: Arc<Semaphore>,
}

/// One of them, until it is dropped.
pub(super) struct Reader {
    /// Nothing only while it is dropped.
    connection: Option<SqliteConnection>,
    idle: Arc<Mutex<Vec<SqliteConnection>>>,
    /// A statement is under way, or failed, or left a transaction open.
    spoiled: bool,
    _place: OwnedSemaphorePermit,
}

impl Readers {
    /// At most so many; the first one is opened at once, to see that it can be.
    pub(super) async fn open(
        options: SqliteConnectOptions,
        most: usize,
    ) -> Result<Self, sqlx::Error> {
        let first = SqliteConnection::connect_with(&options).await?;
        Ok(Self {
            options: Arc::new(options),
            idle: Arc::new(Mutex::new(vec![first])),
            places: Arc::new(Semaphore::new(most)),
        })
    }

    /// A connection that nobody else has.
    pub(super) async fn get(&self) -> Result<Reader, sqlx::Error> {
        let place = Arc::clone(&self.places).acquire_owned().await;
        let place = place.map_err(|_| sqlx::Error::PoolClosed)?;
        let idle = (self.idle.lock())
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let connection = match idle {
            Some(connection) => connection,
            None => SqliteConnection::connect_with(&self.options).await?,
        };
        Ok(Reader {
            connection: Some(connection),
            idle: Arc::clone(&self.idle),
            spoiled: false,
            _place: place,
        })
    }
}

impl Reader {
    /// The connection for a statement, after which [`Reader::is_whole`] is to be said: whoever
    /// waits for an answer may go away meanwhile.
    pub(super) fn begin(&mut self) -> Option<&mut SqliteConnection> {
        self.spoiled = true;
        self.connection.as_mut()
    }

    /// The statement went through, and nothing is open behind it.
    pub(super) fn is_whole(&mut self) {
        self.spoiled = false;
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take().filter(|_| !self.spoiled) {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.push(connection);
        }
    }
}
