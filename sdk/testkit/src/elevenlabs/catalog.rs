//! Voices, models and the account.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::ElevenLabs;
use crate::{
    call::Call,
    refusal::{Answer, Refusal},
};

/// Credits of the simulated account: enough for load tests.
pub(super) const CHARACTER_LIMIT: u64 = 100_000_000;

pub(super) struct Voice {
    pub(super) id: &'static str,
    pub(super) name: &'static str,
    pub(super) gender: &'static str,
    accent: &'static str,
    language: &'static str,
    use_case: &'static str,
}

const fn voice(
    id: &'static str,
    name: &'static str,
    gender: &'static str,
    accent: &'static str,
    language: &'static str,
    use_case: &'static str,
) -> Voice {
    Voice {
        id,
        name,
        gender,
        accent,
        language,
        use_case,
    }
}

static VOICES: [Voice; 14] = [
    voice(
        "21m00Tcm4TlvDq8ikWAM",
        "Rachel",
        "female",
        "american",
        "en",
        "narration",
    ),
    voice(
        "EXAVITQu4vr4xnSDxMaL",
        "Sarah",
        "female",
        "american",
        "en",
        "entertainment_tv",
    ),
    voice(
        "JBFqnCBsd6RMkjVDRZzb",
        "George",
        "male",
        "british",
        "en",
        "narrative_story",
    ),
    voice(
        "nPczCjzI2devNBz1zQrb",
        "Brian",
        "male",
        "american",
        "en",
        "social_media",
    ),
    voice(
        "pNInz6obpgDQGcFmaJgB",
        "Adam",
        "male",
        "american",
        "en",
        "social_media",
    ),
    voice(
        "XB0fDUnXU5powFXDhCwa",
        "Charlotte",
        "female",
        "swedish",
        "en",
        "characters_animation",
    ),
    voice(
        "onwK4e9ZLuTAKqWW03F9",
        "Daniel",
        "male",
        "british",
        "en",
        "informative_educational",
    ),
    voice(
        "pFZP5JQG7iQjIQuC4Bku",
        "Lily",
        "female",
        "british",
        "en",
        "narrative_story",
    ),
    voice(
        "TX3LPaxmHKxFdv7VOQHJ",
        "Liam",
        "male",
        "american",
        "en",
        "social_media",
    ),
    voice(
        "XrExE9yKIg1WjnnlVkGX",
        "Matilda",
        "female",
        "american",
        "en",
        "informative_educational",
    ),
    voice(
        "bIHbv24MWmeRgasZH58o",
        "Will",
        "male",
        "american",
        "en",
        "conversational",
    ),
    voice(
        "cgSgspJ2msm6clMCkdW9",
        "Jessica",
        "female",
        "american",
        "en",
        "conversational",
    ),
    voice(
        "bhJUNIXWQQ94l8eI2VUf",
        "Amy",
        "female",
        "standard",
        "zh",
        "narrative_story",
    ),
    voice(
        "FTNCalFNG5bRnkkaP5Ug",
        "Otto",
        "male",
        "standard",
        "de",
        "informative_educational",
    ),
];

pub(super) struct Model {
    pub(super) id: &'static str,
    name: &'static str,
    /// Characters a request.
    pub(super) longest: usize,
    /// Half a credit a character.
    pub(super) half_price: bool,
}

static MODELS: [Model; 6] = [
    Model {
        id: "eleven_multilingual_v2",
        name: "Eleven Multilingual v2",
        longest: 10_000,
        half_price: false,
    },
    Model {
        id: "eleven_v3",
        name: "Eleven v3",
        longest: 5_000,
        half_price: false,
    },
    Model {
        id: "eleven_flash_v2_5",
        name: "Eleven Flash v2.5",
        longest: 40_000,
        half_price: true,
    },
    Model {
        id: "eleven_flash_v2",
        name: "Eleven Flash v2",
        longest: 30_000,
        half_price: true,
    },
    Model {
        id: "eleven_turbo_v2_5",
        name: "Eleven Turbo v2.5",
        longest: 40_000,
        half_price: true,
    },
    Model {
        id: "eleven_turbo_v2",
        name: "Eleven Turbo v2",
        longest: 30_000,
        half_price: true,
    },
];

const LANGUAGES: [(&str, &str); 10] = [
    ("en", "English"),
    ("zh", "Chinese"),
    ("de", "German"),
    ("fr", "French"),
    ("es", "Spanish"),
    ("it", "Italian"),
    ("ja", "Japanese"),
    ("ko", "Korean"),
    ("pt", "Portuguese"),
    ("hi", "Hindi"),
];

pub(super) fn find_voice(id: &str) -> Option<&'static Voice> {
    VOICES.iter().find(|voice| voice.id == id)
}

pub(super) fn find_model(id: &str) -> Option<&'static Model> {
    MODELS.iter().find(|model| model.id == id)
}

