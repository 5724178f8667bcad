//! The contract's JSON as types.

use genvid_sdk::testing::{context, video_request};
use genvid_sdk::{Context, ErrorKind, Media, Output, Role, serde_json, tasks, video};
use serde::Deserialize;

fn lost(kind: &str, request: &str) -> tasks::Lost {
    tasks::Lost {
        context: context(),
        kind: kind.to_owned(),
        request: request.to_owned(),
        submitted_at_ms: 1,
    }
}

/// As the host writes it.
const FILM: &str = r#"{
    "speech": {"audio": {"asset": "asset_a"}}, "prompt": null, "language": "zh-CN",
    "aspect": "landscape", "avatar": "look_1", "voice": null,
    "images": [{"url": "https://x.example/a.png"}, {"text": "t"}],
    "duration_ms": 5000, "model": null, "options": "{\"seed\":1}"
}"#;

#[test]
fn a_lost_film() {
    let film = lost("video", FILM)
        .video()
        .expect("readable")
        .expect("a film");
    let expected = video::Request {
        speech: video::Speech::Audio(Media::Asset("asset_a".to_owned())),
        language: "zh-CN".to_owned(),
        aspect: video::Aspect::Landscape,
        avatar: Some("look_1".to_owned()),
        images: vec![
            Media::Url("https://x.example/a.png".to_owned()),
            Media::Text("t".to_owned()),
        ],
        duration_ms: Some(5_000),
        options: r#"{"seed":1}"#.to_owned(),
        ..video_request()
    };
    assert_eq!(film, expected);
    assert_eq!(lost("video", FILM).voice(), Ok(None));
    assert_eq!(lost("video", FILM).script(), Ok(None));
}

#[test]
fn cases_without_a_payload() {
    for silent in [r#""silent""#, r#"{"silent":null}"#] {
        let text = FILM.replace(r#"{"audio": {"asset": "asset_a"}}"#, silent);
        let film = lost("video", &text)
            .video()
            .expect("readable")
            .expect("a film");
        assert_eq!(film.speech, video::Speech::Silent);
    }
    let written = serde_json::to_value(video_request()).expect("JSON");
    assert_eq!(written["speech"], "silent");
    assert_eq!(written["aspect"], "portrait");
}

#[test]
fn lost_voices_and_scripts() {
    let voice = lost(
        "voice",
        r#"{"text":"Hi","language":"en","voice":"v","model":null,"timing":true,"options":"{}"}"#,
    );
    assert!(voice.voice().expect("readable").expect("a voice").timing);
    let script = lost(
        "script",
        r#"{"instructions":"i","brief":"b","language":"en","max_seconds":30,"schema":null,"model":"m","options":"{}"}"#,
    );
    assert_eq!(
        script
            .script()
            .expect("readable")
            .expect("a script")
            .max_seconds,
        Some(30)
    );
    let broken = lost("script", "{}")
        .script()
        .expect_err("fields are missing");
    assert_eq!(broken.kind, ErrorKind::Unexpected);
}

#[derive(Debug, Deserialize, PartialEq)]
struct Choices {
    seed: u8,
}

#[test]
fn settings_and_options() {
    let set = Context {
        settings: r#"{"seed":7}"#.to_owned(),
        ..context()
    };
    assert_eq!(set.parse_settings(), Ok(Choices { seed: 7 }));
    let request = video::Request {
        options: r#"{"seed":300}"#.to_owned(),
        ..video_request()
    };
    let error = request.parse_options::<Choices>().expect_err("too big");
    assert!(
        matches!(error.kind, ErrorKind::InvalidInput(problems) if problems[0].field == "options")
    );
}

#[test]
fn playing_times() {
    let lasting = |seconds| {
        Output::url(Role::Main, "https://x", "video/mp4")
            .lasting(seconds)
            .duration_ms
    };
    assert_eq!(lasting(Some(5.0414)), Some(5_041));
    assert_eq!(lasting(Some(0.0)), Some(0));
    for nonsense in [None, Some(-1.0), Some(f64::NAN), Some(f64::INFINITY)] {
        assert_eq!(lasting(nonsense), None);
    }
}
