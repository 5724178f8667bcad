//! How often somebody may do something: at most so many in a window that slides along. Counted by
//! account, client address and API key, whichever door is used; by all nodes together where they
//! share a Redis.

mod memory;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

pub use memory::Memory;

/// Something that is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Act {
    /// A wrong password.
    Login,
    /// A new account.
    Register,
    /// A mail to an address that anybody may name.
    Mail,
    /// A new project.
    CreateProject,
    /// A script, a voice track, a film or a batch of them.
    Generate,
    /// A request with an API key.
    ApiKey,
}

impl Act {
    /// The name in settings, keys and headers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Register => "register",
            Self::Mail => "mail",
            Self::CreateProject => "create_project",
            Self::Generate => "generate",
            Self::ApiKey => "api_key",
        }
    }

    /// Whether nothing is let through while nobody can count: what guards accounts.
    fn is_guard(self) -> bool {
        matches!(self, Self::Login | Self::Register | Self::Mail)
    }
}

/// At most so many in a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// So many.
    pub count: u32,
    /// Within this time.
    pub window: Duration,
}

/// Text that is not a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a count and a time, such as 5/15m, 30/1h or 100/10s, or off")]
pub struct NotALimit;

impl Limit {
    /// From `COUNT/TIME`, the time in `s`, `m` or `h` of up to a day; nothing for `off`.
    ///
    /// # Errors
    /// When it is neither.
    pub fn parse(text: &str) -> Result<Option<Self>, NotALimit> {
        if text == "off" {
            return Ok(None);
        }
        let (count, window) = text.split_once('/').ok_or(NotALimit)?;
        let count: u32 = count.parse().map_err(|_| NotALimit)?;
        let unit = window.chars().next_back().ok_or(NotALimit)?;
        let seconds = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            _ => return Err(NotALimit),
        };
        let number = window.strip_suffix(unit).ok_or(NotALimit)?;
        let number: u64 = number.parse().map_err(|_| NotALimit)?;
        let seconds = number.checked_mul(seconds).ok_or(NotALimit)?;
        if !(1..=100_000).contains(&count) || !(1..=86_400).contains(&seconds) {
            return Err(NotALimit);
        }
        Ok(Some(Self {
            count,
            window: Duration::from_secs(seconds),
        }))
    }
}

/// Every limit; nothing: there is none.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limits {
    /// Of wrong passwords.
    pub login: Option<Limit>,
    /// Of new accounts.
    pub register: Option<Limit>,
    /// Of mails that anybody may ask for.
    pub mail: Option<Limit>,
    /// Of new projects.
    pub create_project: Option<Limit>,
    /// Of things to make.
    pub generate: Option<Limit>,
    /// Of requests with an API key.
    pub api_key: Option<Limit>,
}

impl Limits {
    fn of(&self, act: Act) -> Option<Limit> {
        match act {
            Act::Login => self.login,
            Act::Register => self.register,
            Act::Mail => self.mail,
            Act::CreateProject => self.create_project,
            Act::Generate => self.generate,
            Act::ApiKey => self.api_key,
        }
    }
}

/// What a counter says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// It may be done.
    Granted {
        /// Names what was counted, to be given back.
        ticket: u64,
        /// So many are left.
        left: u32,
        /// Then the oldest one is forgotten.
        reset: Duration,
    },
    /// Not before this.
    Refused(Duration),
}

/// Nobody can count now.
#[derive(Debug, thiserror::Error)]
#[error("what counts does not answer")]
pub struct Unreachable;

/// Counts.
#[async_trait]
pub trait Counter: Send + Sync + 'static {
    /// Counts one more for `subject`, unless that would be too many.
    async fn take(&self, subject: &str, limit: Limit) -> Result<Taken, Unreachable>;

    /// Forgets what was counted.
    async fn give_back(&self, subject: &str, ticket: u64);
}

/// It may be done, and has been counted.
#[derive(Debug, Default)]
pub struct Admission {
    /// For the caller: what is nearest to its limit; nothing: nothing is limited.
    pub standing: Option<Standing>,
    taken: Vec<(String, u64)>,
}

/// How near somebody is to a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// What is counted.
    pub act: Act,
    /// The limit.
    pub limit: Limit,
    /// So many are left.
    pub left: u32,
    /// Then one more is.
    pub reset: Duration,
}

/// Why it may not be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It was done too often.
    #[error("{}", words(.0))]
    TooOften(Standing),
    /// Nobody can count, and without it nobody may.
    #[error("this is not possible now")]
    NobodyCounts,
}

fn words(standing: &Standing) -> String {
    let what = match standing.act {
        Act::Login => "wrong passwords",
        Act::Register => "new accounts",
        Act::Mail => "mails to this address",
        Act::CreateProject => "new projects",
        Act::Generate => "things to make",
        Act::ApiKey => "requests with this API key",
    };
    let Limit { count, window } = standing.limit;
    let wait = standing.reset.as_secs().max(1);
    format!(
        "Too many {what}: at most {count} in {}. Try again in {wait} s.",
        span(window)
    )
}

fn span(window: Duration) -> String {
    match window.as_secs() {
        seconds if seconds % 3_600 == 0 => format!("{} h", seconds / 3_600),
        seconds if seconds % 60 == 0 => format!("{} min", seconds / 60),
        seconds => format!("{seconds} s"),
    }
}

/// Who is counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject(String);

