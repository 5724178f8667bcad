//! People whom another provider vouches for, and their accounts here.

use sqlx::AssertSqlSafe;

use super::{
    Database, Error,
    accounts::{USER, user},
    database::Scope,
    links::{RACES, send, take_address},
    mails,
    query::{Connection, query},
    sessions::handle,
};
use crate::{
    accounts::{
        Role, User,
        google::{Newcomer, Welcome, linked},
    },
    ids::UserId,
};

impl Database {
    /// Finds or makes the account of somebody whom a provider vouches for.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn welcome(&self, newcomer: Newcomer) -> Result<Welcome, Error> {
        // Of two who come at the same moment, the second one looks again.
        for _ in 0..RACES {
            match self.try_welcome(newcomer.clone()).await {
                Err(error) if error.is_duplicate() => {}
                done => return done,
            }
        }
        self.try_welcome(newcomer).await
    }

    async fn try_welcome(&self, newcomer: Newcomer) -> Result<Welcome, Error> {
        self.write(Scope::Identity, move |connection| {
            Box::pin(async move {
                let known = query(AssertSqlSafe(format!(
                    "SELECT {USER} FROM identities JOIN users ON users.id = identities.user_id \
                     WHERE issuer = $1 AND subject = $2 AND deleted_at IS NULL"
                )))
                .bind(&newcomer.issuer)
                .bind(&newcomer.subject)
                .fetch_optional(&mut *connection)
                .await?;
                if let Some(row) = known {
                    return Ok(Welcome::Known(user(&row)?));
                }
                let lock = connection.dialect().lock;
                let holder = query(AssertSqlSafe(format!(
                    "SELECT {USER} FROM users WHERE email = $1 AND email_verified_at IS NOT NULL \
                     AND deleted_at IS NULL {lock}"
                )))
                .bind(&newcomer.user.email)
                .fetch_optional(&mut *connection)
                .await?;
                match holder.as_ref().map(user).transpose()? {
                    Some(holder) => link(connection, newcomer, holder).await,
                    None if !newcomer.open => Ok(Welcome::Closed),
                    None => add(connection, newcomer).await,
                }
            })
        })
        .await
    }

    /// Whether another provider vouches for a user.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn has_identity(&self, id: UserId) -> Result<bool, Error> {
        let found = query("SELECT issuer FROM identities WHERE user_id = $1 LIMIT 1")
            .bind(id.uuid())
            .fetch_optional(&mut self.read(Scope::Identity).await?)
            .await?;
        Ok(found.is_some())
    }
}

/// The account that has shown that it has their address.
async fn link(
    connection: &mut Connection,
    newcomer: Newcomer,
    holder: User,
) -> Result<Welcome, Error> {
    let other = query("SELECT subject FROM identities WHERE user_id = $1 AND issuer = $2")
        .bind(holder.id.uuid())
        .bind(&newcomer.issuer)
        .fetch_optional(&mut *connection)
        .await?;
    if let Some(other) = other {
        // The same person may have come a moment ago, from another window.
        let same = other.try_get::<&str>("subject")? == newcomer.subject;
        return Ok(match same {
            true => Welcome::Known(holder),
            false => Welcome::Taken,
        });
    }
    if holder.role != Role::User && !newcomer.authoritative {
        return Ok(Welcome::Taken);
    }
    insert(connection, &newcomer, holder.id).await?;
    let mail = newcomer.mail.then(|| linked(holder.id));
    send(connection, mail, None).await?;
    Ok(Welcome::Linked(holder))
}

/// A new account. Whoever had the address without showing so only claims it from now on.
async fn add(connection: &mut Connection, newcomer: Newcomer) -> Result<Welcome, Error> {
    let new = &newcomer.user;
    query("INSERT INTO users (id, email, name, role, created_at) VALUES ($1, $2, $3, $4, $5)")
        .bind(new.id.uuid())
        .bind(handle(new.id.uuid()))
        .bind(&new.name)
        .bind(new.role.as_str())
        .bind(new.created_at)
        .execute(&mut *connection)
        .await?;
    mails::note_contact(connection, new.id, &new.email, newcomer.language).await?;
    if !take_address(connection, new.id.uuid(), &new.email, new.created_at).await? {
        // Somebody has shown it since it was looked at: nothing of this stays.
        return Err(Error::Raced);
    }
    insert(connection, &newcomer, new.id).await?;
    Ok(Welcome::New(newcomer.user))
}

async fn insert(
    connection: &mut Connection,
    newcomer: &Newcomer,
    user: UserId,
) -> Result<(), Error> {
    query("INSERT INTO identities (issuer, subject, user_id, created_at) VALUES ($1, $2, $3, $4)")
        .bind(&newcomer.issuer)
        .bind(&newcomer.subject)
        .bind(user.uuid())
        .bind(newcomer.user.created_at)
        .execute(connection)
        .await?;
    Ok(())
}
