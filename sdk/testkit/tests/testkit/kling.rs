//! Kling's two dialects.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD, engine::general_purpose::URL_SAFE_NO_PAD};
use genvid_testkit::{Fault, FaultKind, Keys, Profile, Vendor};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::kit::{Client, facts, loudness, moves, next, png, receiver, start, start_with};

fn request(external_id: &str) -> Value {
    json!({
        "prompt": "Slow dolly-in on a steel water bottle on wet rock, morning light",
        "settings": {
            "resolution": "1080p", "aspect_ratio": "9:16", "duration": 5, "audio": "off",
            "multi_shot": false,
        },
        "options": {"external_task_id": external_id, "watermark_info": {"enabled": false}},
    })
}

fn token(access: &str, secret: &str, from: i64, until: i64) -> String {
    let encode = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let content = format!(
        "{}.{}",
        encode(json!({"alg": "HS256", "typ": "JWT"})),
        encode(json!({"iss": access, "exp": until, "nbf": from}))
    );
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("a key");
    mac.update(content.as_bytes());
    format!(
        "{content}.{}",
        URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
    )
}

#[tokio::test]
async fn words_become_a_silent_film() {
    let simulators = start().await;
    let client = Client::new(&simulators, Vendor::Kling);
    let created = client
        .post("/text-to-video/kling-3.0", &request("018f6d2e-kling-1"))
        .await;
    assert_eq!(created.status, 200);
    let created = created.json();
    assert_eq!(
        (&created["code"], &created["message"]),
        (&json!(0), &json!("SUCCEED"))
    );
    assert!(created["request_id"].is_string());
    let task = &created["data"];
    assert_eq!(
        (&task["status"], &task["external_id"]),
        (&json!("submitted"), &json!("018f6d2e-kling-1"))
    );
    assert!(task["create_time"].as_i64().expect("ms") > 1_600_000_000_000);

    let id = task["id"].as_str().expect("an id");
    let path = format!("/tasks?task_ids={id},999&");
    let tasks = client.get(&path).await.json()["data"].clone();
    assert_eq!(tasks.as_array().map(Vec::len), Some(1));
    let done = &tasks[0];
    assert_eq!(done["status"], "succeeded");
    assert_eq!(done["outputs"][0]["type"], "video");
    assert_eq!(done["outputs"][0]["duration"], "5.000");
    let billing = json!([{
        "charge_type": "unit", "package_type": "video", "amount": "4", "list_price": "0.56",
        "currency": "USD",
    }]);
    assert_eq!(done["billing"], billing);
    let film = client
        .media(done["outputs"][0]["url"].as_str().expect("a link"))
        .await;
    let facts = facts(&film.bytes).await;
    assert_eq!(
        (facts.width, facts.height, facts.audio_codec),
        (Some(360), Some(640), None)
    );
    assert!(
        (facts.seconds - 5.0).abs() < 0.05 && facts.frames == 120,
        "{} {}",
        facts.seconds,
        facts.frames
    );
    assert!(moves(&film.bytes).await);

    let found = client
        .get("/tasks?external_task_ids=018f6d2e-kling-1,none")
        .await
        .json();
    assert_eq!(found["data"][0]["id"], id);
    let invoice = simulators.vendor(Vendor::Kling).invoice();
    assert_eq!((invoice.billed, invoice.micro_usd), (1, 560_000));
}

#[tokio::test]
async fn native_sound_is_heard_and_squares_are_square() {
    let simulators = start().await;
    let client = Client::new(&simulators, Vendor::Kling);
    let mut body = request("a");
    body["settings"]["audio"] = json!("native");
    body["settings"]["aspect_ratio"] = json!("1:1");
    client.post("/text-to-video/kling-3.0", &body).await;
    let task = client.get("/tasks?external_task_ids=a").await.json()["data"][0].clone();
    let film = client
        .media(task["outputs"][0]["url"].as_str().expect("a link"))
        .await;
    let facts = facts(&film.bytes).await;
    assert_eq!((facts.width, facts.height), (Some(480), Some(480)));
    assert!(loudness(&film.bytes).await > -40.0);
}

