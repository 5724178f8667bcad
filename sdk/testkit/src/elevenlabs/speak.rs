//! The four ways to have a text spoken.

use std::{path::PathBuf, sync::Arc};

use axum::{
    Extension, Json,
    body::Body,
    extract::{Path, State},
    http::{HeaderName, HeaderValue, header},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures::{StreamExt, stream};
use serde_json::{Value, json};

use super::{ElevenLabs, catalog, history};
use crate::{
    call::Call,
    gate::Face,
    ledger::InvoiceCall,
    media::{AudioFormat, Speech, Timeline, file, voice_of},
    refusal::{Answer, Class, Refusal},
    run::now_ms,
};

/// Pieces that a streamed answer comes in.
const PIECES: usize = 8;

fn invalid(code: &str, message: impl Into<String>, param: &str) -> Refusal {
    Refusal::new(400, code, message).param(param)
}

fn unprocessable(field: &str, kind: &str, message: &str) -> Refusal {
    Refusal::new(422, kind, message).param(field)
}

/// A text that was spoken.
struct Spoken {
    timeline: Timeline,
    path: PathBuf,
    format: AudioFormat,
    head: Vec<(&'static str, String)>,
}

/// What the request asks for, checked.
struct Wish {
    voice: &'static catalog::Voice,
    model: &'static catalog::Model,
    text: String,
    speed: f64,
    format_name: String,
    format: AudioFormat,
    logged: bool,
    settings: Value,
}

fn wish(call: &Call, voice_id: &str, streams: bool) -> Result<Wish, Refusal> {
    let query = call.query();
    let format_name = query.get("output_format").cloned();
    let format_name = format_name.unwrap_or_else(|| "mp3_44100_128".to_owned());
    let format = AudioFormat::parse(&format_name)
        .filter(|format| !(streams && format.extension == "wav"))
        .ok_or_else(|| {
            let message = format!("Unknown output format {format_name}");
            invalid("invalid_output_format", message, "output_format")
        })?;
    let body = call
        .json()
        .ok_or_else(|| unprocessable("body", "json_invalid", "JSON decode error"))?;
    let text = match body.get("text") {
        None | Some(Value::Null) => {
            return Err(unprocessable(
                "text",
                "value_error.missing",
                "field required",
            ));
        }
        Some(Value::String(text)) => text.clone(),
        Some(_) => return Err(unprocessable("text", "type_error.str", "str type expected")),
    };
    let voice = catalog::find_voice(voice_id).ok_or_else(|| {
        let message = format!("A voice with the voice_id {voice_id} was not found.");
        Refusal::new(404, "voice_not_found", message)
    })?;
    let model_id = body.get("model_id").and_then(Value::as_str);
    let model_id = model_id.unwrap_or("eleven_multilingual_v2");
    let model = catalog::find_model(model_id).ok_or_else(|| {
        let message = format!("A model with model ID {model_id} does not exist");
        invalid("model_not_found", message, "model_id")
    })?;
    if text.trim().is_empty() {
        return Err(invalid("invalid_parameters", "The text is empty", "text"));
    }
    if text.chars().count() > model.longest {
        let message = format!("The text is longer than {} characters", model.longest);
        return Err(invalid("max_character_limit_exceeded", message, "text"));
    }
    let settings = body.get("voice_settings").cloned().unwrap_or_default();
    for (name, low, high) in [
        ("stability", 0.0, 1.0),
        ("similarity_boost", 0.0, 1.0),
        ("style", 0.0, 1.0),
        ("speed", 0.7, 1.2),
    ] {
        let value = settings.get(name).filter(|value| !value.is_null());
        if value.is_some_and(|value| !value.as_f64().is_some_and(|v| (low..=high).contains(&v))) {
            let message = format!("{name} must be between {low} and {high}");
            return Err(invalid("invalid_parameters", message, "voice_settings"));
        }
    }
    Ok(Wish {
        voice,
        model,
        text,
        speed: settings.get("speed").and_then(Value::as_f64).unwrap_or(1.0),
        format_name,
        format,
        logged: query
            .get("enable_logging")
            .is_none_or(|value| value != "false"),
        settings,
    })
}

async fn speak(
    elevenlabs: &Arc<ElevenLabs>,
    call: &Call,
    voice_id: &str,
    streams: bool,
) -> Result<Spoken, Refusal> {
    let desk = &elevenlabs.desk;
    let wish = wish(call, voice_id, streams)?;
    let _place = desk
        .place()
        .ok_or_else(|| elevenlabs.refusal(Class::NoSlot))?;
    let running = desk.in_flight();
    let characters = u64::try_from(wish.text.chars().count()).unwrap_or(u64::MAX);
    let credits = if wish.model.half_price {
        characters.div_ceil(2)
    } else {
        characters
    };
    let before = {
        let mut store = elevenlabs.store();
        let left = catalog::CHARACTER_LIMIT.saturating_sub(store.characters);
        if credits > left {
            let message = format!(
                "This request exceeds your quota. You have {left} credits remaining, while \
                 {credits} credits are required for this request."
            );
            return Err(Refusal::new(401, "quota_exceeded", message));
        }
        let before = store.characters;
        store.characters += credits;
        before
    };
    let item_id = desk.token(20);
    let speech = Speech {
        text: wish.text.clone(),
        speed: wish.speed,
        voice: voice_of(wish.voice.id, wish.voice.gender == "female"),
    };
    let (path, ()) = tokio::join!(
        desk.studio.speech(&speech, &wish.format),
        tokio::time::sleep(desk.profile().speak),
    );
    let path = path.map_err(|error| {
        elevenlabs.give_back(credits);
        desk.trouble("a speech was not made", &error);
        elevenlabs.refusal(Class::InternalError)
    })?;
    // Billed and in the history at once: whoever pays for a speech finds it there.
    #[expect(
        clippy::cast_precision_loss,
        reason = "texts are far shorter than 2^52"
    )]
    let units = characters as f64;
    let billed = InvoiceCall::billed(&call.route, &item_id, "speech", units, credits * 100);
    call.book(desk, billed);
    let timeline = speech.timeline();
    if wish.logged {
        elevenlabs.store().history.push(Arc::new(history::Item {
            id: item_id.clone(),
            request_id: call.request_id.to_string(),
            voice: wish.voice,
            model: wish.model.id,
            text: wish.text,
            date: now_ms() / 1_000,
            characters: (before, before + credits),
            mime: wish.format.mime,
            format: wish.format_name,
            settings: wish.settings,
            alignment: alignment(&timeline.characters),
            path: path.clone(),
        }));
    }
    let mut head = vec![
        ("character-cost", credits.to_string()),
        ("current-concurrent-requests", running.to_string()),
        ("maximum-concurrent-requests", desk.limit().to_string()),
    ];
    if wish.logged {
        head.push(("history-item-id", item_id));
    }
    Ok(Spoken {
        timeline,
        path,
        format: wish.format,
        head,
    })
}

