//! `POST /v3/videos`.

use std::{sync::Arc, time::Duration};

use axum::{Extension, extract::State, response::Response};
use base64::{Engine, engine::general_purpose::STANDARD};
use futures::TryStreamExt;
use serde_json::{Value, json};

use super::{CREATE, HeyGen, Replay, Video, catalog, data, invalid, webhooks};
use crate::{
    call::{Call, text},
    gate::Face,
    ledger::InvoiceCall,
    media::{Figure, Film, Sound, Speech, inspect, size, size_like, voice_of},
    refusal::{Answer, Class, Refusal},
    run::Run,
};

/// Longest script, in characters (developers.heygen.com, limits).
const SCRIPT_LIMIT: usize = 5_000;
/// Longest sound, in seconds.
const SOUND_LIMIT: f64 = 600.0;
/// Largest sound file or picture.
const FILE_LIMIT: usize = 50 * 1024 * 1024;
/// How long an idempotency key is remembered.
const REPLAY_FOR: Duration = Duration::from_secs(24 * 3_600);

pub(super) async fn create(
    State(heygen): State<Arc<HeyGen>>,
    Extension(call): Extension<Call>,
) -> Answer {
    let Some(key) = idempotency_key(&call)? else {
        let answer = accept(&heygen, &call, None).await?;
        return Ok(data(&answer));
    };
    if let Some(response) = replay(&heygen, &call, &key)? {
        return Ok(response);
    }
    let answer = accept(&heygen, &call, Some(&key)).await;
    let mut store = heygen.store();
    match answer {
        Ok(answer) => {
            let done = Replay::Done {
                at: std::time::Instant::now(),
                answer: answer.clone(),
            };
            store.replays.insert(key, done);
            Ok(data(&answer))
        }
        // Nothing was accepted, so the key is free again.
        Err(refusal) => {
            store.replays.remove(&key);
            Err(refusal)
        }
    }
}

/// The key, which must match `^[A-Za-z0-9_\-:.]{1,255}$`.
fn idempotency_key(call: &Call) -> Result<Option<String>, Refusal> {
    let Some(key) = call.headers.get("idempotency-key") else {
        return Ok(None);
    };
    let key = key.to_str().unwrap_or_default();
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ':' | '.');
    if key.is_empty() || key.len() > 255 || !key.chars().all(good) {
        return Err(invalid("Idempotency-Key", "Invalid idempotency key"));
    }
    Ok(Some(key.to_owned()))
}

/// The first answer again, or the place for it.
fn replay(heygen: &HeyGen, call: &Call, key: &str) -> Result<Option<Response>, Refusal> {
    let mut store = heygen.store();
    match store.replays.get(key) {
        Some(Replay::InFlight) => return Err(heygen.refusal(Class::Conflict)),
        Some(Replay::Done { at, answer }) if at.elapsed() < REPLAY_FOR => {
            let mut replayed = InvoiceCall::refused(CREATE).client_ref(Some(key.to_owned()));
            replayed.task_id = text(answer, "video_id").map(str::to_owned);
            replayed.replayed = true;
            let answer = data(answer);
            drop(store);
            call.book(&heygen.desk, replayed);
            return Ok(Some(answer));
        }
        _ => {}
    }
    store.replays.insert(key.to_owned(), Replay::InFlight);
    Ok(None)
}

async fn accept(heygen: &Arc<HeyGen>, call: &Call, key: Option<&str>) -> Result<Value, Refusal> {
    let desk = &heygen.desk;
    let body = call
        .json()
        .ok_or_else(|| Refusal::new(400, "validation_error", "The body is not a JSON object"))?;
    let client_ref = key
        .or_else(|| text(&body, "callback_id"))
        .or_else(|| text(&body, "title"))
        .map(str::to_owned);
    let refused = |refusal: Refusal| {
        call.book(
            desk,
            InvoiceCall::refused(CREATE).client_ref(client_ref.clone()),
        );
        refusal
    };
    let plan = plan(heygen, &body).await.map_err(refused)?;
    let profile = desk.profile();
    tokio::time::sleep(profile.accept).await;

    let id = format!("vid_{}", desk.token(24));
    let film = if profile.distinct_films {
        plan.film
    } else {
        plan.film.shared()
    };
    let captioned = plan.burned.then(|| Film {
        burned_captions: profile.distinct_films,
        ..film.clone()
    });
    let (seconds, price) = (film.seconds, plan.micro_usd_per_second);
    let video = Arc::new(Video {
        id: id.clone(),
        title: text(&body, "title").map(str::to_owned),
        callback_url: text(&body, "callback_url").map(str::to_owned),
        callback_id: text(&body, "callback_id").map(str::to_owned),
        film,
        timeline: plan.timeline,
        subtitles: plan.subtitles,
        captioned,
        run: Run::start(&profile, call.twists.clone()),
    });
    {
        let mut store = heygen.store();
        store.open.retain(|video| video.run.is_open());
        let limit = desk.limit();
        if limit > 0 && store.open.len() >= limit {
            drop(store);
            return Err(refused(heygen.refusal(Class::NoSlot)));
        }
        let index = store.videos.len();
        store.by_id.insert(id.clone(), index);
        store.videos.push(video.clone());
        if video.run.is_open() {
            store.open.push(video.clone());
        }
    }
    let billed = InvoiceCall::billed(CREATE, &id, "video", seconds, cost(seconds, price));
    call.book(desk, billed.client_ref(client_ref));
    webhooks::schedule(heygen, &video);
    Ok(json!({
        "video_id": id,
        "status": "waiting",
        "output_format": video.film.extension(),
    }))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "seconds times a price of a few cents"
)]
fn cost(seconds: f64, micro_usd_per_second: f64) -> u64 {
    (seconds * micro_usd_per_second).round() as u64
}

