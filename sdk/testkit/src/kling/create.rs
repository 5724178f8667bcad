//! Creating tasks in the new design.

use std::{path::PathBuf, sync::Arc};

use axum::{
    Extension,
    extract::{Path, State},
};
use serde_json::{Value, json};

use super::{Dialect, Kling, Order, invalid, missing, succeeded, tasks};
use crate::{
    call::{Call, text},
    media::{Figure, Film, Sound, size, size_like},
    refusal::{Answer, Refusal},
};

/// What a model takes.
struct Model {
    prompt_limit: usize,
    /// Always with sound; the field `audio` is absent.
    turbo: bool,
    /// Only 5 or 10 seconds.
    two_lengths: bool,
    four_k: bool,
    prices: [f64; 2],
    prices_with_sound: [f64; 2],
}

fn model(name: &str) -> Option<Model> {
    let model = Model {
        prompt_limit: 3_072,
        turbo: false,
        two_lengths: false,
        four_k: true,
        prices: [0.6, 0.8],
        prices_with_sound: [0.9, 1.2],
    };
    Some(match name {
        "kling-3.0" => model,
        "kling-3.0-omni" | "kling-o1" => Model {
            prices_with_sound: [0.8, 1.0],
            ..model
        },
        "kling-3.0-turbo" => Model {
            turbo: true,
            four_k: false,
            prices_with_sound: [0.8, 1.0],
            ..model
        },
        "kling-2.6" | "kling-2.5-turbo" => Model {
            prompt_limit: 2_500,
            two_lengths: true,
            four_k: false,
            prices: [0.3, 0.5],
            prices_with_sound: [0.6, 1.0],
            ..model
        },
        _ => return None,
    })
}

fn find_model(name: &str, allowed: &[&str]) -> Result<Model, Refusal> {
    model(name)
        .filter(|_| allowed.contains(&name))
        .ok_or_else(|| Refusal::new(404, "1203", format!("model {name} is not found")))
}

pub(super) fn seed_of(words: &str) -> u64 {
    words.bytes().fold(7, |seed: u64, byte| {
        seed.wrapping_mul(131).wrapping_add(byte.into())
    })
}

/// `settings` after all checks.
struct Settings {
    ratio: Option<String>,
    seconds: f64,
    has_sound: bool,
    units_per_second: f64,
}

fn settings(body: &Value, name: &str, model: &Model) -> Result<Settings, Refusal> {
    let empty = json!({});
    let settings = match body.get("settings") {
        None | Some(Value::Null) => &empty,
        Some(settings) if settings.is_object() => settings,
        Some(_) => return Err(invalid("settings must be an object")),
    };
    let word = |field: &str, allowed: &[&str]| -> Result<Option<String>, Refusal> {
        match settings.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(word)) if allowed.contains(&word.as_str()) => Ok(Some(word.clone())),
            Some(value) => Err(invalid(format!("settings.{field} is invalid: {value}"))),
        }
    };
    let resolutions: &[&str] = if model.four_k {
        &["720p", "1080p", "4k"]
    } else {
        &["720p", "1080p"]
    };
    let resolution = word("resolution", resolutions)?.unwrap_or_else(|| "720p".into());
    let ratio = word("aspect_ratio", &["16:9", "9:16", "1:1"])?;
    let seconds = match settings.get("duration") {
        None | Some(Value::Null) => 5,
        Some(value) => {
            let fits = |seconds: &u64| {
                if model.two_lengths {
                    matches!(seconds, 5 | 10)
                } else {
                    (3..=15).contains(seconds)
                }
            };
            value
                .as_u64()
                .filter(fits)
                .ok_or_else(|| invalid(format!("settings.duration is invalid: {value}")))?
        }
    };
    let sounds: &[&str] = if name.contains("omni") || name == "kling-o1" {
        &["off", "native", "original"]
    } else {
        &["off", "native"]
    };
    let sound = word("audio", sounds)?;
    if model.turbo && sound.is_some() {
        return Err(invalid("settings.audio is not supported by this model"));
    }
    let has_sound = model.turbo || sound.is_some_and(|word| word != "off");
    if has_sound && name == "kling-2.6" && resolution != "1080p" {
        return Err(invalid("settings.audio native needs resolution 1080p"));
    }
    if let Some(value) = settings.get("multi_shot")
        && (!value.is_boolean() || model.turbo || model.two_lengths)
    {
        return Err(invalid(
            "settings.multi_shot is not supported by this model",
        ));
    }
    let prices = if has_sound {
        model.prices_with_sound
    } else {
        model.prices
    };
    let units_per_second = match resolution.as_str() {
        "4k" => 3.0,
        "1080p" => prices[1],
        _ => prices[0],
    };
    Ok(Settings {
        ratio,
        // At most 15, so exact.
        seconds: f64::from(u32::try_from(seconds).unwrap_or(5)),
        has_sound,
        units_per_second,
    })
}

