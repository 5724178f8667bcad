//! Webhook endpoints, and how events reach them.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::{
    API_VERSION, StripeError,
    books::{Books, bare, string},
    form::Params,
    refusals::{invalid, missing},
};
use crate::{
    courier::{Letter, RETRY_AFTER_MS},
    desk::Desk,
    refusal::Refusal,
    signing,
    twists::Twists,
};

/// Signs in the place of the endpoint's secret when a signature is to be wrong.
const WRONG_SECRET: &str = "whsec_of_another_endpoint";

/// What happens to events on their way to the endpoints, beside being delivered. In JSON the
/// fields are in camelCase and a field that does not exist is an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WebhookRule {
    /// Which events: `invoice.paid`, or a beginning that ends in `*` (`invoice.*`, `*`).
    pub event: String,
    /// What happens.
    pub how: WebhookTwist,
    /// How many events are struck; 0 strikes all of them. Default 1.
    #[serde(default = "once")]
    pub times: u32,
    /// Milliseconds of `late` (default 1,000).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_ms: Option<u64>,
    /// Extra deliveries of `duplicate` (default 1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// How many seconds ago `stale` claims to be signed (default 301); below zero is in the
    /// future.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_seconds: Option<i64>,
}

fn once() -> u32 {
    1
}

/// What happens to a struck event. The words are the same in JSON, in snake_case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WebhookTwist {
    /// It comes `count` more times.
    Duplicate,
    /// It comes `delayMs` late; what happens later may overtake it.
    Late,
    /// It never comes.
    Lost,
    /// Its signature is made with the secret of another endpoint.
    Forged,
    /// It was signed `ageSeconds` ago.
    Stale,
    /// It waits until held events are released, in either order.
    Hold,
}

impl WebhookRule {
    /// A rule for the next such event.
    #[must_use]
    pub fn new(event: impl Into<String>, how: WebhookTwist) -> Self {
        Self {
            event: event.into(),
            how,
            times: 1,
            delay_ms: None,
            count: None,
            age_seconds: None,
        }
    }

    /// Strikes so many events; 0 strikes all.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = times;
        self
    }

    /// Sets the delay of `late`.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay_ms = Some(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX));
        self
    }

    /// Sets the extra deliveries of `duplicate`.
    #[must_use]
    pub fn count(mut self, count: u32) -> Self {
        self.count = Some(count);
        self
    }

    /// Sets the age of the signature of `stale`.
    #[must_use]
    pub fn age(mut self, seconds: i64) -> Self {
        self.age_seconds = Some(seconds);
        self
    }
}

/// How an event is sent once more.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Resend {
    /// The event.
    pub event: String,
    /// How many times at once; 0 counts as 1.
    #[serde(default)]
    pub copies: u32,
    /// With the signature of another endpoint's secret.
    #[serde(default)]
    pub forged: bool,
    /// With a signature so many seconds old.
    #[serde(default)]
    pub age_seconds: i64,
}

/// The value of `Stripe-Signature` for a body: hex HMAC-SHA256 over `t.body`, keyed with the
/// whole secret.
#[must_use]
pub fn stripe_signature(secret: &str, timestamp: i64, body: &[u8]) -> String {
    let time = timestamp.to_string();
    let parts: [&[u8]; 3] = [time.as_bytes(), b".", body];
    let mac = hex::encode(signing::hmac(secret.as_bytes(), &parts));
    format!("t={timestamp},v1={mac}")
}

/// Whether a pattern of events means this one.
pub(super) fn covers(pattern: &str, event: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => event.starts_with(beginning),
        None => pattern == event,
    }
}

#[derive(Clone)]
struct Endpoint {
    id: String,
    url: String,
    secret: String,
    events: Vec<String>,
    enabled: bool,
}

/// One event on its way to one endpoint.
#[derive(Clone)]
struct Parcel {
    endpoint: String,
    url: String,
    secret: String,
    event: String,
    body: Bytes,
    age: i64,
    epoch: u64,
}

impl Parcel {
    /// Signed now, as each try is.
    fn letter(&self) -> Letter {
        let time = chrono::Utc::now().timestamp() - self.age;
        let signature = stripe_signature(&self.secret, time, &self.body);
        Letter {
            url: self.url.clone(),
            event_id: self.event.clone(),
            headers: vec![("stripe-signature".into(), signature)],
            body: self.body.clone(),
        }
    }
}

/// Sends what it is given in order; what is not taken is tried again beside it.
fn lane(desk: Arc<Desk>) -> UnboundedSender<Parcel> {
    let (sender, mut parcels) = unbounded_channel::<Parcel>();
    tokio::spawn(async move {
        while let Some(parcel) = parcels.recv().await {
            if desk.epoch() != parcel.epoch || desk.courier.try_once(&parcel.letter()).await {
                continue;
            }
            tokio::spawn(retry(desk.clone(), parcel));
        }
    });
    sender
}

async fn retry(desk: Arc<Desk>, parcel: Parcel) {
    for wait in RETRY_AFTER_MS {
        tokio::time::sleep(Duration::from_millis(wait)).await;
        if desk.epoch() != parcel.epoch || desk.courier.try_once(&parcel.letter()).await {
            return;
        }
    }
}

