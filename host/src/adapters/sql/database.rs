//! The database, whichever it is: who may read and write how, and how a piece of work
//! becomes a transaction.

use std::path::Path;

use futures::future::BoxFuture;

use super::{
    Error, OpenError,
    embedded::Embedded,
    postgres::{self, Postgres},
    query::{Connection, query},
};
use crate::ids::UserId;

/// For whom a transaction is. PostgreSQL shows it that tenant's rows and nothing else;
/// `migrations/postgres` has the policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// Nobody: no tenant's row is visible.
    Nobody,
    /// One user.
    User(UserId),
    /// Finding out who is calling: users and their tokens.
    Identity,
    /// The worker, which moves everybody's jobs on.
    Worker,
}

#[derive(Clone)]
enum Backend {
    Embedded(Embedded),
    Postgres(Postgres),
}

/// The database. Cheap to clone.
///
/// Functions that name a user see that user's rows. Those that do not are for a handle that
/// says whose rows are meant: [`Database::for_user`] or [`Database::for_worker`].
#[derive(Clone)]
pub struct Database {
    backend: Backend,
    /// For whom the functions work that name nobody.
    pub(super) scope: Scope,
    /// Users are told when they have fewer available credits; 0: never.
    pub(super) low_credits: i64,
}

impl Database {
    /// Opens (or creates) `folder/genvid.db` for this process alone, and brings its tables
    /// up to date.
    ///
    /// # Errors
    /// When the folder is unusable, in use by another process, or the file is damaged.
    pub async fn open(folder: &Path) -> Result<Self, OpenError> {
        Ok(Self {
            backend: Backend::Embedded(Embedded::open(folder).await?),
            scope: Scope::Nobody,
            low_credits: 0,
        })
    }

    /// Opens `folder/genvid.db` beside a server that has it open, as far as the tables are
    /// those of this version; without such a server, as [`Database::open`] does.
    ///
    /// # Errors
    /// As for [`Database::open`]; and when the tables are of another version than this while
    /// another process has them.
    pub(super) async fn open_beside(folder: &Path) -> Result<Self, OpenError> {
        Ok(Self {
            backend: Backend::Embedded(Embedded::open_beside(folder).await?),
            scope: Scope::Nobody,
            low_credits: 0,
        })
    }

    /// Connects to a PostgreSQL server, together with any number of other processes.
    ///
    /// # Errors
    /// When the server does not answer, its tables are not those of this version, or the
    /// role would see more than it should.
    pub async fn connect(options: &postgres::Options) -> Result<Self, OpenError> {
        Ok(Self {
            backend: Backend::Postgres(Postgres::connect(options).await?),
            scope: Scope::Nobody,
            low_credits: 0,
        })
    }

    /// The same database, for a user.
    #[must_use]
    pub fn for_user(&self, user: UserId) -> Self {
        Self {
            scope: Scope::User(user),
            ..self.clone()
        }
    }

    /// The same database, for the worker.
    #[must_use]
    pub fn for_worker(&self) -> Self {
        Self {
            scope: Scope::Worker,
            ..self.clone()
        }
    }

    /// The same database, which tells users when they have fewer available credits.
    #[must_use]
    pub fn with_low_credits(self, low_credits: i64) -> Self {
        Self {
            low_credits,
            ..self
        }
    }

    /// Whether no other process can use it.
    #[must_use]
    pub fn is_embedded(&self) -> bool {
        matches!(self.backend, Backend::Embedded(_))
    }

    /// For whom this handle is; an error when nobody said so.
    pub(super) fn scope(&self) -> Result<Scope, Error> {
        match self.scope {
            Scope::Nobody => Err(Error::Unscoped),
            scope => Ok(scope),
        }
    }

    /// A connection to read with.
    pub(super) async fn read(&self, scope: Scope) -> Result<Connection, Error> {
        match &self.backend {
            Backend::Embedded(embedded) => embedded.read().await,
            Backend::Postgres(postgres) => postgres.read(scope).await,
        }
    }

    /// Runs `work` in a transaction and answers once it is durable. `work` that fails is
    /// rolled back alone.
    pub(super) async fn write<T, F>(&self, scope: Scope, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<T, Error>> + Send + 'static,
    {
        match &self.backend {
            Backend::Embedded(embedded) => embedded.write(work).await,
            Backend::Postgres(postgres) => postgres.write(scope, work).await,
        }
    }

    /// Is the database answering?
    ///
    /// # Errors
    /// When it is not.
    pub async fn ping(&self) -> Result<(), Error> {
        let mut connection = self.read(Scope::Nobody).await?;
        query("SELECT 1").execute(&mut connection).await?;
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
        self.write(Scope::Nobody, move |connection| {
            Box::pin(async move {
                query(
                    "INSERT INTO installation (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING",
                )
                .bind(name)
                .bind(value)
                .execute(&mut *connection)
                .await?;
                let row = query("SELECT value FROM installation WHERE name = $1")
                    .bind(name)
                    .fetch_one(connection)
                    .await?;
                Ok(row.try_get("value")?)
            })
        })
        .await
    }
}
