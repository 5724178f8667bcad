//! What `poll` and `find` make of Kling's answers.

use genvid_plugin_kling::Kling;
use genvid_sdk::testing::{self, Reply, Vendor};
use genvid_sdk::{
    Context, Error, ErrorKind, Media, Result, Role, Status, Tasks, serde_json, tasks, video,
};

use crate::{clip, fixture, json, speaking};

fn task(id: &str) -> tasks::Task {
    tasks::Task {
        id: id.to_owned(),
        context: testing::context(),
    }
}

fn poll_one(reply: impl Into<Reply>) -> Result<Status> {
    let _vendor = Vendor::new().expect("GET", "/tasks", reply);
    Kling::poll(&[task("831240")]).remove(0)
}

fn poll_speaking(reply: impl Into<Reply>) -> Result<Status> {
    let _vendor = Vendor::new().expect("GET", "/v1/videos/avatar/image2video/771100", reply);
    Kling::poll(&[task("legacy-avatar:771100")]).remove(0)
}

#[test]
fn words_of_work_in_progress() {
    for (word, expected) in [
        ("submitted", Status::queued()),
        ("processing", Status::running("processing")),
        (
            "a word of next year",
            Status::running("a word of next year"),
        ),
    ] {
        let mut tasks = json(fixture!("tasks-processing.response.json"));
        tasks["data"][0]["status"] = word.into();
        assert_eq!(poll_one(tasks), Ok(expected.clone()), "{word}");
        let mut avatar = json(fixture!("avatar-create.response.json"));
        avatar["data"]["task_status"] = word.into();
        assert_eq!(poll_speaking(avatar), Ok(expected), "{word}");
    }
}

#[test]
fn a_finished_clip_and_its_bill() {
    let Ok(Status::Done(done)) = poll_one(fixture!("tasks-succeeded.response.json")) else {
        panic!("not done");
    };
    assert_eq!(done.outputs.len(), 1);
    assert_eq!(done.outputs[0].role, Role::Main);
    assert_eq!(
        done.outputs[0].media,
        Media::Url("https://v15-kling.klingai.com/831240/v1.mp4".to_owned())
    );
    assert_eq!(done.outputs[0].duration_ms, Some(5_041));
    assert_eq!(done.cost_micro_usd, Some(560_000));
}

