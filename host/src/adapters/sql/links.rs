//! Links in mails that change an account, and whose an address is.

use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::{
    Database, Error,
    accounts::{USER, user},
    database::Scope,
    mails,
    query::{Connection, query},
    rows,
    sessions::{end, handle},
};
use crate::{
    accounts::{
        User,
        links::{Followed, Link, LinkPurpose, told},
        sessions::EndReason,
    },
    ids::UserId,
    mail::{Address, Language, NewMail, Recipient, SecurityEvent},
    time::Timestamp,
};

/// So often a link is followed anew because somebody else took its address meanwhile.
pub(super) const RACES: usize = 3;

impl Database {
    /// Keeps a link, in the place of those before it, with the mail that it is in.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn send_link(&self, mail: NewMail, link: Option<Link>) -> Result<(), Error> {
        self.write(Scope::Identity, move |connection| {
            Box::pin(async move { send(connection, Some(mail), link).await })
        })
        .await
    }

    /// Whose password a link leads to, if it is good.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn reset_of(&self, hash: &[u8], now: Timestamp) -> Result<Option<User>, Error> {
        query(AssertSqlSafe(format!(
            "SELECT {USER} FROM account_links JOIN users ON users.id = account_links.user_id \
             WHERE token_hash = $1 AND purpose = 'RESET' AND used_at IS NULL \
             AND account_links.expires_at > $2 AND deleted_at IS NULL"
        )))
        .bind(hash)
        .bind(now)
        .fetch_optional(&mut self.read(Scope::Identity).await?)
        .await?
        .as_ref()
        .map(user)
        .transpose()
    }

    /// Follows a link that shows that an address is a user's. `mail` names the change of an address,
    /// if its user is told.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn follow_verification(
        &self,
        hash: Vec<u8>,
        now: Timestamp,
        mail: Option<String>,
    ) -> Result<Followed, Error> {
        // Of two who show at the same moment that an address is theirs, the second one looks again.
        for _ in 0..RACES {
            match self
                .try_follow_verification(hash.clone(), now, mail.clone())
                .await
            {
                Err(error) if error.is_duplicate() => {}
                done => return done,
            }
        }
        self.try_follow_verification(hash, now, mail).await
    }

    async fn try_follow_verification(
        &self,
        hash: Vec<u8>,
        now: Timestamp,
        mail: Option<String>,
    ) -> Result<Followed, Error> {
        self.write(Scope::Identity, move |connection| {
            Box::pin(async move {
                let Some((id, address)) =
                    follow(connection, &hash, LinkPurpose::Verify, now).await?
                else {
                    return Ok(Followed::Gone);
                };
                let Some(before) = find(connection, id).await? else {
                    return Ok(Followed::Gone);
                };
                if !take_address(connection, id, &address, now).await? {
                    return Ok(Followed::Taken);
                }
                let old = Address::parse(&before.email);
                if before.email != address
                    && let (Some(key), Some(old)) = (mail, old)
                {
                    let to = Recipient::Address(old, Language::English);
                    let event = SecurityEvent::AddressChanged;
                    let mail = NewMail::security(UserId::from_uuid(id), to, event, &key);
                    send(connection, Some(mail), None).await?;
                }
                let user = find(connection, id).await?;
                Ok(user.map_or(Followed::Gone, Followed::Done))
            })
        })
        .await
    }

    /// Follows a link to a new password: closes every session, and believes that the address is the
    /// user's. `mail` names the change, if the user is told.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn follow_reset(
        &self,
        hash: Vec<u8>,
        now: Timestamp,
        password_hash: String,
        mail: Option<String>,
    ) -> Result<Followed, Error> {
        // Of two who show at the same moment that an address is theirs, the second one looks again.
        for _ in 0..RACES {
            match self
                .try_follow_reset(hash.clone(), now, password_hash.clone(), mail.clone())
                .await
            {
                Err(error) if error.is_duplicate() => {}
                done => return done,
            }
        }
        self.try_follow_reset(hash, now, password_hash, mail).await
    }

    async fn try_follow_reset(
        &self,
        hash: Vec<u8>,
        now: Timestamp,
        password_hash: String,
        mail: Option<String>,
    ) -> Result<Followed, Error> {
        self.write(Scope::Identity, move |connection| {
            Box::pin(async move {
                let Some((id, address)) =
                    follow(connection, &hash, LinkPurpose::Reset, now).await?
                else {
                    return Ok(Followed::Gone);
                };
                let owner = UserId::from_uuid(id);
                match find(connection, id).await? {
                    None => return Ok(Followed::Gone),
                    // Unless the address was changed meanwhile.
                    Some(user) if user.email != address => return Ok(Followed::Gone),
                    // Who has had the account until now may be somebody else.
                    Some(user) if user.verified_at.is_none() => {
                        query(
                            "UPDATE api_keys SET revoked_at = $2 WHERE owner_id = $1 \
                             AND revoked_at IS NULL",
                        )
                        .bind(id)
                        .bind(now)
                        .execute(&mut *connection)
                        .await?;
                    }
                    Some(_) => {}
                }
                if !take_address(connection, id, &address, now).await? {
                    return Ok(Followed::Taken);
                }
                query("UPDATE users SET password_hash = $2 WHERE id = $1")
                    .bind(id)
                    .bind(password_hash)
                    .execute(&mut *connection)
                    .await?;
                end(connection, owner, None, EndReason::Password).await?;
                let mail = mail.map(|key| told(owner, SecurityEvent::PasswordChanged, &key));
                send(connection, mail, None).await?;
                let user = find(connection, id).await?;
                Ok(user.map_or(Followed::Gone, Followed::Done))
            })
        })
        .await
    }
}

