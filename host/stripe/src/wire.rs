//! Stripe's objects, as far as they are read. What is not named is passed over, so that fields
//! that Stripe adds change nothing. Shapes of API versions from `2025-03-31.basil` on, where an
//! invoice names its subscription below `parent` and a subscription's period is its items'.

use std::collections::HashMap;

use miniserde::{Deserialize, json::Value};

/// Notes that we put on objects.
pub type Metadata = HashMap<String, String>;

/// A list, or a page of one.
#[derive(Deserialize)]
pub(crate) struct List<T> {
    pub(crate) data: Vec<T>,
    pub(crate) has_more: Option<bool>,
}

#[derive(Deserialize)]
pub(crate) struct Named {
    pub(crate) id: String,
}

#[derive(Deserialize)]
pub(crate) struct Linked {
    pub(crate) url: String,
}

/// A price of a product.
#[derive(Debug, Clone, Deserialize)]
pub struct Price {
    /// `price_…`
    pub id: String,
    /// Its name by which it is found again.
    pub lookup_key: Option<String>,
    /// What we noted.
    pub metadata: Option<Metadata>,
}

/// Somebody's way through the payment page.
#[derive(Debug, Clone, Deserialize)]
pub struct Session {
    /// `cs_…`
    pub id: String,
    /// `payment` or `subscription`.
    pub mode: String,
    /// `open`, `complete` or `expired`.
    pub status: Option<String>,
    /// `paid`, `unpaid` or `no_payment_required`.
    pub payment_status: String,
    /// Who pays.
    pub customer: Option<String>,
    /// What came of it in the mode `subscription`.
    pub subscription: Option<String>,
    /// What came of it in the mode `payment`.
    pub payment_intent: Option<String>,
    /// The page, while it is open.
    pub url: Option<String>,
    /// What we noted.
    pub metadata: Option<Metadata>,
    /// Smallest units of the currency.
    pub amount_total: Option<i64>,
    /// ISO 4217, in small letters.
    pub currency: Option<String>,
    /// Until when the page is open, in seconds since 1970.
    pub expires_at: i64,
}

/// A plan that somebody pays for again and again.
#[derive(Debug, Clone, Deserialize)]
pub struct Subscription {
    /// `sub_…`
    pub id: String,
    /// `active`, `past_due`, `canceled`, …
    pub status: String,
    /// Who pays.
    pub customer: String,
    /// Does it end with its period?
    pub cancel_at_period_end: bool,
    /// When it will end, in seconds since 1970.
    pub cancel_at: Option<i64>,
    /// Since when it is there, in seconds since 1970.
    pub created: i64,
    /// What we noted.
    pub metadata: Option<Metadata>,
    pub(crate) items: List<Item>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Item {
    pub(crate) current_period_end: Option<i64>,
    pub(crate) price: Price,
}

impl std::fmt::Debug for List<Item> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.data.fmt(formatter)
    }
}

impl Clone for List<Item> {
    fn clone(&self) -> Self {
        Self {
            data: self.data.clone(),
            has_more: self.has_more,
        }
    }
}

impl Subscription {
    /// What is subscribed to. We sell one price a subscription.
    #[must_use]
    pub fn price(&self) -> Option<&Price> {
        self.items.data.first().map(|item| &item.price)
    }

    /// When its period ends, in seconds since 1970.
    #[must_use]
    pub fn period_end(&self) -> Option<i64> {
        self.items
            .data
            .iter()
            .filter_map(|item| item.current_period_end)
            .max()
    }
}

/// A bill of a subscription.
#[derive(Debug, Deserialize)]
pub struct Invoice {
    /// `in_…`
    pub id: String,
    /// `draft`, `open`, `paid`, `uncollectible` or `void`.
    pub status: Option<String>,
    /// Who pays.
    pub customer: Option<String>,
    /// What was paid, in smallest units of the currency.
    pub amount_paid: i64,
    /// ISO 4217, in small letters.
    pub currency: String,
    /// Its page.
    pub hosted_invoice_url: Option<String>,
    pub(crate) parent: Option<Parent>,
    pub(crate) lines: Lines,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Parent {
    pub(crate) subscription_details: Option<Details>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Details {
    pub(crate) subscription: Option<String>,
    pub(crate) metadata: Option<Metadata>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Lines {
    pub(crate) data: Vec<Line>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Line {
    pub(crate) amount: i64,
    pub(crate) quantity: Option<i64>,
    pub(crate) pricing: Option<Pricing>,
    pub(crate) parent: Option<LineParent>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Pricing {
    pub(crate) price_details: Option<PriceDetails>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct PriceDetails {
    pub(crate) price: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct LineParent {
    pub(crate) subscription_item_details: Option<ItemDetails>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ItemDetails {
    pub(crate) proration: Option<bool>,
}

impl Invoice {
    /// Of which subscription.
    #[must_use]
    pub fn subscription(&self) -> Option<&str> {
        self.details()?.subscription.as_deref()
    }

    /// What we had noted on the subscription when the invoice was made.
    #[must_use]
    pub fn metadata(&self) -> Option<&Metadata> {
        self.details()?.metadata.as_ref()
    }

    fn details(&self) -> Option<&Details> {
        self.parent.as_ref()?.subscription_details.as_ref()
    }

    /// Prices of the whole periods that it is about, with how many of each. Differences for the
    /// rest of a period that had been paid (prorations) and periods for nothing are left out.
    #[must_use]
    pub fn periods(&self) -> Vec<(&str, i64)> {
        let whole = self.lines.data.iter().filter(|line| {
            let details = line.parent.as_ref();
            let details = details.and_then(|parent| parent.subscription_item_details.as_ref());
            line.amount > 0 && details.is_some_and(|details| details.proration != Some(true))
        });
        whole
            .filter_map(|line| {
                let details = line.pricing.as_ref()?.price_details.as_ref()?;
                Some((details.price.as_deref()?, line.quantity.unwrap_or(1)))
            })
            .collect()
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct InvoicePayment {
    pub(crate) invoice: Option<String>,
    pub(crate) status: Option<String>,
    pub(crate) payment: Option<PaymentOf>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct PaymentOf {
    pub(crate) payment_intent: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Charge {
    pub(crate) amount: i64,
    pub(crate) amount_refunded: i64,
    pub(crate) paid: bool,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Dispute {
    pub(crate) amount: i64,
    pub(crate) status: String,
}

impl Dispute {
    /// Is the money away, for now or for good? Inquiries (`warning_…`) take none.
    pub(crate) fn has_taken(&self) -> bool {
        matches!(
            self.status.as_str(),
            "needs_response" | "under_review" | "lost"
        )
    }
}

#[derive(Deserialize)]
pub(crate) struct Happened {
    pub(crate) id: String,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) created: i64,
    pub(crate) livemode: bool,
    pub(crate) data: Data,
}

#[derive(Deserialize)]
pub(crate) struct Data {
    pub(crate) object: Object,
}

/// What an event is about. Anything may be there, so that only texts are taken.
#[derive(Deserialize)]
pub(crate) struct Object {
    pub(crate) id: Option<Value>,
    pub(crate) payment_intent: Option<Value>,
}

/// The text, if it is one.
pub(crate) fn text(value: Option<Value>) -> Option<String> {
    match value {
        Some(Value::String(text)) => Some(text),
        _ => None,
    }
}
