//! Resend: mail over HTTP, with keys that make a repetition harmless and signed webhooks about
//! what became of each mail. Shapes of its OpenAPI document 1.5.0. Like Stripe it stands beside
//! the vendors: no plugin calls it.

mod control;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    Extension, Json, Router,
    extract::{Path, State},
    http::HeaderMap,
    response::IntoResponse,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use control::ResendHandle;
pub(crate) use control::routes as control_routes;

use crate::{
    call::{Call, text},
    courier::{Letter, post},
    desk::Desk,
    gate::{Face, Routes},
    refusal::{Answer, Class, Refusal},
    run::now_ms,
    signing::standard_webhook,
};

/// Longest key.
const LONGEST_KEY: usize = 256;
/// An answer is given again for so long.
const REPLAY: Duration = Duration::from_secs(24 * 3_600);
/// Most addresses of one mail.
const MOST_TO: usize = 50;

/// A mail that was accepted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Email {
    /// Resend's id of it.
    pub id: String,
    /// Under which key.
    pub idempotency_key: Option<String>,
    /// Milliseconds since 1970.
    pub at: i64,
    /// What was sent, as it was sent.
    pub body: Value,
    /// What became of it last, for example `delivered`.
    pub last_event: String,
}

/// What becomes of a mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// It arrives.
    Delivered,
    /// It comes back for good.
    Bounced,
    /// It comes back, perhaps not the next time.
    BouncedForNow,
    /// It arrives, and its reader calls it spam.
    Complained,
    /// Nothing is told of it.
    Silent,
}

/// A request under a key: while it lasts, and afterwards.
struct Replay {
    at: i64,
    body: Value,
    id: Option<String>,
}

#[derive(Default)]
struct Books {
    emails: Vec<Email>,
    replays: BTreeMap<String, Replay>,
    /// By address; others arrive.
    fates: BTreeMap<String, Fate>,
    /// Where events go.
    listener: Option<String>,
    /// Domains that may be sent from; empty: any.
    domains: BTreeSet<String>,
}

pub(crate) struct Resend {
    desk: Arc<Desk>,
    url: Arc<str>,
    books: Mutex<Books>,
}

impl Resend {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends an event about a mail to the receiver, if there is one, signed now.
    fn tell(&self, email: &Email, event: &'static str, wait: Duration, call: Option<&Call>) {
        let Some(url) = self.books().listener.clone() else {
            return;
        };
        let twists = call.map_or_else(Arc::default, |call| call.twists.clone());
        let body = event_body(email, event).to_string();
        let id = format!("msg_{}", self.desk.token(24));
        let secret = match twists.hook_forged {
            true => "whsec_Zm9yZ2VkLWZvcmdlZC1mb3JnZWQ=".to_owned(),
            false => self.desk.keys.resend_webhook.clone(),
        };
        post(Arc::clone(&self.desk), wait, twists, move || {
            let at = (now_ms() / 1_000).to_string();
            let signature = standard_webhook(&secret, &id, &at, body.as_bytes());
            Letter {
                url,
                event_id: id.clone(),
                headers: vec![
                    ("svix-id".to_owned(), id),
                    ("svix-timestamp".to_owned(), at),
                    ("svix-signature".to_owned(), signature),
                ],
                body: body.into(),
            }
        });
    }

    fn follow(&self, email: &Email, call: &Call) {
        let address = first_address(&email.body)
            .unwrap_or_default()
            .to_lowercase();
        let fate = self.books().fates.get(&address).copied();
        let fate = fate.unwrap_or(Fate::Delivered);
        if fate == Fate::Silent {
            return;
        }
        // Events come in any order; here the last comes first.
        for (event, wait) in match fate {
            Fate::Delivered => vec![("email.delivered", 20), ("email.sent", 60)],
            Fate::Bounced => vec![("email.bounced", 20), ("email.sent", 60)],
            Fate::BouncedForNow => vec![("email.bounced_for_now", 20)],
            Fate::Complained => vec![("email.complained", 20), ("email.delivered", 60)],
            Fate::Silent => Vec::new(),
        } {
            self.tell(email, event, Duration::from_millis(wait), Some(call));
        }
        let last = match fate {
            Fate::Bounced | Fate::BouncedForNow => "bounced",
            Fate::Complained => "complained",
            Fate::Delivered | Fate::Silent => "delivered",
        };
        let mut books = self.books();
        if let Some(kept) = books.emails.iter_mut().find(|kept| kept.id == email.id) {
            last.clone_into(&mut kept.last_event);
        }
    }
}

