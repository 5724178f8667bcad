//! What `submit` sends.

use genvid_plugin_heygen::HeyGen;
use genvid_sdk::http::Body;
use genvid_sdk::testing::{Reply, Vendor};
use genvid_sdk::{Context, Error, ErrorKind, Media, Result, Submission, Video, serde_json, video};

use crate::{avatar_film, context, fixture, json};

fn submit(request: &video::Request, context: &Context) -> Result<Submission> {
    HeyGen::submit(request, context)
}

#[test]
fn an_avatar_speaks_a_script() {
    let vendor = Vendor::new().expect("POST", "/v3/videos", fixture!("create.response.json"));
    let request = video::Request {
        options: r##"{"fit":"cover","background_color":"#F5F5F5"}"##.to_owned(),
        ..avatar_film()
    };
    let with_callback = Context {
        callback_url: Some("https://example.test/hooks/heygen".to_owned()),
        ..context()
    };

    let answer = submit(&request, &with_callback);

    assert_eq!(answer, Ok(Submission::Accepted("vid_8c1e".to_owned())));
    let sent = vendor.only();
    assert_eq!(sent.url, "https://api.heygen.com/v3/videos");
    assert_eq!(sent.header("Idempotency-Key"), Some("ref_1"));
    assert_eq!(sent.header("content-type"), Some("application/json"));
    assert_eq!(sent.json(), json(fixture!("create-avatar.request.json")));
    assert!(sent.timeout_ms.is_some_and(|limit| limit >= 60_000));
}

#[test]
fn a_photo_speaks_uploaded_audio() {
    let vendor = Vendor::new()
        .expect("POST", "/v3/assets", fixture!("upload-audio.response.json"))
        .expect("POST", "/v3/assets", fixture!("upload-image.response.json"))
        .expect("POST", "/v3/videos", fixture!("create.response.json"));
    let request = video::Request {
        speech: video::Speech::Audio(Media::Asset("asset_a".to_owned())),
        avatar: None,
        voice: None,
        images: vec![Media::Asset("asset_b".to_owned())],
        aspect: video::Aspect::Square,
        options: r#"{"captions":"burned"}"#.to_owned(),
        ..avatar_film()
    };
    let low = Context {
        settings: r#"{"resolution":"720p"}"#.to_owned(),
        ..context()
    };

    let answer = submit(&request, &low);

    assert_eq!(answer, Ok(Submission::Accepted("vid_8c1e".to_owned())));
    let sent = vendor.sent();
    assert_eq!(sent[0].field("file"), Some("asset_a"));
    assert_eq!(sent[0].header("idempotency-key"), Some("ref_1:audio"));
    assert_eq!(sent[1].field("file"), Some("asset_b"));
    assert_eq!(sent[1].header("idempotency-key"), Some("ref_1:image"));
    assert_eq!(sent[2].json(), json(fixture!("create-image.request.json")));
}

#[test]
fn urls_are_passed_on_without_an_upload() {
    let vendor = Vendor::new().expect("POST", "/v3/videos", fixture!("create.response.json"));
    let request = video::Request {
        speech: video::Speech::Audio(Media::Url("https://cdn.example/a.mp3".to_owned())),
        voice: None,
        images: vec![Media::Url("https://cdn.example/bottle.png".to_owned())],
        ..avatar_film()
    };
    submit(&request, &context()).expect("accepted");
    let body = vendor.only().json();
    assert_eq!(body["audio_url"], "https://cdn.example/a.mp3");
    assert_eq!(body["background"]["type"], "image");
    assert_eq!(body["background"]["url"], "https://cdn.example/bottle.png");
    assert!(body.get("script").is_none() && body.get("voice_id").is_none());
}

#[test]
fn a_picture_from_the_host_becomes_the_background_of_an_avatar() {
    let vendor = Vendor::new()
        .expect("POST", "/v3/assets", fixture!("upload-image.response.json"))
        .expect("POST", "/v3/videos", fixture!("create.response.json"));
    let request = video::Request {
        images: vec![Media::Asset("asset_b".to_owned())],
        ..avatar_film()
    };
    submit(&request, &context()).expect("accepted");
    assert_eq!(
        vendor.sent()[1].json()["background"],
        serde_json::json!({"type": "image", "asset_id": "ast_41"})
    );
}

#[test]
fn every_option_arrives() {
    let vendor = Vendor::new().expect("POST", "/v3/videos", fixture!("create.response.json"));
    let request = video::Request {
        aspect: video::Aspect::Landscape,
        options: serde_json::json!({
            "resolution": "720p", "fit": "contain", "remove_background": true,
            "captions": "off", "motion_prompt": "waves", "expressiveness": "high",
            "speed": 1.25, "pitch": -5, "volume": 0.5, "locale": "en-GB"
        })
        .to_string(),
        ..avatar_film()
    };
    submit(&request, &context()).expect("accepted");
    let body = vendor.only().json();
    assert_eq!(body["resolution"], "720p");
    assert_eq!(body["aspect_ratio"], "16:9");
    assert_eq!(body["fit"], "contain");
    assert_eq!(body["remove_background"], true);
    assert!(body.get("caption").is_none());
    assert_eq!(body["motion_prompt"], "waves");
    assert_eq!(body["expressiveness"], "high");
    assert_eq!(
        body["voice_settings"],
        serde_json::json!({"speed": 1.25, "pitch": -5.0, "volume": 0.5, "locale": "en-GB"})
    );
}

