//! Vendors' credentials that administrators set for every node: written, never read by anybody but
//! the nodes that use them.

use std::collections::BTreeMap;

use genvid_runtime::{Manifest, manifest::Credential};
use secrecy::SecretString;

use super::Registry;
use crate::{
    adapters::sql::{self, Database},
    input::Problems,
    time::Timestamp,
    vault::{self, Vault},
};

/// Longest credential, in bytes.
const MAX_SECRET: usize = 8 * 1_024;

/// A credential as it is stored.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedSecret {
    /// Of which provider.
    pub provider: String,
    /// The name that the plugin gives it.
    pub name: String,
    /// What it is, sealed.
    pub sealed: Vec<u8>,
    /// Since when.
    pub set_at: Timestamp,
}

impl std::fmt::Debug for SealedSecret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "SealedSecret({}, {})", self.provider, self.name)
    }
}

/// Why a credential is not set.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Fields that cannot be taken.
    #[error("the input is not valid")]
    Invalid(Problems),
    /// There is none to forget.
    #[error("no such credential is set")]
    NotFound,
    /// It cannot be sealed.
    #[error(transparent)]
    Vault(#[from] vault::Error),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sql::Error),
}

/// What came of sealing anew.
#[derive(Debug, Default)]
pub struct ResealedSecrets {
    /// Credentials whose seal changed.
    pub changed: u64,
    /// Those that no key opens.
    pub unreadable: Vec<String>,
}

/// Seals and opens credentials. Cheap to clone.
#[derive(Clone)]
pub struct Secrets {
    database: Database,
    vault: Vault,
}

/// The names that a plugin gives its credentials, and what verifies its vendor's calls.
#[must_use]
pub fn names(manifest: &Manifest) -> Vec<&str> {
    let credentials = manifest.credentials.values();
    let webhook = manifest.webhook.as_ref();
    let mut names: Vec<&str> = credentials
        .flat_map(Credential::secrets)
        .chain(webhook.and_then(|webhook| webhook.verify.secret()))
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn purpose(provider: &str, name: &str) -> String {
    format!("provider secret {provider} {name}")
}

impl Secrets {
    /// Over a database, and what its secrets are sealed with.
    #[must_use]
    pub fn new(database: Database, vault: Vault) -> Self {
        Self { database, vault }
    }

    /// Sets a credential for every node: each takes it over within seconds, in the place of what its
    /// own settings say.
    ///
    /// # Errors
    /// `Invalid` names fields.
    pub async fn set(
        &self,
        registry: &Registry,
        provider: &str,
        name: &str,
        value: &str,
        by: String,
    ) -> Result<(), SecretError> {
        match registry.find(provider) {
            Some(known) => {
                self.set_for(provider, known.manifest(), name, value, by)
                    .await
            }
            None => {
                let words = format!("{provider} is not an installed provider");
                Err(SecretError::Invalid(Problems::one("provider", &words)))
            }
        }
    }

    /// The same for a plugin that is at hand.
    ///
    /// # Errors
    /// `Invalid` names fields.
    pub async fn set_for(
        &self,
        provider: &str,
        manifest: &Manifest,
        name: &str,
        value: &str,
        by: String,
    ) -> Result<(), SecretError> {
        let mut problems = Problems::default();
        let names = names(manifest);
        if !names.contains(&name) {
            let words = match names.is_empty() {
                true => format!("is none of {provider}'s, which has none"),
                false => format!("is none of {provider}'s: {}", names.join(", ")),
            };
            problems.add("name", words);
        }
        let value = value.trim();
        if !(1..=MAX_SECRET).contains(&value.len()) || value.chars().any(char::is_control) {
            let words = format!("must have 1 to {MAX_SECRET} bytes in one line");
            problems.add("value", words);
        }
        problems.into_result().map_err(SecretError::Invalid)?;
        let sealed = (self.vault).seal(&purpose(provider, name), value.as_bytes())?;
        let (provider, name) = (provider.to_owned(), name.to_owned());
        (self.database)
            .set_provider_secret(provider, name, Some(sealed), by)
            .await?;
        Ok(())
    }

    /// Forgets a credential: nodes go by their own settings again.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn forget(&self, provider: &str, name: &str, by: String) -> Result<(), SecretError> {
        let (provider, name) = (provider.to_owned(), name.to_owned());
        match (self.database)
            .set_provider_secret(provider, name, None, by)
            .await?
        {
            true => Ok(()),
            false => Err(SecretError::NotFound),
        }
    }

    /// What is set, sealed as it is.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list(&self) -> Result<Vec<SealedSecret>, sql::Error> {
        self.database.provider_secrets().await
    }

    /// Seals with the key of now what was sealed with another one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn reseal(&self) -> Result<ResealedSecrets, SecretError> {
        let mut done = ResealedSecrets::default();
        for old in self.database.provider_secrets().await? {
            if self.vault.is_current(&old.sealed) {
                continue;
            }
            let purpose = purpose(&old.provider, &old.name);
            match self.vault.open(&purpose, &old.sealed) {
                Ok(plain) => {
                    let new = self.vault.seal(&purpose, &plain)?;
                    let changed = self.database.reseal_provider_secret(old, new).await?;
                    done.changed += u64::from(changed);
                }
                // One that is lost keeps none of the others under the old key.
                Err(error) => {
                    (done.unreadable).push(format!("{} of {}: {error}", old.name, old.provider))
                }
            }
        }
        Ok(done)
    }
}

/// A provider's credentials, opened, by their names.
///
/// # Errors
/// With what is wrong, in words for operators.
pub fn open(
    vault: Option<&Vault>,
    sealed: &[SealedSecret],
) -> Result<BTreeMap<String, SecretString>, String> {
    let mut opened = BTreeMap::new();
    for one in sealed {
        let plain = vault
            .ok_or_else(|| "there is no encryption key here".to_owned())
            .and_then(|vault| {
                let plain = vault.open(&purpose(&one.provider, &one.name), &one.sealed);
                plain.map_err(|error| error.to_string())
            })
            .and_then(|plain| String::from_utf8(plain).map_err(|_| "it is no text".to_owned()));
        let plain = plain.map_err(|why| format!("{} cannot be opened: {why}", one.name))?;
        opened.insert(one.name.clone(), plain.into());
    }
    Ok(opened)
}
