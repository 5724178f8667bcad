//! Vendors that refuse: who is tried again, who is left out, and what ends a job.

use genvid_testkit::{Fault, FaultKind, Vendor};
use serde_json::json;

use crate::support::{
    all_attempts, attempts, files, list, step, text,
    world::{Setup, World},
};

/// Creating a film at HeyGen.
const HEYGEN: &str = "POST /v3/videos";
/// Creating a film at Kling.
const KLING: &str = "POST /text-to-video/*";
/// Writing a script at OpenAI.
const OPENAI: &str = "POST /v1/chat/completions";
/// Speaking at ElevenLabs.
const ELEVENLABS: &str = "POST /v1/text-to-speech/*";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vendor_that_is_down_is_tried_three_times_and_then_replaced() {
    let world = World::start().await;
    world.fault(
        Vendor::HeyGen,
        [Fault::new(HEYGEN, FaultKind::Unavailable).times(0)],
    );
    let client = world.client();
    let job = client
        .ended(
            &world.film(json!({"subtitles": "SIDECAR"})).await,
            "SUCCEEDED",
        )
        .await;
    assert_eq!(
        attempts(&job, "VIDEO"),
        [
            "heygen FAILED NOT_CHARGED",
            "heygen FAILED NOT_CHARGED",
            "heygen FAILED NOT_CHARGED",
            "kling SUCCEEDED CHARGED"
        ]
    );
    for (number, attempt) in (1..).zip(list(step(&job, "VIDEO"), "/attempts")) {
        assert_eq!(attempt["number"], number);
        if attempt["provider"] == "heygen" {
            assert_eq!(attempt["error"]["code"], "PROVIDER_UNAVAILABLE");
            assert_eq!(attempt["error"]["vendorCode"], "service_unavailable");
            assert!(attempt["vendorTaskId"].is_null());
        }
    }
    assert_eq!(job["provider"], "kling");
    let film = files::inspect(&client.download(text(&job, "/videoUrl")).await).await;
    assert!(film.is_heard(), "{film:?}");
    assert_eq!(
        (world.billed(Vendor::HeyGen), world.billed(Vendor::Kling)),
        (0, 1)
    );
    assert_eq!(world.calls(Vendor::HeyGen, HEYGEN), 3);
    // The voice was bought once for both.
    assert_eq!(world.billed(Vendor::ElevenLabs), 1);
    let told: Vec<_> = client.log(text(&job, "/id")).await;
    let count = |kind: &str| told.iter().filter(|event| event["type"] == kind).count();
    assert_eq!((count("STEP_RETRYING"), count("STEP_FAILED_OVER")), (2, 1));
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waits_between_tries_double() {
    let world = Setup::default()
        .set("jobs.retry_base_ms", 400)
        .start()
        .await;
    world.fault(
        Vendor::OpenAi,
        [Fault::new(OPENAI, FaultKind::Unavailable).times(2)],
    );
    let job = world.script(json!({})).await;
    let client = world.client();
    let job = client.ended(&job, "SUCCEEDED").await;
    assert_eq!(attempts(&job, "SCRIPT").len(), 3);
    let calls = seen_at(&world, Vendor::OpenAi, OPENAI);
    let waits: Vec<i64> = calls.windows(2).map(|pair| pair[1] - pair[0]).collect();
    // 400 ms and 800 ms, give or take a quarter, and what the machine adds.
    assert!((300..800).contains(&waits[0]), "{waits:?}");
    assert!((600..1_600).contains(&waits[1]), "{waits:?}");
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_used_up_balance_and_a_wrong_key_go_straight_to_the_next_vendor() {
    // Nobody is left alone: each of them is called and refuses.
    let world = Setup::default().set("routing.failures", 0).start().await;
    let client = world.client();
    for kind in [
        FaultKind::Unauthorized,
        FaultKind::Forbidden,
        FaultKind::QuotaExhausted,
    ] {
        world.fault(Vendor::ElevenLabs, [Fault::new(ELEVENLABS, kind)]);
        let job = client
            .ended(&world.voice(json!({})).await, "SUCCEEDED")
            .await;
        let tried = ["elevenlabs FAILED NOT_CHARGED", "openai SUCCEEDED CHARGED"];
        assert_eq!(attempts(&job, "VOICE"), tried, "{kind:?}");
        let failed = &list(step(&job, "VOICE"), "/attempts")[0];
        assert_eq!(failed["error"]["code"], "PROVIDER_MISCONFIGURED");
    }
    world.fault(
        Vendor::HeyGen,
        [Fault::new(HEYGEN, FaultKind::QuotaExhausted)],
    );
    let job = client
        .ended(&world.film(json!({})).await, "SUCCEEDED")
        .await;
    let tried = ["heygen FAILED NOT_CHARGED", "kling SUCCEEDED CHARGED"];
    assert_eq!(attempts(&job, "VIDEO"), tried);
    assert_eq!(world.billed(Vendor::HeyGen), 0);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_left_ends_the_job_and_it_can_be_retried() {
    let world = Setup::default()
        .set("routing.open_seconds", 1)
        .start()
        .await;
    world.fault(
        Vendor::OpenAi,
        [Fault::new(OPENAI, FaultKind::QuotaExhausted)],
    );
    let client = world.client();
    let id = world.script(json!({})).await;
    let job = client.ended(&id, "FAILED").await;
    assert_eq!(job["error"]["code"], "PROVIDER_MISCONFIGURED");
    assert_eq!(
        (&job["error"]["retryable"], &job["error"]["charged"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(attempts(&job, "SCRIPT"), ["openai FAILED NOT_CHARGED"]);
    let result = client.change("RetryJob", json!({"jobId": id})).await;
    assert_eq!(text(&result, "/job/id"), id);
    let job = client.ended(&id, "SUCCEEDED").await;
    assert_eq!(
        attempts(&job, "SCRIPT"),
        ["openai FAILED NOT_CHARGED", "openai SUCCEEDED CHARGED"]
    );
    let result = client.change("RetryJob", json!({"jobId": id})).await;
    assert_eq!(result["code"], "CONFLICT", "{result}");
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_moderation_refuses_is_tried_nowhere_else() {
    let world = World::start().await;
    world.fault(
        Vendor::HeyGen,
        [Fault::new(HEYGEN, FaultKind::ContentRejected)],
    );
    let client = world.client();
    let id = world.film(json!({})).await;
    let job = client.ended(&id, "FAILED").await;
    assert_eq!(job["error"]["code"], "CONTENT_REJECTED");
    assert_eq!(job["error"]["retryable"], false);
    assert_eq!(job["error"]["vendorCode"], "content_policy_violation");
    // The voice is paid for.
    assert_eq!(job["error"]["charged"], true);
    assert_eq!(attempts(&job, "VIDEO"), ["heygen FAILED NOT_CHARGED"]);
    assert_eq!(world.accepted(Vendor::Kling), 0);
    let result = client.change("RetryJob", json!({"jobId": id})).await;
    assert_eq!(result["code"], "CONFLICT", "{result}");
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_at_fault_ends_the_job_and_names_the_field() {
    let world = World::start().await;
    world.fault(
        Vendor::OpenAi,
        [Fault::new(OPENAI, FaultKind::InvalidInput)],
    );
    let client = world.client();
    let job = client.ended(&world.script(json!({})).await, "FAILED").await;
    assert_eq!(job["error"]["code"], "INVALID_INPUT");
    assert_eq!(job["error"]["field"], "brief");
    assert_eq!(all_attempts(&job).len(), 1);
    // Something of a catalogue that the vendor does not have.
    let wish = json!({"provider": "heygen", "avatarId": "heygen:no-such-look"});
    let job = client.ended(&world.film(wish).await, "FAILED").await;
    assert_eq!(job["error"]["code"], "INVALID_INPUT", "{job:#}");
    assert_eq!(attempts(&job, "VIDEO"), ["heygen FAILED NOT_CHARGED"]);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_the_vendor_gives_up_is_not_bought_again() {
    let world = World::start().await;
    let failing = Fault::new(HEYGEN, FaultKind::TaskFails).code("rendering_failed");
    world.fault(Vendor::HeyGen, [failing]);
    let client = world.client();
    let id = world.film(json!({})).await;
    let job = client.ended(&id, "FAILED").await;
    assert_eq!(job["error"]["code"], "PROVIDER_REJECTED");
    assert_eq!(job["error"]["vendorCode"], "rendering_failed");
    assert_eq!(job["error"]["retryable"], true);
    assert_eq!(attempts(&job, "VIDEO"), ["heygen FAILED UNKNOWN"]);
    assert_eq!(world.accepted(Vendor::Kling), 0);
    // The owner may go on; what is there already is not made again.
    client.change("RetryJob", json!({"jobId": id})).await;
    let job = client.ended(&id, "SUCCEEDED").await;
    assert_eq!(
        attempts(&job, "VIDEO"),
        ["heygen FAILED UNKNOWN", "heygen SUCCEEDED CHARGED"]
    );
    assert_eq!(world.accepted(Vendor::ElevenLabs), 1);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vendor_that_asks_for_time_gets_it() {
    let world = World::start().await;
    let mut busy = Fault::new(ELEVENLABS, FaultKind::RateLimited);
    busy.retry_after = Some(2);
    world.fault(Vendor::ElevenLabs, [busy]);
    let job = world.voice(json!({})).await;
    let job = world.client().ended(&job, "SUCCEEDED").await;
    assert_eq!(
        attempts(&job, "VOICE"),
        [
            "elevenlabs FAILED NOT_CHARGED",
            "elevenlabs SUCCEEDED CHARGED"
        ]
    );
    let calls = seen_at(&world, Vendor::ElevenLabs, "POST /v1/text-to-speech/");
    let wait = calls[1] - calls[0];
    assert!((2_000..4_000).contains(&wait), "{wait} ms");
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_for_a_slot_is_no_try() {
    let world = World::start().await;
    // More refusals than tries, and a vendor that says to come back at once.
    let mut full = Fault::new(HEYGEN, FaultKind::NoSlot).times(4);
    full.retry_after = Some(0);
    world.fault(Vendor::HeyGen, [full]);
    let job = world
        .client()
        .ended(&world.film(json!({})).await, "SUCCEEDED")
        .await;
    let tried = attempts(&job, "VIDEO");
    assert_eq!(tried.len(), 5, "{tried:?}");
    assert_eq!(tried[4], "heygen SUCCEEDED CHARGED");
    assert_eq!(world.accepted(Vendor::Kling), 0);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_vendor_serves_one_after_the_other() {
    let world = World::start().await;
    // The account's limit is below what the manifest says.
    world.vendor(Vendor::HeyGen).set_concurrency(1);
    let mut jobs = Vec::new();
    for _ in 0..3 {
        jobs.push(world.film(json!({"provider": "heygen"})).await);
    }
    let client = world.client();
    for job in jobs {
        let job = client.ended(&job, "SUCCEEDED").await;
        assert!(
            attempts(&job, "VIDEO")
                .iter()
                .all(|tried| tried.starts_with("heygen"))
        );
    }
    assert_eq!(world.billed(Vendor::HeyGen), 3);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pin_and_an_exclusion_hold_whatever_happens() {
    let world = World::start().await;
    let client = world.client();
    world.fault(
        Vendor::HeyGen,
        [Fault::new(HEYGEN, FaultKind::QuotaExhausted)],
    );
    let job = client
        .ended(&world.film(json!({"provider": "heygen"})).await, "FAILED")
        .await;
    assert_eq!(attempts(&job, "VIDEO"), ["heygen FAILED NOT_CHARGED"]);
    world.fault(
        Vendor::Kling,
        [Fault::new(KLING, FaultKind::QuotaExhausted)],
    );
    let wish = json!({"excludeProviders": ["heygen"]});
    let job = client.ended(&world.film(wish).await, "FAILED").await;
    assert_eq!(attempts(&job, "VIDEO"), ["kling FAILED NOT_CHARGED"]);
    assert_eq!(world.accepted(Vendor::HeyGen), 0);
    world.audit().await;
}

/// When a vendor saw the calls of a route, in milliseconds.
fn seen_at(world: &World, vendor: Vendor, route: &str) -> Vec<i64> {
    world
        .vendor(vendor)
        .requests()
        .iter()
        .filter(|seen| seen.route.starts_with(route))
        .map(|seen| seen.at)
        .collect()
}

/// A proxy in front of the vendor may fail after the vendor accepted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_that_is_not_the_vendors_own_is_not_paid_for_twice() {
    let world = World::start().await;
    for (vendor, route) in [(Vendor::HeyGen, HEYGEN), (Vendor::ElevenLabs, ELEVENLABS)] {
        let mut fault = Fault::new(route, FaultKind::AcceptThenAnswer);
        (fault.status, fault.code) = (Some(502), Some("bad_gateway".to_owned()));
        world.fault(vendor, [fault]);
    }
    let job = world
        .client()
        .ended(&world.film(json!({})).await, "SUCCEEDED")
        .await;
    for (kind, vendor) in [("VOICE", Vendor::ElevenLabs), ("VIDEO", Vendor::HeyGen)] {
        assert_eq!(
            attempts(&job, kind),
            [format!("{vendor} SUCCEEDED CHARGED")]
        );
        assert_eq!(world.billed(vendor), 1, "{vendor}");
        world.assert_faults_struck(vendor);
    }
    world.audit().await;
}
