//! Is the process alive, and can it do its work?

use axum::{Json, Router, extract::State, http::StatusCode, routing::get};
use genvid_runtime::Runtime;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::{
    adapters::sql::Database, config::Role, jobs::remote::Reach, providers::Registry, worker::Gauge,
};

/// What health checks ask.
#[derive(Clone)]
pub struct Health {
    /// The truth.
    pub database: Database,
    /// Providers.
    pub registry: Registry,
    /// The sandbox.
    pub runtime: Runtime,
    /// How the worker is doing.
    pub gauge: watch::Receiver<Gauge>,
    /// How well nodes hear each other, where they do.
    pub reach: Option<watch::Receiver<Reach>>,
    /// What this node does.
    pub role: Role,
}

pub(super) fn router(health: Health) -> Router {
    Router::new()
        .route("/livez", get(alive))
        .route("/readyz", get(ready))
        .with_state(health)
}

async fn alive() -> &'static str {
    "ok"
}

/// 200 when the database answers. Without Redis everything works, only slower, and with a plugin
/// that cannot be loaded the one before it goes on: that is 200 too, and `degraded` names the
/// part. The rest is for people.
async fn ready(State(health): State<Health>) -> (StatusCode, Json<Value>) {
    let database = health.database.ping().await;
    if let Err(error) = &database {
        tracing::error!(error = error as &dyn std::error::Error, "not ready");
    }
    let redis = health.reach.as_ref().map(|reach| reach.borrow().is_whole());
    let mut degraded = Vec::new();
    if redis == Some(false) {
        degraded.push("redis");
    }
    let snapshot = health.registry.snapshot();
    if !snapshot.problems.is_empty() {
        degraded.push("plugins");
    }
    let (code, status) = match &database {
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        Ok(()) if degraded.is_empty() => (StatusCode::OK, "ready"),
        Ok(()) => (StatusCode::OK, "degraded"),
    };
    let gauge = *health.gauge.borrow();
    let providers: Vec<_> = snapshot
        .providers
        .iter()
        .map(|provider| {
            json!({
                "id": provider.id(),
                "version": provider.manifest().version,
                "available": provider.disabled.is_none(),
                "origin": provider.origin.as_str(),
                "concurrency": provider.concurrency,
            })
        })
        .collect();
    let problems: Vec<_> = snapshot
        .problems
        .iter()
        .map(|problem| {
            json!({
                "id": problem.provider,
                "version": problem.version,
                "reason": problem.reason,
            })
        })
        .collect();
    let role = match health.role {
        Role::All => "all",
        Role::Api => "api",
        Role::Worker => "worker",
    };
    let mut body = json!({
        "status": status,
        "role": role,
        "database": if database.is_ok() { "ok" } else { "failing" },
        "degraded": degraded,
        "plugins": {
            "liveInstances": health.runtime.live_instances(),
            "revision": snapshot.revision,
            "providers": providers,
            "kept": snapshot.kept.len(),
            "problems": problems,
        },
    });
    if health.role.works() {
        body["worker"] = json!({
            "waiting": gauge.waiting,
            "active": gauge.active,
            "queued": gauge.queued,
        });
    }
    if let Some(whole) = redis {
        body["redis"] = json!(if whole { "ok" } else { "away" });
    }
    (code, Json(body))
}
