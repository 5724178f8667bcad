//! A fresh database with two users, and jobs to put in.

use std::{sync::Arc, time::Duration};

use genvid::{
    accounts::{Role, User},
    adapters::sql::{Database, Installer, PostgresOptions},
    ids::{AttemptId, JobId, MediaId, NodeId, ProjectId, StepId, UserId},
    jobs::{
        input::{JobInput, VoiceInput},
        model::{
            Attempt, AttemptStatus, Charge, Event, EventType, Job, JobStatus, NewEvent, Step,
            StepKind, StepStatus, StoredFile,
        },
        store::{Accepted, Applied, Change, Claimed, NewJob, Rota},
    },
    projects::Project,
    time::{self, Timestamp},
};
use genvid_testing as servers;
use serde_json::json;
use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};

use crate::backend;

/// Long enough for no test to see it end.
pub(crate) const LEASE: Duration = Duration::from_secs(60);

pub(crate) struct Bench {
    pub(crate) database: Database,
    pub(crate) ann: UserId,
    pub(crate) bob: UserId,
    server: Option<(Arc<servers::Postgres>, servers::Database)>,
    folder: tempfile::TempDir,
}

impl Bench {
    pub(crate) async fn embedded() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let database = Database::open(folder.path()).await.expect("a database");
        Self::with(database, None, folder).await
    }

    pub(crate) async fn postgres() -> Self {
        let server = backend::server();
        let place = server.database().expect("a database");
        let database = Database::connect(&options(&place)).await.expect("it opens");
        let folder = tempfile::tempdir().expect("a folder");
        Self::with(database, Some((server, place)), folder).await
    }

    async fn with(
        database: Database,
        server: Option<(Arc<servers::Postgres>, servers::Database)>,
        folder: tempfile::TempDir,
    ) -> Self {
        let (ann, bob) = (user(&database, "ann").await, user(&database, "bob").await);
        Self {
            database,
            ann,
            bob,
            server,
            folder,
        }
    }

    /// The same database as another process sees it.
    pub(crate) async fn another_node(&self) -> Database {
        match &self.server {
            Some((_, place)) => Database::connect(&options(place)).await.expect("it opens"),
            None => self.database.clone(),
        }
    }

    /// The same database for whoever installs plugins, beside those who use it.
    pub(crate) async fn installer(&self) -> Installer {
        match &self.server {
            Some((_, place)) => Installer::connect(&options(place)).await,
            None => Installer::open(self.folder.path()).await,
        }
        .expect("it opens")
    }

    /// The server, of the tests that are about it.
    pub(crate) fn server(&self) -> (&servers::Postgres, &servers::Database) {
        let (server, place) = self.server.as_ref().expect("this bench has a server");
        (server, place)
    }

    /// Runs a statement as somebody whom nothing but the tables themselves can stop.
    pub(crate) async fn try_run(&self, sql: &'static str) -> Result<(), String> {
        self.try_text(sql.to_owned()).await
    }

    async fn try_text(&self, sql: String) -> Result<(), String> {
        if let Some((server, place)) = &self.server {
            let done = server.sql(&place.name, &sql);
            return done.map(drop).map_err(|error| format!("{error:#}"));
        }
        let options = SqliteConnectOptions::new().filename(self.folder.path().join("genvid.db"));
        let mut connection = SqliteConnection::connect_with(&options)
            .await
            .expect("it opens");
        let done = sqlx::query(sqlx::AssertSqlSafe(sql))
            .execute(&mut connection)
            .await;
        done.map(drop).map_err(|error| error.to_string())
    }

    /// The same, for one that nothing stops.
    pub(crate) async fn run(&self, sql: &'static str) {
        self.try_run(sql).await.expect("it runs");
    }

    /// The same, for one that is put together.
    pub(crate) async fn run_text(&self, sql: String) {
        self.try_text(sql).await.expect("it runs");
    }

    /// Accepts a job of two steps, due now.
    pub(crate) async fn accept(&self, owner: UserId) -> Job {
        self.accept_as(job(owner, &unique())).await
    }

    /// Accepts a job that must be new.
    pub(crate) async fn accept_as(&self, new: NewJob) -> Job {
        match self.database.accept_job(new).await.expect("accepted") {
            (Accepted::Created(job), _) => job,
            (other, _) => panic!("it is not new: {other:?}"),
        }
    }

    /// Accepts a job and takes its first step in hand.
    pub(crate) async fn accept_and_claim(&self, owner: UserId) -> (Job, Claimed) {
        let job = self.accept(owner).await;
        let claimed = self.claim(NodeId::generate(), LEASE).await;
        let mine = claimed
            .into_iter()
            .find(|claimed| claimed.step.job == job.id);
        (job, mine.expect("its first step is due"))
    }

    pub(crate) async fn claim(&self, node: NodeId, lease: Duration) -> Vec<Claimed> {
        self.database
            .claim_steps(node, lease, 1_000, &[], &Rota::default())
            .await
            .expect("claimed")
    }

    pub(crate) async fn apply(&self, change: Change) -> Applied {
        self.database.apply(change).await.expect("applied")
    }

    /// Applies a change that must not be lost; its events.
    pub(crate) async fn done(&self, change: Change) -> Vec<Event> {
        match self.apply(change).await {
            Applied::Done { events, .. } => events,
            Applied::Lost => panic!("somebody else holds the step"),
        }
    }

    /// The job as its row says.
    pub(crate) async fn job(&self, id: JobId) -> Job {
        self.database.for_worker().get_job(id).await.expect("there")
    }

    /// The steps of a job.
    pub(crate) async fn steps(&self, id: JobId) -> Vec<Step> {
        self.database
            .for_worker()
            .steps_of(&[id])
            .await
            .expect("read")
    }

    /// The attempts of a job.
    pub(crate) async fn attempts(&self, id: JobId) -> Vec<Attempt> {
        self.database
            .for_worker()
            .attempts_of(&[id])
            .await
            .expect("read")
    }

    /// The whole log of a job.
    pub(crate) async fn log(&self, id: JobId) -> Vec<Event> {
        self.database
            .for_worker()
            .job_events(id, 0, 10_000)
            .await
            .expect("read")
    }
}

