//! PostgreSQL: a pool of connections, ordinary transactions, many processes.
//!
//! A transaction begins with its role and the tenant it is for. The policies in
//! `migrations/postgres` show a tenant's rows to that tenant alone; a transaction that names
//! nobody sees none. Nothing of it outlives the transaction, so neither the pool nor a pooler
//! between here and the server can leak one user's view to the next.

use std::{str::FromStr, time::Duration};

use futures::future::BoxFuture;
use secrecy::{ExposeSecret, SecretString};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection, PgPool,
    migrate::Migrator,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use super::{
    Error, OpenError, clock,
    database::Scope,
    query::Connection,
    roles::{self, Roles},
};

/// Longest statement. All of them are short; one that is not has lost its index.
const STATEMENT_LIMIT: &str = "30s";
/// How long a transaction may sit between two statements: a process that is stopped in the
/// middle must not hold its locks for ever.
const IDLE_LIMIT: &str = "30s";
/// How long to wait for a connection, an answer to the first connection included.
const ACQUIRE_LIMIT: Duration = Duration::from_secs(10);
/// A connection that was unused for longer is tried before it is used.
const UNUSED: Duration = Duration::from_secs(5);
/// Oldest supported server, as `server_version_num` counts.
const OLDEST: i32 = 150_000;

/// Where the server is, and as whom to use it.
#[derive(Debug, Clone)]
pub struct Options {
    /// `postgres://user:password@host/database`.
    pub url: SecretString,
    /// The same database as its owner, for migrations.
    pub owner_url: SecretString,
    /// Role of statements for users.
    pub role: String,
    /// Role of statements for the worker.
    pub worker_role: String,
    /// Most connections of this process.
    pub max_connections: u32,
    /// Bring the tables up to date when they are not?
    pub migrate: bool,
}

/// A server and how to reach it.
#[derive(Clone)]
pub(super) struct Postgres {
    pool: PgPool,
    roles: Roles,
}