#[tokio::test]
async fn a_film_from_a_picture_has_the_pictures_shape() {
    let simulators = start().await;
    let client = Client::new(&simulators, Vendor::Kling);
    let picture = STANDARD.encode(png(400, 500).await);
    let body = |picture: &str| {
        json!({
            "contents": [
                {"type": "prompt", "text": "The bottle turns slowly"},
                {"type": "first_frame", "url": picture},
            ],
            "settings": {"resolution": "720p", "duration": 3, "multi_shot": false},
            "options": {"external_task_id": "picture"},
        })
    };
    let created = client
        .post("/image-to-video/kling-3.0", &body(&picture))
        .await;
    assert_eq!(created.status, 200, "{:?}", created.json());
    let task = client.get("/tasks?external_task_ids=picture").await.json()["data"][0].clone();
    let film = client
        .media(task["outputs"][0]["url"].as_str().expect("a link"))
        .await;
    let facts = facts(&film.bytes).await;
    assert_eq!((facts.width, facts.height), (Some(360), Some(450)));

    let small = STANDARD.encode(png(200, 400).await);
    let prefixed = format!("data:image/png;base64,{picture}");
    for wrong in [
        small.as_str(),
        prefixed.as_str(),
        "not base64",
        "http://127.0.0.1:1/x.png",
    ] {
        let reply = client.post("/image-to-video/kling-3.0", &body(wrong)).await;
        assert_eq!((reply.status, &reply.json()["code"]), (400, &json!(1201)));
    }
    let mut ratio = body(&picture);
    ratio["settings"]["aspect_ratio"] = json!("9:16");
    assert_eq!(
        client
            .post("/image-to-video/kling-3.0", &ratio)
            .await
            .json()["code"],
        1201
    );
}

#[tokio::test]
async fn an_external_id_is_taken_once() {
    let simulators = start().await;
    let client = Client::new(&simulators, Vendor::Kling);
    let (one, two) = (request("same"), request("same"));
    let (one, two) = tokio::join!(
        client.post("/text-to-video/kling-3.0", &one),
        client.post("/text-to-video/kling-3.0", &two)
    );
    let mut statuses = [one.status, two.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 400]);
    let refused = if one.status == 400 { one } else { two };
    assert_eq!(refused.json()["code"], 1201);
    let invoice = simulators.vendor(Vendor::Kling).invoice();
    assert_eq!(
        (invoice.accepted, invoice.billed, invoice.calls.len()),
        (1, 1, 2)
    );
    assert!(
        invoice
            .calls
            .iter()
            .all(|call| call.client_ref.as_deref() == Some("same"))
    );
}

#[tokio::test]
async fn wrong_requests_get_the_documented_codes() {
    let simulators = start().await;
    let client = Client::new(&simulators, Vendor::Kling);
    let with = |change: fn(&mut Value)| {
        let mut body = request("x");
        change(&mut body);
        body
    };
    let cases: Vec<(&str, Value, u16, i64)> = vec![
        ("/text-to-video/kling-3.0", json!({}), 400, 1200),
        ("/text-to-video/kling-9", request("x"), 404, 1203),
        (
            "/text-to-video/kling-3.0",
            with(|b| b["settings"]["duration"] = json!(16)),
            400,
            1201,
        ),
        (
            "/text-to-video/kling-3.0",
            with(|b| b["settings"]["duration"] = json!("5")),
            400,
            1201,
        ),
        (
            "/text-to-video/kling-2.6",
            with(|b| b["settings"]["duration"] = json!(7)),
            400,
            1201,
        ),
        (
            "/text-to-video/kling-3.0",
            with(|b| b["settings"]["aspect_ratio"] = json!("4:5")),
            400,
            1201,
        ),
        ("/text-to-video/kling-3.0-turbo", request("x"), 400, 1201),
        (
            "/text-to-video/kling-3.0",
            with(|b| b["prompt"] = json!("p".repeat(3_073))),
            400,
            1201,
        ),
    ];
    for (path, body, status, code) in cases {
        let reply = client.post(path, &body).await;
        assert_eq!(
            (reply.status, reply.json()["code"].as_i64()),
            (status, Some(code)),
            "{path} {body}"
        );
    }
    for path in ["/tasks", "/tasks?task_ids=1&external_task_ids=2"] {
        assert_eq!(client.get(path).await.status, 400);
    }
    assert_eq!(simulators.vendor(Vendor::Kling).invoice().accepted, 0);
}

