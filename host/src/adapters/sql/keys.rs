//! API keys.

use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::{
    Database, Error,
    accounts::{self, USER},
    database::Scope,
    query::{Row, query},
    rows,
    spending::{self, BUDGET},
    values::{Json, to_json},
};
use crate::{
    accounts::{
        User,
        keys::{ApiKey, KeyLimits},
    },
    ids::{ApiKeyId, UserId},
    jobs::store::Page,
    time::Timestamp,
};

const KEY: &str = "api_keys.id AS key_id, api_keys.owner_id AS key_owner, api_keys.name AS key_name, \
    api_keys.hint, api_keys.scopes, api_keys.providers, api_keys.in_flight, api_keys.created_at AS key_created_at, api_keys.expires_at, \
    api_keys.revoked_at, api_keys.last_used_at";

impl Database {
    /// Keeps a new key; false when the user has `most` that are neither revoked nor over.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn insert_key(
        &self,
        key: ApiKey,
        token_hash: Vec<u8>,
        most: u32,
    ) -> Result<bool, Error> {
        let owner = key.owner;
        self.write(Scope::User(owner), move |connection| {
            Box::pin(async move {
                let lock = connection.dialect().lock;
                // Those who make one at the same time wait for each other.
                query(AssertSqlSafe(format!(
                    "SELECT id FROM users WHERE id = $1 {lock}"
                )))
                .bind(owner.uuid())
                .fetch_optional(&mut *connection)
                .await?;
                let row = query(
                    "SELECT COUNT(*) AS there FROM api_keys WHERE owner_id = $1 \
                     AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2)",
                )
                .bind(owner.uuid())
                .bind(key.created_at)
                .fetch_one(&mut *connection)
                .await?;
                if row.try_get::<i64>("there")? >= i64::from(most) {
                    return Ok(false);
                }
                query(
                    "INSERT INTO api_keys (id, owner_id, name, token_hash, hint, in_flight, \
                     created_at, expires_at, scopes, providers) \
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
                )
                .bind(key.id.uuid())
                .bind(owner.uuid())
                .bind(&key.name)
                .bind(token_hash)
                .bind(&key.hint)
                .bind(key.in_flight.map(i64::from))
                .bind(key.created_at)
                .bind(key.expires_at)
                .bind(key.scopes.as_ref().map(to_json).transpose()?)
                .bind(key.providers.as_ref().map(to_json).transpose()?)
                .execute(&mut *connection)
                .await?;
                let limit = key.budget.map(|budget| budget.limit);
                spending::set(connection, owner, key.id.uuid(), limit).await?;
                Ok(true)
            })
        })
        .await
    }

    /// Changes what the jobs of a key of this owner may do.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn limit_key(
        &self,
        owner: UserId,
        id: ApiKeyId,
        limits: KeyLimits,
    ) -> Result<(), Error> {
        self.write(Scope::User(owner), move |connection| {
            Box::pin(async move {
                let changed =
                    query("UPDATE api_keys SET in_flight = $3 WHERE id = $1 AND owner_id = $2")
                        .bind(id.uuid())
                        .bind(owner.uuid())
                        .bind(limits.in_flight.map(i64::from))
                        .execute(&mut *connection)
                        .await?
                        .rows_affected();
                if changed > 0 {
                    spending::set(connection, owner, id.uuid(), limits.budget).await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// Revokes a key of this owner, once.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn revoke_key(
        &self,
        owner: UserId,
        id: ApiKeyId,
        now: Timestamp,
    ) -> Result<(), Error> {
        self.write(Scope::User(owner), move |connection| {
            Box::pin(async move {
                query(
                    "UPDATE api_keys SET revoked_at = $3 WHERE id = $1 AND owner_id = $2 \
                     AND revoked_at IS NULL",
                )
                .bind(id.uuid())
                .bind(owner.uuid())
                .bind(now)
                .execute(connection)
                .await?;
                Ok(())
            })
        })
        .await
    }

    /// A key of this owner.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_key(&self, owner: UserId, id: ApiKeyId) -> Result<Option<ApiKey>, Error> {
        query(AssertSqlSafe(format!(
            "SELECT {KEY}, {BUDGET} FROM api_keys \
             LEFT JOIN spending ON spending.scope_id = api_keys.id \
             WHERE api_keys.id = $1 AND api_keys.owner_id = $2"
        )))
        .bind(id.uuid())
        .bind(owner.uuid())
        .fetch_optional(&mut self.read(Scope::User(owner)).await?)
        .await?
        .as_ref()
        .map(key_with_budget)
        .transpose()
    }

    /// Keys of this owner, newest first, behind (before) one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_keys(
        &self,
        owner: UserId,
        after: Option<ApiKeyId>,
        first: u32,
    ) -> Result<Page<ApiKey>, Error> {
        let rows = query(AssertSqlSafe(format!(
            "SELECT {KEY}, {BUDGET} FROM api_keys \
             LEFT JOIN spending ON spending.scope_id = api_keys.id \
             WHERE api_keys.owner_id = $1 AND api_keys.id < $2 \
             ORDER BY api_keys.id DESC LIMIT $3"
        )))
        .bind(owner.uuid())
        .bind(after.map_or(Uuid::max(), ApiKeyId::uuid))
        .bind(i64::from(first) + 1)
        .fetch_all(&mut self.read(Scope::User(owner)).await?)
        .await?;
        let items = rows
            .iter()
            .map(key_with_budget)
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Page::cut(items, first))
    }

    /// The key with this hash and its owner, unless it is over or revoked. Without its budget.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn key_owner(
        &self,
        token_hash: &[u8],
        now: Timestamp,
    ) -> Result<Option<(User, ApiKey)>, Error> {
        let row = query(AssertSqlSafe(format!(
            "SELECT {USER}, {KEY} \
             FROM api_keys JOIN users ON users.id = api_keys.owner_id \
             WHERE token_hash = $1 AND revoked_at IS NULL \
             AND (expires_at IS NULL OR expires_at > $2)"
        )))
        .bind(token_hash)
        .bind(now)
        .fetch_optional(&mut self.read(Scope::Identity).await?)
        .await?;
        row.map(|row| Ok((accounts::user(&row)?, key(&row)?)))
            .transpose()
    }

    /// Writes down when a key was used, unless it was used later.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn use_key(&self, id: ApiKeyId, now: Timestamp) -> Result<(), Error> {
        self.write(Scope::Identity, move |connection| {
            Box::pin(async move {
                query(
                    "UPDATE api_keys SET last_used_at = $2 WHERE id = $1 \
                     AND (last_used_at IS NULL OR last_used_at < $2)",
                )
                .bind(id.uuid())
                .bind(now)
                .execute(connection)
                .await?;
                Ok(())
            })
        })
        .await
    }
}

fn key(row: &Row) -> Result<ApiKey, Error> {
    let in_flight: Option<i64> = row.try_get("in_flight")?;
    Ok(ApiKey {
        id: ApiKeyId::from_uuid(rows::uuid(row, "key_id")?),
        owner: UserId::from_uuid(rows::uuid(row, "key_owner")?),
        name: row.try_get("key_name")?,
        hint: row.try_get("hint")?,
        scopes: (row.try_get::<Option<Json>>("scopes")?)
            .map(|scopes| scopes.read("scopes of a key"))
            .transpose()?,
        providers: (row.try_get::<Option<Json>>("providers")?)
            .map(|providers| providers.read("providers of a key"))
            .transpose()?,
        in_flight: in_flight.map(|most| u32::try_from(most).unwrap_or(u32::MAX)),
        budget: None,
        created_at: rows::time(row, "key_created_at")?,
        expires_at: rows::optional_time(row, "expires_at")?,
        revoked_at: rows::optional_time(row, "revoked_at")?,
        last_used_at: rows::optional_time(row, "last_used_at")?,
    })
}

fn key_with_budget(row: &Row) -> Result<ApiKey, Error> {
    Ok(ApiKey {
        budget: spending::budget(row)?,
        ..key(row)?
    })
}
