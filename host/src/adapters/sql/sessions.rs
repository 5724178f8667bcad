//! Accounts with passwords, their sessions, and links that change them. Who is calling is found out
//! here, so these work as `Scope::Identity`.

use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::{
    Database, Error,
    accounts::{USER, user},
    database::Scope,
    links::send,
    mails,
    query::{Connection, Row, query},
    rows,
};
use crate::{
    accounts::{
        User,
        links::{Link, told},
        sessions::{EndReason, Presented, Rotation, Session},
    },
    ids::{SessionId, UserId},
    jobs::store::Page,
    mail::{Language, NewMail, SecurityEvent},
    time::{self, Timestamp},
};

const SESSION: &str = "sessions.id AS session_id, sessions.user_id, sessions.address, sessions.agent, \
    sessions.created_at, sessions.last_used_at, sessions.expires_at";

fn session(row: &Row) -> Result<Session, Error> {
    Ok(Session {
        id: SessionId::from_uuid(rows::uuid(row, "session_id")?),
        user: UserId::from_uuid(rows::uuid(row, "user_id")?),
        address: row.try_get("address")?,
        agent: row.try_get("agent")?,
        created_at: rows::time(row, "created_at")?,
        last_used_at: rows::time(row, "last_used_at")?,
        expires_at: rows::time(row, "expires_at")?,
    })
}

/// What stands in the place of an address that the user only claims.
pub(super) fn handle(user: Uuid) -> String {
    format!("claim:{}", user.simple())
}