/// A request that can be done.
struct Plan {
    film: Film,
    timeline: Option<crate::media::Timeline>,
    subtitles: bool,
    burned: bool,
    micro_usd_per_second: f64,
}

async fn plan(heygen: &HeyGen, body: &Value) -> Result<Plan, Refusal> {
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
        let look = catalog::find_look(id).ok_or_else(|| {
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
        let voice = catalog::find_voice(voice).ok_or_else(|| {
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
        .all(|look| look.as_str().and_then(catalog::find_look).is_some())
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

/// The sound that the caller handed in, and its length.
async fn sound(heygen: &HeyGen, body: &Value) -> Result<(std::path::PathBuf, f64), Refusal> {
    let (param, path) = if let Some(id) = text(body, "audio_asset_id") {
        let store = heygen.store();
        let asset = store.assets.get(id).ok_or_else(|| {
            Refusal::new(404, "asset_not_found", "Asset not found").param("audio_asset_id")
        })?;
        if !asset.mime.starts_with("audio/") && !asset.mime.starts_with("video/") {
            return Err(invalid("audio_asset_id", "The asset is not audio"));
        }
        ("audio_asset_id", asset.path.clone())
    } else {
        let url = text(body, "audio_url")
            .ok_or_else(|| invalid("audio_url", "audio_url must be a URL"))?;
        let bytes = download(heygen, url).await?;
        let kept = heygen.desk.studio.keep(&bytes, "sound").await;
        ("audio_url", kept.map_err(|error| broken(heygen, &error))?)
    };
    match heygen.desk.studio.probe(&path).await {
        Ok(probe) if !probe.has_audio => {
            Err(Refusal::new(400, "no_audio_track", "There is no audio track").param(param))
        }
        Ok(probe) if probe.seconds > SOUND_LIMIT => {
            Err(invalid(param, "The audio is longer than 10 minutes"))
        }
        Ok(probe) => Ok((path, probe.seconds.max(0.1))),
        Err(_) => Err(invalid(param, "The audio cannot be read")),
    }
}

fn broken(heygen: &HeyGen, error: &anyhow::Error) -> Refusal {
    tracing::warn!(%error, "the simulator cannot keep a file");
    heygen.refusal(Class::InternalError)
}

async fn download(heygen: &HeyGen, url: &str) -> Result<Vec<u8>, Refusal> {
    let failed = || Refusal::new(400, "download_failed", "The file could not be downloaded");
    let request = heygen.desk.web.get(url).timeout(Duration::from_secs(30));
    let response = request.send().await.map_err(|_| failed())?;
    let response = response.error_for_status().map_err(|_| failed())?;
    let mut stream = response.bytes_stream();
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.try_next().await.map_err(|_| failed())? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > FILE_LIMIT {
            return Err(Refusal::new(
                400,
                "payload_too_large",
                "The file is too large",
            ));
        }
    }
    Ok(bytes)
}

/// An `AssetInput` that must be a picture: its file and its size.
async fn image(
    heygen: &HeyGen,
    input: Option<&Value>,
) -> Result<(std::path::PathBuf, (u32, u32)), Refusal> {
    let input = input.ok_or_else(|| invalid("image", "image is required"))?;
    let bytes = match text(input, "type") {
        Some("url") => {
            let url = text(input, "url").ok_or_else(|| invalid("image.url", "url is required"))?;
            download(heygen, url).await?
        }
        Some("base64") => text(input, "data")
            .and_then(|encoded| STANDARD.decode(encoded).ok())
            .ok_or_else(|| invalid("image.data", "data is not base64"))?,
        Some("asset_id") => {
            let id = text(input, "asset_id").unwrap_or_default();
            let path = heygen
                .store()
                .assets
                .get(id)
                .map(|asset| asset.path.clone());
            let path = path.ok_or_else(|| {
                Refusal::new(404, "asset_not_found", "Asset not found").param("image.asset_id")
            })?;
            tokio::fs::read(path)
                .await
                .map_err(|error| broken(heygen, &error.into()))?
        }
        _ => {
            return Err(invalid(
                "image.type",
                "type must be url, asset_id or base64",
            ));
        }
    };
    let picture =
        inspect(&bytes).ok_or_else(|| invalid("image", "The image must be JPEG or PNG"))?;
    let kept = heygen.desk.studio.keep(&bytes, picture.extension).await;
    let path = kept.map_err(|error| broken(heygen, &error))?;
    Ok((path, (picture.width, picture.height)))
}
