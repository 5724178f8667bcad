//! Installed plugins and the providers' settings: read by every node, written by
//! `genvid admin`.

use std::{collections::BTreeMap, path::Path};

use futures::future::BoxFuture;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgPool};

use super::{
    Database, Error, OpenError, acts,
    database::Scope,
    postgres, provider_secrets,
    query::{Connection, Row, query},
    rows,
    values::{Json, to_json},
};
use crate::{
    accounts::acts::{ActKind, OPERATOR},
    providers::{Activated, Installed, NewVersion, Overrides, Refused, Version, VersionState},
    time,
};

const VERSION: &str = "digest, id, version, state, size, installed_at";
const OVERRIDES: &str = "id, enabled, concurrency, settle_after_seconds, settings";
/// How often changes may come between two statements before a reader gives up.
const TRIES: usize = 20;
/// What PostgreSQL answers to who may not do something.
const NO_RIGHT: &str = "42501";

/// A plugin's version that attempts are open of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct InUse {
    /// The provider.
    pub provider: String,
    /// SHA-256 of the component, in hex.
    pub digest: String,
    /// Attempts whose step is not over, or that are not settled yet.
    pub attempts: u64,
}

impl Database {
    /// The number that grows with every change of what is installed.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn plugin_revision(&self) -> Result<i64, Error> {
        revision(&mut self.read(Scope::Identity).await?).await
    }

    /// Everything that is installed, but for the bytes.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn installed_plugins(&self) -> Result<Installed, Error> {
        for _ in 0..TRIES {
            let mut connection = self.read(Scope::Identity).await?;
            let before = revision(&mut connection).await?;
            let versions = query(AssertSqlSafe(format!(
                "SELECT {VERSION} FROM plugin_versions ORDER BY id, installed_at DESC, version DESC"
            )))
            .fetch_all(&mut connection)
            .await?
            .iter()
            .map(version)
            .collect::<Result<_, _>>()?;
            let overrides = query(AssertSqlSafe(format!(
                "SELECT {OVERRIDES} FROM provider_settings"
            )))
            .fetch_all(&mut connection)
            .await?
            .iter()
            .map(overrides)
            .collect::<Result<BTreeMap<_, _>, _>>()?;
            let secrets = provider_secrets::read(&mut connection).await?;
            // Each statement sees its own moment; the revision tells whether all saw one.
            if revision(&mut connection).await? == before {
                return Ok(Installed {
                    revision: before,
                    versions,
                    overrides,
                    secrets,
                });
            }
        }
        Err(Error::decode(
            "list of plugins",
            "it changes all the time; try again",
        ))
    }

    /// The bytes of an installed version; nothing when there is none with that digest.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn plugin_component(&self, digest: &str) -> Result<Option<Vec<u8>>, Error> {
        query("SELECT wasm FROM plugin_versions WHERE digest = $1")
            .bind(digest)
            .fetch_optional(&mut self.read(Scope::Nobody).await?)
            .await?
            .map(|row| Ok(row.try_get("wasm")?))
            .transpose()
    }

    /// The versions of plugins, installed or not, that attempts still need: to be settled, or
    /// for results that are on their way home.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn plugins_in_use(&self) -> Result<Vec<InUse>, Error> {
        // A result that is fetched belongs to an attempt that is settled already. Two looks at
        // steps, so that each has an index of its own.
        query(
            "SELECT provider, plugin_digest, COUNT(*) AS attempts FROM ( \
             SELECT id, provider, plugin_digest FROM attempts WHERE finished_at IS NULL \
             UNION SELECT attempts.id, attempts.provider, plugin_digest FROM attempts \
             JOIN steps ON steps.id = attempts.step_id \
             WHERE steps.status = 'STORING' AND steps.lease_owner IS NOT NULL \
             AND delivered IS NOT NULL \
             UNION SELECT attempts.id, attempts.provider, plugin_digest FROM attempts \
             JOIN steps ON steps.id = attempts.step_id \
             WHERE steps.status = 'STORING' AND steps.due_at IS NOT NULL \
             AND steps.lease_owner IS NULL AND delivered IS NOT NULL) AS needed \
             GROUP BY provider, plugin_digest",
        )
        .fetch_all(&mut self.read(Scope::Worker).await?)
        .await?
        .iter()
        .map(|row| {
            Ok(InUse {
                provider: row.try_get("provider")?,
                digest: row.try_get("plugin_digest")?,
                attempts: row.try_get::<i64>("attempts")?.unsigned_abs(),
            })
        })
        .collect()
    }
}

