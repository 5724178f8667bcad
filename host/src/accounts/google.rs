//! Signing in with Google: OpenID Connect's code flow, with PKCE, a state and a nonce. What belongs to
//! one attempt lies sealed in a cookie of the browser that began it, so that any node can finish it
//! and no other browser can.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;

use super::{
    Role, User,
    links::told,
    random,
    sessions::{Asker, Error, MAX_NAME, Sessions, SignedIn, check_address},
};
use crate::{
    adapters::sql,
    ids::{SessionId, UserId},
    input::Problems,
    mail::{Language, SecurityEvent},
    rates::Act,
    time::{self, Timestamp},
    vault::Vault,
};

/// How long somebody may take to agree.
pub const WAIT: Duration = Duration::from_secs(600);
/// Longest path to go on to, in bytes.
const MAX_NEXT: usize = 512;
/// Longest value of the cookie that is looked at, in bytes.
const LONGEST: usize = 4_096;
/// Longest identifier that a provider may give somebody (OpenID Connect Core 1.0, section 2).
const MAX_SUBJECT: usize = 255;
const PURPOSE: &str = "google sign-in";

/// With what somebody signs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignInMethod {
    /// A password.
    Password,
    /// A Google account.
    Google,
}

impl Sessions {
    /// With what a user can sign in.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sign_in_methods(&self, user: UserId) -> Result<Vec<SignInMethod>, sql::Error> {
        let password = self.database.password_of(user).await?;
        let google = self.database.has_identity(user).await?;
        Ok((password.map(|_| SignInMethod::Password).into_iter())
            .chain(google.then_some(SignInMethod::Google))
            .collect())
    }
}

/// What makes one attempt different from all others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Comes back with the browser.
    pub state: String,
    /// Comes back in the ID token.
    pub nonce: String,
    /// Whoever redeems the code has to know it (RFC 7636): 43 to 128 letters and digits.
    pub verifier: String,
}

/// Somebody whom the provider vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Stays the same for ever.
    pub subject: String,
    /// Their address.
    pub email: String,
    /// Has the provider seen that it is theirs?
    pub email_verified: bool,
    /// Does the provider itself give out such addresses? It knows then who has it now, and not only
    /// who had it once.
    pub authoritative: bool,
    /// Their name, if they told it.
    pub name: Option<String>,
}

/// Why the provider vouches for nobody.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// What came is not what was asked for; for the log.
    #[error("{0}")]
    Untrue(String),
    /// It does not answer, or not as it should; for the log.
    #[error("{0:#}")]
    Failed(anyhow::Error),
}

/// Knows people. Google, or whom the settings name in its place.
#[async_trait]
pub trait IdentityProvider: Send + Sync {
    /// Who it is: `iss` of its tokens.
    fn issuer(&self) -> &str;

    /// The page where somebody agrees.
    ///
    /// # Errors
    /// `Failed`.
    async fn page(&self, attempt: &Attempt) -> Result<String, ProviderError>;

    /// Who came back with a code.
    ///
    /// # Errors
    /// `Untrue` for a code or a token that is not of this attempt; `Failed`.
    async fn redeem(&self, code: String, attempt: &Attempt) -> Result<Person, ProviderError>;
}

/// An attempt while its user is away.
#[derive(Serialize, Deserialize)]
struct Pending {
    attempt: Attempt,
    /// Where to go on.
    next: Option<String>,
    until: Timestamp,
}

/// An attempt that has begun.
#[derive(Debug, Clone)]
pub struct Begun {
    /// The page where somebody agrees.
    pub page: String,
    /// What the browser keeps, for [`WAIT`].
    pub kept: String,
}

/// What the browser comes back with.
#[derive(Debug, Clone, Default)]
pub struct Returned {
    /// What it has kept.
    pub kept: Option<String>,
    /// Of the attempt.
    pub state: Option<String>,
    /// Who answers (RFC 9207).
    pub issuer: Option<String>,
    /// Redeems the person.
    pub code: Option<String>,
    /// Why there is no code.
    pub error: Option<String>,
}

