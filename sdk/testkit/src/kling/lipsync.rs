//! Lip-sync: faces are found first, then one of them gets a sound.

use std::sync::Arc;

use axum::{Extension, extract::State};
use serde_json::{Value, json};

use super::{Kling, invalid, legacy, missing, succeeded};
use crate::{
    call::{Call, text},
    media::{Figure, Film, Sound},
    refusal::{Answer, Refusal},
};

/// A film whose faces were found.
pub(super) struct Session {
    seconds: f64,
    size: (u32, u32),
    face: String,
}

/// `POST /v1/videos/identify-face`.
pub(super) async fn identify_face(
    State(kling): State<Arc<Kling>>,
    Extension(call): Extension<Call>,
) -> Answer {
    let body = call
        .json()
        .ok_or_else(|| Refusal::new(400, "1200", "the body is not a JSON object"))?;
    let (seconds, size) = match (text(&body, "video_id"), text(&body, "video_url")) {
        (Some(_), Some(_)) => {
            return Err(invalid("video_id and video_url exclude each other"));
        }
        (Some(id), None) => {
            // The id of a video is its task's id and a digit.
            let task = id.get(..id.len() - 1).and_then(|id| kling.task(id));
            let task = task.ok_or_else(|| Refusal::new(404, "1203", "video not found"))?;
            (task.film.seconds, (task.film.width, task.film.height))
        }
        (None, Some(url)) if url.starts_with("http") => (10.0, (360, 640)),
        _ => return Err(missing("video_id or video_url")),
    };
    if !(2.0..=60.0).contains(&seconds) {
        return Err(invalid("the video must last 2 to 60 seconds"));
    }
    let session = kling.desk.token(24);
    let face = kling.desk.digits(6);
    let data = json!({
        "session_id": session,
        "face_data": [{
            "face_id": face, "face_image": "", "start_time": 0,
            "end_time": (seconds * 1_000.0).round(),
        }],
    });
    let found = Session {
        seconds,
        size,
        face,
    };
    kling.store().sessions.insert(session, found);
    Ok(succeeded(&call, &data))
}

/// `POST /v1/videos/advanced-lip-sync`.
pub(super) async fn lip_sync(
    State(kling): State<Arc<Kling>>,
    Extension(call): Extension<Call>,
) -> Answer {
    let body = call
        .json()
        .ok_or_else(|| Refusal::new(400, "1200", "the body is not a JSON object"))?;
    let session = text(&body, "session_id").ok_or_else(|| missing("session_id"))?;
    let (seconds, size, face) = {
        let store = kling.store();
        let session = store
            .sessions
            .get(session)
            .ok_or_else(|| Refusal::new(404, "1203", "session not found"))?;
        (session.seconds, session.size, session.face.clone())
    };
    let chosen = body.get("face_choose").and_then(Value::as_array);
    let chosen = chosen
        .and_then(|faces| faces.first())
        .ok_or_else(|| missing("face_choose"))?;
    if text(chosen, "face_id") != Some(face.as_str()) {
        return Err(invalid("face_id is invalid"));
    }
    for name in ["sound_start_time", "sound_end_time", "sound_insert_time"] {
        if chosen.get(name).and_then(Value::as_f64).is_none() {
            return Err(missing(name));
        }
    }
    let (sound, _) = legacy::sound(&kling, chosen, 2.0..=60.0).await?;
    let mut film = Film::new(size, seconds, Sound::File(sound), 9);
    film.figure = Figure::Presenter;
    // 0.5 units for each 5 seconds that were begun.
    let units = (seconds / 5.0).ceil() * 0.5;
    legacy::accept(&kling, &call, &body, "lip-sync", film, units).await
}

pub(super) async fn list(
    State(kling): State<Arc<Kling>>,
    Extension(call): Extension<Call>,
) -> Answer {
    legacy::page(&kling, &call, "lip-sync")
}