/// A change could not be made.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// Not as things are.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Whoever connects may only read.
    #[error(
        "the database lets only the owner of its tables change plugins and providers; name him with database.owner_url (GENVID__DATABASE__OWNER_URL), as for `genvid migrate`"
    )]
    NotOwner,
    /// The database failed.
    #[error(transparent)]
    Database(Error),
}

impl From<Error> for InstallError {
    fn from(error: Error) -> Self {
        match &error {
            Error::Sql(sqlx::Error::Database(answer))
                if answer.code().as_deref() == Some(NO_RIGHT) =>
            {
                Self::NotOwner
            }
            _ => Self::Database(error),
        }
    }
}

/// The database for whoever installs: on a server as the owner of the tables, of a file also
/// while a server has it open.
#[derive(Clone)]
pub struct Installer {
    database: Database,
    /// On a server: connections of the owner.
    owner: Option<PgPool>,
}

impl Installer {
    /// Opens the embedded database of `folder`. A server of the same version may have it open:
    /// then its tables are taken as they are.
    ///
    /// # Errors
    /// When the folder is unusable, or its tables are not those of this version while
    /// another process has them.
    pub async fn open(folder: &Path) -> Result<Self, OpenError> {
        Ok(Self {
            database: Database::open_beside(folder).await?,
            owner: None,
        })
    }

    /// Connects to a PostgreSQL server.
    ///
    /// # Errors
    /// As [`Database::connect`].
    pub async fn connect(options: &postgres::Options) -> Result<Self, OpenError> {
        Ok(Self {
            database: Database::connect(options).await?,
            owner: Some(postgres::owner(options)?),
        })
    }

    /// The same database, to read.
    #[must_use]
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// Installs versions and makes each the active one of its plugin: all of them, or none.
    /// One that is installed already is made active.
    ///
    /// # Errors
    /// `VersionTaken` for a version that is there with other bytes.
    pub async fn install(&self, new: Vec<NewVersion>) -> Result<Vec<Activated>, InstallError> {
        self.write(move |connection| {
            Box::pin(async move {
                lock(connection).await?;
                for new in &new {
                    if let Some(there) = find(connection, &new.id, &new.version).await?
                        && there.digest != new.digest
                    {
                        return Ok(Err(Refused::VersionTaken {
                            id: there.id,
                            version: there.version,
                            digest: there.digest,
                        }));
                    }
                }
                let mut done = Vec::new();
                for new in new {
                    query(
                        "INSERT INTO plugin_versions \
                         (digest, id, version, state, size, installed_at, wasm) \
                         VALUES ($1, $2, $3, 'kept', $4, $5, $6) ON CONFLICT (digest) DO NOTHING",
                    )
                    .bind(&new.digest)
                    .bind(&new.id)
                    .bind(&new.version)
                    .bind(i64::try_from(new.wasm.len()).unwrap_or(i64::MAX))
                    .bind(time::now())
                    .bind(new.wasm)
                    .execute(&mut *connection)
                    .await?;
                    done.push(activate(connection, &new.id, &new.digest).await?);
                    let details = json!({ "version": new.version, "digest": new.digest });
                    tell(connection, ActKind::InstallPlugin, &new.id, details).await?;
                }
                grow(connection).await?;
                Ok(Ok(done))
            })
        })
        .await
    }

    /// Makes an installed version the active one: forwards, or back.
    ///
    /// # Errors
    /// `UnknownVersion`.
    pub async fn activate(&self, id: &str, version: &str) -> Result<Activated, InstallError> {
        let (id, version) = (id.to_owned(), version.to_owned());
        self.write(move |connection| {
            Box::pin(async move {
                lock(connection).await?;
                let Some(there) = find(connection, &id, &version).await? else {
                    return Ok(Err(Refused::UnknownVersion { id, version }));
                };
                let done = activate(connection, &id, &there.digest).await?;
                let details = json!({ "version": there.version, "digest": there.digest });
                tell(connection, ActKind::UsePlugin, &id, details).await?;
                grow(connection).await?;
                Ok(Ok(done))
            })
        })
        .await
    }

