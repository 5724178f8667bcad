//! The control routes, as a program in another process uses them.

use genvid_testkit::{Invoice, Simulators, Vendor};
use serde_json::{Value, json};

use crate::kit::{Client, start};

fn control(simulators: &Simulators, vendor: Vendor) -> Client {
    Client::new(simulators, vendor).key("")
}

#[tokio::test]
async fn the_invoice_lists_every_billable_call() {
    let simulators = start().await;
    let client = Client::new(&simulators, Vendor::Kling);
    let body = json!({"prompt": "A bottle", "options": {"external_task_id": "ref-1"}});
    let id = client.post("/text-to-video/kling-3.0", &body).await.json()["data"]["id"].clone();
    client.post("/text-to-video/kling-3.0", &body).await;
    client.post("/text-to-video/kling-3.0", &json!({})).await;
    client.get("/tasks?external_task_ids=ref-1").await;

    let control = control(&simulators, Vendor::Kling);
    let invoice = control.get("/_control/invoice").await.json();
    assert_eq!(
        (&invoice["accepted"], &invoice["billed"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(invoice["vendor"], "kling");
    let call = &invoice["calls"][0];
    assert_eq!(call["route"], "POST /text-to-video/{model}");
    assert_eq!(
        (&call["clientRef"], &call["taskId"]),
        (&json!("ref-1"), &id)
    );
    assert_eq!(
        (&call["accepted"], &call["billed"]),
        (&json!(true), &json!(true))
    );
    assert!(call["at"].as_i64().expect("ms") > 1_600_000_000_000);
    assert_eq!(invoice["calls"][1]["billed"], false);
    assert_eq!(invoice["calls"].as_array().map(Vec::len), Some(3));
    let parsed: Invoice = serde_json::from_value(invoice).expect("an invoice");
    assert_eq!(parsed, simulators.vendor(Vendor::Kling).invoice());

    let bill = control.get("/_sim/invoice").await.json();
    assert_eq!(bill["calls"]["POST /text-to-video/{model}"], 3);
    assert_eq!(bill["calls"]["GET /tasks"], 1);
    let line = &bill["billed"][0];
    assert_eq!(
        (&line["id"], &line["client_ref"], &line["what"]),
        (&id, &json!("ref-1"), &json!("video"))
    );
    assert_eq!(
        (&line["units"], &line["micro_usd"]),
        (&json!(5.0), &json!(420_000))
    );
    assert_eq!(bill["billed"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn faults_and_the_clock_are_set_over_http() {
    let simulators = start().await;
    let client = Client::new(&simulators, Vendor::HeyGen);
    let control = control(&simulators, Vendor::HeyGen);
    let faults = json!([
        {"route": "GET /v3/users/me", "fault": "rate_limited", "times": 1, "retryAfter": 7},
        {"route": "GET /v3/voices", "fault": "answer", "status": 418, "code": "teapot"},
    ]);
    let armed = control.post("/_control/faults", &faults).await;
    assert_eq!(armed.json()["faults"].as_array().map(Vec::len), Some(2));
    let reply = client.get("/v3/users/me").await;
    assert_eq!((reply.status, reply.header("retry-after")), (429, "7"));
    assert_eq!(
        client.get("/v3/voices").await.json()["error"]["code"],
        "teapot"
    );
    assert_eq!(control.get("/_control/faults").await.json(), json!([]));

    let clock = control
        .post("/_control/clock", &json!({"renderMs": 1_500}))
        .await
        .json();
    assert_eq!(
        (&clock["renderMs"], &clock["queueMs"]),
        (&json!(1_500), &json!(0))
    );
    assert_eq!(control.get("/_sim/clock").await.json(), clock);
    let limit = control
        .post("/_control/concurrency", &json!({"concurrency": 3}))
        .await;
    assert_eq!(limit.json()["concurrency"], 3);
}

#[tokio::test]
async fn what_does_not_exist_is_refused_with_the_names_that_do() {
    let simulators = start().await;
    let control = control(&simulators, Vendor::OpenAi);
    let route = "POST /v1/chat/completions";
    let cases: Vec<(&str, Value, &str)> = vec![
        (
            "faults",
            json!({"route": route, "fault": "explode"}),
            "accept_then_drop",
        ),
        ("faults", json!({"route": "GET /x", "fault": "hang"}), route),
        (
            "faults",
            json!({"route": route, "fault": "hang", "tims": 2}),
            "times",
        ),
        (
            "faults",
            json!({"route": route, "fault": "hang", "probability": 2.0}),
            "between 0 and 1",
        ),
        ("faults", json!("hang"), "list of objects"),
        ("clock", json!({"rendrMs": 5}), "renderMs"),
        ("concurrency", json!({"concurrency": "many"}), "number"),
    ];
    for (name, body, known) in cases {
        let reply = control.post(&format!("/_control/{name}"), &body).await;
        assert_eq!(reply.status, 400, "{body}");
        let error = reply.json()["error"].as_str().expect("words").to_owned();
        assert!(error.contains(known), "{error}");
    }
}

#[tokio::test]
async fn requests_are_logged_without_their_credentials() {
    let simulators = start().await;
    let client = Client::new(&simulators, Vendor::OpenAi);
    let key = genvid_testkit::Keys::default().openai;
    let body = json!({"model": "gpt-5", "messages": [{"role": "user", "content": key}]});
    client.post("/v1/chat/completions", &body).await;
    client.clone().key("Bearer stolen").get("/v1/models").await;
    client.clone().key("").get("/v1/models").await;
    let control = control(&simulators, Vendor::OpenAi);
    let log = control.get("/_control/requests").await;
    assert!(!String::from_utf8_lossy(&log.bytes).contains(&key));
    let log = log.json();
    let credentials: Vec<&str> = (0..3)
        .filter_map(|index| log[index]["credential"].as_str())
        .collect();
    assert_eq!(credentials, ["accepted", "wrong", "missing"]);
    assert_eq!(
        (&log[0]["status"], &log[1]["status"]),
        (&json!(200), &json!(401))
    );
    assert_eq!(log[0]["route"], "POST /v1/chat/completions");
    assert!(log[0]["credentialSha256"].is_string());
}

#[tokio::test]
async fn a_reset_forgets_everything() {
    let simulators = start().await;
    let client = Client::new(&simulators, Vendor::Kling);
    let body = json!({"prompt": "A bottle", "options": {"external_task_id": "ref-1"}});
    client.post("/text-to-video/kling-3.0", &body).await;
    let control = control(&simulators, Vendor::Kling);
    control
        .post("/_control/faults", &json!({"route": "*", "fault": "hang"}))
        .await;
    control
        .post("/_control/clock", &json!({"renderMs": 9_000}))
        .await;
    control.post("/_control/reset", &json!({})).await;
    let invoice = control.get("/_control/invoice").await.json();
    assert_eq!(
        (&invoice["accepted"], &invoice["calls"]),
        (&json!(0), &json!([]))
    );
    assert_eq!(control.get("/_control/clock").await.json()["renderMs"], 0);
    assert_eq!(
        client.get("/tasks?external_task_ids=ref-1").await.json()["data"],
        json!([])
    );
    assert_eq!(
        client.post("/text-to-video/kling-3.0", &body).await.status,
        200
    );
}

#[tokio::test]
async fn stopping_frees_the_ports() {
    let simulators = start().await;
    let url = simulators.urls().openai;
    let address = url.trim_start_matches("http://").to_owned();
    assert!(tokio::net::TcpStream::connect(&address).await.is_ok());
    simulators.stop().await;
    assert!(tokio::net::TcpStream::connect(&address).await.is_err());
}
