//! Kling: the 2026 design, and the legacy routes for what only they offer.

mod account;
mod auth;
mod create;
mod legacy;
mod lipsync;
mod picture;
mod tasks;

use std::{
    collections::HashMap,
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
    call::Call,
    desk::Desk,
    gate::{Face, Routes},
    ledger::InvoiceCall,
    media::{Film, MediaLinks},
    refusal::{Class, Refusal},
    run::Run,
};

/// Host of the links in answers. Kling's documents name none, so this one is the simulator's
/// own choice.
pub(crate) const MEDIA_HOST: &str = "cdn.klingai.com";

pub(crate) struct Kling {
    desk: Arc<Desk>,
    links: MediaLinks,
    store: Mutex<Store>,
}

#[derive(Default)]
struct Store {
    /// In the order in which they were made.
    tasks: Vec<Arc<Task>>,
    by_id: HashMap<String, usize>,
    by_external: HashMap<String, usize>,
    /// Those that were not finished when last looked at.
    open: Vec<Arc<Task>>,
    sessions: HashMap<String, lipsync::Session>,
    last_costs: Option<Instant>,
}

/// In which words a task is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    New,
    Legacy,
}

struct Task {
    id: String,
    external_id: Option<String>,
    callback_url: Option<String>,
    dialect: Dialect,
    /// `text-to-video`, `image-to-video` and so on.
    kind: &'static str,
    film: Film,
    watermark: bool,
    /// Price in Kling's units of 0.14 USD.
    units: f64,
    run: Run,
}

/// A task that passed all checks.
struct Order {
    external_id: Option<String>,
    callback_url: Option<String>,
    dialect: Dialect,
    kind: &'static str,
    film: Film,
    watermark: bool,
    units: f64,
}

/// Price of one unit, millionths of a US dollar.
const UNIT_MICRO_USD: f64 = 140_000.0;

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "units times a price of a few cents"
)]
fn micro_usd(units: f64) -> u64 {
    (units * UNIT_MICRO_USD).round() as u64
}

impl Kling {
    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn task(&self, id: &str) -> Option<Arc<Task>> {
        let store = self.store();
        store.tasks.get(*store.by_id.get(id)?).cloned()
    }

    fn task_by_external(&self, id: &str) -> Option<Arc<Task>> {
        let store = self.store();
        store.tasks.get(*store.by_external.get(id)?).cloned()
    }

    /// Refuses an external id that is taken: it is unique for each account. That the code is
    /// 1201 is not documented; the documents only lead to expect that family.
    fn check_external(&self, external_id: Option<&str>) -> Result<(), Refusal> {
        match external_id {
            Some(id) if self.store().by_external.contains_key(id) => {
                Err(Refusal::new(400, "1201", "external_task_id already exists"))
            }
            _ => Ok(()),
        }
    }

    /// Takes the order, bills it and lets it run.
    async fn accept(self: &Arc<Self>, call: &Call, order: Order) -> Result<Arc<Task>, Refusal> {
        let profile = self.desk.profile();
        let refused = |refusal: Refusal| {
            let entry = InvoiceCall::refused(&call.route);
            call.book(&self.desk, entry.client_ref(order.external_id.clone()));
            refusal
        };
        self.check_external(order.external_id.as_deref())
            .map_err(refused)?;
        tokio::time::sleep(profile.accept).await;
        let film = if profile.distinct_films {
            order.film.clone()
        } else {
            order.film.clone().shared()
        };
        let task = Arc::new(Task {
            id: self.desk.digits(18),
            external_id: order.external_id.clone(),
            callback_url: order.callback_url.clone(),
            dialect: order.dialect,
            kind: order.kind,
            film,
            watermark: order.watermark,
            units: order.units,
            run: Run::start(&profile, call.twists.clone()),
        });
        {
            // Checked again under the lock: two calls with one id may have waited above.
            let mut store = self.store();
            if let Some(id) = &task.external_id
                && store.by_external.contains_key(id)
            {
                drop(store);
                self.check_external(Some(id)).map_err(refused)?;
                return Err(self.refusal(Class::InternalError));
            }
            store.open.retain(|task| task.run.is_open());
            let limit = self.desk.limit();
            if limit > 0 && store.open.len() >= limit {
                drop(store);
                return Err(refused(self.refusal(Class::NoSlot)));
            }
            let index = store.tasks.len();
            store.tasks.push(task.clone());
            store.by_id.insert(task.id.clone(), index);
            if let Some(id) = &task.external_id {
                store.by_external.insert(id.clone(), index);
            }
            if task.run.is_open() {
                store.open.push(task.clone());
            }
        }
        let billed = InvoiceCall::billed(
            &call.route,
            &task.id,
            "video",
            task.film.seconds,
            micro_usd(task.units),
        );
        call.book(&self.desk, billed.client_ref(task.external_id.clone()));
        tasks::schedule(self, &task);
        Ok(task)
    }

