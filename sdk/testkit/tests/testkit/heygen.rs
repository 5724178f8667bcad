//! HeyGen's wire format, states, media and webhooks.

use std::time::Duration;

use genvid_testkit::{Clock, Fault, FaultKind, Profile, Vendor};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::kit::{Client, facts, loudness, moves, next, receiver, send, start, start_with};

const SCRIPT: &str = "Meet the bottle that keeps cold for 24 hours. Take it anywhere, every day.";

fn request() -> Value {
    json!({
        "type": "avatar", "avatar_id": "anna_studio_front_portrait", "script": SCRIPT,
        "voice_id": "2d5b0e6cf36f460aa7fc47e3eee4ba54", "title": "genvid:job:018f6d2e:heygen:1",
        "resolution": "1080p", "aspect_ratio": "9:16", "fit": "cover",
        "background": {"type": "color", "value": "#F5F5F5"},
        "caption": {"file_format": "srt", "style": null},
        "callback_id": "018f6d2e",
    })
}

#[tokio::test]
async fn a_script_becomes_a_film_with_sound_and_subtitles() {
    let simulators = start().await;
    let client = Client::new(&simulators, Vendor::HeyGen);
    let created = client.post("/v3/videos", &request()).await;
    assert_eq!(created.status, 200);
    let created = created.json();
    assert_eq!(created["data"]["status"], "waiting");
    assert_eq!(created["data"]["output_format"], "mp4");
    let id = created["data"]["video_id"].as_str().expect("an id");

    let detail = client.get(&format!("/v3/videos/{id}")).await.json()["data"].clone();
    assert_eq!(detail["status"], "completed");
    assert_eq!(detail["title"], "genvid:job:018f6d2e:heygen:1");
    assert_eq!(detail["failure_code"], Value::Null);
    let link = detail["video_url"].as_str().expect("a link");
    assert!(link.starts_with("https://files.heygen.ai/"), "{link}");

    let film = client.media(link).await;
    assert_eq!(film.header("content-type"), "video/mp4");
    let facts = facts(&film.bytes).await;
    assert_eq!((facts.width, facts.height), (Some(360), Some(640)));
    assert_eq!(facts.audio_codec.as_deref(), Some("aac"));
    assert_eq!(facts.video_codec.as_deref(), Some("h264"));
    let duration = detail["duration"].as_f64().expect("a length");
    assert!(
        (facts.seconds - duration).abs() < 0.15,
        "{facts:?} {duration}"
    );
    assert!((4.5..7.0).contains(&duration), "{duration}");
    assert!(loudness(&film.bytes).await > -40.0);
    assert!(moves(&film.bytes).await);

    let srt = client
        .media(detail["subtitle_url"].as_str().expect("a link"))
        .await;
    let srt = String::from_utf8(srt.bytes.to_vec()).expect("text");
    assert!(srt.starts_with("1\n00:00:00,000 --> "), "{srt}");
    assert!(srt.contains("Take it anywhere, every day."), "{srt}");
    let poster = client
        .media(detail["thumbnail_url"].as_str().expect("a link"))
        .await;
    assert_eq!(poster.header("content-type"), "image/jpeg");
    assert!(poster.bytes.starts_with(&[0xff, 0xd8, 0xff]));
    let gif = client
        .media(detail["gif_url"].as_str().expect("a link"))
        .await;
    assert!(gif.bytes.starts_with(b"GIF89a"));

    let part = client.web.get(format!(
        "{}{}",
        client.base,
        link.strip_prefix("https://files.heygen.ai")
            .expect("a path")
    ));
    let part = send(part.header("range", "bytes=4-7"))
        .await
        .expect("a part");
    assert_eq!((part.status, &part.bytes[..]), (206, &b"ftyp"[..]));
    assert!(part.header("content-range").starts_with("bytes 4-7/"));
}

