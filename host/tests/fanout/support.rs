//! Nodes over one database, and what is written there.

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use genvid::{
    accounts,
    adapters::{
        redis::{Options, Redis},
        sql::Database,
    },
    ids::{JobId, NodeId, StepId, UserId},
    jobs::{
        bus::Bus,
        catch_up::catch_up,
        events,
        input::{JobInput, VoiceInput},
        model::{Event, EventType, Job, JobStatus, NewEvent, Step, StepKind, StepStatus},
        remote::{Ear, Nudge, Nudges, Reach},
        store::{Accepted, Applied, Change, Fence, NewJob},
    },
    providers::Places,
    time,
};
use genvid_testing as servers;
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

/// Nothing here takes this long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// How long a place lasts here.
pub(crate) const PLACE_LIFE: Duration = Duration::from_secs(3);

/// The truth, with a user.
pub(crate) struct World {
    pub(crate) database: Database,
    pub(crate) owner: UserId,
    _folder: tempfile::TempDir,
}

/// A job that this worker writes events of.
pub(crate) struct Writer {
    database: Database,
    pub(crate) job: JobId,
    step: Step,
    fence: Fence,
    written: usize,
}

impl World {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let database = Database::open(folder.path()).await.expect("a database");
        let (user, _) = accounts::Service::new(database.clone())
            .local_user("ann@example.com", None)
            .await
            .expect("Ann");
        Self {
            database: database.for_worker(),
            owner: user.id,
            _folder: folder,
        }
    }

    /// A job that was accepted and told on `bus`.
    pub(crate) async fn job(&self, bus: &Bus) -> Writer {
        let id = JobId::generate();
        let now = time::now();
        let input = JobInput::Voice(VoiceInput {
            text: "Hello there.".to_owned(),
            language: "en".to_owned(),
            provider: None,
            exclude: Vec::new(),
            only: None,
            voice: None,
            options: serde_json::Value::Null,
            reuse: true,
        });
        let step = Step {
            id: StepId::generate(),
            job: id,
            position: 0,
            kind: StepKind::Voice,
            status: StepStatus::Pending,
            provider: None,
            progress: None,
            output: None,
            error: None,
            round: 1,
            quote: None,
            reuse_key: None,
            reused_from: None,
            due_at: Some(now),
            started_at: None,
            completed_at: None,
        };
        let new = NewJob {
            job: Job {
                id,
                owner: self.owner,
                project: None,
                kind: input.kind(),
                status: JobStatus::Queued,
                input,
                error: None,
                cancel_requested: false,
                last_seq: 0,
                deadline: now.after(Duration::from_secs(600)),
                created_at: now,
                completed_at: None,
            },
            steps: vec![step],
            events: vec![NewEvent::job(EventType::JobQueued)],
            idempotency_key: id.to_string(),
            hold: 0,
            max_hold: None,
            plans: Arc::default(),
            request_hash: id.to_string().into_bytes(),
            webhook_url: None,
            notify: None,
            place: None,
            by: None,
        };
        let (accepted, events) = self.database.accept_job(new).await.expect("accepted");
        assert!(matches!(accepted, Accepted::Created(_)));
        bus.publish(events);
        let claimed = self
            .database
            .claim_steps(
                NodeId::generate(),
                Duration::from_secs(600),
                1_000,
                &[],
                &genvid::jobs::store::Rota::default(),
            )
            .await
            .expect("claimed")
            .into_iter()
            .find(|claimed| claimed.step.job == id)
            .expect("its step is due");
        Writer {
            database: self.database.clone(),
            job: id,
            step: claimed.step,
            fence: claimed.fence,
            written: 1,
        }
    }

    /// The sequence numbers of a job's events as `bus` and the log tell them.
    pub(crate) fn follow_job(&self, bus: &Bus, job: JobId) -> Follower {
        let stream = events::follow_job(self.database.clone(), bus.clone(), job, 0);
        Follower(stream.map(|event| event.expect("an event").seq).boxed())
    }

    /// The positions of the user's events.
    pub(crate) fn follow_owner(&self, bus: &Bus) -> Follower {
        let stream = events::follow_owner(self.database.clone(), bus.clone(), self.owner, 0);
        Follower(
            stream
                .map(|event| event.expect("an event").position)
                .boxed(),
        )
    }
}

impl Writer {
    /// Commits `count` more events and answers them; nobody is told.
    pub(crate) async fn commit(&mut self, count: usize) -> Vec<Event> {
        let events = (0..count)
            .map(|number| {
                NewEvent::step(EventType::StepProgress, StepKind::Voice).saying(format!("{number}"))
            })
            .collect();
        let applied = self
            .database
            .apply(Change {
                fence: self.fence,
                step: self.step.clone(),
                keep_lease: true,
                attempt: None,
                next: None,
                done: None,
                job: None,
                events,
                media: Vec::new(),
            })
            .await
            .expect("applied");
        self.written += count;
        match applied {
            Applied::Done { events, .. } => events,
            Applied::Lost => panic!("nobody else works on this"),
        }
    }

