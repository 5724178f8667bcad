//! The provider of the README works, and the README shows it.

use genvid_sdk::testing::{self, Reply, Vendor};
use genvid_sdk::{
    Account, Context, Error, ErrorKind, Media, Result, Role, Script, Status, Submission, Tasks,
    Video, Voice, Webhook, catalog, script, serde_json, tasks, video, voice, webhook,
};

use crate::acme::Acme;

#[test]
fn the_readme_shows_this_provider() {
    let readme = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md"));
    let shown = format!(
        "<!-- acme.rs -->\n```rust\n{}```\n<!-- /acme.rs -->",
        include_str!("acme.rs")
    );
    assert!(
        readme.contains(&shown),
        "copy tests/sdk/acme.rs into README.md"
    );
}

#[test]
fn the_front_page_shows_a_part_of_it() {
    let page = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md"));
    let shown = page
        .split_once("```rust,ignore\n")
        .and_then(|(_, rest)| rest.split_once("```"))
        .expect("a part of a provider")
        .0;
    let whole: Vec<&str> = include_str!("acme.rs").lines().collect();
    for line in shown.lines() {
        assert!(
            line == "// …" || whole.contains(&line),
            "{line:?} is not in tests/sdk/acme.rs"
        );
    }
}

fn clip() -> video::Request {
    video::Request {
        prompt: Some("a bottle on wet rock".to_owned()),
        images: vec![Media::Asset("asset_p".to_owned())],
        ..testing::video_request()
    }
}

fn task() -> tasks::Task {
    tasks::Task {
        id: "c 7".to_owned(),
        context: testing::context(),
    }
}

