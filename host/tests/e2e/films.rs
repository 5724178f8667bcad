//! The main path: scripts, voices and films, from the wish to the file.

use genvid_testkit::Vendor;
use serde_json::{Value, json};

use crate::support::{
    attempts,
    client::Client,
    files::{self, Seen},
    list, step, text,
    world::{Setup, WORDS, World},
};

async fn start() -> World {
    Setup::default().with_shipped_plugins().start().await
}

async fn film(client: &Client, job: &Value) -> Seen {
    let seen = files::inspect(&client.download(text(job, "/videoUrl")).await).await;
    let (width, height) = seen.size.expect("a picture");
    assert_eq!(
        (job["width"].as_u64(), job["height"].as_u64()),
        (Some(width), Some(height))
    );
    let told = job["durationMs"].as_f64().expect("a duration") / 1_000.0;
    assert!(
        (told - seen.seconds).abs() < 0.25,
        "{told} s told, {} s played",
        seen.seconds
    );
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_is_written_and_told_live_and_a_voice_is_spoken() {
    let world = start().await;
    let client = world.client();
    let job = world.script(json!({})).await;
    let mut live = client.live().await;
    live.follow(&job, 0).await;
    let seen = live
        .until(|event| event["type"] == "JOB_SUCCEEDED")
        .await
        .expect("the end");
    let deltas: String = seen
        .iter()
        .filter(|event| event["type"] == "TEXT_DELTA")
        .map(|event| text(event, "/textDelta"))
        .collect();
    let job = client.ended(&job, "SUCCEEDED").await;
    let script = text(&job, "/script/text");
    assert!(script.split_whitespace().count() > 5, "{script}");
    let hook = text(&job, "/script/hook");
    assert!(
        deltas.contains(hook),
        "the live text {deltas:?} does not hold {hook:?}"
    );
    assert_eq!(attempts(&job, "SCRIPT"), ["openai SUCCEEDED CHARGED"]);
    assert!(job["videoUrl"].is_null() && job["voiceUrl"].is_null());

    let job = world.voice(json!({})).await;
    let job = client.ended(&job, "SUCCEEDED").await;
    let sound = files::inspect(&client.download(text(&job, "/voiceUrl")).await).await;
    assert!(sound.is_heard() && sound.size.is_none(), "{sound:?}");
    assert!(sound.seconds > 1.0, "{sound:?}");
    assert_eq!(attempts(&job, "VOICE"), ["elevenlabs SUCCEEDED CHARGED"]);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_film_is_made_from_nothing_but_a_product() {
    let world = start().await;
    let client = world.client();
    let wish = json!({"script": null, "subtitles": "BURNED", "maxSeconds": 10});
    let job = client.ended(&world.film(wish).await, "SUCCEEDED").await;
    let kinds: Vec<_> = list(&job, "/steps")
        .iter()
        .map(|step| text(step, "/kind"))
        .collect();
    assert_eq!(
        kinds,
        [
            "SCRIPT",
            "VOICE",
            "VIDEO",
            "COMPOSE",
            "THUMBNAIL",
            "DELIVER"
        ]
    );
    for (kind, provider) in [
        ("SCRIPT", "openai"),
        ("VOICE", "elevenlabs"),
        ("VIDEO", "heygen"),
    ] {
        assert_eq!(
            attempts(&job, kind),
            [format!("{provider} SUCCEEDED CHARGED")]
        );
    }
    let seen = film(&client, &job).await;
    assert!(seen.is_heard(), "{seen:?}");
    assert!((seen.ratio() - 9.0 / 16.0).abs() < 0.01, "{seen:?}");
    let picture = client.download(text(&job, "/thumbnailUrl")).await;
    assert_eq!(picture[..3], [0xff, 0xd8, 0xff], "a JPEG begins so");
    let subtitles = client.download(text(&job, "/subtitlesUrl")).await;
    let subtitles = String::from_utf8(subtitles).expect("UTF-8");
    assert!(
        subtitles.starts_with("1\n00:00:0") && subtitles.contains(" --> "),
        "{subtitles}"
    );
    let spoken = text(&job, "/script/text");
    let first = spoken.split_whitespace().next().expect("a word");
    assert!(subtitles.contains(first), "{first:?} is not in {subtitles}");
    // Each step went through its plugin and over HTTP, with the vendor's credential.
    for (vendor, route) in [
        (Vendor::OpenAi, "POST /v1/chat/completions"),
        (Vendor::HeyGen, "POST /v3/videos"),
        (Vendor::HeyGen, "POST /v3/assets"),
    ] {
        assert_eq!(world.calls(vendor, route), 1, "{route}");
    }
    assert_eq!(world.accepted(Vendor::ElevenLabs), 1);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_shape_and_kind_of_subtitles_is_made() {
    let world = start().await;
    let client = world.client();
    let mut jobs = Vec::new();
    for (aspect, ratio, subtitles, tracks) in [
        ("SQUARE", 1.0, "SIDECAR", 1),
        ("LANDSCAPE", 16.0 / 9.0, "NONE", 0),
        ("PORTRAIT", 9.0 / 16.0, "BURNED", 0),
    ] {
        let wish = json!({"aspect": aspect, "subtitles": subtitles});
        jobs.push((world.film(wish).await, ratio, subtitles, tracks));
    }
    for (job, ratio, subtitles, tracks) in jobs {
        let job = client.ended(&job, "SUCCEEDED").await;
        let seen = film(&client, &job).await;
        assert!(seen.is_heard(), "{seen:?}");
        assert!((seen.ratio() - ratio).abs() < 0.01, "{subtitles}: {seen:?}");
        assert_eq!(seen.subtitle_tracks, tracks, "{subtitles}");
        assert_eq!(job["subtitlesUrl"].is_null(), subtitles == "NONE");
        if subtitles != "NONE" {
            let file = client.download(text(&job, "/subtitlesUrl")).await;
            let file = String::from_utf8(file).expect("UTF-8");
            for word in WORDS.split_whitespace() {
                assert!(file.contains(word), "{word:?} is not in {file}");
            }
        }
    }
    // The text was given, so no script was bought.
    assert_eq!(world.calls(Vendor::OpenAi, "POST /v1/chat/completions"), 0);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pinned_vendor_speaks_by_itself() {
    let world = start().await;
    let client = world.client();
    let job = client
        .ended(
            &world.film(json!({"provider": "heygen"})).await,
            "SUCCEEDED",
        )
        .await;
    let kinds: Vec<_> = list(&job, "/steps")
        .iter()
        .map(|step| text(step, "/kind"))
        .collect();
    assert_eq!(kinds, ["VIDEO", "COMPOSE", "THUMBNAIL", "DELIVER"]);
    assert!(film(&client, &job).await.is_heard());
    assert_eq!(world.accepted(Vendor::ElevenLabs), 0);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_voice_is_laid_over_a_silent_film() {
    let world = start().await;
    let client = world.client();
    let wish = json!({"provider": "kling", "aspect": "SQUARE", "subtitles": "SIDECAR"});
    let job = client.ended(&world.film(wish).await, "SUCCEEDED").await;
    assert_eq!(attempts(&job, "VOICE"), ["elevenlabs SUCCEEDED CHARGED"]);
    assert_eq!(attempts(&job, "VIDEO"), ["kling SUCCEEDED CHARGED"]);
    let seen = film(&client, &job).await;
    assert!(seen.is_heard(), "{seen:?}");
    assert!((seen.ratio() - 1.0).abs() < 0.01, "{seen:?}");
    assert_eq!(step(&job, "COMPOSE")["status"], "SUCCEEDED");
    assert_eq!(world.accepted(Vendor::HeyGen), 0);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_earlier_result_stays_and_files_come_in_parts() {
    let world = start().await;
    let client = world.client();
    let project = client.project().await;
    let wish = world.wish(&project, json!({}));
    let first = client
        .ended(&client.start("GenerateVideo", wish).await, "SUCCEEDED")
        .await;
    let link = text(&first, "/videoUrl").to_owned();
    let before = client.download(&link).await;
    let wish = world.wish(&project, json!({"aspect": "SQUARE"}));
    let second = client
        .ended(&client.start("GenerateVideo", wish).await, "SUCCEEDED")
        .await;
    let after = client.download(text(&second, "/videoUrl")).await;
    assert_ne!(before, after);
    assert!(
        client.download(&link).await == before,
        "the first film changed"
    );
    let again = client.job(text(&first, "/id")).await;
    assert!(
        client.download(text(&again, "/videoUrl")).await == before,
        "a fresh link shows another"
    );

    let size = before.len();
    for (range, from, to) in [
        ("bytes=0-99".to_owned(), 0, 99),
        (format!("bytes={}-", size - 10), size - 10, size - 1),
        ("bytes=-5".to_owned(), size - 5, size - 1),
        (format!("bytes=7-{}", size * 2), 7, size - 1),
    ] {
        let part = client.get(&link, &[("range", &range)]).await;
        assert_eq!(part.status(), 206, "{range}");
        assert_eq!(
            part.headers()["content-range"],
            format!("bytes {from}-{to}/{size}")
        );
        assert_eq!(part.headers()["content-type"], "video/mp4");
        assert!(
            part.bytes().await.expect("bytes")[..] == before[from..=to],
            "{range}"
        );
    }
    let beyond = client
        .get(&link, &[("range", &format!("bytes={size}-"))])
        .await;
    assert_eq!(beyond.status(), 416);
    if !world.is_on_servers() {
        // What the host serves says more than stores have to.
        assert_eq!(beyond.headers()["content-range"], format!("bytes */{size}"));
        let whole = client.get(&link, &[]).await;
        assert_eq!(whole.headers()["accept-ranges"], "bytes");
    }
    // A link works only as it was given.
    let (path, signature) = link.split_once('?').expect("a signature");
    let forged = format!("{path}x?{signature}");
    assert_eq!(client.get(&forged, &[]).await.status(), 403);
    let (bare, _) = link.split_once('?').expect("a signature");
    assert_eq!(client.get(bare, &[]).await.status(), 403);
    world.audit().await;
}
