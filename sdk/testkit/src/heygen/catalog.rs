//! Avatars, voices and the account.

use std::sync::Arc;

use axum::{
    Extension,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::{
    HeyGen, data,
    people::{LOOKS, Look, VOICES, Voice, find_look, find_voice},
    view,
};
use crate::{
    call::Call,
    gate::Face,
    media::{AudioFormat, Figure, Film, Sound, Speech, expired, file, size, voice_of},
    options::Vendor,
    refusal::{Answer, Class, Refusal},
};

impl HeyGen {
    fn preview_link(&self, name: &str) -> String {
        let ttl = self.desk.profile().media_ttl;
        self.links.link(&format!("/media/preview/{name}"), ttl)
    }

    fn show_look(&self, look: &Look) -> Value {
        let (width, height) = match look.orientation {
            "portrait" => (1080, 1920),
            "square" => (1080, 1080),
            _ => (1920, 1080),
        };
        json!({
            "id": look.id,
            "name": look.name,
            "avatar_type": look.kind,
            "group_id": look.group,
            "gender": look.gender,
            "default_voice_id": look.voice,
            "image_width": width,
            "image_height": height,
            "preferred_orientation": look.orientation,
            "preview_image_url": self.preview_link(&format!("{}.jpg", look.id)),
            "preview_video_url": self.preview_link(&format!("{}.mp4", look.id)),
            "status": "completed",
            "supported_api_engines": ["avatar_iii", "avatar_iv", "avatar_v"],
            "tags": [],
        })
    }
}

pub(super) async fn groups(
    State(heygen): State<Arc<HeyGen>>,
    Extension(call): Extension<Call>,
) -> Answer {
    let owner = call.query().get("ownership").cloned();
    let mut groups: Vec<Value> = Vec::new();
    for look in &LOOKS {
        let known = groups.iter().any(|group| group["id"] == look.group);
        if known || owner.as_deref().is_some_and(|owner| owner != look.owner) {
            continue;
        }
        let looks = LOOKS
            .iter()
            .filter(|other| other.group == look.group)
            .count();
        groups.push(json!({
            "id": look.group,
            "name": look.name.split([' ', ',']).next(),
            "gender": look.gender,
            "looks_count": looks,
            "preview_image_url": heygen.preview_link(&format!("{}.jpg", look.id)),
            "default_voice_id": look.voice,
        }));
    }
    view::page(&call, &groups, 20, 50, Value::clone)
}

pub(super) async fn looks(
    State(heygen): State<Arc<HeyGen>>,
    Extension(call): Extension<Call>,
) -> Answer {
    let query = call.query();
    let fits = |name: &str, value: &str| query.get(name).is_none_or(|wanted| wanted == value);
    let looks: Vec<&Look> = LOOKS
        .iter()
        .filter(|look| {
            fits("group_id", look.group)
                && fits("avatar_type", look.kind)
                && fits("ownership", look.owner)
        })
        .collect();
    view::page(&call, &looks, 20, 50, |look| heygen.show_look(look))
}

pub(super) async fn one_look(State(heygen): State<Arc<HeyGen>>, Path(id): Path<String>) -> Answer {
    let look = find_look(&id);
    let look = look.ok_or_else(|| Refusal::new(404, "avatar_not_found", "Avatar not found"))?;
    Ok(data(&heygen.show_look(look)))
}

pub(super) async fn voices(
    State(heygen): State<Arc<HeyGen>>,
    Extension(call): Extension<Call>,
) -> Answer {
    let query = call.query();
    let fits = |name: &str, value: &str| {
        query
            .get(name)
            .is_none_or(|wanted| wanted.eq_ignore_ascii_case(value))
    };
    let voices: Vec<&Voice> = VOICES
        .iter()
        .filter(|voice| {
            fits("type", voice.kind)
                && fits("language", voice.language)
                && fits("gender", voice.gender)
        })
        .collect();
    view::page(&call, &voices, 20, 100, |voice| {
        json!({
            "voice_id": voice.id,
            "name": voice.name,
            "language": voice.language,
            "gender": voice.gender,
            "type": voice.kind,
            "preview_audio_url": heygen.preview_link(&format!("{}.mp3", voice.id)),
            "support_pause": true,
            "support_locale": voice.language == "English",
        })
    })
}

pub(super) async fn me(State(heygen): State<Arc<HeyGen>>) -> Response {
    // The balance falls with what is billed, as a prepaid wallet does.
    let spent = heygen.desk.invoice(Vendor::HeyGen).micro_usd;
    let left = 500_000_000_u64.saturating_sub(spent) / 10_000;
    let left = f64::from(u32::try_from(left).unwrap_or(u32::MAX)) / 100.0;
    data(&json!({
        "username": "simulated",
        "email": "simulated@example.com",
        "first_name": "Simulated",
        "last_name": "Account",
        "billing_type": "wallet",
        "wallet": {
            "currency": "usd",
            "remaining_balance": left,
            "auto_reload": {"enabled": false, "threshold_usd": 10, "amount_usd": 50},
        },
        "subscription": null,
        "usage_based": null,
    }))
}

/// Previews of looks and voices.
pub(super) async fn preview(
    State(heygen): State<Arc<HeyGen>>,
    Path(name): Path<String>,
    Extension(call): Extension<Call>,
) -> Response {
    if !heygen.links.works(&format!("/media/preview/{name}"), &call) {
        return expired();
    }
    let (id, extension) = name.rsplit_once('.').unwrap_or((&name, ""));
    let studio = &heygen.desk.studio;
    let made = if let Some(voice) = find_voice(id) {
        let speech = Speech {
            text: format!(
                "Hello, my name is {}.",
                voice.name.split(' ').next().unwrap_or("Sam")
            ),
            speed: 1.0,
            voice: voice_of(voice.id, voice.gender == "female"),
        };
        match AudioFormat::parse("mp3_44100_64") {
            Some(format) => studio
                .speech(&speech, &format)
                .await
                .map(|path| (path, format.mime)),
            None => return expired(),
        }
    } else if let Some(look) = find_look(id) {
        let ratio = match look.orientation {
            "portrait" => "9:16",
            "square" => "1:1",
            _ => "16:9",
        };
        let mut film = Film::new(size(ratio), 3.0, Sound::Silent, look.seed());
        film.figure = Figure::Presenter;
        film = film.described(look.name);
        match extension {
            "jpg" => studio.poster(&film).await.map(|path| (path, "image/jpeg")),
            _ => studio.film(&film).await.map(|path| (path, "video/mp4")),
        }
    } else {
        return expired();
    };
    match made {
        Ok((path, mime)) => file(&path, mime, &call.headers).await,
        Err(error) => {
            heygen.desk.trouble("a preview was not made", &error);
            heygen.refusal(Class::InternalError).into_response()
        }
    }
}