#[tokio::test]
async fn keys_and_tokens_are_checked() {
    let simulators = start().await;
    let client = Client::new(&simulators, Vendor::Kling);
    let keys = Keys::default();
    let now = chrono::Utc::now().timestamp();
    let good = token(&keys.kling_access, &keys.kling_secret, now - 5, now + 1_800);
    let cases = [
        (String::new(), "/tasks?task_ids=1", 1001),
        ("Bearer wrong".into(), "/tasks?task_ids=1", 1002),
        (keys.kling.clone(), "/tasks?task_ids=1", 1000),
        (format!("Bearer {good}"), "/tasks?task_ids=1", 1002),
        (format!("Bearer {good}x"), "/v1/videos/text2video", 1002),
        (
            format!(
                "Bearer {}",
                token(&keys.kling_access, &keys.kling_secret, now - 99, now - 9)
            ),
            "/v1/videos/text2video",
            1004,
        ),
        (
            format!(
                "Bearer {}",
                token(&keys.kling_access, &keys.kling_secret, now + 99, now + 199)
            ),
            "/v1/videos/text2video",
            1003,
        ),
        (
            format!(
                "Bearer {}",
                token("other", &keys.kling_secret, now - 5, now + 99)
            ),
            "/v1/videos/text2video",
            1002,
        ),
    ];
    for (key, path, code) in cases {
        let reply = client.clone().key(&key).get(path).await;
        assert_eq!(
            (reply.status, reply.json()["code"].as_i64()),
            (401, Some(code)),
            "{key} {path}"
        );
    }
    let legacy = client.clone().key(&format!("Bearer {good}"));
    assert_eq!(legacy.get("/v1/videos/text2video").await.json()["code"], 0);
}

#[tokio::test]
async fn the_legacy_routes_speak_the_old_words() {
    let simulators = start().await;
    let keys = Keys::default();
    let now = chrono::Utc::now().timestamp();
    let key = token(&keys.kling_access, &keys.kling_secret, now - 5, now + 1_800);
    let client = Client::new(&simulators, Vendor::Kling).key(&format!("Bearer {key}"));
    let body = json!({
        "model_name": "kling-v3", "prompt": "A bottle", "duration": "3", "aspect_ratio": "16:9",
        "external_task_id": "old-1",
    });
    let created = client.post("/v1/videos/text2video", &body).await.json();
    assert_eq!(created["data"]["task_status"], "submitted");
    let done = client.get("/v1/videos/text2video/old-1").await.json()["data"].clone();
    assert_eq!(done["task_id"], created["data"]["task_id"]);
    assert_eq!(done["task_status"], "succeed");
    assert_eq!(done["task_info"]["external_task_id"], "old-1");
    assert_eq!(done["task_result"]["videos"][0]["duration"], "3.000");
    assert_eq!(done["final_unit_deduction"], "1.8");
    let list = client.get("/v1/videos/text2video?pageSize=5").await.json();
    assert_eq!(list["data"].as_array().map(Vec::len), Some(1));

    let voice = Client::new(&simulators, Vendor::ElevenLabs);
    let text = json!({"text": "Meet the bottle that keeps cold for 24 hours."});
    let sound = voice
        .post("/v1/text-to-speech/21m00Tcm4TlvDq8ikWAM", &text)
        .await;
    let body = json!({
        "image": STANDARD.encode(png(600, 600).await), "sound_file": STANDARD.encode(&sound.bytes),
        "external_task_id": "avatar-1",
    });
    let created = client.post("/v1/videos/avatar/image2video", &body).await;
    assert_eq!(created.status, 200, "{:?}", created.json());
    let done = client
        .get("/v1/videos/avatar/image2video/avatar-1")
        .await
        .json()["data"]
        .clone();
    let link = done["task_result"]["videos"][0]["url"]
        .as_str()
        .expect("a link")
        .to_owned();
    let film = client.media(&link).await;
    let (film_facts, sound_facts) = (facts(&film.bytes).await, facts(&sound.bytes).await);
    assert!((film_facts.seconds - sound_facts.seconds).abs() < 0.15);
    assert!(loudness(&film.bytes).await > -40.0);

    let face = client
        .post(
            "/v1/videos/identify-face",
            &json!({"video_id": done["task_result"]["videos"][0]["id"]}),
        )
        .await
        .json()["data"]
        .clone();
    let body = json!({
        "session_id": face["session_id"], "external_task_id": "lips-1",
        "face_choose": [{
            "face_id": face["face_data"][0]["face_id"],
            "sound_file": STANDARD.encode(&sound.bytes), "sound_start_time": 0,
            "sound_end_time": 3000, "sound_insert_time": 0,
        }],
    });
    assert_eq!(
        client
            .post("/v1/videos/advanced-lip-sync", &body)
            .await
            .json()["code"],
        0
    );
    let done = client
        .get("/v1/videos/advanced-lip-sync/lips-1")
        .await
        .json();
    assert_eq!(done["data"]["task_status"], "succeed");
    assert_eq!(simulators.vendor(Vendor::Kling).invoice().billed, 3);
}

