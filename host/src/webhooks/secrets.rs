//! Endpoints' secrets, which the database has sealed.

use super::{Endpoint, SealedSecret, Secret};
use crate::{
    adapters::sql::{self, Database},
    ids::{EndpointId, UserId},
    vault::{self, Vault},
};

/// Secrets that are looked at in one go.
const BATCH: u32 = 500;

/// Why there is no secret to be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sql::Error),
    /// What is stored cannot be opened.
    #[error("the webhook secret of endpoint {0}: {1}")]
    Vault(EndpointId, vault::Error),
}

/// One row's secrets, as they are stored.
#[derive(Debug, Clone)]
pub struct Sealed {
    /// Of which endpoint.
    pub endpoint: EndpointId,
    /// Whose it is.
    pub owner: UserId,
    /// What signs.
    pub secret: SealedSecret,
    /// What signs too.
    pub previous: Option<SealedSecret>,
}

/// What came of sealing anew.
#[derive(Debug, Default)]
pub struct Resealed {
    /// Endpoints whose secrets changed their seal.
    pub changed: u64,
    /// Secrets that no key opens.
    pub unreadable: Vec<SecretError>,
}

/// Opens, seals and makes secrets. Cheap to clone.
#[derive(Clone)]
pub struct Secrets {
    database: Database,
    vault: Vault,
}

impl Secrets {
    /// Over a database, and what its secrets are sealed with.
    #[must_use]
    pub fn new(database: Database, vault: Vault) -> Self {
        Self { database, vault }
    }

    /// A new secret for an endpoint.
    pub(super) fn make(&self, endpoint: EndpointId) -> Result<(Secret, SealedSecret), SecretError> {
        let secret = Secret::generate();
        let sealed = secret.seal(&self.vault, endpoint);
        let sealed = sealed.map_err(|error| SecretError::Vault(endpoint, error))?;
        Ok((secret, sealed))
    }

    /// What signs, which is made when it is missing.
    pub(super) async fn of(&self, endpoint: &Endpoint) -> Result<Secret, SecretError> {
        if !endpoint.secret.is_missing() {
            return self.open(endpoint.id, &endpoint.secret);
        }
        // The first one to write it down wins, and everybody reads what is there.
        let (_, sealed) = self.make(endpoint.id)?;
        let kept = (self.database).ensure_secret(endpoint.owner, endpoint.id, sealed);
        let kept = kept.await?.unwrap_or_default();
        self.open(endpoint.id, &kept)
    }

    pub(super) fn open(
        &self,
        endpoint: EndpointId,
        sealed: &SealedSecret,
    ) -> Result<Secret, SecretError> {
        let opened = sealed.open(&self.vault, endpoint);
        opened.map_err(|error| SecretError::Vault(endpoint, error))
    }

    /// Seals with the key of now what was sealed with another one, and what versions before have
    /// left plain. For a handle of the worker. May be repeated and run on many nodes at a time.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn reseal(&self) -> Result<Resealed, sql::Error> {
        let (mut after, mut done) = (None, Resealed::default());
        loop {
            let rows = self.database.sealed_secrets(after, BATCH).await?;
            let Some(last) = rows.last() else {
                return Ok(done);
            };
            after = Some(last.endpoint);
            for row in rows {
                match self.anew(&row) {
                    Ok(Some(new)) => {
                        let replaced = self.database.replace_secrets(row, new).await?;
                        done.changed += u64::from(replaced);
                    }
                    Ok(None) => {}
                    // One that is lost keeps none of the others under the old key.
                    Err(error) => done
                        .unreadable
                        .push(SecretError::Vault(row.endpoint, error)),
                }
            }
        }
    }

    /// The same secrets under the key of now; nothing when they are so already.
    fn anew(&self, row: &Sealed) -> Result<Option<Sealed>, vault::Error> {
        let anew = |old: &SealedSecret| old.anew(&self.vault, row.endpoint);
        let secret = anew(&row.secret)?;
        let previous = row.previous.as_ref().map(anew).transpose()?.flatten();
        if secret.is_none() && previous.is_none() {
            return Ok(None);
        }
        Ok(Some(Sealed {
            secret: secret.unwrap_or_else(|| row.secret.clone()),
            previous: previous.or_else(|| row.previous.clone()),
            ..row.clone()
        }))
    }
}
