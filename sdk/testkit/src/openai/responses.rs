//! `/v1/responses`.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Extension, Json,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::{
    OpenAi, invalid,
    request::{self, Ending, Question, Written},
    stream,
};
use crate::{
    call::{Call, text},
    gate::Face,
    refusal::{Answer, Class, Refusal},
};

/// A response that can be asked for again.
pub(super) struct Stored {
    written: Written,
    started: Instant,
    is_background: bool,
    canceled: bool,
}

impl Stored {
    /// How far the vendor is: a background response takes its time.
    fn status(&self) -> &'static str {
        let passed = self.started.elapsed();
        if self.canceled {
            "cancelled"
        } else if self.is_background && passed < self.written.write {
            if passed < Duration::from_millis(100) {
                "queued"
            } else {
                "in_progress"
            }
        } else {
            ended(&self.written)
        }
    }

    fn show(&self) -> Value {
        show(&self.written, self.status(), self.is_background)
    }
}

fn ended(written: &Written) -> &'static str {
    match written.ending {
        Ending::Length => "incomplete",
        _ if written.twists.stream_error => "failed",
        Ending::Complete | Ending::Refused => "completed",
    }
}

fn message(written: &Written) -> Value {
    let part = match written.ending {
        Ending::Refused => json!({"type": "refusal", "refusal": written.text}),
        _ => json!({"type": "output_text", "text": written.text, "annotations": []}),
    };
    json!({
        "id": message_id(written), "type": "message", "status": "completed",
        "role": "assistant", "content": [part],
    })
}

fn message_id(written: &Written) -> String {
    written.id.replacen("resp_", "msg_", 1)
}

fn show(written: &Written, status: &str, is_background: bool) -> Value {
    let has_output = matches!(status, "completed" | "incomplete");
    let output = if has_output {
        json!([message(written)])
    } else {
        json!([])
    };
    let error = (status == "failed")
        .then(|| json!({"code": "server_error", "message": "The server had an error."}));
    let incomplete = (status == "incomplete").then(|| json!({"reason": "max_output_tokens"}));
    let usage = has_output.then(|| {
        json!({
            "input_tokens": written.input_tokens,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": written.output_tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": written.input_tokens + written.output_tokens,
        })
    });
    json!({
        "id": written.id, "object": "response", "created_at": written.created,
        "status": status, "background": is_background, "error": error,
        "incomplete_details": incomplete, "model": written.model, "output": output,
        "usage": usage, "metadata": written.metadata,
    })
}

pub(super) async fn create(
    State(openai): State<Arc<OpenAi>>,
    Extension(call): Extension<Call>,
) -> Answer {
    let desk = openai.desk.clone();
    let body = call.json().ok_or_else(|| {
        Refusal::new(400, "", "We could not parse the JSON body of your request.")
    })?;
    let _place = desk.place().ok_or_else(|| openai.refusal(Class::NoSlot))?;
    let mut instructions = text(&body, "instructions").unwrap_or_default().to_owned();
    let user = match body.get("input") {
        Some(Value::String(input)) if !input.is_empty() => input.clone(),
        Some(Value::Array(items)) if !items.is_empty() => {
            let (more, user) = request::split(items, "input")?;
            instructions.push('\n');
            instructions.push_str(&more);
            user
        }
        _ => return Err(invalid("input", "Missing required parameter: 'input'.")),
    };
    let schema = match body.pointer("/text/format") {
        Some(format) if format["type"] == "json_schema" => request::schema(format, "text.format")?,
        _ => None,
    };
    let token_limit = body.get("max_output_tokens").and_then(Value::as_u64);
    if token_limit.is_some_and(|limit| limit < 16) {
        return Err(invalid(
            "max_output_tokens",
            "Invalid 'max_output_tokens': at least 16.",
        ));
    }
    let question = Question {
        instructions,
        user,
        schema,
        token_limit,
    };
    let id = format!("resp_{}", desk.token(32));
    let written = request::write(&openai, &call, &body, &question, id)?;
    let is_background = body["background"] == true;
    let stored = Stored {
        written: written.clone(),
        started: Instant::now(),
        is_background,
        canceled: false,
    };
    // Kept unless the caller says otherwise.
    let keeps = body["store"] != false || is_background;
    if is_background {
        let shown = stored.show();
        openai.store().responses.push(stored);
        return Ok(Json(shown).into_response());
    }
    if body["stream"] == true {
        if keeps {
            openai.store().responses.push(stored);
        }
        return Ok(streamed(written));
    }
    tokio::time::sleep(written.write).await;
    let shown = stored.show();
    if keeps {
        openai.store().responses.push(stored);
    }
    Ok(Json(shown).into_response())
}

