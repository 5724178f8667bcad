//! The controls of Stripe's simulator: as methods, and as routes below `/_control/`.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{
    Stripe, StripeError,
    books::bare,
    checkout::{self, Press, Pressed},
    cycle,
    hooks::{Resend, WebhookRule},
    payments,
};
use crate::{
    control::{faults_of, wrong},
    courier::Delivery,
    desk::Seen,
    faults::{Fault, FaultError},
    gate::Face,
};

/// Furthest that the clock goes in one step.
const FURTHEST: i64 = 5 * 366 * 86_400;

/// The card that is kept of a customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Card {
    /// Pays renewals.
    Good,
    /// Is declined at renewals.
    Fails,
}

/// Controls Stripe's simulator. Cheap to clone.
#[derive(Clone)]
pub struct StripeHandle {
    stripe: Arc<Stripe>,
    routes: Arc<[String]>,
}

impl std::fmt::Debug for StripeHandle {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("StripeHandle")
            .field("url", &self.stripe.url)
            .finish_non_exhaustive()
    }
}

impl StripeHandle {
    pub(super) fn new(stripe: Arc<Stripe>, routes: Arc<[String]>) -> Self {
        Self { stripe, routes }
    }

    /// Where it listens, for example `http://127.0.0.1:34567`: it stands for
    /// `https://api.stripe.com`, and the pages of its answers lie there too.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.stripe.url
    }

    /// The secret key that it accepts.
    #[must_use]
    pub fn secret_key(&self) -> &str {
        &self.stripe.desk.keys.stripe
    }

    /// The secret that signs what goes to the receivers of [`listen`](Self::listen).
    /// Endpoints that are registered over the API get a secret of their own.
    #[must_use]
    pub fn webhook_secret(&self) -> &str {
        &self.stripe.desk.keys.stripe_webhook
    }

    /// Arms faults: all of them, or none when one is wrong. The kinds for tasks and media do
    /// nothing here; those for webhooks strike the events of the struck request.
    ///
    /// # Errors
    ///
    /// When a fault names no route, or its numbers make no sense.
    pub fn add_faults(&self, faults: Vec<Fault>) -> Result<(), FaultError> {
        self.stripe.desk.add_faults(faults, &self.routes)
    }

    /// The faults that still have calls to strike.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        self.stripe.desk.faults()
    }

    /// Disarms all faults.
    pub fn clear_faults(&self) {
        self.stripe.desk.clear_faults();
    }

    /// An empty account in the present, without endpoints, faults and rules.
    pub fn reset(&self) {
        self.stripe.desk.reset();
        self.stripe.reset();
    }

    /// Webhooks that are still to come stay away.
    pub(crate) fn silence(&self) {
        self.stripe.desk.silence();
    }

    /// The newest 1,000 requests, oldest first, without credentials.
    #[must_use]
    pub fn requests(&self) -> Vec<Seen> {
        self.stripe.desk.requests()
    }

    /// How long the oldest request that is still being dealt with has taken, whether or not
    /// its sender still waits.
    #[must_use]
    pub fn busy_for(&self) -> Duration {
        self.stripe.desk.oldest_under_way()
    }

    /// The newest 1,000 tries to deliver a webhook, oldest first.
    #[must_use]
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.stripe.desk.courier.deliveries()
    }

    /// The routes, as faults name them.
    #[must_use]
    pub fn routes(&self) -> &[String] {
        &self.routes
    }

    /// Sends events to a receiver, signed with [`webhook_secret`](Self::webhook_secret): all,
    /// or those that are named (`invoice.paid`, `invoice.*`). Returns the endpoint's id.
    pub fn listen(&self, url: &str, events: &[&str]) -> String {
        let mut events: Vec<String> = events.iter().map(|event| (*event).to_owned()).collect();
        if events.is_empty() {
            events.push("*".into());
        }
        let secret = self.webhook_secret().to_owned();
        self.stripe.with(None, |books| {
            let endpoint = books.listen(url, events, secret, &Value::Null);
            super::books::string(&endpoint, "id").to_owned()
        })
    }

    /// The account's time, seconds since 1970. Signatures of webhooks carry the real time.
    #[must_use]
    pub fn now(&self) -> i64 {
        self.stripe.books().now()
    }

    /// Moves the account's time forward; everything that falls due on the way happens, at its
    /// own moment and in order: renewals, retries of failed payments, ends of trials, expiry
    /// of checkout sessions.
    ///
    /// # Errors
    ///
    /// When it is more than five years.
    pub fn advance(&self, time: Duration) -> Result<i64, StripeError> {
        let seconds = i64::try_from(time.as_secs())
            .ok()
            .filter(|seconds| *seconds <= FURTHEST)
            .ok_or_else(|| StripeError::new("the clock goes up to five years ahead at once"))?;
        // What fell due until the present happens before the step, too.
        Ok(self.stripe.with(None, |books| {
            books.go_ahead(seconds);
            cycle::catch_up(books);
            books.now()
        }))
    }

    /// Adds rules for events on their way to the endpoints.
    pub fn add_webhook_rules(&self, rules: Vec<WebhookRule>) {
        self.stripe.books().hooks.add_rules(rules);
    }

    /// The rules that still have events to strike.
    #[must_use]
    pub fn webhook_rules(&self) -> Vec<WebhookRule> {
        self.stripe.books().hooks.rules()
    }

    /// Forgets all rules. What is held stays held.
    pub fn clear_webhook_rules(&self) {
        self.stripe.books().hooks.clear_rules();
    }

    /// Ids of the events that [`WebhookTwist::Hold`](crate::WebhookTwist::Hold) holds, oldest
    /// first.
    #[must_use]
    pub fn held(&self) -> Vec<String> {
        self.stripe.books().hooks.held()
    }

    /// Delivers what is held, in the order in which it happened or the other way round;
    /// returns how many deliveries that are.
    pub fn release(&self, newest_first: bool) -> usize {
        self.stripe.books().hooks.release(newest_first)
    }

    /// Delivers an event once more to all who listen to it.
    ///
    /// # Errors
    ///
    /// When there is no such event, or nobody listens to it.
    pub fn resend(&self, how: &Resend) -> Result<(), StripeError> {
        let mut books = self.stripe.books();
        let event = books.of("event", &how.event).cloned();
        let event = event.map_err(|_| StripeError::new("no such event"))?;
        books.hooks.resend(&event, how)
    }

    /// Presses a button of a checkout session's page, as its form does; where the browser goes
    /// then, or nothing when it stays because the card was declined.
    ///
    /// # Errors
    ///
    /// When the session does not exist or is not open, or the page has no such button.
    pub fn press(&self, session: &str, button: Press) -> Result<Option<String>, StripeError> {
        let pressed = self
            .stripe
            .with(None, |books| checkout::press(books, session, button))?;
        Ok(match pressed {
            Pressed::Leave(to) => Some(to),
            Pressed::Declined => None,
        })
    }

    /// Lets the money of a session that was left by [`Press::PayLater`] come, or fail.
    ///
    /// # Errors
    ///
    /// When no money of this session is awaited.
    pub fn settle(&self, session: &str, paid: bool) -> Result<(), StripeError> {
        self.stripe
            .with(None, |books| checkout::settle(books, session, paid))
    }

    /// Changes the card that pays a customer's renewals.
    ///
    /// # Errors
    ///
    /// When there is no such customer.
    pub fn set_card(&self, customer: &str, card: Card) -> Result<(), StripeError> {
        self.stripe.with(None, |books| {
            books
                .of("customer", customer)
                .map_err(|_| StripeError::new("no such customer"))?;
            books.set(customer, json!({"_card": card}));
            Ok(())
        })
    }

    /// The customer's bank disputes a charge, named by its own id or its payment intent's; the
    /// dispute's id.
    ///
    /// # Errors
    ///
    /// When there is no such charge, or it is unpaid or disputed already.
    pub fn dispute(&self, payment: &str) -> Result<String, StripeError> {
        self.stripe.with(None, |books| {
            payments::dispute(books, payment, "fraudulent")
        })
    }

    /// Decides a dispute.
    ///
    /// # Errors
    ///
    /// When there is no such dispute, or it is decided already.
    pub fn close_dispute(&self, dispute: &str, won: bool) -> Result<(), StripeError> {
        self.stripe
            .with(None, |books| payments::decide(books, dispute, won))
    }

    /// An object as the API shows it.
    #[must_use]
    pub fn object(&self, id: &str) -> Option<Value> {
        self.stripe.with(None, |books| books.get(id).map(bare))
    }

    /// The events, oldest first; the newest 10,000.
    #[must_use]
    pub fn events(&self) -> Vec<Value> {
        self.stripe
            .with(None, |books| books.all("event").cloned().collect())
    }
}