/// `options` after all checks: external id, callback URL, watermark.
type Options = (Option<String>, Option<String>, bool);

pub(super) fn callback(url: Option<&str>) -> Result<Option<String>, Refusal> {
    match url {
        Some(url) if !url.starts_with("http") => Err(invalid("callback_url is invalid")),
        url => Ok(url.map(str::to_owned)),
    }
}

fn options(body: &Value) -> Result<Options, Refusal> {
    let empty = json!({});
    let options = body.get("options").unwrap_or(&empty);
    let watermark = options.pointer("/watermark_info/enabled");
    Ok((
        text(options, "external_task_id").map(str::to_owned),
        callback(text(options, "callback_url"))?,
        watermark.and_then(Value::as_bool).unwrap_or(false),
    ))
}

fn body_of(call: &Call) -> Result<Value, Refusal> {
    call.json()
        .ok_or_else(|| Refusal::new(400, "1200", "the body is not a JSON object"))
}

fn checked_prompt(prompt: &str, model: &Model) -> Result<(), Refusal> {
    if prompt.chars().count() > model.prompt_limit {
        let limit = model.prompt_limit;
        return Err(invalid(format!(
            "prompt must be at most {limit} characters"
        )));
    }
    Ok(())
}

pub(super) async fn text_to_video(
    State(kling): State<Arc<Kling>>,
    Path(name): Path<String>,
    Extension(call): Extension<Call>,
) -> Answer {
    let allowed = [
        "kling-3.0",
        "kling-3.0-turbo",
        "kling-2.6",
        "kling-2.5-turbo",
    ];
    let model = find_model(&name, &allowed)?;
    let body = body_of(&call)?;
    let prompt = text(&body, "prompt").ok_or_else(|| missing("prompt"))?;
    checked_prompt(prompt, &model)?;
    let settings = settings(&body, &name, &model)?;
    let ratio = settings.ratio.as_deref().unwrap_or("16:9");
    let film = clip(size(ratio), &settings, prompt, None);
    finish(&kling, &call, &body, "text-to-video", film, &settings).await
}

fn clip(
    dimensions: (u32, u32),
    settings: &Settings,
    prompt: &str,
    picture: Option<PathBuf>,
) -> Film {
    let sound = if settings.has_sound {
        Sound::Ambience
    } else {
        Sound::Silent
    };
    let mut film =
        Film::new(dimensions, settings.seconds, sound, seed_of(prompt)).described(prompt);
    film.figure = if picture.is_some() {
        Figure::Nothing
    } else {
        Figure::Product
    };
    film.picture = picture;
    film
}

async fn finish(
    kling: &Arc<Kling>,
    call: &Call,
    body: &Value,
    kind: &'static str,
    film: Film,
    settings: &Settings,
) -> Answer {
    let (external_id, callback_url, watermark) = options(body)?;
    let order = Order {
        external_id,
        callback_url,
        dialect: Dialect::New,
        kind,
        units: settings.units_per_second * settings.seconds,
        film,
        watermark,
    };
    let task = kling.accept(call, order).await?;
    Ok(succeeded(call, &tasks::created(&task)))
}

