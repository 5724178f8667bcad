//! Signing up and in: accounts with passwords, sessions, and the refresh tokens that keep them.
//!
//! Nobody learns here whether an address has an account. Whoever registers with one that is taken
//! gets an account of their own, which may never show that the address is theirs; its owner is told
//! by mail (decision 0025).

use std::{net::IpAddr, time::Duration};

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::{
    Role, Service, User, hash,
    job_tokens::{self, JobTokens},
    keys::ApiKey,
    password::{self, Hasher, check_new},
    random,
    tokens::{self, Keyring, Subject},
};
use crate::{
    adapters::sql::{self, Database},
    ids::{JobId, SessionId, UserId},
    input::Problems,
    jobs::{model::words, store::Page},
    mail::{Address, Language},
    rates::{self, Act, Rates},
    time::{self, Timestamp},
};

/// How refresh tokens begin.
const REFRESH_PREFIX: &str = "gv_rt_";
/// Longest name, in characters.
pub(super) const MAX_NAME: usize = 100;
/// Longest text that tells sessions apart, in characters.
const MAX_AGENT: usize = 200;
/// Longest name of an attempt to refresh, in characters.
const MAX_ATTEMPT: usize = 64;
/// How long the same attempt gets the same answer again.
const SAME_ATTEMPT: Duration = Duration::from_secs(10);
/// Passwords that are checked at each sign-in, however many there are: of whom the address is, and of
/// the last one who claims it.
const CANDIDATES: usize = 2;
/// For so long an address from where somebody signed in is known.
const KNOWN: Duration = Duration::from_secs(90 * 86_400);

/// The numbers by which accounts run. `config.default.toml` explains each.
#[derive(Debug, Clone)]
pub struct Settings {
    /// May anybody register?
    pub open: bool,
    /// Ends a session whatever happens.
    pub session_life: Duration,
    /// Ends a session that nobody refreshes.
    pub idle_life: Duration,
    /// How long a link works that confirms an address.
    pub verify_life: Duration,
    /// How long a link works that leads to a new password.
    pub reset_life: Duration,
    /// Pages of the app; nothing: this server's own.
    pub app_url: Option<String>,
    /// How others reach this server.
    pub base: String,
    /// Is mail sent, or kept in the mailbox?
    pub mail: bool,
    /// Credits that a new account gets.
    pub credits: i64,
}

impl Default for Settings {
    fn default() -> Self {
        const DAY: u64 = 86_400;
        Self {
            open: true,
            session_life: Duration::from_secs(90 * DAY),
            idle_life: Duration::from_secs(30 * DAY),
            verify_life: Duration::from_secs(DAY),
            reset_life: Duration::from_secs(30 * 60),
            app_url: None,
            base: "http://localhost".to_owned(),
            mail: true,
            credits: 0,
        }
    }
}

words!(
    /// Why a session ended before its time.
    EndReason {
        /// Its user signed out.
        Logout = "LOGOUT",
        /// Its user closed it from another one.
        Revoked = "REVOKED",
        /// A refresh token of it came a second time.
        Reused = "REUSED",
        /// The password was changed.
        Password = "PASSWORD",
        /// The account is gone.
        Deleted = "DELETED",
    }
);

/// Who asks: nothing but what the connection says.
#[derive(Debug, Clone, Default)]
pub struct Asker {
    /// The client's address.
    pub address: Option<IpAddr>,
    /// What it calls itself.
    pub agent: String,
}

impl Asker {
    fn place(&self) -> String {
        self.address
            .map_or_else(String::new, |address| address.to_string())
    }

    fn agent(&self) -> String {
        let printable = self.agent.chars().filter(|c| !c.is_control());
        printable.take(MAX_AGENT).collect()
    }

    pub(super) fn subject(&self) -> rates::Subject {
        rates::Subject::new("from", &network(self.address))
    }
}

/// Who is counted for an address: of version 6, everybody has a network of 64 bits.
#[must_use]
pub fn network(address: Option<IpAddr>) -> String {
    match address.map(|address| address.to_canonical()) {
        None => "nowhere".to_owned(),
        Some(IpAddr::V4(address)) => address.to_string(),
        Some(IpAddr::V6(address)) => {
            let network = address.to_bits() >> 64;
            format!("{network:016x}::/64")
        }
    }
}

