//! Jobs: what is refused, what is told, and what can be decided.

use genvid::jobs::model::{
    Charge, EventType, Failure, FailureCode, JobStatus, NewEvent, StepKind, StepStatus,
};
use genvid::jobs::store::JobChange;
use serde_json::{Value, json};

use crate::harness::{Bench, attempt, succeed};

fn mutation(name: &str) -> String {
    let pascal = format!("{}{}", name[..1].to_uppercase(), &name[1..]);
    format!(
        "mutation ($input: {pascal}Input!) {{ {name}(input: $input) {{
            __typename
            ... on {pascal}Success {{ job {{ id status cancelRequested }} }}
            ... on InvalidInputProblem {{ problems {{ path message }} }}
            ... on Problem {{ code message path }} }} }}"
    )
}

async fn change(bench: &Bench, name: &str, input: Value) -> Value {
    bench.data(&mutation(name), json!({ "input": input })).await[name].take()
}

fn fields(refused: &Value) -> Vec<String> {
    refused["problems"]
        .as_array()
        .unwrap_or_else(|| panic!("{refused}"))
        .iter()
        .map(|problem| {
            let path = problem["path"].as_array().expect("a path");
            path.iter()
                .map(|part| part.as_str().expect("text"))
                .collect::<Vec<_>>()
                .join(".")
        })
        .collect()
}

#[tokio::test]
async fn wrong_input_is_told_by_its_fields() {
    let bench = Bench::new().await;
    let project = bench.create_project("Bottle").await;
    let cases = [
        (
            "generateScript",
            json!({ "language": "english", "maxSeconds": 0, "templateId": "poem",
                    "idempotencyKey": "" }),
            vec![
                "brief",
                "language",
                "maxSeconds",
                "templateId",
                "idempotencyKey",
            ],
        ),
        (
            "generateScript",
            json!({ "brief": "b", "language": "en", "maxSeconds": -3, "provider": "nobody",
                    "options": { "model": "x" }, "idempotencyKey": "k" }),
            vec!["maxSeconds", "options", "provider"],
        ),
        (
            "generateScript",
            json!({ "projectId": "x", "language": "en", "deadline": "tomorrow",
                    "provider": "p".repeat(33), "idempotencyKey": "k" }),
            vec!["projectId", "provider", "deadline"],
        ),
        (
            "generateVoice",
            json!({ "text": " ", "language": "en", "idempotencyKey": "k".repeat(256),
                    "deadline": "2020-01-01T00:00:00Z" }),
            vec!["text", "idempotencyKey", "deadline"],
        ),
        (
            "generateVoice",
            json!({ "text": "Hi.", "language": "en", "voiceId": "rachel", "idempotencyKey": "k" }),
            vec!["voiceId"],
        ),
        (
            "generateVideo",
            json!({ "projectId": project, "language": "en", "aspect": "SQUARE",
                    "provider": "heygen", "avatarId": "kling:a", "voiceId": ":",
                    "images": ["nonsense"], "idempotencyKey": "k" }),
            vec!["voiceId", "images.0"],
        ),
        (
            "generateVideo",
            json!({ "projectId": project, "language": "en", "aspect": "SQUARE",
                    "provider": "heygen", "avatarId": "kling:a", "excludeProviders": ["heygen"],
                    "images": ["http://example.com/a.jpg"], "maxSeconds": 601,
                    "idempotencyKey": "k" }),
            vec![
                "maxSeconds",
                "images.0",
                "provider",
                "avatarId",
                "excludeProviders",
            ],
        ),
        (
            "generateVideo",
            json!({ "projectId": project, "language": "en", "aspect": "SQUARE",
                    "excludeProviders": vec!["a"; 51], "idempotencyKey": "k" }),
            vec!["excludeProviders"],
        ),
        ("cancelJob", json!({ "jobId": project }), vec!["jobId"]),
        ("retryJob", json!({ "jobId": "" }), vec!["jobId"]),
    ];
    for (name, input, wrong) in cases {
        let refused = change(&bench, name, input.clone()).await;
        assert_eq!(
            refused["__typename"], "InvalidInputProblem",
            "{name} {input}"
        );
        assert_eq!(refused["code"], "INVALID_INPUT");
        assert_eq!(fields(&refused), wrong, "{name} {input}");
    }
}

/// What does not fit the schema at all never reaches a resolver; the message names the field.
#[tokio::test]
async fn input_of_the_wrong_shape_is_refused_with_the_fields_name() {
    let bench = Bench::new().await;
    for (input, field) in [
        (json!({ "text": "Hi.", "language": "en" }), "idempotencyKey"),
        (
            json!({ "text": 1, "language": "en", "idempotencyKey": "k" }),
            "input.text",
        ),
        (
            json!({ "text": "Hi.", "language": "en", "idempotencyKey": "k", "deadline": 5 }),
            "input.deadline",
        ),
        (
            json!({ "text": "Hi.", "language": "en", "idempotencyKey": "k", "speed": 2 }),
            "speed",
        ),
    ] {
        let error = bench
            .error(&mutation("generateVoice"), json!({ "input": input }))
            .await;
        let message = error["message"].as_str().expect("a message");
        assert!(message.contains(field), "{message}");
    }
}

