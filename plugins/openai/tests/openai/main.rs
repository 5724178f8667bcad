//! The plugin against the vendor's true answers, on the scripted vendor of the SDK.

use genvid_plugin_openai::OpenAi;
use genvid_sdk::prelude::*;
use genvid_sdk::testing::{Reply, Vendor, context, script_request, voice_request};

/// A file of `fixtures/` as text.
macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/", $name))
    };
}

mod choices;
mod manifest;
mod recovery;
mod refusals;
mod schema;
mod script_writing;
mod speech;

/// 2026-11-22T15:00:00Z, when the fixtures were written.
const SUBMITTED_MS: u64 = 1_795_359_600_000;
const CHAT: &str = "/v1/chat/completions";
const SPEECH: &str = "/v1/audio/speech";

/// The request that `chat-request.json` and the streams belong to.
fn brief() -> script::Request {
    script::Request {
        instructions: "You write short adverts.".to_owned(),
        brief: "A steel bottle that keeps cold for 24 hours.".to_owned(),
        max_seconds: Some(15),
        schema: Some(fixture!("schema-given.json").to_owned()),
        options: json!({ "max_completion_tokens": 8_000 }).to_string(),
        ..script_request()
    }
}

fn with_settings(settings: Value) -> Context {
    Context {
        settings: settings.to_string(),
        ..reference()
    }
}

fn reference() -> Context {
    Context {
        client_ref: "att_01j9zq3v7e".to_owned(),
        ..context()
    }
}

fn write(request: &script::Request, context: &Context) -> Result<Done> {
    match <OpenAi as Script>::submit(request, context)? {
        Submission::Done(done) => Ok(done),
        Submission::Accepted(id) => panic!("OpenAI answers at once, but accepted {id}"),
    }
}

/// A stream as the fixture has it: the data of each event.
fn stream(sse: &str) -> Reply {
    Reply::events(sse.lines().filter_map(|line| line.strip_prefix("data: ")))
}

fn envelope(code: Option<&str>, class: &str, message: &str) -> String {
    json!({ "error": { "message": message, "type": class, "param": null, "code": code } })
        .to_string()
}

fn text(output: &Output) -> &str {
    match &output.media {
        Media::Text(text) => text,
        other => panic!("a script is text: {other:?}"),
    }
}

fn parsed(json: &str) -> Value {
    serde_json::from_str(json).expect("this is JSON")
}
