//! Events, read leniently: Stripe adds types and fields whenever it likes.

use serde::Deserialize;
use serde_json::Value;

/// Longest id or type of Stripe.
const MAX_NAME: usize = 255;

/// What an event is about: the object that is to be asked for, since it may have changed again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A payment page.
    Session(String),
    /// A subscription.
    Subscription(String),
    /// An invoice.
    Invoice(String),
    /// A payment, some of which may have gone back.
    Payment(String),
}

impl Subject {
    /// Of an event of this type, about an object with this id, which names this payment. Nothing
    /// for what changes neither credits nor plans.
    #[must_use]
    pub fn of(kind: &str, id: Option<String>, payment: Option<String>) -> Option<Self> {
        let about = |family: &str| kind.starts_with(family);
        let subject = if about("checkout.session.") {
            Self::Session(id?)
        } else if about("customer.subscription.") {
            Self::Subscription(id?)
        } else if about("invoice.") {
            Self::Invoice(id?)
        } else if about("charge.refund") || about("charge.dispute.") || about("refund.") {
            Self::Payment(payment?)
        } else {
            return None;
        };
        is_name(subject.id()).then_some(subject)
    }

    /// Stripe's id of it.
    #[must_use]
    pub fn id(&self) -> &str {
        match self {
            Self::Session(id) | Self::Subscription(id) | Self::Invoice(id) | Self::Payment(id) => {
                id
            }
        }
    }
}

/// Something that happened at Stripe, said by Stripe itself. Events come in any order and more
/// than once, so that they say only what to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// `evt_…`; the same whenever it is delivered.
    pub id: String,
    /// `checkout.session.completed`, or one that nobody here has heard of.
    pub kind: String,
    /// When, in seconds since 1970.
    pub created: i64,
    /// Was it about real money?
    pub livemode: bool,
    /// What it is about, if that matters here.
    pub subject: Option<Subject>,
}

#[derive(Deserialize)]
struct Wire {
    object: String,
    id: String,
    #[serde(rename = "type")]
    kind: String,
    created: i64,
    livemode: bool,
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    object: Value,
}

impl Event {
    /// Nothing when it is not an event.
    pub(crate) fn read(body: &[u8]) -> Option<Self> {
        let wire: Wire = serde_json::from_slice(body).ok()?;
        let is_event = wire.object == "event" && is_name(&wire.id) && is_name(&wire.kind);
        let text = |field: &str| Some(wire.data.object.get(field)?.as_str()?.to_owned());
        is_event.then(|| Self {
            subject: Subject::of(&wire.kind, text("id"), text("payment_intent")),
            id: wire.id,
            kind: wire.kind,
            created: wire.created,
            livemode: wire.livemode,
        })
    }
}

/// They become keys of rows, parts of addresses and lines of logs.
pub(crate) fn is_name(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(fits)
}