impl Subject {
    /// A kind of subject, and which one. What people wrote is hashed: it may be long, and a key of
    /// Redis is no place for addresses.
    #[must_use]
    pub fn new(kind: &str, which: &str) -> Self {
        use sha2::{Digest as _, Sha256};
        let digest = Sha256::digest(which.as_bytes());
        Self(format!("{kind}:{}", hex::encode(&digest[..16])))
    }
}

/// Says what may be done. Cheap to clone.
#[derive(Clone)]
pub struct Rates {
    limits: Limits,
    counter: Arc<dyn Counter>,
    alone: Arc<Memory>,
}

impl std::fmt::Debug for Rates {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Rates")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl Rates {
    /// With a counter that several nodes share, or without.
    #[must_use]
    pub fn new(limits: Limits, shared: Option<Arc<dyn Counter>>) -> Self {
        let alone = Arc::new(Memory::default());
        Self {
            limits,
            counter: shared.unwrap_or_else(|| Arc::clone(&alone) as Arc<dyn Counter>),
            alone,
        }
    }

    /// Counts one more of `act` for all `subjects`, or for none of them.
    ///
    /// While a shared counter does not answer, what guards accounts is refused, and each node counts
    /// the rest by itself.
    ///
    /// # Errors
    /// When one of them has done it too often.
    pub async fn take(&self, act: Act, subjects: &[Subject]) -> Result<Admission, Refused> {
        let mut admission = Admission::default();
        let Some(limit) = self.limits.of(act) else {
            return Ok(admission);
        };
        for Subject(subject) in subjects {
            let key = format!("{}:{subject}", act.as_str());
            let taken = match self.counter.take(&key, limit).await {
                Ok(taken) => Ok(taken),
                Err(Unreachable) if act.is_guard() => Err(Refused::NobodyCounts),
                Err(Unreachable) => (self.alone.take(&key, limit).await)
                    .map_err(|Unreachable| Refused::NobodyCounts),
            };
            let standing = |left, reset| Standing {
                act,
                limit,
                left,
                reset,
            };
            let refused = match taken {
                Ok(Taken::Granted {
                    ticket,
                    left,
                    reset,
                }) => {
                    admission.taken.push((key, ticket));
                    let nearest = admission.standing.map_or(u32::MAX, |known| known.left);
                    if left < nearest {
                        admission.standing = Some(standing(left, reset));
                    }
                    continue;
                }
                Ok(Taken::Refused(wait)) => Refused::TooOften(standing(0, wait)),
                Err(refused) => refused,
            };
            self.give_back(admission).await;
            return Err(refused);
        }
        Ok(admission)
    }

    /// Forgets what was counted: it came to nothing, or was not what is limited.
    pub async fn give_back(&self, admission: Admission) {
        for (key, ticket) in admission.taken {
            self.counter.give_back(&key, ticket).await;
            self.alone.give_back(&key, ticket).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read() {
        for (text, count, seconds) in [("5/15m", 5, 900), ("3/1h", 3, 3_600), ("1/1s", 1, 1)] {
            let window = Duration::from_secs(seconds);
            assert_eq!(Limit::parse(text), Ok(Some(Limit { count, window })));
        }
        assert_eq!(Limit::parse("off"), Ok(None));
        for bad in [
            "", "5", "5/", "/1h", "0/1h", "5/0s", "5/25h", "-1/1h", "5/1d", "5/é",
        ] {
            assert_eq!(Limit::parse(bad), Err(NotALimit), "{bad}");
        }
    }

    struct Down;

    #[async_trait]
    impl Counter for Down {
        async fn take(&self, _: &str, _: Limit) -> Result<Taken, Unreachable> {
            Err(Unreachable)
        }
        async fn give_back(&self, _: &str, _: u64) {}
    }

    #[tokio::test]
    async fn without_the_shared_counter_accounts_are_shut_and_the_rest_is_counted_here() {
        let limit = Limit::parse("1/1h").expect("a limit");
        let limits = Limits {
            login: limit,
            generate: limit,
            ..Limits::default()
        };
        let rates = Rates::new(limits, Some(Arc::new(Down)));
        let who = [Subject::new("user", "ann")];
        let refused = rates.take(Act::Login, &who).await.expect_err("shut");
        assert_eq!(refused, Refused::NobodyCounts);
        rates.take(Act::Generate, &who).await.expect("one");
        let refused = rates.take(Act::Generate, &who).await.expect_err("two");
        assert!(matches!(refused, Refused::TooOften(_)), "{refused}");
        assert!(rates.take(Act::CreateProject, &who).await.is_ok(), "off");
    }

    #[tokio::test]
    async fn all_subjects_are_counted_or_none() {
        let limits = Limits {
            login: Limit::parse("2/1h").expect("a limit"),
            ..Limits::default()
        };
        let rates = Rates::new(limits, None);
        let ann = Subject::new("user", "ann");
        let (here, there) = (Subject::new("from", "1"), Subject::new("from", "2"));
        let both = [here.clone(), ann.clone()];
        rates.take(Act::Login, &both).await.expect("first");
        let second = rates.take(Act::Login, &both).await.expect("second");
        assert_eq!(second.standing.expect("counted").left, 0);
        // Ann is over her limit: another address is not counted for it.
        let elsewhere = [there.clone(), ann.clone()];
        assert!(rates.take(Act::Login, &elsewhere).await.is_err());
        rates.give_back(second).await;
        rates
            .take(Act::Login, &elsewhere)
            .await
            .expect("given back");
        let left = rates.take(Act::Login, &[there]).await.expect("only one");
        assert_eq!(left.standing.expect("counted").left, 0);
    }
}
