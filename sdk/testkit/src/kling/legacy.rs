//! The legacy routes that make and show tasks.

use std::sync::Arc;

use axum::{
    Extension,
    extract::{Path, State},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{Dialect, Kling, Order, Task, create, invalid, missing, picture, succeeded, tasks};
use crate::{
    call::{Call, text},
    media::{Figure, Film, Sound, size, size_like},
    refusal::{Answer, Refusal},
    run::Phase,
};

/// Largest sound file: 5 MB.
const SOUND_LIMIT: usize = 5 * 1024 * 1024;
const MODELS: [&str; 4] = [
    "kling-v2-5-turbo",
    "kling-v2-6",
    "kling-v3",
    "kling-v3-omni",
];

/// The task as the legacy routes show it.
pub(super) fn show_in(kling: &Kling, task: &Task, phase: Phase) -> Value {
    let mut shown = json!({
        "task_id": task.id,
        "task_status": tasks::status_in(task, phase, "succeed"),
        "task_status_msg":
            if phase == Phase::Failed { tasks::failure(task) } else { String::new() },
        "task_info": {"external_task_id": task.external_id.as_deref().unwrap_or_default()},
        "created_at": task.run.started_ms,
        "updated_at": task.run.updated_ms(),
    });
    if phase == Phase::Done {
        let link = kling.video_link(task);
        let url = if task.run.link_is_there() {
            link
        } else {
            String::new()
        };
        shown["task_result"] = json!({"videos": [{
            "id": format!("{}1", task.id), "url": url, "watermark_url": "",
            "duration": tasks::length(task),
        }]});
        shown["final_unit_deduction"] = json!(tasks::amount(task.units));
    }
    shown
}

/// The answer to the call that made the task.
pub(super) fn created(task: &Task) -> Value {
    json!({
        "task_id": task.id,
        "task_status": "submitted",
        "task_info": {"external_task_id": task.external_id.as_deref().unwrap_or_default()},
        "created_at": task.run.started_ms,
        "updated_at": task.run.started_ms,
    })
}

fn body_of(call: &Call) -> Result<Value, Refusal> {
    call.json()
        .ok_or_else(|| Refusal::new(400, "1200", "the body is not a JSON object"))
}

/// Fields that all routes share: length in seconds, whether with sound, units a second.
fn common(body: &Value) -> Result<(f64, bool, f64), Refusal> {
    let name = text(body, "model_name").unwrap_or("kling-v2-5-turbo");
    if !MODELS.contains(&name) {
        return Err(Refusal::new(
            404,
            "1203",
            format!("model {name} is not found"),
        ));
    }
    let is_new = name.starts_with("kling-v3");
    let seconds = match body.get("duration") {
        None | Some(Value::Null) => 5.0,
        Some(Value::String(text)) => text
            .parse::<u8>()
            .ok()
            .filter(|seconds| {
                if is_new {
                    (3..=15).contains(seconds)
                } else {
                    matches!(seconds, 5 | 10)
                }
            })
            .map(f64::from)
            .ok_or_else(|| invalid("duration is invalid"))?,
        Some(_) => return Err(invalid("duration must be a string")),
    };
    let is_pro = match text(body, "mode").unwrap_or("std") {
        "std" => false,
        "pro" => true,
        _ => return Err(invalid("mode is invalid")),
    };
    let has_sound = match text(body, "sound").unwrap_or("off") {
        "off" => false,
        "on" => true,
        _ => return Err(invalid("sound is invalid")),
    };
    for field in ["prompt", "negative_prompt"] {
        if text(body, field).is_some_and(|prompt| prompt.chars().count() > 2_500) {
            return Err(invalid(format!("{field} must be at most 2500 characters")));
        }
    }
    let units = match (is_new, is_pro) {
        (true, true) => 0.8,
        (true, false) => 0.6,
        (false, true) => 0.5,
        (false, false) => 0.3,
    };
    Ok((
        seconds,
        has_sound,
        if has_sound { units * 1.5 } else { units },
    ))
}

pub(super) async fn accept(
    kling: &Arc<Kling>,
    call: &Call,
    body: &Value,
    kind: &'static str,
    film: Film,
    units: f64,
) -> Answer {
    let order = Order {
        external_id: text(body, "external_task_id").map(str::to_owned),
        callback_url: create::callback(text(body, "callback_url"))?,
        dialect: Dialect::Legacy,
        kind,
        film,
        watermark: false,
        units,
    };
    let task = kling.accept(call, order).await?;
    Ok(succeeded(call, &created(&task)))
}

fn clip_sound(has_sound: bool) -> Sound {
    if has_sound {
        Sound::Ambience
    } else {
        Sound::Silent
    }
}

pub(super) async fn text2video(
    State(kling): State<Arc<Kling>>,
    Extension(call): Extension<Call>,
) -> Answer {
    let body = body_of(&call)?;
    let prompt = text(&body, "prompt").ok_or_else(|| missing("prompt"))?;
    let (seconds, has_sound, units) = common(&body)?;
    let ratio = text(&body, "aspect_ratio").unwrap_or("16:9");
    if !matches!(ratio, "16:9" | "9:16" | "1:1") {
        return Err(invalid("aspect_ratio is invalid"));
    }
    let seed = create::seed_of(prompt);
    let mut film = Film::new(size(ratio), seconds, clip_sound(has_sound), seed).described(prompt);
    film.figure = Figure::Product;
    accept(&kling, &call, &body, "text2video", film, units * seconds).await
}

pub(super) async fn image2video(
    State(kling): State<Arc<Kling>>,
    Extension(call): Extension<Call>,
) -> Answer {
    let body = body_of(&call)?;
    let source = text(&body, "image").ok_or_else(|| missing("image"))?;
    let (seconds, has_sound, units) = common(&body)?;
    let (path, (width, height)) = kling.picture(source).await?;
    let prompt = text(&body, "prompt").unwrap_or_default();
    let sound = clip_sound(has_sound);
    let mut film = Film::new(size_like(width, height), seconds, sound, 1).described(prompt);
    film.picture = Some(path);
    accept(&kling, &call, &body, "image2video", film, units * seconds).await
}

/// A sound file that came as a URL or as base64, and its length.
pub(super) async fn sound(
    kling: &Kling,
    body: &Value,
    range: std::ops::RangeInclusive<f64>,
) -> Result<(std::path::PathBuf, f64), Refusal> {
    let source = text(body, "sound_file").ok_or_else(|| missing("sound_file"))?;
    let bytes = if source.starts_with("http://") || source.starts_with("https://") {
        picture::download(kling, source).await?
    } else {
        STANDARD
            .decode(source)
            .map_err(|_| invalid("sound_file is neither a URL nor base64"))?
    };
    if bytes.len() > SOUND_LIMIT {
        return Err(invalid("sound_file is larger than 5MB"));
    }
    let studio = &kling.desk.studio;
    let path = studio.keep(&bytes, "sound").await.map_err(|error| {
        kling.desk.trouble("a sound was not kept", &error);
        Refusal::new(500, "5000", "server internal error")
    })?;
    match studio.probe(&path).await {
        Ok(probe) if probe.has_audio && range.contains(&probe.seconds) => Ok((path, probe.seconds)),
        Ok(probe) if probe.has_audio => Err(invalid(format!(
            "sound_file must last {} to {} seconds",
            range.start(),
            range.end()
        ))),
        _ => Err(invalid("sound_file cannot be read")),
    }
}

/// `POST /v1/videos/avatar/image2video`: a picture that speaks a sound file.
pub(super) async fn avatar(
    State(kling): State<Arc<Kling>>,
    Extension(call): Extension<Call>,
) -> Answer {
    let body = body_of(&call)?;
    let source = text(&body, "image").ok_or_else(|| missing("image"))?;
    let (_, _, _) = common(&body)?;
    let (path, (width, height)) = kling.picture(source).await?;
    let (sound, seconds) = self::sound(&kling, &body, 2.0..=300.0).await?;
    let mut film = Film::new(size_like(width, height), seconds, Sound::File(sound), 1);
    film.picture = Some(path);
    let units = if text(&body, "mode") == Some("pro") {
        0.8
    } else {
        0.4
    };
    accept(&kling, &call, &body, "avatar", film, units * seconds).await
}

/// By the vendor's id or by the caller's.
pub(super) async fn one(
    State(kling): State<Arc<Kling>>,
    Path(id): Path<String>,
    Extension(call): Extension<Call>,
) -> Answer {
    let task = kling
        .task(&id)
        .or_else(|| kling.task_by_external(&id))
        .ok_or_else(|| Refusal::new(404, "1203", "task not found"))?;
    Ok(succeeded(&call, &show_in(&kling, &task, task.run.phase())))
}

/// One page, newest first: `pageNum` 1 to 1,000, `pageSize` 1 to 500.
pub(super) fn page(kling: &Kling, call: &Call, kind: &str) -> Answer {
    let query = call.query();
    let number = |name: &str, default: usize, most: usize| -> Result<usize, Refusal> {
        match query.get(name) {
            None => Ok(default),
            Some(text) => text
                .parse()
                .ok()
                .filter(|number| (1..=most).contains(number))
                .ok_or_else(|| invalid(format!("{name} is invalid"))),
        }
    };
    let (page, size) = (number("pageNum", 1, 1_000)?, number("pageSize", 30, 500)?);
    let matching: Vec<Arc<Task>> = {
        let store = kling.store();
        let of_kind = store.tasks.iter().rev().filter(|task| task.kind == kind);
        of_kind
            .skip((page - 1) * size)
            .take(size)
            .cloned()
            .collect()
    };
    let shown: Vec<Value> = matching
        .iter()
        .map(|task| show_in(kling, task, task.run.phase()))
        .collect();
    Ok(succeeded(call, &Value::Array(shown)))
}

pub(super) async fn list_text2video(
    State(kling): State<Arc<Kling>>,
    Extension(call): Extension<Call>,
) -> Answer {
    page(&kling, &call, "text2video")
}

pub(super) async fn list_image2video(
    State(kling): State<Arc<Kling>>,
    Extension(call): Extension<Call>,
) -> Answer {
    page(&kling, &call, "image2video")
}

pub(super) async fn list_avatar(
    State(kling): State<Arc<Kling>>,
    Extension(call): Extension<Call>,
) -> Answer {
    page(&kling, &call, "avatar")
}
