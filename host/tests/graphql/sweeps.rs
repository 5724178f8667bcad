//! Files whose time is over, and what is left for their owners to see.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use genvid::{
    ids::{JobId, UploadId},
    jobs::{
        model::{Failure, FailureCode, JobStatus, StepStatus},
        store::{JobChange, asset_key},
    },
    media::{Retention, Sweep, Swept},
    uploads,
};
use genvid_media::{Blob, BlobStore, BlobWriter, ByteRange, Key, Listed, Stat, blob::Error};
use serde_json::{Value, json};

use crate::harness::{Bench, succeed};

const JOB: &str = "query ($id: ID!) { job(id: $id) { videoUrl durationMs
    filesWithdrawn { reason message at } } }";
const DELETE: &str = "mutation ($input: DeleteProjectInput!) { deleteProject(input: $input) {
    ... on DeleteProjectSuccess { deletedProjectId } } }";
const DAY: Duration = Duration::from_secs(86_400);

/// Keeps everything for a day, but takes what is an hour old for old enough to be an orphan.
const PATIENT: Retention = Retention {
    deleted: DAY,
    failed: DAY,
    orphan: DAY,
    every: Duration::ZERO,
};
/// Keeps nothing.
const PROMPT: Retention = Retention {
    deleted: Duration::ZERO,
    failed: Duration::ZERO,
    orphan: Duration::ZERO,
    every: Duration::ZERO,
};

fn sweep(bench: &Bench, retention: Retention) -> Sweep {
    Sweep {
        database: bench.database.for_worker(),
        blobs: Arc::clone(&bench.blobs),
        retention,
        installation: "bench".to_owned(),
    }
}

async fn put(bench: &Bench, key: &str) {
    let key = Key::parse(key).expect("a key");
    let mut writer = bench.blobs.create(&key, "video/mp4").await.expect("room");
    writer
        .write(Bytes::from_static(b"film"))
        .await
        .expect("written");
    writer.finish().await.expect("kept");
}

/// Keys in the store, besides the one that says whose it is.
async fn keys(bench: &Bench) -> Vec<String> {
    let found = bench.blobs.list("", None, 1_000).await.expect("listed");
    let keys = found.into_iter().map(|found| found.key.to_string());
    keys.filter(|key| !key.starts_with("installation/"))
        .collect()
}

async fn job(bench: &Bench, id: JobId) -> Value {
    let mut data = bench.data(JOB, json!({ "id": id.to_string() })).await;
    data["job"].take()
}

/// A job of that project that succeeded, its film in the store; and the film's key.
async fn film(bench: &Bench, project: &str) -> (JobId, String) {
    let id = bench.accept_video(Some(project)).await;
    let ann = Arc::clone(&bench.ann);
    let mut key = String::new();
    bench
        .work(id, |change| {
            succeed(change, &ann);
            let file = change.media[0].2.clone();
            key.clone_from(&file.key);
            change.step.output = Some(genvid::jobs::model::StepOutput::Compose {
                film: file,
                subtitles: None,
            });
        })
        .await;
    put(bench, &key).await;
    (id, key)
}

#[tokio::test]
async fn files_of_a_deleted_project_are_withdrawn_and_then_removed() {
    let bench = Bench::new().await;
    let (gone, stays) = (
        bench.create_project("Old").await,
        bench.create_project("New").await,
    );
    let (old, _) = film(&bench, &gone).await;
    let (new, kept) = film(&bench, &stays).await;
    // Left by a crash within a job: of the job all the same.
    put(
        &bench,
        &asset_key(old, "asset_00000000000000000000000000000001"),
    )
    .await;
    assert!(job(&bench, old).await["videoUrl"].is_string());

    bench.data(DELETE, json!({ "input": { "id": gone } })).await;
    let withdrawn = job(&bench, old).await;
    assert_eq!(withdrawn["videoUrl"], Value::Null);
    assert_eq!(withdrawn["filesWithdrawn"]["reason"], "PROJECT_DELETED");
    assert!(withdrawn["filesWithdrawn"]["at"].is_string());
    assert_eq!(job(&bench, new).await["filesWithdrawn"], Value::Null);

    sweep(&bench, PATIENT).turn().await.expect("swept");
    assert_eq!(keys(&bench).await.len(), 3);
    let swept = sweep(
        &bench,
        Retention {
            deleted: Duration::ZERO,
            ..PATIENT
        },
    )
    .turn()
    .await;
    let swept = swept.expect("swept");
    assert_eq!((swept.retired, swept.removed), (1, 1));
    assert_eq!(keys(&bench).await, [kept]);
    assert_eq!(job(&bench, old).await, withdrawn);
    assert!(job(&bench, new).await["videoUrl"].is_string());
}

#[tokio::test]
async fn a_failed_job_loses_its_files_after_their_time_and_can_be_retried_no_more() {
    let bench = Bench::new().await;
    let id = bench.accept_video(None).await;
    let key = asset_key(id, "asset_00000000000000000000000000000002");
    put(&bench, &key).await;
    bench
        .work(id, |change| {
            change.step.status = StepStatus::Failed;
            change.step.due_at = None;
            change.job = Some(JobChange {
                status: JobStatus::Failed,
                error: Some(Failure::new(FailureCode::MediaFailed, "It broke.")),
            });
        })
        .await;
    sweep(&bench, PATIENT).turn().await.expect("swept");
    assert_eq!(keys(&bench).await, [key]);
    assert_eq!(job(&bench, id).await["filesWithdrawn"], Value::Null);

    let short = Retention {
        failed: Duration::ZERO,
        ..PATIENT
    };
    sweep(&bench, short).turn().await.expect("swept");
    assert!(keys(&bench).await.is_empty());
    assert_eq!(
        job(&bench, id).await["filesWithdrawn"]["reason"],
        "RETENTION"
    );
    let retry = bench
        .data(
            "mutation ($input: RetryJobInput!) { retryJob(input: $input) {
                ... on Problem { code message } } }",
            json!({ "input": { "jobId": id.to_string() } }),
        )
        .await;
    assert_eq!(retry["retryJob"]["code"], "CONFLICT");
    let message = retry["retryJob"]["message"].as_str().expect("words");
    assert!(message.contains("removed"), "{message}");
}

