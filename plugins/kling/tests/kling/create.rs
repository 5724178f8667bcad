//! What `submit` sends.

use genvid_plugin_kling::Kling;
use genvid_sdk::http::Body;
use genvid_sdk::testing::{self, Reply, Vendor};
use genvid_sdk::{Context, Error, ErrorKind, Media, Result, Submission, Video, serde_json, video};

use crate::{clip, fixture, json, speaking};

const CREATED: &str = fixture!("create.response.json");

fn submit(request: &video::Request) -> Result<Submission> {
    Kling::submit(request, &testing::context())
}

fn with_callback() -> Context {
    Context {
        callback_url: Some("https://example.test/hooks/kling".to_owned()),
        ..testing::context()
    }
}

#[test]
fn a_clip_from_words() {
    let vendor = Vendor::new().expect("POST", "/text-to-video/kling-3.0", CREATED);
    let answer = Kling::submit(&clip(), &with_callback());
    assert_eq!(answer, Ok(Submission::Accepted("831240".to_owned())));
    let sent = vendor.only();
    assert_eq!(
        sent.url,
        "https://api-singapore.klingai.com/text-to-video/kling-3.0"
    );
    assert_eq!(sent.header("content-type"), Some("application/json"));
    assert_eq!(sent.json(), json(fixture!("text-to-video.request.json")));
}

#[test]
fn a_clip_from_a_picture_has_the_shape_of_the_picture() {
    let vendor = Vendor::new().expect("POST", "/image-to-video/kling-3.0", CREATED);
    let request = video::Request {
        images: vec![
            Media::Asset("asset_p".to_owned()),
            Media::Asset("asset_q".to_owned()),
        ],
        duration_ms: Some(9_700),
        options: r#"{"resolution":"720p","audio":"native","multi_shot":true,"watermark":true}"#
            .to_owned(),
        ..clip()
    };
    submit(&request).expect("accepted");
    let sent = vendor.only();
    assert!(
        matches!(sent.body, Body::JsonWithAssets(_)),
        "the host writes the base64"
    );
    assert_eq!(sent.json(), json(fixture!("image-to-video.request.json")));
    assert_eq!(
        vendor.logs().len(),
        1,
        "the second picture is not lost in silence"
    );
}

#[test]
fn omni_takes_all_pictures_and_keeps_the_shape_of_the_request() {
    let vendor = Vendor::new().expect("POST", "/omni-video/kling-3.0-omni", CREATED);
    let request = video::Request {
        images: vec![
            Media::Url("https://cdn.example/front.png".to_owned()),
            Media::Asset("asset_p".to_owned()),
        ],
        aspect: video::Aspect::Square,
        duration_ms: Some(7_000),
        model: Some("kling-3.0-omni".to_owned()),
        ..clip()
    };
    submit(&request).expect("accepted");
    assert_eq!(
        vendor.only().json(),
        json(fixture!("omni-video.request.json"))
    );
}

#[test]
fn each_model_gets_the_settings_it_knows() {
    for (model, path, settings) in [
        (
            "kling-3.0-4k",
            "/text-to-video/kling-3.0",
            serde_json::json!({"resolution":"4k","aspect_ratio":"16:9","duration":5,"audio":"off","multi_shot":false}),
        ),
        (
            "kling-3.0-turbo",
            "/text-to-video/kling-3.0-turbo",
            serde_json::json!({"resolution":"1080p","aspect_ratio":"16:9","duration":5}),
        ),
        (
            "kling-2.6",
            "/text-to-video/kling-2.6",
            serde_json::json!({"resolution":"1080p","aspect_ratio":"16:9","duration":5,"audio":"off"}),
        ),
        (
            "kling-2.5-turbo",
            "/text-to-video/kling-2.5-turbo",
            serde_json::json!({"resolution":"1080p","aspect_ratio":"16:9","duration":5}),
        ),
    ] {
        let vendor = Vendor::new().expect("POST", path, CREATED);
        let request = video::Request {
            model: Some(model.to_owned()),
            aspect: video::Aspect::Landscape,
            ..clip()
        };
        submit(&request).expect(model);
        assert_eq!(vendor.only().json()["settings"], settings, "{model}");
    }
}

#[test]
fn the_nearest_length_on_offer() {
    for (model, wish, seconds) in [
        ("kling-3.0", None, 5),
        ("kling-3.0", Some(1_000), 3),
        ("kling-3.0", Some(3_499), 3),
        ("kling-3.0", Some(6_501), 7),
        ("kling-3.0", Some(600_000), 15),
        ("kling-2.6", Some(7_000), 5),
        ("kling-2.6", Some(7_500), 5),
        ("kling-2.6", Some(7_501), 10),
        ("kling-2.5-turbo", Some(60_000), 10),
    ] {
        let vendor = Vendor::new().handle(|_| CREATED.into());
        let request = video::Request {
            model: Some(model.to_owned()),
            duration_ms: wish,
            ..clip()
        };
        submit(&request).expect("accepted");
        let sent = vendor.only().json();
        assert_eq!(sent["settings"]["duration"], seconds, "{model} {wish:?}");
    }
}

