//! Looking at tasks, their callbacks and their films.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::{Dialect, Kling, Task, invalid, legacy, succeeded};
use crate::{
    call::{Call, text},
    courier::{self, Letter},
    gate::Face,
    media::{expired, file},
    refusal::{Answer, Class, Refusal},
    run::{Phase, now_ms},
    signing,
};

/// Why a task failed, in the vendor's free words.
pub(super) fn failure(task: &Task) -> String {
    let (code, message) = task.run.twists.failure.clone().unwrap_or_default();
    message
        .or(code)
        .unwrap_or_else(|| "Failure to pass the risk control system".into())
}

pub(super) fn status_in(task: &Task, phase: Phase, success: &str) -> String {
    let word = task.run.twists.status_word.clone();
    match phase {
        Phase::Queued => "submitted".into(),
        Phase::Running => word.unwrap_or_else(|| "processing".into()),
        Phase::Done => success.into(),
        Phase::Failed => "failed".into(),
    }
}

/// The answer to the call that made the task.
pub(super) fn created(task: &Task) -> Value {
    json!({
        "id": task.id,
        "status": "submitted",
        "message": "",
        "create_time": task.run.started_ms,
        "update_time": task.run.started_ms,
        "external_id": task.external_id.as_deref().unwrap_or_default(),
    })
}

/// Length as the vendor writes it, for example `5.041`.
pub(super) fn length(task: &Task) -> String {
    format!("{:.3}", task.film.seconds)
}

impl Kling {
    pub(super) fn video_link(&self, task: &Task) -> String {
        let ttl = self.desk.profile().media_ttl;
        let name = format!("/media/{}.{}", task.id, task.film.extension());
        self.links.link(&name, ttl)
    }

    /// The task as `GET /tasks` shows it.
    fn show(&self, task: &Task) -> Value {
        self.show_in(task, task.run.phase())
    }

    fn show_in(&self, task: &Task, phase: Phase) -> Value {
        let mut shown = json!({
            "id": task.id,
            "status": status_in(task, phase, "succeeded"),
            "message": if phase == Phase::Failed { failure(task) } else { String::new() },
            "create_time": task.run.started_ms,
            "update_time": task.run.updated_ms(),
            "external_id": task.external_id.as_deref().unwrap_or_default(),
        });
        if phase == Phase::Done {
            let link = self.video_link(task);
            let url = if task.run.link_is_there() {
                link.clone()
            } else {
                String::new()
            };
            let watermark_url = if task.watermark { link } else { String::new() };
            shown["outputs"] = json!([{
                "type": "video", "id": format!("{}1", task.id), "url": url,
                "watermark_url": watermark_url, "duration": length(task),
            }]);
            shown["billing"] = json!([{
                "charge_type": "unit", "package_type": "video",
                "amount": amount(task.units), "list_price": amount(task.units * 0.14),
                "currency": "USD",
            }]);
        }
        shown
    }
}

/// A number as text without needless zeros.
pub(super) fn amount(value: f64) -> String {
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// `GET /tasks?task_ids=` or `?external_task_ids=`. Ids that do not exist are left out; what
/// the vendor does with them is not documented.
pub(super) async fn query(
    State(kling): State<Arc<Kling>>,
    Extension(call): Extension<Call>,
) -> Answer {
    let query = call.query();
    let ids = |name: &str| -> Vec<String> {
        query
            .get(name)
            .map(|ids| {
                ids.split(',')
                    .map(|id| id.trim().to_owned())
                    .filter(|id| !id.is_empty())
                    .collect()
            })
            .unwrap_or_default()
    };
    let (by_id, by_external) = (ids("task_ids"), ids("external_task_ids"));
    let tasks: Vec<Arc<Task>> = match (by_id.is_empty(), by_external.is_empty()) {
        (true, true) => {
            let message = "task_ids or external_task_ids is required";
            return Err(Refusal::new(400, "1200", message));
        }
        (false, false) => {
            return Err(invalid("task_ids and external_task_ids exclude each other"));
        }
        (false, true) => by_id.iter().filter_map(|id| kling.task(id)).collect(),
        (true, false) => by_external
            .iter()
            .filter_map(|id| kling.task_by_external(id))
            .collect(),
    };
    let shown: Vec<Value> = tasks.iter().map(|task| kling.show(task)).collect();
    Ok(succeeded(&call, &Value::Array(shown)))
}

/// Milliseconds, as text or as a number.
fn moment(body: &Value, name: &str) -> Result<Option<i64>, Refusal> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Number(number)) => Ok(number.as_i64()),
        Some(Value::String(text)) => text
            .parse()
            .map(Some)
            .map_err(|_| invalid(format!("{name} is invalid"))),
        Some(_) => Err(invalid(format!("{name} is invalid"))),
    }
}

