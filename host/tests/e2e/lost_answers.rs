//! Accepted, but the answer was lost: settled by the vendor's own means, never guessed.

use std::time::Duration;

use genvid_testkit::{Fault, FaultKind, Vendor};
use serde_json::{Value, json};

use crate::support::{
    attempts,
    client::Client,
    files, list, step, text,
    world::{WORDS, World},
};

const HEYGEN: &str = "POST /v3/videos";
const KLING: &str = "POST /text-to-video/*";
const KLING_LOOKUP: &str = "GET /tasks";
const OPENAI: &str = "POST /v1/chat/completions";
const ELEVENLABS: &str = "POST /v1/text-to-speech/*";

/// Long enough for every vendor's records to be complete.
const LONG_AGO: Duration = Duration::from_secs(300);

fn lost(route: &str) -> Fault {
    Fault::new(route, FaultKind::AcceptThenDrop)
}

fn types(log: &[Value]) -> Vec<&str> {
    log.iter().map(|event| text(event, "/type")).collect()
}

async fn assert_settled_quietly(client: &Client, job: &Value) {
    let log = client.log(text(job, "/id")).await;
    let types = types(&log);
    assert!(types.contains(&"STEP_UNCONFIRMED"), "{types:?}");
    assert!(!types.contains(&"STEP_FAILED_OVER"), "{types:?}");
    assert!(!types.contains(&"STEP_RETRYING"), "{types:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_key_brings_the_first_answer() {
    let world = World::start().await;
    world.fault(Vendor::HeyGen, [lost(HEYGEN)]);
    let client = world.client();
    let job = client
        .ended(&world.film(json!({})).await, "SUCCEEDED")
        .await;
    assert_eq!(attempts(&job, "VIDEO"), ["heygen SUCCEEDED CHARGED"]);
    assert_settled_quietly(&client, &job).await;
    let invoice = world.vendor(Vendor::HeyGen).invoice();
    assert_eq!((invoice.accepted, invoice.billed), (1, 1));
    assert_eq!(invoice.calls.iter().filter(|call| call.replayed).count(), 1);
    assert_eq!(world.accepted(Vendor::Kling), 0);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_is_looked_up_by_the_reference() {
    let world = World::start().await;
    world.fault(Vendor::Kling, [lost(KLING)]);
    let client = world.client();
    let job = client
        .ended(&world.film(json!({"provider": "kling"})).await, "SUCCEEDED")
        .await;
    assert_eq!(attempts(&job, "VIDEO"), ["kling SUCCEEDED CHARGED"]);
    assert_settled_quietly(&client, &job).await;
    assert_eq!(world.billed(Vendor::Kling), 1);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn speech_and_scripts_are_found_in_the_vendors_records() {
    let world = World::start().await;
    world.fault(Vendor::ElevenLabs, [lost(ELEVENLABS)]);
    world.fault(Vendor::OpenAi, [lost(OPENAI)]);
    let client = world.client();
    let (script, voice) = (world.script(json!({})).await, world.voice(json!({})).await);
    let script = client.ended(&script, "SUCCEEDED").await;
    assert_eq!(attempts(&script, "SCRIPT"), ["openai SUCCEEDED CHARGED"]);
    assert!(!text(&script, "/script/text").is_empty());
    let voice = client.ended(&voice, "SUCCEEDED").await;
    assert_eq!(attempts(&voice, "VOICE"), ["elevenlabs SUCCEEDED CHARGED"]);
    let sound = files::inspect(&client.download(text(&voice, "/voiceUrl")).await).await;
    assert!(sound.is_heard(), "{sound:?}");
    for job in [&script, &voice] {
        assert_settled_quietly(&client, job).await;
    }
    assert_eq!(
        (
            world.billed(Vendor::ElevenLabs),
            world.billed(Vendor::OpenAi)
        ),
        (1, 1)
    );
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_that_are_found_again_at_once_are_all_fetched() {
    let mut world = World::start().await;
    let item = "GET /v1/history/{history_item_id}";
    world.fault(
        Vendor::ElevenLabs,
        [
            lost(ELEVENLABS).times(3),
            Fault::new(item, FaultKind::Unavailable).times(0),
        ],
    );
    // As many as the plugin's manifest lets through at a time.
    let mut jobs = Vec::new();
    for number in 0..3 {
        jobs.push(
            world
                .voice(json!({"text": format!("{WORDS} Take {number}.")}))
                .await,
        );
    }
    let client = world.client();
    for id in &jobs {
        client
            .wait(id, "found", |job| step(job, "VOICE")["status"] == "RUNNING")
            .await;
    }
    // A new start asks for all of them in the same moment.
    world.kill();
    world.vendor(Vendor::ElevenLabs).clear_faults();
    world.start_again().await;
    let client = world.client();
    for id in &jobs {
        let job = client.ended(id, "SUCCEEDED").await;
        assert_eq!(attempts(&job, "VOICE"), ["elevenlabs SUCCEEDED CHARGED"]);
    }
    assert_eq!(world.billed(Vendor::ElevenLabs), 3);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_that_breaks_off_is_fetched_whole() {
    let world = World::start().await;
    world.fault(
        Vendor::OpenAi,
        [Fault::new(OPENAI, FaultKind::StreamBreaks)],
    );
    let client = world.client();
    let job = client
        .ended(&world.script(json!({})).await, "SUCCEEDED")
        .await;
    assert_eq!(attempts(&job, "SCRIPT"), ["openai SUCCEEDED CHARGED"]);
    assert!(!text(&job, "/script/callToAction").is_empty());
    assert_eq!(world.billed(Vendor::OpenAi), 1);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_cannot_be_read_is_no_refusal() {
    let world = World::start().await;
    let client = world.client();
    let kinds = [FaultKind::Malformed, FaultKind::Empty, FaultKind::Truncated];
    let mut jobs = Vec::new();
    for (number, kind) in (1..).zip(kinds) {
        world.fault(Vendor::OpenAi, [Fault::new(OPENAI, kind)]);
        world.fault(Vendor::ElevenLabs, [Fault::new(ELEVENLABS, kind)]);
        world.fault(Vendor::HeyGen, [Fault::new(HEYGEN, kind)]);
        let text = json!({"text": format!("{WORDS} Take {number}.")});
        for (step, job) in [
            ("SCRIPT", world.script(json!({})).await),
            ("VOICE", world.voice(text).await),
            ("VIDEO", world.film(json!({"provider": "heygen"})).await),
        ] {
            let job = client.ended(&job, "SUCCEEDED").await;
            let tried = attempts(&job, step);
            assert_eq!(tried.len(), 1, "{kind:?} {tried:?}");
            assert!(
                tried[0].ends_with("SUCCEEDED CHARGED"),
                "{kind:?} {tried:?}"
            );
            jobs.push(job);
        }
        for vendor in [Vendor::OpenAi, Vendor::ElevenLabs, Vendor::HeyGen] {
            assert_eq!(world.billed(vendor), number, "{vendor} {kind:?}");
            world.assert_faults_struck(vendor);
        }
    }
    for job in &jobs {
        assert_settled_quietly(&client, job).await;
    }
    world.audit().await;
}

/// A vendor that fails after it accepted says so in its own words, with a code of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_of_the_vendors_own_after_it_accepted_buys_nothing_again() {
    let world = World::start().await;
    let client = world.client();
    for (vendor, route, code) in [
        (Vendor::OpenAi, OPENAI, "server_error"),
        (Vendor::ElevenLabs, ELEVENLABS, "internal_server_error"),
        (Vendor::HeyGen, HEYGEN, "internal_error"),
        (Vendor::Kling, KLING, "5000"),
    ] {
        let fault = Fault::new(route, FaultKind::AcceptThenAnswer).answer(500, code);
        world.fault(vendor, [fault]);
        let (kind, job) = match vendor {
            Vendor::OpenAi => ("SCRIPT", world.script(json!({})).await),
            Vendor::ElevenLabs => ("VOICE", world.voice(json!({})).await),
            Vendor::HeyGen => ("VIDEO", world.film(json!({"provider": "heygen"})).await),
            Vendor::Kling => ("VIDEO", world.film(json!({"provider": "kling"})).await),
        };
        let job = client.ended(&job, "SUCCEEDED").await;
        assert_eq!(
            attempts(&job, kind),
            [format!("{} SUCCEEDED CHARGED", vendor.id())],
            "{vendor}"
        );
        assert_eq!(world.billed(vendor), 1, "{vendor}");
        assert_settled_quietly(&client, &job).await;
        world.assert_faults_struck(vendor);
    }
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_never_arrived_is_made_again_with_the_same_key() {
    let world = World::start().await;
    world.fault(Vendor::HeyGen, [Fault::new(HEYGEN, FaultKind::DropBefore)]);
    let client = world.client();
    let job = client
        .ended(&world.film(json!({})).await, "SUCCEEDED")
        .await;
    assert_eq!(attempts(&job, "VIDEO"), ["heygen SUCCEEDED CHARGED"]);
    assert_settled_quietly(&client, &job).await;
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_without_the_call_prove_after_a_while_that_it_never_arrived() {
    let world = World::start().await;
    let client = world.client();
    for (vendor, route) in [
        (Vendor::Kling, KLING),
        (Vendor::ElevenLabs, ELEVENLABS),
        (Vendor::OpenAi, OPENAI),
    ] {
        world.fault(vendor, [Fault::new(route, FaultKind::DropBefore)]);
    }
    let wish = json!({"provider": "kling", "script": null, "maxSeconds": 8});
    let id = world.film(wish).await;
    for (kind, vendor) in [
        ("SCRIPT", "openai"),
        ("VOICE", "elevenlabs"),
        ("VIDEO", "kling"),
    ] {
        client
            .wait(&id, "unconfirmed", |job| {
                step(job, kind)["status"] == "UNCONFIRMED"
            })
            .await;
        // Before that time nothing is concluded from an empty answer.
        assert_eq!(
            attempts(&client.job(&id).await, kind),
            [format!("{vendor} UNCONFIRMED UNKNOWN")]
        );
        world.database().age_open_attempts(LONG_AGO).await;
        let job = client
            .wait(&id, "done", |job| step(job, kind)["status"] == "SUCCEEDED")
            .await;
        assert_eq!(
            attempts(&job, kind),
            [
                format!("{vendor} FAILED NOT_CHARGED"),
                format!("{vendor} SUCCEEDED CHARGED")
            ]
        );
    }
    client.ended(&id, "SUCCEEDED").await;
    world.audit().await;
}

/// Parks a film whose call Kling accepted and can no longer be asked about.
pub(crate) async fn park(world: &World) -> String {
    world.fault(
        Vendor::Kling,
        [
            lost(KLING),
            Fault::new(KLING_LOOKUP, FaultKind::Unavailable).times(0),
        ],
    );
    let client = world.client();
    let id = world.film(json!({"provider": "kling"})).await;
    client
        .wait(&id, "unconfirmed", |job| {
            step(job, "VIDEO")["status"] == "UNCONFIRMED"
        })
        .await;
    world
        .database()
        .age_open_attempts(Duration::from_secs(3_600))
        .await;
    client.ended(&id, "UNCONFIRMED").await;
    id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nothing_settles_waits_for_a_decision() {
    let world = World::start().await;
    let id = park(&world).await;
    let client = world.client();
    let job = client.job(&id).await;
    assert_eq!(job["error"]["code"], "UNCONFIRMED");
    let words = text(&job, "/error/message");
    assert!(
        words.contains("may bill it") && words.contains("double charge"),
        "{words}"
    );
    assert_eq!(job["error"]["retryable"], false);
    // The voice was billed, whatever becomes of the film.
    assert_eq!(job["error"]["charged"], true);
    assert_eq!(attempts(&job, "VIDEO"), ["kling UNCONFIRMED UNKNOWN"]);
    assert!(job["completedAt"].is_null());
    let log = client.log(&id).await;
    assert_eq!(types(&log).last(), Some(&"JOB_UNCONFIRMED"));

    // Nothing goes on without consent, and nothing after a restart either.
    let result = client.change("RetryJob", json!({"jobId": id})).await;
    assert_eq!(result["code"], "CONFLICT", "{result}");
    assert!(
        text(&result, "/message").contains("acceptDoubleCharge"),
        "{result}"
    );

    world.vendor(Vendor::Kling).clear_faults();
    let input = json!({"jobId": id, "acceptDoubleCharge": true});
    let result = client.change("RetryJob", input).await;
    assert_eq!(text(&result, "/job/id"), id, "{result}");
    let job = client.ended(&id, "SUCCEEDED").await;
    assert_eq!(
        attempts(&job, "VIDEO"),
        ["kling ABANDONED UNKNOWN", "kling SUCCEEDED CHARGED"]
    );
    assert_eq!(
        world.billed(Vendor::Kling),
        2,
        "this is what was consented to"
    );
    assert_eq!(world.billed(Vendor::ElevenLabs), 1);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parked_job_can_be_given_up() {
    let mut world = World::start().await;
    let id = park(&world).await;
    world.kill_and_start_again().await;
    let client = world.client();
    assert_eq!(
        client.job(&id).await["status"],
        "UNCONFIRMED",
        "a restart decides nothing"
    );
    client.change("CancelJob", json!({"jobId": id})).await;
    let job = client.ended(&id, "CANCELED").await;
    assert_eq!(attempts(&job, "VIDEO"), ["kling ABANDONED UNKNOWN"]);
    let log = client.log(&id).await;
    assert_eq!(
        types(&log)[log.len() - 2..],
        ["CANCEL_REQUESTED", "JOB_CANCELED"]
    );
    assert_eq!(list(step(&job, "VIDEO"), "/attempts").len(), 1);
    world.audit().await;
}
