//! HeyGen, API v3 (developers.heygen.com).

mod assets;
mod catalog;
mod create;
mod inputs;
mod people;
mod plan;
mod view;
mod webhooks;

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use axum::{
    Json, Router,
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use crate::{
    desk::Desk,
    gate::{Face, Routes},
    media::{Film, MediaLinks, Timeline},
    refusal::{Class, Refusal},
    run::Run,
};

/// Host of the links in answers.
pub(crate) const MEDIA_HOST: &str = "files.heygen.ai";
const CREATE: &str = "POST /v3/videos";

pub(crate) struct HeyGen {
    desk: Arc<Desk>,
    links: MediaLinks,
    store: Mutex<Store>,
}

#[derive(Default)]
struct Store {
    /// In the order in which they were made.
    videos: Vec<Arc<Video>>,
    by_id: HashMap<String, usize>,
    /// Those that were not finished when last looked at.
    open: Vec<Arc<Video>>,
    replays: HashMap<String, Replay>,
    assets: HashMap<String, Asset>,
    endpoints: BTreeMap<String, webhooks::Endpoint>,
    events: Vec<Value>,
    deleted: std::collections::HashSet<String>,
}

enum Replay {
    InFlight,
    Done { at: Instant, answer: Value },
}

struct Asset {
    path: PathBuf,
    mime: String,
    size: usize,
    name: String,
}

struct Video {
    id: String,
    title: Option<String>,
    callback_url: Option<String>,
    callback_id: Option<String>,
    film: Film,
    /// When each word is said; nothing for a film with a sound file.
    timeline: Option<Timeline>,
    subtitles: bool,
    /// Subtitles are also painted into a second film.
    captioned: Option<Film>,
    run: Run,
}

impl HeyGen {
    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn video(&self, id: &str) -> Option<Arc<Video>> {
        let store = self.store();
        if store.deleted.contains(id) {
            return None;
        }
        let index = *store.by_id.get(id)?;
        store.videos.get(index).cloned()
    }
}

impl Face for HeyGen {
    fn desk(&self) -> &Arc<Desk> {
        &self.desk
    }

    fn credential_header(&self) -> &'static str {
        "x-api-key"
    }

    fn authorize(&self, headers: &HeaderMap, _path: &str) -> Result<(), Refusal> {
        let given = headers.get("x-api-key").map(|value| value.as_bytes());
        if given == Some(self.desk.keys.heygen.as_bytes()) {
            Ok(())
        } else {
            Err(self.refusal(Class::Unauthorized))
        }
    }

    fn envelope(&self, refusal: &Refusal, _request_id: &str) -> Value {
        let mut error = json!({
            "code": refusal.code,
            "message": refusal.message,
            "doc_url": format!("https://developers.heygen.com/docs/error-codes#{}", refusal.code),
        });
        if let Some(param) = &refusal.param {
            error["param"] = json!(param);
        }
        json!({"error": error})
    }

    fn refusal(&self, class: Class) -> Refusal {
        match class {
            Class::Unauthorized => Refusal::new(401, "unauthorized", "Invalid API key"),
            Class::Forbidden => Refusal::new(
                403,
                "plan_upgrade_required",
                "Your plan does not include this feature",
            ),
            Class::QuotaExhausted => Refusal::new(402, "insufficient_credit", "Not enough balance"),
            Class::RateLimited => {
                Refusal::new(429, "rate_limit_exceeded", "Too many requests").retry_after(1)
            }
            Class::NoSlot => {
                Refusal::new(429, "rate_limit_exceeded", "Too many concurrent jobs").retry_after(1)
            }
            Class::ContentRejected => Refusal::new(
                400,
                "content_policy_violation",
                "The content violates our policy",
            ),
            Class::InvalidInput => Refusal::new(400, "invalid_parameter", "Invalid parameter"),
            Class::NotFound => Refusal::new(404, "not_found", "Not found"),
            Class::Conflict => Refusal::new(
                409,
                "request_in_progress",
                "A request with this idempotency key is in progress",
            ),
            Class::Unavailable => Refusal::new(
                503,
                "service_unavailable",
                "Service temporarily unavailable",
            ),
            Class::InternalError => Refusal::new(500, "internal_error", "Internal error"),
        }
    }

    fn bills(&self, route: &str) -> bool {
        route == CREATE
    }

    fn request_id_header(&self) -> Option<&'static str> {
        None
    }

    fn reset(&self) {
        *self.store() = Store::default();
    }
}

fn invalid(param: &str, message: impl Into<String>) -> Refusal {
    Refusal::new(400, "invalid_parameter", message).param(param)
}

fn data(value: &Value) -> Response {
    Json(json!({"data": value})).into_response()
}

pub(crate) fn build(desk: Arc<Desk>) -> (Router, Vec<String>, Arc<dyn Face>) {
    let heygen = Arc::new(HeyGen {
        links: MediaLinks::new(MEDIA_HOST, desk.token(32)),
        desk,
        store: Mutex::default(),
    });
    let face: Arc<dyn Face> = heygen.clone();
    let (router, list) = Routes::new()
        .post("/v3/videos", create::create)
        .get("/v3/videos/{video_id}", view::one)
        .delete("/v3/videos/{video_id}", view::delete)
        .get("/v3/videos/statuses", view::statuses)
        .get("/v3/avatars", catalog::groups)
        .get("/v3/avatars/looks", catalog::looks)
        .get("/v3/avatars/looks/{look_id}", catalog::one_look)
        .get("/v3/voices", catalog::voices)
        .get("/v3/users/me", catalog::me)
        .post("/v3/assets", assets::upload)
        .get("/v3/assets/{asset_id}", assets::one)
        .delete("/v3/assets/{asset_id}", assets::delete)
        .post("/v3/webhooks/endpoints", webhooks::register)
        .get("/v3/webhooks/endpoints", webhooks::endpoints)
        .delete("/v3/webhooks/endpoints/{endpoint_id}", webhooks::remove)
        .get("/v3/webhooks/events", webhooks::events)
        .get("/v3/videos", view::list)
        .get("/media/{file}", view::media)
        .get("/media/preview/{file}", catalog::preview)
        .get("/media/asset/{file}", assets::media)
        .behind_gate(heygen, face.clone());
    (router, list, face)
}