impl Database {
    /// Adds an account, with the mail that its address gets and the link that is in it. When another
    /// account has the address, this one only claims it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn register(
        &self,
        new: User,
        password_hash: String,
        language: Language,
        mail: Option<NewMail>,
        link: Option<Link>,
    ) -> Result<(), Error> {
        self.write(Scope::Identity, move |connection| {
            Box::pin(async move {
                let insert = "INSERT INTO users (id, email, claimed, name, role, created_at, \
                     password_hash) VALUES ($1, $2, $3, $4, $5, $6, $7) \
                     ON CONFLICT (email) DO NOTHING";
                let own = (new.email.clone(), None);
                let claim = (handle(new.id.uuid()), Some(new.email.clone()));
                for (email, claimed) in [own, claim] {
                    let added = query(insert)
                        .bind(new.id.uuid())
                        .bind(email)
                        .bind(claimed)
                        .bind(&new.name)
                        .bind(new.role.as_str())
                        .bind(new.created_at)
                        .bind(&password_hash)
                        .execute(&mut *connection)
                        .await?
                        .rows_affected();
                    if added > 0 {
                        break;
                    }
                }
                mails::note_contact(connection, new.id, &new.email, language).await?;
                send(connection, mail, link).await
            })
        })
        .await
    }

    /// Who has shown that an address is theirs.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn verified_holder(&self, email: &str) -> Result<Option<User>, Error> {
        query(AssertSqlSafe(format!(
            "SELECT {USER} FROM users WHERE email = $1 AND email_verified_at IS NOT NULL \
             AND deleted_at IS NULL"
        )))
        .bind(email)
        .fetch_optional(&mut self.read(Scope::Identity).await?)
        .await?
        .as_ref()
        .map(user)
        .transpose()
    }

    /// Whose the address is, verified or not; else the last one who claims it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn credentials_or_none(&self, email: &str) -> Result<Option<User>, Error> {
        query(AssertSqlSafe(format!(
            "SELECT {USER} FROM users WHERE (email = $1 OR claimed = $1) AND deleted_at IS NULL \
             ORDER BY (email = $1) DESC, id DESC LIMIT 1"
        )))
        .bind(email)
        .fetch_optional(&mut self.read(Scope::Identity).await?)
        .await?
        .as_ref()
        .map(user)
        .transpose()
    }

    /// Who may sign in with an address, with the hashes of their passwords: whose it is first, then
    /// those who claim it, the last one first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn credentials(&self, email: &str) -> Result<Vec<(User, String)>, Error> {
        query(AssertSqlSafe(format!(
            "SELECT {USER}, users.password_hash FROM users \
             WHERE (email = $1 OR claimed = $1) AND deleted_at IS NULL \
             AND password_hash IS NOT NULL ORDER BY (email = $1) DESC, id DESC LIMIT 2"
        )))
        .bind(email)
        .fetch_all(&mut self.read(Scope::Identity).await?)
        .await?
        .iter()
        .map(|row| Ok((user(row)?, row.try_get("password_hash")?)))
        .collect()
    }

    /// The hash of a user's password, if there is one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn password_of(&self, id: UserId) -> Result<Option<String>, Error> {
        let row = query("SELECT password_hash FROM users WHERE id = $1 AND deleted_at IS NULL")
            .bind(id.uuid())
            .fetch_optional(&mut self.read(Scope::Identity).await?)
            .await?;
        Ok(row
            .map(|row| row.try_get("password_hash"))
            .transpose()?
            .flatten())
    }

    /// Replaces the hash of a password by one of the same password.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn rehash(&self, id: UserId, password_hash: String) -> Result<(), Error> {
        self.write(Scope::Identity, move |connection| {
            Box::pin(async move {
                query("UPDATE users SET password_hash = $2 WHERE id = $1")
                    .bind(id.uuid())
                    .bind(password_hash)
                    .execute(connection)
                    .await?;
                Ok(())
            })
        })
        .await
    }

    /// Replaces a password, and closes every session.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn change_password(
        &self,
        id: UserId,
        password_hash: String,
        mail: Option<NewMail>,
    ) -> Result<(), Error> {
        self.write(Scope::Identity, move |connection| {
            Box::pin(async move {
                query("UPDATE users SET password_hash = $2 WHERE id = $1")
                    .bind(id.uuid())
                    .bind(password_hash)
                    .execute(&mut *connection)
                    .await?;
                end(connection, id, None, EndReason::Password).await?;
                send(connection, mail, None).await
            })
        })
        .await
    }

    /// Changes what a user says of themselves.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn update_profile(
        &self,
        id: UserId,
        name: Option<String>,
        language: Option<Language>,
    ) -> Result<(), Error> {
        self.write(Scope::Identity, move |connection| {
            Box::pin(async move {
                if let Some(name) = name {
                    query("UPDATE users SET name = $2 WHERE id = $1")
                        .bind(id.uuid())
                        .bind(name)
                        .execute(&mut *connection)
                        .await?;
                }
                if let Some(language) = language {
                    query("UPDATE mail_contacts SET language = $2 WHERE owner_id = $1")
                        .bind(id.uuid())
                        .bind(language.as_str())
                        .execute(&mut *connection)
                        .await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// The language of a user's mails.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn language_of(&self, id: UserId) -> Result<Language, Error> {
        let row = query("SELECT language FROM mail_contacts WHERE owner_id = $1")
            .bind(id.uuid())
            .fetch_optional(&mut self.read(Scope::Identity).await?)
            .await?;
        let word = row.map(|row| rows::word("language", row.try_get("language")?, Language::parse));
        Ok(word.transpose()?.unwrap_or(Language::English))
    }

    /// Takes out of an account whatever says whose it is, and lets nobody in any more; false while a
    /// subscription goes on being paid.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn delete_user(&self, id: UserId, mail: Option<NewMail>) -> Result<bool, Error> {
        self.write(Scope::Identity, move |connection| {
            Box::pin(async move {
                let pays = query(
                    "SELECT id FROM payment_subscriptions WHERE owner_id = $1 AND NOT ends \
                     AND status IN ('TRIALING', 'ACTIVE', 'PAST_DUE', 'UNPAID', 'PAUSED')",
                )
                .bind(id.uuid())
                .fetch_optional(&mut *connection)
                .await?;
                if pays.is_some() {
                    return Ok(false);
                }
                send(connection, mail, None).await?;
                end(connection, id, None, EndReason::Deleted).await?;
                let now = time::now();
                query(
                    "UPDATE users SET email = $2, claimed = NULL, name = 'Deleted user', \
                     password_hash = NULL, role = 'user', deleted_at = $3 WHERE id = $1",
                )
                .bind(id.uuid())
                .bind(format!("deleted:{}", id.uuid().simple()))
                .bind(now)
                .execute(&mut *connection)
                .await?;
                query("UPDATE identities SET subject = $2 WHERE user_id = $1")
                    .bind(id.uuid())
                    .bind(format!("deleted:{}", id.uuid().simple()))
                    .execute(&mut *connection)
                    .await?;
                for forget in [
                    "UPDATE sessions SET address = '', agent = '' WHERE user_id = $1",
                    "UPDATE account_links SET address = '', used_at = COALESCE(used_at, $2) \
                     WHERE user_id = $1",
                    "UPDATE mail_contacts SET address = '' WHERE owner_id = $1",
                    "UPDATE api_keys SET revoked_at = COALESCE(revoked_at, $2), name = '' \
                     WHERE owner_id = $1",
                    "UPDATE access_tokens SET expires_at = $2, label = '' WHERE user_id = $1",
                ] {
                    let mut forgotten = query(forget).bind(id.uuid());
                    if forget.contains("$2") {
                        forgotten = forgotten.bind(now);
                    }
                    forgotten.execute(&mut *connection).await?;
                }
                Ok(true)
            })
        })
        .await
    }

    /// Keeps a session with its first refresh token.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn open_session(
        &self,
        new: Session,
        token_hash: Vec<u8>,
        idle: Timestamp,
    ) -> Result<(), Error> {
        self.write(Scope::Identity, move |connection| {
            Box::pin(async move {
                query(
                    "INSERT INTO sessions (id, user_id, address, agent, created_at, last_used_at, \
                     expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7)",
                )
                .bind(new.id.uuid())
                .bind(new.user.uuid())
                .bind(&new.address)
                .bind(&new.agent)
                .bind(new.created_at)
                .bind(new.last_used_at)
                .bind(new.expires_at)
                .execute(&mut *connection)
                .await?;
                add_token(connection, &new, &token_hash, idle, new.created_at).await
            })
        })
        .await
    }

    /// The user of a session that is open.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn session_user(
        &self,
        id: SessionId,
        owner: UserId,
        now: Timestamp,
    ) -> Result<Option<User>, Error> {
        query(AssertSqlSafe(format!(
            "SELECT {USER} FROM sessions JOIN users ON users.id = sessions.user_id \
             WHERE sessions.id = $1 AND sessions.user_id = $2 AND ended_at IS NULL \
             AND sessions.expires_at > $3 AND deleted_at IS NULL"
        )))
        .bind(id.uuid())
        .bind(owner.uuid())
        .bind(now)
        .fetch_optional(&mut self.read(Scope::Identity).await?)
        .await?
        .as_ref()
        .map(user)
        .transpose()
    }

    /// When a session of a user was opened, if it is open.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn session_opened(
        &self,
        owner: UserId,
        id: SessionId,
    ) -> Result<Option<Timestamp>, Error> {
        let row = query(
            "SELECT created_at FROM sessions WHERE id = $1 AND user_id = $2 AND ended_at IS NULL",
        )
        .bind(id.uuid())
        .bind(owner.uuid())
        .fetch_optional(&mut self.read(Scope::Identity).await?)
        .await?;
        row.map(|row| rows::time(&row, "created_at")).transpose()
    }

    /// Whether a user has signed in from an address since then.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn signed_in_from(
        &self,
        owner: UserId,
        address: &str,
        since: Timestamp,
    ) -> Result<bool, Error> {
        if address.is_empty() {
            return Ok(false);
        }
        let found = query(
            "SELECT id FROM sessions WHERE user_id = $1 AND address = $2 AND created_at >= $3 \
             LIMIT 1",
        )
        .bind(owner.uuid())
        .bind(address)
        .bind(since)
        .fetch_optional(&mut self.read(Scope::Identity).await?)
        .await?;
        Ok(found.is_some())
    }

    /// Sessions of a user that are open, newest first, behind (before) one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_sessions(
        &self,
        owner: UserId,
        after: Option<SessionId>,
        first: u32,
        now: Timestamp,
    ) -> Result<Page<Session>, Error> {
        let found = query(AssertSqlSafe(format!(
            "SELECT {SESSION} FROM sessions WHERE user_id = $1 AND id < $2 AND ended_at IS NULL \
             AND expires_at > $3 AND EXISTS (SELECT 1 FROM refresh_tokens \
             WHERE refresh_tokens.session_id = sessions.id AND used_at IS NULL \
             AND refresh_tokens.expires_at > $3) ORDER BY id DESC LIMIT $4"
        )))
        .bind(owner.uuid())
        .bind(after.map_or(Uuid::max(), SessionId::uuid))
        .bind(now)
        .bind(i64::from(first) + 1)
        .fetch_all(&mut self.read(Scope::User(owner)).await?)
        .await?;
        let items = found.iter().map(session).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::cut(items, first))
    }

    /// Closes one session of a user, or all but one; how many were open.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn end_sessions(
        &self,
        owner: UserId,
        only: Option<SessionId>,
        reason: EndReason,
    ) -> Result<u64, Error> {
        self.write(Scope::Identity, move |connection| {
            Box::pin(async move { end(connection, owner, only, reason).await })
        })
        .await
    }

    /// Uses a refresh token, once.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn rotate(&self, presented: Presented, mail: bool) -> Result<Rotation, Error> {
        self.write(Scope::Identity, move |connection| {
            Box::pin(async move { rotate(connection, presented, mail).await })
        })
        .await
    }
}

