//! The embedded database: one file, one writer, many readers.
//!
//! SQLite allows one writing transaction at a time, and a durable commit costs a disk
//! flush. So all writes go through one task that takes what is queued, runs each piece
//! inside its own savepoint, commits them together, and only then answers: under load one
//! flush serves many transactions, and nothing is acknowledged before it is durable.

use std::{
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use futures::future::BoxFuture;
use sqlx::{
    Connection, SqliteConnection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::sync::{mpsc, oneshot};

use super::Error;

/// Most pieces of work in one commit.
const BATCH: usize = 256;
/// Writes that may wait before callers are made to wait.
const QUEUE: usize = 4_096;
const READERS: u32 = 4;

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../migrations/sqlite");

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
    /// The file is not a usable database.
    #[error("cannot open the database {path}")]
    Open {
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
    /// The tables could not be brought up to date.
    #[error("cannot migrate the database {path}")]
    Migrate {
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        source: sqlx::migrate::MigrateError,
    },
}

/// What a piece of work leaves to be told once its fate is known.
type Deliver = Box<dyn FnOnce(Result<(), Error>) + Send>;
/// A piece of work inside the open transaction; `Err` asks to roll only this piece back.
type Piece =
    Box<dyn for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, (bool, Deliver)> + Send>;

/// The database of one process.
#[derive(Clone)]
pub struct Database {
    readers: SqlitePool,
    writer: mpsc::Sender<Piece>,
    /// Held while the process lives, so that two processes never share the file.
    _lock: std::sync::Arc<std::fs::File>,
}

impl Database {
    /// Opens (or creates) `folder/genvid.db` for this process alone, and brings its tables
    /// up to date.
    ///
    /// # Errors
    /// When the folder is unusable, in use by another process, or the file is damaged.
    pub async fn open(folder: &Path) -> Result<Self, OpenError> {
        let in_folder = |source| OpenError::Folder {
            path: folder.to_owned(),
            source,
        };
        std::fs::create_dir_all(folder).map_err(in_folder)?;
        let lock_path = folder.join("genvid.lock");
        let lock = std::fs::File::create(&lock_path).map_err(in_folder)?;
        lock.try_lock()
            .map_err(|_| OpenError::InUse { path: lock_path })?;

        let path = folder.join("genvid.db");
        let failed = |source| OpenError::Open {
            path: path.clone(),
            source,
        };
        let options = SqliteConnectOptions::from_str("sqlite://")
            .map_err(failed)?
            .filename(&path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // Full: a commit is on the disk before it is acknowledged, also when the power
            // fails. The writer's batches keep that affordable.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(10))
            .statement_cache_capacity(256);
        let mut connection = SqliteConnection::connect_with(&options)
            .await
            .map_err(failed)?;
        MIGRATIONS
            .run(&mut connection)
            .await
            .map_err(|source| OpenError::Migrate {
                path: path.clone(),
                source,
            })?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .connect_with(options.read_only(true).create_if_missing(false))
            .await
            .map_err(failed)?;
        let (writer, queue) = mpsc::channel(QUEUE);
        tokio::spawn(write_loop(connection, queue));
        Ok(Self {
            readers,
            writer,
            _lock: std::sync::Arc::new(lock),
        })
    }

    pub(super) fn read(&self) -> &SqlitePool {
        &self.readers
    }

    /// Runs `work` in a transaction and answers once it is durable. `work` that fails is
    /// rolled back alone.
    pub(super) async fn write<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, Error>>
            + Send
            + 'static,
    {
        let (answer, outcome) = oneshot::channel();
        let piece: Piece = Box::new(move |connection| {
            Box::pin(async move {
                let result = work(connection).await;
                let keep = result.is_ok();
                let deliver: Deliver = Box::new(move |committed| {
                    // The caller may have gone away; the work stands all the same.
                    let _ = answer.send(result.and_then(|value| committed.map(|()| value)));
                });
                (keep, deliver)
            })
        });
        self.writer.send(piece).await.map_err(|_| Error::Closed)?;
        outcome.await.map_err(|_| Error::Closed)?
    }

    /// Is the database answering?
    ///
    /// # Errors
    /// When it is not.
    pub async fn ping(&self) -> Result<(), Error> {
        sqlx::query("SELECT 1").execute(self.read()).await?;
        Ok(())
    }

    /// Reads a fact of this installation, or writes `value` as that fact.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn installation_fact(
        &self,
        name: &'static str,
        value: Vec<u8>,
    ) -> Result<Vec<u8>, Error> {
        self.write(move |connection| {
            Box::pin(async move {
                sqlx::query(
                    "INSERT INTO installation (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING",
                )
                .bind(name)
                .bind(value)
                .execute(&mut *connection)
                .await?;
                Ok(sqlx::query_scalar("SELECT value FROM installation WHERE name = $1")
                    .bind(name)
                    .fetch_one(connection)
                    .await?)
            })
        })
        .await
    }
}

async fn write_loop(mut connection: SqliteConnection, mut queue: mpsc::Receiver<Piece>) {
    let mut batch = Vec::with_capacity(BATCH);
    while queue.recv_many(&mut batch, BATCH).await > 0 {
        let mut delivers = Vec::with_capacity(batch.len());
        let outcome = run_batch(&mut connection, &mut batch, &mut delivers).await;
        if outcome.is_err() {
            // Leave no transaction open behind a failed commit.
            let _ = sqlx::query("ROLLBACK").execute(&mut connection).await;
        }
        let failed = outcome.err().map(|error| error.to_string());
        for deliver in delivers {
            deliver(match &failed {
                None => Ok(()),
                Some(text) => Err(Error::Sql(sqlx::Error::Protocol(text.clone()))),
            });
        }
    }
}

async fn run_batch(
    connection: &mut SqliteConnection,
    batch: &mut Vec<Piece>,
    delivers: &mut Vec<Deliver>,
) -> Result<(), sqlx::Error> {
    sqlx::query("BEGIN IMMEDIATE")
        .execute(&mut *connection)
        .await?;
    for piece in batch.drain(..) {
        sqlx::query("SAVEPOINT piece")
            .execute(&mut *connection)
            .await?;
        let (keep, deliver) = piece(connection).await;
        delivers.push(deliver);
        let end = if keep {
            "RELEASE piece"
        } else {
            "ROLLBACK TO piece"
        };
        sqlx::query(end).execute(&mut *connection).await?;
    }
    sqlx::query("COMMIT").execute(&mut *connection).await?;
    Ok(())
}
