//! OpenAI: scripts by schema, streams, stored answers.

use std::time::{Duration, Instant};

use futures::StreamExt;
use genvid_testkit::{Fault, FaultKind, Profile, Vendor};
use serde_json::{Value, json};

use crate::kit::{Client, facts, start, start_with};

const CHAT: &str = "/v1/chat/completions";

fn schema() -> Value {
    let scene = json!({
        "type": "object", "additionalProperties": false,
        "required": ["visual", "narration", "seconds", "mood"],
        "properties": {
            "visual": {"type": "string", "maxLength": 300},
            "narration": {"type": "string"},
            "seconds": {"type": "number", "minimum": 1, "maximum": 15},
            "mood": {"type": ["string", "null"], "enum": ["calm", "lively", null]},
        },
    });
    json!({
        "type": "object", "additionalProperties": false,
        "required": ["title", "hook", "scenes", "call_to_action", "hashtags", "language"],
        "properties": {
            "title": {"type": "string", "minLength": 3, "maxLength": 60},
            "hook": {"type": "string"},
            "scenes": {"type": "array", "minItems": 2, "maxItems": 8, "items": {"$ref": "#/$defs/scene"}},
            "call_to_action": {"anyOf": [{"type": "null"}, {"type": "string"}]},
            "hashtags": {"type": "array", "items": {"type": "string"}, "maxItems": 2},
            "language": {"type": "string", "enum": ["zh", "en"]},
        },
        "$defs": {"scene": scene},
    })
}

fn request(user: &str) -> Value {
    json!({
        "model": "gpt-5.4-mini",
        "messages": [
            {"role": "developer", "content": "You write short video scripts of at most 20 seconds."},
            {"role": "user", "content": user},
        ],
        "response_format": {"type": "json_schema", "json_schema": {
            "name": "video_script", "strict": true, "schema": schema(),
        }},
        "metadata": {"client_ref": "attempt-7"},
    })
}

const BRIEF: &str = "A steel water bottle that keeps drinks cold for 24 hours, leakproof lid";

fn check(text: &str) -> Value {
    let script: Value = serde_json::from_str(text).expect("JSON");
    let validator = jsonschema::validator_for(&schema()).expect("a schema");
    let problems: Vec<String> = validator
        .iter_errors(&script)
        .map(|problem| problem.to_string())
        .collect();
    assert!(problems.is_empty(), "{problems:?} in {script}");
    script
}

#[tokio::test]
async fn a_script_satisfies_its_schema_and_is_about_the_brief() {
    let simulators = start().await;
    let client = Client::new(&simulators, Vendor::OpenAi);
    let reply = client.post(CHAT, &request(BRIEF)).await;
    assert_eq!(reply.status, 200);
    assert!(!reply.header("x-request-id").is_empty());
    let answer = reply.json();
    assert_eq!(answer["object"], "chat.completion");
    let choice = &answer["choices"][0];
    assert_eq!(
        (&choice["finish_reason"], &choice["message"]["refusal"]),
        (&json!("stop"), &Value::Null)
    );
    let script = check(choice["message"]["content"].as_str().expect("a text"));
    assert!(
        script["title"]
            .as_str()
            .expect("a text")
            .contains("water bottle"),
        "{script}"
    );
    assert!(
        script["hook"].as_str().expect("a text").contains("bottle"),
        "{script}"
    );
    assert_eq!(script["language"], "en");
    let seconds: f64 = script["scenes"]
        .as_array()
        .expect("scenes")
        .iter()
        .map(|scene| scene["seconds"].as_f64().expect("a number"))
        .sum();
    assert!((4.0..=20.5).contains(&seconds), "{seconds}");
    assert!(script.to_string().contains("cold for 24 hours"));
    let usage = &answer["usage"];
    let sum = usage["prompt_tokens"]
        .as_u64()
        .zip(usage["completion_tokens"].as_u64());
    assert_eq!(sum.map(|(a, b)| a + b), usage["total_tokens"].as_u64());

    let chinese = client
        .post(CHAT, &request("一款不锈钢水瓶，保冷二十四小时，防漏杯盖"))
        .await
        .json();
    let script = check(
        chinese["choices"][0]["message"]["content"]
            .as_str()
            .expect("a text"),
    );
    assert_eq!(script["language"], "zh");
    assert!(
        script["hook"].as_str().expect("a text").contains("水瓶"),
        "{script}"
    );
    let invoice = simulators.vendor(Vendor::OpenAi).invoice();
    assert_eq!(invoice.billed, 2);
    assert_eq!(invoice.calls[0].client_ref.as_deref(), Some("attempt-7"));
}

/// The `data:` lines of a stream.
fn data(bytes: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(bytes)
        .lines()
        .filter_map(|line| line.strip_prefix("data: ").map(str::to_owned))
        .collect()
}

/// The text of all deltas.
fn joined(lines: &[String]) -> String {
    lines
        .iter()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter_map(|chunk| Some(chunk["choices"][0]["delta"]["content"].as_str()?.to_owned()))
        .collect()
}