pub(super) async fn find(connection: &mut Connection, id: Uuid) -> Result<Option<User>, Error> {
    query(AssertSqlSafe(format!(
        "SELECT {USER} FROM users WHERE id = $1 AND deleted_at IS NULL"
    )))
    .bind(id)
    .fetch_optional(connection)
    .await?
    .as_ref()
    .map(user)
    .transpose()
}

/// Writes down a mail, and the link that is in it in the place of those before it.
pub(super) async fn send(
    connection: &mut Connection,
    mail: Option<NewMail>,
    link: Option<Link>,
) -> Result<(), Error> {
    if let Some(link) = link {
        query(
            "UPDATE account_links SET used_at = $3 WHERE user_id = $1 AND purpose = $2 \
             AND used_at IS NULL",
        )
        .bind(link.user.uuid())
        .bind(link.purpose.as_str())
        .bind(link.created_at)
        .execute(&mut *connection)
        .await?;
        query(
            "INSERT INTO account_links (token_hash, user_id, purpose, address, created_at, \
             expires_at) VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(link.hash)
        .bind(link.user.uuid())
        .bind(link.purpose.as_str())
        .bind(&link.address)
        .bind(link.created_at)
        .bind(link.expires_at)
        .execute(&mut *connection)
        .await?;
    }
    if let Some(mail) = mail {
        mails::insert(connection, &mail).await?;
    }
    Ok(())
}

/// Uses a link, once: whose it is, and where it was sent.
async fn follow(
    connection: &mut Connection,
    hash: &[u8],
    purpose: LinkPurpose,
    now: Timestamp,
) -> Result<Option<(Uuid, String)>, Error> {
    let used = query(
        "UPDATE account_links SET used_at = $3 WHERE token_hash = $1 AND purpose = $2 \
         AND used_at IS NULL AND expires_at > $3 RETURNING user_id, address",
    )
    .bind(hash)
    .bind(purpose.as_str())
    .bind(now)
    .fetch_optional(connection)
    .await?;
    used.map(|row| Ok((rows::uuid(&row, "user_id")?, row.try_get("address")?)))
        .transpose()
}

/// An address is a user's for certain: whoever had it without showing so only claims it from now on.
/// False when somebody else has shown it before.
pub(super) async fn take_address(
    connection: &mut Connection,
    id: Uuid,
    address: &str,
    now: Timestamp,
) -> Result<bool, Error> {
    let lock = connection.dialect().lock;
    let holder = query(AssertSqlSafe(format!(
        "SELECT id, email_verified_at FROM users WHERE email = $1 {lock}"
    )))
    .bind(address)
    .fetch_optional(&mut *connection)
    .await?;
    if let Some(holder) = holder {
        let other = rows::uuid(&holder, "id")?;
        if other != id {
            if rows::optional_time(&holder, "email_verified_at")?.is_some() {
                return Ok(false);
            }
            query("UPDATE users SET claimed = email, email = $2 WHERE id = $1")
                .bind(other)
                .bind(handle(other))
                .execute(&mut *connection)
                .await?;
        }
    }
    query("UPDATE users SET email = $2, claimed = NULL, email_verified_at = $3 WHERE id = $1")
        .bind(id)
        .bind(address)
        .bind(now)
        .execute(&mut *connection)
        .await?;
    query("UPDATE mail_contacts SET address = $2 WHERE owner_id = $1")
        .bind(id)
        .bind(address)
        .execute(connection)
        .await?;
    Ok(true)
}
