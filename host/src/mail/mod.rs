//! What users are told by mail: what about, to whom, in which words, and how often it is tried.
//!
//! A mail is written in the transaction of what it tells, under a key that names its cause, so
//! that a crash loses none and a repetition adds none. Workers take mails that are due for a time
//! (`postman`) and hand them to the port [`Mail`], always with the same words under the same key:
//! a vendor that keeps keys sends each once, however often an answer is lost.

mod address;
mod postman;
mod seal;
mod service;
mod svix;
mod template;

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

pub use address::{Address, Sender};
pub use postman::Postman;
pub use seal::{Broken, Door, Seal};
pub use service::{Error, Opened, Service};
pub use svix::{Forged, TAG, Told, read, verify};
pub(crate) use template::escape;
pub use template::{Links, Words, words};

use crate::{
    ids::{JobId, MailId, UserId},
    jobs::model::{FailureCode, JobKind, words as stored_words},
    time::Timestamp,
};

/// How long after its cause a mail is still sent. Vendors keep keys for a day: one that is sent
/// later could be a second one.
pub const FRESH: Duration = Duration::from_secs(86_400);

/// The numbers by which mail runs. `config.default.toml` explains each.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Is anything sent, or kept in the mailbox?
    pub on: bool,
    /// Whom mails are from.
    pub from: Sender,
    /// Where answers go.
    pub reply_to: Option<Address>,
    /// What the sender is called.
    pub brand: String,
    /// Address of the pages of the app; nothing: there are none to lead to.
    pub app_url: Option<String>,
    /// How long links in mails work.
    pub link_life: Duration,
    /// Below so many available credits their owner is told; 0: never.
    pub low_credits: i64,
    /// Mails of this node in a second.
    pub per_second: u32,
    /// Mails of this node at a time.
    pub concurrency: usize,
    /// Most mails of one user's jobs and credits in a day.
    pub daily: u32,
    /// Waits before the first attempt, the second, and so on.
    pub retries: Vec<Duration>,
    /// How long an attempt may take.
    pub timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        let waits = [0, 5, 30, 300, 1_800, 7_200, 18_000, 36_000];
        Self {
            on: true,
            from: Sender::local("Genvid"),
            reply_to: None,
            brand: "Genvid".to_owned(),
            app_url: None,
            link_life: Duration::from_secs(7 * 86_400),
            low_credits: 100,
            per_second: 2,
            concurrency: 4,
            daily: 200,
            retries: waits.map(Duration::from_secs).to_vec(),
            timeout: Duration::from_secs(15),
        }
    }
}

stored_words!(
    /// What a mail is about.
    Kind {
        /// A job has a result.
        Completed = "COMPLETED",
        /// A job failed.
        Failed = "FAILED",
        /// Few credits are left.
        LowCredits = "LOW_CREDITS",
        /// Credits were paid for.
        Receipt = "RECEIPT",
        /// Is this address yours?
        Verify = "VERIFY",
        /// A new password is wanted.
        Reset = "RESET",
        /// Somebody registered with an address that has an account.
        Known = "KNOWN",
        /// Something changed that opens an account.
        Security = "SECURITY",
        /// Nothing is sent to a webhook endpoint any more.
        EndpointDisabled = "ENDPOINT_DISABLED",
    }
);

impl Kind {
    /// May its reader say that no more of these are wanted?
    #[must_use]
    pub fn is_optional(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::LowCredits)
    }

    /// Does it carry a link that opens an account?
    #[must_use]
    pub fn is_secret(self) -> bool {
        matches!(self, Self::Verify | Self::Reset)
    }
}

stored_words!(
    /// What changed that opens an account.
    SecurityEvent {
        /// A refresh token came a second time: the session is closed.
        TokenReused = "TOKEN_REUSED",
        /// There is another password.
        PasswordChanged = "PASSWORD_CHANGED",
        /// There is another address.
        AddressChanged = "ADDRESS_CHANGED",
        /// Somebody whom Google vouches for signs in to the account from now on.
        GoogleLinked = "GOOGLE_LINKED",
        /// The account is gone.
        AccountDeleted = "ACCOUNT_DELETED",
    }
);

stored_words!(
    /// In which language a mail is.
    Language {
        /// English.
        English = "en",
        /// Simplified Chinese.
        Chinese = "zh",
    }
);

impl Language {
    /// For a BCP 47 tag: Chinese for its own, English for all others.
    #[must_use]
    pub fn of(tag: &str) -> Self {
        let primary = tag.split('-').next().unwrap_or_default();
        if primary.eq_ignore_ascii_case("zh") {
            Self::Chinese
        } else {
            Self::English
        }
    }
}

