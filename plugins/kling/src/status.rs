//! `GET /tasks`: how far tasks are, and which one belongs to an attempt.

use genvid_sdk::prelude::*;
use serde::Deserialize;

use crate::model::{self, Route};
use crate::{api, billing, errors, speaking};

/// The most ids in one question. Kling publishes no limit.
const BATCH: usize = 30;

#[derive(Clone, Deserialize)]
struct Task {
    id: String,
    #[serde(default)]
    status: String,
    message: Option<String>,
    external_id: Option<String>,
    #[serde(default, deserialize_with = "or_empty")]
    outputs: Vec<Film>,
    #[serde(default, deserialize_with = "or_empty")]
    billing: Vec<Value>,
}

#[derive(Clone, Deserialize)]
struct Film {
    #[serde(rename = "type")]
    kind: Option<String>,
    url: Option<String>,
    watermark_url: Option<String>,
    duration: Option<Value>,
}

/// Lists that are not there yet may be absent or null.
fn or_empty<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::<Vec<T>>::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// All tasks of the newer routes in one question, those of the older ones one by one.
pub(crate) fn many(tasks: &[tasks::Task]) -> Vec<Result<Status>> {
    let mut answers: Vec<Option<Result<Status>>> = vec![None; tasks.len()];
    let mut newer = Vec::new();
    for (index, task) in tasks.iter().enumerate() {
        match task.id.strip_prefix(speaking::PREFIX) {
            Some(id) => answers[index] = Some(speaking::poll(id, &task.context)),
            None => newer.push(index),
        }
    }
    // Settings may differ between the tasks of two jobs, and with them the region.
    for group in newer.chunk_by(|a, b| tasks[*a].context.settings == tasks[*b].context.settings) {
        for chunk in group.chunks(BATCH) {
            let ids: Vec<&str> = chunk
                .iter()
                .map(|index| tasks[*index].id.as_str())
                .collect();
            let chunk_answers = batch(&ids, &tasks[chunk[0]].context);
            for (index, answer) in chunk.iter().zip(chunk_answers) {
                answers[*index] = Some(answer);
            }
        }
    }
    answers
        .into_iter()
        .map(|answer| answer.unwrap_or_else(|| Err(Error::unexpected("a task was left out"))))
        .collect()
}

fn batch(ids: &[&str], context: &Context) -> Vec<Result<Status>> {
    match get("task_ids", &ids.join(","), context) {
        Ok(found) => ids.iter().map(|id| pick(id, &found)).collect(),
        // Whether one unknown id is left out of the answer or spoils it is not documented.
        Err(error) if error.kind == ErrorKind::NotFound && ids.len() > 1 => ids
            .iter()
            .map(|id| pick(id, &get("task_ids", id, context)?))
            .collect(),
        Err(error) => ids.iter().map(|_| Err(error.clone())).collect(),
    }
}

fn pick(id: &str, found: &[Task]) -> Result<Status> {
    found
        .iter()
        .find(|task| task.id == id)
        .map(status)
        .ok_or_else(|| Error::not_found(format!("Kling knows no task {id}")))
}

fn get(parameter: &str, ids: &str, context: &Context) -> Result<Vec<Task>> {
    let base = api::base(context)?;
    api::ask(http::get(format!("{base}/tasks")).query(parameter, ids))
}

/// Words that are not known mean that the work goes on.
fn status(task: &Task) -> Status {
    match task.status.as_str() {
        "submitted" => Status::queued(),
        "succeeded" => match outputs(task) {
            outputs if outputs.is_empty() => Status::running("succeeded, without a URL so far"),
            outputs => Status::Done(Done {
                outputs,
                cost_micro_usd: cost(task),
            }),
        },
        "failed" => Status::Failed(errors::failure(task.message.clone())),
        word => Status::running(word),
    }
}

fn cost(task: &Task) -> Option<u64> {
    let lines: Option<Vec<billing::Line>> = task
        .billing
        .iter()
        .map(|line| serde_json::from_value(line.clone()).ok())
        .collect();
    billing::cost(&lines?)
}

/// The first film is the result; more films and watermarked copies are kept beside it.
fn outputs(task: &Task) -> Vec<Output> {
    let filled = |url: &Option<String>| url.clone().filter(|url| !url.is_empty());
    let films = task
        .outputs
        .iter()
        .filter(|film| film.kind.as_deref().is_none_or(|kind| kind == "video"));
    let mut outputs = Vec::new();
    for film in films {
        let length = film.duration.as_ref().and_then(speaking::seconds);
        if let Some(url) = filled(&film.url) {
            let role = if outputs.is_empty() {
                Role::Main
            } else {
                Role::Other
            };
            outputs.push(Output::url(role, url, "video/mp4").lasting(length));
            if let Some(url) = filled(&film.watermark_url) {
                outputs.push(Output::url(Role::Other, url, "video/mp4").lasting(length));
            }
        }
    }
    outputs
}

/// Asks for the caller's own id, on the route that the lost request had gone to.
pub(crate) fn find(lost: &tasks::Lost) -> Result<Option<String>> {
    let Some(request) = lost.video()? else {
        return Err(Error::unsupported(format!(
            "Kling makes films only, no {}",
            lost.kind
        )));
    };
    if model::of(&request)?.route == Route::Speaking {
        return speaking::find(&lost.context);
    }
    let client_ref = &lost.context.client_ref;
    match get("external_task_ids", client_ref, &lost.context) {
        Ok(found) => Ok(found
            .into_iter()
            .find(|task| task.external_id.as_ref().is_none_or(|id| id == client_ref))
            .map(|task| task.id)),
        Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
