//! The controls of one simulator: as methods, and as routes below `/_control/`.

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::{Value, json};

use crate::{
    clock::Clock,
    courier::Delivery,
    desk::Seen,
    faults::{Fault, FaultError},
    gate::Face,
    ledger::Invoice,
    options::Vendor,
};

/// Controls one simulator. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    pub(crate) vendor: Vendor,
    pub(crate) face: Arc<dyn Face>,
    pub(crate) routes: Arc<[String]>,
    pub(crate) url: Arc<str>,
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Handle")
            .field("vendor", &self.vendor())
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

impl Handle {
    /// Which vendor it is.
    #[must_use]
    pub fn vendor(&self) -> Vendor {
        self.vendor
    }

    /// Where it listens, for example `http://127.0.0.1:34567`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What was accepted and billed.
    #[must_use]
    pub fn invoice(&self) -> Invoice {
        self.face.desk().invoice(self.vendor)
    }

    /// How long the oldest request that is still being dealt with has taken, whether or not
    /// its sender still waits. What came before that is written down.
    #[must_use]
    pub fn busy_for(&self) -> std::time::Duration {
        self.face.desk().oldest_under_way()
    }

    /// What the simulator itself could not do: the newest 100 errors behind answers that no
    /// fault asked for.
    #[must_use]
    pub fn troubles(&self) -> Vec<String> {
        self.face.desk().troubles()
    }

    /// Arms faults: all of them, or none when one is wrong.
    ///
    /// # Errors
    ///
    /// When a fault names no route of this vendor, or its numbers make no sense.
    pub fn add_faults(&self, faults: Vec<Fault>) -> Result<(), FaultError> {
        self.face.desk().add_faults(faults, &self.routes)
    }

    /// The faults that still have calls to strike.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        self.face.desk().faults()
    }

    /// Disarms all faults.
    pub fn clear_faults(&self) {
        self.face.desk().clear_faults();
    }

    /// Everything as at the start: no tasks, an empty invoice, no faults, the first pace.
    /// Media stay.
    pub fn reset(&self) {
        self.face.desk().reset();
        self.face.reset();
    }

    /// The newest 1,000 requests, oldest first, without credentials.
    #[must_use]
    pub fn requests(&self) -> Vec<Seen> {
        self.face.desk().requests()
    }

    /// The newest 1,000 tries to deliver a webhook, oldest first.
    #[must_use]
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.face.desk().courier.deliveries()
    }

    /// The vendor's pace.
    #[must_use]
    pub fn clock(&self) -> Clock {
        Clock::of(&self.face.desk().profile())
    }

    /// Changes the vendor's pace for what comes; fields that are not there stay.
    pub fn set_clock(&self, clock: &Clock) {
        self.face
            .desk()
            .change_profile(|profile| clock.apply(profile));
    }

    /// How much work the vendor takes at one time; 0 is without limit.
    #[must_use]
    pub fn concurrency(&self) -> usize {
        self.face.desk().limit()
    }

    /// Changes how much work the vendor takes at one time; 0 is without limit.
    pub fn set_concurrency(&self, limit: usize) {
        self.face.desk().set_limit(limit);
    }

    /// The routes, as faults name them.
    #[must_use]
    pub fn routes(&self) -> &[String] {
        &self.routes
    }
}

pub(crate) fn wrong(message: impl std::fmt::Display) -> Response {
    let body = json!({"error": message.to_string()});
    (StatusCode::BAD_REQUEST, Json(body)).into_response()
}