pub(super) async fn end(
    connection: &mut Connection,
    owner: UserId,
    only: Option<SessionId>,
    reason: EndReason,
) -> Result<u64, Error> {
    let which = match only {
        Some(_) => "AND id = $4",
        None => "",
    };
    let mut ending = query(AssertSqlSafe(format!(
        "UPDATE sessions SET ended_at = $2, end_reason = $3 WHERE user_id = $1 AND ended_at IS NULL \
         {which}"
    )))
    .bind(owner.uuid())
    .bind(time::now())
    .bind(reason.as_str());
    if let Some(only) = only {
        ending = ending.bind(only.uuid());
    }
    Ok(ending.execute(connection).await?.rows_affected())
}

async fn add_token(
    connection: &mut Connection,
    session: &Session,
    hash: &[u8],
    idle: Timestamp,
    now: Timestamp,
) -> Result<(), Error> {
    query(
        "INSERT INTO refresh_tokens (token_hash, session_id, user_id, created_at, expires_at) \
         VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(hash)
    .bind(session.id.uuid())
    .bind(session.user.uuid())
    .bind(now)
    .bind(idle.min(session.expires_at))
    .execute(connection)
    .await?;
    Ok(())
}

async fn rotate(
    connection: &mut Connection,
    presented: Presented,
    mail: bool,
) -> Result<Rotation, Error> {
    let lock = connection.dialect().lock;
    // Those who come with tokens of one session at the same time wait for each other here.
    let found = query(AssertSqlSafe(format!(
        "SELECT {SESSION}, sessions.ended_at FROM sessions WHERE id = \
         (SELECT session_id FROM refresh_tokens WHERE token_hash = $1) {lock}"
    )))
    .bind(presented.hash.as_slice())
    .fetch_optional(&mut *connection)
    .await?;
    let Some(found) = found else {
        return Ok(Rotation::Unknown);
    };
    let now = time::now();
    let open = session(&found)?;
    if rows::optional_time(&found, "ended_at")?.is_some() || open.expires_at <= now {
        return Ok(Rotation::Unknown);
    }
    let token = query(
        "SELECT expires_at, used_at, salt, attempt FROM refresh_tokens WHERE token_hash = $1",
    )
    .bind(presented.hash.as_slice())
    .fetch_one(&mut *connection)
    .await?;
    if let Some(used) = rows::optional_time(&token, "used_at")? {
        let attempt: Option<String> = token.try_get("attempt")?;
        let same = presented.attempt.is_some()
            && presented.attempt == attempt
            && now.since(used) <= presented.same;
        let salt: Option<Vec<u8>> = token.try_get("salt")?;
        if (same || presented.arrived <= used)
            && let Some(salt) = salt
        {
            return Ok(Rotation::Same(open, salt));
        }
        end(connection, open.user, Some(open.id), EndReason::Reused).await?;
        let key = format!("reused/{}", open.id);
        let told = told(open.user, SecurityEvent::TokenReused, &key);
        send(connection, mail.then_some(told), None).await?;
        return Ok(Rotation::Reused(open.user, open.id));
    }
    if rows::time(&token, "expires_at")? <= now {
        return Ok(Rotation::Unknown);
    }
    query("UPDATE refresh_tokens SET used_at = $2, salt = $3, attempt = $4 WHERE token_hash = $1")
        .bind(presented.hash.as_slice())
        .bind(now)
        .bind(presented.salt.as_slice())
        .bind(presented.attempt.as_deref())
        .execute(&mut *connection)
        .await?;
    add_token(connection, &open, &presented.successor, presented.idle, now).await?;
    query("UPDATE sessions SET last_used_at = $2, address = $3, agent = $4 WHERE id = $1")
        .bind(open.id.uuid())
        .bind(now)
        .bind(&presented.address)
        .bind(&presented.agent)
        .execute(connection)
        .await?;
    Ok(Rotation::Rotated(Session {
        last_used_at: now,
        ..open
    }))
}
