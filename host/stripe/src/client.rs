//! Asking Stripe. Requests go out through async-stripe; answers are read into [`crate::wire`].
//!
//! A request is made again after what may pass (no answer, 409, 429, 5xx), with the same
//! idempotency key, so that nothing is made twice.

use std::time::Duration;

use miniserde::Deserialize;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use stripe::{Client, ClientBuilder, IdempotencyKey, RequestStrategy, StripeError};
use stripe_client_core::{RequestBuilder, StripeMethod};
use url::Url;

use crate::{
    Event, Subject,
    event::is_name,
    wire::{
        Charge, Dispute, Happened, Invoice, InvoicePayment, Linked, List, Metadata, Named, Price,
        Session, Subscription, text,
    },
};

/// Attempts at one request.
const TRIES: u32 = 3;
/// How long an attempt may take.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Wait before the second attempt; the third waits twice as long.
const WAIT: Duration = Duration::from_millis(500);
/// Events in one page; Stripe gives no more.
const PAGE: u32 = 100;

/// Why Stripe did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Failure {
    /// There is no such object.
    #[error("Stripe knows no such object")]
    Missing,
    /// The idempotency key came before with something else.
    #[error("the idempotency key was used for another request")]
    KeyReused,
    /// It was understood and refused.
    #[error("Stripe refused with {status}: {message}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// Stripe's words.
        message: String,
    },
    /// It was not reached, or is not well.
    #[error("Stripe cannot be asked now: {0}")]
    Unavailable(String),
}

impl Failure {
    fn of(error: StripeError) -> Self {
        match error {
            StripeError::Stripe(error, status) => {
                let message = error.message.unwrap_or_default();
                match (status, error.type_.as_str()) {
                    (404, _) => Self::Missing,
                    // Both come to pass while a first request of that key is under way.
                    (409 | 424 | 429 | 500.., _) => {
                        Self::Unavailable(format!("status {status}: {message}"))
                    }
                    (_, "idempotency_error") => Self::KeyReused,
                    _ => Self::Refused { status, message },
                }
            }
            error => Self::Unavailable(error.to_string()),
        }
    }
}

/// The key or the address cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SetupError(String);

/// A price to be there.
#[derive(Debug, Clone)]
pub struct NewPrice {
    /// Finds it again; different for each amount, currency and interval.
    pub lookup_key: String,
    /// What the buyer reads.
    pub name: String,
    /// Smallest units of the currency.
    pub amount: i64,
    /// ISO 4217, in small letters.
    pub currency: String,
    /// `month` or `year` for what is paid again and again.
    pub interval: Option<&'static str>,
    /// What is noted on it.
    pub metadata: Metadata,
}

/// A payment page to be opened.
#[derive(Debug, Clone)]
pub struct NewSession {
    /// What is sold.
    pub price: String,
    /// Again and again?
    pub is_subscription: bool,
    /// Who pays.
    pub customer: String,
    /// Our own name of the buyer.
    pub reference: String,
    /// What is noted on the session and on what comes of it.
    pub metadata: Metadata,
    /// Where the buyer goes afterwards.
    pub success_url: String,
    /// Where the buyer goes without paying.
    pub cancel_url: Option<String>,
}

/// How much of a payment is there no more, in smallest units of its currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone {
    /// What was paid.
    pub paid: i64,
    /// Of it, refunded or taken by a dispute that is open or lost.
    pub gone: i64,
}

/// A page of events, the newest first.
#[derive(Debug)]
pub struct Events {
    /// Those of this page.
    pub events: Vec<Event>,
    /// Is there an older one?
    pub more: bool,
}

#[derive(Serialize)]
struct Nothing {}

#[derive(Serialize)]
struct ByKey<'a> {
    lookup_keys: [&'a str; 1],
}

#[derive(Serialize)]
struct Product<'a> {
    name: &'a str,
    metadata: &'a Metadata,
}

#[derive(Serialize)]
struct Recurring {
    interval: &'static str,
}

#[derive(Serialize)]
struct PriceForm<'a> {
    currency: &'a str,
    unit_amount: i64,
    product: &'a str,
    lookup_key: &'a str,
    metadata: &'a Metadata,
    #[serde(skip_serializing_if = "Option::is_none")]
    recurring: Option<Recurring>,
}

#[derive(Serialize)]
struct CustomerForm<'a> {
    email: &'a str,
    metadata: &'a Metadata,
}

#[derive(Serialize)]
struct LineForm<'a> {
    price: &'a str,
    quantity: u32,
}

#[derive(Serialize)]
struct DataForm<'a> {
    metadata: &'a Metadata,
}

#[derive(Serialize)]
struct SessionForm<'a> {
    mode: &'static str,
    line_items: [LineForm<'a>; 1],
    customer: &'a str,
    client_reference_id: &'a str,
    metadata: &'a Metadata,
    success_url: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cancel_url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payment_intent_data: Option<DataForm<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subscription_data: Option<DataForm<'a>>,
}

#[derive(Serialize)]
struct PortalForm<'a> {
    customer: &'a str,
    return_url: &'a str,
}

