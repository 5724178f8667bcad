//! What chat completions and responses share: the checked request and the written text.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::{OpenAi, invalid, models};
use crate::{
    call::{Call, text},
    ledger::InvoiceCall,
    refusal::Refusal,
    twists::Twists,
    writer::{self, Brief},
};

/// How an answer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Complete,
    Length,
    Refused,
}

/// An answer that is written, though perhaps not yet sent.
#[derive(Debug, Clone)]
pub(super) struct Written {
    pub(super) id: String,
    pub(super) model: String,
    /// Seconds since 1970.
    pub(super) created: i64,
    pub(super) text: String,
    pub(super) ending: Ending,
    pub(super) input_tokens: u64,
    pub(super) output_tokens: u64,
    pub(super) metadata: Value,
    pub(super) write: Duration,
    pub(super) twists: Arc<Twists>,
}

/// What the model is asked.
pub(super) struct Question<'body> {
    pub(super) instructions: String,
    pub(super) user: String,
    pub(super) schema: Option<&'body Value>,
    pub(super) token_limit: Option<u64>,
}

/// Text of a message's content, which is a text or a list of parts.
pub(super) fn content_text(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts
            .iter()
            .filter_map(|part| part.get("text").and_then(Value::as_str))
            .collect::<Vec<_>>()
            .join("\n"),
        _ => String::new(),
    }
}

/// Splits messages into what the system or developer says and what the user says.
pub(super) fn split(messages: &[Value], param: &str) -> Result<(String, String), Refusal> {
    let (mut instructions, mut user) = (Vec::new(), Vec::new());
    for (index, message) in messages.iter().enumerate() {
        let content = content_text(message.get("content").unwrap_or(&Value::Null));
        match text(message, "role") {
            Some("system" | "developer") => instructions.push(content),
            Some("user") => user.push(content),
            Some("assistant" | "tool") => {}
            _ => {
                let place = format!("{param}[{index}].role");
                return Err(invalid(&place, format!("Invalid value for '{place}'.")));
            }
        }
    }
    Ok((instructions.join("\n"), user.join("\n")))
}

/// A format that wants JSON of a schema: `name`, `schema` and `strict` are at `format`.
pub(super) fn schema<'body>(
    format: &'body Value,
    param: &str,
) -> Result<Option<&'body Value>, Refusal> {
    let name = text(format, "name").unwrap_or_default();
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if name.is_empty() || name.len() > 64 || !name.chars().all(good) {
        let place = format!("{param}.name");
        return Err(invalid(&place, format!("Invalid '{place}'.")));
    }
    let Some(schema) = format.get("schema").filter(|schema| schema.is_object()) else {
        let place = format!("{param}.schema");
        return Err(invalid(
            &place,
            format!("Missing required parameter: '{place}'."),
        ));
    };
    if format["strict"] == true
        && let Some(problem) = writer::strict_problem(schema)
    {
        let message = format!("Invalid schema for response_format '{name}': {problem}");
        return Err(Refusal::new(400, "invalid_json_schema", message).param(param));
    }
    Ok(Some(schema))
}

/// At most 16 pairs of texts, names up to 64 and values up to 512 characters.
fn metadata(body: &Value) -> Result<Value, Refusal> {
    let Some(metadata) = body.get("metadata").filter(|value| !value.is_null()) else {
        return Ok(json!({}));
    };
    let pairs = metadata
        .as_object()
        .ok_or_else(|| invalid("metadata", "Invalid type for 'metadata'."))?;
    let fits = pairs.iter().all(|(name, value)| {
        name.chars().count() <= 64
            && value
                .as_str()
                .is_some_and(|value| value.chars().count() <= 512)
    });
    if pairs.len() > 16 || !fits {
        return Err(invalid("metadata", "Invalid 'metadata': too large."));
    }
    Ok(metadata.clone())
}

/// What the caller named the work.
fn client_ref(call: &Call, metadata: &Value) -> Option<String> {
    let named = metadata.as_object().and_then(|pairs| {
        let by_name = pairs.iter().find(|(name, _)| name.contains("ref"));
        by_name.or_else(|| pairs.iter().next())
    });
    named
        .and_then(|(_, value)| value.as_str())
        .or_else(|| call.header("x-client-request-id"))
        .map(str::to_owned)
}

/// Writes the answer and bills it.
pub(super) fn write(
    openai: &OpenAi,
    call: &Call,
    body: &Value,
    question: &Question<'_>,
    id: String,
) -> Result<Written, Refusal> {
    let desk = &openai.desk;
    let model = models::find(text(body, "model").unwrap_or_default())?;
    let metadata = metadata(body)?;
    if let Some(temperature) = body.get("temperature").filter(|value| !value.is_null())
        && !temperature
            .as_f64()
            .is_some_and(|value| (0.0..=2.0).contains(&value))
    {
        return Err(invalid(
            "temperature",
            "Invalid 'temperature': must be 0 to 2.",
        ));
    }
    let brief = Brief::read(&question.instructions, &question.user);
    let twists = call.twists.clone();
    let mut ending = Ending::Complete;
    let mut text = writer::answer(&brief, question.schema);
    let mut output_tokens = writer::tokens(&text);
    if twists.refusal {
        ending = Ending::Refused;
        text = "I'm sorry, I can't help with that.".into();
        output_tokens = writer::tokens(&text);
    } else if twists.length_cut
        || question
            .token_limit
            .is_some_and(|most| most < output_tokens)
    {
        ending = Ending::Length;
        let most = match question.token_limit {
            Some(most) if most < output_tokens => most,
            _ => output_tokens / 2,
        };
        let count = usize::try_from(most * 3).unwrap_or(usize::MAX);
        let half = text.chars().count() / 2;
        text = text.chars().take(count.min(half)).collect();
        output_tokens = most;
    }
    let input_tokens = writer::tokens(&question.instructions) + writer::tokens(&question.user) + 12;
    #[expect(
        clippy::cast_precision_loss,
        reason = "texts are far shorter than 2^52"
    )]
    let units = (input_tokens + output_tokens) as f64;
    // The vendor's prices are not in its documents at hand: 0.25 and 2 USD a million tokens
    // stand for those of a small model.
    let price = input_tokens / 4 + output_tokens * 2;
    let billed = InvoiceCall::billed(&call.route, &id, "text", units, price);
    call.book(desk, billed.client_ref(client_ref(call, &metadata)));
    Ok(Written {
        id,
        model: model.to_owned(),
        created: crate::run::now_ms() / 1_000,
        text,
        ending,
        input_tokens,
        output_tokens,
        metadata,
        write: desk.profile().write,
        twists,
    })
}