#[tokio::test]
async fn tasks_are_listed_and_the_account_answers_once_a_second() {
    let simulators = start().await;
    let client = Client::new(&simulators, Vendor::Kling);
    for index in 0..5 {
        client
            .post(
                "/text-to-video/kling-3.0",
                &request(&format!("list-{index}")),
            )
            .await;
    }
    let filters = json!([{"key": "status", "values": ["succeeded"]}]);
    let first = client
        .post("/tasks", &json!({"limit": 3, "filters": filters}))
        .await
        .json();
    assert_eq!(first["data"]["count"], 3);
    assert_eq!(first["data"]["result"][0]["external_id"], "list-4");
    let cursor = &first["data"]["next_cursor"];
    let second = client
        .post("/tasks", &json!({"limit": 3, "cursor": cursor}))
        .await
        .json();
    assert_eq!(second["data"]["count"], 2);
    assert_eq!(second["data"]["next_cursor"], "");

    let costs = "/account/costs?start_time=1&end_time=2";
    let packs = client.get(costs).await.json()["data"].clone();
    let pack = &packs["resource_pack_subscribe_infos"][0];
    assert_eq!(pack["status"], "online");
    assert_eq!(pack["remaining_quantity"].as_f64(), Some(9_980.0));
    let reply = client.get(costs).await;
    assert_eq!((reply.status, &reply.json()["code"]), (429, &json!(1302)));
}

#[tokio::test]
async fn slots_are_held_until_the_end() {
    let simulators = start_with(Profile {
        render: Duration::from_secs(60),
        ..Profile::instant()
    })
    .await;
    let handle = simulators.vendor(Vendor::Kling);
    handle.set_concurrency(2);
    let client = Client::new(&simulators, Vendor::Kling);
    for (name, status) in [("a", 200), ("b", 200), ("c", 429)] {
        let reply = client
            .post("/text-to-video/kling-3.0", &request(name))
            .await;
        assert_eq!(reply.status, status);
        if status == 429 {
            assert_eq!(reply.json()["code"], 1303);
        }
    }
    // What was refused may be asked for again under the same id.
    handle.set_concurrency(0);
    assert_eq!(
        client
            .post("/text-to-video/kling-3.0", &request("c"))
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn callbacks_come_at_each_change_and_are_signed() {
    let simulators = start_with(Profile {
        queue: Duration::from_millis(100),
        render: Duration::from_millis(200),
        ..Profile::instant()
    })
    .await;
    let (url, mut hooks) = receiver().await;
    let client = Client::new(&simulators, Vendor::Kling);
    let mut body = request("hook");
    body["options"]["callback_url"] = json!(url);
    client.post("/text-to-video/kling-3.0", &body).await;
    let secret = Keys::default().kling_webhook.expect("a secret");
    let key = STANDARD
        .decode(secret.trim_start_matches("whsec_"))
        .expect("base64");
    let mut seen = Vec::new();
    for _ in 0..3 {
        let hook = next(&mut hooks, Duration::from_secs(5))
            .await
            .expect("a webhook");
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("a key");
        let head = format!(
            "{}.{}.",
            hook.header("webhook-id"),
            hook.header("webhook-timestamp")
        );
        mac.update(head.as_bytes());
        mac.update(&hook.body);
        let expected = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
        assert_eq!(hook.header("webhook-signature"), expected);
        assert_eq!(hook.json()["external_id"], "hook");
        seen.push(hook.json()["status"].as_str().expect("a word").to_owned());
    }
    assert_eq!(seen, ["submitted", "processing", "succeeded"]);
}

#[tokio::test]
async fn a_failed_task_has_free_words_and_code_0() {
    let simulators = start().await;
    let handle = simulators.vendor(Vendor::Kling);
    let fault = Fault::new("POST /text-to-video/kling-3.0", FaultKind::TaskFails);
    handle.add_faults(vec![fault]).expect("a fault");
    let client = Client::new(&simulators, Vendor::Kling);
    client.post("/text-to-video/kling-3.0", &request("f")).await;
    let reply = client.get("/tasks?external_task_ids=f").await.json();
    assert_eq!(reply["code"], 0);
    assert_eq!(reply["data"][0]["status"], "failed");
    assert!(
        reply["data"][0]["message"]
            .as_str()
            .expect("words")
            .contains("risk control")
    );
    assert_eq!(reply["data"][0]["outputs"], Value::Null);
}
