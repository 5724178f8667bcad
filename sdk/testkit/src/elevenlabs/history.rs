//! What was spoken before.

use std::{path::PathBuf, sync::Arc};

use axum::{
    Extension, Json,
    extract::{Path, State},
    response::IntoResponse,
};
use serde_json::{Value, json};

use super::{ElevenLabs, catalog};
use crate::{
    call::Call,
    media::file,
    refusal::{Answer, Refusal},
};

pub(super) struct Item {
    pub(super) id: String,
    pub(super) request_id: String,
    pub(super) voice: &'static catalog::Voice,
    pub(super) model: &'static str,
    pub(super) text: String,
    /// Seconds since 1970.
    pub(super) date: i64,
    /// The account's count before and after.
    pub(super) characters: (u64, u64),
    pub(super) mime: &'static str,
    pub(super) format: String,
    pub(super) settings: Value,
    pub(super) alignment: Value,
    pub(super) path: PathBuf,
}

fn show(item: &Item) -> Value {
    json!({
        "history_item_id": item.id,
        "request_id": item.request_id,
        "voice_id": item.voice.id,
        "model_id": item.model,
        "voice_name": item.voice.name,
        "voice_category": "premade",
        "text": item.text,
        "date_unix": item.date,
        "character_count_change_from": item.characters.0,
        "character_count_change_to": item.characters.1,
        "content_type": item.mime,
        "state": "created",
        "settings": item.settings,
        "source": "TTS",
        "alignments": {"alignment": item.alignment, "normalized_alignment": item.alignment},
        "output_format": item.format,
    })
}

/// `GET /v1/history`, newest first.
pub(super) async fn list(
    State(elevenlabs): State<Arc<ElevenLabs>>,
    Extension(call): Extension<Call>,
) -> Answer {
    let query = call.query();
    let size = match query.get("page_size") {
        None => 100,
        Some(text) => text
            .parse()
            .ok()
            .filter(|size| (1..=1_000).contains(size))
            .ok_or_else(|| {
                Refusal::new(400, "invalid_parameters", "page_size must be 1 to 1000")
                    .param("page_size")
            })?,
    };
    let moment = |name: &str| query.get(name).and_then(|text| text.parse::<i64>().ok());
    let (after, before) = (moment("date_after_unix"), moment("date_before_unix"));
    let is = |name: &str, value: &str| query.get(name).is_none_or(|wanted| wanted == value);
    let search = query.get("search").map(|text| text.to_lowercase());
    let start = query.get("start_after_history_item_id");
    let mut started = start.is_none();
    let mut has_more = false;
    let mut shown: Vec<Value> = Vec::new();
    let mut last = None;
    let history = elevenlabs.store().history.clone();
    for item in history.iter().rev() {
        if !started {
            started = start == Some(&item.id);
            continue;
        }
        let fits = is("voice_id", item.voice.id)
            && is("model_id", item.model)
            && is("source", "TTS")
            && after.is_none_or(|after| item.date >= after)
            && before.is_none_or(|before| item.date <= before)
            && search
                .as_ref()
                .is_none_or(|words| item.text.to_lowercase().contains(words));
        if !fits {
            continue;
        }
        if shown.len() == size {
            has_more = true;
            break;
        }
        last = Some((item.id.clone(), item.date));
        shown.push(show(item));
    }
    let (last_id, scanned) = last.unzip();
    Ok(Json(json!({
        "history": shown, "has_more": has_more,
        "last_history_item_id": last_id, "scanned_until": scanned,
    }))
    .into_response())
}

fn find(elevenlabs: &ElevenLabs, id: &str) -> Result<Arc<Item>, Refusal> {
    let store = elevenlabs.store();
    let item = store.history.iter().find(|item| item.id == id).cloned();
    item.ok_or_else(|| Refusal::new(404, "history_item_not_found", "History item not found"))
}

pub(super) async fn one(
    State(elevenlabs): State<Arc<ElevenLabs>>,
    Path(id): Path<String>,
) -> Answer {
    Ok(Json(show(&*find(&elevenlabs, &id)?)).into_response())
}

pub(super) async fn delete(
    State(elevenlabs): State<Arc<ElevenLabs>>,
    Path(id): Path<String>,
) -> Answer {
    find(&elevenlabs, &id)?;
    elevenlabs.store().history.retain(|item| item.id != id);
    Ok(Json(json!({"status": "ok"})).into_response())
}

pub(super) async fn audio(
    State(elevenlabs): State<Arc<ElevenLabs>>,
    Path(id): Path<String>,
    Extension(call): Extension<Call>,
) -> Answer {
    let item = find(&elevenlabs, &id)?;
    Ok(file(&item.path, item.mime, &call.headers).await)
}