/// `POST /tasks`: newest first, with filters and a cursor.
pub(super) async fn list(
    State(kling): State<Arc<Kling>>,
    Extension(call): Extension<Call>,
) -> Answer {
    let body = call.json().unwrap_or_else(|| json!({}));
    let month = 30 * 24 * 3_600 * 1_000;
    let start = moment(&body, "start_time")?.unwrap_or_else(|| now_ms() - month);
    let end = moment(&body, "end_time")?.unwrap_or(i64::MAX);
    let limit = match body.get("limit") {
        None | Some(Value::Null) => 100,
        Some(value) => value
            .as_u64()
            .and_then(|limit| usize::try_from(limit).ok())
            .filter(|limit| (1..=500).contains(limit))
            .ok_or_else(|| invalid("limit must be 1 to 500"))?,
    };
    let skip: usize = match text(&body, "cursor") {
        None => 0,
        Some(cursor) => cursor.parse().map_err(|_| invalid("cursor is invalid"))?,
    };
    let filters: Vec<(&str, Vec<&str>)> = body
        .get("filters")
        .and_then(Value::as_array)
        .map(|filters| {
            filters
                .iter()
                .filter_map(|filter| {
                    let values = filter.get("values")?.as_array()?;
                    let values = values.iter().filter_map(Value::as_str).collect();
                    Some((text(filter, "key")?, values))
                })
                .collect()
        })
        .unwrap_or_default();
    let all: Vec<Arc<Task>> = kling.store().tasks.iter().rev().cloned().collect();
    let matching: Vec<&Arc<Task>> = all
        .iter()
        .filter(|task| (start..=end).contains(&task.run.started_ms))
        .filter(|task| {
            let status = status_in(task, task.run.phase(), "succeeded");
            filters.iter().all(|(key, values)| match *key {
                "status" => values.contains(&status.as_str()),
                "product_type" => values.contains(&task.kind),
                _ => true,
            })
        })
        .collect();
    let until = skip.saturating_add(limit).min(matching.len());
    let page = matching.get(skip..until).unwrap_or_default();
    let result: Vec<Value> = page.iter().map(|task| kling.show(task)).collect();
    let next = if until < matching.len() {
        until.to_string()
    } else {
        String::new()
    };
    let data = json!({"count": result.len(), "result": result, "next_cursor": next});
    Ok(succeeded(&call, &data))
}

/// Lets a callback go out at each change of state.
pub(super) fn schedule(kling: &Arc<Kling>, task: &Arc<Task>) {
    let Some(url) = task.callback_url.clone() else {
        return;
    };
    let twists = &task.run.twists;
    let end = if twists.failure.is_some() {
        Phase::Failed
    } else {
        Phase::Done
    };
    let queued = task.run.queue_length();
    let mut changes = vec![(Duration::ZERO, Phase::Queued), (queued, Phase::Running)];
    if twists.hook_early {
        changes.push((Duration::ZERO, end));
    } else if !twists.stuck {
        changes.push((task.run.length(), end));
    }
    for (wait, phase) in changes {
        let (kling, task, url) = (kling.clone(), task.clone(), url.clone());
        let desk = kling.desk.clone();
        let twists = task.run.twists.clone();
        courier::post(desk, wait, twists, move || {
            letter(&kling, &task, phase, url)
        });
    }
}

fn letter(kling: &Kling, task: &Task, phase: Phase, url: String) -> Letter {
    let body = match task.dialect {
        Dialect::New => kling.show_in(task, phase),
        Dialect::Legacy => legacy::show_in(kling, task, phase),
    }
    .to_string();
    let event_id = format!("msg_{}", kling.desk.token(24));
    let mut headers = Vec::new();
    if let Some(secret) = &kling.desk.keys.kling_webhook {
        let timestamp = (now_ms() / 1_000).to_string();
        let secret = if task.run.twists.hook_forged {
            "whsec_Zm9yZ2Vk"
        } else {
            secret
        };
        let signature = signing::standard_webhook(secret, &event_id, &timestamp, body.as_bytes());
        headers.push(("webhook-id".into(), event_id.clone()));
        headers.push(("webhook-timestamp".into(), timestamp));
        headers.push(("webhook-signature".into(), signature));
    }
    Letter {
        url,
        event_id,
        headers,
        body: body.into(),
    }
}

/// The film of a finished task.
pub(super) async fn media(
    State(kling): State<Arc<Kling>>,
    Path(name): Path<String>,
    Extension(call): Extension<Call>,
) -> Response {
    let id = name.split('.').next().unwrap_or_default();
    let task = kling.task(id);
    let (true, Some(task)) = (kling.links.works(&format!("/media/{name}"), &call), task) else {
        return expired();
    };
    match kling.desk.studio.film(&task.film).await {
        Ok(path) => file(&path, task.film.mime(), &call.headers).await,
        Err(error) => {
            kling.desk.trouble("a film was not made", &error);
            kling.refusal(Class::InternalError).into_response()
        }
    }
}
