//! A schema over a fresh database, with callers.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::{Stream, StreamExt};
use genvid::{
    accounts::{
        self, User,
        job_tokens::JobTokens,
        password::{Cost, Hasher},
        sessions::{self, Sessions},
        tokens::Keyring,
    },
    adapters::sql::{Database, PostgresOptions},
    billing,
    graphql::{self, Caller, Limits, Request, Schema, Services, Variables},
    ids::{AttemptId, JobId, MediaId, NodeId, ProjectId, StepId},
    jobs::{
        self,
        bus::Bus,
        input::{JobInput, ProductBrief, VideoInput},
        model::{
            Aspect, Attempt, AttemptStatus, Charge, EventType, Job, JobStatus, NewEvent, Step,
            StepKind, StepStatus, StoredFile, SubtitleMode,
        },
        remote::{Nudge, Nudges},
        store::{Accepted, Applied, Change, JobChange, MediaRole, NewJob},
    },
    media::Links,
    payments, projects,
    providers::{Catalog, Health, Registry, Rules, Secrets},
    rates::{self, Rates},
    time, uploads,
    vault::Vault,
    webhooks,
};
use genvid_media::{BlobStore, FolderOptions, FolderStore, Signer};
use genvid_testing as servers;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::backend::{self, Backend};

/// Cost of one request at most, as the server has it.
pub(crate) const COMPLEXITY: usize = 20_000;

/// Largest picture that may be uploaded, in bytes.
pub(crate) const MAX_PICTURE: u64 = 100_000;

pub(crate) struct Bench {
    pub(crate) schema: Schema,
    pub(crate) database: Database,
    pub(crate) ann: Arc<User>,
    pub(crate) bob: Arc<User>,
    /// Where files are.
    pub(crate) blobs: Arc<dyn BlobStore>,
    bus: Bus,
    /// Where a worker would listen.
    _nudges: mpsc::UnboundedReceiver<Nudge>,
    _folder: tempfile::TempDir,
    /// Where the database is, if not in the folder.
    _server: Option<Arc<servers::Postgres>>,
}

