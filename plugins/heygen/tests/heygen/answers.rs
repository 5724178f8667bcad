//! What `poll` and `find` make of HeyGen's answers.

use genvid_plugin_heygen::HeyGen;
use genvid_sdk::testing::{Reply, Vendor};
use genvid_sdk::{Error, ErrorKind, Media, Result, Role, Status, Tasks, tasks};

use crate::{context, fixture, json};

fn task(id: &str) -> tasks::Task {
    tasks::Task {
        id: id.to_owned(),
        context: context(),
    }
}

fn poll_one(reply: impl Into<Reply>) -> Result<Status> {
    let _vendor = Vendor::new().expect("GET", "/v3/videos/vid_8c1e", reply);
    HeyGen::poll(&[task("vid_8c1e")]).remove(0)
}

fn with_status(word: &str) -> String {
    let mut video = json(fixture!("video-processing.response.json"));
    video["data"]["status"] = word.into();
    video.to_string()
}

#[test]
fn words_of_work_in_progress() {
    for word in ["waiting", "pending", "queued"] {
        let answer = poll_one(with_status(word).as_str());
        assert!(
            matches!(answer, Ok(Status::Queued(_))),
            "{word}: {answer:?}"
        );
    }
    for word in ["processing", "generating", "a word of next year", ""] {
        let answer = poll_one(with_status(word).as_str());
        assert_eq!(answer, Ok(Status::running(word)), "{word}");
    }
}

#[test]
fn a_completed_video_has_its_files() {
    let Ok(Status::Done(done)) = poll_one(fixture!("video-completed.response.json")) else {
        panic!("not done");
    };
    let roles: Vec<Role> = done.outputs.iter().map(|output| output.role).collect();
    assert_eq!(roles, [Role::Main, Role::Poster, Role::Subtitles]);
    assert_eq!(
        done.outputs[0].media,
        Media::Url(
            "https://files.heygen.ai/video/vid_8c1e.mp4?Expires=1764404800&Signature=s1".to_owned()
        )
    );
    assert_eq!(done.outputs[0].duration_ms, Some(21_400));
    assert_eq!(done.outputs[2].mime, "application/x-subrip");
    assert_eq!(done.cost_micro_usd, None);
}

#[test]
fn burned_in_captions_are_the_main_film() {
    let Ok(Status::Done(done)) = poll_one(fixture!("video-captioned.response.json")) else {
        panic!("not done");
    };
    let main = &done.outputs[0];
    assert_eq!(main.role, Role::Main);
    assert!(matches!(&main.media, Media::Url(url) if url.contains(".captioned.mp4")));
    assert_eq!(done.outputs[1].role, Role::Other);
    let mains = done
        .outputs
        .iter()
        .filter(|output| output.role == Role::Main);
    assert_eq!(mains.count(), 1);
}

#[test]
fn completed_without_a_url_is_still_running() {
    let answer = poll_one(fixture!("video-completed-without-url.response.json"));
    assert!(matches!(answer, Ok(Status::Running(_))), "{answer:?}");
}

#[test]
fn failures_of_videos() {
    for (code, kind) in [
        (Some("rendering_failed"), ErrorKind::Unexpected),
        (Some("script_too_long"), ErrorKind::InvalidInput(Vec::new())),
        (Some("avatar_not_usable"), ErrorKind::ContentRejected),
        (Some("AVATAR_NOT_FOUND"), ErrorKind::NotFound),
        (Some("content_policy_violation"), ErrorKind::ContentRejected),
        (Some("insufficient_credit"), ErrorKind::QuotaExhausted),
        (Some("a_code_of_next_year"), ErrorKind::Unexpected),
        (None, ErrorKind::Unexpected),
    ] {
        let mut video = json(fixture!("video-failed.response.json"));
        video["data"]["failure_code"] = code.into();
        let answer = poll_one(video.to_string().as_str());
        let Ok(Status::Failed(error)) = answer else {
            panic!("{code:?}: {answer:?}");
        };
        assert_eq!(error.kind, kind, "{code:?}");
        assert_eq!(error.vendor_code.as_deref(), code);
        assert_eq!(error.message, "The video could not be rendered.");
    }
}

#[test]
fn a_poll_that_fails_says_nothing_about_the_video() {
    let gone = poll_one(Reply::json(404, fixture!("error-404.response.json")));
    assert!(matches!(
        gone,
        Err(Error {
            kind: ErrorKind::NotFound,
            ..
        })
    ));
    let broken = poll_one("{\"data\":{\"id\":\"vid_8c1e\",\"sta");
    assert!(matches!(
        broken,
        Err(Error {
            kind: ErrorKind::Unexpected,
            ..
        })
    ));
    let down = poll_one(Reply::json(502, "<html>bad gateway</html>"));
    assert!(matches!(
        down,
        Err(Error {
            kind: ErrorKind::Unavailable,
            ..
        })
    ));
    let gateway = poll_one(Reply::json(
        504,
        r#"{"error":{"code":"gateway_timeout","message":"late"}}"#,
    ));
    assert!(matches!(
        gateway,
        Err(Error {
            kind: ErrorKind::Unavailable,
            ..
        })
    ));
    let limited = poll_one(
        Reply::json(429, fixture!("error-429-rate.response.json")).header("Retry-After", "7"),
    );
    assert!(matches!(
        limited,
        Err(Error {
            kind: ErrorKind::RateLimited(Some(7_000)),
            ..
        })
    ));
}