#[tokio::test]
async fn a_stream_brings_the_text_over_time_and_the_usage() {
    let simulators = start_with(Profile {
        write: Duration::from_millis(600),
        ..Profile::instant()
    })
    .await;
    let client = Client::new(&simulators, Vendor::OpenAi);
    let mut body = request(BRIEF);
    body["stream"] = json!(true);
    body["stream_options"] = json!({"include_usage": true});
    let started = Instant::now();
    let response = client
        .request("POST", CHAT)
        .json(&body)
        .send()
        .await
        .expect("an answer");
    assert!(
        response.headers()["content-type"]
            .to_str()
            .expect("text")
            .starts_with("text/event-stream")
    );
    let mut stream = response.bytes_stream();
    let (mut bytes, mut first) = (Vec::new(), None);
    while let Some(chunk) = stream.next().await {
        first.get_or_insert_with(|| started.elapsed());
        bytes.extend_from_slice(&chunk.expect("bytes"));
    }
    assert!(first.expect("a chunk") < Duration::from_millis(400));
    assert!(started.elapsed() >= Duration::from_millis(500));
    let lines = data(&bytes);
    assert_eq!(lines.last().map(String::as_str), Some("[DONE]"));
    check(&joined(&lines));
    let usage: Value = serde_json::from_str(&lines[lines.len() - 2]).expect("JSON");
    assert_eq!(usage["choices"], json!([]));
    assert!(usage["usage"]["total_tokens"].as_u64().is_some());
    let end: Value = serde_json::from_str(&lines[lines.len() - 3]).expect("JSON");
    assert_eq!(end["choices"][0]["finish_reason"], "stop");
    assert!(lines.len() > 10);
}