stored_words!(
    /// Where a mail stands.
    Status {
        /// To be sent, for the first time or again.
        Pending = "PENDING",
        /// The vendor has it.
        Sent = "SENT",
        /// It arrived.
        Delivered = "DELIVERED",
        /// The vendor could not send it.
        Failed = "FAILED",
        /// It came back.
        Bounced = "BOUNCED",
        /// Its reader calls it spam.
        Complained = "COMPLAINED",
        /// Its address gets no mail.
        Suppressed = "SUPPRESSED",
        /// It was not sent, for the reason that is given.
        Dropped = "DROPPED",
    }
);

impl Status {
    /// What is told later in a mail's life stays, in whichever order it is told.
    #[must_use]
    pub fn rank(self) -> u8 {
        match self {
            Self::Pending => 0,
            Self::Dropped | Self::Suppressed => 1,
            Self::Sent => 2,
            Self::Delivered => 3,
            Self::Failed | Self::Bounced => 4,
            Self::Complained => 5,
        }
    }
}

stored_words!(
    /// Why a mail came to nothing, or an address gets none.
    Reason {
        /// It came back for good.
        Bounced = "BOUNCED",
        /// Its reader called one spam.
        Complained = "COMPLAINED",
        /// Its reader wants no more.
        Unsubscribed = "UNSUBSCRIBED",
        /// The vendor does not take it.
        Refused = "REFUSED",
        /// It could not be sent in time.
        Late = "LATE",
        /// This installation sends no mail.
        Off = "OFF",
        /// Its owner has had too many today.
        Limit = "LIMIT",
    }
);

/// What a job cost, as its mail says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    /// Credits that were spent.
    pub charged: i64,
    /// Credits that came back.
    pub returned: i64,
    /// Credits that an open attempt may still cost.
    pub open: i64,
}

/// What a mail tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Content {
    /// A job has a result.
    Completed {
        /// Which job.
        job: JobId,
        /// What it made.
        what: JobKind,
        /// What files it left, as the tables call them.
        files: Vec<String>,
        /// What it cost.
        spent: Spent,
    },
    /// A job failed.
    Failed {
        /// Which job.
        job: JobId,
        /// What it was to make.
        what: JobKind,
        /// Number of the event in its log: the link of this mail is good for this failure only.
        seq: i64,
        /// The class.
        code: FailureCode,
        /// May it succeed if it is tried again?
        retryable: bool,
        /// What it cost.
        spent: Spent,
    },
    /// Few credits are left.
    LowCredits {
        /// So many.
        available: i64,
        /// Fewer than these.
        threshold: i64,
    },
    /// Credits were paid for.
    Receipt {
        /// So many.
        credits: i64,
        /// What was paid, in the currency's smallest unit.
        amount_minor: i64,
        /// ISO 4217.
        currency: String,
        /// Where the invoice is.
        invoice_url: Option<String>,
    },
    /// Is this address yours?
    Verify {
        /// Says yes.
        link: String,
        /// How long it works, in minutes.
        minutes: u32,
    },
    /// A new password is wanted.
    Reset {
        /// Leads to the form.
        link: String,
        /// How long it works, in minutes.
        minutes: u32,
    },
    /// Somebody registered with an address that has an account.
    Known {
        /// Leads to where a new password is asked for; nothing: there is no app to lead to.
        link: Option<String>,
    },
    /// Something changed that opens an account.
    Security {
        /// What.
        event: SecurityEvent,
    },
    /// Nothing is sent to a webhook endpoint any more.
    EndpointDisabled {
        /// Its address.
        url: String,
        /// It said that it is gone; otherwise it failed for days.
        gone: bool,
    },
}

impl Content {
    /// What it is about.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Completed { .. } => Kind::Completed,
            Self::Failed { .. } => Kind::Failed,
            Self::LowCredits { .. } => Kind::LowCredits,
            Self::Receipt { .. } => Kind::Receipt,
            Self::Verify { .. } => Kind::Verify,
            Self::Reset { .. } => Kind::Reset,
            Self::Known { .. } => Kind::Known,
            Self::Security { .. } => Kind::Security,
            Self::EndpointDisabled { .. } => Kind::EndpointDisabled,
        }
    }

    /// About which job.
    #[must_use]
    pub fn job(&self) -> Option<JobId> {
        match self {
            Self::Completed { job, .. } | Self::Failed { job, .. } => Some(*job),
            _ => None,
        }
    }
}

/// To whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recipient {
    /// The user's own address, in the user's language.
    Owner,
    /// This one.
    Address(Address, Language),
}

/// A mail to write down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMail {
    /// Whose it is.
    pub owner: UserId,
    /// Names the cause: a second one with the same key is none.
    pub key: String,
    /// To whom.
    pub to: Recipient,
    /// What it tells.
    pub content: Content,
}

/// A payment that went through, for the one who paid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Who paid.
    pub user: UserId,
    /// For how many credits.
    pub credits: i64,
    /// How much, in the currency's smallest unit.
    pub amount_minor: i64,
    /// ISO 4217, for example `usd`.
    pub currency: String,
    /// Where the invoice is.
    pub invoice_url: Option<String>,
    /// The payment's own key, for example the id of its checkout session.
    pub key: String,
}