/// Lets fall due what falls due while nobody asks.
pub(crate) async fn tick(handle: StripeHandle, stop: CancellationToken) {
    let mut every = tokio::time::interval(Duration::from_secs(1));
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = every.tick() => handle.stripe.with(None, |_| ()),
        }
    }
}

/// Does something with a JSON body.
fn told<T: DeserializeOwned>(
    body: &Bytes,
    deed: impl FnOnce(T) -> Result<Value, StripeError>,
) -> Response {
    match serde_json::from_slice::<T>(body) {
        Ok(told) => match deed(told) {
            Ok(done) => Json(done).into_response(),
            Err(error) => wrong(error),
        },
        Err(error) => wrong(error),
    }
}

/// The control routes. They stand before the gate: never logged, never struck by a fault.
pub(crate) fn routes(handle: StripeHandle) -> Router {
    Router::new()
        .route(
            "/_control/faults",
            get(async |State(handle): State<StripeHandle>| Json(handle.faults()))
                .post(add_faults)
                .delete(async |State(handle): State<StripeHandle>| {
                    handle.clear_faults();
                    Json(json!({"faults": []}))
                }),
        )
        .route(
            "/_control/reset",
            post(async |State(handle): State<StripeHandle>| {
                handle.reset();
                Json(json!({"reset": true}))
            }),
        )
        .route(
            "/_control/requests",
            get(async |State(handle): State<StripeHandle>| Json(handle.requests())),
        )
        .route(
            "/_control/deliveries",
            get(async |State(handle): State<StripeHandle>| Json(handle.deliveries())),
        )
        .route(
            "/_control/routes",
            get(async |State(handle): State<StripeHandle>| Json(handle.routes().to_vec())),
        )
        .route(
            "/_control/time",
            get(async |State(handle): State<StripeHandle>| Json(json!({"now": handle.now()})))
                .post(advance),
        )
        .route("/_control/listen", post(listen))
        .route(
            "/_control/webhooks",
            get(async |State(handle): State<StripeHandle>| Json(handle.webhook_rules()))
                .post(add_rules)
                .delete(async |State(handle): State<StripeHandle>| {
                    handle.clear_webhook_rules();
                    Json(json!([]))
                }),
        )
        .route(
            "/_control/held",
            get(async |State(handle): State<StripeHandle>| Json(handle.held())),
        )
        .route("/_control/release", post(release))
        .route("/_control/resend", post(resend))
        .route("/_control/press", post(press))
        .route("/_control/settle", post(settle))
        .route("/_control/card", post(card))
        .route("/_control/dispute", post(dispute))
        .route("/_control/dispute/close", post(close_dispute))
        .with_state(handle)
}