#[derive(Serialize)]
struct ByPayment<'a> {
    payment_intent: &'a str,
    limit: u32,
}

#[derive(Serialize)]
struct ByInvoice<'a> {
    invoice: &'a str,
    limit: u32,
}

#[derive(Serialize)]
struct PaymentFilter<'a> {
    r#type: &'static str,
    payment_intent: &'a str,
}

#[derive(Serialize)]
struct InvoicesOf<'a> {
    payment: PaymentFilter<'a>,
    limit: u32,
}

#[derive(Serialize)]
struct Since {
    gte: i64,
}

#[derive(Serialize)]
struct EventsForm<'a> {
    created: Since,
    limit: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    starting_after: Option<&'a str>,
}

/// An account at Stripe. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Stripe {
    client: Client,
}

impl Stripe {
    /// With a secret key (`sk_…` or `rk_…`), at Stripe itself or at another address.
    ///
    /// # Errors
    /// When the key or the address cannot be used.
    pub fn new(key: &SecretString, base: Option<&Url>) -> Result<Self, SetupError> {
        let mut builder = ClientBuilder::new(key.expose_secret()).timeout(TIMEOUT);
        if let Some(base) = base {
            builder = builder.url(format!("{}/", base.as_str().trim_end_matches('/')));
        }
        match builder.build() {
            Ok(client) => Ok(Self { client }),
            Err(error) => Err(SetupError(error.to_string())),
        }
    }

    /// The price of this name, made with its product when it is not there.
    ///
    /// # Errors
    /// When Stripe does not do it.
    pub async fn price(&self, wanted: &NewPrice) -> Result<Price, Failure> {
        let by_key = ByKey {
            lookup_keys: [&wanted.lookup_key],
        };
        let found: List<Price> = self.get("/prices", &by_key).await?;
        if let Some(price) = found.data.into_iter().next() {
            return Ok(price);
        }
        // The keys make one of each, whoever else is at it.
        let product = Product {
            name: &wanted.name,
            metadata: &wanted.metadata,
        };
        let key = format!("genvid/product/{}", wanted.lookup_key);
        let product: Named = self.post("/products", &product, &key).await?;
        let form = PriceForm {
            currency: &wanted.currency,
            unit_amount: wanted.amount,
            product: &product.id,
            lookup_key: &wanted.lookup_key,
            metadata: &wanted.metadata,
            recurring: wanted.interval.map(|interval| Recurring { interval }),
        };
        let key = format!("genvid/price/{}", wanted.lookup_key);
        self.post("/prices", &form, &key).await
    }

    /// A price by its id.
    ///
    /// # Errors
    /// When Stripe does not say.
    pub async fn price_of(&self, id: &str) -> Result<Price, Failure> {
        self.one("prices", id).await
    }

    /// Makes somebody a customer; once for each key.
    ///
    /// # Errors
    /// When Stripe does not do it.
    pub async fn customer(
        &self,
        email: &str,
        metadata: &Metadata,
        key: &str,
    ) -> Result<String, Failure> {
        let form = CustomerForm { email, metadata };
        let customer: Named = self.post("/customers", &form, key).await?;
        Ok(customer.id)
    }

    /// Opens a payment page; once for each key.
    ///
    /// # Errors
    /// `KeyReused` when the key came with another page; or when Stripe does not do it.
    pub async fn open(&self, wanted: &NewSession, key: &str) -> Result<Session, Failure> {
        let data = || DataForm {
            metadata: &wanted.metadata,
        };
        let form = SessionForm {
            mode: match wanted.is_subscription {
                true => "subscription",
                false => "payment",
            },
            line_items: [LineForm {
                price: &wanted.price,
                quantity: 1,
            }],
            customer: &wanted.customer,
            client_reference_id: &wanted.reference,
            metadata: &wanted.metadata,
            success_url: &wanted.success_url,
            cancel_url: wanted.cancel_url.as_deref(),
            payment_intent_data: (!wanted.is_subscription).then(data),
            subscription_data: wanted.is_subscription.then(data),
        };
        self.post("/checkout/sessions", &form, key).await
    }

    /// Opens the page on which a customer changes and cancels; its address.
    ///
    /// # Errors
    /// When Stripe does not do it.
    pub async fn portal(&self, customer: &str, return_url: &str) -> Result<String, Failure> {
        let form = PortalForm {
            customer,
            return_url,
        };
        // A page of its own at each click: it is open for minutes only.
        let request =
            || RequestBuilder::new(StripeMethod::Post, "/billing_portal/sessions").form(&form);
        let page: Linked = self.send(request, None).await?;
        Ok(page.url)
    }

    /// A payment page as it is now.
    ///
    /// # Errors
    /// When Stripe does not say.
    pub async fn session(&self, id: &str) -> Result<Session, Failure> {
        self.one("checkout/sessions", id).await
    }

    /// A subscription as it is now.
    ///
    /// # Errors
    /// When Stripe does not say.
    pub async fn subscription(&self, id: &str) -> Result<Subscription, Failure> {
        self.one("subscriptions", id).await
    }