#[test]
fn the_region_is_a_setting() {
    let vendor = Vendor::new().handle(|_| CREATED.into());
    let beijing = Context {
        settings: r#"{"region":"beijing"}"#.to_owned(),
        ..testing::context()
    };
    Kling::submit(&clip(), &beijing).expect("accepted");
    assert!(
        vendor
            .only()
            .url
            .starts_with("https://api-beijing.klingai.com/")
    );
}

#[test]
fn a_picture_that_speaks_goes_the_older_way() {
    let vendor = Vendor::new()
        .expect(
            "POST",
            "/v1/videos/avatar/image2video",
            fixture!("avatar-create.response.json"),
        )
        .expect(
            "POST",
            "/v1/videos/avatar/image2video",
            fixture!("avatar-create.response.json"),
        );
    let expected = Ok(Submission::Accepted("legacy-avatar:771100".to_owned()));
    assert_eq!(Kling::submit(&speaking(), &with_callback()), expected);
    let named = video::Request {
        model: Some("avatar".to_owned()),
        options: r#"{"resolution":"720p"}"#.to_owned(),
        ..speaking()
    };
    assert_eq!(Kling::submit(&named, &with_callback()), expected);
    let sent = vendor.sent();
    assert_eq!(sent[0].json(), json(fixture!("avatar.request.json")));
    assert_eq!(sent[1].json()["mode"], "std");
}

#[test]
fn what_kling_cannot_do_is_refused_before_anything_is_sent() {
    let model = |id: &str| Some(id.to_owned());
    let cases = [
        (
            "prompt",
            video::Request {
                prompt: None,
                ..clip()
            },
        ),
        (
            "prompt",
            video::Request {
                prompt: None,
                model: model("kling-3.0-omni"),
                ..clip()
            },
        ),
        (
            "model",
            video::Request {
                model: model("kling-9"),
                ..clip()
            },
        ),
        (
            "model",
            video::Request {
                model: model("kling-3.0"),
                ..speaking()
            },
        ),
        (
            "speech",
            video::Request {
                speech: video::Speech::Script("Hello".to_owned()),
                ..clip()
            },
        ),
        (
            "speech",
            video::Request {
                model: model("avatar"),
                ..clip()
            },
        ),
        (
            "images",
            video::Request {
                images: Vec::new(),
                ..speaking()
            },
        ),
        (
            "images",
            video::Request {
                images: vec![Media::Text("x".to_owned())],
                ..clip()
            },
        ),
        (
            "speech.audio",
            video::Request {
                speech: video::Speech::Audio(Media::Text("x".to_owned())),
                ..speaking()
            },
        ),
        (
            "options.audio",
            video::Request {
                model: model("kling-2.6"),
                options: r#"{"audio":"native","resolution":"720p"}"#.to_owned(),
                ..clip()
            },
        ),
        (
            "options.audio",
            video::Request {
                model: model("kling-2.5-turbo"),
                options: r#"{"audio":"native"}"#.to_owned(),
                ..clip()
            },
        ),
        (
            "options.audio",
            video::Request {
                model: model("kling-3.0-4k"),
                options: r#"{"audio":"native"}"#.to_owned(),
                ..clip()
            },
        ),
        (
            "options.multi_shot",
            video::Request {
                model: model("kling-2.6"),
                options: r#"{"multi_shot":true}"#.to_owned(),
                ..clip()
            },
        ),
    ];
    for (field, request) in cases {
        let vendor = Vendor::new();
        let error = submit(&request).expect_err(field);
        match error.kind {
            ErrorKind::InvalidInput(problems) => assert_eq!(problems[0].field, field),
            other => panic!("{field}: {other:?}"),
        }
        assert!(vendor.sent().is_empty(), "{field}");
    }
}

#[test]
fn an_answer_that_cannot_be_read_may_have_been_accepted() {
    for broken in [
        "",
        "<html>",
        r#"{"code":0,"message":"SUCCEED","request_id":"x"}"#,
        r#"{"code":0,"data":{}}"#,
        r#"{"code":0,"data":{"id":"8312"#,
        r#"{"message":"no code at all"}"#,
    ] {
        for request in [clip(), speaking()] {
            let _vendor = Vendor::new().handle(move |_| broken.into());
            let error = submit(&request).expect_err(broken);
            assert_eq!(error.kind, ErrorKind::OutcomeUnknown, "{broken}");
        }
    }
}

#[test]
fn an_answer_that_never_came_is_passed_on() {
    let lost = Error::outcome_unknown("no answer in 60 s");
    let _vendor = Vendor::new().expect("POST", "/text-to-video/kling-3.0", lost.clone());
    assert_eq!(submit(&clip()), Err(lost));
}

#[test]
fn an_id_that_is_taken_is_this_attempts_own() {
    let reply = r#"{"code":1201,"message":"external_task_id already exists","request_id":"r"}"#;
    let _vendor = Vendor::new().handle(move |_| Reply::json(400, reply));
    let error = submit(&clip()).expect_err("taken");
    assert_eq!(error.kind, ErrorKind::OutcomeUnknown);
    assert_eq!(error.vendor_code.as_deref(), Some("1201"));
}
