//! `POST /v1/audio/speech`.

use std::sync::Arc;

use axum::{Extension, extract::State};
use serde_json::Value;

use super::{OpenAi, invalid, models};
use crate::{
    call::{Call, text},
    gate::Face,
    ledger::InvoiceCall,
    media::{AudioFormat, Speech, file, voice_of},
    refusal::{Answer, Class, Refusal},
};

const VOICES: [(&str, bool); 10] = [
    ("alloy", true),
    ("ash", false),
    ("ballad", false),
    ("coral", true),
    ("echo", false),
    ("sage", true),
    ("shimmer", true),
    ("verse", false),
    ("marin", true),
    ("cedar", false),
];

pub(super) async fn create(
    State(openai): State<Arc<OpenAi>>,
    Extension(call): Extension<Call>,
) -> Answer {
    let desk = &openai.desk;
    let body = call.json().ok_or_else(|| {
        Refusal::new(400, "", "We could not parse the JSON body of your request.")
    })?;
    let model = models::find(text(&body, "model").unwrap_or_default())?;
    if !model.contains("tts") {
        return Err(invalid("model", "This model does not speak."));
    }
    let input = text(&body, "input")
        .filter(|input| !input.trim().is_empty() && input.chars().count() <= 4_096)
        .ok_or_else(|| invalid("input", "Invalid 'input': 1 to 4096 characters."))?;
    let voice = text(&body, "voice").unwrap_or_default();
    let voice = VOICES
        .iter()
        .find(|(name, _)| *name == voice)
        .ok_or_else(|| invalid("voice", "Invalid 'voice'."))?;
    let format = text(&body, "response_format").unwrap_or("mp3");
    let format = AudioFormat::openai(format)
        .ok_or_else(|| invalid("response_format", "Invalid 'response_format'."))?;
    let speed = match body.get("speed").filter(|value| !value.is_null()) {
        None => 1.0,
        Some(speed) => speed
            .as_f64()
            .filter(|speed| (0.25..=4.0).contains(speed))
            .ok_or_else(|| invalid("speed", "Invalid 'speed': 0.25 to 4."))?,
    };
    if body.get("stream_format").and_then(Value::as_str) == Some("sse") {
        return Err(invalid("stream_format", "The simulator has no 'sse' here."));
    }
    let characters = input.chars().count();
    #[expect(clippy::cast_precision_loss, reason = "at most 4,096")]
    let units = characters as f64;
    let price = u64::try_from(characters)
        .unwrap_or(u64::MAX)
        .saturating_mul(15);
    let id = format!("speech-{}", desk.token(16));
    let billed = InvoiceCall::billed(&call.route, &id, "speech", units, price);
    let client_ref = call.header("x-client-request-id").map(str::to_owned);
    call.book(desk, billed.client_ref(client_ref));
    let speech = Speech {
        text: input.to_owned(),
        speed,
        voice: voice_of(voice.0, voice.1),
    };
    let (path, ()) = tokio::join!(
        desk.studio.speech(&speech, &format),
        tokio::time::sleep(desk.profile().speak),
    );
    match path {
        Ok(path) => Ok(file(&path, format.mime, &axum::http::HeaderMap::new()).await),
        Err(error) => {
            desk.trouble("a speech was not made", &error);
            Err(openai.refusal(Class::InternalError))
        }
    }
}