/// Somebody from a provider for whom an account is looked for.
#[derive(Debug, Clone)]
pub struct Newcomer {
    /// Who vouches for them.
    pub issuer: String,
    /// Their name there.
    pub subject: String,
    /// Does the provider give out such addresses itself?
    pub authoritative: bool,
    /// The account that they get when they have none.
    pub user: User,
    /// Language of mails.
    pub language: Language,
    /// May anybody make an account?
    pub open: bool,
    /// Is mail sent?
    pub mail: bool,
}

/// Whose account a newcomer gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Welcome {
    /// They have been here.
    Known(User),
    /// The account with their address, from now on.
    Linked(User),
    /// A new one.
    New(User),
    /// Accounts are made by operators only.
    Closed,
    /// The account with their address is another person's there, or an admin's whose address the
    /// provider cannot speak for.
    Taken,
}

/// Signs users in with Google. Cheap to clone.
#[derive(Clone)]
pub struct Google {
    sessions: Sessions,
    vault: Vault,
    provider: Arc<dyn IdentityProvider>,
}

const BROKEN_OFF: &str = "The sign-in with Google was not begun in this browser, or it took longer than \
    10 minutes. Please begin again.";
const DENIED: &str = "You did not agree at Google, so nobody is signed in.";
const UNTRUE: &str = "Google's answer does not belong to this sign-in. Please begin again.";

impl Google {
    /// Over the sessions.
    #[must_use]
    pub fn new(sessions: Sessions, vault: Vault, provider: Arc<dyn IdentityProvider>) -> Self {
        Self {
            sessions,
            vault,
            provider,
        }
    }

    /// Begins an attempt. `next` is a path of the app to go on to.
    ///
    /// # Errors
    /// `Invalid` for the path; `Failed` when Google does not answer.
    pub async fn begin(&self, next: Option<&str>) -> Result<Begun, Error> {
        let mut problems = Problems::default();
        if next.is_some_and(|next| !is_path(next)) {
            problems.add(
                "next",
                format!("must be a path of the app such as /films, of {MAX_NEXT} bytes at most"),
            );
        }
        problems.into_result().map_err(Error::Invalid)?;
        let attempt = Attempt {
            state: random(""),
            nonce: random(""),
            verifier: random(""),
        };
        let page = self.provider.page(&attempt).await.map_err(failed)?;
        let pending = Pending {
            attempt,
            next: next.map(str::to_owned),
            until: time::now().after(WAIT),
        };
        let sealed = serde_json::to_vec(&pending)
            .map_err(anyhow::Error::from)
            .and_then(|pending| Ok(self.vault.seal(PURPOSE, &pending)?));
        Ok(Begun {
            page,
            kept: URL_SAFE_NO_PAD.encode(sealed.map_err(Error::Failed)?),
        })
    }

    /// Finishes an attempt: the user, signed in, and where to go on.
    ///
    /// # Errors
    /// `Wrong` when it is not the attempt of this browser, or Google does not vouch for the address;
    /// `Conflict` when there is no account for them; `Refused` after too many; `Failed` when Google
    /// does not answer.
    pub async fn finish(
        &self,
        asker: &Asker,
        language: Language,
        returned: Returned,
    ) -> Result<(SignedIn, Option<String>), Error> {
        let pending = (returned.kept.as_deref()).and_then(|kept| self.open(kept));
        let pending = pending.ok_or(Error::Wrong(BROKEN_OFF))?;
        let state = returned.state.unwrap_or_default();
        let same = state.as_bytes().ct_eq(pending.attempt.state.as_bytes());
        if !bool::from(same) || pending.until <= time::now() {
            return Err(Error::Wrong(BROKEN_OFF));
        }
        if (returned.issuer).is_some_and(|issuer| issuer != self.provider.issuer()) {
            return Err(Error::Wrong(UNTRUE));
        }
        let code = match (returned.code, returned.error.as_deref()) {
            (Some(code), None) => code,
            (_, Some("access_denied")) => return Err(Error::Wrong(DENIED)),
            (_, error) => {
                tracing::warn!(error, "Google sent somebody back without a code");
                return Err(Error::Wrong(UNTRUE));
            }
        };
        // Each one is a call to Google; what fails counts like a wrong password.
        let by = [asker.subject()];
        let admission = self.sessions.rates.take(Act::Login, &by).await?;
        let person = match self.provider.redeem(code, &pending.attempt).await {
            Ok(person) => person,
            Err(ProviderError::Untrue(why)) => {
                tracing::warn!(why, "a sign-in with Google is not taken");
                return Err(Error::Wrong(UNTRUE));
            }
            Err(error) => {
                self.sessions.rates.give_back(admission).await;
                return Err(failed(error));
            }
        };
        let user = self.welcome(asker, person, language).await?;
        self.sessions.rates.give_back(admission).await;
        let signed_in = self.sessions.enter(asker, user).await?;
        Ok((signed_in, pending.next))
    }

