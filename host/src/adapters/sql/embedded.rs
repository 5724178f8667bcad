//! The embedded database: one file, one writer, many readers.
//!
//! SQLite allows one writing transaction at a time, and a durable commit costs a disk
//! flush. So all writes go through one task that takes what is queued, runs each piece
//! inside its own savepoint, commits them together, and only then answers: under load one
//! flush serves many transactions, and nothing is acknowledged before it is durable.

use std::{
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use futures::future::BoxFuture;
use sqlx::{
    Connection as _, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use tokio::sync::{mpsc, oneshot};

use super::{
    Error, OpenError,
    query::{Connection, query},
    readers::Readers,
};

/// Most pieces of work in one commit.
const BATCH: usize = 256;
/// Writes that may wait before callers are made to wait.
const QUEUE: usize = 4_096;
/// Connections that read.
const READERS: usize = 4;

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../migrations/sqlite");

/// What a piece of work leaves to be told once its fate is known.
type Deliver = Box<dyn FnOnce(Result<(), Error>) + Send>;
/// A piece of work inside the open transaction; `Err` asks to roll only this piece back.
type Piece = Box<dyn for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, (bool, Deliver)> + Send>;

/// The database of one process.
#[derive(Clone)]
pub(super) struct Embedded {
    readers: Readers,
    writer: mpsc::Sender<Piece>,
    /// Held while the process lives, so that two servers never share the file. Nothing while
    /// another process is the one.
    _lock: Option<Arc<std::fs::File>>,
}

impl Embedded {
    /// Opens (or creates) `folder/genvid.db` for this process alone, and brings its tables
    /// up to date.
    pub(super) async fn open(folder: &Path) -> Result<Self, OpenError> {
        match lock(folder)? {
            Ok(lock) => Self::open_locked(folder, Some(lock)).await,
            Err(path) => Err(OpenError::InUse { path }),
        }
    }

    /// The same, also while a server has the file. SQLite lets any number of processes of
    /// one machine read and write it; the lock is there because leases and live events belong
    /// to one process. So this is for rows that are not about jobs.
    pub(super) async fn open_beside(folder: &Path) -> Result<Self, OpenError> {
        let mut opened = Self::open_locked(folder, lock(folder)?.ok()).await?;
        // Its tables are up to date: a server may start meanwhile.
        opened._lock = None;
        Ok(opened)
    }

    async fn open_locked(folder: &Path, lock: Option<std::fs::File>) -> Result<Self, OpenError> {
        let path = folder.join("genvid.db");
        let place = path.display().to_string();
        let failed = |source| OpenError::Open {
            place: place.clone(),
            source,
        };
        let options = SqliteConnectOptions::from_str("sqlite://")
            .map_err(failed)?
            .filename(&path)
            .create_if_missing(lock.is_some())
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
        if lock.is_some() {
            MIGRATIONS
                .run(&mut connection)
                .await
                .map_err(|source| OpenError::Migrate {
                    place: place.clone(),
                    source,
                })?;
        } else {
            // Whoever has the file has migrated it; another version may have other tables.
            let applied: Vec<i64> =
                sqlx::query_scalar("SELECT version FROM _sqlx_migrations WHERE success")
                    .fetch_all(&mut connection)
                    .await
                    .map_err(failed)?;
            let behind = |version| !applied.contains(&version);
            if MIGRATIONS.iter().any(|migration| behind(migration.version)) {
                return Err(OpenError::Unfit {
                    place,
                    reason: "a server of an older version has it open, or one that is still \
                             starting; try again, or use the program of that version"
                        .to_owned(),
                });
            }
        }
        let options = options.read_only(true).create_if_missing(false);
        let readers = Readers::open(options, READERS).await.map_err(failed)?;
        let (writer, queue) = mpsc::channel(QUEUE);
        let runtime = tokio::runtime::Handle::current();
        // Each statement is handed to the library's own thread and back. A thread that waits for
        // nothing else is woken for half of what it costs to wake the runtime.
        std::thread::Builder::new()
            .name("genvid-writer".to_owned())
            .spawn(move || runtime.block_on(write_loop(Connection::Writer(connection), queue)))
            .map_err(|source| failed(source.into()))?;
        Ok(Self {
            readers,
            writer,
            _lock: lock.map(Arc::new),
        })
    }

    /// A connection to read with.
    pub(super) async fn read(&self) -> Result<Connection, Error> {
        Ok(Connection::Reader(self.readers.get().await?))
    }

    /// Queues `work` for the writer and answers once it is durable.
    pub(super) async fn write<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<T, Error>> + Send + 'static,
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
}

/// The file that says who has the database; its path when another process has it.
fn lock(folder: &Path) -> Result<Result<std::fs::File, PathBuf>, OpenError> {
    let in_folder = |source| OpenError::Folder {
        path: folder.to_owned(),
        source,
    };
    std::fs::create_dir_all(folder).map_err(in_folder)?;
    let path = folder.join("genvid.lock");
    let file = std::fs::File::create(&path).map_err(in_folder)?;
    Ok(match file.try_lock() {
        Ok(()) => Ok(file),
        Err(_) => Err(path),
    })
}

async fn write_loop(mut connection: Connection, mut queue: mpsc::Receiver<Piece>) {
    let mut batch = Vec::with_capacity(BATCH);
    while queue.recv_many(&mut batch, BATCH).await > 0 {
        let mut delivers = Vec::with_capacity(batch.len());
        let outcome = run_batch(&mut connection, &mut batch, &mut delivers).await;
        if outcome.is_err() {
            // Leave no transaction open behind a failed commit.
            let _ = query("ROLLBACK").execute(&mut connection).await;
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

/// Each piece has a savepoint of its own, which ends where the next one's begins: a statement less
/// for each, of which every one is two changes of threads.
async fn run_batch(
    connection: &mut Connection,
    batch: &mut Vec<Piece>,
    delivers: &mut Vec<Deliver>,
) -> Result<(), sqlx::Error> {
    let mut next = "BEGIN IMMEDIATE; SAVEPOINT piece";
    let mut end = "COMMIT";
    for piece in batch.drain(..) {
        query(next).execute(&mut *connection).await?;
        let (keep, deliver) = piece(connection).await;
        delivers.push(deliver);
        // A commit ends the savepoint, too.
        (next, end) = match keep {
            true => ("RELEASE piece; SAVEPOINT piece", "COMMIT"),
            false => ("ROLLBACK TO piece", "ROLLBACK TO piece; COMMIT"),
        };
    }
    query(end).execute(connection).await?;
    Ok(())
}