#[test]
fn many_videos_are_asked_for_in_one_question() {
    let vendor = Vendor::new()
        .expect(
            "GET",
            "/v3/videos/statuses",
            fixture!("statuses.response.json"),
        )
        .expect(
            "GET",
            "/v3/videos/vid_8c1e",
            fixture!("video-completed.response.json"),
        )
        .expect(
            "GET",
            "/v3/videos/vid_unlisted",
            fixture!("video-processing.response.json"),
        );

    let answers = HeyGen::poll(&[
        task("vid_gone"),
        task("vid_8c1e"),
        task("vid_waiting"),
        task("vid_unlisted"),
        task("vid_new_word"),
    ]);

    assert!(matches!(
        &answers[0],
        Err(Error {
            kind: ErrorKind::NotFound,
            ..
        })
    ));
    assert!(matches!(&answers[1], Ok(Status::Done(_))));
    assert!(matches!(&answers[2], Ok(Status::Queued(_))));
    assert_eq!(answers[3], Ok(Status::running("processing")));
    assert_eq!(answers[4], Ok(Status::running("color_grading")));
    assert_eq!(
        vendor.sent()[0].query("video_ids").as_deref(),
        Some("vid_gone,vid_8c1e,vid_waiting,vid_unlisted,vid_new_word")
    );
}

#[test]
fn one_failure_is_the_answer_for_every_video_of_the_question() {
    let _vendor = Vendor::new().expect(
        "GET",
        "/v3/videos/statuses",
        Reply::json(401, fixture!("error-401.response.json")),
    );
    let answers = HeyGen::poll(&[task("a"), task("b")]);
    assert_eq!(answers.len(), 2);
    for answer in answers {
        assert!(matches!(
            answer,
            Err(Error {
                kind: ErrorKind::Unauthorized,
                ..
            })
        ));
    }
}

#[test]
fn ids_cannot_leave_their_place_in_the_path() {
    let vendor = Vendor::new().expect(
        "GET",
        "/v3/videos/..%2Fusers%3Fa",
        Reply::json(404, fixture!("error-404.response.json")),
    );
    let _ = HeyGen::poll(&[task("../users?a")]);
    assert_eq!(vendor.sent().len(), 1);
    let dots = HeyGen::poll(&[task("..")]);
    assert!(matches!(
        &dots[0],
        Err(Error {
            kind: ErrorKind::NotFound,
            ..
        })
    ));
}

#[test]
fn heygen_cannot_stop_a_video() {
    let error = HeyGen::cancel(&task("vid_8c1e")).expect_err("no route");
    assert_eq!(error.kind, ErrorKind::Unsupported);
}

fn lost() -> tasks::Lost {
    tasks::Lost {
        context: context(),
        kind: "video".to_owned(),
        request: "{}".to_owned(),
        submitted_at_ms: 1_795_305_600_000,
    }
}

#[test]
fn a_lost_video_is_found_by_its_whole_title() {
    let vendor = Vendor::new().expect("GET", "/v3/videos", fixture!("list-by-title.response.json"));
    assert_eq!(HeyGen::find(&lost()), Ok(Some("vid_8c1e".to_owned())));
    let sent = vendor.only();
    assert_eq!(sent.query("title").as_deref(), Some("Genvid ref_1"));
    assert_eq!(sent.query("limit").as_deref(), Some("100"));
}

#[test]
fn the_search_goes_through_the_pages() {
    let page = r#"{"data":[{"id":"x","status":"failed","title":"Genvid ref_12"}],"has_more":true,"next_token":"tok_2"}"#;
    let vendor = Vendor::new().expect("GET", "/v3/videos", page).expect(
        "GET",
        "/v3/videos",
        fixture!("list-by-title.response.json"),
    );
    assert_eq!(HeyGen::find(&lost()), Ok(Some("vid_8c1e".to_owned())));
    assert_eq!(vendor.sent()[1].query("token").as_deref(), Some("tok_2"));
}

#[test]
fn nothing_is_said_only_when_heygen_answered() {
    let vendor = Vendor::new().expect("GET", "/v3/videos", r#"{"data":[],"has_more":false}"#);
    assert_eq!(HeyGen::find(&lost()), Ok(None));
    drop(vendor);
    let vendor = Vendor::new().expect("GET", "/v3/videos", Reply::status(503));
    let error = HeyGen::find(&lost()).expect_err("no answer");
    assert_eq!(error.kind, ErrorKind::Unavailable);
    drop(vendor);
    let endless = r#"{"data":[],"has_more":true,"next_token":"again"}"#;
    let _vendor = Vendor::new().handle(move |_| endless.into());
    assert!(HeyGen::find(&lost()).is_err());
}