    fn open(&self, kept: &str) -> Option<Pending> {
        let sealed = Some(kept).filter(|kept| kept.len() <= LONGEST)?;
        let sealed = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let pending = self.vault.open(PURPOSE, &sealed).ok()?;
        serde_json::from_slice(&pending).ok()
    }

    /// The account of somebody whom Google vouches for: theirs, the one that has shown that it has
    /// their address, or a new one.
    async fn welcome(
        &self,
        asker: &Asker,
        person: Person,
        language: Language,
    ) -> Result<User, Error> {
        let mut problems = Problems::default();
        let email = check_address("email", &person.email, &mut problems);
        let subject = 1..=MAX_SUBJECT;
        if !subject.contains(&person.subject.len()) || !problems.list().is_empty() {
            return Err(Error::Wrong(UNTRUE));
        }
        if !person.email_verified {
            return Err(Error::Wrong(
                "Google does not know whether the address of this Google account is yours: confirm it \
                 there first.",
            ));
        }
        let printable = person.name.unwrap_or_default();
        let printable: String = printable.chars().filter(|c| !c.is_control()).collect();
        let mut name: String = printable.trim().chars().take(MAX_NAME).collect();
        if name.is_empty() {
            (email.split('@').next().unwrap_or(&email)).clone_into(&mut name);
        }
        let now = time::now();
        let settings = &self.sessions.settings;
        let newcomer = Newcomer {
            issuer: self.provider.issuer().to_owned(),
            subject: person.subject,
            authoritative: person.authoritative,
            user: User {
                id: UserId::generate(),
                email,
                verified_at: Some(now),
                name,
                role: Role::User,
                created_at: now,
            },
            language,
            open: settings.open,
            mail: settings.mail,
        };
        let place = asker.address;
        match self.sessions.database.welcome(newcomer).await? {
            Welcome::Known(user) => Ok(user),
            Welcome::Linked(user) => {
                tracing::info!(user = %user.id, ?place, "an account is linked with Google");
                Ok(user)
            }
            Welcome::New(user) => {
                self.sessions.endow(user.id).await?;
                Ok(user)
            }
            Welcome::Closed => Err(Error::Conflict(
                "Nobody may register here by themselves; ask the operator for an account.".to_owned(),
            )),
            Welcome::Taken => Err(Error::Conflict(
                "The account with this address cannot be opened with this Google account: sign in with \
                 the password."
                    .to_owned(),
            )),
        }
    }
}

/// The mail to the owner of an account that is linked.
pub(crate) fn linked(user: UserId) -> crate::mail::NewMail {
    let key = format!("linked/{}", SessionId::generate());
    told(user, SecurityEvent::GoogleLinked, &key)
}

fn failed(error: ProviderError) -> Error {
    Error::Failed(match error {
        ProviderError::Untrue(why) => anyhow::anyhow!(why),
        ProviderError::Failed(error) => error,
    })
}

/// A path of the same host, and nothing that a browser takes for another one.
fn is_path(next: &str) -> bool {
    let mut rest = next.chars();
    next.len() <= MAX_NEXT
        && rest.next() == Some('/')
        && !matches!(rest.next(), Some('/' | '\\'))
        && next.chars().all(|c| c.is_ascii_graphic() && c != '\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_of_the_app_are_gone_on_to() {
        for good in ["/", "/films", "/films?page=2#top", "/a//b"] {
            assert!(is_path(good), "{good}");
        }
        for bad in [
            "",
            "films",
            "//evil.example",
            "/\\evil.example",
            "\\/evil.example",
            "/\t/evil.example",
            "https://evil.example",
            "/a\nb",
            "/ a",
            "/é",
            "/a\\b",
        ] {
            assert!(!is_path(bad), "{bad}");
        }
        assert!(!is_path(&format!("/{}", "a".repeat(MAX_NEXT))));
    }
}