impl Bench {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (database, server) = open(folder.path()).await;
        let accounts = accounts::Service::new(database.clone());
        let (ann, _) = accounts
            .local_user("ann@example.com", None)
            .await
            .expect("Ann");
        let (bob, _) = accounts
            .local_user("bob@example.com", None)
            .await
            .expect("Bob");
        let (nudge, nudges) = mpsc::unbounded_channel();
        let projects = projects::Service::new(database.clone(), false);
        let bus = Bus::default();
        let registry = Registry::default();
        let health = Health::new(
            database.clone(),
            Rules::default(),
            Duration::from_secs(86_400),
            || (),
        );
        let jobs = jobs::Service::new(
            database.clone(),
            bus.clone(),
            projects.clone(),
            registry.clone(),
            health.clone(),
            Arc::default(),
            false,
            Nudges::new(Some(nudge), None),
        );
        let signer = Signer::new(&[7; 32]).expect("a signer");
        let links = Links::new(signer, "https://genvid.test", Duration::from_secs(60));
        let store = FolderStore::open(FolderOptions {
            root: folder.path().join("media"),
            max_bytes: 1 << 30,
        });
        let blobs: Arc<dyn BlobStore> = Arc::new(store.await.expect("a store"));
        let uploads = uploads::Service::new(
            database.clone(),
            Arc::clone(&blobs),
            links.clone(),
            uploads::Settings {
                max_bytes: MAX_PICTURE,
                ..uploads::Settings::default()
            },
        );
        let services = Services {
            sessions: Sessions::new(
                accounts,
                Keyring::new(
                    database.clone(),
                    Vault::new(&[1; 32], &[]),
                    "https://genvid.test".to_owned(),
                    "genvid".to_owned(),
                ),
                Hasher::new(Cost::default()).expect("a hasher"),
                JobTokens::new(Vault::new(&[1; 32], &[])),
                Rates::new(rates::Limits::default(), None),
                sessions::Settings::default(),
            ),
            billing: billing::Service::new(database.clone()),
            payments: payments::Service::new(database.clone(), payments::Sold::default()),
            projects,
            jobs,
            catalog: Catalog::new(registry.clone()),
            health,
            secrets: Secrets::new(database.clone(), Vault::new(&[1; 32], &[])),
            registry,
            links,
            uploads,
            webhooks: webhooks::Service::new(
                database.clone(),
                Vault::new(&[1; 32], &[]),
                Arc::default(),
            ),
        };
        let limits = Limits {
            complexity: COMPLEXITY,
            introspection: true,
        };
        Self {
            schema: graphql::schema(services, limits),
            database,
            ann: Arc::new(ann),
            bob: Arc::new(bob),
            blobs,
            bus,
            _nudges: nudges,
            _folder: folder,
            _server: server,
        }
    }

    /// The whole answer to `user`, or to nobody.
    pub(crate) async fn answer(
        &self,
        user: Option<&Arc<User>>,
        query: &str,
        variables: Value,
    ) -> Value {
        use genvid::graphql::Executor as _;
        let response = self.schema.execute(request(user, query, variables)).await;
        serde_json::to_value(response).expect("JSON")
    }

    /// The answer to Ann as it is written.
    pub(crate) async fn text(&self, query: &str) -> String {
        use genvid::graphql::Executor as _;
        let request = request(Some(&self.ann), query, json!({}));
        serde_json::to_string(&self.schema.execute(request).await).expect("JSON")
    }

    /// The data that Ann gets; an error fails the test.
    pub(crate) async fn data(&self, query: &str, variables: Value) -> Value {
        let mut answer = self.answer(Some(&self.ann), query, variables).await;
        assert_eq!(answer.get("errors"), None, "{query}");
        answer["data"].take()
    }

    /// The one error that Ann gets.
    pub(crate) async fn error(&self, query: &str, variables: Value) -> Value {
        let mut answer = self.answer(Some(&self.ann), query, variables).await;
        let errors = answer["errors"].as_array_mut().expect("errors");
        assert_eq!(errors.len(), 1, "{errors:?}");
        errors.remove(0)
    }

    /// What Ann's subscription tells.
    pub(crate) fn follow(
        &self,
        query: &str,
        variables: Value,
    ) -> impl Stream<Item = Value> + Unpin + use<> {
        use genvid::graphql::Executor as _;
        let request = request(Some(&self.ann), query, variables);
        self.schema
            .execute_stream(request, None)
            .map(|response| serde_json::to_value(response).expect("JSON"))
    }

    pub(crate) async fn create_project(&self, name: &str) -> String {
        let data = self
            .data(
                "mutation ($input: CreateProjectInput!) { createProject(input: $input) {
                    ... on CreateProjectSuccess { project { id } } } }",
                json!({ "input": { "name": name } }),
            )
            .await;
        data["createProject"]["project"]["id"]
            .as_str()
            .expect("an id")
            .to_owned()
    }

    /// Accepts a video job of Ann's as the service would with a provider installed.
    pub(crate) async fn accept_video(&self, project: Option<&str>) -> JobId {
        let id = JobId::generate();
        let now = time::now();
        let input = JobInput::Video(VideoInput {
            product: ProductBrief::default(),
            script: Some("Hello there.".to_owned()),
            language: "en".to_owned(),
            aspect: Aspect::Portrait,
            provider: None,
            exclude: Vec::new(),
            only: None,
            avatar: None,
            voice_provider: None,
            voice: None,
            images: Vec::new(),
            max_seconds: None,
            subtitles: SubtitleMode::Sidecar,
            options: Value::Null,
            reuse: true,
            edit: None,
        });
        let steps = (0_i64..)
            .zip(input.plan(false))
            .map(|(position, kind)| Step {
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
            })
            .collect();
        let job = Job {
            id,
            owner: self.ann.id,
            project: project.map(|id| id.parse::<ProjectId>().expect("a project's id")),
            kind: input.kind(),
            status: JobStatus::Queued,
            input,
            error: None,
            cancel_requested: false,
            last_seq: 0,
            deadline: now.after(Duration::from_secs(600)),
            created_at: now,
            completed_at: None,
        };
        let new = NewJob {
            job,
            steps,
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
        self.bus.publish(events);
        id
    }

    /// Takes the job's first step in hand as a worker would, lets `work` change it, and
    /// writes what comes of it.
    pub(crate) async fn work(&self, job: JobId, work: impl FnOnce(&mut Change)) {
        let claimed = self
            .database
            .claim_steps(
                NodeId::generate(),
                Duration::from_secs(30),
                1_000,
                &[],
                &genvid::jobs::store::Rota::default(),
            )
            .await
            .expect("claimed")
            .into_iter()
            .find(|claimed| claimed.step.job == job)
            .expect("the job has a step that is due");
        let mut change = Change {
            fence: claimed.fence,
            step: claimed.step,
            keep_lease: false,
            attempt: None,
            next: None,
            done: None,
            job: None,
            events: Vec::new(),
            media: Vec::new(),
        };
        work(&mut change);
        match self.database.apply(change).await.expect("applied") {
            Applied::Done { events, .. } => self.bus.publish(events),
            Applied::Lost => panic!("somebody else holds the step"),
        }
    }
}