#[tokio::test]
async fn without_providers_nothing_is_accepted() {
    let bench = Bench::new().await;
    let project = bench.create_project("Bottle").await;
    for (name, input) in [
        (
            "generateScript",
            json!({ "brief": "b", "language": "en", "idempotencyKey": "k" }),
        ),
        (
            "generateVoice",
            json!({ "text": "Hi.", "language": "en", "idempotencyKey": "k" }),
        ),
        (
            "generateVideo",
            json!({ "projectId": project, "language": "en", "aspect": "PORTRAIT",
                    "deadline": "2999-01-01T00:00:00+02:00", "idempotencyKey": "k" }),
        ),
    ] {
        let refused = change(&bench, name, input).await;
        if name == "generateVideo" {
            assert_eq!(fields(&refused), ["deadline"]);
        } else {
            assert_eq!(refused["__typename"], "ProviderUnavailableProblem");
            assert_eq!(refused["code"], "PROVIDER_UNAVAILABLE");
        }
    }
    let nowhere = change(
        &bench,
        "generateVideo",
        json!({ "projectId": "prj_00000000000000000000000000000000", "language": "en",
                "aspect": "PORTRAIT", "idempotencyKey": "k" }),
    )
    .await;
    assert_eq!(nowhere["code"], "NOT_FOUND");
    assert_eq!(nowhere["path"], json!(["projectId"]));
    let jobs = bench.data("{ jobs { nodes { id } } }", json!({})).await;
    assert_eq!(jobs["jobs"]["nodes"], json!([]));
}

const JOB: &str = include_str!("../../../graphql/operations/Job.graphql");

#[tokio::test]
async fn a_job_tells_its_plan_its_attempts_and_its_results() {
    let bench = Bench::new().await;
    let project = bench.create_project("Bottle").await;
    let id = bench.accept_video(Some(&project)).await;
    let ask = json!({ "id": id.to_string() });

    let fresh = bench.data(JOB, ask.clone()).await["job"].take();
    assert_eq!(fresh["status"], "QUEUED");
    assert_eq!(fresh["progress"], 0.0);
    assert_eq!(fresh["provider"], json!(null));
    assert_eq!(fresh["project"]["name"], "Bottle");
    assert_eq!(fresh["script"]["text"], "Hello there.");
    assert_eq!(fresh["script"]["title"], json!(null));
    assert_eq!(fresh["videoUrl"], json!(null));
    assert_eq!(fresh["costMicroUsd"], 0);
    assert_eq!(fresh["lastSeq"], 1);
    let kinds: Vec<_> = fresh["steps"]
        .as_array()
        .expect("steps")
        .iter()
        .map(|step| step["kind"].as_str().expect("a kind"))
        .collect();
    assert_eq!(kinds, ["VOICE", "VIDEO", "COMPOSE", "THUMBNAIL", "DELIVER"]);

    bench
        .work(id, |change| {
            change.step.status = StepStatus::Running;
            change.step.provider = Some("elevenlabs".to_owned());
            change.step.progress = Some(0.5);
            change.attempt = Some(attempt(
                &change.step,
                1,
                Charge::Charged,
                Some(5_000_000_000),
            ));
            change.job = Some(JobChange {
                status: JobStatus::Running,
                error: None,
            });
            change.events = vec![
                NewEvent::job(EventType::JobStarted),
                NewEvent {
                    progress: Some(0.5),
                    ..NewEvent::step(EventType::StepProgress, StepKind::Voice)
                },
            ];
        })
        .await;
    let running = bench.data(JOB, ask.clone()).await["job"].take();
    assert_eq!(running["status"], "RUNNING");
    assert_eq!(running["progress"], 0.1);
    assert_eq!(running["costMicroUsd"], 5_000_000_000_i64);
    let tried = &running["steps"][0]["attempts"][0];
    assert_eq!(tried["provider"], "elevenlabs");
    assert_eq!(tried["charge"], "CHARGED");
    assert_eq!(tried["vendorTaskId"], "task-1");
    assert_eq!(running["steps"][1]["attempts"], json!([]));
    // The voice's provider is not the film's.
    assert_eq!(running["provider"], json!(null));

    bench.work(id, |change| succeed(change, &bench.ann)).await;
    let done = bench.data(JOB, ask).await["job"].take();
    assert_eq!(done["status"], "SUCCEEDED");
    assert_eq!(done["durationMs"], 12_340);
    assert_eq!(
        (&done["width"], &done["height"]),
        (&json!(720), &json!(1280))
    );
    let link = done["videoUrl"].as_str().expect("a link");
    assert!(
        link.starts_with("https://genvid.test/media/jobs/") && link.contains("sig="),
        "{link}"
    );
    assert_eq!(done["thumbnailUrl"], json!(null));
    assert_eq!(done["lastSeq"], 5);
}