#[test]
fn a_model_is_an_engine_and_a_resolution() {
    for (model, engine, resolution) in [
        (None, "avatar_iv", "1080p"),
        (Some("avatar_iv_4k"), "avatar_iv", "4k"),
        (Some("avatar_v"), "avatar_v", "1080p"),
        (Some("avatar_v_4k"), "avatar_v", "4k"),
        (Some("avatar_iii"), "avatar_iii", "1080p"),
        (Some("avatar_iii_4k"), "avatar_iii", "4k"),
    ] {
        let vendor = Vendor::new().expect("POST", "/v3/videos", fixture!("create.response.json"));
        let request = video::Request {
            model: model.map(str::to_owned),
            ..avatar_film()
        };
        submit(&request, &context()).expect("accepted");
        let body = vendor.only().json();
        assert_eq!(body["engine"]["type"], engine, "{model:?}");
        assert_eq!(body["resolution"], resolution, "{model:?}");
    }
}

#[test]
fn what_heygen_cannot_do_is_refused_before_anything_is_sent() {
    let cases = [
        (
            "speech",
            video::Request {
                speech: video::Speech::Silent,
                ..avatar_film()
            },
        ),
        (
            "speech.audio",
            video::Request {
                speech: video::Speech::Audio(Media::Text("la".to_owned())),
                ..avatar_film()
            },
        ),
        (
            "avatar",
            video::Request {
                avatar: None,
                images: Vec::new(),
                speech: video::Speech::Audio(Media::Url("https://cdn.example/a.mp3".to_owned())),
                ..avatar_film()
            },
        ),
        (
            "voice",
            video::Request {
                avatar: None,
                voice: None,
                images: vec![Media::Url("https://cdn.example/face.png".to_owned())],
                ..avatar_film()
            },
        ),
        (
            "images",
            video::Request {
                images: vec![Media::Url("https://cdn.example/x.png".to_owned()); 2],
                ..avatar_film()
            },
        ),
        (
            "model",
            video::Request {
                model: Some("avatar_ix".to_owned()),
                ..avatar_film()
            },
        ),
        (
            "prompt",
            video::Request {
                prompt: Some("a beach".to_owned()),
                ..avatar_film()
            },
        ),
    ];
    for (field, request) in cases {
        let vendor = Vendor::new();
        let error = submit(&request, &context()).expect_err(field);
        match error.kind {
            ErrorKind::InvalidInput(problems) => assert_eq!(problems[0].field, field),
            other => panic!("{field}: {other:?}"),
        }
        assert!(vendor.sent().is_empty(), "{field}");
    }
}

#[test]
fn a_lost_upload_is_no_lost_video() {
    let vendor = Vendor::new().expect(
        "POST",
        "/v3/assets",
        Error::outcome_unknown("the connection broke"),
    );
    let request = video::Request {
        speech: video::Speech::Audio(Media::Asset("asset_a".to_owned())),
        ..avatar_film()
    };
    let error = submit(&request, &context()).expect_err("the upload failed");
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(matches!(vendor.only().body, Body::Form(_)));
}

#[test]
fn an_answer_that_cannot_be_read_may_have_been_accepted() {
    for broken in [
        "",
        "<html>",
        "{\"data\":{}}",
        "{\"data\":{\"video_id\":\"vid_8",
    ] {
        let _vendor = Vendor::new().expect("POST", "/v3/videos", broken);
        let error = submit(&avatar_film(), &context()).expect_err("unreadable");
        assert_eq!(error.kind, ErrorKind::OutcomeUnknown, "{broken}");
    }
}

#[test]
fn an_answer_that_never_came_is_passed_on() {
    let _vendor = Vendor::new().expect(
        "POST",
        "/v3/videos",
        Error::outcome_unknown("no answer in 120 s"),
    );
    let error = submit(&avatar_film(), &context()).expect_err("no answer");
    assert_eq!(error.kind, ErrorKind::OutcomeUnknown);
}

#[test]
fn a_request_that_is_still_running_is_not_repeated_blindly() {
    let _vendor = Vendor::new().expect(
        "POST",
        "/v3/videos",
        Reply::json(409, fixture!("error-409.response.json")),
    );
    let error = submit(&avatar_film(), &context()).expect_err("in flight");
    assert_eq!(error.kind, ErrorKind::OutcomeUnknown);
    assert_eq!(error.vendor_code.as_deref(), Some("request_in_progress"));
}
