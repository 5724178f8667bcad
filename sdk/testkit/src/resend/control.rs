//! The controls of Resend's simulator: as methods, and as routes below `/_control/`.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::json;

use super::{Email, Fate, Resend};
use crate::{
    control::{faults_of, wrong},
    courier::Delivery,
    desk::Seen,
    faults::{Fault, FaultError},
    gate::Face,
};

/// Controls Resend's simulator. Cheap to clone.
#[derive(Clone)]
pub struct ResendHandle {
    resend: Arc<Resend>,
    routes: Arc<[String]>,
}

impl std::fmt::Debug for ResendHandle {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("ResendHandle")
            .field("url", &self.resend.url)
            .finish_non_exhaustive()
    }
}

impl ResendHandle {
    pub(super) fn new(resend: Arc<Resend>, routes: Arc<[String]>) -> Self {
        Self { resend, routes }
    }

    /// Where it listens: it stands for `https://api.resend.com`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.resend.url
    }

    /// The API key that it accepts.
    #[must_use]
    pub fn api_key(&self) -> &str {
        &self.resend.desk.keys.resend
    }

    /// The secret that signs its webhooks.
    #[must_use]
    pub fn webhook_secret(&self) -> &str {
        &self.resend.desk.keys.resend_webhook
    }

    /// Arms faults: all of them, or none when one is wrong. The kinds for tasks and media do
    /// nothing here; those for webhooks strike the events of the struck request.
    ///
    /// # Errors
    ///
    /// When a fault names no route, or its numbers make no sense.
    pub fn add_faults(&self, faults: Vec<Fault>) -> Result<(), FaultError> {
        self.resend.desk.add_faults(faults, &self.routes)
    }

    /// The faults that still have calls to strike.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        self.resend.desk.faults()
    }

    /// Disarms all faults.
    pub fn clear_faults(&self) {
        self.resend.desk.clear_faults();
    }

    /// No mail, no receiver, no faults.
    pub fn reset(&self) {
        self.resend.desk.reset();
        self.resend.reset();
    }

    pub(crate) fn silence(&self) {
        self.resend.desk.silence();
    }

    /// The mails that were accepted, oldest first.
    #[must_use]
    pub fn emails(&self) -> Vec<Email> {
        self.resend.books().emails.clone()
    }

    /// The newest 1,000 requests, oldest first, without credentials.
    #[must_use]
    pub fn requests(&self) -> Vec<Seen> {
        self.resend.desk.requests()
    }

    /// The newest 1,000 tries to deliver a webhook, oldest first.
    #[must_use]
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.resend.desk.courier.deliveries()
    }

    /// Sends events to a receiver, signed with [`webhook_secret`](Self::webhook_secret).
    pub fn listen(&self, url: &str) {
        self.resend.books().listener = Some(url.to_owned());
    }

    /// What becomes of mails to an address from now on. Without it they arrive.
    pub fn set_fate(&self, address: &str, fate: Fate) {
        let address = address.to_lowercase();
        self.resend.books().fates.insert(address, fate);
    }

    /// Mails from other domains are refused from now on.
    pub fn verify_domain(&self, domain: &str) {
        self.resend.books().domains.insert(domain.to_owned());
    }

    /// Makes accepting a mail take so long.
    pub fn set_accept(&self, length: Duration) {
        self.resend
            .desk
            .change_profile(|profile| profile.accept = length);
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Listen {
    url: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FateOf {
    address: String,
    fate: Fate,
}

/// The control routes. They stand before the gate: never logged, never struck by a fault.
pub(crate) fn routes(handle: ResendHandle) -> Router {
    Router::new()
        .route(
            "/_control/faults",
            get(async |State(handle): State<ResendHandle>| Json(handle.faults()))
                .post(add_faults)
                .delete(async |State(handle): State<ResendHandle>| {
                    handle.clear_faults();
                    Json(json!({"faults": []}))
                }),
        )
        .route(
            "/_control/reset",
            post(async |State(handle): State<ResendHandle>| {
                handle.reset();
                Json(json!({"reset": true}))
            }),
        )
        .route(
            "/_control/requests",
            get(async |State(handle): State<ResendHandle>| Json(handle.requests())),
        )
        .route(
            "/_control/deliveries",
            get(async |State(handle): State<ResendHandle>| Json(handle.deliveries())),
        )
        .route(
            "/_control/emails",
            get(async |State(handle): State<ResendHandle>| Json(handle.emails())),
        )
        .route("/_control/listen", post(listen))
        .route("/_control/fate", post(fate))
        .with_state(handle)
}

async fn add_faults(State(handle): State<ResendHandle>, body: Bytes) -> Response {
    match faults_of(&body) {
        Ok(faults) => match handle.add_faults(faults) {
            Ok(()) => Json(json!({"faults": handle.faults()})).into_response(),
            Err(error) => wrong(error),
        },
        Err(error) => wrong(error),
    }
}

async fn listen(State(handle): State<ResendHandle>, body: Bytes) -> Response {
    let told: Listen = match serde_json::from_slice(&body) {
        Ok(told) => told,
        Err(error) => return wrong(error),
    };
    if let Err(error) = url::Url::parse(&told.url) {
        return wrong(format!("url: {error}"));
    }
    handle.listen(&told.url);
    Json(json!({"secret": handle.webhook_secret()})).into_response()
}

async fn fate(State(handle): State<ResendHandle>, body: Bytes) -> Response {
    match serde_json::from_slice::<FateOf>(&body) {
        Ok(told) => {
            handle.set_fate(&told.address, told.fate);
            Json(json!({"address": told.address})).into_response()
        }
        Err(error) => wrong(error),
    }
}