fn show(voice: &Voice) -> Value {
    let preview = format!(
        "https://storage.googleapis.com/eleven-public-prod/premade/voices/{}/preview.mp3",
        voice.id
    );
    json!({
        "voice_id": voice.id,
        "name": voice.name,
        "category": "premade",
        "labels": {
            "accent": voice.accent, "age": "young", "gender": voice.gender,
            "language": voice.language, "use_case": voice.use_case,
        },
        "description": format!("{} for {}", voice.name, voice.use_case.replace('_', " ")),
        "preview_url": preview,
        "verified_languages": [{
            "language": voice.language, "model_id": "eleven_multilingual_v2",
            "accent": voice.accent, "preview_url": preview,
        }],
        "available_for_tiers": [],
        "high_quality_base_model_ids": ["eleven_multilingual_v2", "eleven_turbo_v2_5"],
    })
}

/// `GET /v2/voices`.
pub(super) async fn voices(Extension(call): Extension<Call>) -> Answer {
    let query = call.query();
    let wrong = |name: &str| {
        Refusal::new(400, "invalid_parameters", format!("{name} is invalid")).param(name)
    };
    let size = match query.get("page_size") {
        None => 10,
        Some(text) => text
            .parse::<usize>()
            .ok()
            .filter(|size| (1..=100).contains(size))
            .ok_or_else(|| wrong("page_size"))?,
    };
    let start = match query
        .get("next_page_token")
        .filter(|token| !token.is_empty())
    {
        None => 0,
        Some(token) => token
            .strip_prefix("page-")
            .and_then(|number| number.parse::<usize>().ok())
            .ok_or_else(|| wrong("next_page_token"))?,
    };
    let is = |name: &str, value: &str| query.get(name).is_none_or(|wanted| wanted == value);
    let search = query.get("search").map(|text| text.to_lowercase());
    let ids = query.get("voice_ids");
    let matching: Vec<&Voice> = VOICES
        .iter()
        .filter(|voice| {
            is("language", voice.language)
                && is("gender", voice.gender)
                && is("category", "premade")
                && ids.is_none_or(|ids| ids.split(',').any(|id| id == voice.id))
                && search
                    .as_ref()
                    .is_none_or(|words| voice.name.to_lowercase().contains(words))
        })
        .collect();
    let end = start.saturating_add(size).min(matching.len());
    let page = matching.get(start..end).unwrap_or_default();
    let shown: Vec<Value> = page.iter().map(|voice| show(voice)).collect();
    let has_more = end < matching.len();
    let next = has_more.then(|| format!("page-{end}"));
    Ok(Json(json!({
        "voices": shown, "has_more": has_more,
        "total_count": matching.len(), "next_page_token": next,
    }))
    .into_response())
}

/// `GET /v1/voices`: all of them.
pub(super) async fn voices_v1() -> Response {
    let voices: Vec<Value> = VOICES.iter().map(show).collect();
    Json(json!({"voices": voices})).into_response()
}

pub(super) async fn one_voice(Path(id): Path<String>) -> Answer {
    match find_voice(&id) {
        Some(voice) => Ok(Json(show(voice)).into_response()),
        None => Err(Refusal::new(404, "voice_not_found", "Voice not found")),
    }
}

pub(super) async fn models() -> Response {
    let languages: Vec<Value> = LANGUAGES
        .iter()
        .map(|(id, name)| json!({"language_id": id, "name": name}))
        .collect();
    let models: Vec<Value> = MODELS
        .iter()
        .map(|model| {
            let factor = if model.half_price { 0.5 } else { 1.0 };
            json!({
                "model_id": model.id,
                "name": model.name,
                "can_do_text_to_speech": true,
                "can_be_finetuned": false,
                "can_do_voice_conversion": false,
                "can_use_style": true,
                "can_use_speaker_boost": true,
                "token_cost_factor": factor,
                "description": model.name,
                "max_characters_request_free_user": model.longest.min(2_500),
                "max_characters_request_subscribed_user": model.longest,
                "maximum_text_length_per_request": model.longest,
                "languages": languages,
                "model_rates": {
                    "character_cost_multiplier": factor, "cost_discount_multiplier": 1.0,
                },
                "concurrency_group": "standard",
            })
        })
        .collect();
    Json(models).into_response()
}

fn subscription_of(elevenlabs: &ElevenLabs) -> Value {
    json!({
        "tier": "creator",
        "character_count": elevenlabs.store().characters,
        "character_limit": CHARACTER_LIMIT,
        "max_credit_limit_extension": "unlimited",
        "can_extend_character_limit": true,
        "allowed_to_extend_character_limit": true,
        "next_character_count_reset_unix": crate::run::now_ms() / 1_000 + 1_209_600,
        "voice_slots_used": 1,
        "voice_limit": 30,
        "professional_voice_limit": 1,
        "status": "active",
        "currency": "usd",
        "current_overage": {"amount": "0", "currency": "usd"},
    })
}

pub(super) async fn subscription(State(elevenlabs): State<Arc<ElevenLabs>>) -> Response {
    Json(subscription_of(&elevenlabs)).into_response()
}

pub(super) async fn user(State(elevenlabs): State<Arc<ElevenLabs>>) -> Response {
    Json(json!({
        "user_id": "simulated", "first_name": "Simulated",
        "subscription": subscription_of(&elevenlabs),
    }))
    .into_response()
}