    /// An invoice as it is now.
    ///
    /// # Errors
    /// When Stripe does not say.
    pub async fn invoice(&self, id: &str) -> Result<Invoice, Failure> {
        self.one("invoices", id).await
    }

    /// The payment by which an invoice was paid; nothing when it cost nothing.
    ///
    /// # Errors
    /// When Stripe does not say.
    pub async fn payment_of(&self, invoice: &str) -> Result<Option<String>, Failure> {
        let form = ByInvoice { invoice, limit: 10 };
        let found: List<InvoicePayment> = self.get("/invoice_payments", &form).await?;
        let paid = |payment: &InvoicePayment| payment.status.as_deref() == Some("paid");
        let found = found.data.into_iter().find(paid);
        Ok(found.and_then(|found| found.payment?.payment_intent))
    }

    /// What a payment paid for: pages and invoices.
    ///
    /// # Errors
    /// When Stripe does not say.
    pub async fn paid_by(&self, payment: &str) -> Result<Vec<Subject>, Failure> {
        let form = ByPayment {
            payment_intent: payment,
            limit: 10,
        };
        let pages: List<Session> = self.get("/checkout/sessions", &form).await?;
        let form = InvoicesOf {
            payment: PaymentFilter {
                r#type: "payment_intent",
                payment_intent: payment,
            },
            limit: 10,
        };
        let invoices: List<InvoicePayment> = self.get("/invoice_payments", &form).await?;
        let pages = pages.data.into_iter().map(|page| Subject::Session(page.id));
        let invoices = invoices.data.into_iter().filter_map(|of| of.invoice);
        Ok(pages.chain(invoices.map(Subject::Invoice)).collect())
    }

    /// How much of a payment was refunded, or is disputed.
    ///
    /// # Errors
    /// When Stripe does not say.
    pub async fn gone(&self, payment: &str) -> Result<Gone, Failure> {
        let form = ByPayment {
            payment_intent: payment,
            limit: PAGE,
        };
        let charges: List<Charge> = self.get("/charges", &form).await?;
        let disputes: List<Dispute> = self.get("/disputes", &form).await?;
        let paid = charges.data.iter().filter(|charge| charge.paid);
        let (paid, refunded) = paid.fold((0, 0), |(paid, refunded), charge| {
            (paid + charge.amount, refunded + charge.amount_refunded)
        });
        let disputes = disputes.data.iter().filter(|dispute| dispute.has_taken());
        let disputed: i64 = disputes.map(|dispute| dispute.amount).sum();
        Ok(Gone {
            paid,
            gone: (refunded + disputed).min(paid),
        })
    }

    /// Events from a time on (seconds since 1970), older than the one named. Stripe keeps them
    /// for 30 days.
    ///
    /// # Errors
    /// When Stripe does not say.
    pub async fn events(&self, since: i64, before: Option<&str>) -> Result<Events, Failure> {
        let form = EventsForm {
            created: Since { gte: since },
            limit: PAGE,
            starting_after: before,
        };
        let page: List<Happened> = self.get("/events", &form).await?;
        let events = page.data.into_iter().map(|event| {
            let object = event.data.object;
            Event {
                subject: Subject::of(&event.kind, text(object.id), text(object.payment_intent)),
                id: event.id,
                kind: event.kind,
                created: event.created,
                livemode: event.livemode,
            }
        });
        Ok(Events {
            events: events.collect(),
            more: page.has_more.unwrap_or(false),
        })
    }

    async fn one<T: Deserialize>(&self, kind: &str, id: &str) -> Result<T, Failure> {
        if !is_name(id) {
            return Err(Failure::Missing);
        }
        self.get(&format!("/{kind}/{id}"), &Nothing {}).await
    }

    async fn get<T: Deserialize>(&self, path: &str, query: &impl Serialize) -> Result<T, Failure> {
        let request = || RequestBuilder::new(StripeMethod::Get, path).query(query);
        self.send(request, None).await
    }

    async fn post<T: Deserialize>(
        &self,
        path: &str,
        form: &impl Serialize,
        key: &str,
    ) -> Result<T, Failure> {
        let request = || RequestBuilder::new(StripeMethod::Post, path).form(form);
        self.send(request, Some(key)).await
    }

    async fn send<T: Deserialize>(
        &self,
        request: impl Fn() -> RequestBuilder,
        key: Option<&str>,
    ) -> Result<T, Failure> {
        let mut tries = 0;
        loop {
            let strategy = match key {
                None => RequestStrategy::Once,
                Some(key) => {
                    let key = IdempotencyKey::new(key)
                        .map_err(|error| Failure::Unavailable(error.to_string()))?;
                    RequestStrategy::Idempotent(key)
                }
            };
            let sent = request().customize::<T>().request_strategy(strategy);
            tries += 1;
            match sent.send(&self.client).await.map_err(Failure::of) {
                Err(Failure::Unavailable(why)) if tries < TRIES => {
                    tracing::debug!(why, tries, "Stripe is asked again");
                    let wait = WAIT * tries;
                    tokio::time::sleep(wait.mul_f64(0.75 + rand::random::<f64>() / 2.0)).await;
                }
                other => return other,
            }
        }
    }
}
