//! Checks a request for a film and plans it.

use serde_json::Value;

use super::{
    HeyGen,
    inputs::{image, sound},
    invalid, people,
};
use crate::{
    call::text,
    media::{Figure, Film, Sound, Speech, Timeline, size, size_like, voice_of},
    refusal::Refusal,
};

/// Longest script, in characters (developers.heygen.com, limits).
const SCRIPT_LIMIT: usize = 5_000;

/// A request that can be done.
pub(super) struct Plan {
    pub(super) film: Film,
    pub(super) timeline: Option<Timeline>,
    pub(super) subtitles: bool,
    pub(super) burned: bool,
    pub(super) micro_usd_per_second: f64,
}

pub(super) async fn plan(heygen: &HeyGen, body: &Value) -> Result<Plan, Refusal> {
    let kind = text(body, "type").ok_or_else(|| invalid("type", "type is required"))?;
    if !matches!(kind, "avatar" | "image" | "cinematic_avatar") {
        return Err(invalid("type", format!("Unsupported type: {kind}")));
    }
    let ratio = one_of(
        body,
        "aspect_ratio",
        &["16:9", "9:16", "4:5", "5:4", "1:1", "auto"],
        "16:9",
    )?;
    let resolution = one_of(body, "resolution", &["4k", "1080p", "720p"], "1080p")?;
    let format = one_of(body, "output_format", &["mp4", "webm"], "mp4")?;
    one_of(body, "fit", &["contain", "cover"], "contain")?;
    one_of(body, "expressiveness", &["high", "medium", "low"], "medium")?;
    if format == "webm" && body.get("background").is_some_and(|value| !value.is_null()) {
        return Err(invalid("background", "background is not allowed with webm"));
    }
    background(body)?;
    if let Some(url) = text(body, "callback_url")
        && !url.starts_with("http")
    {
        return Err(invalid("callback_url", "callback_url must be a URL"));
    }
    let mut plan = match kind {
        "cinematic_avatar" => cinematic(heygen, body, ratio)?,
        kind => talking(heygen, body, kind, ratio).await?,
    };
    if resolution == "4k" {
        plan.micro_usd_per_second *= 1.25;
    }
    plan.film.webm = format == "webm";
    (plan.subtitles, plan.burned) = caption(body)?;
    Ok(plan)
}

/// A film in which somebody, or a picture of somebody, speaks.
async fn talking(heygen: &HeyGen, body: &Value, kind: &str, ratio: &str) -> Result<Plan, Refusal> {
    let (look, picture) = if kind == "avatar" {
        let id =
            text(body, "avatar_id").ok_or_else(|| invalid("avatar_id", "avatar_id is required"))?;
        let look = people::find_look(id).ok_or_else(|| {
            Refusal::new(404, "avatar_not_found", "Avatar not found").param("avatar_id")
        })?;
        (Some(look), None)
    } else {
        let bytes = image(heygen, body.get("image")).await?;
        (None, Some(bytes))
    };
    let sources = ["script", "audio_url", "audio_asset_id"]
        .into_iter()
        .filter(|name| body.get(*name).is_some_and(|value| !value.is_null()))
        .count();
    if sources != 1 {
        return Err(invalid(
            "script",
            "Exactly one of script, audio_url and audio_asset_id is required",
        ));
    }
    let speed = voice_settings(body)?;
    let (sound, seconds, timeline) = if body.get("script").is_some_and(|value| !value.is_null()) {
        let script = text(body, "script")
            .filter(|script| !script.trim().is_empty())
            .ok_or_else(|| invalid("script", "script must be a text of at least 1 character"))?;
        if script.chars().count() > SCRIPT_LIMIT {
            return Err(invalid("script", "script must be at most 5000 characters"));
        }
        let voice = text(body, "voice_id")
            .or(look.map(|look| look.voice))
            .ok_or_else(|| invalid("voice_id", "voice_id is required with script"))?;
        let voice = people::find_voice(voice).ok_or_else(|| {
            Refusal::new(404, "voice_not_found", "Voice not found").param("voice_id")
        })?;
        let speech = Speech {
            text: script.to_owned(),
            speed,
            voice: voice_of(voice.id, voice.gender == "female"),
        };
        let timeline = speech.timeline();
        (Sound::Speech(speech), timeline.seconds, Some(timeline))
    } else {
        let (path, seconds) = sound(heygen, body).await?;
        (Sound::File(path), seconds, None)
    };
    let (dimensions, picture) = match picture {
        Some((path, picture)) if ratio == "auto" => (size_like(picture.0, picture.1), Some(path)),
        Some((path, _)) => (size(ratio), Some(path)),
        None => (size(ratio), None),
    };
    let seed = look.map_or(3, |look| look.seed());
    let mut film = Film::new(dimensions, seconds, sound, seed);
    film.figure = if picture.is_some() {
        Figure::Nothing
    } else {
        Figure::Presenter
    };
    film.picture = picture;
    if let Some(timeline) = &timeline {
        film = film.spoken(timeline);
    }
    let engine = body.pointer("/engine/type").and_then(Value::as_str);
    let micro_usd_per_second = match engine.unwrap_or("avatar_iv") {
        "avatar_iii" => 16_700.0,
        "avatar_iv" | "avatar_v" if look.is_some_and(|look| look.kind != "photo_avatar") => {
            66_700.0
        }
        "avatar_iv" | "avatar_v" => 50_000.0,
        _ => return Err(invalid("engine.type", "Unknown engine")),
    };
    Ok(Plan {
        film,
        timeline,
        subtitles: false,
        burned: false,
        micro_usd_per_second,
    })
}

