//! Finding a script again whose answer was lost.
//!
//! Completions are stored with the attempt's reference as metadata, and the vendor lists
//! stored completions by metadata.

use genvid_sdk::prelude::*;
use serde::Deserialize;

use crate::answer::{Answer, Form};
use crate::errors;
use crate::request::{Options, REFERENCE, Settings};
use crate::usage::Usage;

/// A cautious guess of how long the vendor writes: so long, and so long for each token that
/// the request allowed, thinking included.
const BASE_MS: u64 = 20_000;
const MS_PER_TOKEN: u64 = 5;

#[derive(Deserialize)]
struct List {
    data: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    id: String,
    #[serde(default)]
    metadata: Value,
}

#[derive(Deserialize)]
struct Completion {
    id: String,
    #[serde(default)]
    model: Option<String>,
    choices: Vec<Choice>,
    #[serde(default)]
    usage: Option<Usage>,
    #[serde(default)]
    service_tier: Option<String>,
    #[serde(default)]
    metadata: Value,
}

#[derive(Deserialize)]
struct Choice {
    message: Message,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    content: Option<String>,
    #[serde(default)]
    refusal: Option<String>,
}

/// The stored completion of a lost submission.
pub(crate) fn find(lost: &tasks::Lost) -> Result<Option<String>> {
    let Some(request) = lost.script()? else {
        return Err(Error::unsupported(format!(
            "OpenAI keeps no record of a `{}` request",
            lost.kind
        )));
    };
    let settings: Settings = lost.context.parse_settings()?;
    if !settings.store() {
        return Err(Error::unsupported(
            "the setting `store` is off: OpenAI keeps no answers for this account",
        ));
    }
    let call = http::get(settings.url("/chat/completions"))
        .query(&format!("metadata[{REFERENCE}]"), &lost.context.client_ref)
        .query("limit", "20")
        .query("order", "desc");
    let answer = settings.call(call, &lost.context).send()?;
    if !answer.is_success() {
        return Err(errors::of_question(&answer));
    }
    let list: List = answer.json()?;
    let ours = |listed: &&Listed| {
        listed.metadata.get(REFERENCE).and_then(Value::as_str) == Some(&lost.context.client_ref)
    };
    if let Some(found) = list.data.iter().find(ours) {
        return Ok(Some(found.id.clone()));
    }
    if !list.data.is_empty() {
        return Err(Error::unexpected(
            "the vendor did not look for the metadata that it was asked for",
        ));
    }
    // A completion is stored when it is written, so an early empty answer proves nothing.
    let options: Options = request.parse_options()?;
    let patience_ms = BASE_MS + MS_PER_TOKEN * u64::from(options.longest(&request));
    if genvid_sdk::now_ms() < lost.submitted_at_ms.saturating_add(patience_ms) {
        return Err(Error::unavailable(
            "the vendor may still be writing this script; ask again later",
        ));
    }
    Ok(None)
}

/// One stored completion, which is always a finished one.
pub(crate) fn poll(task: &tasks::Task) -> Result<Status> {
    let settings: Settings = task.context.parse_settings()?;
    let path = format!("/chat/completions/{}", http::segment(&task.id)?);
    let answer = settings
        .call(http::get(settings.url(&path)), &task.context)
        .send()?;
    if !answer.is_success() {
        return Err(errors::of_question(&answer));
    }
    let completion: Completion = answer.json()?;
    let form = completion.form();
    Ok(match completion.answer().done(&form, &settings) {
        Ok(done) => Status::Done(done),
        Err(error) => Status::Failed(error),
    })
}

impl Completion {
    /// As the submission said. One that was stored without saying is JSON if it looks so.
    fn form(&self) -> Form {
        let said = self.metadata.get("genvid_form").and_then(Value::as_str);
        Form::from_metadata(said).unwrap_or_else(|| {
            let text = self
                .choices
                .first()
                .and_then(|choice| choice.message.content.as_deref());
            match text.map(str::trim_start) {
                Some(text) if text.starts_with('{') => Form::Json { drop_nulls: false },
                _ => Form::Text,
            }
        })
    }

    fn answer(self) -> Answer {
        let mut answer = Answer {
            id: Some(self.id),
            model: self.model,
            usage: self.usage,
            service_tier: self.service_tier,
            ..Answer::default()
        };
        if let Some(choice) = self.choices.into_iter().next() {
            answer.content = choice.message.content.unwrap_or_default();
            answer.refusal = choice.message.refusal.unwrap_or_default();
            answer.finish_reason = choice.finish_reason;
        }
        answer
    }
}
