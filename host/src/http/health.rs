//! Is the process alive, and can it do its work?

use axum::{Json, extract::State, http::StatusCode};
use serde_json::{Value, json};

use super::Shared;

pub(super) async fn alive() -> &'static str {
    "ok"
}

/// 200 when the database answers; the rest is for people.
pub(super) async fn ready(State(shared): State<Shared>) -> (StatusCode, Json<Value>) {
    let database = shared.database.ping().await;
    if let Err(error) = &database {
        tracing::error!(error = error as &dyn std::error::Error, "not ready");
    }
    let gauge = *shared.gauge.borrow();
    let providers: Vec<_> = shared
        .registry
        .all()
        .map(|provider| {
            json!({
                "id": provider.id(),
                "version": provider.manifest().version,
                "available": provider.disabled.is_none(),
            })
        })
        .collect();
    let status = if database.is_ok() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let body = json!({
        "status": if database.is_ok() { "ready" } else { "unavailable" },
        "database": if database.is_ok() { "ok" } else { "failing" },
        "worker": {"waiting": gauge.waiting, "active": gauge.active},
        "plugins": {"liveInstances": shared.runtime.live_instances(), "providers": providers},
    });
    (status, Json(body))
}