    /// Where a picture that came as a URL or as raw base64 is kept.
    async fn picture(&self, source: &str) -> Result<(PathBuf, (u32, u32)), Refusal> {
        picture::picture(self, source).await
    }
}

impl Face for Kling {
    fn desk(&self) -> &Arc<Desk> {
        &self.desk
    }

    fn credential_header(&self) -> &'static str {
        "authorization"
    }

    fn authorize(&self, headers: &HeaderMap, path: &str) -> Result<(), Refusal> {
        auth::authorize(&self.desk.keys, headers, path)
    }

    fn envelope(&self, refusal: &Refusal, request_id: &str) -> Value {
        // A fault may name a code that is no number; the envelope needs one.
        let code: i64 = refusal.code.parse().unwrap_or(5000);
        json!({"code": code, "message": refusal.message, "request_id": request_id})
    }

    fn refusal(&self, class: Class) -> Refusal {
        let (status, code, message) = match class {
            Class::Unauthorized => (401, "1002", "access key not found"),
            Class::Forbidden => (403, "1103", "no permission to access this resource"),
            Class::QuotaExhausted => (429, "1102", "Account balance not enough"),
            Class::RateLimited => (429, "1302", "API request too fast, exceeding the limit"),
            Class::NoSlot => (429, "1303", "parallel task over resource pack limit"),
            Class::ContentRejected => (400, "1301", "Failure to pass the risk control system"),
            Class::InvalidInput | Class::Conflict => (400, "1201", "invalid parameter"),
            Class::NotFound => (404, "1203", "the requested resource does not exist"),
            Class::Unavailable => (503, "5001", "server is temporarily unavailable"),
            Class::InternalError => (500, "5000", "server internal error"),
        };
        Refusal::new(status, code, message)
    }

    fn bills(&self, route: &str) -> bool {
        route.starts_with("POST ") && route != "POST /tasks" && !route.ends_with("/identify-face")
    }

    fn request_id_header(&self) -> Option<&'static str> {
        None
    }

    fn reset(&self) {
        *self.store() = Store::default();
    }
}

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new(400, "1201", message)
}

fn missing(name: &str) -> Refusal {
    Refusal::new(400, "1200", format!("{name} is required"))
}

/// The success envelope.
fn succeeded(call: &Call, data: &Value) -> Response {
    Json(json!({
        "code": 0,
        "message": "SUCCEED",
        "request_id": call.request_id.as_ref(),
        "data": data,
    }))
    .into_response()
}

pub(crate) fn build(desk: Arc<Desk>) -> (Router, Vec<String>, Arc<dyn Face>) {
    let kling = Arc::new(Kling {
        links: MediaLinks::new(MEDIA_HOST, desk.token(32)),
        desk,
        store: Mutex::default(),
    });
    let face: Arc<dyn Face> = kling.clone();
    let (router, list) = Routes::new()
        .post("/text-to-video/{model}", create::text_to_video)
        .post("/image-to-video/{model}", create::image_to_video)
        .post("/omni-video/{model}", create::omni_video)
        .get("/tasks", tasks::query)
        .post("/tasks", tasks::list)
        .get("/account/costs", account::costs)
        .post("/v1/videos/text2video", legacy::text2video)
        .get("/v1/videos/text2video", legacy::list_text2video)
        .get("/v1/videos/text2video/{id}", legacy::one)
        .post("/v1/videos/image2video", legacy::image2video)
        .get("/v1/videos/image2video", legacy::list_image2video)
        .get("/v1/videos/image2video/{id}", legacy::one)
        .post("/v1/videos/avatar/image2video", legacy::avatar)
        .get("/v1/videos/avatar/image2video", legacy::list_avatar)
        .get("/v1/videos/avatar/image2video/{id}", legacy::one)
        .post("/v1/videos/identify-face", lipsync::identify_face)
        .post("/v1/videos/advanced-lip-sync", lipsync::lip_sync)
        .get("/v1/videos/advanced-lip-sync", lipsync::list)
        .get("/v1/videos/advanced-lip-sync/{id}", legacy::one)
        .get("/media/{file}", tasks::media)
        .behind_gate(kling, face.clone());
    (router, list, face)
}
