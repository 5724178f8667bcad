//! Links in mails that change an account: whether an address is its user's, and a way to a new
//! password. Each is good once and for a while, and only its SHA-256 is kept.

use serde::{Deserialize, Serialize};

use super::{
    User, hash,
    password::check_new,
    random,
    sessions::{Asker, Error, Sessions, SignedIn, check_address},
};
use crate::{
    ids::{SessionId, UserId},
    input::Problems,
    jobs::model::words,
    mail::{Address, Language, NewMail, Recipient, SecurityEvent},
    rates::{self, Act},
    time::{self, Timestamp},
};

/// How tokens of links begin.
const PREFIX: &str = "gv_link_";

words!(
    /// What a link of a mail does to an account.
    LinkPurpose {
        /// Shows that an address is its user's.
        Verify = "VERIFY",
        /// Leads to a new password.
        Reset = "RESET",
    }
);

/// A link as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// SHA-256 of its token.
    pub hash: Vec<u8>,
    /// Whose account it changes.
    pub user: UserId,
    /// How.
    pub purpose: LinkPurpose,
    /// Where it was sent.
    pub address: String,
    /// Since when.
    pub created_at: Timestamp,
    /// Until when.
    pub expires_at: Timestamp,
}

/// What a database does with a link that somebody follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Followed {
    /// It has done its work, for this user.
    Done(User),
    /// There is none, it was used, or its time is over.
    Gone,
    /// Somebody else has shown that the address is theirs.
    Taken,
}

const GONE: &str = "The link has been used, or its time is over; ask for a new one.";
const TAKEN: &str = "The address belongs to another account by now.";

impl Sessions {
    /// The mail that a new account gets, or the owner of the address that it names; with the link
    /// that is in it. Nothing where no mail is sent.
    pub(super) fn greet(
        &self,
        user: &User,
        language: Language,
        taken: bool,
    ) -> Option<(NewMail, Option<Link>)> {
        let address = Address::parse(&user.email).filter(|_| self.settings.mail)?;
        if taken {
            let app = self.settings.app_url.clone();
            let mail = NewMail::known(user.id, address, language, app, &user.id.to_string());
            return Some((mail, None));
        }
        let (mail, link) = self.verification(user.id, address, language);
        Some((mail, Some(link)))
    }

    fn verification(&self, user: UserId, address: Address, language: Language) -> (NewMail, Link) {
        let (link, url, minutes) = self.link(user, LinkPurpose::Verify, &address);
        let key = SessionId::generate().to_string();
        let mail = NewMail::verification(user, address, language, url, minutes, &key);
        (mail, link)
    }

    fn link(&self, user: UserId, purpose: LinkPurpose, address: &Address) -> (Link, String, u32) {
        let token = random(PREFIX);
        let (life, app, own) = match purpose {
            LinkPurpose::Verify => (self.settings.verify_life, "verify-email", "verify"),
            LinkPurpose::Reset => (self.settings.reset_life, "reset-password", "reset"),
        };
        let url = match &self.settings.app_url {
            Some(pages) => format!("{}/{app}?token={token}", pages.trim_end_matches('/')),
            None => format!("{}/account/{own}?token={token}", self.settings.base),
        };
        let now = time::now();
        let link = Link {
            hash: hash(&token),
            user,
            purpose,
            address: address.as_str().to_owned(),
            created_at: now,
            expires_at: now.after(life),
        };
        let minutes = u32::try_from(life.as_secs() / 60).unwrap_or(u32::MAX);
        (link, url, minutes)
    }

    /// Sends a link that shows that the user's address is theirs; the links before it work no more.
    ///
    /// # Errors
    /// `Refused` after too many; `Conflict` when it is known, or no mail is sent.
    pub async fn send_verification(&self, user: &User) -> Result<(), Error> {
        if user.verified_at.is_some() {
            return Err(Error::Conflict("The address is confirmed.".to_owned()));
        }
        let address = self.address_of(&user.email)?;
        let by = [rates::Subject::new("address", &user.email)];
        self.rates.take(Act::Mail, &by).await?;
        let language = self.database.language_of(user.id).await?;
        let (mail, link) = match self.database.verified_holder(&user.email).await? {
            Some(_) => {
                let app = self.settings.app_url.clone();
                let key = SessionId::generate().to_string();
                let mail = NewMail::known(user.id, address, language, app, &key);
                (mail, None)
            }
            None => {
                let (mail, link) = self.verification(user.id, address, language);
                (mail, Some(link))
            }
        };
        self.database.send_link(mail, link).await?;
        Ok(())
    }

    fn address_of(&self, email: &str) -> Result<Address, Error> {
        let address = Address::parse(email).filter(|_| self.settings.mail);
        address.ok_or_else(|| {
            Error::Conflict(
                "This installation sends no mail (mail.delivery is off), so that no address can be \
                 confirmed."
                    .to_owned(),
            )
        })
    }