/// `contents` by type, in their order.
fn contents(body: &Value) -> Result<Vec<(&str, &Value)>, Refusal> {
    let contents = body.get("contents").and_then(Value::as_array);
    let contents = contents.filter(|contents| !contents.is_empty());
    contents
        .ok_or_else(|| missing("contents"))?
        .iter()
        .map(|item| {
            let kind = text(item, "type").ok_or_else(|| missing("contents.type"))?;
            Ok((kind, item))
        })
        .collect()
}

pub(super) async fn image_to_video(
    State(kling): State<Arc<Kling>>,
    Path(name): Path<String>,
    Extension(call): Extension<Call>,
) -> Answer {
    let allowed = [
        "kling-3.0",
        "kling-3.0-turbo",
        "kling-2.6",
        "kling-2.5-turbo",
    ];
    let model = find_model(&name, &allowed)?;
    let body = body_of(&call)?;
    let settings = settings(&body, &name, &model)?;
    if settings.ratio.is_some() {
        return Err(invalid(
            "settings.aspect_ratio is not supported for image-to-video",
        ));
    }
    let contents = contents(&body)?;
    let mut prompt = "";
    let mut first = None;
    for (kind, item) in contents {
        match kind {
            "prompt" => prompt = text(item, "text").ok_or_else(|| missing("contents.text"))?,
            "first_frame" => {
                first = Some(text(item, "url").ok_or_else(|| missing("contents.url"))?)
            }
            "last_frame" => {
                let url = text(item, "url").ok_or_else(|| missing("contents.url"))?;
                kling.picture(url).await?;
            }
            other => return Err(invalid(format!("contents.type is invalid: {other}"))),
        }
    }
    checked_prompt(prompt, &model)?;
    let first = first.ok_or_else(|| missing("contents first_frame"))?;
    let (path, (width, height)) = kling.picture(first).await?;
    let film = clip(size_like(width, height), &settings, prompt, Some(path));
    finish(&kling, &call, &body, "image-to-video", film, &settings).await
}

pub(super) async fn omni_video(
    State(kling): State<Arc<Kling>>,
    Path(name): Path<String>,
    Extension(call): Extension<Call>,
) -> Answer {
    let model = find_model(&name, &["kling-3.0-omni", "kling-o1"])?;
    let body = body_of(&call)?;
    let settings = settings(&body, &name, &model)?;
    let mut prompt = "";
    let mut first = None;
    let mut shown = None;
    let mut pictures = 0;
    for (kind, item) in contents(&body)? {
        match kind {
            "prompt" => prompt = text(item, "text").ok_or_else(|| missing("contents.text"))?,
            "first_frame" | "last_frame" | "refer_image" => {
                pictures += 1;
                let url = text(item, "url").ok_or_else(|| missing("contents.url"))?;
                let picture = kling.picture(url).await?;
                if kind == "first_frame" {
                    first = Some(picture);
                } else {
                    shown = shown.or(Some(picture));
                }
            }
            "feature_video" | "base_video" | "element" => {}
            other => return Err(invalid(format!("contents.type is invalid: {other}"))),
        }
    }
    if pictures > 7 {
        return Err(invalid("contents takes at most 7 images"));
    }
    if prompt.is_empty() {
        return Err(missing("contents prompt"));
    }
    checked_prompt(prompt, &model)?;
    let dimensions = match (&first, settings.ratio.as_deref()) {
        (Some((_, (width, height))), _) => size_like(*width, *height),
        (None, Some(ratio)) => size(ratio),
        (None, None) => return Err(missing("settings.aspect_ratio")),
    };
    let picture = first.or(shown).map(|(path, _)| path);
    let film = clip(dimensions, &settings, prompt, picture);
    finish(&kling, &call, &body, "omni-video", film, &settings).await
}