/// Characters with their times, in three arrays of equal length.
fn alignment(characters: &[(char, f64, f64)]) -> Value {
    let rounded = |seconds: f64| (seconds * 1_000.0).round() / 1_000.0;
    let text: Vec<String> = characters.iter().map(|part| part.0.to_string()).collect();
    let starts: Vec<f64> = characters.iter().map(|part| rounded(part.1)).collect();
    let ends: Vec<f64> = characters.iter().map(|part| rounded(part.2)).collect();
    json!({
        "characters": text,
        "character_start_times_seconds": starts,
        "character_end_times_seconds": ends,
    })
}

fn with_head(mut response: Response, head: &[(&'static str, String)]) -> Response {
    for (name, value) in head {
        if let Ok(value) = HeaderValue::from_str(value) {
            response
                .headers_mut()
                .insert(HeaderName::from_static(name), value);
        }
    }
    response
}

async fn bytes_of(elevenlabs: &ElevenLabs, path: &std::path::Path) -> Result<Bytes, Refusal> {
    let read = tokio::fs::read(path).await;
    read.map(Bytes::from).map_err(|error| {
        elevenlabs.desk.trouble("a speech was not read", &error);
        elevenlabs.refusal(Class::InternalError)
    })
}

pub(super) async fn plain(
    State(elevenlabs): State<Arc<ElevenLabs>>,
    Path(voice): Path<String>,
    Extension(call): Extension<Call>,
) -> Answer {
    let spoken = speak(&elevenlabs, &call, &voice, false).await?;
    // The vendor answers the whole, whatever range is asked for.
    let whole = axum::http::HeaderMap::new();
    let response = file(&spoken.path, spoken.format.mime, &whole).await;
    Ok(with_head(response, &spoken.head))
}

pub(super) async fn with_timestamps(
    State(elevenlabs): State<Arc<ElevenLabs>>,
    Path(voice): Path<String>,
    Extension(call): Extension<Call>,
) -> Answer {
    let spoken = speak(&elevenlabs, &call, &voice, false).await?;
    let bytes = bytes_of(&elevenlabs, &spoken.path).await?;
    let alignment = alignment(&spoken.timeline.characters);
    let response = Json(json!({
        "audio_base64": STANDARD.encode(bytes),
        "alignment": alignment,
        "normalized_alignment": alignment,
    }));
    Ok(with_head(response.into_response(), &spoken.head))
}

/// The bytes in pieces that come one after another.
fn pieces(bytes: &Bytes) -> Vec<Bytes> {
    let step = bytes.len().div_ceil(PIECES).max(1);
    (0..bytes.len())
        .step_by(step)
        .map(|start| bytes.slice(start..(start + step).min(bytes.len())))
        .collect()
}

fn streamed(parts: Vec<Bytes>, mime: &str, head: &[(&'static str, String)]) -> Response {
    let pause = std::time::Duration::from_millis(20);
    let body = Body::from_stream(stream::iter(parts).then(move |part| async move {
        tokio::time::sleep(pause).await;
        Ok::<_, std::io::Error>(part)
    }));
    let response = ([(header::CONTENT_TYPE, mime.to_owned())], body).into_response();
    with_head(response, head)
}

pub(super) async fn stream(
    State(elevenlabs): State<Arc<ElevenLabs>>,
    Path(voice): Path<String>,
    Extension(call): Extension<Call>,
) -> Answer {
    let spoken = speak(&elevenlabs, &call, &voice, true).await?;
    let bytes = bytes_of(&elevenlabs, &spoken.path).await?;
    Ok(streamed(pieces(&bytes), spoken.format.mime, &spoken.head))
}

/// One JSON object a line. Times count from the beginning of the whole clip; the documents
/// leave that open.
pub(super) async fn stream_with_timestamps(
    State(elevenlabs): State<Arc<ElevenLabs>>,
    Path(voice): Path<String>,
    Extension(call): Extension<Call>,
) -> Answer {
    let spoken = speak(&elevenlabs, &call, &voice, true).await?;
    let bytes = bytes_of(&elevenlabs, &spoken.path).await?;
    let audio = pieces(&bytes);
    let characters = &spoken.timeline.characters;
    let share = characters.len().div_ceil(audio.len().max(1)).max(1);
    let mut groups = characters.chunks(share);
    let lines: Vec<Bytes> = audio
        .iter()
        .map(|piece| {
            let group = groups.next().map(alignment).unwrap_or_default();
            let line = json!({
                "audio_base64": STANDARD.encode(piece),
                "alignment": group,
                "normalized_alignment": group,
            });
            Bytes::from(format!("{line}\n"))
        })
        .collect();
    Ok(streamed(lines, "application/json", &spoken.head))
}
