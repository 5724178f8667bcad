//! HeyGen's words and the contract's, on the vendor's own shapes.

#[path = "heygen/answers.rs"]
mod answers;
#[path = "heygen/create.rs"]
mod create;
#[path = "heygen/refusals.rs"]
mod refusals;
#[path = "heygen/rest.rs"]
mod rest;

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/", $name))
    };
}
use fixture;

use genvid_sdk::{Context, serde_json, testing, video};

/// A film by an avatar that speaks a script.
fn avatar_film() -> video::Request {
    video::Request {
        speech: video::Speech::Script("Meet the bottle that keeps cold for 24 hours.".to_owned()),
        avatar: Some("look_5f1c".to_owned()),
        voice: Some("2d5b0e6c".to_owned()),
        ..testing::video_request()
    }
}

fn context() -> Context {
    testing::context()
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).expect("fixtures are JSON")
}
