//! The worker over real rows: what becomes of a step when the program itself breaks down.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use genvid::{
    ids::NodeId,
    jobs::{
        self,
        advance::Advance,
        bus::Bus,
        model::{Attempt, AttemptStatus, JobStatus, Step, StepStatus},
    },
    providers::{Catalog, Health, Registry, Rules},
    time,
    worker::Worker,
};
use genvid_media::{
    Blob, BlobStore, BlobWriter, ByteRange, FolderOptions, FolderStore, Key, Stat,
    blob::{Error, Listed},
    ffmpeg::{Studio, StudioOptions, Tools},
};
use genvid_runtime::types::{Done, Media, Output, Role};
use tokio::sync::{mpsc, watch};

use crate::bench::{Bench, attempt, change, with_attempt};

const PATIENCE: Duration = Duration::from_secs(60);

/// A store whose first writer makes the program panic.
struct Fragile {
    inner: FolderStore,
    writers: Arc<AtomicUsize>,
}

#[async_trait]
impl BlobStore for Fragile {
    async fn create(&self, key: &Key, mime: &str) -> Result<Box<dyn BlobWriter>, Error> {
        let before = self.writers.fetch_add(1, Ordering::SeqCst);
        assert_ne!(before, 0, "the first one breaks down");
        self.inner.create(key, mime).await
    }

    async fn open(&self, key: &Key, range: Option<ByteRange>) -> Result<Option<Blob>, Error> {
        self.inner.open(key, range).await
    }

    async fn stat(&self, key: &Key) -> Result<Option<Stat>, Error> {
        self.inner.stat(key).await
    }

    async fn delete(&self, key: &Key) -> Result<(), Error> {
        self.inner.delete(key).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&Key>,
        most: usize,
    ) -> Result<Vec<Listed>, Error> {
        self.inner.list(prefix, after, most).await
    }
}

pub(crate) async fn a_panic_costs_a_turn_and_not_the_step(bench: Bench) {
    // The vendor has delivered; what it delivered is to be stored.
    let (job, claimed) = bench.accept_and_claim(bench.ann).await;
    let output = Output {
        role: Role::Main,
        media: Media::Text("this is no sound".to_owned()),
        mime: "audio/mpeg".to_owned(),
        duration_ms: None,
        metadata: None,
    };
    let done = Done {
        outputs: vec![output],
        cost_micro_usd: None,
    };
    let delivered = Attempt {
        status: AttemptStatus::Succeeded,
        delivered: serde_json::to_value(&done).ok(),
        finished_at: Some(time::now()),
        ..attempt(&claimed.step, 1)
    };
    let mut write = with_attempt(change(&claimed), delivered);
    write.step = Step {
        status: StepStatus::Storing,
        ..claimed.step.clone()
    };
    bench.done(write).await;
    bench
        .database
        .release_leases(claimed.fence.node)
        .await
        .expect("released");

    let folder = tempfile::tempdir().expect("a folder");
    let writers = Arc::new(AtomicUsize::new(0));
    let inner = FolderStore::open(FolderOptions {
        root: folder.path().join("media"),
        max_bytes: 1 << 20,
    });
    let tools = Tools::locate(None, None).await.expect("ffmpeg");
    let studio = Studio::new(tools, StudioOptions::new(folder.path().join("scratch")));
    let registry = Registry::default();
    let advance = Advance {
        database: bench.database.for_worker(),
        bus: Bus::default(),
        registry: registry.clone(),
        catalog: Catalog::new(registry),
        health: Health::new(
            bench.database.clone(),
            Rules::default(),
            Duration::from_secs(86_400),
            || (),
        ),
        blobs: Arc::new(Fragile {
            inner: inner.await.expect("a store"),
            writers: Arc::clone(&writers),
        }),
        studio: studio.await.expect("a studio"),
        settings: Arc::new(jobs::Settings {
            // Renewed all the time: only who lets go of it gives anybody else a chance.
            lease: Duration::from_secs(600),
            ..jobs::Settings::default()
        }),
    };
    let (_nudges, inbox) = mpsc::unbounded_channel();
    let worker = Worker::new(advance, NodeId::generate(), inbox, None);
    let gauge = worker.gauge();
    let (stop, stopping) = watch::channel(false);
    let running = tokio::spawn(worker.run(stopping));

    let began = Instant::now();
    while bench.job(job.id).await.status != JobStatus::Failed {
        assert!(began.elapsed() < PATIENCE, "nobody went on with the step");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(writers.load(Ordering::SeqCst), 2, "once in vain, once more");
    stop.send_replace(true);
    // It waits for turns in flight: one that is counted for ever would hold it up.
    tokio::time::timeout(Duration::from_secs(5), running)
        .await
        .expect("it stops at once")
        .expect("it goes on after a panic");
    assert_eq!(gauge.borrow().active, 0);
}
