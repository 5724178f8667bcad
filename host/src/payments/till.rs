//! The payment vendor, behind a port.

use async_trait::async_trait;

use super::{Kind, Offer, Status};
use crate::{accounts::User, ids::UserId, time::Timestamp};

/// Why the vendor did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Failure {
    /// There is no such object.
    #[error("the payment vendor knows no such object")]
    Missing,
    /// The key came before with something else.
    #[error("the key was used for another request")]
    KeyReused,
    /// It was understood and refused.
    #[error("the payment vendor refused: {0}")]
    Refused(String),
    /// It was not reached, or is not well.
    #[error("the payment vendor cannot be asked now: {0}")]
    Unavailable(String),
}

/// An object of the vendor's that an event is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A payment page.
    Session(String),
    /// A subscription.
    Subscription(String),
    /// An invoice.
    Invoice(String),
    /// A payment.
    Payment(String),
}

impl Subject {
    /// Its kind and the vendor's id.
    #[must_use]
    pub fn parts(&self) -> (&'static str, &str) {
        match self {
            Self::Session(id) => ("session", id),
            Self::Subscription(id) => ("subscription", id),
            Self::Invoice(id) => ("invoice", id),
            Self::Payment(id) => ("payment", id),
        }
    }

    /// From what [`Self::parts`] gave.
    #[must_use]
    pub fn from_parts(kind: &str, id: String) -> Option<Self> {
        Some(match kind {
            "session" => Self::Session(id),
            "subscription" => Self::Subscription(id),
            "invoice" => Self::Invoice(id),
            "payment" => Self::Payment(id),
            _ => return None,
        })
    }
}

/// An event of the vendor's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The vendor's id: the same however often it comes.
    pub id: String,
    /// The vendor's word for what happened.
    pub kind: String,
    /// When, in seconds since 1970.
    pub at: i64,
    /// What to look at; nothing when it changes nothing here.
    pub subject: Option<Subject>,
}

/// A payment page to be opened.
#[derive(Debug, Clone)]
pub struct NewPage<'a> {
    /// What is sold.
    pub offer: &'a Offer,
    /// In which currency.
    pub currency: &'a str,
    /// To whom.
    pub user: UserId,
    /// The vendor's name of them.
    pub customer: &'a str,
    /// Where they go afterwards.
    pub success_url: &'a str,
    /// Where they go without paying.
    pub cancel_url: Option<&'a str>,
}

/// An open payment page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The vendor's id of it.
    pub id: String,
    /// Where it is.
    pub url: String,
    /// Until when it is open.
    pub expires_at: Timestamp,
}

/// Something that was paid for, as the vendor says it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bought {
    /// The vendor's id of the page or the invoice.
    pub key: String,
    /// Who paid, if we had noted it.
    pub user: Option<UserId>,
    /// The vendor's name of them.
    pub customer: Option<String>,
    /// Credits for it.
    pub credits: i64,
    /// What was paid, in the currency's smallest unit.
    pub amount: i64,
    /// ISO 4217, in small letters.
    pub currency: String,
    /// The vendor's payment.
    pub payment: Option<String>,
    /// Where the invoice is.
    pub invoice_url: Option<String>,
    /// Credits of it whose money went back, or is disputed.
    pub recalled: i64,
}

/// What the vendor says of an object, as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// It was paid for.
    Bought(Bought),
    /// A subscription.
    Subscribed {
        /// The vendor's id of it.
        id: String,
        /// Who, if we had noted it.
        user: Option<UserId>,
        /// The vendor's name of them.
        customer: String,
        /// Which plan.
        plan: String,
        /// How it is.
        status: Status,
        /// Until when it is paid.
        period_end: Option<Timestamp>,
        /// Does it end then?
        ends: bool,
        /// Since when it is there.
        since: Timestamp,
    },
}

impl Fact {
    /// What it is about: the key under which it is written down.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Bought(bought) => &bought.key,
            Self::Subscribed { id, .. } => id,
        }
    }
}

/// Events of the vendor's, from a request to our door.
pub trait Receiver: Send + Sync {
    /// The event in the raw bytes of a request with this signature.
    ///
    /// # Errors
    /// With words for the log when it is forged, too old, of the other mode, or no event.
    fn receive(&self, signature: &[u8], body: &[u8]) -> Result<Seen, String>;
}

/// The payment vendor.
#[async_trait]
pub trait Till: Send + Sync {
    /// Makes a user a customer; the same one each time.
    async fn customer(&self, user: &User) -> Result<String, Failure>;

    /// Opens a payment page; the same one for the same key.
    async fn open(&self, page: &NewPage<'_>, key: &str) -> Result<Page, Failure>;

    /// Opens the page on which a customer changes and cancels; its address.
    async fn portal(&self, customer: &str, return_url: &str) -> Result<String, Failure>;

    /// What is to be looked at for an object: the pages and invoices behind a payment, the
    /// subscription behind a page or an invoice, and the object itself. Each is one for
    /// [`Self::look`].
    async fn behind(&self, subject: &Subject) -> Result<Vec<Subject>, Failure>;

    /// An object as it is now; nothing when it means nothing here: it is not paid, or not ours.
    async fn look(&self, subject: &Subject) -> Result<Option<Fact>, Failure>;

    /// Events from a time on (seconds since 1970), newest first, older than the one named; and
    /// whether there are more.
    async fn events(&self, since: i64, before: Option<&str>) -> Result<(Vec<Seen>, bool), Failure>;
}

/// Keys of notes on the vendor's objects.
pub mod note {
    /// Whose it is.
    pub const USER: &str = "genvid_user";
    /// Plan or pack.
    pub const KIND: &str = "genvid_kind";
    /// Name of the offer.
    pub const OFFER: &str = "genvid_offer";
    /// Credits for a payment.
    pub const CREDITS: &str = "genvid_credits";
}

/// The name under which an offer's price is found again. Another amount is another price, so
/// that who subscribed before goes on paying what they agreed to.
#[must_use]
pub fn lookup_key(offer: &Offer, currency: &str) -> String {
    let each = match offer.kind {
        Kind::Plan => "month",
        Kind::Pack => "once",
    };
    format!(
        "genvid_{}_{}_{currency}_{}_{}_{each}",
        offer.kind.as_str(),
        offer.name,
        offer.amount,
        offer.credits
    )
}