    /// Removes a version, or all of a plugin; answers them as they were.
    ///
    /// # Errors
    /// `UnknownVersion` or `UnknownPlugin`; `InUse` while attempts need one of them.
    pub async fn remove(
        &self,
        id: &str,
        version: Option<&str>,
    ) -> Result<Vec<Version>, InstallError> {
        let (id, only) = (id.to_owned(), version.map(str::to_owned));
        let database = self.database.clone();
        self.write(move |connection| {
            Box::pin(async move {
                lock(connection).await?;
                let mut leaving = of_plugin(connection, &id).await?;
                if let Some(only) = &only {
                    leaving.retain(|there| there.version == *only);
                }
                if leaving.is_empty() {
                    return Ok(Err(match only {
                        Some(version) => Refused::UnknownVersion { id, version },
                        None => Refused::UnknownPlugin { id },
                    }));
                }
                // Jobs are the worker's: the owner of the tables sees none of them.
                let needed = database.plugins_in_use().await?;
                for there in &leaving {
                    let attempts = needed
                        .iter()
                        .filter(|needed| needed.digest == there.digest)
                        .map(|needed| needed.attempts)
                        .sum();
                    if attempts > 0 {
                        return Ok(Err(Refused::InUse {
                            id,
                            version: there.version.clone(),
                            attempts,
                        }));
                    }
                }
                for there in &leaving {
                    query("DELETE FROM plugin_versions WHERE digest = $1")
                        .bind(&there.digest)
                        .execute(&mut *connection)
                        .await?;
                    let details = json!({ "version": there.version, "digest": there.digest });
                    tell(connection, ActKind::RemovePlugin, &id, details).await?;
                }
                grow(connection).await?;
                Ok(Ok(leaving))
            })
        })
        .await
    }

    /// Sets what `change` names for a provider and leaves the rest; answers what is set now.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn set_provider(
        &self,
        id: &str,
        change: Overrides,
    ) -> Result<Overrides, InstallError> {
        let id = id.to_owned();
        self.write(move |connection| {
            Box::pin(async move {
                lock(connection).await?;
                let settings = change.settings.as_ref().map(to_json).transpose()?;
                // Names only: nobody knows what an operator puts into a plugin's own settings.
                let names = change
                    .settings
                    .as_ref()
                    .map(|all| all.keys().collect::<Vec<_>>());
                let details = json!({
                    "enabled": change.enabled, "concurrency": change.concurrency,
                    "settleAfterSeconds": change.settle_after_seconds, "settings": names,
                });
                tell(connection, ActKind::SetProvider, &id, details).await?;
                let row = query(AssertSqlSafe(format!(
                    "INSERT INTO provider_settings ({OVERRIDES}, updated_at) \
                     VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (id) DO UPDATE SET \
                     enabled = COALESCE(excluded.enabled, provider_settings.enabled), \
                     concurrency = COALESCE(excluded.concurrency, provider_settings.concurrency), \
                     settle_after_seconds = COALESCE(excluded.settle_after_seconds, \
                     provider_settings.settle_after_seconds), \
                     settings = COALESCE(excluded.settings, provider_settings.settings), \
                     updated_at = excluded.updated_at RETURNING {OVERRIDES}"
                )))
                .bind(id)
                .bind(change.enabled)
                .bind(change.concurrency)
                .bind(change.settle_after_seconds)
                .bind(settings)
                .bind(time::now())
                .fetch_one(&mut *connection)
                .await?;
                grow(connection).await?;
                Ok(Ok(overrides(&row)?.1))
            })
        })
        .await
    }

    /// Forgets what was set for a provider: it is as the settings of each node say.
    ///
    /// # Errors
    /// `NothingSet`.
    pub async fn reset_provider(&self, id: &str) -> Result<(), InstallError> {
        let id = id.to_owned();
        self.write(move |connection| {
            Box::pin(async move {
                lock(connection).await?;
                let gone = query("DELETE FROM provider_settings WHERE id = $1")
                    .bind(&id)
                    .execute(&mut *connection)
                    .await?
                    .rows_affected();
                if gone == 0 {
                    return Ok(Err(Refused::NothingSet { id }));
                }
                tell(connection, ActKind::ResetProvider, &id, json!({})).await?;
                grow(connection).await?;
                Ok(Ok(()))
            })
        })
        .await
    }

    /// One transaction; what is refused has written nothing.
    async fn write<T, F>(&self, work: F) -> Result<T, InstallError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<Result<T, Refused>, Error>>
            + Send
            + 'static,
    {
        let outcome = match &self.owner {
            None => self.database.write(Scope::Nobody, work).await?,
            Some(pool) => {
                let transaction = pool.begin().await.map_err(Error::from)?;
                let mut connection = Connection::Postgres(transaction);
                let outcome = work(&mut connection).await?;
                if let (Connection::Postgres(transaction), Ok(_)) = (connection, &outcome) {
                    transaction.commit().await.map_err(Error::from)?;
                }
                outcome
            }
        };
        Ok(outcome?)
    }
}

