//! OpenAI: scripts, and speech.

mod chat;
mod models;
mod request;
mod responses;
mod speech;
mod stored;
mod stream;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::{
    Router,
    http::{HeaderMap, header},
};
use serde_json::{Value, json};

use crate::{
    desk::Desk,
    gate::{Face, Routes},
    refusal::{Class, Refusal},
};

pub(crate) struct OpenAi {
    desk: Arc<Desk>,
    store: Mutex<Store>,
}

/// Answers that are kept; whole objects as the vendor shows them, oldest first.
#[derive(Default)]
struct Store {
    completions: Vec<Value>,
    responses: Vec<responses::Stored>,
}

impl OpenAi {
    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Face for OpenAi {
    fn desk(&self) -> &Arc<Desk> {
        &self.desk
    }

    fn credential_header(&self) -> &'static str {
        "authorization"
    }

    fn authorize(&self, headers: &HeaderMap, _path: &str) -> Result<(), Refusal> {
        let given = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Bearer "));
        match given {
            Some(key) if key == self.desk.keys.openai => Ok(()),
            Some(_) => Err(self.refusal(Class::Unauthorized)),
            // Without a key there is no code (as the vendor does; decide on the status).
            None => Err(Refusal::new(
                401,
                "",
                "You didn't provide an API key. You need to provide your API key in an \
                 Authorization header using Bearer auth.",
            )),
        }
    }

    fn envelope(&self, refusal: &Refusal, _request_id: &str) -> Value {
        let kind = match refusal.code.as_str() {
            "insufficient_quota" => "insufficient_quota",
            "rate_limit_exceeded" => "requests",
            "server_is_overloaded" => "service_unavailable_error",
            _ if refusal.status >= 500 => "server_error",
            _ => "invalid_request_error",
        };
        let code = (!refusal.code.is_empty()).then_some(&refusal.code);
        json!({"error": {
            "message": refusal.message, "type": kind, "param": refusal.param, "code": code,
        }})
    }

    fn refusal(&self, class: Class) -> Refusal {
        match class {
            Class::Unauthorized => {
                Refusal::new(401, "invalid_api_key", "Incorrect API key provided.")
            }
            Class::Forbidden => Refusal::new(
                403,
                "unsupported_country_region_territory",
                "Country, region, or territory not supported",
            ),
            Class::QuotaExhausted => Refusal::new(
                429,
                "insufficient_quota",
                "You exceeded your current quota, please check your plan and billing details.",
            ),
            Class::RateLimited => Refusal::new(
                429,
                "rate_limit_exceeded",
                "Rate limit reached on requests per min. Try again in 1s.",
            )
            .retry_after(1),
            Class::NoSlot => Refusal::new(429, "slow_down", "Please slow down.").retry_after(1),
            Class::ContentRejected => Refusal::new(
                400,
                "content_policy_violation",
                "Your request was rejected as a result of our safety system.",
            ),
            Class::InvalidInput => {
                Refusal::new(400, "invalid_value", "Invalid value").param("messages")
            }
            Class::NotFound => Refusal::new(404, "not_found", "Not found"),
            Class::Conflict => Refusal::new(409, "conflict", "Conflict"),
            Class::Unavailable => Refusal::new(
                503,
                "server_is_overloaded",
                "The server is overloaded, please try again later.",
            ),
            Class::InternalError => Refusal::new(500, "server_error", "The server had an error."),
        }
    }

    fn bills(&self, route: &str) -> bool {
        matches!(
            route,
            "POST /v1/chat/completions" | "POST /v1/responses" | "POST /v1/audio/speech"
        )
    }

    fn request_id_header(&self) -> Option<&'static str> {
        Some("x-request-id")
    }

    fn reset(&self) {
        *self.store() = Store::default();
    }
}

fn invalid(param: &str, message: impl Into<String>) -> Refusal {
    Refusal::new(400, "invalid_value", message).param(param)
}

/// A list as the vendor shows it.
fn listed(data: &[Value], has_more: bool) -> Value {
    json!({
        "object": "list",
        "data": data,
        "first_id": data.first().map(|item| item["id"].clone()),
        "last_id": data.last().map(|item| item["id"].clone()),
        "has_more": has_more,
    })
}

pub(crate) fn build(desk: Arc<Desk>) -> (Router, Vec<String>, Arc<dyn Face>) {
    let openai = Arc::new(OpenAi {
        desk,
        store: Mutex::default(),
    });
    let face: Arc<dyn Face> = openai.clone();
    let (router, list) = Routes::new()
        .post("/v1/chat/completions", chat::create)
        .get("/v1/chat/completions", stored::list)
        .get("/v1/chat/completions/{completion_id}", stored::one)
        .delete("/v1/chat/completions/{completion_id}", stored::delete)
        .post("/v1/responses", responses::create)
        .get("/v1/responses/{response_id}", responses::one)
        .delete("/v1/responses/{response_id}", responses::delete)
        .post("/v1/responses/{response_id}/cancel", responses::cancel)
        .get("/v1/models", models::list)
        .get("/v1/models/{model}", models::one)
        .post("/v1/audio/speech", speech::create)
        .behind_gate(openai, face.clone());
    (router, list, face)
}