/// A session, without what keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its identifier.
    pub id: SessionId,
    /// Whose.
    pub user: UserId,
    /// From where it was used last.
    pub address: String,
    /// With what.
    pub agent: String,
    /// Since when.
    pub created_at: Timestamp,
    /// When it was refreshed last.
    pub last_used_at: Timestamp,
    /// Until when, whatever happens.
    pub expires_at: Timestamp,
}

/// A user who has signed in.
#[derive(Debug, Clone)]
pub struct SignedIn {
    /// Who.
    pub user: User,
    /// The session.
    pub session: SessionId,
    /// Signs requests in, for [`tokens::LIFE`].
    pub access_token: String,
    /// Gets the next two tokens, once.
    pub refresh_token: String,
    /// Until when the session can be kept.
    pub expires_at: Timestamp,
}

/// An account to make.
#[derive(Debug, Clone)]
pub struct Registration {
    /// Mail address.
    pub email: String,
    /// What signs in.
    pub password: String,
    /// The name that is shown; nothing: the beginning of the address.
    pub name: Option<String>,
    /// Language of mails.
    pub language: Language,
}

/// Who is calling, and with what.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Who.
    pub user: User,
    /// The API key that signed in, if it was one.
    pub key: Option<ApiKey>,
    /// The session, if it was one.
    pub session: Option<SessionId>,
    /// The only job that may be looked at, if it was a token for one.
    pub job: Option<JobId>,
    /// When what signed in is over.
    pub until: Option<Timestamp>,
}

/// Why nobody is signed in, or an account does not change.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Fields that cannot be taken.
    #[error("the input is not valid")]
    Invalid(Problems),
    /// No account has this address and this password; or no session this token.
    #[error("{0}")]
    Wrong(&'static str),
    /// It was done too often, or nobody can count it.
    #[error(transparent)]
    Refused(#[from] rates::Refused),
    /// There is no such session.
    #[error("there is no such session")]
    NotFound,
    /// The account's state does not allow it.
    #[error("{0}")]
    Conflict(String),
    /// The server has too much to do.
    #[error("too many passwords are checked at the moment; try again in a few seconds")]
    Busy,
    /// A fault of this server.
    #[error("{0:#}")]
    Failed(anyhow::Error),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sql::Error),
}

impl From<password::Error> for Error {
    fn from(error: password::Error) -> Self {
        match error {
            password::Error::Busy => Self::Busy,
            error @ password::Error::Failed(_) => Self::Failed(error.into()),
        }
    }
}

/// What a database does with a refresh token that comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rotation {
    /// It is used now, and its successor is good.
    Rotated(Session),
    /// It was used by the same attempt just now: its successor is made with this salt again.
    Same(Session, Vec<u8>),
    /// It was used before by somebody else: the session is closed.
    Reused(UserId, SessionId),
    /// There is none, or its session is over.
    Unknown,
}

/// A refresh token that comes.
#[derive(Debug, Clone)]
pub struct Presented {
    /// SHA-256 of it.
    pub hash: Vec<u8>,
    /// SHA-256 of its successor.
    pub successor: Vec<u8>,
    /// Makes the successor out of the token.
    pub salt: Vec<u8>,
    /// What its user calls the attempt.
    pub attempt: Option<String>,
    /// For so long the same attempt gets the same answer.
    pub same: Duration,
    /// When the request came in.
    pub arrived: Timestamp,
    /// Ends the successor.
    pub idle: Timestamp,
    /// From where.
    pub address: String,
    /// With what.
    pub agent: String,
}

/// Signs users up and in. Cheap to clone.
#[derive(Clone)]
pub struct Sessions {
    pub(super) accounts: Service,
    pub(super) database: Database,
    pub(super) keyring: Keyring,
    pub(super) hasher: Hasher,
    pub(super) job_tokens: JobTokens,
    pub(super) rates: Rates,
    pub(super) settings: std::sync::Arc<Settings>,
}

