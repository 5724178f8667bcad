//! ElevenLabs: speech, timestamps, history.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use genvid_testkit::{Profile, Vendor};
use serde_json::{Value, json};

use crate::kit::{Client, facts, loudness, send, start, start_with};

const RACHEL: &str = "/v1/text-to-speech/21m00Tcm4TlvDq8ikWAM";
const TEXT: &str = "Meet the bottle that keeps cold for 24 hours. Take it anywhere!";

fn numbers(list: &Value) -> Vec<f64> {
    list.as_array()
        .expect("a list")
        .iter()
        .map(|number| number.as_f64().expect("a number"))
        .collect()
}

/// Checks the three arrays; answers the end of the last character.
fn check(alignment: &Value, text: &str) -> f64 {
    let characters: Vec<&str> = alignment["characters"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|character| character.as_str().expect("a character"))
        .collect();
    assert_eq!(characters.concat(), text);
    let starts = numbers(&alignment["character_start_times_seconds"]);
    let ends = numbers(&alignment["character_end_times_seconds"]);
    assert_eq!(
        (starts.len(), ends.len()),
        (characters.len(), characters.len())
    );
    assert!(starts.windows(2).all(|pair| pair[0] <= pair[1]));
    assert!(starts.iter().zip(&ends).all(|(start, end)| start <= end));
    ends.last().copied().expect("an end")
}

#[tokio::test]
async fn speech_sounds_and_fits_its_timestamps() {
    let simulators = start().await;
    let client = Client::new(&simulators, Vendor::ElevenLabs);
    let body = json!({
        "text": TEXT, "model_id": "eleven_multilingual_v2",
        "voice_settings": {"stability": 0.5, "similarity_boost": 0.75, "speed": 1.0}, "seed": 42,
    });
    let reply = client.post(RACHEL, &body).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), "audio/mpeg");
    assert_eq!(
        reply.header("character-cost"),
        TEXT.chars().count().to_string()
    );
    assert!(!reply.header("request-id").is_empty());
    let audio = facts(&reply.bytes).await;
    assert_eq!(audio.audio_codec.as_deref(), Some("mp3"));
    let rate = 63.0 / audio.seconds;
    assert!((12.0..16.0).contains(&rate), "{rate} characters a second");
    assert!(loudness(&reply.bytes).await > -40.0);

    let timed = client
        .post(&format!("{RACHEL}/with-timestamps"), &body)
        .await
        .json();
    let decoded = STANDARD.decode(timed["audio_base64"].as_str().expect("base64"));
    let seconds = facts(&decoded.expect("base64")).await.seconds;
    let end = check(&timed["alignment"], TEXT);
    check(&timed["normalized_alignment"], TEXT);
    assert!((seconds - end).abs() < 0.15, "{seconds} {end}");
    let invoice = simulators.vendor(Vendor::ElevenLabs).invoice();
    assert_eq!((invoice.billed, invoice.micro_usd), (2, 2 * 63 * 100));
    assert_eq!(
        (
            invoice.calls[0].what.as_str(),
            invoice.calls[0].units.to_bits()
        ),
        ("speech", 63.0_f64.to_bits())
    );
}

#[tokio::test]
async fn every_format_plays() {
    let simulators = start().await;
    let client = Client::new(&simulators, Vendor::ElevenLabs);
    for (format, codec) in [
        ("mp3_22050_32", "mp3"),
        ("mp3_44100_192", "mp3"),
        ("opus_48000_64", "opus"),
        ("wav_16000", "pcm_s16le"),
    ] {
        let path = format!("{RACHEL}?output_format={format}");
        let reply = client.post(&path, &json!({"text": TEXT})).await;
        assert_eq!(
            facts(&reply.bytes).await.audio_codec.as_deref(),
            Some(codec),
            "{format}"
        );
    }
    let pcm = client
        .post(
            &format!("{RACHEL}?output_format=pcm_16000"),
            &json!({"text": TEXT}),
        )
        .await;
    assert_eq!(pcm.header("content-type"), "audio/pcm");
    assert!(pcm.bytes.len() > 100_000);
}

#[tokio::test]
async fn chinese_is_spoken_too() {
    let simulators = start().await;
    let client = Client::new(&simulators, Vendor::ElevenLabs);
    let text = "认识一下这个水瓶，它能保冷二十四小时。";
    let path = "/v1/text-to-speech/bhJUNIXWQQ94l8eI2VUf/with-timestamps";
    let timed = client.post(path, &json!({"text": text})).await.json();
    let end = check(&timed["alignment"], text);
    assert!((3.5..5.0).contains(&end), "{end}");
    let audio = STANDARD
        .decode(timed["audio_base64"].as_str().expect("base64"))
        .expect("base64");
    assert!(loudness(&audio).await > -40.0);
}

#[tokio::test]
async fn streams_come_in_pieces() {
    let simulators = start().await;
    let client = Client::new(&simulators, Vendor::ElevenLabs);
    let body = json!({"text": TEXT});
    let whole = client.post(&format!("{RACHEL}/stream"), &body).await;
    let end = facts(&whole.bytes).await.seconds;
    assert!(end > 3.0);
    let lines = client
        .post(&format!("{RACHEL}/stream/with-timestamps"), &body)
        .await;
    let (mut audio, mut text) = (Vec::new(), String::new());
    for line in lines
        .bytes
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
    {
        let line: Value = serde_json::from_slice(line).expect("JSON");
        audio.extend(
            STANDARD
                .decode(line["audio_base64"].as_str().expect("base64"))
                .expect("base64"),
        );
        for character in line["alignment"]["characters"]
            .as_array()
            .into_iter()
            .flatten()
        {
            text.push_str(character.as_str().expect("a character"));
        }
    }
    assert_eq!(text, TEXT);
    assert_eq!(audio, whole.bytes);
    let wav = client
        .post(&format!("{RACHEL}/stream?output_format=wav_16000"), &body)
        .await;
    assert_eq!(wav.json()["detail"]["code"], "invalid_output_format");
}

