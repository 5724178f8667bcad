//! Keys that sign access tokens. Their private halves are sealed before they come here.

use serde_json::json;

use super::{
    Database, Error, acts,
    database::Scope,
    query::{Row, query},
    rows,
};
use crate::{
    accounts::{acts::ActKind, tokens::SigningKey},
    time::Timestamp,
};

fn key(row: &Row) -> Result<SigningKey, Error> {
    Ok(SigningKey {
        id: row.try_get("id")?,
        public: row.try_get("public")?,
        private: row.try_get("private")?,
        created_at: rows::time(row, "created_at")?,
        signs_from: rows::time(row, "signs_from")?,
        revoked_at: rows::optional_time(row, "revoked_at")?,
    })
}

impl Database {
    /// All signing keys, in the order in which they sign.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn signing_keys(&self) -> Result<Vec<SigningKey>, Error> {
        query(
            "SELECT id, public, private, created_at, signs_from, revoked_at FROM signing_keys \
             ORDER BY signs_from, id",
        )
        .fetch_all(&mut self.read(Scope::Identity).await?)
        .await?
        .iter()
        .map(key)
        .collect()
    }

    /// Keeps a new signing key.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn insert_signing_key(&self, key: SigningKey, by: &'static str) -> Result<(), Error> {
        self.write(Scope::Identity, move |connection| {
            Box::pin(async move {
                query(
                    "INSERT INTO signing_keys (id, public, private, created_at, signs_from) \
                     VALUES ($1, $2, $3, $4, $5)",
                )
                .bind(&key.id)
                .bind(key.public.as_slice())
                .bind(key.private.as_slice())
                .bind(key.created_at)
                .bind(key.signs_from)
                .execute(&mut *connection)
                .await?;
                let details = json!({ "signsFrom": key.signs_from.to_string() });
                acts::note(connection, by, ActKind::AddSigningKey, &key.id, details).await
            })
        })
        .await
    }

    /// Withdraws a signing key; false when there is none that could be withdrawn.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn revoke_signing_key(
        &self,
        id: String,
        now: Timestamp,
        by: &'static str,
    ) -> Result<bool, Error> {
        self.write(Scope::Identity, move |connection| {
            Box::pin(async move {
                let revoked = query(
                    "UPDATE signing_keys SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL",
                )
                .bind(&id)
                .bind(now)
                .execute(&mut *connection)
                .await?
                .rows_affected();
                if revoked > 0 {
                    let kind = ActKind::RevokeSigningKey;
                    acts::note(connection, by, kind, &id, json!({})).await?;
                }
                Ok(revoked > 0)
            })
        })
        .await
    }

    /// Puts the private half of a key in another seal, unless somebody else did meanwhile.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn reseal_signing_key(
        &self,
        id: String,
        old: Vec<u8>,
        new: Vec<u8>,
    ) -> Result<bool, Error> {
        self.write(Scope::Identity, move |connection| {
            Box::pin(async move {
                let sealed =
                    query("UPDATE signing_keys SET private = $3 WHERE id = $1 AND private = $2")
                        .bind(id)
                        .bind(old)
                        .bind(new)
                        .execute(connection)
                        .await?
                        .rows_affected();
                Ok(sealed > 0)
            })
        })
        .await
    }
}
