//! Who is calling: users, how they sign in, and what programs of theirs sign in with. Every query is
//! scoped to its owner.

pub mod acts;
pub mod google;
pub mod job_tokens;
pub mod keys;
pub mod links;
pub mod password;
mod profile;
pub mod sessions;
pub mod tokens;
mod users;

use keys::ApiKey;
use rand::Rng;
use sha2::{Digest, Sha256};

use crate::{
    adapters::sql::{self, Database},
    ids::UserId,
    time::{self, Timestamp},
};

/// Prefix of access tokens, so that a leaked one is recognised.
pub const TOKEN_PREFIX: &str = "gv_";

/// What a caller may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Own projects and jobs.
    User,
    /// The same, for those who make plugins: installing them is the operator's.
    Partner,
    /// Everything.
    Admin,
    /// A program of the operator's: looks at what admins look at, also with an API key, and changes
    /// nothing of it.
    Service,
}

impl Role {
    /// The stored word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Partner => "partner",
            Self::Admin => "admin",
            Self::Service => "service",
        }
    }

    /// From the stored word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::User, Self::Partner, Self::Admin, Self::Service]
            .into_iter()
            .find(|role| role.as_str() == word)
    }
}

/// A person or program with an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Its identifier.
    pub id: UserId,
    /// Mail address, in small letters.
    pub email: String,
    /// Since when it is known that the address is theirs.
    pub verified_at: Option<Timestamp>,
    /// Shown name.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Since when.
    pub created_at: Timestamp,
}

/// Which users to list. Conditions are joined by "and".
#[derive(Debug, Clone, Default)]
pub struct UserFilter {
    /// Only those whose address begins like this.
    pub begins: Option<String>,
    /// Only those with this role.
    pub role: Option<Role>,
}

/// Accounts.
#[derive(Clone)]
pub struct Service {
    database: Database,
}

impl Service {
    /// Over a database.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    /// The local user of a development server, and a token for it: `token` when given, so
    /// that it survives a restart, otherwise a new one. Only its hash is stored.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn local_user(
        &self,
        email: &str,
        token: Option<String>,
    ) -> Result<(User, String), sql::Error> {
        let email = &sessions::fold(email);
        let user = self
            .database
            .ensure_user(User {
                id: UserId::generate(),
                email: email.clone(),
                verified_at: Some(time::now()),
                name: email.split('@').next().unwrap_or(email).to_owned(),
                role: Role::User,
                created_at: time::now(),
            })
            .await?;
        let token = token.unwrap_or_else(new_token);
        self.database
            .add_token(
                user.id,
                hash(&token),
                "local development".to_owned(),
                time::now(),
            )
            .await?;
        Ok((user, token))
    }

    /// Whose token or API key this is.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn authenticate(
        &self,
        token: &str,
    ) -> Result<Option<(User, Option<ApiKey>)>, sql::Error> {
        if !token.starts_with(TOKEN_PREFIX) || token.len() > 200 {
            return Ok(None);
        }
        if token.starts_with(keys::PREFIX) {
            let found = self.by_key(token).await?;
            return Ok(found.map(|(user, key)| (user, Some(key))));
        }
        let found = self.database.token_owner(&hash(token), time::now()).await?;
        Ok(found.map(|user| (user, None)))
    }
}

/// A fresh access token: 256 random bits behind the prefix.
#[must_use]
pub fn new_token() -> String {
    random(TOKEN_PREFIX)
}

fn random(prefix: &str) -> String {
    let mut bytes = [0_u8; 32];
    rand::rng().fill_bytes(&mut bytes);
    format!("{prefix}{}", hex::encode(bytes))
}

fn hash(token: &str) -> Vec<u8> {
    Sha256::digest(token.as_bytes()).to_vec()
}
