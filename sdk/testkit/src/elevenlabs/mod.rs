//! ElevenLabs: speech.

mod catalog;
mod history;
mod speak;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::{Router, http::HeaderMap};
use serde_json::{Value, json};

use crate::{
    desk::Desk,
    gate::{Face, Routes},
    refusal::{Class, Refusal},
};

pub(crate) struct ElevenLabs {
    desk: Arc<Desk>,
    store: Mutex<Store>,
}

#[derive(Default)]
struct Store {
    /// In the order in which they were spoken.
    history: Vec<Arc<history::Item>>,
    characters: u64,
}

impl ElevenLabs {
    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Credits of a speech that was not made.
    fn give_back(&self, credits: u64) {
        let mut store = self.store();
        store.characters = store.characters.saturating_sub(credits);
    }
}

impl Face for ElevenLabs {
    fn desk(&self) -> &Arc<Desk> {
        &self.desk
    }

    fn credential_header(&self) -> &'static str {
        "xi-api-key"
    }

    fn authorize(&self, headers: &HeaderMap, _path: &str) -> Result<(), Refusal> {
        match headers.get("xi-api-key") {
            None => Err(Refusal::new(
                401,
                "needs_authorization",
                "Neither authorization header nor xi-api-key received, please provide one.",
            )),
            Some(key) if key.as_bytes() == self.desk.keys.elevenlabs.as_bytes() => Ok(()),
            Some(_) => Err(self.refusal(Class::Unauthorized)),
        }
    }

    fn envelope(&self, refusal: &Refusal, request_id: &str) -> Value {
        // Schema validation has a form of its own.
        if refusal.status == 422
            && let Some(param) = &refusal.param
        {
            return json!({"detail": [{
                "loc": ["body", param], "msg": refusal.message, "type": refusal.code,
            }]});
        }
        let kind = match refusal.status {
            401 => "authentication_error",
            402 => "payment_required",
            403 => "authorization_error",
            404 => "not_found",
            429 => "rate_limit_error",
            500.. => "internal_error",
            _ => "validation_error",
        };
        let mut detail = json!({
            "type": kind,
            "code": refusal.code,
            "message": refusal.message,
            "status": refusal.code,
            "request_id": request_id,
        });
        if let Some(param) = &refusal.param {
            detail["param"] = json!(param);
        }
        json!({"detail": detail})
    }

    fn refusal(&self, class: Class) -> Refusal {
        match class {
            Class::Unauthorized => Refusal::new(401, "invalid_api_key", "Invalid API key"),
            Class::Forbidden => Refusal::new(
                401,
                "missing_permissions",
                "The API key you used is missing the permission text_to_speech",
            ),
            Class::QuotaExhausted => Refusal::new(
                401,
                "quota_exceeded",
                "This request exceeds your quota. You have 12 credits remaining, while 450 \
                 credits are required for this request.",
            ),
            Class::RateLimited => {
                Refusal::new(429, "rate_limit_exceeded", "Too many requests").retry_after(1)
            }
            Class::NoSlot => Refusal::new(
                429,
                "concurrent_limit_exceeded",
                "Too many concurrent requests",
            ),
            Class::ContentRejected => Refusal::new(
                400,
                "content_policy_violation",
                "The text violates our terms of service",
            ),
            Class::InvalidInput | Class::Conflict => {
                Refusal::new(400, "invalid_parameters", "Invalid parameters")
            }
            Class::NotFound => Refusal::new(404, "not_found", "Not found"),
            Class::Unavailable => Refusal::new(503, "service_unavailable", "Service unavailable"),
            Class::InternalError => Refusal::new(500, "internal_error", "Internal error"),
        }
    }

    fn bills(&self, route: &str) -> bool {
        route.starts_with("POST /v1/text-to-speech/")
    }

    fn request_id_header(&self) -> Option<&'static str> {
        Some("request-id")
    }

    fn reset(&self) {
        *self.store() = Store::default();
    }
}

pub(crate) fn build(desk: Arc<Desk>) -> (Router, Vec<String>, Arc<dyn Face>) {
    let elevenlabs = Arc::new(ElevenLabs {
        desk,
        store: Mutex::default(),
    });
    let face: Arc<dyn Face> = elevenlabs.clone();
    let (router, list) = Routes::new()
        .post("/v1/text-to-speech/{voice_id}", speak::plain)
        .post(
            "/v1/text-to-speech/{voice_id}/with-timestamps",
            speak::with_timestamps,
        )
        .post("/v1/text-to-speech/{voice_id}/stream", speak::stream)
        .post(
            "/v1/text-to-speech/{voice_id}/stream/with-timestamps",
            speak::stream_with_timestamps,
        )
        .get("/v1/history", history::list)
        .get("/v1/history/{history_item_id}", history::one)
        .delete("/v1/history/{history_item_id}", history::delete)
        .get("/v1/history/{history_item_id}/audio", history::audio)
        .get("/v1/models", catalog::models)
        .get("/v1/voices", catalog::voices_v1)
        .get("/v1/voices/{voice_id}", catalog::one_voice)
        .get("/v2/voices", catalog::voices)
        .get("/v1/user/subscription", catalog::subscription)
        .get("/v1/user", catalog::user)
        .behind_gate(elevenlabs, face.clone());
    (router, list, face)
}
