//! `POST /v1/chat/completions`.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::State,
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::{
    OpenAi, invalid,
    request::{self, Ending, Question, Written},
    stream,
};
use crate::{
    call::Call,
    gate::Face,
    refusal::{Answer, Class, Refusal},
};

fn usage(written: &Written) -> Value {
    json!({
        "prompt_tokens": written.input_tokens,
        "completion_tokens": written.output_tokens,
        "total_tokens": written.input_tokens + written.output_tokens,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0, "audio_tokens": 0,
            "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0,
        },
    })
}

fn finish_reason(written: &Written) -> &'static str {
    match written.ending {
        Ending::Length => "length",
        Ending::Complete | Ending::Refused => "stop",
    }
}

/// The whole answer.
fn completion(written: &Written) -> Value {
    let (content, refusal) = match written.ending {
        Ending::Refused => (Value::Null, json!(written.text)),
        _ => (json!(written.text), Value::Null),
    };
    json!({
        "id": written.id,
        "object": "chat.completion",
        "created": written.created,
        "model": written.model,
        "choices": [{
            "index": 0,
            "finish_reason": finish_reason(written),
            "logprobs": null,
            "message": {
                "role": "assistant", "content": content, "refusal": refusal, "annotations": [],
            },
        }],
        "usage": usage(written),
        "service_tier": "default",
        "system_fingerprint": "fp_simulated",
    })
}

/// Checks `response_format` and answers the schema in it.
fn format(body: &Value) -> Result<Option<&Value>, Refusal> {
    let Some(format) = body.get("response_format").filter(|value| !value.is_null()) else {
        return Ok(None);
    };
    match format.get("type").and_then(Value::as_str) {
        Some("text") => Ok(None),
        Some("json_object") => Ok(Some(&Value::Null)),
        Some("json_schema") => {
            let inner = format.get("json_schema").filter(|value| value.is_object());
            let inner = inner.ok_or_else(|| {
                let param = "response_format.json_schema";
                invalid(param, format!("Missing required parameter: '{param}'."))
            })?;
            request::schema(inner, "response_format.json_schema")
        }
        _ => Err(invalid(
            "response_format.type",
            "Invalid 'response_format.type'.",
        )),
    }
}

/// What `json_object` is answered with: the vendor leaves the shape to the prompt.
fn free_schema() -> Value {
    json!({"type": "object", "properties": {
        "title": {"type": "string"}, "hook": {"type": "string"},
        "scenes": {"type": "array", "items": {"type": "object", "properties": {
            "visual": {"type": "string"}, "narration": {"type": "string"},
            "seconds": {"type": "number"},
        }}},
        "call_to_action": {"type": "string"},
    }})
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
    let messages = body.get("messages").and_then(Value::as_array);
    let messages = messages
        .filter(|messages| !messages.is_empty())
        .ok_or_else(|| invalid("messages", "Missing required parameter: 'messages'."))?;
    let (instructions, user) = request::split(messages, "messages")?;
    let free = free_schema();
    let schema = match format(&body)? {
        Some(Value::Null) => Some(&free),
        schema => schema,
    };
    let limit = body.get("max_completion_tokens").or(body.get("max_tokens"));
    let question = Question {
        instructions,
        user,
        schema,
        token_limit: limit.and_then(Value::as_u64),
    };
    let id = format!("chatcmpl-{}", desk.token(24));
    let written = request::write(&openai, &call, &body, &question, id)?;
    let keeps = body["store"] == true;
    if body["stream"] == true {
        let with_usage = body
            .pointer("/stream_options/include_usage")
            .is_some_and(|value| *value == true);
        return Ok(streamed(openai.clone(), written, keeps, with_usage));
    }
    tokio::time::sleep(written.write).await;
    let answer = completion(&written);
    if keeps {
        openai.keep_completion(&answer, &written);
    }
    Ok(Json(answer).into_response())
}

impl OpenAi {
    fn keep_completion(&self, completion: &Value, written: &Written) {
        let mut completion = completion.clone();
        completion["metadata"] = written.metadata.clone();
        self.store().completions.push(completion);
    }
}

fn chunk(written: &Written, choices: &Value) -> Value {
    json!({
        "id": written.id, "object": "chat.completion.chunk", "created": written.created,
        "model": written.model, "service_tier": "default",
        "system_fingerprint": "fp_simulated", "choices": choices,
    })
}

fn delta(written: &Written, delta: &Value, finish: Option<&str>) -> String {
    let choices = json!([{
        "index": 0, "delta": delta, "logprobs": null, "finish_reason": finish,
    }]);
    chunk(written, &choices).to_string()
}

fn streamed(openai: Arc<OpenAi>, written: Written, keeps: bool, with_usage: bool) -> Response {
    let (events, response) = stream::open();
    // Apart from the connection: what is written is billed and kept, heard or not.
    tokio::spawn(async move {
        let (pieces, pause) = stream::pieces(&written);
        let breaks_after = stream::breaks_after(&written);
        let half = pieces.len() / 2;
        let field = match written.ending {
            Ending::Refused => "refusal",
            _ => "content",
        };
        let start = json!({"role": "assistant", "content": "", "refusal": null});
        events.send(None, &delta(&written, &start, None)).await;
        let mut sent = 0;
        let mut broken = false;
        for (index, piece) in pieces.iter().enumerate() {
            tokio::time::sleep(pause).await;
            if broken {
                continue;
            }
            if written.twists.stream_error && index == half {
                let error = json!({"error": {
                    "message": "The server had an error while processing your request.",
                    "type": "server_error", "param": null, "code": "server_error",
                }});
                events.send(None, &error.to_string()).await;
                return;
            }
            if breaks_after.is_some_and(|after| sent >= after) {
                broken = true;
                continue;
            }
            sent += piece.chars().count();
            let part = json!({field: piece});
            events.send(None, &delta(&written, &part, None)).await;
        }
        if keeps {
            openai.keep_completion(&completion(&written), &written);
        }
        if broken {
            return;
        }
        let end = delta(&written, &json!({}), Some(finish_reason(&written)));
        events.send(None, &end).await;
        if with_usage {
            let mut last = chunk(&written, &json!([]));
            last["usage"] = usage(&written);
            events.send(None, &last.to_string()).await;
        }
        events.send(None, "[DONE]").await;
    });
    response
}
