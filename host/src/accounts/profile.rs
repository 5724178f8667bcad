//! Accounts that are there: their profile, another password, their end.

use std::time::Duration;

use super::{
    User,
    password::check_new,
    sessions::{Asker, Error, MAX_NAME, Sessions, SignedIn},
};
use crate::{
    adapters::sql,
    ids::{SessionId, UserId},
    input::Problems,
    mail::{Address, Language, NewMail, Recipient, SecurityEvent},
    rates::{self, Act},
    time,
};

/// How fresh a session has to be to do what else takes a password, for accounts without one.
const FRESH: Duration = Duration::from_secs(15 * 60);

/// Things that are deleted between two looks.
const PAGE: u32 = 100;

impl Sessions {
    /// Changes the name that is shown, and the language of mails.
    ///
    /// # Errors
    /// `Invalid` names fields.
    pub async fn update_profile(
        &self,
        user: &User,
        name: Option<String>,
        language: Option<Language>,
    ) -> Result<User, Error> {
        let mut problems = Problems::default();
        let name = name.map(|name| problems.text("name", &name, 1, MAX_NAME));
        problems.into_result().map_err(Error::Invalid)?;
        (self.database)
            .update_profile(user.id, name.clone(), language)
            .await?;
        Ok(User {
            name: name.unwrap_or_else(|| user.name.clone()),
            ..user.clone()
        })
    }

    /// Changes the password: every other session is closed, and the user told by mail.
    ///
    /// # Errors
    /// `Invalid` for the new one, `Wrong` for the old one; `Refused` after too many wrong ones.
    pub async fn change_password(
        &self,
        asker: &Asker,
        user: &User,
        session: Option<SessionId>,
        old: String,
        new: String,
    ) -> Result<SignedIn, Error> {
        let mut problems = Problems::default();
        check_new("newPassword", &new, &user.email, &mut problems);
        problems.into_result().map_err(Error::Invalid)?;
        self.confirm(asker, user, session, old).await?;
        let new = self.hasher.hash(new).await?;
        let key = format!("password/{}", SessionId::generate());
        let told = NewMail::security(
            user.id,
            Recipient::Owner,
            SecurityEvent::PasswordChanged,
            &key,
        );
        self.database
            .change_password(user.id, new, self.settings.mail.then_some(told))
            .await?;
        self.enter(asker, user.clone()).await
    }

    /// Asks for the password again before something that a stolen access token must not do.
    pub(super) async fn confirm(
        &self,
        asker: &Asker,
        user: &User,
        session: Option<SessionId>,
        password: String,
    ) -> Result<(), Error> {
        let Some(known) = self.database.password_of(user.id).await? else {
            let opened = match session {
                Some(session) => self.database.session_opened(user.id, session).await?,
                None => None,
            };
            let fresh = opened.is_some_and(|at| time::now().since(at) <= FRESH);
            return match fresh {
                true => Ok(()),
                false => Err(Error::Conflict(
                    "This account has no password: sign in again, and do this within 15 minutes."
                        .to_owned(),
                )),
            };
        };
        let account = rates::Subject::new("user", &user.id.to_string());
        let by = [asker.subject(), account];
        let admission = self.rates.take(Act::Login, &by).await?;
        let checked = self.hasher.check(password, vec![known], 1).await;
        match checked {
            Ok(checked) if checked.fits.is_some() => {}
            Ok(_) => return Err(Error::Wrong("The password is wrong.")),
            Err(error) => {
                self.rates.give_back(admission).await;
                return Err(error.into());
            }
        }
        self.rates.give_back(admission).await;
        Ok(())
    }

    /// Deletes an account: nobody signs in to it any more, its name, addresses and sessions are
    /// forgotten, its API keys revoked. What was paid and spent stays in the books, without a name.
    ///
    /// # Errors
    /// `Wrong` when the password is; `Conflict` while a subscription holds.
    pub async fn delete(
        &self,
        asker: &Asker,
        user: &User,
        session: Option<SessionId>,
        password: String,
    ) -> Result<(), Error> {
        self.confirm(asker, user, session, password).await?;
        let told = Address::parse(&user.email).map(|address| {
            let to = Recipient::Address(address, Language::English);
            let key = format!("deleted/{}", user.id);
            NewMail::security(user.id, to, SecurityEvent::AccountDeleted, &key)
        });
        let told = told.filter(|_| self.settings.mail);
        // First what can be repeated while there is an account.
        self.empty(user.id).await?;
        match self.database.delete_user(user.id, told).await? {
            true => Ok(()),
            false => Err(Error::Conflict(
                "A subscription holds: end it first (createPortalSession), or it would go on being \
                 paid."
                    .to_owned(),
            )),
        }
    }

    /// Deletes what a user has made, and tells nobody about it any more.
    async fn empty(&self, user: UserId) -> Result<(), sql::Error> {
        loop {
            let page = self.database.list_projects(user, None, PAGE).await?;
            for project in &page.items {
                let gone = (self.database).delete_project(user, project.id, time::now());
                gone.await?;
            }
            if !page.more {
                return self.hang_up(user).await;
            }
        }
    }

    /// Deletes a user's webhook endpoints.
    pub(super) async fn hang_up(&self, user: UserId) -> Result<(), sql::Error> {
        loop {
            let page = self.database.list_endpoints(user, None, PAGE).await?;
            for endpoint in &page.items {
                self.database.delete_endpoint(user, endpoint.id).await?;
            }
            if !page.more {
                return Ok(());
            }
        }
    }
}
