//! Webhooks: registered endpoints and `callback_url`.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension,
    extract::{Path, State},
};
use serde_json::{Value, json};

use super::{HeyGen, Video, data, invalid, view};
use crate::{
    call::{Call, text},
    courier::{self, Letter},
    refusal::{Answer, Refusal},
    run::now_ms,
    signing,
};

/// Most events that are kept for `GET /v3/webhooks/events`.
const KEPT_EVENTS: usize = 1_000;

#[derive(Clone)]
pub(super) struct Endpoint {
    url: String,
    /// Nothing: all of them.
    events: Option<Vec<String>>,
    secret: String,
    created_at: i64,
}

fn show(id: &str, endpoint: &Endpoint) -> Value {
    json!({
        "endpoint_id": id,
        "url": endpoint.url,
        "events": endpoint.events,
        "status": "enabled",
        "created_at": endpoint.created_at,
    })
}

pub(super) async fn register(
    State(heygen): State<Arc<HeyGen>>,
    Extension(call): Extension<Call>,
) -> Answer {
    let body = call.json().unwrap_or_default();
    let url = text(&body, "url").filter(|url| url.starts_with("http"));
    let url = url.ok_or_else(|| invalid("url", "url is required"))?;
    let events = body.get("events").and_then(Value::as_array).map(|events| {
        events
            .iter()
            .filter_map(|event| event.as_str().map(str::to_owned))
            .collect()
    });
    let id = format!("ep_{}", heygen.desk.token(16));
    let endpoint = Endpoint {
        url: url.to_owned(),
        events,
        secret: heygen.desk.token(40),
        created_at: now_ms() / 1_000,
    };
    let mut shown = show(&id, &endpoint);
    shown["secret"] = json!(endpoint.secret);
    heygen.store().endpoints.insert(id, endpoint);
    Ok(data(&shown))
}

pub(super) async fn endpoints(
    State(heygen): State<Arc<HeyGen>>,
    Extension(call): Extension<Call>,
) -> Answer {
    let all: Vec<Value> = {
        let store = heygen.store();
        store
            .endpoints
            .iter()
            .map(|(id, endpoint)| show(id, endpoint))
            .collect()
    };
    view::page(&call, &all, 10, 100, Value::clone)
}

pub(super) async fn remove(State(heygen): State<Arc<HeyGen>>, Path(id): Path<String>) -> Answer {
    let removed = heygen.store().endpoints.remove(&id);
    removed.ok_or_else(|| Refusal::new(404, "webhook_not_found", "Webhook not found"))?;
    Ok(data(&json!({"id": id, "deleted": true})))
}

pub(super) async fn events(
    State(heygen): State<Arc<HeyGen>>,
    Extension(call): Extension<Call>,
) -> Answer {
    let wanted = call.query().get("event_type").cloned();
    let all: Vec<Value> = {
        let store = heygen.store();
        store
            .events
            .iter()
            .rev()
            .filter(|event| wanted.is_none() || text(event, "event_type") == wanted.as_deref())
            .cloned()
            .collect()
    };
    view::page(&call, &all, 10, 100, Value::clone)
}

/// Lets the webhooks of a video go out when it ends.
pub(super) fn schedule(heygen: &Arc<HeyGen>, video: &Arc<Video>) {
    let twists = video.run.twists.clone();
    if twists.stuck && !twists.hook_early {
        return;
    }
    let mut targets: Vec<(String, String)> = Vec::new();
    if let Some(url) = &video.callback_url {
        targets.push((url.clone(), heygen.desk.keys.heygen_webhook.clone()));
    }
    let event_type = if twists.failure.is_some() {
        "avatar_video.fail"
    } else {
        "avatar_video.success"
    };
    for endpoint in heygen.store().endpoints.values() {
        let wanted = endpoint.events.as_ref();
        if wanted.is_none_or(|events| events.iter().any(|event| event == event_type)) {
            targets.push((endpoint.url.clone(), endpoint.secret.clone()));
        }
    }
    let wait = if twists.hook_early {
        Duration::ZERO
    } else {
        video.run.length()
    };
    for (url, secret) in targets {
        let heygen = heygen.clone();
        let desk = heygen.desk.clone();
        let video = video.clone();
        let forged = twists.hook_forged;
        courier::post(desk, wait, twists.clone(), move || {
            letter(&heygen, &video, url, &secret, event_type, forged)
        });
    }
}

fn letter(
    heygen: &HeyGen,
    video: &Video,
    url: String,
    secret: &str,
    event_type: &str,
    forged: bool,
) -> Letter {
    let event_id = format!("evt_{}", heygen.desk.token(24));
    let mut event = json!({"video_id": video.id, "callback_id": video.callback_id});
    if event_type == "avatar_video.fail" {
        event["msg"] = json!(view::failure(video).map(|(_, message)| message));
    } else {
        let ttl = heygen.desk.profile().media_ttl;
        let link = |name: String| heygen.links.link(&format!("/media/{name}"), ttl);
        let id = &video.id;
        event["url"] = json!(link(format!("{id}.{}", video.film.extension())));
        event["gif_download_url"] = json!(link(format!("{id}.gif")));
        event["video_page_url"] = json!(format!("https://app.heygen.com/videos/{id}"));
        event["video_share_page_url"] = json!(format!("https://app.heygen.com/share/{id}"));
        event["folder_id"] = Value::Null;
    }
    {
        let mut store = heygen.store();
        if store.events.len() == KEPT_EVENTS {
            store.events.remove(0);
        }
        store.events.push(json!({
            "event_id": event_id, "event_type": event_type,
            "event_data": event, "created_at": now_ms() / 1_000,
        }));
    }
    let body = json!({"event_type": event_type, "event_data": event}).to_string();
    let secret = if forged { "not-the-secret" } else { secret };
    Letter {
        url,
        headers: vec![
            (
                "heygen-signature".into(),
                signing::heygen(secret, body.as_bytes()),
            ),
            ("heygen-timestamp".into(), (now_ms() / 1_000).to_string()),
            ("heygen-event-id".into(), event_id.clone()),
        ],
        event_id,
        body: body.into(),
    }
}