#[test]
fn bills_in_money_in_units_and_in_other_currencies() {
    for (billing, cost) in [
        (
            r#"[{"charge_type":"cash","cash_type":"balance","amount":"0.42","list_price":"0.56","currency":"USD"}]"#,
            Some(420_000),
        ),
        (r#"[{"charge_type":"unit","amount":"4"}]"#, Some(560_000)),
        (
            r#"[{"charge_type":"unit","amount":4.5,"currency":"CNY","list_price":"4.41"}]"#,
            Some(630_000),
        ),
        (
            r#"[{"charge_type":"unit","amount":"1","list_price":"0.14","currency":"USD"},{"charge_type":"cash","amount":"0.0000001","currency":"USD"}]"#,
            Some(140_001),
        ),
        (
            r#"[{"charge_type":"cash","amount":"3.5","currency":"CNY"}]"#,
            None,
        ),
        (
            r#"[{"charge_type":"cash","amount":"-1","currency":"USD"}]"#,
            None,
        ),
        (
            r#"[{"charge_type":"cash","amount":"99999999999999999999","currency":"USD"}]"#,
            None,
        ),
        ("[7]", None),
        ("[]", None),
        ("null", None),
    ] {
        let mut tasks = json(fixture!("tasks-succeeded.response.json"));
        tasks["data"][0]["billing"] = json(billing);
        let Ok(Status::Done(done)) = poll_one(tasks) else {
            panic!("not done: {billing}");
        };
        assert_eq!(done.cost_micro_usd, cost, "{billing}");
    }
}

#[test]
fn watermarked_copies_are_kept_beside_the_film() {
    let mut tasks = json(fixture!("tasks-succeeded.response.json"));
    tasks["data"][0]["outputs"][0]["watermark_url"] = "https://v15-kling.klingai.com/w.mp4".into();
    let Ok(Status::Done(done)) = poll_one(tasks) else {
        panic!("not done");
    };
    let roles: Vec<Role> = done.outputs.iter().map(|output| output.role).collect();
    assert_eq!(roles, [Role::Main, Role::Other]);
}

#[test]
fn succeeded_without_a_url_is_still_running() {
    for outputs in [
        "null",
        "[]",
        r#"[{"type":"video","url":""}]"#,
        r#"[{"type":"image","url":"https://x"}]"#,
    ] {
        let mut tasks = json(fixture!("tasks-succeeded.response.json"));
        tasks["data"][0]["outputs"] = json(outputs);
        let answer = poll_one(tasks);
        assert!(
            matches!(answer, Ok(Status::Running(_))),
            "{outputs}: {answer:?}"
        );
    }
    let mut avatar = json(fixture!("avatar-succeed.response.json"));
    avatar["data"]["task_result"] = serde_json::Value::Null;
    assert!(matches!(poll_speaking(avatar), Ok(Status::Running(_))));
}

#[test]
fn failures_of_tasks_have_text_only() {
    for (text, kind) in [
        (
            "Failure to pass the risk control system",
            ErrorKind::ContentRejected,
        ),
        (
            "The prompt contains SENSITIVE words",
            ErrorKind::ContentRejected,
        ),
        ("Violates our policy", ErrorKind::ContentRejected),
        ("The image cannot be decoded", ErrorKind::Unexpected),
        ("", ErrorKind::Unexpected),
    ] {
        let mut tasks = json(fixture!("tasks-failed.response.json"));
        tasks["data"][0]["message"] = text.into();
        let Ok(Status::Failed(error)) = poll_one(tasks) else {
            panic!("not failed: {text}");
        };
        assert_eq!(error.kind, kind, "{text}");
        assert!(!error.message.is_empty());
    }
    let Ok(Status::Failed(error)) = poll_speaking(fixture!("avatar-failed.response.json")) else {
        panic!("not failed");
    };
    assert_eq!(error.message, "The audio is too short");
}

#[test]
fn a_finished_speaking_picture() {
    let Ok(Status::Done(done)) = poll_speaking(fixture!("avatar-succeed.response.json")) else {
        panic!("not done");
    };
    assert_eq!(done.outputs[0].role, Role::Main);
    assert_eq!(done.outputs[0].duration_ms, Some(5_100));
    assert_eq!(done.cost_micro_usd, Some(490_000));
}

#[test]
fn many_tasks_are_asked_for_in_one_question() {
    let vendor = Vendor::new()
        .expect(
            "GET",
            "/v1/videos/avatar/image2video/771100",
            fixture!("avatar-succeed.response.json"),
        )
        .expect("GET", "/tasks", fixture!("tasks-batch.response.json"));
    let answers = Kling::poll(&[
        task("831241"),
        task("legacy-avatar:771100"),
        task("gone"),
        task("831240"),
    ]);
    assert_eq!(answers[0], Ok(Status::running("processing")));
    assert!(matches!(&answers[1], Ok(Status::Done(_))));
    assert!(matches!(
        &answers[2],
        Err(Error {
            kind: ErrorKind::NotFound,
            ..
        })
    ));
    assert!(matches!(&answers[3], Ok(Status::Done(_))));
    assert_eq!(
        vendor.sent()[1].query("task_ids").as_deref(),
        Some("831241,gone,831240")
    );
}

#[test]
fn one_unknown_id_does_not_spoil_the_others() {
    let not_found = || Reply::json(404, fixture!("error-1203.response.json"));
    let _vendor = Vendor::new()
        .expect("GET", "/tasks?task_ids=gone%2C831240", not_found())
        .expect("GET", "/tasks?task_ids=gone", not_found())
        .expect(
            "GET",
            "/tasks?task_ids=831240",
            fixture!("tasks-succeeded.response.json"),
        );
    let answers = Kling::poll(&[task("gone"), task("831240")]);
    assert!(matches!(
        &answers[0],
        Err(Error {
            kind: ErrorKind::NotFound,
            ..
        })
    ));
    assert!(matches!(&answers[1], Ok(Status::Done(_))));
}

#[test]
fn tasks_of_both_regions_are_asked_for_where_they_live() {
    let beijing = tasks::Task {
        id: "831241".to_owned(),
        context: Context {
            settings: r#"{"region":"beijing"}"#.to_owned(),
            ..testing::context()
        },
    };
    let vendor = Vendor::new().handle(|_| fixture!("tasks-batch.response.json").into());
    let answers = Kling::poll(&[task("831240"), beijing]);
    assert!(answers.iter().all(Result::is_ok));
    assert!(vendor.sent()[1].url.starts_with("https://api-beijing."));
}

#[test]
fn a_poll_that_fails_says_nothing_about_the_task() {
    let broken = poll_one("{\"code\":0,\"data\":[{\"id\"");
    assert!(matches!(
        broken,
        Err(Error {
            kind: ErrorKind::Unexpected,
            ..
        })
    ));
    let down = poll_one(Reply::json(502, "<html>"));
    assert!(matches!(
        down,
        Err(Error {
            kind: ErrorKind::Unavailable,
            ..
        })
    ));
    let late = poll_one(Reply::json(504, r#"{"code":5002,"message":"timeout"}"#));
    assert!(matches!(
        late,
        Err(Error {
            kind: ErrorKind::Unavailable,
            ..
        })
    ));
    let hidden = poll_one(r#"{"code":1302,"message":"too many requests","request_id":"r"}"#);
    assert!(matches!(
        hidden,
        Err(Error {
            kind: ErrorKind::RateLimited(None),
            ..
        })
    ));
}

#[test]
fn kling_cannot_stop_a_task() {
    let error = Kling::cancel(&task("831240")).expect_err("no route");
    assert_eq!(error.kind, ErrorKind::Unsupported);
}

fn lost(request: &video::Request) -> tasks::Lost {
    tasks::Lost {
        context: testing::context(),
        kind: "video".to_owned(),
        request: serde_json::to_string(request).expect("requests are JSON"),
        submitted_at_ms: 1_795_305_600_000,
    }
}

#[test]
fn a_lost_clip_is_found_by_its_own_id() {
    let vendor = Vendor::new().expect("GET", "/tasks", fixture!("tasks-processing.response.json"));
    assert_eq!(Kling::find(&lost(&clip())), Ok(Some("831240".to_owned())));
    assert_eq!(
        vendor.only().query("external_task_ids").as_deref(),
        Some("ref_1")
    );
}

#[test]
fn a_lost_speaking_picture_is_looked_for_where_it_went() {
    let _vendor = Vendor::new().expect(
        "GET",
        "/v1/videos/avatar/image2video/ref_1",
        fixture!("avatar-create.response.json"),
    );
    assert_eq!(
        Kling::find(&lost(&speaking())),
        Ok(Some("legacy-avatar:771100".to_owned()))
    );
}

#[test]
fn nothing_is_said_only_when_kling_answered() {
    let find = |request: &video::Request, reply: Reply| {
        let _vendor = Vendor::new().handle(move |_| reply.clone());
        Kling::find(&lost(request))
    };
    let none = || Reply::from(fixture!("tasks-none.response.json"));
    let not_found = || Reply::json(404, fixture!("error-1203.response.json"));
    assert_eq!(find(&clip(), none()), Ok(None));
    assert_eq!(find(&clip(), not_found()), Ok(None));
    assert_eq!(find(&speaking(), not_found()), Ok(None));
    for request in [clip(), speaking()] {
        for reply in [Reply::status(503), Reply::from("{"), Reply::json(500, "")] {
            assert!(find(&request, reply).is_err());
        }
    }
    // Somebody else's task is not this one.
    let mut others = json(fixture!("tasks-processing.response.json"));
    others["data"][0]["external_id"] = "ref_10".into();
    assert_eq!(find(&clip(), others.into()), Ok(None));
}