/// The control routes. They stand before the gate: never logged, never struck by a fault.
pub(crate) fn routes(handle: Handle) -> Router {
    let shared = |prefix: &str| {
        Router::new()
            .route(
                &format!("{prefix}/faults"),
                get(list_faults).post(add_faults).delete(clear_faults),
            )
            .route(&format!("{prefix}/reset"), post(reset))
            .route(&format!("{prefix}/clock"), get(clock).post(set_clock))
            .route(
                &format!("{prefix}/concurrency"),
                get(concurrency).post(set_concurrency),
            )
            .route(
                &format!("{prefix}/requests"),
                get(async |State(handle): State<Handle>| Json(handle.requests())),
            )
            .route(
                &format!("{prefix}/deliveries"),
                get(async |State(handle): State<Handle>| Json(handle.deliveries())),
            )
            .route(
                &format!("{prefix}/routes"),
                get(async |State(handle): State<Handle>| Json(handle.routes().to_vec())),
            )
    };
    shared("/_control")
        .merge(shared("/_sim"))
        .route(
            "/_control/invoice",
            get(async |State(handle): State<Handle>| Json(handle.invoice())),
        )
        .route("/_sim/invoice", get(bill))
        .with_state(handle)
}

/// The bill alone, one line for each thing that is on it.
async fn bill(State(handle): State<Handle>) -> Json<Value> {
    let invoice = handle.invoice();
    let billed: Vec<Value> = invoice
        .calls
        .iter()
        .filter(|call| call.billed)
        .map(|call| {
            json!({
                "id": call.task_id, "client_ref": call.client_ref, "what": call.what,
                "units": call.units, "micro_usd": call.micro_usd, "at": call.at,
            })
        })
        .collect();
    Json(json!({
        "vendor": invoice.vendor, "accepted": invoice.accepted,
        "billed": billed, "calls": invoice.requests,
    }))
}

async fn list_faults(State(handle): State<Handle>) -> Json<Vec<Fault>> {
    Json(handle.faults())
}

/// The faults of a request, one or a list.
pub(crate) fn faults_of(body: &[u8]) -> Result<Vec<Fault>, String> {
    // Parsed in two steps, so that the message names the wrong field and not only that no
    // form fits.
    let faults = match serde_json::from_slice::<Value>(body) {
        Ok(Value::Array(list)) => list,
        Ok(single @ Value::Object(_)) => vec![single],
        Ok(_) => return Err("faults are an object or a list of objects".into()),
        Err(error) => return Err(error.to_string()),
    };
    let parsed: Result<Vec<Fault>, _> = faults.into_iter().map(serde_json::from_value).collect();
    parsed.map_err(|error| error.to_string())
}

async fn add_faults(State(handle): State<Handle>, body: Bytes) -> Response {
    let faults = match faults_of(&body) {
        Ok(faults) => faults,
        Err(error) => return wrong(error),
    };
    match handle.add_faults(faults) {
        Ok(()) => Json(json!({"faults": handle.faults()})).into_response(),
        Err(error) => wrong(error),
    }
}

async fn clear_faults(State(handle): State<Handle>) -> Json<Value> {
    handle.clear_faults();
    Json(json!({"faults": []}))
}

async fn reset(State(handle): State<Handle>) -> Json<Value> {
    handle.reset();
    Json(json!({"reset": true}))
}

async fn clock(State(handle): State<Handle>) -> Json<Clock> {
    Json(handle.clock())
}

async fn set_clock(State(handle): State<Handle>, body: Bytes) -> Response {
    match serde_json::from_slice::<Clock>(&body) {
        Ok(clock) => {
            handle.set_clock(&clock);
            Json(handle.clock()).into_response()
        }
        Err(error) => wrong(error),
    }
}

async fn concurrency(State(handle): State<Handle>) -> Json<Value> {
    Json(json!({"concurrency": handle.concurrency()}))
}

async fn set_concurrency(State(handle): State<Handle>, body: Bytes) -> Response {
    let parsed = serde_json::from_slice::<Value>(&body).ok();
    let limit = parsed
        .as_ref()
        .and_then(|value| value.get("concurrency"))
        .and_then(Value::as_u64)
        .and_then(|limit| usize::try_from(limit).ok());
    match limit {
        Some(limit) => {
            handle.set_concurrency(limit);
            Json(json!({"concurrency": limit})).into_response()
        }
        None => wrong("expected {\"concurrency\": number}; 0 is without limit"),
    }
}