async fn revision(connection: &mut Connection) -> Result<i64, Error> {
    // Credentials are set by nodes that may not write the other table.
    Ok(query(
        "SELECT revision + (SELECT CAST(COALESCE(SUM(revision), 0) AS BIGINT) \
         FROM provider_secrets) AS revision FROM plugin_revision",
    )
    .fetch_one(connection)
    .await?
    .try_get("revision")?)
}

/// Writes down what the operator does.
async fn tell(
    connection: &mut Connection,
    kind: ActKind,
    subject: &str,
    details: Value,
) -> Result<(), Error> {
    acts::note(connection, OPERATOR, kind, subject, details).await
}

/// Two who install at once do so one after the other.
async fn lock(connection: &mut Connection) -> Result<(), Error> {
    let lock = connection.dialect().lock;
    query(AssertSqlSafe(format!(
        "SELECT revision FROM plugin_revision {lock}"
    )))
    .fetch_one(connection)
    .await?;
    Ok(())
}

async fn grow(connection: &mut Connection) -> Result<(), Error> {
    query("UPDATE plugin_revision SET revision = revision + 1")
        .execute(connection)
        .await?;
    Ok(())
}

async fn of_plugin(connection: &mut Connection, id: &str) -> Result<Vec<Version>, Error> {
    query(AssertSqlSafe(format!(
        "SELECT {VERSION} FROM plugin_versions WHERE id = $1 ORDER BY installed_at, version"
    )))
    .bind(id)
    .fetch_all(connection)
    .await?
    .iter()
    .map(version)
    .collect()
}

async fn find(
    connection: &mut Connection,
    id: &str,
    wanted: &str,
) -> Result<Option<Version>, Error> {
    let all = of_plugin(connection, id).await?;
    Ok(all.into_iter().find(|there| there.version == wanted))
}

async fn activate(connection: &mut Connection, id: &str, digest: &str) -> Result<Activated, Error> {
    let before = of_plugin(connection, id).await?;
    query("UPDATE plugin_versions SET state = 'kept' WHERE id = $1 AND state = 'active'")
        .bind(id)
        .execute(&mut *connection)
        .await?;
    let row = query(AssertSqlSafe(format!(
        "UPDATE plugin_versions SET state = 'active' WHERE digest = $1 RETURNING {VERSION}"
    )))
    .bind(digest)
    .fetch_one(connection)
    .await?;
    Ok(Activated {
        version: version(&row)?,
        replaced: before
            .into_iter()
            .find(|there| there.state == VersionState::Active && there.digest != digest)
            .map(|there| there.version),
    })
}

fn version(row: &Row) -> Result<Version, Error> {
    let state: &str = row.try_get("state")?;
    Ok(Version {
        id: row.try_get("id")?,
        version: row.try_get("version")?,
        digest: row.try_get("digest")?,
        size: row.try_get::<i64>("size")?.unsigned_abs(),
        state: VersionState::parse(state)
            .ok_or_else(|| Error::decode("state of a plugin", state.to_owned()))?,
        installed_at: rows::time(row, "installed_at")?,
    })
}

fn overrides(row: &Row) -> Result<(String, Overrides), Error> {
    let whole = |column| -> Result<Option<u32>, Error> {
        row.try_get::<Option<i64>>(column)?
            .map(|number| {
                u32::try_from(number).map_err(|error| Error::decode("setting of a provider", error))
            })
            .transpose()
    };
    let settings: Option<Json> = row.try_get("settings")?;
    let overrides = Overrides {
        enabled: row.try_get("enabled")?,
        concurrency: whole("concurrency")?,
        settle_after_seconds: whole("settle_after_seconds")?,
        settings: settings
            .map(|settings| settings.read("settings of a provider"))
            .transpose()?,
    };
    Ok((row.try_get("id")?, overrides))
}