/// How tests connect: as somebody without rights, with the owner for migrations.
pub(crate) fn options(place: &servers::Database) -> PostgresOptions {
    PostgresOptions {
        url: place.url.as_str().into(),
        owner_url: place.owner_url.as_str().into(),
        role: "genvid_app".to_owned(),
        worker_role: "genvid_worker".to_owned(),
        max_connections: 8,
        migrate: true,
    }
}

async fn user(database: &Database, name: &str) -> UserId {
    let new = User {
        id: UserId::generate(),
        email: format!("{name}@example.com"),
        verified_at: None,
        name: name.to_owned(),
        role: Role::User,
        created_at: time::now(),
    };
    database.ensure_user(new).await.expect("a user").id
}

/// Somebody.
pub(crate) async fn a_user(database: &Database) -> UserId {
    user(database, &unique()).await
}

/// A key that no other job has.
pub(crate) fn unique() -> String {
    JobId::generate().to_string()
}

/// A job with two steps, of which the first is due now.
pub(crate) fn job(owner: UserId, key: &str) -> NewJob {
    let id = JobId::generate();
    let now = time::now();
    let step = |position: i64, kind| Step {
        id: StepId::generate(),
        job: id,
        position,
        kind,
        status: StepStatus::Pending,
        provider: None,
        progress: None,
        output: None,
        error: None,
        round: 1,
        quote: None,
        reuse_key: None,
        reused_from: None,
        due_at: (position == 0).then_some(now),
        started_at: None,
        completed_at: None,
    };
    let input = JobInput::Voice(VoiceInput {
        text: "Hello there.".to_owned(),
        language: "en".to_owned(),
        provider: None,
        exclude: Vec::new(),
        only: None,
        voice: None,
        options: json!({"speed": 1.25}),
        reuse: true,
    });
    NewJob {
        job: Job {
            id,
            owner,
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
        steps: vec![step(0, StepKind::Voice), step(1, StepKind::Deliver)],
        events: vec![NewEvent::job(EventType::JobQueued)],
        idempotency_key: key.to_owned(),
        hold: 0,
        max_hold: None,
        plans: Arc::default(),
        request_hash: key.as_bytes().to_vec(),
        webhook_url: None,
        notify: None,
        place: None,
        by: None,
    }
}

/// A change of a claimed step that changes nothing and goes on holding it.
pub(crate) fn change(claimed: &Claimed) -> Change {
    Change {
        fence: claimed.fence,
        step: claimed.step.clone(),
        keep_lease: true,
        attempt: None,
        next: None,
        done: None,
        job: None,
        events: Vec::new(),
        media: Vec::new(),
    }
}

/// An attempt that the vendor accepted.
pub(crate) fn attempt(step: &Step, number: i64) -> Attempt {
    let now = time::now();
    Attempt {
        id: AttemptId::generate(),
        step: step.id,
        job: step.job,
        number,
        round: 1,
        provider: "elevenlabs".to_owned(),
        plugin_version: "0.1.0".to_owned(),
        plugin_digest: "00".to_owned(),
        model: None,
        status: AttemptStatus::Accepted,
        counts: true,
        charge: Charge::Charged,
        vendor_task: Some(format!("task-{}", unique())),
        request: json!({"text": "Hello there."}),
        delivered: None,
        error: None,
        cost_micro_usd: Some(12_345),
        max_credits: 0,
        credits: 0,
        submitted_at: now,
        accepted_at: Some(now),
        uncertain_at: None,
        finished_at: None,
    }
}

/// A file in the store.
pub(crate) fn file() -> StoredFile {
    StoredFile {
        id: MediaId::generate(),
        key: format!("jobs/{}", unique()),
        mime: "video/mp4".to_owned(),
        size: 5_000_000_000,
        sha256: "00".repeat(32),
        duration_ms: Some(12_340),
        width: Some(720),
        height: Some(1_280),
    }
}

/// A project of `owner`.
pub(crate) fn project(owner: UserId, name: &str) -> Project {
    let now = time::now();
    Project {
        id: ProjectId::generate(),
        owner,
        name: name.to_owned(),
        product_name: "Aurora".to_owned(),
        product_description: "A bottle.".to_owned(),
        product_images: vec!["https://example.com/a.jpg".to_owned()],
        created_at: now,
        updated_at: now,
        budget: None,
    }
}

/// An event that tells something.
pub(crate) fn told(message: &str) -> NewEvent {
    NewEvent::job(EventType::StepProgress).saying(message)
}

/// Soon, but not yet.
pub(crate) fn later() -> Timestamp {
    time::now().after(Duration::from_secs(3_600))
}

/// The change, with an attempt.
pub(crate) fn with_attempt(mut change: Change, attempt: Attempt) -> Change {
    change.attempt = Some(attempt);
    change
}