/// An event's body. Tags went in as a list, and come back as a map.
fn event_body(email: &Email, event: &str) -> Value {
    let now = iso(now_ms());
    let tags: serde_json::Map<String, Value> = (email.body["tags"].as_array())
        .into_iter()
        .flatten()
        .filter_map(|tag| Some((text(tag, "name")?.to_owned(), tag["value"].clone())))
        .collect();
    let mut data = json!({
        "email_id": email.id,
        "message_id": format!("<{}@resend.test>", email.id),
        "created_at": iso(email.at),
        "from": email.body["from"],
        "to": addresses(&email.body),
        "subject": email.body["subject"],
        "tags": tags,
    });
    let (event, bounce) = match event {
        "email.bounced" => (event, Some("Permanent")),
        "email.bounced_for_now" => ("email.bounced", Some("Transient")),
        other => (other, None),
    };
    if let Some(kind) = bounce {
        data["bounce"] = json!({
            "message": "The recipient's mail server rejected the message.",
            "subType": "General", "type": kind,
        });
    }
    json!({"type": event, "created_at": now, "data": data})
}

fn iso(millis: i64) -> String {
    chrono::DateTime::from_timestamp_millis(millis)
        .unwrap_or_default()
        .to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

fn addresses(body: &Value) -> Vec<&str> {
    match &body["to"] {
        Value::String(one) => vec![one.as_str()],
        Value::Array(many) => many.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn first_address(body: &Value) -> Option<&str> {
    addresses(body).first().copied()
}

impl Face for Resend {
    fn desk(&self) -> &Arc<Desk> {
        &self.desk
    }

    fn credential_header(&self) -> &'static str {
        "authorization"
    }

    fn authorize(&self, headers: &HeaderMap, _path: &str) -> Result<(), Refusal> {
        let told = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        if told("user-agent").is_none() {
            return Err(Refusal::new(403, "validation_error", "error code: 1010"));
        }
        match told("authorization").and_then(|value| value.strip_prefix("Bearer ")) {
            Some(key) if key == self.desk.keys.resend => Ok(()),
            // Not 401, as one would think.
            Some(_) => Err(self.refusal(Class::Unauthorized)),
            None => Err(Refusal::new(401, "missing_api_key", "Missing API Key")),
        }
    }

    fn envelope(&self, refusal: &Refusal, _request_id: &str) -> Value {
        json!({
            "statusCode": refusal.status, "message": refusal.message, "name": refusal.code,
        })
    }

    fn refusal(&self, class: Class) -> Refusal {
        let (status, name, words) = match class {
            Class::Unauthorized => (403, "invalid_api_key", "API key is invalid"),
            Class::Forbidden => (403, "validation_error", "The domain is not verified."),
            Class::QuotaExhausted => (
                429,
                "daily_quota_exceeded",
                "You have reached your daily quota.",
            ),
            Class::RateLimited | Class::NoSlot => {
                let words = "Too many requests. You can only make 2 requests per second.";
                return Refusal::new(429, "rate_limit_exceeded", words).retry_after(1);
            }
            Class::ContentRejected => (451, "security_error", "We found a security issue."),
            Class::InvalidInput => (422, "invalid_parameter", "A parameter is invalid."),
            Class::NotFound => (404, "not_found", "The requested endpoint does not exist"),
            Class::Conflict => (
                409,
                "concurrent_idempotent_requests",
                "The same key is in use.",
            ),
            Class::Unavailable => (503, "application_error", "Service unavailable."),
            Class::InternalError => (
                500,
                "internal_server_error",
                "An unexpected error occurred.",
            ),
        };
        Refusal::new(status, name, words)
    }

    fn bills(&self, _route: &str) -> bool {
        false
    }

    fn request_id_header(&self) -> Option<&'static str> {
        None
    }

    fn reset(&self) {
        *self.books() = Books::default();
    }
}

fn missing(field: &str) -> Refusal {
    let words = format!("Missing `{field}` field.");
    Refusal::new(422, "missing_required_field", words)
}

fn invalid(words: impl Into<String>) -> Refusal {
    Refusal::new(422, "invalid_parameter", words)
}

/// The domain of a sender, with or without a name.
fn domain(from: &str) -> Option<&str> {
    let address = match from.split_once('<') {
        Some((_, rest)) => rest.strip_suffix('>')?,
        None => from,
    };
    let (_, domain) = address.rsplit_once('@')?;
    (!domain.is_empty()).then_some(domain)
}

fn check(body: &Value, domains: &BTreeSet<String>) -> Result<(), Refusal> {
    let from = text(body, "from").ok_or_else(|| missing("from"))?;
    let domain = domain(from)
        .ok_or_else(|| Refusal::new(422, "invalid_from_address", "Invalid `from` field."))?;
    if !domains.is_empty() && !domains.contains(domain) {
        let words = format!("The {domain} domain is not verified.");
        return Err(Refusal::new(403, "validation_error", words));
    }
    let to = addresses(body);
    if to.is_empty() {
        return Err(missing("to"));
    }
    if to.len() > MOST_TO || to.iter().any(|one| !one.contains('@')) {
        return Err(invalid("Invalid `to` field."));
    }
    text(body, "subject").ok_or_else(|| missing("subject"))?;
    if text(body, "html").or(text(body, "text")).is_none() {
        return Err(missing("html"));
    }
    for tag in body["tags"].as_array().into_iter().flatten() {
        let plain = |text: &str| {
            let known = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
            text.len() <= 256 && text.bytes().all(known)
        };
        if !["name", "value"]
            .iter()
            .all(|part| text(tag, part).is_some_and(plain))
        {
            return Err(invalid(
                "Tags should only contain ASCII letters, numbers, _ or -.",
            ));
        }
    }
    Ok(())
}

async fn send(State(resend): State<Arc<Resend>>, Extension(call): Extension<Call>) -> Answer {
    let body = call.json().ok_or_else(|| missing("from"))?;
    let key = call.header("idempotency-key").map(str::to_owned);
    if key
        .as_ref()
        .is_some_and(|key| !(1..=LONGEST_KEY).contains(&key.len()))
    {
        let words = "The key must be between 1-256 chars.";
        return Err(Refusal::new(400, "invalid_idempotency_key", words));
    }
    if let Some(key) = &key {
        let mut books = resend.books();
        let now = now_ms();
        let since = i64::try_from(REPLAY.as_millis()).unwrap_or(i64::MAX);
        books
            .replays
            .retain(|_, first| now < first.at.saturating_add(since));
        match books.replays.get(key) {
            Some(first) if first.body != body => {
                let words = "Same idempotency key used with a different request payload.";
                return Err(Refusal::new(409, "invalid_idempotent_request", words));
            }
            Some(Replay { id: Some(id), .. }) => {
                return Ok(Json(json!({"id": id})).into_response());
            }
            Some(Replay { id: None, .. }) => return Err(resend.refusal(Class::Conflict)),
            None => {}
        }
        check(&body, &books.domains)?;
        let first = Replay {
            at: now,
            body: body.clone(),
            id: None,
        };
        books.replays.insert(key.clone(), first);
    } else {
        check(&body, &resend.books().domains)?;
    }
    let accept = resend.desk.profile().accept;
    if !accept.is_zero() {
        tokio::time::sleep(accept).await;
    }
    let email = Email {
        id: uuid_like(&resend.desk),
        idempotency_key: key.clone(),
        at: now_ms(),
        body,
        last_event: "sent".to_owned(),
    };
    {
        let mut books = resend.books();
        if let Some(first) = key.and_then(|key| books.replays.get_mut(&key)) {
            first.id = Some(email.id.clone());
        }
        books.emails.push(email.clone());
    }
    resend.follow(&email, &call);
    Ok(Json(json!({"id": email.id})).into_response())
}

fn uuid_like(desk: &Desk) -> String {
    let hex = desk.token(32);
    let (a, b, c, d, e) = (
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    );
    format!("{a}-{b}-{c}-{d}-{e}")
}

async fn one(State(resend): State<Arc<Resend>>, Path(id): Path<String>) -> Answer {
    let books = resend.books();
    let found = books.emails.iter().find(|email| email.id == id);
    let email = found.ok_or_else(|| Refusal::new(404, "not_found", "Email not found"))?;
    Ok(Json(json!({
        "object": "email",
        "id": email.id,
        "message_id": format!("<{}@resend.test>", email.id),
        "to": addresses(&email.body),
        "from": email.body["from"],
        "created_at": iso(email.at),
        "subject": email.body["subject"],
        "html": email.body["html"],
        "text": email.body["text"],
        "bcc": [], "cc": [],
        "reply_to": email.body["reply_to"],
        "last_event": email.last_event,
    }))
    .into_response())
}

async fn domains(State(resend): State<Arc<Resend>>) -> Answer {
    let list: Vec<Value> = (resend.books().domains.iter())
        .map(|name| json!({"name": name, "status": "verified"}))
        .collect();
    Ok(Json(json!({"object": "list", "data": list, "has_more": false})).into_response())
}

/// The simulator that listens at that address.
pub(crate) fn build(desk: Arc<Desk>, url: Arc<str>) -> (Router, ResendHandle) {
    let resend = Arc::new(Resend {
        desk,
        url,
        books: Mutex::default(),
    });
    let face: Arc<dyn Face> = resend.clone();
    let (router, routes) = Routes::new()
        .post("/emails", send)
        .get("/emails/{id}", one)
        .get("/domains", domains)
        .behind_gate(resend.clone(), face);
    (router, ResendHandle::new(resend, routes.into()))
}
