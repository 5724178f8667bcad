//! What operators do with users' credits through the API: the same as `genvid admin credits`, under
//! the name of whoever asks.

use super::{Adjustment, Balance, Booked, Grant, MAX_REASON, MOST, Service, Shortage};
use crate::{
    accounts::User,
    adapters::sql,
    input::Problems,
    time::{self, Timestamp},
};

/// Longest key, in bytes.
const MAX_KEY: usize = 255;

/// Why credits were not moved.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Fields that cannot be taken.
    #[error("the input is not valid")]
    Invalid(Problems),
    /// There is no such user.
    #[error("there is no such user")]
    NotFound,
    /// The key came with something else.
    #[error("the key was used for another transfer")]
    KeyReused,
    /// Fewer are there than are taken.
    #[error("there are not enough credits")]
    Insufficient(Shortage),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sql::Error),
}

/// Credits to give, or to correct.
#[derive(Debug, Clone)]
pub struct Move {
    /// Whose: an id, or a mail address.
    pub user: String,
    /// How many.
    pub credits: i64,
    /// What for, in words that the user reads.
    pub reason: String,
    /// Makes it happen once.
    pub key: String,
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct Moved {
    /// Whose.
    pub user: User,
    /// What they have now.
    pub balance: Balance,
    /// It had happened before.
    pub repeated: bool,
}

impl Service {
    /// Gives a user credits.
    ///
    /// # Errors
    /// `Invalid` names fields; `NotFound`, `KeyReused`.
    pub async fn give(
        &self,
        operator: &User,
        wish: Move,
        expires_at: Option<Timestamp>,
    ) -> Result<Moved, Error> {
        let mut problems = check(&wish);
        if !(1..=MOST).contains(&wish.credits) {
            problems.add("credits", format!("must be 1 to {MOST}"));
        }
        if expires_at.is_some_and(|end| end <= time::now()) {
            problems.add("expiresAt", "has passed");
        }
        problems.into_result().map_err(Error::Invalid)?;
        let user = self.user(&wish.user).await?;
        let grant = Grant {
            user: user.id,
            credits: wish.credits,
            reason: wish.reason.trim().to_owned(),
            actor: operator.id.to_string(),
            key: key(&wish.key),
            expires_at,
        };
        let booked = self.database.grant(grant).await?;
        self.moved(user, booked).await
    }

    /// Corrects a user's available credits, up or down, never below zero.
    ///
    /// # Errors
    /// `Invalid` names fields; `NotFound`, `KeyReused`, `Insufficient`.
    pub async fn correct(&self, operator: &User, wish: Move) -> Result<Moved, Error> {
        let mut problems = check(&wish);
        if wish.credits == 0 || !(-MOST..=MOST).contains(&wish.credits) {
            problems.add("credits", format!("must be -{MOST} to {MOST}, and not 0"));
        }
        problems.into_result().map_err(Error::Invalid)?;
        let user = self.user(&wish.user).await?;
        let change = Adjustment {
            user: user.id,
            credits: wish.credits,
            reason: wish.reason.trim().to_owned(),
            actor: operator.id.to_string(),
            key: key(&wish.key),
        };
        let booked = match self.database.adjust(change).await {
            Err(sql::Error::InsufficientCredits(shortage)) => {
                return Err(Error::Insufficient(shortage));
            }
            booked => booked?,
        };
        self.moved(user, booked).await
    }

    async fn user(&self, named: &str) -> Result<User, Error> {
        let found = self.database.find_user_named(named).await?;
        found.ok_or(Error::NotFound)
    }

    async fn moved(&self, user: User, booked: Booked) -> Result<Moved, Error> {
        let repeated = match booked {
            Booked::Done => false,
            Booked::Repeated => true,
            Booked::KeyReused => return Err(Error::KeyReused),
        };
        Ok(Moved {
            balance: self.balance(user.id).await?,
            user,
            repeated,
        })
    }
}

/// Apart from the keys that the server makes itself; the command line's are the same.
fn key(key: &str) -> String {
    format!("operator/{key}")
}

fn check(wish: &Move) -> Problems {
    let mut problems = Problems::default();
    problems.text("user", &wish.user, 1, 320);
    problems.text("reason", &wish.reason, 1, MAX_REASON);
    problems.text("idempotencyKey", &wish.key, 1, MAX_KEY);
    problems
}
