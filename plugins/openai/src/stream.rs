//! Reading an answer while the vendor writes it.

use genvid_sdk::http::Event;
use genvid_sdk::prelude::*;
use serde::Deserialize;

use crate::answer::Answer;
use crate::errors::{self, VendorProblem};
use crate::usage::Usage;

/// The contract's longest text.
const LONGEST_TEXT: usize = 1 << 20;

/// One `chat.completion.chunk`, or the error in its place.
#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    service_tier: Option<String>,
    #[serde(default)]
    choices: Vec<Choice>,
    #[serde(default)]
    usage: Option<Usage>,
    #[serde(default)]
    error: Option<VendorProblem>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    delta: Delta,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Default, Deserialize)]
struct Delta {
    #[serde(default)]
    content: Option<String>,
    #[serde(default)]
    refusal: Option<String>,
}

/// The whole answer. Text goes to the host as it comes.
///
/// The vendor took the request when it opened the stream, so whatever breaks from here on is
/// `outcome-unknown`, unless the vendor itself says what became of it.
pub(crate) fn read(events: impl Iterator<Item = Result<Event>>) -> Result<Answer> {
    let mut answer = Answer::default();
    for event in events {
        let data = event?.data;
        if data.trim() == "[DONE]" {
            return Ok(answer);
        }
        let chunk: Chunk = serde_json::from_str(&data).map_err(|error| {
            Error::outcome_unknown(format!("the vendor's stream cannot be read: {error}"))
        })?;
        if let Some(problem) = chunk.error {
            let written = !answer.content.is_empty() || !answer.refusal.is_empty();
            return Err(errors::of_stream(problem, written));
        }
        take(chunk, &mut answer)?;
    }
    Err(Error::outcome_unknown(
        "the vendor's stream ended before it said [DONE]",
    ))
}

fn take(chunk: Chunk, answer: &mut Answer) -> Result<()> {
    answer.id = chunk.id.or(answer.id.take());
    answer.model = chunk.model.or(answer.model.take());
    answer.service_tier = chunk.service_tier.or(answer.service_tier.take());
    answer.usage = chunk.usage.or(answer.usage.take());
    // One answer was asked for, so there is one choice; the chunk with the usage has none.
    let Some(choice) = chunk.choices.into_iter().next() else {
        return Ok(());
    };
    answer.finish_reason = choice.finish_reason.or(answer.finish_reason.take());
    if let Some(refusal) = choice.delta.refusal {
        answer.refusal.push_str(&refusal);
    }
    if let Some(content) = choice.delta.content.filter(|content| !content.is_empty()) {
        if answer.content.len() + content.len() > LONGEST_TEXT {
            return Err(Error::unexpected("the vendor writes more than 1 MiB"));
        }
        report::text(&content);
        answer.content.push_str(&content);
    }
    Ok(())
}
