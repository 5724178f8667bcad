//! Models.

use axum::{
    Json,
    extract::Path,
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use crate::refusal::{Answer, Refusal};

const MODELS: [&str; 18] = [
    "gpt-5.6-sol",
    "gpt-5.6-terra",
    "gpt-5.6-luna",
    "gpt-5.5",
    "gpt-5.4",
    "gpt-5.4-mini",
    "gpt-5.4-nano",
    "gpt-5.2",
    "gpt-5.1",
    "gpt-5",
    "gpt-5-mini",
    "gpt-5-nano",
    "gpt-4.1",
    "gpt-4.1-mini",
    "gpt-4o",
    "gpt-4o-mini",
    "gpt-4o-mini-tts",
    "tts-1",
];

pub(super) fn find(id: &str) -> Result<&'static str, Refusal> {
    if id.is_empty() {
        return Err(super::invalid(
            "model",
            "you must provide a model parameter",
        ));
    }
    let model = MODELS.into_iter().find(|model| *model == id);
    model.ok_or_else(|| {
        let message = format!("The model `{id}` does not exist or you do not have access to it.");
        Refusal::new(404, "model_not_found", message).param("model")
    })
}

fn show(id: &str) -> Value {
    json!({
        "id": id, "object": "model", "created": 1_760_000_000,
        "owned_by": "openai", "shutdown_date": null,
    })
}

pub(super) async fn list() -> Response {
    let models: Vec<Value> = MODELS.into_iter().map(show).collect();
    Json(json!({"object": "list", "data": models})).into_response()
}

pub(super) async fn one(Path(id): Path<String>) -> Answer {
    Ok(Json(show(find(&id)?)).into_response())
}
