//! Chat completions that were kept with `store: true`.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::{Path, State},
    response::IntoResponse,
};
use serde_json::{Value, json};

use super::{OpenAi, invalid, listed};
use crate::{
    call::Call,
    refusal::{Answer, Refusal},
};

fn absent(id: &str) -> Refusal {
    Refusal::new(
        404,
        "not_found",
        format!("No chat completion found with id '{id}'."),
    )
}

pub(super) async fn one(State(openai): State<Arc<OpenAi>>, Path(id): Path<String>) -> Answer {
    let store = openai.store();
    let found = store.completions.iter().find(|item| item["id"] == *id);
    Ok(Json(found.ok_or_else(|| absent(&id))?.clone()).into_response())
}

pub(super) async fn delete(State(openai): State<Arc<OpenAi>>, Path(id): Path<String>) -> Answer {
    let mut store = openai.store();
    let before = store.completions.len();
    store.completions.retain(|item| item["id"] != *id);
    if store.completions.len() == before {
        return Err(absent(&id));
    }
    Ok(
        Json(json!({"object": "chat.completion.deleted", "id": id, "deleted": true}))
            .into_response(),
    )
}

/// `GET /v1/chat/completions?metadata[name]=value&model=&after=&limit=&order=`.
pub(super) async fn list(
    State(openai): State<Arc<OpenAi>>,
    Extension(call): Extension<Call>,
) -> Answer {
    let query = call.query();
    let limit = match query.get("limit") {
        None => 20,
        Some(text) => text
            .parse()
            .ok()
            .filter(|limit| (1..=100).contains(limit))
            .ok_or_else(|| invalid("limit", "Invalid 'limit': must be 1 to 100."))?,
    };
    let filters: Vec<(&str, &String)> = query
        .iter()
        .filter_map(|(name, value)| {
            let inside = name.strip_prefix("metadata[")?.strip_suffix(']')?;
            Some((inside, value))
        })
        .collect();
    let mut matching: Vec<Value> = {
        let store = openai.store();
        store
            .completions
            .iter()
            .filter(|item| {
                filters
                    .iter()
                    .all(|(name, value)| item["metadata"][name].as_str() == Some(value))
                    && query
                        .get("model")
                        .is_none_or(|model| item["model"] == **model)
            })
            .cloned()
            .collect()
    };
    if query.get("order").is_some_and(|order| order == "desc") {
        matching.reverse();
    }
    let start = match query.get("after") {
        None => 0,
        Some(after) => matching
            .iter()
            .position(|item| item["id"] == **after)
            .map_or(matching.len(), |index| index + 1),
    };
    let end = start.saturating_add(limit).min(matching.len());
    Ok(Json(listed(&matching[start..end], end < matching.len())).into_response())
}