const NOT_SIGNED_IN: &str = "The address or the password is wrong.";
const OVER: &str = "The session is over; sign in again.";

impl Sessions {
    /// Over a database.
    #[must_use]
    pub fn new(
        accounts: Service,
        keyring: Keyring,
        hasher: Hasher,
        job_tokens: JobTokens,
        rates: Rates,
        settings: Settings,
    ) -> Self {
        Self {
            database: accounts.database.clone(),
            accounts,
            keyring,
            hasher,
            job_tokens,
            rates,
            settings: std::sync::Arc::new(settings),
        }
    }

    /// Users' API keys.
    #[must_use]
    pub fn accounts(&self) -> &Service {
        &self.accounts
    }

    /// The keys that sign access tokens.
    #[must_use]
    pub fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// What may be done how often.
    #[must_use]
    pub fn rates(&self) -> &Rates {
        &self.rates
    }

    /// Whose access token or API key this is, unless it is over, revoked, or its session has ended.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn authenticate(&self, token: &str) -> Result<Option<Caller>, sql::Error> {
        if token.starts_with(job_tokens::PREFIX) {
            let Some(watch) = self.job_tokens.read(token) else {
                return Ok(None);
            };
            let owner = self.database.find_present_user(watch.owner).await?;
            return Ok(owner.map(|user| Caller {
                user,
                key: None,
                session: None,
                job: Some(watch.job),
                until: Some(watch.until),
            }));
        }
        if !tokens::looks_like_one(token) {
            let found = self.accounts.authenticate(token).await?;
            return Ok(found.map(|(user, key)| Caller {
                user,
                until: key.as_ref().and_then(|key| key.expires_at),
                key,
                session: None,
                job: None,
            }));
        }
        let bearer = match self.keyring.check(token).await {
            Ok(bearer) => bearer,
            Err(refused) => {
                tracing::debug!(%refused, "an access token is not taken");
                return Ok(None);
            }
        };
        let now = time::now();
        let user = (self.database).session_user(bearer.session, bearer.user, now);
        Ok(user.await?.map(|user| Caller {
            user,
            key: None,
            session: Some(bearer.session),
            job: None,
            until: Some(bearer.until),
        }))
    }

    /// Makes an account and signs its user in.
    ///
    /// # Errors
    /// `Invalid` names fields; `Refused` after too many from there, or for the address; `Conflict`
    /// where nobody may register.
    pub async fn register(&self, asker: &Asker, new: Registration) -> Result<SignedIn, Error> {
        if !self.settings.open {
            return Err(Error::Conflict(
                "Nobody may register here by themselves; ask the operator for an account."
                    .to_owned(),
            ));
        }
        let mut problems = Problems::default();
        let email = check_address("email", &new.email, &mut problems);
        check_new("password", &new.password, &email, &mut problems);
        let given = new.name.as_deref().unwrap_or_default();
        let mut name = problems.text("name", given, 0, MAX_NAME);
        problems.into_result().map_err(Error::Invalid)?;
        if name.is_empty() {
            email
                .split('@')
                .next()
                .unwrap_or(&email)
                .clone_into(&mut name);
        }
        let by = [asker.subject(), rates::Subject::new("address", &email)];
        self.rates.take(Act::Register, &by).await?;
        let password_hash = self.hasher.hash(new.password).await?;
        let now = time::now();
        let user = User {
            id: UserId::generate(),
            email,
            verified_at: None,
            name,
            role: Role::User,
            created_at: now,
        };
        let taken = self.database.verified_holder(&user.email).await?.is_some();
        let mail = self.greet(&user, new.language, taken);
        let language = new.language;
        let link = mail.as_ref().and_then(|(_, link)| link.clone());
        let mail = mail.map(|(mail, _)| mail);
        (self.database)
            .register(user.clone(), password_hash, language, mail, link)
            .await?;
        self.endow(user.id).await?;
        self.enter(asker, user).await
    }

    /// Gives a new account the credits that it begins with.
    pub(super) async fn endow(&self, user: UserId) -> Result<(), Error> {
        if self.settings.credits > 0 {
            let billing = crate::billing::Service::new(self.database.clone());
            billing.endow(user, self.settings.credits).await?;
        }
        Ok(())
    }

    /// Signs a user in.
    ///
    /// # Errors
    /// `Wrong` whatever is wrong, after the same time; `Refused` after too many wrong passwords for
    /// the account or from there.
    pub async fn login(
        &self,
        asker: &Asker,
        email: &str,
        password: String,
    ) -> Result<SignedIn, Error> {
        let email = fold(email);
        let mut candidates = self.database.credentials(&email).await?;
        candidates.truncate(CANDIDATES);
        // Wrong passwords count for whoever sends them, and for the account; but not against an
        // owner who comes from where they signed in before: nobody locks them out from elsewhere.
        let (from, account) = (asker.subject(), rates::Subject::new("address", &email));
        let pair = format!("{} {email}", network(asker.address));
        let pair = rates::Subject::new("pair", &pair);
        let since = time::now().before(KNOWN);
        let place = asker.place();
        let mut known = false;
        for (user, _) in &candidates {
            known = known || self.database.signed_in_from(user.id, &place, since).await?;
        }
        let by = match known {
            true => vec![pair],
            false => vec![from, account, pair],
        };
        let admission = self.rates.take(Act::Login, &by).await?;
        // Longer ones are nobody's, and are not worth hashing.
        let password = match password.len() <= 1_024 {
            true => password,
            false => String::new(),
        };
        let hashes = candidates.iter().map(|(_, hash)| hash.clone()).collect();
        let checked = self.hasher.check(password, hashes, CANDIDATES).await;
        let checked = match checked {
            Ok(checked) => checked,
            Err(error) => {
                // Nothing was tried.
                self.rates.give_back(admission).await;
                return Err(error.into());
            }
        };
        let fitting = checked.fits.and_then(|fit| candidates.into_iter().nth(fit));
        let Some((user, _)) = fitting else {
            return Err(Error::Wrong(NOT_SIGNED_IN));
        };
        self.rates.give_back(admission).await;
        if let Some(better) = checked.better {
            self.database.rehash(user.id, better).await?;
        }
        self.enter(asker, user).await
    }

    /// Opens a session for a user who has shown who they are.
    pub(super) async fn enter(&self, asker: &Asker, user: User) -> Result<SignedIn, Error> {
        let now = time::now();
        let token = random(REFRESH_PREFIX);
        let session = Session {
            id: SessionId::generate(),
            user: user.id,
            address: asker.place(),
            agent: asker.agent(),
            created_at: now,
            last_used_at: now,
            expires_at: now.after(self.settings.session_life),
        };
        let idle = now.after(self.settings.idle_life).min(session.expires_at);
        (self.database)
            .open_session(session.clone(), hash(&token), idle)
            .await?;
        self.signed_in(user, &session, token).await
    }

    async fn signed_in(
        &self,
        user: User,
        session: &Session,
        refresh_token: String,
    ) -> Result<SignedIn, Error> {
        let plan = self.database.plan_of(user.id).await?;
        let billing = crate::billing::Service::new(self.database.clone());
        let subject = Subject {
            user: &user,
            session: session.id,
            plan: plan.unwrap_or_else(|| "free".to_owned()),
            credits: billing.balance(user.id).await?.available,
        };
        let access_token = self.keyring.issue(&subject).map_err(Error::Failed)?;
        Ok(SignedIn {
            session: session.id,
            user,
            access_token,
            refresh_token,
            expires_at: session.expires_at,
        })
    }

    /// The next two tokens of a session. A refresh token is good once: a second use, by whomever,
    /// closes the session, and its user is told. Two things are no second use: a request that was
    /// under way while the first one was answered, and within seconds the same `attempt` again,
    /// whose answer was lost; both get the same successor.
    ///
    /// # Errors
    /// `Wrong` when the token is unknown or used, or the session is over.
    pub async fn refresh(
        &self,
        asker: &Asker,
        token: &str,
        attempt: Option<String>,
        arrived: Timestamp,
    ) -> Result<SignedIn, Error> {
        let mut problems = Problems::default();
        if let Some(attempt) = &attempt {
            problems.text("attempt", attempt, 1, MAX_ATTEMPT);
        }
        problems.into_result().map_err(Error::Invalid)?;
        if !token.starts_with(REFRESH_PREFIX) || token.len() > 200 {
            return Err(Error::Wrong(OVER));
        }
        let mut salt = vec![0_u8; 32];
        rand::Rng::fill_bytes(&mut rand::rng(), &mut salt);
        let next = successor(token, &salt);
        let presented = Presented {
            hash: hash(token),
            successor: hash(&next),
            salt,
            attempt,
            same: SAME_ATTEMPT,
            arrived,
            idle: time::now().after(self.settings.idle_life),
            address: asker.place(),
            agent: asker.agent(),
        };
        let (session, next) = match self.database.rotate(presented, self.settings.mail).await? {
            Rotation::Rotated(session) => (session, next),
            Rotation::Same(session, salt) => (session, successor(token, &salt)),
            Rotation::Reused(user, session) => {
                tracing::warn!(%user, %session, "a refresh token came a second time: its session is closed");
                return Err(Error::Wrong(OVER));
            }
            Rotation::Unknown => return Err(Error::Wrong(OVER)),
        };
        let user = self.database.find_user(session.user).await?;
        self.signed_in(user.ok_or(Error::Wrong(OVER))?, &session, next)
            .await
    }

    /// Closes a session.
    ///
    /// # Errors
    /// `NotFound` when the user has no such session that is open.
    pub async fn close(
        &self,
        user: UserId,
        session: SessionId,
        reason: EndReason,
    ) -> Result<(), Error> {
        let ended = self.database.end_sessions(user, Some(session), reason);
        match ended.await? {
            0 => Err(Error::NotFound),
            _ => Ok(()),
        }
    }

    /// Closes all sessions of a user; how many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn close_all(&self, user: UserId, reason: EndReason) -> Result<u64, Error> {
        Ok(self.database.end_sessions(user, None, reason).await?)
    }

    /// A user's sessions that are open, newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list(
        &self,
        user: UserId,
        after: Option<SessionId>,
        first: u32,
    ) -> Result<Page<Session>, Error> {
        let found = self.database.list_sessions(user, after, first, time::now());
        Ok(found.await?)
    }
}