async fn add_faults(State(handle): State<StripeHandle>, body: Bytes) -> Response {
    match faults_of(&body) {
        Ok(faults) => match handle.add_faults(faults) {
            Ok(()) => Json(json!({"faults": handle.faults()})).into_response(),
            Err(error) => wrong(error),
        },
        Err(error) => wrong(error),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Advance {
    advance_seconds: u64,
}

async fn advance(State(handle): State<StripeHandle>, body: Bytes) -> Response {
    told(&body, |told: Advance| {
        let now = handle.advance(Duration::from_secs(told.advance_seconds))?;
        Ok(json!({"now": now}))
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Listen {
    url: String,
    #[serde(default)]
    events: Vec<String>,
}

async fn listen(State(handle): State<StripeHandle>, body: Bytes) -> Response {
    told(&body, |told: Listen| {
        url::Url::parse(&told.url).map_err(|error| StripeError::new(format!("url: {error}")))?;
        let events: Vec<&str> = told.events.iter().map(String::as_str).collect();
        let id = handle.listen(&told.url, &events);
        Ok(json!({"id": id, "secret": handle.webhook_secret()}))
    })
}

async fn add_rules(State(handle): State<StripeHandle>, body: Bytes) -> Response {
    told(&body, |rules: Vec<WebhookRule>| {
        handle.add_webhook_rules(rules);
        Ok(json!(handle.webhook_rules()))
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Release {
    #[serde(default)]
    newest_first: bool,
}

async fn release(State(handle): State<StripeHandle>, body: Bytes) -> Response {
    told(&body, |told: Release| {
        Ok(json!({"released": handle.release(told.newest_first)}))
    })
}

async fn resend(State(handle): State<StripeHandle>, body: Bytes) -> Response {
    told(&body, |how: Resend| {
        handle.resend(&how)?;
        Ok(json!({"resent": how.event}))
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pressing {
    session: String,
    button: Press,
}

async fn press(State(handle): State<StripeHandle>, body: Bytes) -> Response {
    told(&body, |told: Pressing| {
        let to = handle.press(&told.session, told.button)?;
        Ok(json!({"to": to}))
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settling {
    session: String,
    paid: bool,
}

async fn settle(State(handle): State<StripeHandle>, body: Bytes) -> Response {
    told(&body, |told: Settling| {
        handle.settle(&told.session, told.paid)?;
        Ok(json!({"session": told.session}))
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CardOf {
    customer: String,
    card: Card,
}

async fn card(State(handle): State<StripeHandle>, body: Bytes) -> Response {
    told(&body, |told: CardOf| {
        handle.set_card(&told.customer, told.card)?;
        Ok(json!({"customer": told.customer}))
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Disputing {
    payment: String,
}

async fn dispute(State(handle): State<StripeHandle>, body: Bytes) -> Response {
    told(&body, |told: Disputing| {
        Ok(json!({"dispute": handle.dispute(&told.payment)?}))
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Deciding {
    dispute: String,
    won: bool,
}

async fn close_dispute(State(handle): State<StripeHandle>, body: Bytes) -> Response {
    told(&body, |told: Deciding| {
        handle.close_dispute(&told.dispute, told.won)?;
        Ok(json!({"dispute": told.dispute}))
    })
}
