//! Vendors' credentials that were set for every node, sealed.

use serde_json::json;

use super::{
    Database, Error, acts,
    database::Scope,
    query::{Connection, query},
    rows,
};
use crate::{accounts::acts::ActKind, providers::SealedSecret, time};

/// The credentials that are set, for who has a connection already.
pub(super) async fn read(connection: &mut Connection) -> Result<Vec<SealedSecret>, Error> {
    query(
        "SELECT provider, name, sealed, set_at FROM provider_secrets WHERE sealed IS NOT NULL \
         ORDER BY provider, name",
    )
    .fetch_all(connection)
    .await?
    .iter()
    .map(|row| {
        Ok(SealedSecret {
            provider: row.try_get("provider")?,
            name: row.try_get("name")?,
            sealed: row.try_get("sealed")?,
            set_at: rows::time(row, "set_at")?,
        })
    })
    .collect()
}

impl Database {
    /// The credentials that are set, by provider and name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn provider_secrets(&self) -> Result<Vec<SealedSecret>, Error> {
        read(&mut self.read(Scope::Identity).await?).await
    }

    /// Sets a credential for every node, or forgets it; false when there was none to forget.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn set_provider_secret(
        &self,
        provider: String,
        name: String,
        sealed: Option<Vec<u8>>,
        by: String,
    ) -> Result<bool, Error> {
        self.write(Scope::Identity, move |connection| {
            Box::pin(async move {
                let set = sealed.is_some();
                let changed = match sealed {
                    Some(sealed) => query(
                        "INSERT INTO provider_secrets (provider, name, sealed, revision, set_at) \
                         VALUES ($1, $2, $3, 1, $4) ON CONFLICT (provider, name) DO UPDATE SET \
                         sealed = excluded.sealed, revision = provider_secrets.revision + 1, \
                         set_at = excluded.set_at",
                    )
                    .bind(&provider)
                    .bind(&name)
                    .bind(sealed),
                    None => query(
                        "UPDATE provider_secrets SET sealed = NULL, revision = revision + 1, \
                         set_at = $3 WHERE provider = $1 AND name = $2 AND sealed IS NOT NULL",
                    )
                    .bind(&provider)
                    .bind(&name),
                };
                let changed = changed.bind(time::now()).execute(&mut *connection).await?;
                if changed.rows_affected() == 0 {
                    return Ok(false);
                }
                // Names only: what is in it is nobody's to read.
                let details = json!({ "secret": name, "set": set });
                let kind = ActKind::SetProviderSecret;
                acts::note(connection, &by, kind, &provider, details).await?;
                Ok(true)
            })
        })
        .await
    }

    /// Puts another seal on a credential, unless it was changed meanwhile.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn reseal_provider_secret(
        &self,
        old: SealedSecret,
        new: Vec<u8>,
    ) -> Result<bool, Error> {
        self.write(Scope::Identity, move |connection| {
            Box::pin(async move {
                let changed = query(
                    "UPDATE provider_secrets SET sealed = $4, revision = revision + 1 \
                     WHERE provider = $1 AND name = $2 AND sealed = $3",
                )
                .bind(&old.provider)
                .bind(&old.name)
                .bind(old.sealed)
                .bind(new)
                .execute(connection)
                .await?;
                Ok(changed.rows_affected() > 0)
            })
        })
        .await
    }
}