/// The token that follows another one: known only to who has that one, and never stored.
fn successor(token: &str, salt: &[u8]) -> String {
    // Keys of any length are taken.
    let mac = Hmac::<Sha256>::new_from_slice(salt).map(|mac| mac.chain_update(token));
    let bytes = mac.map(|mac| mac.finalize().into_bytes().to_vec());
    format!(
        "{REFRESH_PREFIX}{}",
        hex::encode(bytes.unwrap_or_else(|_| hash(&random(""))))
    )
}

/// An address as it is kept: without what is around it, in small letters.
#[must_use]
pub fn fold(email: &str) -> String {
    email.trim().to_lowercase()
}

/// Checks an address that somebody says is theirs.
pub(super) fn check_address(field: &str, email: &str, problems: &mut Problems) -> String {
    let email = fold(email);
    if Address::parse(&email).is_none() {
        problems.add(field, "must be a mail address, such as ann@example.com");
    }
    email
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_successor_is_known_to_who_has_the_token() {
        let (token, salt) = (random(REFRESH_PREFIX), [7; 32]);
        let next = successor(&token, &salt);
        assert_eq!(next, successor(&token, &salt));
        assert_eq!(next.len(), token.len());
        assert_ne!(next, successor(&token, &[8; 32]));
        assert_ne!(next, successor(&next, &salt));
    }

    #[test]
    fn addresses_are_counted_by_who_has_them() {
        let network = |text: &str| network(Some(text.parse().expect("an address")));
        assert_eq!(network("192.0.2.7"), "192.0.2.7");
        assert_eq!(network("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(network("2001:db8::1"), network("2001:db8::ffff:1"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
    }
}