#[tokio::test]
async fn a_stream_that_nobody_reads_is_written_billed_and_kept() {
    let simulators = start_with(Profile {
        write: Duration::from_millis(300),
        ..Profile::instant()
    })
    .await;
    let client = Client::new(&simulators, Vendor::OpenAi);
    let mut body = request(BRIEF);
    body["stream"] = json!(true);
    body["store"] = json!(true);
    let response = client
        .request("POST", CHAT)
        .json(&body)
        .send()
        .await
        .expect("an answer");
    drop(response);
    let path = "/v1/chat/completions?metadata[client_ref]=attempt-7&limit=5";
    let mut list = json!(null);
    for _ in 0..50 {
        list = client.get(path).await.json();
        if list["data"].as_array().is_some_and(|data| !data.is_empty()) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let stored = &list["data"][0];
    assert_eq!(stored["metadata"]["client_ref"], "attempt-7");
    check(
        stored["choices"][0]["message"]["content"]
            .as_str()
            .expect("a text"),
    );
    let id = stored["id"].as_str().expect("an id");
    assert_eq!(client.get(&format!("{CHAT}/{id}")).await.json()["id"], id);
    let other = client
        .get("/v1/chat/completions?metadata[client_ref]=other")
        .await
        .json();
    assert_eq!(other["data"], json!([]));
    assert_eq!(simulators.vendor(Vendor::OpenAi).invoice().billed, 1);
}

#[tokio::test]
async fn refusals_cuts_and_broken_streams_look_like_the_vendors() {
    let simulators = start().await;
    let handle = simulators.vendor(Vendor::OpenAi);
    let client = Client::new(&simulators, Vendor::OpenAi);
    let arm = |kind| {
        let fault = Fault::new("POST /v1/chat/completions", kind);
        handle.add_faults(vec![fault]).expect("a fault");
    };
    arm(FaultKind::Refusal);
    let message = client.post(CHAT, &request(BRIEF)).await.json()["choices"][0]["message"].clone();
    assert!(message["refusal"].is_string() && message["content"].is_null());
    arm(FaultKind::LengthCut);
    let choice = client.post(CHAT, &request(BRIEF)).await.json()["choices"][0].clone();
    assert_eq!(choice["finish_reason"], "length");
    let content = choice["message"]["content"].as_str().expect("a text");
    assert!(serde_json::from_str::<Value>(content).is_err());
    let mut limited = request(BRIEF);
    limited["max_completion_tokens"] = json!(20);
    let choice = client.post(CHAT, &limited).await.json()["choices"][0].clone();
    assert_eq!(choice["finish_reason"], "length");

    let mut streamed = request(BRIEF);
    streamed["stream"] = json!(true);
    arm(FaultKind::StreamBreaks);
    let lines = data(&client.post(CHAT, &streamed).await.bytes);
    assert!(lines.iter().all(|line| line != "[DONE]"));
    assert!(serde_json::from_str::<Value>(&joined(&lines)).is_err());
    arm(FaultKind::StreamError);
    let lines = data(&client.post(CHAT, &streamed).await.bytes);
    let last: Value = serde_json::from_str(lines.last().expect("a line")).expect("JSON");
    assert_eq!(last["error"]["code"], "server_error");
}

#[tokio::test]
async fn wrong_requests_are_refused() {
    let simulators = start().await;
    let client = Client::new(&simulators, Vendor::OpenAi);
    for key in ["", "Bearer wrong"] {
        let reply = client.clone().key(key).get("/v1/models").await;
        assert_eq!(reply.status, 401);
        assert_eq!(reply.json()["error"]["type"], "invalid_request_error");
    }
    let with = |change: fn(&mut Value)| {
        let mut body = request(BRIEF);
        change(&mut body);
        body
    };
    let open = |body: &mut Value| {
        body["response_format"]["json_schema"]["schema"]["additionalProperties"] = json!(true);
    };
    let cases: Vec<(Value, u16, Value)> = vec![
        (
            with(|body| body["model"] = json!("gpt-0")),
            404,
            json!("model"),
        ),
        (
            with(|body| body["messages"] = json!([])),
            400,
            json!("messages"),
        ),
        (
            with(|body| body["messages"][0]["role"] = json!("robot")),
            400,
            json!("messages[0].role"),
        ),
        (
            with(|body| body["temperature"] = json!(3)),
            400,
            json!("temperature"),
        ),
        (
            with(|body| body["response_format"]["json_schema"]["name"] = json!("a b")),
            400,
            json!("response_format.json_schema.name"),
        ),
        (with(open), 400, json!("response_format.json_schema")),
        (
            with(|body| body["metadata"] = json!({"a": "x".repeat(513)})),
            400,
            json!("metadata"),
        ),
    ];
    for (body, status, param) in cases {
        let reply = client.post(CHAT, &body).await;
        assert_eq!(
            (reply.status, &reply.json()["error"]["param"]),
            (status, &param)
        );
    }
    assert_eq!(simulators.vendor(Vendor::OpenAi).invoice().accepted, 0);
}

#[tokio::test]
async fn responses_answer_at_once_in_a_stream_and_in_the_background() {
    let simulators = start_with(Profile {
        write: Duration::from_millis(300),
        ..Profile::instant()
    })
    .await;
    let client = Client::new(&simulators, Vendor::OpenAi);
    let body = json!({
        "model": "gpt-5.4-mini", "instructions": "You write scripts.", "input": BRIEF,
        "text": {"format": {
            "type": "json_schema", "name": "script", "strict": true, "schema": schema(),
        }},
        "metadata": {"job": "018f6d2e"},
    });
    let answer = client.post("/v1/responses", &body).await.json();
    assert_eq!(
        (&answer["object"], &answer["status"]),
        (&json!("response"), &json!("completed"))
    );
    let part = &answer["output"][0]["content"][0];
    assert_eq!(part["type"], "output_text");
    check(part["text"].as_str().expect("a text"));
    let id = answer["id"].as_str().expect("an id");
    assert_eq!(
        client.get(&format!("/v1/responses/{id}")).await.json(),
        answer
    );

    let mut background = body.clone();
    background["background"] = json!(true);
    let queued = client.post("/v1/responses", &background).await.json();
    assert_eq!(
        (&queued["status"], &queued["output"]),
        (&json!("queued"), &json!([]))
    );
    let path = format!("/v1/responses/{}", queued["id"].as_str().expect("an id"));
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(client.get(&path).await.json()["status"], "completed");
    let queued = client.post("/v1/responses", &background).await.json();
    let path = format!(
        "/v1/responses/{}/cancel",
        queued["id"].as_str().expect("an id")
    );
    assert_eq!(
        client.post(&path, &json!({})).await.json()["status"],
        "cancelled"
    );

    let mut streamed = body.clone();
    streamed["stream"] = json!(true);
    let events: Vec<Value> = data(&client.post("/v1/responses", &streamed).await.bytes)
        .iter()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let kinds: Vec<&str> = events
        .iter()
        .filter_map(|event| event["type"].as_str())
        .collect();
    assert_eq!(
        (kinds[0], kinds[kinds.len() - 1]),
        ("response.created", "response.completed")
    );
    let numbers: Vec<u64> = events
        .iter()
        .filter_map(|event| event["sequence_number"].as_u64())
        .collect();
    assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]));
    let text: String = events
        .iter()
        .filter(|event| event["type"] == "response.output_text.delta")
        .filter_map(|event| event["delta"].as_str())
        .collect();
    check(&text);
}

#[tokio::test]
async fn models_are_listed_and_text_is_spoken() {
    let simulators = start().await;
    let client = Client::new(&simulators, Vendor::OpenAi);
    let models = client.get("/v1/models").await.json();
    assert_eq!(
        (&models["object"], &models["data"][0]["object"]),
        (&json!("list"), &json!("model"))
    );
    assert_eq!(
        client.get("/v1/models/gpt-5.4").await.json()["id"],
        "gpt-5.4"
    );
    assert_eq!(
        client.get("/v1/models/none").await.json()["error"]["code"],
        "model_not_found"
    );
    let body = json!({"model": "gpt-4o-mini-tts", "input": "Hello there.", "voice": "coral"});
    let reply = client.post("/v1/audio/speech", &body).await;
    assert_eq!(
        facts(&reply.bytes).await.audio_codec.as_deref(),
        Some("mp3")
    );
}