#[tokio::test]
async fn a_job_that_runs_keeps_everything() {
    let bench = Bench::new().await;
    let project = bench.create_project("Old").await;
    let id = bench.accept_video(Some(&project)).await;
    put(
        &bench,
        &asset_key(id, "asset_00000000000000000000000000000003"),
    )
    .await;
    bench
        .data(DELETE, json!({ "input": { "id": project } }))
        .await;
    let swept = sweep(&bench, PROMPT).turn().await.expect("swept");
    assert_eq!(swept, Swept::default());
    assert_eq!(keys(&bench).await.len(), 1);
}

#[tokio::test]
async fn what_no_row_refers_to_is_removed_once_it_is_old() {
    let bench = Bench::new().await;
    let project = bench.create_project("New").await;
    let (id, film) = film(&bench, &project).await;
    let upload = UploadId::generate();
    let stray = [
        asset_key(id, "asset_00000000000000000000000000000004"),
        asset_key(JobId::generate(), "asset_00000000000000000000000000000005"),
        uploads::incoming_key(upload),
        uploads::picture_key(upload),
    ];
    let foreign = ["jobs/nobody/knows", "later/versions/file"];
    for key in stray.iter().map(String::as_str).chain(foreign) {
        put(&bench, key).await;
    }
    let swept = sweep(&bench, PATIENT).turn().await.expect("swept");
    assert_eq!(swept, Swept::default());
    let swept = sweep(&bench, PROMPT).turn().await.expect("swept");
    assert_eq!((swept.orphans, swept.removed), (4, 4));
    let mut wanted = vec![film, foreign[0].to_owned(), foreign[1].to_owned()];
    wanted.sort();
    assert_eq!(keys(&bench).await, wanted);

    // A store that another database uses too: whose they are cannot be told.
    put(&bench, "installation/other").await;
    for key in &stray {
        put(&bench, key).await;
    }
    let swept = sweep(&bench, PROMPT).turn().await.expect("swept");
    assert_eq!(swept, Swept::default());
    assert_eq!(keys(&bench).await.len(), 7);
}

/// A store that removes nothing while it is out of order.
struct Stubborn(Arc<dyn BlobStore>, AtomicBool);

#[async_trait]
impl BlobStore for Stubborn {
    async fn create(&self, key: &Key, mime: &str) -> Result<Box<dyn BlobWriter>, Error> {
        self.0.create(key, mime).await
    }
    async fn open(&self, key: &Key, range: Option<ByteRange>) -> Result<Option<Blob>, Error> {
        self.0.open(key, range).await
    }
    async fn stat(&self, key: &Key) -> Result<Option<Stat>, Error> {
        self.0.stat(key).await
    }
    async fn delete(&self, key: &Key) -> Result<(), Error> {
        if self.1.load(Ordering::Relaxed) {
            return Err(std::io::Error::other("out of order").into());
        }
        self.0.delete(key).await
    }
    async fn list(
        &self,
        prefix: &str,
        after: Option<&Key>,
        most: usize,
    ) -> Result<Vec<Listed>, Error> {
        self.0.list(prefix, after, most).await
    }
}

#[tokio::test]
async fn a_removal_that_is_written_down_is_done_whoever_dies() {
    let bench = Bench::new().await;
    let project = bench.create_project("Old").await;
    let (first, _) = film(&bench, &project).await;
    let (second, _) = film(&bench, &project).await;
    bench
        .data(DELETE, json!({ "input": { "id": project } }))
        .await;

    // A process decides, and dies before it asks the store.
    let worker = bench.database.for_worker();
    let retired = worker.retire_jobs(Duration::ZERO, DAY, 1).await;
    assert_eq!(retired.expect("decided"), 1);
    assert_eq!(keys(&bench).await.len(), 2);
    // Another one takes a removal, and dies over it.
    let retired = worker.retire_jobs(Duration::ZERO, DAY, 1).await;
    assert_eq!(retired.expect("decided"), 1);
    let lost = worker.claim_removals(Duration::ZERO, 1).await;
    assert_eq!(lost.expect("claimed").len(), 1);
    assert_eq!(keys(&bench).await.len(), 2);

    // A store that refuses is asked again later; nothing else waits for it.
    let stubborn = Arc::new(Stubborn(Arc::clone(&bench.blobs), AtomicBool::new(true)));
    let failing = Sweep {
        blobs: Arc::clone(&stubborn) as Arc<dyn BlobStore>,
        ..sweep(&bench, PATIENT)
    };
    assert_eq!(failing.turn().await.expect("swept").removed, 0);
    stubborn.1.store(false, Ordering::Relaxed);
    assert_eq!(
        failing.turn().await.expect("swept").removed,
        0,
        "not at once"
    );
    for job in [first, second] {
        let name = genvid::jobs::store::job_folder(job);
        let hurried = worker.settle_removal(name, Some(Duration::ZERO)).await;
        hurried.expect("written");
    }
    assert_eq!(failing.turn().await.expect("swept").removed, 2);
    assert!(keys(&bench).await.is_empty());
    assert_eq!(failing.turn().await.expect("swept"), Swept::default());
}