#[tokio::test]
async fn states_follow_the_clock() {
    let profile = Profile {
        queue: Duration::from_millis(200),
        render: Duration::from_millis(400),
        ..Profile::instant()
    };
    let simulators = start_with(profile).await;
    let client = Client::new(&simulators, Vendor::HeyGen);
    let id = client.post("/v3/videos", &request()).await.json()["data"]["video_id"].clone();
    let path = format!("/v3/videos/{}", id.as_str().expect("an id"));
    let mut seen: Vec<String> = Vec::new();
    loop {
        let detail = client.get(&path).await.json()["data"].clone();
        let status = detail["status"].as_str().expect("a word").to_owned();
        if status == "completed" {
            break;
        }
        assert_eq!(detail["video_url"], Value::Null);
        assert_eq!(detail["completed_at"], Value::Null);
        if seen.last() != Some(&status) {
            seen.push(status);
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    assert_eq!(seen, ["pending", "processing"]);
}

#[tokio::test]
async fn the_same_key_answers_the_first_video_and_bills_once() {
    let simulators = start().await;
    let client = Client::new(&simulators, Vendor::HeyGen);
    let create = async |key: &str| {
        let request = client.request("POST", "/v3/videos").json(&request());
        send(request.header("Idempotency-Key", key))
            .await
            .expect("an answer")
    };
    let first = create("attempt-1").await.json();
    assert_eq!(create("attempt-1").await.json(), first);
    let other = create("attempt-2").await.json();
    assert_ne!(other["data"]["video_id"], first["data"]["video_id"]);
    assert_eq!(create("not/allowed").await.status, 400);

    let invoice = simulators.vendor(Vendor::HeyGen).invoice();
    assert_eq!((invoice.accepted, invoice.billed), (2, 2));
    let replayed: Vec<bool> = invoice.calls.iter().map(|call| call.replayed).collect();
    assert_eq!(replayed, [false, true, false, false]);
    assert_eq!(invoice.calls[0].client_ref.as_deref(), Some("attempt-1"));
    assert!(invoice.micro_usd > 500_000, "{}", invoice.micro_usd);
}

#[tokio::test]
async fn a_key_in_flight_is_a_conflict() {
    let simulators = start().await;
    let handle = simulators.vendor(Vendor::HeyGen);
    handle.set_clock(&Clock {
        accept_ms: Some(500),
        ..Clock::default()
    });
    let client = Client::new(&simulators, Vendor::HeyGen);
    let create = || {
        let request = client.request("POST", "/v3/videos").json(&request());
        send(request.header("Idempotency-Key", "one"))
    };
    let (first, second) = tokio::join!(create(), async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        create().await
    });
    assert_eq!(first.expect("an answer").status, 200);
    let second = second.expect("an answer");
    assert_eq!(second.status, 409);
    assert_eq!(second.json()["error"]["code"], "request_in_progress");
    assert_eq!(handle.invoice().billed, 1);
}

#[tokio::test]
async fn wrong_requests_name_the_field() {
    let simulators = start().await;
    let client = Client::new(&simulators, Vendor::HeyGen);
    let with = |change: fn(&mut Value)| {
        let mut body = request();
        change(&mut body);
        body
    };
    let cases: Vec<(Value, u16, &str, &str)> = vec![
        (
            with(|body| body["type"] = json!("hologram")),
            400,
            "invalid_parameter",
            "type",
        ),
        (
            with(|body| body["avatar_id"] = json!("nobody")),
            404,
            "avatar_not_found",
            "avatar_id",
        ),
        (
            with(|body| body["voice_id"] = json!("nobody")),
            404,
            "voice_not_found",
            "voice_id",
        ),
        (
            with(|body| body["script"] = json!("")),
            400,
            "invalid_parameter",
            "script",
        ),
        (
            with(|body| body["script"] = json!("a".repeat(5_001))),
            400,
            "invalid_parameter",
            "script",
        ),
        (
            with(|body| body["audio_url"] = json!("http://x/")),
            400,
            "invalid_parameter",
            "script",
        ),
        (
            with(|body| body["aspect_ratio"] = json!("2:3")),
            400,
            "invalid_parameter",
            "aspect_ratio",
        ),
        (
            with(|body| body["voice_settings"] = json!({"speed": 9})),
            400,
            "invalid_parameter",
            "voice_settings.speed",
        ),
    ];
    for (body, status, code, param) in cases {
        let reply = client.post("/v3/videos", &body).await;
        let error = reply.json()["error"].clone();
        assert_eq!(
            (reply.status, &error["code"]),
            (status, &json!(code)),
            "{error}"
        );
        assert_eq!(error["param"], param);
    }
    let invoice = simulators.vendor(Vendor::HeyGen).invoice();
    assert_eq!(
        (invoice.accepted, invoice.billed, invoice.calls.len()),
        (0, 0, 8)
    );
}

#[tokio::test]
async fn keys_are_checked_and_unknown_videos_are_not_found() {
    let simulators = start().await;
    let client = Client::new(&simulators, Vendor::HeyGen);
    for key in ["", "wrong"] {
        let reply = client.clone().key(key).get("/v3/users/me").await;
        assert_eq!(reply.status, 401);
        assert_eq!(reply.json()["error"]["code"], "unauthorized");
    }
    let me = client.get("/v3/users/me").await.json();
    assert_eq!(me["data"]["billing_type"], "wallet");
    assert!(me["data"]["wallet"]["remaining_balance"].as_f64().is_some());
    let reply = client.get("/v3/videos/vid_none").await;
    assert_eq!(
        (reply.status, &reply.json()["error"]["code"]),
        (404, &json!("video_not_found"))
    );
    let reply = client.get("/v2/avatars").await;
    assert_eq!(
        (reply.status, &reply.json()["error"]["code"]),
        (404, &json!("not_found"))
    );
}

#[tokio::test]
async fn videos_are_found_by_title_and_in_batches() {
    let simulators = start().await;
    let client = Client::new(&simulators, Vendor::HeyGen);
    let mut ids = Vec::new();
    for index in 0..12 {
        let mut body = request();
        body["title"] = json!(format!("genvid-ref-{index:02}"));
        ids.push(client.post("/v3/videos", &body).await.json()["data"]["video_id"].clone());
    }
    let found = client.get("/v3/videos?title=ref-07&limit=5").await.json();
    assert_eq!(found["data"][0]["id"], ids[7]);
    assert_eq!(
        (found["data"].as_array().map(Vec::len), &found["has_more"]),
        (Some(1), &json!(false))
    );
    let first = client.get("/v3/videos?title=genvid-ref").await.json();
    assert_eq!(first["data"].as_array().map(Vec::len), Some(10));
    let token = first["next_token"].as_str().expect("a token");
    let second = client
        .get(&format!("/v3/videos?title=genvid-ref&token={token}"))
        .await
        .json();
    assert_eq!(second["data"][1]["id"], ids[0]);
    let id = ids[3].as_str().expect("an id");
    let statuses = client
        .get(&format!("/v3/videos/statuses?video_ids={id},vid_x"))
        .await
        .json();
    assert_eq!(statuses["data"][0]["status"], "completed");
    assert_eq!(statuses["data"][1]["status"], "not_found");
    let deleted = send(client.request("DELETE", &format!("/v3/videos/{id}"))).await;
    assert_eq!(deleted.expect("an answer").json()["data"]["deleted"], true);
    assert_eq!(client.get(&format!("/v3/videos/{id}")).await.status, 404);
}

#[tokio::test]
async fn the_catalogue_has_pages() {
    let simulators = start().await;
    let client = Client::new(&simulators, Vendor::HeyGen);
    let mut looks = Vec::new();
    let mut token = String::new();
    loop {
        let page = client
            .get(&format!("/v3/avatars/looks?limit=5{token}"))
            .await
            .json();
        looks.extend(page["data"].as_array().expect("a list").clone());
        match page["next_token"].as_str() {
            Some(next) => token = format!("&token={next}"),
            None => break,
        }
    }
    assert_eq!(looks.len(), 12);
    let preview = looks[0]["preview_image_url"].as_str().expect("a link");
    assert!(client.media(preview).await.bytes.starts_with(&[0xff, 0xd8]));
    let voices = client.get("/v3/voices?language=Chinese").await.json();
    assert_eq!(voices["data"].as_array().map(Vec::len), Some(2));
    assert!(client.get("/v3/avatars").await.json()["data"][0]["id"].is_string());
}

#[tokio::test]
async fn an_uploaded_sound_is_the_films_sound() {
    let simulators = start().await;
    let client = Client::new(&simulators, Vendor::HeyGen);
    let voice = Client::new(&simulators, Vendor::ElevenLabs);
    let speech = voice
        .post(
            "/v1/text-to-speech/21m00Tcm4TlvDq8ikWAM",
            &json!({"text": SCRIPT}),
        )
        .await;
    let length = facts(&speech.bytes).await.seconds;
    let part = reqwest::multipart::Part::bytes(speech.bytes.to_vec()).file_name("voice.mp3");
    let form = reqwest::multipart::Form::new().part("file", part);
    let asset = send(client.request("POST", "/v3/assets").multipart(form)).await;
    let asset = asset.expect("an answer").json()["data"].clone();
    assert_eq!(asset["mime_type"], "audio/mpeg");
    let body = json!({
        "type": "avatar", "avatar_id": "ben_casual_front_portrait", "aspect_ratio": "1:1",
        "audio_asset_id": asset["asset_id"],
    });
    let created = client.post("/v3/videos", &body).await.json();
    let id = created["data"]["video_id"].as_str().expect("an id");
    let detail = client.get(&format!("/v3/videos/{id}")).await.json()["data"].clone();
    let film = client
        .media(detail["video_url"].as_str().expect("a link"))
        .await;
    let facts = facts(&film.bytes).await;
    assert_eq!((facts.width, facts.height), (Some(480), Some(480)));
    assert!(
        (facts.seconds - length).abs() < 0.2,
        "{} {length}",
        facts.seconds
    );
    assert!(loudness(&film.bytes).await > -40.0);
    let mut body = body;
    body["audio_asset_id"] = json!("ast_none");
    assert_eq!(client.post("/v3/videos", &body).await.status, 404);
}

#[tokio::test]
async fn the_limit_of_parallel_jobs_holds() {
    let simulators = start_with(Profile {
        render: Duration::from_secs(60),
        ..Profile::instant()
    })
    .await;
    let client = Client::new(&simulators, Vendor::HeyGen);
    for _ in 0..10 {
        assert_eq!(client.post("/v3/videos", &request()).await.status, 200);
    }
    let reply = client.post("/v3/videos", &request()).await;
    assert_eq!(reply.status, 429);
    assert_eq!(reply.json()["error"]["code"], "rate_limit_exceeded");
    assert!(reply.header("retry-after").parse::<u64>().is_ok());
    assert_eq!(simulators.vendor(Vendor::HeyGen).invoice().billed, 10);
}

fn signature(secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("a key");
    mac.update(body);
    hex::encode(mac.finalize().into_bytes())
}

#[tokio::test]
async fn a_callback_url_gets_a_signed_webhook() {
    let simulators = start().await;
    let (url, mut hooks) = receiver().await;
    let client = Client::new(&simulators, Vendor::HeyGen);
    let mut body = request();
    body["callback_url"] = json!(url);
    let created = client.post("/v3/videos", &body).await.json();
    let hook = next(&mut hooks, Duration::from_secs(5))
        .await
        .expect("a webhook");
    let event = hook.json();
    assert_eq!(event["event_type"], "avatar_video.success");
    assert_eq!(event["event_data"]["video_id"], created["data"]["video_id"]);
    assert_eq!(event["event_data"]["callback_id"], "018f6d2e");
    let secret = &simulators.secrets()["HEYGEN_WEBHOOK_SECRET"];
    assert_eq!(
        hook.header("heygen-signature"),
        signature(secret, &hook.body)
    );
    assert!(hook.header("heygen-timestamp").parse::<i64>().is_ok());
    assert!(hook.header("heygen-event-id").starts_with("evt_"));

    // Twice the same event, with a signature that is not HeyGen's.
    let twisted = vec![
        Fault::new("POST /v3/videos", FaultKind::WebhookDuplicate),
        Fault::new("POST /v3/videos", FaultKind::WebhookForged),
        Fault::new("POST /v3/videos", FaultKind::TaskFails).code("avatar_not_usable"),
    ];
    simulators
        .vendor(Vendor::HeyGen)
        .add_faults(twisted)
        .expect("faults");
    client.post("/v3/videos", &body).await;
    let first = next(&mut hooks, Duration::from_secs(5))
        .await
        .expect("a webhook");
    let second = next(&mut hooks, Duration::from_secs(5))
        .await
        .expect("a duplicate");
    assert_eq!(first.json()["event_type"], "avatar_video.fail");
    assert_eq!(
        first.header("heygen-event-id"),
        second.header("heygen-event-id")
    );
    assert_ne!(
        first.header("heygen-signature"),
        signature(secret, &first.body)
    );
}

#[tokio::test]
async fn failed_jobs_say_why_and_are_not_charged() {
    let simulators = start().await;
    let handle = simulators.vendor(Vendor::HeyGen);
    let fault = Fault::new("POST /v3/videos", FaultKind::TaskFails).code("script_too_long");
    handle.add_faults(vec![fault]).expect("a fault");
    let client = Client::new(&simulators, Vendor::HeyGen);
    let created = client.post("/v3/videos", &request()).await.json();
    let id = created["data"]["video_id"].as_str().expect("an id");
    let reply = client.get(&format!("/v3/videos/{id}")).await;
    assert_eq!(reply.status, 200);
    let detail = reply.json()["data"].clone();
    assert_eq!(detail["status"], "failed");
    assert_eq!(detail["failure_code"], "script_too_long");
    assert_eq!(detail["video_url"], Value::Null);
    let invoice = handle.invoice();
    assert_eq!((invoice.accepted, invoice.billed), (1, 0));
    assert!(invoice.calls[0].refunded);
}

#[tokio::test]
async fn result_links_run_out_and_a_new_look_gives_fresh_ones() {
    let simulators = start().await;
    let handle = simulators.vendor(Vendor::HeyGen);
    let client = Client::new(&simulators, Vendor::HeyGen);
    let created = client.post("/v3/videos", &request()).await.json();
    let path = format!(
        "/v3/videos/{}",
        created["data"]["video_id"].as_str().expect("an id")
    );
    let ttl = |ms| Clock {
        media_ttl_ms: Some(ms),
        ..Clock::default()
    };
    handle.set_clock(&ttl(1));
    let detail = client.get(&path).await.json()["data"].clone();
    tokio::time::sleep(Duration::from_millis(20)).await;
    let expired = client
        .media(detail["thumbnail_url"].as_str().expect("a link"))
        .await;
    assert_eq!(expired.status, 403);
    handle.set_clock(&ttl(60_000));
    let detail = client.get(&path).await.json()["data"].clone();
    let fresh = client
        .media(detail["thumbnail_url"].as_str().expect("a link"))
        .await;
    assert_eq!(fresh.status, 200);
}
