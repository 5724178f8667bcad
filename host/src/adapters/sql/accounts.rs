//! Users and their access tokens.

use serde_json::json;
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::{
    Database, Error, acts,
    database::Scope,
    links, mails,
    query::{Row, query},
    rows,
};
use crate::{
    accounts::{Role, User, UserFilter, acts::ActKind, sessions::fold},
    ids::UserId,
    jobs::store::Page,
    mail::Language,
    time::Timestamp,
};

/// Columns of a user, from `users`.
pub(super) const USER: &str = "users.id, COALESCE(users.claimed, users.email) AS email, users.name, \
    users.role, users.created_at, users.email_verified_at";

pub(super) fn user(row: &Row) -> Result<User, Error> {
    let role: &str = row.try_get("role")?;
    Ok(User {
        id: UserId::from_uuid(rows::uuid(row, "id")?),
        email: row.try_get("email")?,
        verified_at: rows::optional_time(row, "email_verified_at")?,
        name: row.try_get("name")?,
        role: Role::parse(role).ok_or_else(|| Error::decode("role", role.to_owned()))?,
        created_at: rows::time(row, "created_at")?,
    })
}

impl Database {
    /// The user with this address, added when missing.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn ensure_user(&self, new: User) -> Result<User, Error> {
        self.write(Scope::Identity, move |connection| {
            Box::pin(async move {
                query(
                    "INSERT INTO users (id, email, name, role, created_at, email_verified_at) \
                     VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (email) DO NOTHING",
                )
                .bind(new.id.uuid())
                .bind(&new.email)
                .bind(&new.name)
                .bind(new.role.as_str())
                .bind(new.created_at)
                .bind(new.verified_at)
                .execute(&mut *connection)
                .await?;
                let row = query(AssertSqlSafe(format!(
                    "SELECT {USER} FROM users WHERE email = $1"
                )))
                .bind(&new.email)
                .fetch_one(&mut *connection)
                .await?;
                let user = user(&row)?;
                mails::note_contact(connection, user.id, &user.email, Language::English).await?;
                Ok(user)
            })
        })
        .await
    }

    /// A user by id (`usr_…`) or mail address, as operators name them.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_user_named(&self, named: &str) -> Result<Option<User>, Error> {
        match named.trim().parse() {
            Ok(id) => self.find_user(id).await,
            Err(_) => self.find_user_by_email(named).await,
        }
    }

    /// A user, also one whose account was deleted: what is paid and owed stays theirs.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_user(&self, id: UserId) -> Result<Option<User>, Error> {
        query(AssertSqlSafe(format!(
            "SELECT {USER} FROM users WHERE id = $1"
        )))
        .bind(id.uuid())
        .fetch_optional(&mut self.read(Scope::Identity).await?)
        .await?
        .as_ref()
        .map(user)
        .transpose()
    }

    /// A user whose account was not deleted.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_present_user(&self, id: UserId) -> Result<Option<User>, Error> {
        links::find(&mut self.read(Scope::Identity).await?, id.uuid()).await
    }

    /// Users whose accounts were not deleted, newest first, behind (before) one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_users(
        &self,
        filter: UserFilter,
        after: Option<UserId>,
        first: u32,
    ) -> Result<Page<User>, Error> {
        let begins = filter.begins.unwrap_or_default();
        let rows = query(AssertSqlSafe(format!(
            "SELECT {USER} FROM users WHERE deleted_at IS NULL AND id < $1 \
             AND ($2 = '' OR role = $2) \
             AND ($3 = '' OR substr(COALESCE(claimed, email), 1, length($3)) = $3) \
             ORDER BY id DESC LIMIT $4"
        )))
        .bind(after.map_or(Uuid::max(), UserId::uuid))
        .bind(filter.role.map_or("", Role::as_str))
        .bind(fold(&begins))
        .bind(i64::from(first) + 1)
        .fetch_all(&mut self.read(Scope::Identity).await?)
        .await?;
        let items = rows.iter().map(user).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::cut(items, first))
    }

    /// A user by mail address: whose it is; or the one who claims it, if there is only one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_user_by_email(&self, email: &str) -> Result<Option<User>, Error> {
        let email = &fold(email);
        let found = query(AssertSqlSafe(format!(
            "SELECT {USER}, (email = $1) AS holds FROM users \
             WHERE (email = $1 OR claimed = $1) AND deleted_at IS NULL \
             ORDER BY (email = $1) DESC LIMIT 2"
        )))
        .bind(email)
        .fetch_all(&mut self.read(Scope::Identity).await?)
        .await?;
        match found.as_slice() {
            [] => Ok(None),
            [only] => user(only).map(Some),
            [first, ..] => match first.try_get::<bool>("holds")? {
                true => user(first).map(Some),
                false => Ok(None),
            },
        }
    }

    /// Puts a user on a plan, for jobs that are accepted from now on; false when there is no such
    /// user.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn set_plan(&self, user: UserId, plan: String, by: String) -> Result<bool, Error> {
        self.write(Scope::Identity, move |connection| {
            Box::pin(async move {
                let written = query("UPDATE users SET plan = $2 WHERE id = $1")
                    .bind(user.uuid())
                    .bind(&plan)
                    .execute(&mut *connection)
                    .await?
                    .rows_affected();
                if written > 0 {
                    let details = json!({ "plan": plan });
                    let subject = user.to_string();
                    acts::note(connection, &by, ActKind::SetPlan, &subject, details).await?;
                }
                Ok(written > 0)
            })
        })
        .await
    }

    /// Gives a user another role, for requests from now on; false when there is no such user.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn set_role(&self, user: UserId, role: Role, by: String) -> Result<bool, Error> {
        self.write(Scope::Identity, move |connection| {
            Box::pin(async move {
                let written = query("UPDATE users SET role = $2 WHERE id = $1")
                    .bind(user.uuid())
                    .bind(role.as_str())
                    .execute(&mut *connection)
                    .await?
                    .rows_affected();
                if written > 0 {
                    let details = json!({ "role": role.as_str() });
                    let subject = user.to_string();
                    acts::note(connection, &by, ActKind::SetRole, &subject, details).await?;
                }
                Ok(written > 0)
            })
        })
        .await
    }

    /// The plan of a user.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn plan_of(&self, user: UserId) -> Result<Option<String>, Error> {
        let row = query("SELECT plan FROM users WHERE id = $1")
            .bind(user.uuid())
            .fetch_optional(&mut self.read(Scope::Identity).await?)
            .await?;
        Ok(row.map(|row| row.try_get("plan")).transpose()?)
    }

    /// Keeps a token's hash.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn add_token(
        &self,
        owner: UserId,
        hash: Vec<u8>,
        label: String,
        now: Timestamp,
    ) -> Result<(), Error> {
        self.write(Scope::Identity, move |connection| {
            Box::pin(async move {
                query(
                    "INSERT INTO access_tokens (token_hash, user_id, label, created_at) \
                     VALUES ($1, $2, $3, $4) ON CONFLICT (token_hash) DO NOTHING",
                )
                .bind(hash)
                .bind(owner.uuid())
                .bind(label)
                .bind(now)
                .execute(connection)
                .await?;
                Ok(())
            })
        })
        .await
    }

    /// Whose token has this hash, unless it has expired.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn token_owner(&self, hash: &[u8], now: Timestamp) -> Result<Option<User>, Error> {
        query(AssertSqlSafe(format!(
            "SELECT {USER} FROM access_tokens JOIN users ON users.id = user_id \
             WHERE token_hash = $1 AND (expires_at IS NULL OR expires_at > $2) \
             AND deleted_at IS NULL"
        )))
        .bind(hash)
        .bind(now)
        .fetch_optional(&mut self.read(Scope::Identity).await?)
        .await?
        .as_ref()
        .map(user)
        .transpose()
    }
}