/// A fresh database, where the environment asks for it.
async fn open(folder: &Path) -> (Database, Option<Arc<servers::Postgres>>) {
    if backend::wanted() == Backend::Embedded {
        return (Database::open(folder).await.expect("a database"), None);
    }
    let server = backend::server();
    let place = server.database().expect("a database");
    let options = PostgresOptions {
        url: place.url.into(),
        owner_url: place.owner_url.into(),
        role: "genvid_app".to_owned(),
        worker_role: "genvid_worker".to_owned(),
        max_connections: 8,
        migrate: true,
    };
    let database = Database::connect(&options).await.expect("it opens");
    (database, Some(server))
}

/// A try of a step, refused or accepted.
pub(crate) fn attempt(step: &Step, number: i64, charge: Charge, cost: Option<i64>) -> Attempt {
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
        charge,
        vendor_task: Some("task-1".to_owned()),
        request: json!({}),
        delivered: None,
        error: None,
        cost_micro_usd: cost,
        max_credits: 0,
        credits: 0,
        submitted_at: time::now(),
        accepted_at: Some(time::now()),
        uncertain_at: None,
        finished_at: None,
    }
}

/// A film in the store.
pub(crate) fn film(job: JobId) -> StoredFile {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    StoredFile {
        id: MediaId::generate(),
        key: format!("jobs/{job}/assets/film-{number}.mp4"),
        mime: "video/mp4".to_owned(),
        size: 1_000,
        sha256: "00".repeat(32),
        duration_ms: Some(12_340),
        width: Some(720),
        height: Some(1_280),
    }
}

/// The job is done, with a film.
pub(crate) fn succeed(change: &mut Change, owner: &User) {
    change.step.status = StepStatus::Succeeded;
    change.step.due_at = None;
    let job = change.step.job;
    change.media.push((owner.id, MediaRole::Video, film(job)));
    change.job = Some(JobChange {
        status: JobStatus::Succeeded,
        error: None,
    });
    change
        .events
        .push(NewEvent::step(EventType::StepSucceeded, StepKind::Voice));
    change.events.push(NewEvent::job(EventType::JobSucceeded));
}

fn request(user: Option<&Arc<User>>, query: &str, variables: Value) -> Request {
    Request::new(query)
        .variables(Variables::from_json(variables))
        .data(Caller {
            user: user.map(Arc::clone),
            ..Caller::default()
        })
}
