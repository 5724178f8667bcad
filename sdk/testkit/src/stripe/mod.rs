//! Stripe, as far as subscriptions and one-time packs need it (docs.stripe.com; shapes of API
//! version `2026-07-29.dahlia`). It makes no media and has no invoice of its own calls: it
//! stands beside the vendors, not among them.

mod books;
mod catalog;
mod checkout;
mod control;
mod cycle;
mod events;
mod form;
mod hooks;
mod invoices;
mod pages;
mod payments;
mod refusals;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::{
    Extension, Json, Router,
    extract::{Path, State},
    http::{HeaderMap, HeaderName, HeaderValue},
    response::IntoResponse,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;
use subtle::ConstantTimeEq;

pub use self::{
    checkout::Press,
    control::{Card, StripeHandle},
    hooks::{Resend, WebhookRule, WebhookTwist, stripe_signature},
};
pub(crate) use control::{routes as control_routes, tick};

use self::{
    books::{Books, Replay, bare},
    form::Params,
    refusals::invalid,
};
use crate::{
    call::Call,
    desk::Desk,
    gate::{Face, MEDIA, Routes},
    refusal::{Answer, Class, Refusal},
};

/// The version whose shapes are spoken, whatever version a request names.
const API_VERSION: &str = "2026-07-29.dahlia";
/// An answer is given again for so long, in the account's time.
const REPLAY_SECONDS: i64 = 24 * 3_600;
const LONGEST_KEY: usize = 255;

/// Why the simulator did not do what a test asked of it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct StripeError(String);

impl StripeError {
    fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

pub(crate) struct Stripe {
    desk: Arc<Desk>,
    url: Arc<str>,
    books: Mutex<Books>,
}

/// What a route does with the account, its parameters, and the id or path it is about.
type Deed = fn(&mut Books, &Params<'_>, &str) -> Result<Value, Refusal>;

impl Stripe {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with the account, after everything that fell due before.
    fn with<T>(&self, call: Option<&Call>, deed: impl FnOnce(&mut Books) -> T) -> T {
        let mut books = self.books();
        cycle::catch_up(&mut books);
        books.hooks.twists = call.map(|call| call.twists.clone());
        let done = deed(&mut books);
        books.hooks.twists = None;
        books.request = None;
        done
    }

    /// One request of the API. The account is locked while it lasts, so that none is half
    /// done: two with one idempotency key come one after the other.
    fn api(&self, call: &Call, subject: &str, deed: Deed) -> Answer {
        let post = call.route.starts_with("POST");
        let sent = if post {
            &call.body[..]
        } else {
            call.query.as_bytes()
        };
        check_form(call)?;
        let tree = form::parse(sent)?;
        let params = Params::new(&tree);
        let key = call.header("idempotency-key").filter(|_| post);
        if key.is_some_and(|key| key.len() > LONGEST_KEY) {
            let message = "Idempotency keys have up to 255 characters.";
            return Err(invalid("Idempotency-Key", message));
        }
        let expand = params.texts("expand")?;
        self.with(Some(call), |books| {
            let now = books.now();
            if let Some(key) = key
                && let Some(first) = books.replays.get(key)
                && now < first.at + REPLAY_SECONDS
            {
                return replayed(first, call, subject, &tree);
            }
            books.request = Some((call.request_id.to_string(), key.map(str::to_owned)));
            let answer = deed(books, &params, subject);
            let answer = answer.and_then(|shown| books.expand(shown, &expand));
            if let Some(key) = key
                && is_kept(&answer)
            {
                let first = Replay {
                    path: format!("{} {subject}", call.route),
                    params: tree.clone(),
                    at: now,
                    answer: answer.clone(),
                };
                books.replays.insert(key.to_owned(), first);
            }
            answer.map(|shown| Json(shown).into_response())
        })
    }
}

/// Results are kept, and refusals of what was begun; not those of what was never begun.
fn is_kept(answer: &Result<Value, Refusal>) -> bool {
    match answer {
        Ok(_) => true,
        Err(refusal) => refusal.status == 402 || refusal.status >= 500,
    }
}

fn replayed(first: &Replay, call: &Call, subject: &str, tree: &Value) -> Answer {
    if first.path != format!("{} {subject}", call.route) || &first.params != tree {
        return Err(Refusal::new(
            400,
            "idempotency_error",
            "Keys for idempotent requests can only be used with the same parameters they were first used with.",
        ));
    }
    let mut response = match &first.answer {
        Ok(shown) => Json(shown).into_response(),
        Err(refusal) => refusal.clone().into_response(),
    };
    response.headers_mut().insert(
        HeaderName::from_static("idempotent-replayed"),
        HeaderValue::from_static("true"),
    );
    Ok(response)
}

/// Bodies are forms.
fn check_form(call: &Call) -> Result<(), Refusal> {
    let kind = call.header("content-type").unwrap_or_default();
    if call.body.is_empty() || kind.starts_with("application/x-www-form-urlencoded") {
        return Ok(());
    }
    let message = format!(
        "Invalid request (check that your POST content type is application/x-www-form-urlencoded, not {kind})."
    );
    Err(Refusal::new(400, "", message))
}

/// The key of a `Bearer` or `Basic` header.
fn key_of(headers: &HeaderMap) -> Option<String> {
    let header = headers.get("authorization")?.to_str().ok()?;
    let (scheme, value) = header.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(value.trim().to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = STANDARD.decode(value.trim()).ok()?;
    let decoded = String::from_utf8(decoded).ok()?;
    let (user, _) = decoded.split_once(':')?;
    Some(user.to_owned())
}

impl Face for Stripe {
    fn desk(&self) -> &Arc<Desk> {
        &self.desk
    }

    fn credential_header(&self) -> &'static str {
        "authorization"
    }

    fn authorize(&self, headers: &HeaderMap, _path: &str) -> Result<(), Refusal> {
        let Some(key) = key_of(headers) else {
            let message = "You did not provide an API key.";
            return Err(Refusal::new(401, "", message));
        };
        if bool::from(key.as_bytes().ct_eq(self.desk.keys.stripe.as_bytes())) {
            Ok(())
        } else {
            Err(self.refusal(Class::Unauthorized))
        }
    }

    fn is_open(&self, path: &str) -> bool {
        ["/pay/", "/portal/", MEDIA]
            .iter()
            .any(|prefix| path.starts_with(prefix))
    }

    fn envelope(&self, refusal: &Refusal, _request_id: &str) -> Value {
        refusals::envelope(refusal)
    }

    fn refusal(&self, class: Class) -> Refusal {
        refusals::of_class(class)
    }

    fn bills(&self, _route: &str) -> bool {
        false
    }

    fn request_id_header(&self) -> Option<&'static str> {
        Some("request-id")
    }

    fn request_id(&self, token: String) -> String {
        format!("req_{token}")
    }

    fn dress(&self, refusal: Option<&Refusal>, headers: &mut HeaderMap) {
        headers.insert(
            HeaderName::from_static("stripe-version"),
            HeaderValue::from_static(API_VERSION),
        );
        // As documented, there is no reason when an object is locked.
        if refusal.is_some_and(|refusal| refusal.status == 429 && refusal.code != "lock_timeout") {
            headers.insert(
                HeaderName::from_static("stripe-rate-limited-reason"),
                HeaderValue::from_static("global-rate"),
            );
        }
    }

    fn reset(&self) {
        *self.books() = Books::new(self.desk.clone(), self.url.clone());
    }
}

/// A handler that does a deed about the id in the path, or about the path itself.
macro_rules! deed {
    ($deed:expr) => {
        async |State(stripe): State<Arc<Stripe>>,
               path: Option<Path<String>>,
               Extension(call): Extension<Call>| {
            let subject = match path {
                Some(Path(id)) => id,
                None => call.route.split(' ').nth(1).unwrap_or_default().to_owned(),
            };
            stripe.api(&call, &subject, $deed)
        }
    };
}

/// A handler that shows one object of a kind.
macro_rules! one {
    ($kind:literal) => {
        deed!(|books, params, id| {
            params.only(&["expand"])?;
            books.of($kind, id).map(bare)
        })
    };
}

fn objects(routes: Routes<Arc<Stripe>>) -> Routes<Arc<Stripe>> {
    routes
        .post("/v1/customers", deed!(catalog::create_customer))
        .get("/v1/customers", deed!(catalog::customers))
        .get("/v1/customers/{id}", one!("customer"))
        .post("/v1/customers/{id}", deed!(catalog::change_customer))
        .delete("/v1/customers/{id}", deed!(catalog::remove_customer))
        .post("/v1/products", deed!(catalog::create_product))
        .get("/v1/products", deed!(catalog::products))
        .get("/v1/products/{id}", one!("product"))
        .post("/v1/products/{id}", deed!(catalog::change_product))
        .post("/v1/prices", deed!(catalog::create_price))
        .get("/v1/prices", deed!(catalog::prices))
        .get("/v1/prices/{id}", one!("price"))
        .post("/v1/prices/{id}", deed!(catalog::change_price))
        .post("/v1/checkout/sessions", deed!(checkout::create))
        .get("/v1/checkout/sessions", deed!(checkout::list))
        .get("/v1/checkout/sessions/{id}", one!("checkout.session"))
        .get(
            "/v1/checkout/sessions/{id}/line_items",
            deed!(checkout::sold),
        )
        .post(
            "/v1/checkout/sessions/{id}/expire",
            deed!(checkout::expire_now),
        )
        .post("/v1/billing_portal/sessions", deed!(pages::create_portal))
}

fn money(routes: Routes<Arc<Stripe>>) -> Routes<Arc<Stripe>> {
    routes
        .get("/v1/subscriptions", deed!(cycle::list))
        .get("/v1/subscriptions/{id}", one!("subscription"))
        .post("/v1/subscriptions/{id}", deed!(cycle::change))
        .delete("/v1/subscriptions/{id}", deed!(cycle::cancel))
        .get("/v1/invoices", deed!(invoices::list))
        .get("/v1/invoices/{id}", one!("invoice"))
        .post("/v1/invoices/{id}/pay", deed!(invoices::pay))
        .get("/v1/invoice_payments", deed!(invoices::payments))
        .get("/v1/invoice_payments/{id}", one!("invoice_payment"))
        .get("/v1/payment_intents", deed!(payments::intents))
        .get("/v1/payment_intents/{id}", one!("payment_intent"))
        .get("/v1/charges", deed!(payments::charges))
        .get("/v1/charges/{id}", one!("charge"))
        .post("/v1/refunds", deed!(payments::refund))
        .get("/v1/refunds", deed!(payments::refunds))
        .get("/v1/refunds/{id}", one!("refund"))
        .get("/v1/disputes", deed!(payments::disputes))
        .get("/v1/disputes/{id}", one!("dispute"))
        .post("/v1/disputes/{id}/close", deed!(payments::give_up))
        .get("/v1/events", deed!(events::list))
        .get("/v1/events/{id}", one!("event"))
        .post("/v1/webhook_endpoints", deed!(hooks::create))
        .get("/v1/webhook_endpoints", deed!(events::endpoints))
        .get("/v1/webhook_endpoints/{id}", one!("webhook_endpoint"))
        .post("/v1/webhook_endpoints/{id}", deed!(hooks::change))
        .delete("/v1/webhook_endpoints/{id}", deed!(hooks::remove))
}

/// The simulator that listens at that address.
pub(crate) fn build(desk: Arc<Desk>, url: Arc<str>) -> (Router, StripeHandle) {
    let stripe = Arc::new(Stripe {
        books: Mutex::new(Books::new(desk.clone(), url.clone())),
        desk,
        url,
    });
    let face: Arc<dyn Face> = stripe.clone();
    let (router, routes) = money(objects(Routes::new()))
        .get("/pay/{id}", pages::pay)
        .post("/pay/{id}", pages::press)
        .get("/portal/{id}", pages::portal)
        .post("/portal/{id}", pages::manage)
        .behind_gate(stripe.clone(), face);
    (router, StripeHandle::new(stripe, routes.into()))
}
