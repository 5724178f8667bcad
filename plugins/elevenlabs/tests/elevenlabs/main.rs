//! The plugin against the vendor's true answers, on the scripted vendor of the SDK.

use genvid_plugin_elevenlabs::ElevenLabs;
use genvid_sdk::prelude::*;
use genvid_sdk::testing::{Reply, Vendor, context, voice_request};

/// A file of `fixtures/` as text.
macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/", $name))
    };
}

mod account;
mod choices;
mod manifest;
mod recovery;
mod refusals;
mod speech;

/// 2026-11-22T15:00:00Z, five seconds before the history fixture was spoken.
const SUBMITTED_MS: u64 = 1_795_359_600_000;
const TEXT: &str = "Meet the bottle.\nCold for 24 hours!";
const VOICE: &str = "21m00Tcm4TlvDq8ikWAM";
const TIMED: &str = "/v1/text-to-speech/21m00Tcm4TlvDq8ikWAM/with-timestamps";
const PLAIN: &str = "/v1/text-to-speech/21m00Tcm4TlvDq8ikWAM";

fn request(timing: bool) -> voice::Request {
    voice::Request {
        text: TEXT.to_owned(),
        voice: VOICE.to_owned(),
        timing,
        ..voice_request()
    }
}

fn submit(request: &voice::Request) -> Result<Done> {
    match <ElevenLabs as Voice>::submit(request, &context())? {
        Submission::Done(done) => Ok(done),
        Submission::Accepted(id) => panic!("ElevenLabs has no tasks, but answered {id}"),
    }
}

/// The error of a timed submission that the vendor refuses.
fn refusal(reply: Reply) -> Error {
    let _vendor = Vendor::new().expect("POST", TIMED, reply);
    submit(&request(true)).unwrap_err()
}

fn detail(code: &str, message: &str) -> String {
    json!({ "detail": { "type": "error", "code": code, "status": code, "message": message } })
        .to_string()
}

fn words(done: &Done) -> Value {
    let timing = done
        .outputs
        .iter()
        .find(|output| output.role == Role::Timing)
        .expect("there is a timing output");
    assert_eq!(timing.mime, "application/json");
    let Media::Text(text) = &timing.media else {
        panic!("timings are text: {timing:?}");
    };
    serde_json::from_str(text).expect("timings are JSON")
}

fn metadata(output: &Output) -> Value {
    serde_json::from_str(output.metadata.as_deref().expect("there is metadata")).unwrap()
}