impl Postgres {
    pub(super) async fn connect(options: &Options) -> Result<Self, OpenError> {
        let target = Target::parse(options.url.expose_secret())?;
        if is_behind(options, &target).await? {
            if !options.migrate {
                return Err(
                    target.unfit("its tables are not up to date; run `genvid migrate`".to_owned())
                );
            }
            migrate(options).await?;
        }
        let roles = options.roles();
        let limits = [
            ("statement_timeout", STATEMENT_LIMIT),
            ("idle_in_transaction_session_timeout", IDLE_LIMIT),
        ];
        let pool = PgPoolOptions::new()
            .max_connections(options.max_connections)
            .acquire_timeout(ACQUIRE_LIMIT)
            .test_before_acquire(false)
            .before_acquire(|connection, unused| {
                Box::pin(async move {
                    if unused.idle_for > UNUSED {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .connect_with(target.options.clone().options(limits))
            .await
            .map_err(|source| target.failed(source))?;
        {
            let mut connection = pool
                .acquire()
                .await
                .map_err(|source| target.failed(source))?;
            roles
                .check(&mut connection)
                .await
                .map_err(|source| target.failed(source))?
                .map_err(|reason| target.unfit(reason))?;
        }
        clock::follow(&pool)
            .await
            .map_err(|source| target.failed(source))?;
        Ok(Self { pool, roles })
    }

    /// A transaction that only reads. It ends when it is dropped.
    pub(super) async fn read(&self, scope: Scope) -> Result<Connection, Error> {
        let transaction = self.pool.begin_with(self.begin("READ ONLY", scope)).await?;
        Ok(Connection::Postgres(transaction))
    }

    /// Runs `work` in a transaction.
    pub(super) async fn write<T, F>(&self, scope: Scope, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<T, Error>> + Send + 'static,
    {
        let transaction = self.pool.begin_with(self.begin("", scope)).await?;
        let mut connection = Connection::Postgres(transaction);
        let value = work(&mut connection).await?;
        if let Connection::Postgres(transaction) = connection {
            transaction.commit().await?;
        }
        Ok(value)
    }

    /// Begins a transaction for somebody, in one message to the server.
    fn begin(&self, mode: &'static str, scope: Scope) -> AssertSqlSafe<String> {
        let role = match scope {
            Scope::Worker => &self.roles.worker,
            Scope::Nobody | Scope::User(_) | Scope::Identity => &self.roles.users,
        };
        // Both are set each time: whoever was cut off right behind his BEGIN has left his here.
        let (tenant, part) = match scope {
            Scope::Nobody | Scope::Worker => (String::new(), ""),
            // The text of a UUID needs no quoting.
            Scope::User(user) => (user.uuid().to_string(), ""),
            Scope::Identity => (String::new(), "identity"),
        };
        AssertSqlSafe(format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED {mode}; SET LOCAL ROLE {}; \
             SET LOCAL genvid.user_id = '{tenant}'; SET LOCAL genvid.scope = '{part}'",
            roles::quote(role)
        ))
    }
}

impl Options {
    fn roles(&self) -> Roles {
        Roles {
            users: self.role.clone(),
            worker: self.worker_role.clone(),
        }
    }
}

/// Brings the tables up to date and gives the role its rights. Any number of processes may
/// do so at once: one does it, the others wait for it.
///
/// # Errors
/// When the server does not answer, or the owner may not do what is needed.
pub async fn migrate(options: &Options) -> Result<(), OpenError> {
    let target = Target::parse(options.owner_url.expose_secret())?;
    let user = Target::parse(options.url.expose_secret())?;
    let user = user.options.get_username().to_owned();
    let mut connection = target.open().await?;
    let failed = |source| target.failed(source);
    // The migrator has a lock of its own; the rights are given under this one.
    sqlx::query("SELECT pg_advisory_lock(hashtext('genvid'), hashtext('migrate'))")
        .execute(&mut connection)
        .await
        .map_err(failed)?;
    migrations()
        .run_direct(None, &mut connection, false)
        .await
        .map_err(|source| OpenError::Migrate {
            place: target.place.clone(),
            source,
        })?;
    options
        .roles()
        .grant(&mut connection, &user)
        .await
        .map_err(failed)?
        .map_err(|reason| target.unfit(reason))?;
    connection.close().await.map_err(failed)
}

/// Connections as the owner of the tables, for what only he may do. Connects when the first
/// is used.
pub(super) fn owner(options: &Options) -> Result<PgPool, OpenError> {
    let target = Target::parse(options.owner_url.expose_secret())?;
    Ok(PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(ACQUIRE_LIMIT)
        .connect_lazy_with(target.options))
}

fn migrations() -> Migrator {
    let mut migrations = sqlx::migrate!("../migrations/postgres");
    // Those of a newer version only added things that this one can live with.
    migrations.set_ignore_missing(true);
    migrations
}

/// Whether a migration of this version is missing, or a role is not as it should be.
async fn is_behind(options: &Options, target: &Target) -> Result<bool, OpenError> {
    let mut connection = target.open().await?;
    let failed = |source| target.failed(source);
    let number: i32 = sqlx::query_scalar("SELECT current_setting('server_version_num')::int")
        .fetch_one(&mut connection)
        .await
        .map_err(failed)?;
    if number < OLDEST {
        return Err(target.unfit(format!(
            "the server is version {}; PostgreSQL 15 or later is needed",
            number / 10_000
        )));
    }
    let usable = options
        .roles()
        .are_ready(&mut connection)
        .await
        .map_err(failed)?;
    if !usable {
        connection.close().await.map_err(failed)?;
        return Ok(true);
    }
    let applied: Vec<i64> =
        sqlx::query_scalar("SELECT version FROM _sqlx_migrations WHERE success")
            .fetch_all(&mut connection)
            .await
            .map_err(failed)?;
    connection.close().await.map_err(failed)?;
    Ok(migrations()
        .iter()
        .any(|migration| !applied.contains(&migration.version)))
}

/// A parsed URL, and what to call it in messages.
struct Target {
    options: PgConnectOptions,
    place: String,
}

impl Target {
    fn parse(url: &str) -> Result<Self, OpenError> {
        let options = PgConnectOptions::from_str(url).map_err(|source| OpenError::Open {
            // The text itself may hold a password.
            place: "that database.url names".to_owned(),
            source,
        })?;
        let place = format!(
            "{} on {}:{} as {}",
            options.get_database().unwrap_or(options.get_username()),
            options.get_host(),
            options.get_port(),
            options.get_username(),
        );
        Ok(Self {
            options: options
                .application_name("genvid")
                .statement_cache_capacity(256),
            place,
        })
    }

    async fn open(&self) -> Result<PgConnection, OpenError> {
        match tokio::time::timeout(ACQUIRE_LIMIT, self.options.connect()).await {
            Ok(connected) => connected.map_err(|source| self.failed(source)),
            Err(_) => Err(self.failed(sqlx::Error::PoolTimedOut)),
        }
    }

    fn failed(&self, source: sqlx::Error) -> OpenError {
        OpenError::Open {
            place: self.place.clone(),
            source,
        }
    }

    fn unfit(&self, reason: String) -> OpenError {
        OpenError::Unfit {
            place: self.place.clone(),
            reason,
        }
    }
}