fn absent(id: &str) -> Refusal {
    Refusal::new(
        404,
        "not_found",
        format!("Response with id '{id}' not found."),
    )
}

pub(super) async fn one(State(openai): State<Arc<OpenAi>>, Path(id): Path<String>) -> Answer {
    let store = openai.store();
    let found = store.responses.iter().find(|item| item.written.id == id);
    Ok(Json(found.ok_or_else(|| absent(&id))?.show()).into_response())
}

pub(super) async fn cancel(State(openai): State<Arc<OpenAi>>, Path(id): Path<String>) -> Answer {
    let mut store = openai.store();
    let found = store
        .responses
        .iter_mut()
        .find(|item| item.written.id == id);
    let item = found.ok_or_else(|| absent(&id))?;
    if !item.is_background {
        return Err(invalid(
            "response_id",
            "Only background responses can be cancelled.",
        ));
    }
    if matches!(item.status(), "queued" | "in_progress") {
        item.canceled = true;
    }
    Ok(Json(item.show()).into_response())
}

pub(super) async fn delete(State(openai): State<Arc<OpenAi>>, Path(id): Path<String>) -> Answer {
    let mut store = openai.store();
    let before = store.responses.len();
    store.responses.retain(|item| item.written.id != id);
    if store.responses.len() == before {
        return Err(absent(&id));
    }
    Ok(Json(json!({"id": id, "object": "response", "deleted": true})).into_response())
}

/// Sends typed events with their sequence numbers.
struct Typed {
    events: stream::Events,
    number: u64,
}

impl Typed {
    async fn send(&mut self, kind: &str, mut data: Value) {
        data["type"] = json!(kind);
        data["sequence_number"] = json!(self.number);
        self.number += 1;
        self.events.send(Some(kind), &data.to_string()).await;
    }
}

fn streamed(written: Written) -> Response {
    let (events, response) = stream::open();
    tokio::spawn(async move {
        let mut typed = Typed { events, number: 0 };
        let running = show(&written, "in_progress", false);
        typed
            .send("response.created", json!({"response": running}))
            .await;
        typed
            .send("response.in_progress", json!({"response": running}))
            .await;
        let item = json!({
            "id": message_id(&written), "type": "message", "status": "in_progress",
            "role": "assistant", "content": [],
        });
        typed
            .send(
                "response.output_item.added",
                json!({"output_index": 0, "item": item}),
            )
            .await;
        let place = json!({
            "item_id": message_id(&written), "output_index": 0, "content_index": 0,
        });
        let with = |name: &str, value: Value| {
            let mut data = place.clone();
            data[name] = value;
            data
        };
        let is_refused = written.ending == Ending::Refused;
        let empty = if is_refused {
            json!({"type": "refusal", "refusal": ""})
        } else {
            json!({"type": "output_text", "text": "", "annotations": []})
        };
        typed
            .send("response.content_part.added", with("part", empty))
            .await;
        let (pieces, pause) = stream::pieces(&written);
        let breaks_after = stream::breaks_after(&written);
        let half = pieces.len() / 2;
        let mut sent = 0;
        let word = if is_refused {
            "response.refusal"
        } else {
            "response.output_text"
        };
        for (index, piece) in pieces.iter().enumerate() {
            tokio::time::sleep(pause).await;
            if written.twists.stream_error && index == half {
                let error = json!({
                    "code": "server_error", "message": "The server had an error.", "param": null,
                });
                typed.send("error", error).await;
                return;
            }
            if breaks_after.is_some_and(|after| sent >= after) {
                return;
            }
            sent += piece.chars().count();
            typed
                .send(&format!("{word}.delta"), with("delta", json!(piece)))
                .await;
        }
        let field = if is_refused { "refusal" } else { "text" };
        typed
            .send(&format!("{word}.done"), with(field, json!(written.text)))
            .await;
        let whole = message(&written);
        let part = whole["content"][0].clone();
        typed
            .send("response.content_part.done", with("part", part))
            .await;
        typed
            .send(
                "response.output_item.done",
                json!({"output_index": 0, "item": whole}),
            )
            .await;
        let status = ended(&written);
        let last = show(&written, status, false);
        typed
            .send(&format!("response.{status}"), json!({"response": last}))
            .await;
    });
    response
}