pub(super) struct Hooks {
    desk: Arc<Desk>,
    endpoints: Vec<Endpoint>,
    lanes: HashMap<String, UnboundedSender<Parcel>>,
    rules: Vec<WebhookRule>,
    held: Vec<Parcel>,
    /// What the faults that struck the request do to its events.
    pub(super) twists: Option<Arc<Twists>>,
}

impl Hooks {
    pub(super) fn new(desk: Arc<Desk>) -> Self {
        Self {
            desk,
            endpoints: Vec::new(),
            lanes: HashMap::new(),
            rules: Vec::new(),
            held: Vec::new(),
            twists: None,
        }
    }

    pub(super) fn listeners(&self, event: &str) -> usize {
        self.listening(event).count()
    }

    fn listening(&self, event: &str) -> impl Iterator<Item = &Endpoint> {
        self.endpoints.iter().filter(move |endpoint| {
            endpoint.enabled && endpoint.events.iter().any(|pattern| covers(pattern, event))
        })
    }

    /// The rules that strike an event, used up where they are.
    fn strike(&mut self, event: &str) -> Vec<WebhookRule> {
        let mut struck = Vec::new();
        self.rules.retain_mut(|rule| {
            if !covers(&rule.event, event) {
                return true;
            }
            struck.push(rule.clone());
            match rule.times {
                0 => true,
                1 => false,
                _ => {
                    rule.times -= 1;
                    true
                }
            }
        });
        struck
    }

    fn parcels(&self, event: &Value) -> Vec<Parcel> {
        let body = Bytes::from(event.to_string());
        let pack = |endpoint: &Endpoint| Parcel {
            endpoint: endpoint.id.clone(),
            url: endpoint.url.clone(),
            secret: endpoint.secret.clone(),
            event: string(event, "id").to_owned(),
            body: body.clone(),
            age: 0,
            epoch: self.desk.epoch(),
        };
        self.listening(string(event, "type")).map(pack).collect()
    }

    /// Sends a new event on its way.
    pub(super) fn post(&mut self, event: &Value) {
        let kind = string(event, "type").to_owned();
        if self.listeners(&kind) == 0 {
            return;
        }
        let rules = self.strike(&kind);
        let has = |how: WebhookTwist| rules.iter().find(|rule| rule.how == how);
        let twists = self.twists.clone().unwrap_or_default();
        if twists.hook_lost || has(WebhookTwist::Lost).is_some() {
            return;
        }
        let forged = twists.hook_forged || has(WebhookTwist::Forged).is_some();
        let age = has(WebhookTwist::Stale).map_or(0, |rule| rule.age_seconds.unwrap_or(301));
        let extra = has(WebhookTwist::Duplicate).map_or(0, |rule| rule.count.unwrap_or(1));
        let late = has(WebhookTwist::Late).map_or(Duration::ZERO, |rule| {
            Duration::from_millis(rule.delay_ms.unwrap_or(1_000))
        });
        for mut parcel in self.parcels(event) {
            parcel.age = age;
            if forged {
                parcel.secret = WRONG_SECRET.into();
            }
            for _ in 0..=extra.saturating_add(twists.hook_copies) {
                if has(WebhookTwist::Hold).is_some() {
                    self.held.push(parcel.clone());
                } else {
                    self.send(parcel.clone(), late + twists.hook_late);
                }
            }
        }
    }

    fn send(&mut self, parcel: Parcel, late: Duration) {
        let desk = &self.desk;
        let lane = self
            .lanes
            .entry(parcel.endpoint.clone())
            .or_insert_with(|| lane(desk.clone()));
        if late.is_zero() {
            // The lane lives as long as this end of it.
            let _ = lane.send(parcel);
            return;
        }
        let lane = lane.clone();
        tokio::spawn(async move {
            tokio::time::sleep(late).await;
            let _ = lane.send(parcel);
        });
    }

    pub(super) fn add_rules(&mut self, rules: Vec<WebhookRule>) {
        self.rules.extend(rules);
    }

    pub(super) fn rules(&self) -> Vec<WebhookRule> {
        self.rules.clone()
    }

    pub(super) fn clear_rules(&mut self) {
        self.rules.clear();
    }

    /// Ids of the events that are held, oldest first.
    pub(super) fn held(&self) -> Vec<String> {
        self.held
            .iter()
            .map(|parcel| parcel.event.clone())
            .collect()
    }

    /// Sends what is held; how many parcels.
    pub(super) fn release(&mut self, newest_first: bool) -> usize {
        let mut held = std::mem::take(&mut self.held);
        if newest_first {
            held.reverse();
        }
        let count = held.len();
        for parcel in held {
            self.send(parcel, Duration::ZERO);
        }
        count
    }

