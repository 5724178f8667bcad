//! What must be true after every test, whatever happened in it: nothing was bought twice,
//! nothing that was bought is missing from the rows, the logs are whole, nothing is left
//! running.

use std::collections::{BTreeMap, BTreeSet};

use genvid_testkit::{Handle, InvoiceCall, Seen, Vendor};
use serde_json::{Value, json};

use super::{all_attempts, client::Client, list, text, until, world::World};

const ALL_JOBS: &str = "query($after: String) { jobs(first: 100, after: $after) {
    pageInfo { hasNextPage endCursor } nodes { id } } }";

impl World {
    /// Checks the invoices of all vendors against the rows of the server's local user, every
    /// log, and that no plugin instance is left.
    pub(crate) async fn audit(&self) {
        let client = self.client();
        self.audit_as(&[client]).await;
    }

    /// The same for the jobs of several users of the same server.
    pub(crate) async fn audit_as(&self, users: &[Client]) {
        let mut jobs = Vec::new();
        for client in users {
            for id in job_ids(client).await {
                let job = client.job(&id).await;
                check_log(&job, &client.log(&id).await);
                jobs.push(job);
            }
        }
        for job in &jobs {
            check_rest(job);
        }
        for job in &jobs {
            check_credits(job);
        }
        self.check_books().await;
        for vendor in Vendor::ALL {
            let handle = self.vendor(vendor);
            check_invoice(vendor, &handle.invoice().calls, &jobs, &handle);
        }
        until("no instance is left", || async {
            let health = self.health().await;
            let idle = health["plugins"]["liveInstances"] == 0 && health["worker"]["active"] == 0;
            idle.then_some(())
        })
        .await;
    }
}

impl World {
    /// The ledger proves itself, as an operator would ask it to.
    async fn check_books(&self) {
        let told = self.run_beside(&["admin", "audit", "--json"]).await;
        let audit: Value = serde_json::from_slice(&told.stdout).unwrap_or_else(|error| {
            let words = String::from_utf8_lossy(&told.stderr);
            panic!("no audit ({error}): {words}")
        });
        assert_eq!(audit["ok"], true, "the books are not in order: {audit:#}");
        assert_eq!(audit["sum"], 0, "{audit:#}");
        assert!(told.status.success(), "{audit:#}");
    }
}

/// A job that is over has spent what its attempts were charged, and holds nothing.
fn check_credits(job: &Value) {
    let charged: i64 = all_attempts(job)
        .iter()
        .filter_map(|attempt| attempt["credits"].as_i64())
        .sum();
    let bought = all_attempts(job)
        .iter()
        .any(|attempt| attempt["charge"] == "CHARGED");
    assert_eq!(charged > 0, bought, "what is bought costs credits: {job:#}");
    match text(job, "/status") {
        "SUCCEEDED" | "FAILED" | "CANCELED" => {
            assert_eq!(job["credits"]["captured"], charged, "{job:#}");
            assert_eq!(job["credits"]["held"], 0, "{job:#}");
        }
        _ => assert_ne!(job["credits"]["held"], 0, "{job:#}"),
    }
}

/// All jobs of a user, newest first.
pub(crate) async fn job_ids(client: &Client) -> Vec<String> {
    let (mut ids, mut after) = (Vec::new(), Value::Null);
    loop {
        let data = client.ask(ALL_JOBS, json!({"after": after})).await;
        ids.extend(
            list(&data, "/jobs/nodes")
                .iter()
                .map(|job| text(job, "/id").to_owned()),
        );
        if data["jobs"]["pageInfo"]["hasNextPage"] == false {
            return ids;
        }
        after = data["jobs"]["pageInfo"]["endCursor"].clone();
    }
}