/// Also where some fields wait for the database and others do not.
#[tokio::test]
async fn an_answer_has_the_order_of_its_question() {
    let bench = Bench::new().await;
    let project = bench.create_project("Bottle").await;
    bench.accept_video(Some(&project)).await;
    let query = "{ jobs(first: 1) { nodes { progress kind project { name } videoUrl status
        steps { attempts { id } kind } costMicroUsd lastSeq } pageInfo { hasNextPage } } }";
    let text = bench.text(query).await;
    let words = [
        "progress",
        "kind",
        "project",
        "videoUrl",
        "status",
        "steps",
        "attempts",
        "costMicroUsd",
        "lastSeq",
        "pageInfo",
    ];
    let places: Vec<_> = words
        .iter()
        .map(|word| text.find(&format!("\"{word}\"")).expect("the field"))
        .collect();
    assert!(places.is_sorted(), "{text}");
    assert!(text.contains(r#"{"attempts":[],"kind":"VOICE"}"#), "{text}");
}

#[tokio::test]
async fn an_error_says_whether_anything_was_billed() {
    let bench = Bench::new().await;
    let query = "query ($id: ID!) { job(id: $id) { error { code message retryable charged }
        steps { error { charged } attempts { number error { charged vendorCode } } } } }";
    for (charge, told) in [
        (Charge::Charged, json!(true)),
        (Charge::NotCharged, json!(false)),
        (Charge::Unknown, json!(null)),
    ] {
        let id = bench.accept_video(None).await;
        let failure = Failure {
            vendor_code: Some("E42".to_owned()),
            ..Failure::new(FailureCode::ProviderRejected, "The provider gave up.")
        };
        bench
            .work(id, |change| {
                change.step.status = StepStatus::Failed;
                change.step.due_at = None;
                change.step.error = Some(failure.clone());
                let mut tried = attempt(&change.step, 1, charge, None);
                tried.error = Some(failure.clone());
                change.attempt = Some(tried);
                change.job = Some(JobChange {
                    status: JobStatus::Failed,
                    error: Some(failure.clone()),
                });
                change.events = vec![NewEvent::job(EventType::JobFailed)];
            })
            .await;
        let data = bench.data(query, json!({ "id": id.to_string() })).await;
        let job = &data["job"];
        assert_eq!(
            job["error"],
            json!({
                "code": "PROVIDER_REJECTED", "message": "The provider gave up.",
                "retryable": true, "charged": told,
            })
        );
        assert_eq!(job["steps"][0]["error"], json!({ "charged": told }));
        assert_eq!(
            job["steps"][0]["attempts"][0]["error"],
            json!({ "charged": told, "vendorCode": "E42" })
        );
    }
}

#[tokio::test]
async fn owners_decide_and_what_the_state_forbids_is_a_conflict() {
    let bench = Bench::new().await;
    let id = bench.accept_video(None).await;
    let input = json!({ "jobId": id.to_string() });
    let refused = change(&bench, "retryJob", input.clone()).await;
    assert_eq!(refused["__typename"], "ConflictProblem");
    assert_eq!(refused["code"], "CONFLICT");
    let canceled = change(&bench, "cancelJob", input).await;
    assert_eq!(canceled["__typename"], "CancelJobSuccess");
    assert_eq!(canceled["job"]["cancelRequested"], true);
}

#[tokio::test]
async fn filters_are_joined_by_and() {
    let bench = Bench::new().await;
    let project = bench.create_project("Bottle").await;
    let inside = bench.accept_video(Some(&project)).await.to_string();
    bench.accept_video(None).await;
    let query = "query ($filter: JobFilter) { jobs(filter: $filter) { nodes { id } } }";
    let found = async |filter: Value| {
        let data = bench.data(query, json!({ "filter": filter })).await;
        data["jobs"]["nodes"].as_array().expect("nodes").clone()
    };
    assert_eq!(found(json!(null)).await.len(), 2);
    assert_eq!(
        found(json!({ "projectId": project, "kind": "VIDEO", "status": "QUEUED" })).await,
        [json!({ "id": inside })]
    );
    assert_eq!(found(json!({ "kind": "VOICE" })).await.len(), 0);
    assert_eq!(found(json!({ "status": "FAILED" })).await.len(), 0);
}