#[test]
fn it_submits() {
    let vendor = Vendor::new().expect("POST", "/v1/clips", r#"{"id":"c7","state":"queued"}"#);
    let answer = Acme::submit(&clip(), &testing::context());
    assert_eq!(answer, Ok(Submission::Accepted("c7".to_owned())));
    let body = vendor.only().json();
    assert_eq!(body["reference"], "ref_1");
    assert_eq!(body["ratio"], "9:16");
    assert_eq!(body["picture"], "asset:data-url:asset_p");
}

#[test]
fn it_knows_when_it_may_have_been_accepted() {
    for (reply, kind) in [
        (Reply::json(200, "<html>"), ErrorKind::OutcomeUnknown),
        (Reply::json(504, "late"), ErrorKind::OutcomeUnknown),
        (Reply::json(503, "later"), ErrorKind::Unavailable),
        (
            Reply::json(409, r#"{"code":"busy"}"#),
            ErrorKind::NoSlot(None),
        ),
        (
            Reply::json(429, r#"{"code":"no_credits"}"#),
            ErrorKind::QuotaExhausted,
        ),
        (
            Error::outcome_unknown("cut off").into(),
            ErrorKind::OutcomeUnknown,
        ),
    ] {
        let _vendor = Vendor::new().expect("POST", "/v1/clips", reply);
        let error = Acme::submit(&clip(), &testing::context()).expect_err("refused");
        assert_eq!(error.kind, kind);
    }
}

#[test]
fn it_polls_one_by_one() {
    let _vendor = Vendor::new()
        .expect(
            "GET",
            "/v1/clips/c%207",
            r#"{"id":"c7","state":"finished","url":"https://x/c7.mp4","seconds":5.04}"#,
        )
        .expect(
            "GET",
            "/v1/clips/c%207",
            r#"{"id":"c7","state":"broken","error":{"code":"nsfw","text":"no"}}"#,
        )
        .expect(
            "GET",
            "/v1/clips/c%207",
            r#"{"id":"c7","state":"colouring"}"#,
        )
        .expect("GET", "/v1/clips/c%207", Reply::status(500));
    let answers = Acme::poll(&[task(), task(), task(), task()]);
    let Ok(Status::Done(done)) = &answers[0] else {
        panic!("{:?}", answers[0]);
    };
    assert_eq!(done.outputs[0].role, Role::Main);
    assert_eq!(done.outputs[0].duration_ms, Some(5_040));
    assert!(
        matches!(&answers[1], Ok(Status::Failed(error)) if error.kind == ErrorKind::ContentRejected)
    );
    assert_eq!(answers[2], Ok(Status::running("colouring")));
    assert!(matches!(&answers[3], Err(error) if error.kind == ErrorKind::Unavailable));
}

#[test]
fn it_finds_and_checks() {
    let vendor = Vendor::new()
        .expect(
            "GET",
            "/v1/clips?reference=ref_1",
            r#"[{"id":"c7","state":"queued"}]"#,
        )
        .expect("GET", "/v1/me", r#"{"email":"a@b.c","credits":12}"#);
    let lost = tasks::Lost {
        context: testing::context(),
        kind: "video".to_owned(),
        request: "{}".to_owned(),
        submitted_at_ms: 0,
    };
    assert_eq!(Acme::find(&lost), Ok(Some("c7".to_owned())));
    let info = Acme::check(&testing::context()).expect("good");
    assert_eq!(info.remaining.as_deref(), Some(r#"{"credits":12}"#));
    assert_eq!(vendor.sent().len(), 2);
}

/// Everything that can be exported, in one place: the macro must take all names, and the
/// three `submit` functions must not get in each other's way.
struct Everything;

impl Video for Everything {
    fn submit(_: &video::Request, _: &Context) -> Result<Submission> {
        Ok(Submission::Accepted("video".to_owned()))
    }
}
impl Voice for Everything {
    fn submit(_: &voice::Request, _: &Context) -> Result<Submission> {
        Ok(Submission::Accepted("voice".to_owned()))
    }
}
impl Script for Everything {
    fn submit(_: &script::Request, _: &Context) -> Result<Submission> {
        Ok(Submission::Accepted("script".to_owned()))
    }
}
impl Tasks for Everything {}
impl genvid_sdk::Catalog for Everything {
    fn list(_: catalog::Kind, cursor: Option<&str>, _: &Context) -> Result<catalog::Page> {
        Ok(catalog::Page {
            items: Vec::new(),
            next: cursor.map(str::to_owned),
        })
    }
}
impl Account for Everything {
    fn check(_: &Context) -> Result<genvid_sdk::account::Info> {
        Ok(genvid_sdk::account::Info {
            label: "me".to_owned(),
            remaining: None,
        })
    }
}
impl Webhook for Everything {
    fn parse(delivery: &webhook::Delivery) -> Result<Vec<webhook::Hint>> {
        let id = serde_json::from_slice(&delivery.body).ok();
        Ok(vec![webhook::Hint {
            task_id: id,
            client_ref: None,
            event_id: None,
        }])
    }
}

genvid_sdk::export!(
    Everything: account, catalog, script, tasks, video, voice, webhook,
);

#[test]
fn the_exports_call_the_traits() {
    use genvid_sdk::bindings;
    let video = <Everything as bindings::video::exports::genvid::provider::video::Guest>::submit(
        testing::video_request(),
        testing::context(),
    );
    let voice = <Everything as bindings::voice::exports::genvid::provider::voice::Guest>::submit(
        testing::voice_request(),
        testing::context(),
    );
    let script = <Everything as bindings::script::exports::genvid::provider::script::Guest>::submit(
        testing::script_request(),
        testing::context(),
    );
    let names = [video, voice, script].map(|answer| match answer {
        Ok(Submission::Accepted(name)) => name,
        other => panic!("{other:?}"),
    });
    assert_eq!(names, ["video", "voice", "script"]);
    let page = <Everything as bindings::catalog::exports::genvid::provider::catalog::Guest>::list(
        catalog::Kind::Voice,
        Some("next".to_owned()),
        testing::context(),
    );
    assert_eq!(page.expect("a page").next.as_deref(), Some("next"));
}

#[test]
fn what_is_not_written_is_unsupported() {
    let _vendor = Vendor::new();
    let lost = tasks::Lost {
        context: testing::context(),
        kind: "video".to_owned(),
        request: "{}".to_owned(),
        submitted_at_ms: 0,
    };
    let kinds = [
        Everything::poll(&[task()]).remove(0).map(drop),
        Everything::cancel(&task()),
        Everything::find(&lost).map(drop),
    ]
    .map(|answer| answer.expect_err("unsupported").kind);
    assert!(kinds.iter().all(|kind| *kind == ErrorKind::Unsupported));
}