    /// Follows a link that shows that an address is a user's: of their account from now on.
    ///
    /// # Errors
    /// `Wrong` when the link is not good any more.
    pub async fn verify(&self, token: &str) -> Result<User, Error> {
        let hash = read(token)?;
        let key = format!("address/{}", SessionId::generate());
        let mail = self.settings.mail.then_some(key);
        match self
            .database
            .follow_verification(hash, time::now(), mail)
            .await?
        {
            Followed::Done(user) => Ok(user),
            Followed::Gone => Err(Error::Wrong(GONE)),
            Followed::Taken => Err(Error::Wrong(TAKEN)),
        }
    }

    /// Sends a link to another address: the account has it once the link is followed, and the old one
    /// until then.
    ///
    /// # Errors
    /// `Invalid`, `Wrong` for the password, `Refused` after too many, `Conflict` where no mail is sent.
    pub async fn change_email(
        &self,
        asker: &Asker,
        user: &User,
        session: Option<SessionId>,
        password: String,
        email: &str,
    ) -> Result<(), Error> {
        let mut problems = Problems::default();
        let email = check_address("newEmail", email, &mut problems);
        if email == user.email {
            problems.add("newEmail", "is the address that the account has");
        }
        problems.into_result().map_err(Error::Invalid)?;
        let address = self.address_of(&email)?;
        self.confirm(asker, user, session, password).await?;
        let by = [rates::Subject::new("address", &email)];
        self.rates.take(Act::Mail, &by).await?;
        let language = self.database.language_of(user.id).await?;
        let taken = self.database.verified_holder(&email).await?.is_some();
        let (mail, link) = match taken {
            true => {
                let key = SessionId::generate().to_string();
                (NewMail::known(user.id, address, language, None, &key), None)
            }
            false => {
                let (mail, link) = self.verification(user.id, address, language);
                (mail, Some(link))
            }
        };
        self.database.send_link(mail, link).await?;
        Ok(())
    }

    /// Sends a link that leads to a new password, if the address has an account; nobody learns
    /// whether it has.
    ///
    /// # Errors
    /// `Invalid` when it is no address; `Refused` after too many for it, or from there.
    pub async fn request_reset(&self, asker: &Asker, email: &str) -> Result<(), Error> {
        let mut problems = Problems::default();
        let email = check_address("email", email, &mut problems);
        problems.into_result().map_err(Error::Invalid)?;
        let by = [rates::Subject::new("address", &email), asker.subject()];
        self.rates.take(Act::Mail, &by).await?;
        // Beside the answer, which would tell by its time.
        let this = self.clone();
        tokio::spawn(async move {
            if let Err(error) = this.send_reset(&email).await {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "a link to a new password could not be sent"
                );
            }
        });
        Ok(())
    }

    async fn send_reset(&self, email: &str) -> Result<(), Error> {
        let candidates = self.database.credentials_or_none(email).await?;
        let Some(address) = Address::parse(email).filter(|_| self.settings.mail) else {
            return Ok(());
        };
        // Whose the address is; of those who only claim it, none could be told apart.
        let Some(user) = candidates else {
            return Ok(());
        };
        let (link, url, minutes) = self.link(user.id, LinkPurpose::Reset, &address);
        let key = SessionId::generate().to_string();
        let language = self.database.language_of(user.id).await?;
        let mail = NewMail::reset(user.id, address, language, url, minutes, &key);
        self.database.send_link(mail, Some(link)).await?;
        Ok(())
    }

    /// Follows a link to a new password: every session is closed, the user is told and signed in. When
    /// it was not known before that the address is theirs, API keys are revoked and webhook
    /// endpoints deleted, too: they may be somebody else's, who had registered with it.
    ///
    /// # Errors
    /// `Invalid` for the password; `Wrong` when the link is not good any more.
    pub async fn reset(
        &self,
        asker: &Asker,
        token: &str,
        password: String,
    ) -> Result<SignedIn, Error> {
        let hash = read(token)?;
        let mut problems = Problems::default();
        check_new("password", &password, "", &mut problems);
        problems.into_result().map_err(Error::Invalid)?;
        // Before it is hashed: wrong links cost nothing.
        let found = self.database.reset_of(&hash, time::now()).await?;
        let user = found.ok_or(Error::Wrong(GONE))?;
        if user.verified_at.is_none() {
            // Whoever registered with the address without having it hears nothing any more.
            self.hang_up(user.id).await?;
        }
        let password = self.hasher.hash(password).await?;
        let key = format!("password/{}", SessionId::generate());
        let mail = self.settings.mail.then_some(key);
        match self
            .database
            .follow_reset(hash, time::now(), password, mail)
            .await?
        {
            Followed::Done(user) => self.enter(asker, user).await,
            Followed::Gone => Err(Error::Wrong(GONE)),
            Followed::Taken => Err(Error::Wrong(TAKEN)),
        }
    }
}

fn read(token: &str) -> Result<Vec<u8>, Error> {
    if !token.starts_with(PREFIX) || token.len() > 200 {
        return Err(Error::Wrong(GONE));
    }
    Ok(hash(token))
}

/// What a user is told when something changed.
#[must_use]
pub(crate) fn told(user: UserId, event: SecurityEvent, key: &str) -> NewMail {
    NewMail::security(user, Recipient::Owner, event, key)
}
