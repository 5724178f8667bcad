//! Avatars (HeyGen calls the ids that make films "looks") and voices.

use genvid_sdk::prelude::*;
use serde::Deserialize;

use crate::api::{self, BASE};

#[derive(Deserialize)]
struct Settings {
    avatars: Option<String>,
}

#[derive(Deserialize)]
struct Look {
    id: String,
    name: Option<String>,
    avatar_type: Option<String>,
    group_id: Option<String>,
    gender: Option<String>,
    default_voice_id: Option<String>,
    preferred_orientation: Option<String>,
    preview_image_url: Option<String>,
    preview_video_url: Option<String>,
    status: Option<String>,
    supported_api_engines: Option<Vec<String>>,
    tags: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Voice {
    voice_id: String,
    name: Option<String>,
    language: Option<String>,
    gender: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    preview_audio_url: Option<String>,
    support_pause: Option<bool>,
    support_locale: Option<bool>,
}

/// Engines with the two resolutions that have prices of their own; see `plugin.toml`.
const MODELS: [(&str, &str); 6] = [
    ("avatar_iv", "Avatar IV"),
    ("avatar_iv_4k", "Avatar IV, 4K"),
    ("avatar_v", "Avatar V"),
    ("avatar_v_4k", "Avatar V, 4K"),
    ("avatar_iii", "Avatar III"),
    ("avatar_iii_4k", "Avatar III, 4K"),
];

/// One page of the catalog.
pub(crate) fn list(
    kind: catalog::Kind,
    cursor: Option<&str>,
    context: &Context,
) -> Result<catalog::Page> {
    let settings: Settings = context.parse_settings()?;
    let ownership = settings.avatars.filter(|choice| choice != "all");
    match kind {
        catalog::Kind::Avatar => avatars(cursor, ownership.as_deref()),
        catalog::Kind::Voice => voices(cursor, ownership.as_deref()),
        catalog::Kind::Model => Ok(models()),
    }
}

/// `GET /v3/avatars/looks`, at most 50 a page.
fn avatars(cursor: Option<&str>, ownership: Option<&str>) -> Result<catalog::Page> {
    let mut call = http::get(format!("{BASE}/v3/avatars/looks")).query("limit", "50");
    if let Some(ownership) = ownership {
        call = call.query("ownership", ownership);
    }
    if let Some(cursor) = cursor {
        call = call.query("token", cursor);
    }
    let page = api::ask::<Vec<Look>>(call)?;
    let next = page.next();
    let items = page
        .data
        .into_iter()
        // A look that is still in training, or waits for consent, makes no film.
        .filter(|look| {
            look.status
                .as_deref()
                .is_none_or(|status| status == "completed")
        })
        .map(|look| catalog::Item {
            kind: catalog::Kind::Avatar,
            name: look.name.unwrap_or_else(|| look.id.clone()),
            language: None,
            preview_url: look.preview_image_url,
            metadata: Some(
                json!({
                    "avatar_type": look.avatar_type,
                    "group_id": look.group_id,
                    "gender": look.gender,
                    "default_voice_id": look.default_voice_id,
                    "preferred_orientation": look.preferred_orientation,
                    "preview_video_url": look.preview_video_url,
                    "supported_api_engines": look.supported_api_engines,
                    "tags": look.tags,
                })
                .to_string(),
            ),
            id: look.id,
        })
        .collect();
    Ok(catalog::Page { items, next })
}

/// `GET /v3/voices`, at most 100 a page.
fn voices(cursor: Option<&str>, ownership: Option<&str>) -> Result<catalog::Page> {
    let mut call = http::get(format!("{BASE}/v3/voices")).query("limit", "100");
    if let Some(ownership) = ownership {
        call = call.query("type", ownership);
    }
    if let Some(cursor) = cursor {
        call = call.query("token", cursor);
    }
    let page = api::ask::<Vec<Voice>>(call)?;
    let next = page.next();
    let items = page
        .data
        .into_iter()
        .map(|voice| catalog::Item {
            kind: catalog::Kind::Voice,
            name: voice.name.unwrap_or_else(|| voice.voice_id.clone()),
            language: voice.language.as_deref().and_then(tag).map(str::to_owned),
            preview_url: voice.preview_audio_url,
            metadata: Some(
                json!({
                    "language": voice.language,
                    "gender": voice.gender,
                    "type": voice.kind,
                    "support_pause": voice.support_pause,
                    "support_locale": voice.support_locale,
                })
                .to_string(),
            ),
            id: voice.voice_id,
        })
        .collect();
    Ok(catalog::Page { items, next })
}

fn models() -> catalog::Page {
    let items = MODELS
        .into_iter()
        .map(|(id, name)| catalog::Item {
            id: id.to_owned(),
            kind: catalog::Kind::Model,
            name: name.to_owned(),
            language: None,
            preview_url: None,
            metadata: None,
        })
        .collect();
    catalog::Page { items, next: None }
}

/// HeyGen names languages in English words. What is not in this list (and `Multilingual`)
/// is tied to no tag; the vendor's word stays in the metadata.
fn tag(language: &str) -> Option<&'static str> {
    const TAGS: [(&str, &str); 29] = [
        ("Arabic", "ar"),
        ("Bulgarian", "bg"),
        ("Chinese", "zh"),
        ("Croatian", "hr"),
        ("Czech", "cs"),
        ("Danish", "da"),
        ("Dutch", "nl"),
        ("English", "en"),
        ("Finnish", "fi"),
        ("French", "fr"),
        ("German", "de"),
        ("Greek", "el"),
        ("Hebrew", "he"),
        ("Hindi", "hi"),
        ("Hungarian", "hu"),
        ("Indonesian", "id"),
        ("Italian", "it"),
        ("Japanese", "ja"),
        ("Korean", "ko"),
        ("Norwegian", "no"),
        ("Polish", "pl"),
        ("Portuguese", "pt"),
        ("Romanian", "ro"),
        ("Russian", "ru"),
        ("Spanish", "es"),
        ("Swedish", "sv"),
        ("Turkish", "tr"),
        ("Ukrainian", "uk"),
        ("Vietnamese", "vi"),
    ];
    TAGS.iter()
        .find(|(word, _)| word.eq_ignore_ascii_case(language.trim()))
        .map(|(_, tag)| *tag)
}