    pub(super) fn resend(&mut self, event: &Value, how: &Resend) -> Result<(), StripeError> {
        let parcels = self.parcels(event);
        if parcels.is_empty() {
            return Err(StripeError::new("no endpoint listens to this event"));
        }
        for mut parcel in parcels {
            parcel.age = how.age_seconds;
            if how.forged {
                parcel.secret = WRONG_SECRET.into();
            }
            for _ in 0..how.copies.max(1) {
                self.send(parcel.clone(), Duration::ZERO);
            }
        }
        Ok(())
    }
}

impl Books {
    /// Registers an endpoint; with its secret, which is shown this one time.
    pub(super) fn listen(
        &mut self,
        url: &str,
        events: Vec<String>,
        secret: String,
        more: &Value,
    ) -> Value {
        let endpoint = json!({
            "id": self.id("we"),
            "object": "webhook_endpoint",
            "api_version": API_VERSION,
            "application": null,
            "created": self.now(),
            "description": more["description"],
            "enabled_events": events,
            "livemode": false,
            "metadata": more["metadata"].as_object().cloned().unwrap_or_default(),
            "status": "enabled",
            "url": url,
        });
        self.hooks.endpoints.push(Endpoint {
            id: string(&endpoint, "id").to_owned(),
            url: url.to_owned(),
            secret: secret.clone(),
            events,
            enabled: true,
        });
        self.put("webhook_endpoint", endpoint.clone());
        let mut shown = endpoint;
        shown["secret"] = json!(secret);
        shown
    }
}

fn enabled_events(params: &Params<'_>) -> Result<Vec<String>, Refusal> {
    let events = params.texts("enabled_events")?;
    if events.iter().any(String::is_empty) {
        return Err(invalid("enabled_events", "Invalid event."));
    }
    Ok(events)
}

fn address<'tree>(params: &Params<'tree>) -> Result<Option<&'tree str>, Refusal> {
    let Some(url) = params.text("url")? else {
        return Ok(None);
    };
    match url::Url::parse(url) {
        Ok(parsed) if matches!(parsed.scheme(), "http" | "https") => Ok(Some(url)),
        _ => Err(Refusal::new(400, "url_invalid", "Invalid URL.").param("url")),
    }
}

pub(super) fn create(books: &mut Books, params: &Params<'_>, _: &str) -> Result<Value, Refusal> {
    params.only(&[
        "url",
        "enabled_events",
        "api_version",
        "description",
        "metadata",
        "expand",
    ])?;
    let url = address(params)?.ok_or_else(|| missing("url"))?;
    let events = enabled_events(params)?;
    if events.is_empty() {
        return Err(missing("enabled_events"));
    }
    if let Some(version) = params.text("api_version")?
        && version != API_VERSION
    {
        let message = format!("The simulator speaks {API_VERSION} alone.");
        return Err(invalid("api_version", &message));
    }
    let more = json!({
        "description": params.text("description")?,
        "metadata": params.metadata(&Value::Null)?,
    });
    let secret = books.id("whsec");
    Ok(books.listen(url, events, secret, &more))
}

pub(super) fn change(books: &mut Books, params: &Params<'_>, id: &str) -> Result<Value, Refusal> {
    params.only(&[
        "url",
        "enabled_events",
        "disabled",
        "description",
        "metadata",
        "expand",
    ])?;
    let before = books.of("webhook_endpoint", id)?.clone();
    let mut changes = json!({"metadata": params.metadata(&before["metadata"])?});
    if let Some(url) = address(params)? {
        changes["url"] = json!(url);
    }
    if let Some(text) = params.text("description")? {
        changes["description"] = json!(text);
    }
    let events = enabled_events(params)?;
    if !events.is_empty() {
        changes["enabled_events"] = json!(events);
    }
    if let Some(disabled) = params.flag("disabled")? {
        changes["status"] = json!(if disabled { "disabled" } else { "enabled" });
    }
    books.set(id, changes);
    let shown = bare(books.of("webhook_endpoint", id)?);
    let kept = books.hooks.endpoints.iter_mut().find(|kept| kept.id == id);
    if let Some(kept) = kept {
        kept.url = string(&shown, "url").to_owned();
        kept.enabled = shown["status"] == "enabled";
        if !events.is_empty() {
            kept.events = events;
        }
    }
    Ok(shown)
}

pub(super) fn remove(books: &mut Books, _: &Params<'_>, id: &str) -> Result<Value, Refusal> {
    books.of("webhook_endpoint", id)?;
    books.take_away("webhook_endpoint", id);
    books.hooks.endpoints.retain(|endpoint| endpoint.id != id);
    books.hooks.lanes.remove(id);
    Ok(json!({"id": id, "object": "webhook_endpoint", "deleted": true}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_matches_the_known_answer() {
        assert_eq!(
            stripe_signature("whsec_test", 1_700_000_000, br#"{"id":"evt_1"}"#),
            "t=1700000000,v1=c89214b5b5da833daed6f0b8c5bb6bd58cea9022bd80ccc78230f3942d632925"
        );
    }

    #[test]
    fn patterns_cover_families_of_events() {
        assert!(covers("*", "invoice.paid"));
        assert!(covers("invoice.*", "invoice.paid"));
        assert!(!covers("invoice.paid", "invoice.payment_failed"));
    }
}