impl From<Receipt> for NewMail {
    fn from(receipt: Receipt) -> Self {
        Self {
            owner: receipt.user,
            key: format!("receipt/{}", receipt.key),
            to: Recipient::Owner,
            content: Content::Receipt {
                credits: receipt.credits,
                amount_minor: receipt.amount_minor,
                currency: receipt.currency,
                invoice_url: receipt.invoice_url,
            },
        }
    }
}

impl NewMail {
    /// Asks whether an address belongs to a user. `key` names the token, not its value.
    #[must_use]
    pub fn verification(
        owner: UserId,
        to: Address,
        language: Language,
        link: String,
        minutes: u32,
        key: &str,
    ) -> Self {
        Self {
            owner,
            key: format!("verify/{key}"),
            to: Recipient::Address(to, language),
            content: Content::Verify { link, minutes },
        }
    }

    /// Tells the owner of an address that somebody registered with it. `key` names the attempt.
    #[must_use]
    pub fn known(
        owner: UserId,
        to: Address,
        language: Language,
        link: Option<String>,
        key: &str,
    ) -> Self {
        Self {
            owner,
            key: format!("known/{key}"),
            to: Recipient::Address(to, language),
            content: Content::Known { link },
        }
    }

    /// Tells a user what changed that opens their account. `key` names the change.
    #[must_use]
    pub fn security(owner: UserId, to: Recipient, event: SecurityEvent, key: &str) -> Self {
        Self {
            owner,
            key: format!("security/{key}"),
            to,
            content: Content::Security { event },
        }
    }

    /// Leads a user to a new password. `key` names the token, not its value.
    #[must_use]
    pub fn reset(
        owner: UserId,
        to: Address,
        language: Language,
        link: String,
        minutes: u32,
        key: &str,
    ) -> Self {
        Self {
            owner,
            key: format!("reset/{key}"),
            to: Recipient::Address(to, language),
            content: Content::Reset { link, minutes },
        }
    }
}

/// A mail's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its identifier.
    pub id: MailId,
    /// Whose it is.
    pub owner: UserId,
    /// Names its cause.
    pub key: String,
    /// What it is about.
    pub kind: Kind,
    /// To whom.
    pub address: String,
    /// In which language.
    pub language: Language,
    /// What it tells; nothing when that was a secret and is forgotten.
    pub content: Option<Content>,
    /// Where it stands.
    pub status: Status,
    /// Why it came to nothing.
    pub reason: Option<Reason>,
    /// What the vendor calls it.
    pub vendor: Option<String>,
    /// Attempts so far.
    pub tries: u32,
    /// Fencing token.
    pub epoch: i64,
    /// When its cause happened.
    pub created_at: Timestamp,
}

/// A mail as it leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// Which one; vendors get it as a tag.
    pub id: MailId,
    /// Whose it is.
    pub owner: UserId,
    /// The same for each attempt.
    pub key: String,
    /// What it is about.
    pub kind: Kind,
    /// Whom it is from.
    pub from: Sender,
    /// Where answers go.
    pub reply_to: Option<Address>,
    /// To whom.
    pub to: Address,
    /// One line.
    pub subject: String,
    /// Without markup.
    pub text: String,
    /// With markup.
    pub html: String,
    /// More headers.
    pub headers: Vec<(&'static str, String)>,
}

/// A mail that is kept and not sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Which one.
    pub id: MailId,
    /// Whom it is from.
    pub from: String,
    /// To whom.
    pub to: String,
    /// One line.
    pub subject: String,
    /// Without markup.
    pub text: String,
    /// With markup.
    pub html: String,
    /// More headers, by name.
    pub headers: std::collections::BTreeMap<String, String>,
    /// When it was kept.
    pub at: Timestamp,
}

/// What a vendor's answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setback {
    /// It may go through later; not before this, when it is said.
    Later(Option<Duration>),
    /// Not with these settings: key, sender or account. It may go through once they are right.
    Misconfigured,
    /// Never.
    Refused,
    /// This key was used with other words before: that mail is on its way, this one is not
    /// needed.
    AlreadyTaken,
}

/// Why a letter did not leave.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{words}")]
pub struct SendError {
    /// What it means.
    pub setback: Setback,
    /// The answer's status, if there was one.
    pub status: Option<u16>,
    /// For the operator: the beginning of the answer, or why there was none.
    pub words: String,
}

/// The way out.
#[async_trait]
pub trait Mail: Send + Sync + 'static {
    /// Hands a letter over; what the other side calls it.
    async fn send(&self, letter: &Letter) -> Result<Option<String>, SendError>;
}

/// What comes of a mail after an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The vendor has it, under this name.
    Sent(Option<String>),
    /// To be tried again after this.
    Again(Duration),
    /// That was it.
    Ended(Status, Reason),
}
