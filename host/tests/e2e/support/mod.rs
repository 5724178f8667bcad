//! The real binary, simulated vendors, and clients of the public API.

pub(crate) mod audit;
pub(crate) mod client;
pub(crate) mod crowd;
pub(crate) mod database;
pub(crate) mod files;
pub(crate) mod live;
pub(crate) mod outside;
pub(crate) mod plugins;
pub(crate) mod receiver;
pub(crate) mod seed;
pub(crate) mod server;
pub(crate) mod world;

use std::{
    future::Future,
    time::{Duration, Instant},
};

use serde_json::Value;

/// How long anything may take before a test gives up on it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(150);
/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(25);

/// Waits until `look` answers something; panics with `what` when it never does.
pub(crate) async fn until<T, F>(what: &str, mut look: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let began = Instant::now();
    loop {
        if let Some(value) = look().await {
            return value;
        }
        assert!(began.elapsed() < PATIENCE, "waited in vain for: {what}");
        tokio::time::sleep(LOOK).await;
    }
}

/// The text at a place of a JSON value; panics when there is none.
pub(crate) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_else(|| panic!("no text at {pointer} of {value:#}"))
}

/// The list at a place of a JSON value; panics when there is none.
pub(crate) fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value
        .pointer(pointer)
        .and_then(Value::as_array)
        .unwrap_or_else(|| panic!("no list at {pointer} of {value:#}"))
}

/// A step of a job.
pub(crate) fn step<'a>(job: &'a Value, kind: &str) -> &'a Value {
    list(job, "/steps")
        .iter()
        .find(|step| step["kind"] == kind)
        .unwrap_or_else(|| panic!("no step {kind} in {job:#}"))
}

/// The attempts of a step as `provider STATUS CHARGE`, oldest first.
pub(crate) fn attempts(job: &Value, kind: &str) -> Vec<String> {
    list(step(job, kind), "/attempts")
        .iter()
        .map(|attempt| {
            format!(
                "{} {} {}",
                text(attempt, "/provider"),
                text(attempt, "/status"),
                text(attempt, "/charge")
            )
        })
        .collect()
}

/// All attempts of a job.
pub(crate) fn all_attempts(job: &Value) -> Vec<&Value> {
    list(job, "/steps")
        .iter()
        .flat_map(|step| list(step, "/attempts"))
        .collect()
}
