//! Money from outside: plans and packs of credits, sold by a payment vendor.
//!
//! Nothing that the vendor sends is believed for what it says: an event only names what to look
//! at. That object is asked for as it is now, and what it means is written down under its own
//! key. So events may come twice, late, in any order, or never (then [`Cashier`] finds them by
//! asking), and the books end the same.
//!
//! - [`Offers`] is what is sold, by the settings.
//! - [`Till`] is the vendor, behind a port; `adapters/stripe` is Stripe.
//! - [`Service`] is for users: pages to pay and to change, what they subscribe to.
//! - [`Cashier`] works off events, and asks for those that never came.

mod cashier;
mod offers;
mod service;
mod till;

pub use cashier::{Cashier, Reconciled};
pub use offers::{Kind, Offer, Offers};
pub use service::{Error, Order, Service, Sold};
pub use till::{
    Bought, Fact, Failure, NewPage, Page, Receiver, Seen, Subject, Till, lookup_key, note,
};

use serde::{Deserialize, Serialize};

use crate::{ids::UserId, jobs::model::words, time::Timestamp};

/// A user's subscription, as it was last looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// The vendor's name of it.
    pub id: String,
    /// The plan.
    pub plan: String,
    /// The vendor's word for how it is.
    pub status: Status,
    /// Until when it is paid.
    pub period_end: Option<Timestamp>,
    /// Does it end then?
    pub ends: bool,
}

words!(
    /// How a subscription is.
    Status {
        /// Its first payment has not come.
        Incomplete = "INCOMPLETE",
        /// Its first payment never came.
        IncompleteExpired = "INCOMPLETE_EXPIRED",
        /// It is tried for nothing.
        Trialing = "TRIALING",
        /// It is paid.
        Active = "ACTIVE",
        /// A payment failed and is tried again.
        PastDue = "PAST_DUE",
        /// It is over.
        Canceled = "CANCELED",
        /// A payment failed for good.
        Unpaid = "UNPAID",
        /// It rests.
        Paused = "PAUSED",
    }
);

impl Status {
    /// Does its plan hold? While a payment is tried again, it does.
    #[must_use]
    pub fn entitles(self) -> bool {
        matches!(self, Self::Trialing | Self::Active | Self::PastDue)
    }
}

/// Something that was paid for, as it is to be in the books.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purchase {
    /// Names what was paid, once for ever: the vendor's id of the page or the invoice.
    pub key: String,
    /// Who paid.
    pub user: UserId,
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

/// What a user bought, in all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Owing {
    /// Credits whose money went back after they had been spent.
    pub credits: i64,
}

/// An event that is to be worked off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// The vendor's id of it.
    pub id: String,
    /// What to look at.
    pub subject: Subject,
    /// Attempts before this one.
    pub tries: u32,
    /// Fencing token of the claim.
    pub epoch: i64,
}