#[tokio::test]
async fn what_was_spoken_is_in_the_history() {
    let simulators = start().await;
    let client = Client::new(&simulators, Vendor::ElevenLabs);
    let spoken = client.post(RACHEL, &json!({"text": TEXT})).await;
    client
        .post(
            &format!("{RACHEL}?enable_logging=false"),
            &json!({"text": "Secret"}),
        )
        .await;
    client
        .post(
            "/v1/text-to-speech/JBFqnCBsd6RMkjVDRZzb",
            &json!({"text": "Other"}),
        )
        .await;
    let path = "/v1/history?page_size=10&voice_id=21m00Tcm4TlvDq8ikWAM&source=TTS&search=bottle";
    let history = client.get(path).await.json();
    assert_eq!(history["history"].as_array().map(Vec::len), Some(1));
    let item = &history["history"][0];
    assert_eq!(
        (&item["text"], &item["state"]),
        (&json!(TEXT), &json!("created"))
    );
    assert_eq!(item["request_id"], spoken.header("request-id"));
    check(&item["alignments"]["alignment"], TEXT);
    let id = item["history_item_id"].as_str().expect("an id");
    assert_eq!(id, spoken.header("history-item-id"));
    let audio = client.get(&format!("/v1/history/{id}/audio")).await;
    assert_eq!(audio.bytes, spoken.bytes);
    let first = client.get("/v1/history?page_size=1").await.json();
    assert_eq!(
        (&first["history"][0]["text"], &first["has_more"]),
        (&json!("Other"), &json!(true))
    );
    let last = first["last_history_item_id"].as_str().expect("an id");
    let path = format!("/v1/history?page_size=1&start_after_history_item_id={last}");
    assert_eq!(client.get(&path).await.json()["history"][0]["text"], TEXT);
    let used = client.get("/v1/user/subscription").await.json();
    assert_eq!(used["character_count"], 63 + 6 + 5);
}

#[tokio::test]
async fn errors_have_the_vendors_forms() {
    let simulators = start().await;
    let client = Client::new(&simulators, Vendor::ElevenLabs);
    let reply = client.clone().key("").get("/v1/user/subscription").await;
    assert_eq!(
        (reply.status, &reply.json()["detail"]["status"]),
        (401, &json!("needs_authorization"))
    );
    let reply = client
        .clone()
        .key("wrong")
        .get("/v1/user/subscription")
        .await;
    assert_eq!(
        (reply.status, &reply.json()["detail"]["code"]),
        (401, &json!("invalid_api_key"))
    );
    let reply = client.post(RACHEL, &json!({})).await;
    assert_eq!(reply.status, 422);
    assert_eq!(reply.json()["detail"][0]["loc"], json!(["body", "text"]));
    let cases = [
        (
            "/v1/text-to-speech/nobody",
            json!({"text": "a"}),
            404,
            "voice_not_found",
        ),
        (
            RACHEL,
            json!({"text": "a", "model_id": "x"}),
            400,
            "model_not_found",
        ),
        (
            RACHEL,
            json!({"text": "a".repeat(10_001)}),
            400,
            "max_character_limit_exceeded",
        ),
        (
            RACHEL,
            json!({"text": "a", "voice_settings": {"speed": 3}}),
            400,
            "invalid_parameters",
        ),
    ];
    for (path, body, status, code) in cases {
        let reply = client.post(path, &body).await;
        assert_eq!(
            (reply.status, &reply.json()["detail"]["code"]),
            (status, &json!(code))
        );
    }
    assert_eq!(simulators.vendor(Vendor::ElevenLabs).invoice().accepted, 0);
}

#[tokio::test]
async fn too_many_at_once_are_refused() {
    let simulators = start_with(Profile {
        speak: Duration::from_millis(800),
        ..Profile::instant()
    })
    .await;
    let client = Client::new(&simulators, Vendor::ElevenLabs);
    let body = json!({"text": "Hello there."});
    let replies =
        futures::future::join_all((0..6).map(|_| send(client.request("POST", RACHEL).json(&body))))
            .await;
    let refused: Vec<Value> = replies
        .into_iter()
        .map(|reply| reply.expect("an answer"))
        .filter(|reply| reply.status == 429)
        .map(|reply| reply.json())
        .collect();
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0]["detail"]["code"], "concurrent_limit_exceeded");
    assert_eq!(simulators.vendor(Vendor::ElevenLabs).invoice().billed, 5);
}

#[tokio::test]
async fn voices_and_models_are_listed() {
    let simulators = start().await;
    let client = Client::new(&simulators, Vendor::ElevenLabs);
    let first = client.get("/v2/voices").await.json();
    assert_eq!(
        (
            first["voices"].as_array().map(Vec::len),
            &first["total_count"]
        ),
        (Some(10), &json!(14))
    );
    let token = first["next_page_token"].as_str().expect("a token");
    let second = client
        .get(&format!("/v2/voices?next_page_token={token}"))
        .await
        .json();
    assert_eq!(
        (
            second["voices"].as_array().map(Vec::len),
            &second["has_more"]
        ),
        (Some(4), &json!(false))
    );
    let models = client.get("/v1/models").await.json();
    let model = models
        .as_array()
        .expect("a list")
        .iter()
        .find(|m| m["model_id"] == "eleven_v3");
    assert_eq!(
        model.expect("a model")["maximum_text_length_per_request"],
        5_000
    );
}