    /// Commits `count` more events and tells them.
    pub(crate) async fn tell(&mut self, bus: &Bus, count: usize) {
        bus.publish(self.commit(count).await);
    }

    /// How many events its log has.
    pub(crate) fn written(&self) -> usize {
        self.written
    }
}

/// Numbers of events, as a subscriber gets them.
pub(crate) struct Follower(futures::stream::BoxStream<'static, i64>);

impl Follower {
    /// The next one, if it comes in time.
    pub(crate) async fn next(&mut self, patience: Duration) -> Option<i64> {
        tokio::time::timeout(patience, self.0.next()).await.ok()?
    }

    /// Fails unless the next numbers are `first` to `last`, each once and in order.
    pub(crate) async fn expect(&mut self, first: usize, last: usize) {
        for number in first..=last {
            let heard = self.next(PATIENCE).await;
            assert_eq!(heard, i64::try_from(number).ok(), "of {first} to {last}");
        }
    }

    /// Fails when anything comes within this time.
    pub(crate) async fn expect_silence(&mut self, time: Duration) {
        assert_eq!(self.next(time).await, None, "nothing happened");
    }
}

/// A node.
pub(crate) struct Node {
    pub(crate) bus: Bus,
    pub(crate) nudges: Nudges,
    pub(crate) inbox: mpsc::UnboundedReceiver<Nudge>,
    pub(crate) reach: Option<watch::Receiver<Reach>>,
    redis: Option<Redis>,
    catching_up: Option<JoinHandle<()>>,
}

impl Node {
    /// One that shares the database with nobody.
    pub(crate) fn alone() -> Self {
        let (sender, inbox) = mpsc::unbounded_channel();
        Self {
            bus: Bus::default(),
            nudges: Nudges::new(Some(sender), None),
            inbox,
            reach: None,
            redis: None,
            catching_up: None,
        }
    }

    /// One of several; answers once it hears the others.
    pub(crate) async fn over(server: &servers::Redis, world: &World) -> Self {
        let mut redis = Redis::open(&options(server)).expect("an address");
        let (sender, inbox) = mpsc::unbounded_channel();
        let remote = redis.remote();
        let bus = Bus::with_remote(Arc::clone(&remote));
        redis.listen(Some(bus.clone()), Some(ear(sender.clone())));
        let mut reach = remote.reach();
        let catching_up = tokio::spawn(catch_up(
            world.database.clone(),
            bus.clone(),
            remote.reach(),
        ));
        whole(&mut reach, true).await;
        let mut node = Self {
            bus,
            nudges: Nudges::new(Some(sender), Some(remote)),
            inbox,
            reach: Some(reach),
            redis: Some(redis),
            catching_up: Some(catching_up),
        };
        // It looks for work and room once it hears the others.
        node.heard().await;
        node
    }

    /// Waits until others are heard, or are not.
    pub(crate) async fn whole(&mut self, wanted: bool) {
        if let Some(reach) = &mut self.reach {
            whole(reach, wanted).await;
        }
    }

    /// What its worker has been told, once nothing more comes for a moment.
    pub(crate) async fn heard(&mut self) -> Vec<Nudge> {
        let mut heard = Vec::new();
        while let Ok(Some(nudge)) =
            tokio::time::timeout(Duration::from_millis(200), self.inbox.recv()).await
        {
            heard.push(nudge);
        }
        heard
    }

    /// Ends as a process does that is told to.
    pub(crate) async fn close(mut self) {
        if let Some(redis) = self.redis.take() {
            redis.close().await;
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(task) = &self.catching_up {
            task.abort();
        }
    }
}

async fn whole(reach: &mut watch::Receiver<Reach>, wanted: bool) {
    tokio::time::timeout(PATIENCE, reach.wait_for(|reach| reach.is_whole() == wanted))
        .await
        .expect("in time")
        .expect("the node is there");
}

/// Only what workers of one more node need to share places.
pub(crate) fn places(
    server: &servers::Redis,
) -> (Redis, Arc<dyn Places>, mpsc::UnboundedReceiver<Nudge>) {
    let mut redis = Redis::open(&options(server)).expect("an address");
    let (sender, inbox) = mpsc::unbounded_channel();
    redis.listen(None, Some(ear(sender)));
    let places = redis.places();
    (redis, places, inbox)
}

/// Only what any node needs to count with others.
pub(crate) fn link(server: &servers::Redis) -> Redis {
    Redis::open(&options(server)).expect("an address")
}

fn ear(inbox: mpsc::UnboundedSender<Nudge>) -> Ear {
    Arc::new(move |nudge| {
        // Fails only while the node goes away.
        let _ = inbox.send(nudge);
    })
}

fn options(server: &servers::Redis) -> Options {
    Options {
        url: server.url().into(),
        prefix: "test".to_owned(),
        node: NodeId::generate(),
        place_life: PLACE_LIFE,
    }
}

/// Turns a blocking start into one that may be awaited.
pub(crate) async fn redis() -> servers::Redis {
    tokio::task::spawn_blocking(servers::Redis::start)
        .await
        .expect("no panic")
        .expect("Redis is installed: cargo xtask setup")
}