/// Numbers from 1 without a gap, up to what the job says; the last event fits the state.
fn check_log(job: &Value, log: &[Value]) {
    let id = text(job, "/id");
    let numbers: Vec<i64> = log
        .iter()
        .filter_map(|event| event["seq"].as_i64())
        .collect();
    let wanted: Vec<i64> = (1..=i64::try_from(log.len()).expect("a short log")).collect();
    assert_eq!(numbers, wanted, "the log of {id} has gaps");
    assert_eq!(
        job["lastSeq"].as_i64(),
        numbers.last().copied(),
        "the log of {id} is not whole"
    );
    assert_eq!(log[0]["type"], "JOB_QUEUED");
    let last = match text(job, "/status") {
        "SUCCEEDED" => "JOB_SUCCEEDED",
        "FAILED" => "JOB_FAILED",
        "CANCELED" => "JOB_CANCELED",
        _ => return,
    };
    assert_eq!(
        log.last().expect("events")["type"],
        last,
        "the log of {id} ends otherwise"
    );
}

/// A job that is over has no open attempt, and what it delivered was paid for.
fn check_rest(job: &Value) {
    if !matches!(text(job, "/status"), "SUCCEEDED" | "FAILED" | "CANCELED") {
        return;
    }
    for attempt in all_attempts(job) {
        assert!(
            !attempt["finishedAt"].is_null(),
            "open in a job that is over: {job:#}"
        );
    }
    if job["status"] == "SUCCEEDED" {
        for step in list(job, "/steps") {
            assert_eq!(step["status"], "SUCCEEDED", "{job:#}");
            let bought = list(step, "/attempts")
                .iter()
                .filter(|a| a["charge"] == "CHARGED")
                .count();
            let paid = matches!(text(step, "/kind"), "SCRIPT" | "VOICE" | "VIDEO")
                && step["reusedFrom"].is_null();
            assert!(bought == usize::from(paid) || bought > 1, "{step:#}");
        }
    }
}

/// How often a route was answered how.
fn answers(requests: &[Seen]) -> BTreeMap<(&str, Option<u16>), usize> {
    let mut answers = BTreeMap::new();
    for request in requests {
        *answers
            .entry((request.route.as_str(), request.status))
            .or_default() += 1;
    }
    answers
}

fn check_invoice(vendor: Vendor, calls: &[InvoiceCall], jobs: &[Value], handle: &Handle) {
    let attempts: BTreeMap<&str, &Value> = jobs
        .iter()
        .flat_map(all_attempts)
        .filter(|attempt| attempt["provider"] == vendor.id())
        .map(|attempt| (text(attempt, "/id"), attempt))
        .collect();
    let started: Vec<&InvoiceCall> = calls.iter().filter(|call| call.accepted).collect();
    let with_charge = |charge: &str| attempts.values().filter(|a| a["charge"] == charge).count();
    let unknown = with_charge("UNKNOWN");
    let charged = with_charge("CHARGED");
    assert!(
        charged <= started.len() && started.len() <= charged + unknown,
        "{vendor} started {} works; the rows say {charged} charged and {unknown} unknown. Not \
         charged: {:#?}; troubles: {:#?}; answers: {:#?}",
        started.len(),
        attempts
            .values()
            .filter(|attempt| attempt["charge"] != "CHARGED")
            .collect::<Vec<_>>(),
        handle.troubles(),
        answers(&handle.requests()),
    );
    // ElevenLabs takes no name for a request.
    if vendor == Vendor::ElevenLabs {
        return;
    }
    let mut names = BTreeSet::new();
    for call in started {
        let name = call.client_ref.as_deref().unwrap_or_default();
        assert!(names.insert(name), "{vendor} started {name} twice");
        let attempt = attempts
            .get(name)
            .unwrap_or_else(|| panic!("{vendor}: {name} is no attempt"));
        assert_ne!(
            attempt["charge"], "NOT_CHARGED",
            "{vendor} bills {attempt:#}"
        );
        if let (Some(task), Some(known)) = (&call.task_id, attempt["vendorTaskId"].as_str()) {
            assert_eq!(task, known, "another task belongs to this attempt");
        }
    }
    for (name, attempt) in attempts {
        let bought = attempt["charge"] == "CHARGED";
        assert!(
            !bought || names.contains(name),
            "{vendor} never started {attempt:#}"
        );
    }
}
