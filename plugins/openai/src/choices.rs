//! Models and voices to choose from, and whether the key is good.

use genvid_sdk::catalog::{Item, Kind, Page};
use genvid_sdk::prelude::*;
use serde::Deserialize;

use crate::errors;
use crate::request::Settings;

/// The contract's largest page.
const PAGE: usize = 200;

/// The vendor has no route that lists its voices. These are the names in its OpenAPI
/// document for `POST /audio/speech`.
const VOICES: [&str; 10] = [
    "alloy", "ash", "ballad", "cedar", "coral", "echo", "marin", "sage", "shimmer", "verse",
];

#[derive(Deserialize)]
struct Models {
    data: Vec<Model>,
}

#[derive(Deserialize)]
struct Model {
    id: String,
    #[serde(default)]
    created: Option<i64>,
    #[serde(default)]
    owned_by: Option<String>,
    #[serde(default)]
    shutdown_date: Value,
}

/// Every model of the account, newest first. Which of them write and which speak, the vendor
/// does not say. The vendor sends all at once; the cursor is the last id of a page.
pub(crate) fn models(cursor: Option<&str>, context: &Context) -> Result<Page> {
    let (mut models, _) = fetch(context)?;
    models.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| a.id.cmp(&b.id)));
    let start = match cursor {
        None => 0,
        Some(last) => models
            .iter()
            .position(|model| model.id == last)
            .map(|at| at + 1)
            .ok_or_else(|| Error::invalid("cursor", "that model is gone: start again"))?,
    };
    let more = models.len() > start + PAGE;
    let items: Vec<Item> = models
        .into_iter()
        .skip(start)
        .take(PAGE)
        .map(item)
        .collect();
    let next = items.last().filter(|_| more).map(|last| last.id.clone());
    Ok(Page { items, next })
}

fn item(model: Model) -> Item {
    Item {
        name: model.id.clone(),
        id: model.id,
        kind: Kind::Model,
        language: None,
        preview_url: None,
        metadata: Some(
            json!({
                "created_at_unix": model.created,
                "owned_by": model.owned_by,
                "shutdown_date": model.shutdown_date,
            })
            .to_string(),
        ),
    }
}

pub(crate) fn voices() -> Page {
    let items = VOICES.iter().map(|name| Item {
        id: (*name).to_owned(),
        kind: Kind::Voice,
        name: name[..1].to_ascii_uppercase() + &name[1..],
        // Each speaks every language that the model knows.
        language: None,
        preview_url: None,
        metadata: None,
    });
    Page {
        items: items.collect(),
        next: None,
    }
}

/// The list of models costs nothing and needs a good key.
pub(crate) fn account(context: &Context) -> Result<account::Info> {
    let (models, organization) = fetch(context)?;
    let whose = organization.unwrap_or_else(|| "organization not named".to_owned());
    Ok(account::Info {
        label: format!("OpenAI ({whose}), {} models", models.len()),
        // The vendor tells no balance to an ordinary key.
        remaining: None,
    })
}

/// The models, and the organization that the vendor names in a header.
fn fetch(context: &Context) -> Result<(Vec<Model>, Option<String>)> {
    let settings: Settings = context.parse_settings()?;
    let answer = settings
        .call(http::get(settings.url("/models")), context)
        .send()?;
    if !answer.is_success() {
        return Err(errors::of_question(&answer));
    }
    let organization = answer.header("openai-organization").map(str::to_owned);
    let models: Models = answer.json()?;
    Ok((models.data, organization))
}
