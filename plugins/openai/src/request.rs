//! From Genvid's words to the vendor's: `POST /chat/completions`.

use std::collections::HashMap;

use genvid_sdk::http::Call;
use genvid_sdk::prelude::*;
use serde::Deserialize;

use crate::answer::Form;
use crate::schema;
use crate::usage::TokenPrice;

/// The model when the request names none; the manifest's default too.
const DEFAULT_MODEL: &str = "gpt-5.4-mini";
/// Where a stored completion carries the attempt's reference.
pub(crate) const REFERENCE: &str = "genvid_ref";
const BASE_URL: &str = "https://api.openai.com/v1";
/// Room for thinking and the words around the script, and for each second of speech.
const BASE_TOKENS: u32 = 8_000;
const TOKENS_PER_SECOND: u32 = 15;

/// The operator's settings: `settings.schema` of the manifest.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Settings {
    base_url: Option<String>,
    organization: Option<String>,
    project: Option<String>,
    store: Option<bool>,
    #[serde(default)]
    pub(crate) token_prices: HashMap<String, TokenPrice>,
}

impl Settings {
    pub(crate) fn url(&self, path: &str) -> String {
        let base = self.base_url.as_deref().unwrap_or(BASE_URL);
        format!("{}{path}", base.trim_end_matches('/'))
    }

    /// Whether the vendor keeps the answers, so that a lost one can be found again.
    pub(crate) fn store(&self) -> bool {
        self.store.unwrap_or(true)
    }

    /// Adds the headers that every call carries. `X-Client-Request-Id` is for support
    /// requests; it makes nothing idempotent.
    pub(crate) fn call(&self, mut call: Call, context: &Context) -> Call {
        call = call.header("X-Client-Request-Id", context.client_ref.as_str());
        if let Some(organization) = &self.organization {
            call = call.header("OpenAI-Organization", organization.as_str());
        }
        if let Some(project) = &self.project {
            call = call.header("OpenAI-Project", project.as_str());
        }
        call
    }
}

/// The request's options: `options.script` of the manifest.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Options {
    max_completion_tokens: Option<u32>,
    reasoning_effort: Option<String>,
    verbosity: Option<String>,
    temperature: Option<f64>,
}

impl Options {
    /// The longest answer in tokens, thinking included.
    pub(crate) fn longest(&self, request: &script::Request) -> u32 {
        self.max_completion_tokens.unwrap_or_else(|| {
            let seconds = request.max_seconds.unwrap_or(0).min(600);
            BASE_TOKENS + TOKENS_PER_SECOND * seconds
        })
    }
}

/// A request for one script.
pub(crate) struct Chat {
    pub(crate) body: Value,
    /// How the answer is to be read.
    pub(crate) form: Form,
}

pub(crate) fn chat(
    request: &script::Request,
    context: &Context,
    settings: &Settings,
) -> Result<Chat> {
    let options: Options = request.parse_options()?;
    if request.brief.trim().is_empty() {
        return Err(Error::invalid("brief", "there is nothing to write about"));
    }
    let mut body = json!({
        "model": request.model.as_deref().unwrap_or(DEFAULT_MODEL),
        "messages": [
            { "role": "developer", "content": request.instructions },
            { "role": "user", "content": user_message(request) },
        ],
        "stream": true,
        "stream_options": { "include_usage": true },
        "store": settings.store(),
        "max_completion_tokens": options.longest(request),
    });
    let mut form = Form::Text;
    if let Some(given) = &request.schema {
        let given: Value = serde_json::from_str(given)
            .map_err(|error| Error::invalid("schema", format!("this is not JSON: {error}")))?;
        let prepared = schema::prepare(&given);
        if !prepared.strict {
            report::info("the schema does not fit strict mode; the vendor takes it as a hint");
        }
        form = Form::Json {
            drop_nulls: prepared.drop_nulls,
        };
        body["response_format"] = json!({
            "type": "json_schema",
            "json_schema": {
                "name": "script",
                "schema": prepared.schema,
                "strict": prepared.strict,
            },
        });
    }
    // The vendor takes metadata only for what it stores.
    if settings.store() {
        body["metadata"] = form.metadata();
        body["metadata"][REFERENCE] = json!(context.client_ref);
    }
    let given = [
        (
            "reasoning_effort",
            options.reasoning_effort.map(Value::from),
        ),
        ("verbosity", options.verbosity.map(Value::from)),
        ("temperature", options.temperature.map(Value::from)),
    ];
    for (name, value) in given {
        if let Some(value) = value {
            body[name] = value;
        }
    }
    Ok(Chat { body, form })
}

/// The user's brief under what is demanded of its script. The demands stand first, where a
/// brief that tries to talk them away has not been read yet.
fn user_message(request: &script::Request) -> String {
    let mut message = format!("Language: {}\n", request.language);
    if let Some(seconds) = request.max_seconds {
        message.push_str(&format!(
            "Longest speaking time: {seconds} seconds, which is about {}. Do not go over it.\n",
            spoken_length(&request.language, seconds)
        ));
    }
    message.push_str("\nBrief:\n");
    message.push_str(&request.brief);
    message
}

/// Models count words better than seconds. 144 words a minute is a calm advert; languages
/// that are written without spaces are counted in characters.
fn spoken_length(language: &str, seconds: u32) -> String {
    let primary = language.split('-').next().unwrap_or_default();
    if ["zh", "ja", "ko", "th"].contains(&primary.to_ascii_lowercase().as_str()) {
        format!("{} characters", seconds * 4)
    } else {
        format!("{} words", (seconds * 12 / 5).max(1))
    }
}
