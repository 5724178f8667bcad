//! Pictures that speak: only the older routes make them.
//!
//! Source: "Avatar" in the documentation of the legacy design. Their words differ: `succeed`
//! for success, `task_id` for the id, numbers as text.

use genvid_sdk::prelude::*;
use serde::{Deserialize, Serialize};

use crate::create::{self, Options, Resolution};
use crate::{api, billing, errors};

/// Tells the ids of these routes from the others.
pub(crate) const PREFIX: &str = "legacy-avatar:";
const PATH: &str = "v1/videos/avatar/image2video";

#[derive(Serialize)]
struct Body<'a> {
    image: String,
    sound_file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt: Option<&'a str>,
    mode: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    callback_url: Option<&'a str>,
    external_task_id: &'a str,
}

#[derive(Deserialize)]
struct Task {
    task_id: String,
    #[serde(default)]
    task_status: String,
    task_status_msg: Option<String>,
    task_result: Option<TaskResult>,
    final_unit_deduction: Option<Value>,
}

#[derive(Deserialize)]
struct TaskResult {
    #[serde(default)]
    videos: Vec<Film>,
}

#[derive(Deserialize)]
struct Film {
    url: Option<String>,
    duration: Option<Value>,
}

/// `POST /v1/videos/avatar/image2video`. Audio of 2 to 300 s, at most 5 MB.
pub(crate) fn submit(
    request: &video::Request,
    audio: &Media,
    options: &Options,
    context: &Context,
) -> Result<Submission> {
    let image = request
        .images
        .first()
        .ok_or_else(|| Error::invalid("images", "a picture of the person who speaks is needed"))?;
    let body = Body {
        image: create::picture(image)?,
        sound_file: match audio {
            Media::Url(url) => url.clone(),
            Media::Asset(asset) => http::base64(asset),
            Media::Text(_) => {
                return Err(Error::invalid(
                    "speech.audio",
                    "audio is a URL or an asset, not text",
                ));
            }
        },
        prompt: request.prompt.as_deref(),
        mode: match options.resolution {
            Resolution::P720 => "std",
            Resolution::P1080 => "pro",
        },
        callback_url: context.callback_url.as_deref(),
        external_task_id: &context.client_ref,
    };
    let base = api::base(context)?;
    let call = http::post(format!("{base}/{PATH}"))
        .timeout_ms(create::TIMEOUT_MS)
        .json_with_assets(&body)?;
    let task: Task = api::submit(call)?;
    Ok(Submission::Accepted(format!("{PREFIX}{}", task.task_id)))
}

/// `GET /v1/videos/avatar/image2video/{id}`, without the prefix.
pub(crate) fn poll(id: &str, context: &Context) -> Result<Status> {
    Ok(status(get(id, context)?))
}

/// The same route takes the caller's own id.
pub(crate) fn find(context: &Context) -> Result<Option<String>> {
    match get(&context.client_ref, context) {
        Ok(task) => Ok(Some(format!("{PREFIX}{}", task.task_id))),
        Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn get(id: &str, context: &Context) -> Result<Task> {
    let base = api::base(context)?;
    api::ask(http::get(format!("{base}/{PATH}/{}", http::segment(id)?)))
}

fn status(task: Task) -> Status {
    match task.task_status.as_str() {
        "submitted" => Status::queued(),
        "succeed" | "succeeded" => {
            let outputs = outputs(task.task_result);
            if outputs.is_empty() {
                return Status::running("succeeded, without a URL so far");
            }
            Status::Done(Done {
                outputs,
                cost_micro_usd: task.final_unit_deduction.as_ref().and_then(billing::units),
            })
        }
        "failed" => Status::Failed(errors::failure(task.task_status_msg)),
        word => Status::running(word),
    }
}

fn outputs(result: Option<TaskResult>) -> Vec<Output> {
    let films = result.map(|result| result.videos).unwrap_or_default();
    films
        .into_iter()
        .filter_map(|film| Some((film.url.filter(|url| !url.is_empty())?, film.duration)))
        .enumerate()
        .map(|(index, (url, duration))| {
            let role = if index == 0 { Role::Main } else { Role::Other };
            Output::url(role, url, "video/mp4").lasting(duration.as_ref().and_then(seconds))
        })
        .collect()
}

/// A number that may come as text.
pub(crate) fn seconds(value: &Value) -> Option<f64> {
    match value {
        Value::String(text) => text.trim().parse().ok(),
        other => other.as_f64(),
    }
}