/// A film painted from a prompt.
fn cinematic(heygen: &HeyGen, body: &Value, ratio: &str) -> Result<Plan, Refusal> {
    let prompt = text(body, "prompt").ok_or_else(|| invalid("prompt", "prompt is required"))?;
    if prompt.chars().count() > 10_000 {
        return Err(invalid("prompt", "prompt must be at most 10000 characters"));
    }
    let looks = body.get("avatar_id").and_then(Value::as_array);
    let looks = looks.filter(|looks| (1..=3).contains(&looks.len()));
    let looks = looks.ok_or_else(|| invalid("avatar_id", "avatar_id takes 1 to 3 looks"))?;
    if !looks
        .iter()
        .all(|look| look.as_str().and_then(people::find_look).is_some())
    {
        return Err(Refusal::new(404, "avatar_not_found", "Avatar not found").param("avatar_id"));
    }
    if !matches!(ratio, "16:9" | "9:16" | "1:1") {
        return Err(invalid("aspect_ratio", "Unsupported aspect ratio"));
    }
    let seconds = match body.get("duration") {
        None | Some(Value::Null) => 10.0,
        Some(value) => value
            .as_f64()
            .filter(|seconds| (4.0..=15.0).contains(seconds))
            .ok_or_else(|| invalid("duration", "duration must be 4 to 15"))?,
    };
    let _ = heygen;
    let mut film = Film::new(size(ratio), seconds, Sound::Ambience, 5).described(prompt);
    film.figure = Figure::Presenter;
    Ok(Plan {
        film,
        timeline: None,
        subtitles: false,
        burned: false,
        micro_usd_per_second: 50_000.0,
    })
}

/// A word of a closed list.
fn one_of<'body>(
    body: &'body Value,
    name: &str,
    allowed: &[&str],
    default: &'body str,
) -> Result<&'body str, Refusal> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(default),
        Some(Value::String(word)) if allowed.contains(&word.as_str()) => Ok(word),
        Some(_) => Err(invalid(
            name,
            format!("{name} must be one of {}", allowed.join(", ")),
        )),
    }
}

fn background(body: &Value) -> Result<(), Refusal> {
    let Some(background) = body.get("background").filter(|value| !value.is_null()) else {
        return Ok(());
    };
    let hex = |value: &str| {
        value.strip_prefix('#').is_some_and(|digits| {
            digits.len() == 6 && digits.chars().all(|c| c.is_ascii_hexdigit())
        })
    };
    match text(background, "type") {
        Some("color") if text(background, "value").is_some_and(hex) => Ok(()),
        Some("color") => Err(invalid("background.value", "value must be #RRGGBB")),
        Some("image")
            if text(background, "url").is_some() || text(background, "asset_id").is_some() =>
        {
            Ok(())
        }
        _ => Err(invalid("background", "background is wrong")),
    }
}

/// Whether subtitles are wanted beside the film, and in it.
fn caption(body: &Value) -> Result<(bool, bool), Refusal> {
    let Some(caption) = body.get("caption").filter(|value| !value.is_null()) else {
        return Ok((false, false));
    };
    if text(caption, "file_format") != Some("srt") {
        return Err(invalid("caption.file_format", "file_format must be srt"));
    }
    Ok((true, text(caption, "style").is_some()))
}

/// Checks the ranges; answers the speed.
fn voice_settings(body: &Value) -> Result<f64, Refusal> {
    let Some(settings) = body.get("voice_settings").filter(|value| !value.is_null()) else {
        return Ok(1.0);
    };
    for (name, low, high) in [
        ("speed", 0.5, 1.5),
        ("pitch", -50.0, 50.0),
        ("volume", 0.0, 1.0),
    ] {
        let value = settings.get(name).filter(|value| !value.is_null());
        if value.is_some_and(|value| !value.as_f64().is_some_and(|v| (low..=high).contains(&v))) {
            let param = format!("voice_settings.{name}");
            return Err(invalid(&param, format!("{name} must be {low} to {high}")));
        }
    }
    Ok(settings.get("speed").and_then(Value::as_f64).unwrap_or(1.0))
}
