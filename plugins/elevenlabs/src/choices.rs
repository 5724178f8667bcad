//! Voices and models to choose from.

use genvid_sdk::catalog::{Item, Kind, Page};
use genvid_sdk::prelude::*;
use serde::Deserialize;

use crate::errors;
use crate::request::Settings;

/// The vendor's most voices in a page.
const PAGE_SIZE: &str = "100";

#[derive(Deserialize)]
struct Voices {
    voices: Vec<VendorVoice>,
    #[serde(default)]
    has_more: bool,
    #[serde(default)]
    next_page_token: Option<String>,
}

#[derive(Deserialize)]
struct VendorVoice {
    voice_id: String,
    name: String,
    #[serde(default)]
    category: Option<String>,
    #[serde(default)]
    labels: Value,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    preview_url: Option<String>,
    #[serde(default)]
    verified_languages: Option<Vec<VerifiedLanguage>>,
}

#[derive(Deserialize)]
struct VerifiedLanguage {
    language: String,
    #[serde(default)]
    locale: Option<String>,
}

#[derive(Deserialize)]
struct VendorModel {
    model_id: String,
    name: String,
    #[serde(default)]
    can_do_text_to_speech: bool,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    maximum_text_length_per_request: Option<u64>,
    #[serde(default)]
    languages: Option<Vec<ModelLanguage>>,
    #[serde(default)]
    model_rates: Value,
}

#[derive(Deserialize)]
struct ModelLanguage {
    language_id: String,
}

/// One page of `GET /v2/voices`.
pub(crate) fn voices(cursor: Option<&str>, settings: &Settings) -> Result<Page> {
    let mut call = http::get(settings.url("/v2/voices")).query("page_size", PAGE_SIZE);
    if let Some(cursor) = cursor {
        call = call.query("next_page_token", cursor);
    }
    let answer = call.send()?;
    if !answer.is_success() {
        return Err(errors::of_question(&answer));
    }
    let page: Voices = answer.json()?;
    Ok(Page {
        items: page.voices.into_iter().map(voice).collect(),
        next: page.has_more.then_some(page.next_page_token).flatten(),
    })
}

fn voice(voice: VendorVoice) -> Item {
    let verified = voice.verified_languages.unwrap_or_default();
    let languages: Vec<&str> = verified
        .iter()
        .map(|known| known.locale.as_deref().unwrap_or(&known.language))
        .collect();
    Item {
        id: voice.voice_id,
        kind: Kind::Voice,
        name: voice.name,
        // The multilingual models let every voice speak every language: only one that was
        // verified in a single language counts as tied to it.
        language: match languages.as_slice() {
            [only] => Some((*only).to_owned()),
            _ => None,
        },
        preview_url: voice.preview_url,
        metadata: Some(
            json!({
                "category": voice.category,
                "labels": voice.labels,
                "description": voice.description,
                "languages": languages,
            })
            .to_string(),
        ),
    }
}

/// `GET /v1/models`, those that speak. The vendor sends them all at once.
pub(crate) fn models(settings: &Settings) -> Result<Page> {
    let answer = http::get(settings.url("/v1/models")).send()?;
    if !answer.is_success() {
        return Err(errors::of_question(&answer));
    }
    let models: Vec<VendorModel> = answer.json()?;
    let items = models
        .into_iter()
        .filter(|model| model.can_do_text_to_speech)
        .take(200)
        .map(model)
        .collect();
    Ok(Page { items, next: None })
}

fn model(model: VendorModel) -> Item {
    let known = model.languages.unwrap_or_default();
    let languages: Vec<&str> = known
        .iter()
        .map(|known| known.language_id.as_str())
        .collect();
    Item {
        id: model.model_id,
        kind: Kind::Model,
        name: model.name,
        language: match languages.as_slice() {
            [only] => Some((*only).to_owned()),
            _ => None,
        },
        preview_url: None,
        metadata: Some(
            json!({
                "description": model.description,
                "max_characters": model.maximum_text_length_per_request,
                "languages": languages,
                "rates": model.model_rates,
            })
            .to_string(),
        ),
    }
}
