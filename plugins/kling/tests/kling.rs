//! Kling's words and the contract's, on the vendor's own shapes.

#[path = "kling/answers.rs"]
mod answers;
#[path = "kling/create.rs"]
mod create;
#[path = "kling/refusals.rs"]
mod refusals;
#[path = "kling/rest.rs"]
mod rest;

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/", $name))
    };
}
use fixture;

use genvid_sdk::{Media, serde_json, testing, video};

/// A silent clip from words.
fn clip() -> video::Request {
    video::Request {
        prompt: Some("Slow dolly-in on a steel water bottle on wet rock, morning light".to_owned()),
        ..testing::video_request()
    }
}

/// A picture that speaks the host's audio.
fn speaking() -> video::Request {
    video::Request {
        speech: video::Speech::Audio(Media::Asset("asset_s".to_owned())),
        prompt: Some("She smiles".to_owned()),
        images: vec![Media::Asset("asset_p".to_owned())],
        ..testing::video_request()
    }
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).expect("fixtures are JSON")
}
