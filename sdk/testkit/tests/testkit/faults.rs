//! Every scripted misbehaviour.

use std::time::{Duration, Instant};

use genvid_testkit::{Fault, FaultError, FaultKind, Handle, Keys, Profile, Vendor};
use serde_json::{Value, json};

use crate::kit::{Client, next, receiver, send, start, start_with};

const CREATE: &str = "POST /v3/videos";

/// A vendor, a path to ask, where the code stands in the answer, and an answer for each class.
type Expected = (
    Vendor,
    &'static str,
    &'static str,
    [(u16, &'static str); 10],
);

fn film() -> Value {
    json!({
        "type": "avatar", "avatar_id": "anna_studio_front_portrait",
        "script": "Hello there.", "aspect_ratio": "9:16",
    })
}

fn arm(handle: &Handle, fault: Fault) {
    handle.add_faults(vec![fault]).expect("a fault");
}

#[tokio::test]
async fn every_class_has_the_vendors_status_and_code() {
    let simulators = start().await;
    let classes = [
        FaultKind::Unauthorized,
        FaultKind::Forbidden,
        FaultKind::QuotaExhausted,
        FaultKind::RateLimited,
        FaultKind::NoSlot,
        FaultKind::ContentRejected,
        FaultKind::InvalidInput,
        FaultKind::NotFound,
        FaultKind::Unavailable,
        FaultKind::InternalError,
    ];
    let expected: [Expected; 4] = [
        (
            Vendor::HeyGen,
            "/v3/users/me",
            "/error/code",
            [
                (401, "unauthorized"),
                (403, "plan_upgrade_required"),
                (402, "insufficient_credit"),
                (429, "rate_limit_exceeded"),
                (429, "rate_limit_exceeded"),
                (400, "content_policy_violation"),
                (400, "invalid_parameter"),
                (404, "not_found"),
                (503, "service_unavailable"),
                (500, "internal_error"),
            ],
        ),
        (
            Vendor::Kling,
            "/tasks?task_ids=1",
            "/code",
            [
                (401, "1002"),
                (403, "1103"),
                (429, "1102"),
                (429, "1302"),
                (429, "1303"),
                (400, "1301"),
                (400, "1201"),
                (404, "1203"),
                (503, "5001"),
                (500, "5000"),
            ],
        ),
        (
            Vendor::ElevenLabs,
            "/v1/user",
            "/detail/code",
            [
                (401, "invalid_api_key"),
                (401, "missing_permissions"),
                (401, "quota_exceeded"),
                (429, "rate_limit_exceeded"),
                (429, "concurrent_limit_exceeded"),
                (400, "content_policy_violation"),
                (400, "invalid_parameters"),
                (404, "not_found"),
                (503, "service_unavailable"),
                (500, "internal_error"),
            ],
        ),
        (
            Vendor::OpenAi,
            "/v1/models",
            "/error/code",
            [
                (401, "invalid_api_key"),
                (403, "unsupported_country_region_territory"),
                (429, "insufficient_quota"),
                (429, "rate_limit_exceeded"),
                (429, "slow_down"),
                (400, "content_policy_violation"),
                (400, "invalid_value"),
                (404, "not_found"),
                (503, "server_is_overloaded"),
                (500, "server_error"),
            ],
        ),
    ];
    for (vendor, path, pointer, answers) in expected {
        let client = Client::new(&simulators, vendor);
        for (kind, (status, code)) in classes.into_iter().zip(answers) {
            arm(&simulators.vendor(vendor), Fault::new("*", kind));
            let reply = client.get(path).await;
            let body = reply.json();
            let given = body
                .pointer(pointer)
                .map(|code| code.to_string().replace('"', ""));
            assert_eq!(
                (reply.status, given.as_deref()),
                (status, Some(code)),
                "{vendor} {kind:?}"
            );
        }
        assert_eq!(client.get(path).await.status, 200, "{vendor} is well again");
    }
}

#[tokio::test]
async fn an_answer_is_lost_after_the_work_was_accepted() {
    let simulators = start().await;
    let handle = simulators.vendor(Vendor::HeyGen);
    arm(&handle, Fault::new(CREATE, FaultKind::AcceptThenDrop));
    let client = Client::new(&simulators, Vendor::HeyGen);
    let create = || {
        let request = client.request("POST", "/v3/videos").json(&film());
        send(request.header("idempotency-key", "lost-1"))
    };
    assert!(create().await.is_err());
    let invoice = handle.invoice();
    assert_eq!((invoice.accepted, invoice.billed), (1, 1));
    assert_eq!(invoice.calls[0].client_ref.as_deref(), Some("lost-1"));
    let again = create().await.expect("an answer").json();
    assert_eq!(
        again["data"]["video_id"].as_str(),
        invoice.calls[0].task_id.as_deref()
    );
    assert_eq!(handle.invoice().billed, 1);

    arm(
        &handle,
        Fault::new(CREATE, FaultKind::AcceptThenAnswer).answer(504, "gateway_timeout"),
    );
    let reply = client.post("/v3/videos", &film()).await;
    assert_eq!(
        (reply.status, &reply.json()["error"]["code"]),
        (504, &json!("gateway_timeout"))
    );
    arm(
        &handle,
        Fault::new(CREATE, FaultKind::AcceptThenHang).delay(Duration::from_millis(100)),
    );
    assert!(
        send(client.request("POST", "/v3/videos").json(&film()))
            .await
            .is_err()
    );
    assert_eq!(handle.invoice().billed, 3);
}

#[tokio::test]
async fn an_answer_is_lost_at_every_vendor() {
    let simulators = start().await;
    let calls = [
        (
            Vendor::Kling,
            "/text-to-video/kling-3.0",
            json!({"prompt": "A bottle"}),
        ),
        (
            Vendor::ElevenLabs,
            "/v1/text-to-speech/21m00Tcm4TlvDq8ikWAM",
            json!({"text": "Hi."}),
        ),
        (
            Vendor::OpenAi,
            "/v1/chat/completions",
            json!({
                "model": "gpt-5", "messages": [{"role": "user", "content": "A bottle"}],
            }),
        ),
    ];
    for (vendor, path, body) in calls {
        let handle = simulators.vendor(vendor);
        arm(
            &handle,
            Fault::new(format!("POST {path}"), FaultKind::AcceptThenDrop),
        );
        let client = Client::new(&simulators, vendor);
        assert!(
            send(client.request("POST", path).json(&body))
                .await
                .is_err(),
            "{vendor}"
        );
        assert_eq!(handle.invoice().billed, 1, "{vendor}");
    }
}

#[tokio::test]
async fn nothing_is_accepted_when_the_connection_closes_first() {
    let simulators = start().await;
    let handle = simulators.vendor(Vendor::HeyGen);
    let client = Client::new(&simulators, Vendor::HeyGen);
    arm(&handle, Fault::new(CREATE, FaultKind::DropBefore));
    assert!(
        send(client.request("POST", "/v3/videos").json(&film()))
            .await
            .is_err()
    );
    arm(
        &handle,
        Fault::new(CREATE, FaultKind::Hang).delay(Duration::from_millis(100)),
    );
    assert!(
        send(client.request("POST", "/v3/videos").json(&film()))
            .await
            .is_err()
    );
    let invoice = handle.invoice();
    assert_eq!(
        (invoice.accepted, invoice.billed, invoice.calls.len()),
        (0, 0, 2)
    );
    assert_eq!(client.post("/v3/videos", &film()).await.status, 200);
}

#[tokio::test]
async fn work_goes_on_when_the_client_leaves() {
    let simulators = start_with(Profile {
        accept: Duration::from_millis(400),
        ..Profile::instant()
    })
    .await;
    let handle = simulators.vendor(Vendor::HeyGen);
    let client = Client::new(&simulators, Vendor::HeyGen);
    let request = client.request("POST", "/v3/videos").json(&film());
    let hurried = request.timeout(Duration::from_millis(100));
    assert!(send(hurried).await.is_err());
    assert_eq!(handle.invoice().accepted, 0);
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(handle.invoice().billed, 1);
}

#[tokio::test]
async fn answers_are_spoilt_in_every_way() {
    let simulators = start().await;
    let handle = simulators.vendor(Vendor::HeyGen);
    let client = Client::new(&simulators, Vendor::HeyGen);
    let me = "GET /v3/users/me";
    let ask = || send(client.request("GET", "/v3/users/me"));

    arm(&handle, Fault::new(me, FaultKind::Malformed));
    let reply = ask().await.expect("an answer");
    assert_eq!(reply.header("content-type"), "application/json");
    assert!(serde_json::from_slice::<Value>(&reply.bytes).is_err());

    arm(&handle, Fault::new(me, FaultKind::Truncated));
    assert!(ask().await.is_err());

    arm(&handle, Fault::new(me, FaultKind::Huge).bytes(3_000_000));
    assert_eq!(ask().await.expect("an answer").bytes.len(), 3_000_000);

    arm(&handle, Fault::new(me, FaultKind::Empty));
    assert!(ask().await.expect("an answer").bytes.is_empty());

    arm(
        &handle,
        Fault::new(me, FaultKind::Slow).delay(Duration::from_millis(500)),
    );
    let started = Instant::now();
    assert_eq!(
        ask().await.expect("an answer").json()["data"]["username"],
        "simulated"
    );
    assert!(started.elapsed() > Duration::from_millis(400));

    arm(
        &handle,
        Fault::new(me, FaultKind::Delay).delay(Duration::from_millis(300)),
    );
    let started = Instant::now();
    assert_eq!(ask().await.expect("an answer").status, 200);
    assert!(started.elapsed() > Duration::from_millis(250));

    arm(&handle, Fault::new(me, FaultKind::WrongContentType));
    assert_eq!(
        ask().await.expect("an answer").header("content-type"),
        "text/html"
    );

    arm(
        &handle,
        Fault::new(me, FaultKind::Redirect).value("https://elsewhere.example/x"),
    );
    let reply = ask().await.expect("an answer");
    assert_eq!(
        (reply.status, reply.header("location")),
        (302, "https://elsewhere.example/x")
    );

    arm(&handle, Fault::new(me, FaultKind::EchoCredential));
    let reply = ask().await.expect("an answer");
    let key = Keys::default().heygen;
    assert_eq!(reply.json()["debug"]["received"], key);
    assert_eq!(reply.header("x-debug-credential"), key);
}

#[tokio::test]
async fn faults_wait_repeat_and_run_out() {
    let simulators = start().await;
    let handle = simulators.vendor(Vendor::Kling);
    let client = Client::new(&simulators, Vendor::Kling);
    let ask = async || client.get("/tasks?task_ids=1").await.status;
    arm(
        &handle,
        Fault::new("GET /tasks", FaultKind::Unavailable)
            .after(1)
            .times(2),
    );
    let statuses = [ask().await, ask().await, ask().await, ask().await];
    assert_eq!(statuses, [200, 503, 503, 200]);
    arm(
        &handle,
        Fault::new("/tasks", FaultKind::Unavailable).times(0),
    );
    assert_eq!([ask().await, ask().await, ask().await], [503; 3]);
    handle.clear_faults();
    assert_eq!(ask().await, 200);
    let mut sometimes = Fault::new("*", FaultKind::Unavailable).times(0);
    sometimes.probability = 0.5;
    arm(&handle, sometimes);
    let mut struck = 0;
    for _ in 0..40 {
        struck += u32::from(ask().await == 503);
    }
    assert!((8..=32).contains(&struck), "{struck}");
    assert!(matches!(
        handle.add_faults(vec![Fault::new("GET /nowhere", FaultKind::Hang)]),
        Err(FaultError::UnknownRoute { known, .. }) if known.contains("POST /tasks")
    ));
    assert!(
        handle
            .add_faults(vec![Fault::new("*", FaultKind::Answer)])
            .is_err()
    );
}

#[tokio::test]
async fn tasks_misbehave_at_the_vendor() {
    let simulators = start().await;
    let handle = simulators.vendor(Vendor::HeyGen);
    let client = Client::new(&simulators, Vendor::HeyGen);
    let create = async || {
        let created = client.post("/v3/videos", &film()).await.json();
        format!(
            "/v3/videos/{}",
            created["data"]["video_id"].as_str().expect("an id")
        )
    };
    arm(&handle, Fault::new(CREATE, FaultKind::Stuck));
    let path = create().await;
    assert_eq!(
        client.get(&path).await.json()["data"]["status"],
        "processing"
    );

    arm(
        &handle,
        Fault::new(CREATE, FaultKind::LinksMissing).count(2),
    );
    let path = create().await;
    let mut links = Vec::new();
    for _ in 0..3 {
        let detail = client.get(&path).await.json()["data"].clone();
        assert_eq!(detail["status"], "completed");
        links.push(detail["video_url"].is_string());
    }
    assert_eq!(links, [false, false, true]);

    arm(
        &handle,
        Fault::new(CREATE, FaultKind::RenderTime).delay(Duration::from_secs(60)),
    );
    arm(&handle, Fault::new(CREATE, FaultKind::UnknownStatus));
    let path = create().await;
    assert_eq!(
        client.get(&path).await.json()["data"]["status"],
        "reticulating"
    );
}

#[tokio::test]
async fn media_misbehave_by_their_route() {
    let simulators = start().await;
    let handle = simulators.vendor(Vendor::HeyGen);
    let client = Client::new(&simulators, Vendor::HeyGen);
    let created = client.post("/v3/videos", &film()).await.json();
    let path = format!(
        "/v3/videos/{}",
        created["data"]["video_id"].as_str().expect("an id")
    );
    let link = client.get(&path).await.json()["data"]["video_url"].clone();
    let link = link.as_str().expect("a link");
    arm(
        &handle,
        Fault::new("GET /media/{file}", FaultKind::Answer).answer(404, "not_found"),
    );
    assert_eq!(client.media(link).await.status, 404);
    arm(&handle, Fault::new("GET /media/*", FaultKind::NotMedia));
    let page = client.media(link).await;
    assert_eq!(
        (page.status, page.header("content-type")),
        (200, "video/mp4")
    );
    assert!(page.bytes.starts_with(b"<!doctype html>"));
    let film = client.media(link).await.bytes;
    assert!(film.len() > 10_000);

    // A free space box of 64-bit size lies behind the film.
    let large = 3_000_000;
    arm(
        &handle,
        Fault::new("GET /media/*", FaultKind::Padded).bytes(large),
    );
    let padded = client.media(link).await;
    assert_eq!(padded.status, 200);
    assert_eq!(padded.header("content-length"), large.to_string());
    assert_eq!(padded.bytes.len() as u64, large);
    let (whole, space) = padded.bytes.split_at(film.len());
    assert!(whole == film);
    assert_eq!(space[..8], *b"\0\0\0\x01free");
    let told: [u8; 8] = space[8..16].try_into().expect("eight bytes");
    assert_eq!(u64::from_be_bytes(told), space.len() as u64);
    assert!(space[16..].iter().all(|byte| *byte == 0));
    // No room for it: the film as it is.
    let little = film.len() as u64 + 15;
    arm(
        &handle,
        Fault::new("GET /media/*", FaultKind::Padded).bytes(little),
    );
    assert!(client.media(link).await.bytes == film);
    assert_eq!(
        client
            .media(&link.replace("Signature=", "Signature=0"))
            .await
            .status,
        403
    );
}

#[tokio::test]
async fn webhooks_come_early_late_or_not_at_all() {
    let simulators = start_with(Profile {
        render: Duration::from_millis(800),
        ..Profile::instant()
    })
    .await;
    let handle = simulators.vendor(Vendor::HeyGen);
    let client = Client::new(&simulators, Vendor::HeyGen);
    let (url, mut hooks) = receiver().await;
    let mut body = film();
    body["callback_url"] = json!(url);

    arm(&handle, Fault::new(CREATE, FaultKind::WebhookEarly));
    let created = client.post("/v3/videos", &body).await.json();
    let path = format!(
        "/v3/videos/{}",
        created["data"]["video_id"].as_str().expect("an id")
    );
    let hook = next(&mut hooks, Duration::from_millis(500))
        .await
        .expect("a webhook");
    assert_eq!(hook.json()["event_type"], "avatar_video.success");
    assert_eq!(
        client.get(&path).await.json()["data"]["status"],
        "processing"
    );

    arm(&handle, Fault::new(CREATE, FaultKind::WebhookLost));
    client.post("/v3/videos", &body).await;
    assert!(
        next(&mut hooks, Duration::from_millis(1_200))
            .await
            .is_none()
    );

    arm(
        &handle,
        Fault::new(CREATE, FaultKind::WebhookLate).delay(Duration::from_millis(600)),
    );
    client.post("/v3/videos", &body).await;
    assert!(
        next(&mut hooks, Duration::from_millis(1_100))
            .await
            .is_none()
    );
    assert!(next(&mut hooks, Duration::from_secs(3)).await.is_some());
    // A delivery is logged when its answer has come back.
    for _ in 0..100 {
        if handle.deliveries().len() == 2 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("two deliveries, not {:?}", handle.deliveries());
}
