//! A server and its vendors, apart from those of every other test.

use std::{
    collections::BTreeMap,
    fs::Permissions,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use genvid_testkit::{
    Fault, Handle, Options, Profile, ResendHandle, Simulators, StripeHandle, Vendor,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::backend::{self, Backend};

use super::{
    client::Client,
    database::Database,
    outside::Outside,
    plugins::{self, Edit},
    server::{self, Launch, Server},
    text,
};

/// Token of the usual local user.
pub(crate) const TOKEN: &str = "gv_e2e0000000000000000000000000000000000000000test";
/// What the usual short film says.
pub(crate) const WORDS: &str = "Cold water, all day. Try Aurora now.";

/// What a world is made of.
#[derive(Debug)]
pub(crate) struct Setup {
    profile: Profile,
    env: Vec<(String, String)>,
    callbacks: bool,
    edits: Vec<Edit>,
    /// First and longest wait between two polls, in milliseconds; nothing: as shipped.
    polls: Option<(u32, u32)>,
    guest: bool,
    backend: Backend,
    redis: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            // Long enough for the answer of the creating call to be written down before the
            // vendor's callback comes; short enough for hundreds of films.
            profile: Profile {
                render: Duration::from_millis(300),
                speak: Duration::from_millis(20),
                write: Duration::from_millis(100),
                distinct_films: false,
                ..Profile::instant()
            },
            // What is limited has tests of its own; the others ask for more.
            env: ["GENERATE", "CREATE_PROJECT", "API_KEY"]
                .map(|name| (format!("GENVID__LIMITS__{name}"), "off".to_owned()))
                .to_vec(),
            callbacks: true,
            edits: Vec::new(),
            polls: Some((300, 500)),
            guest: false,
            backend: backend::wanted(),
            redis: true,
        }
    }
}

impl Setup {
    /// How quick the vendors are.
    pub(crate) fn profile(mut self, change: impl FnOnce(&mut Profile)) -> Self {
        change(&mut self.profile);
        self
    }

    /// A setting by environment, for example `jobs.retry_base_ms`.
    pub(crate) fn set(mut self, path: &str, value: impl ToString) -> Self {
        let name = format!("GENVID__{}", path.replace('.', "__").to_uppercase());
        self.env.push((name, value.to_string()));
        self
    }

    /// The server has no public address: vendors cannot call back.
    pub(crate) fn without_callbacks(mut self) -> Self {
        self.callbacks = false;
        self
    }

    /// Changes a plugin's manifest.
    pub(crate) fn manifest(mut self, id: &'static str, find: &'static str, put: &str) -> Self {
        let put = put.to_owned();
        self.edits.push(Edit { id, find, put });
        self
    }

    /// How often tasks of films are asked for: the first and the longest wait, in milliseconds.
    pub(crate) fn polls(mut self, first: u32, longest: u32) -> Self {
        self.polls = Some((first, longest));
        self
    }

    /// Plugins exactly as they are shipped. Vendors that work for minutes are asked every few
    /// seconds; simulated ones are quicker, so that other worlds ask sooner.
    pub(crate) fn with_shipped_plugins(mut self) -> Self {
        self.polls = None;
        self
    }

    /// With what is embedded, whatever the environment asks for.
    pub(crate) fn embedded(mut self) -> Self {
        self.backend = Backend::Embedded;
        self
    }

    /// With PostgreSQL, Redis and S3, whatever the environment asks for.
    pub(crate) fn on_servers(mut self) -> Self {
        self.backend = Backend::Servers;
        self
    }

    /// With servers, but nodes cannot hear each other.
    pub(crate) fn without_redis(mut self) -> Self {
        self.redis = false;
        self
    }

    /// Installs the guest that misbehaves on request, too.
    pub(crate) fn with_guest(mut self) -> Self {
        self.guest = true;
        self
    }

    /// Starts everything.
    pub(crate) async fn start(self) -> World {
        let world = self.start_vendors().await;
        world.with_server().await
    }

    /// The same, with mail that goes to the simulated vendor.
    pub(crate) async fn start_with_mail(self) -> World {
        let mut world = self
            .set("mail.delivery", "resend")
            .set("mail.from", "\"Aurora <no-reply@example.com>\"")
            .set("mail.per_second", 50)
            .start_vendors()
            .await;
        let resend = world.resend();
        for (name, value) in [
            ("GENVID__MAIL__RESEND_URL", resend.url()),
            ("RESEND_API_KEY", resend.api_key()),
            ("RESEND_WEBHOOK_SECRET", resend.webhook_secret()),
        ] {
            (world.launch.env).push((name.to_owned(), value.to_owned()));
        }
        let world = world.with_server().await;
        resend.listen(&format!("{}/hooks/mail/resend", world.server().url));
        resend.verify_domain("example.com");
        world
    }

    /// Starts the vendors only, with everything prepared for a server.
    pub(crate) async fn start_vendors(self) -> World {
        let folder = TempDir::with_prefix("genvid-e2e-").expect("a folder for the world");
        let kept = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        let options = Options {
            profile: self.profile,
            // Films of equal length are the same film in every world: encoded once.
            data_dir: Some(kept.join("e2e-vendors")),
            ..Options::default()
        };
        let vendors = Simulators::start(options)
            .await
            .expect("the simulators start");
        let simulators = folder.path().join("simulators.json");
        write_json(
            &simulators,
            &json!({"pid": std::process::id(), "simulators": vendors.urls()}),
        );
        let mut edits = self.edits;
        for (id, find) in self.polls.iter().flat_map(|_| POLLS) {
            let (first, longest) = self.polls.unwrap_or_default();
            let put = format!("poll_after_ms={first}\npoll_max_ms={longest}");
            edits.push(Edit { id, find, put });
        }
        plugins::install(&folder.path().join("plugins"), &edits, self.guest);
        let data = folder.path().join("data");
        let config = folder.path().join("genvid.toml");
        std::fs::write(&config, CONFIG).expect("a settings file");
        let port = server::free_port();
        let mut env: Vec<(String, String)> = USUAL
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        if self.callbacks {
            let url = format!("http://127.0.0.1:{port}");
            env.push(("GENVID__SERVER__PUBLIC_URL".to_owned(), url));
        }
        let database = Database::new(self.backend, &data);
        env.extend(database.settings());
        let outside = Outside::start(self.backend).await;
        env.extend(outside.iter().flat_map(Outside::settings));
        env.retain(|(name, _)| self.redis || name != "REDIS_URL");
        env.extend(self.env);
        let launch = Launch {
            plugins: folder.path().join("plugins"),
            data,
            config,
            simulators,
            env,
            port,
            user: None,
            token: TOKEN.to_owned(),
            folder: folder.path().to_owned(),
        };
        World {
            server: None,
            launch,
            vendors,
            database,
            outside,
            keys: AtomicU32::new(0),
            _folder: folder,
        }
    }
}

/// What the manifests say of polls.
const POLLS: [(&str, &str); 2] = [
    ("heygen", "poll_after_ms = 5_000\npoll_max_ms = 30_000"),
    ("kling", "poll_after_ms = 10_000\npoll_max_ms = 30_000"),
];

/// Settings that every world has: waits that a test can live with, and credits enough.
const USUAL: [(&str, &str); 6] = [
    ("GENVID__JOBS__RETRY_BASE_MS", "50"),
    ("GENVID__JOBS__LEASE_SECONDS", "3"),
    ("GENVID__SERVER__DRAIN_SECONDS", "3"),
    ("GENVID__MEDIA__STUDIO_THREADS", "1"),
    ("GENVID__GRAPHQL__MAX_COMPLEXITY", "20000"),
    // Also for thousands of films at once.
    ("GENVID__DEVELOPMENT__CREDITS", "100000000"),
];

/// Simulators write down at once what they accept, so an empty look-up proves it soon.
const CONFIG: &str = "\
[providers.kling]
settle_after_seconds = 1
[providers.elevenlabs]
settle_after_seconds = 1
[providers.openai]
settle_after_seconds = 1
";

/// A server and its vendors. Dropping it ends all of them.
pub(crate) struct World {
    // First, so that it ends before its vendors and its folder.
    server: Option<Server>,
    /// How the server is started.
    pub(crate) launch: Launch,
    vendors: Simulators,
    database: Database,
    outside: Option<Outside>,
    keys: AtomicU32,
    _folder: TempDir,
}

impl World {
    /// With everything as usual.
    pub(crate) async fn start() -> Self {
        Setup::default().start().await
    }

    /// Starts the server of a world that has none.
    pub(crate) async fn with_server(mut self) -> Self {
        // Somebody may have taken the port between choosing and listening.
        for _ in 0..3 {
            match Server::try_start(&self.launch).await {
                Ok(server) => {
                    self.server = Some(server);
                    return self;
                }
                Err(why) if why.contains("cannot listen") => self.move_to_another_port(),
                Err(why) => panic!("the server does not start: {why}"),
            }
        }
        panic!("no port is free");
    }

    fn move_to_another_port(&mut self) {
        let (old, new) = (self.launch.port, server::free_port());
        self.launch.port = new;
        for (_, value) in &mut self.launch.env {
            *value = value.replace(&format!("127.0.0.1:{old}"), &format!("127.0.0.1:{new}"));
        }
    }

    /// One more server over the same rows, with media of its own. Nobody can call it back.
    pub(crate) async fn another_server(&self) -> Server {
        let mut launch = self.launch.clone();
        launch.folder = self.launch.folder.join("another");
        std::fs::create_dir_all(&launch.folder).expect("a folder for the server");
        launch.data = launch.folder.join("data");
        launch.port = server::free_port();
        launch
            .env
            .retain(|(name, _)| name != "GENVID__SERVER__PUBLIC_URL");
        Server::start(&launch).await
    }

    /// The binary with the settings of the server, to be run beside it.
    pub(crate) fn command_beside(&self, words: &[&str]) -> std::process::Command {
        let mut command = server::command(&self.launch.folder);
        let Launch {
            config,
            data,
            plugins,
            env,
            ..
        } = &self.launch;
        command.args(words);
        for (flag, path) in [
            ("--config", config),
            ("--data-dir", data),
            ("--plugins", plugins),
        ] {
            command.arg(flag).arg(path);
        }
        command.envs(env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs it to its end.
    pub(crate) async fn run_beside(&self, words: &[&str]) -> std::process::Output {
        let mut command = self.command_beside(words);
        tokio::task::spawn_blocking(move || command.output().expect("the binary runs"))
            .await
            .expect("it was waited for")
    }

    /// The server; panics while there is none.
    pub(crate) fn server(&self) -> &Server {
        self.server.as_ref().expect("the server runs")
    }

    /// The server, to be ended.
    pub(crate) fn server_mut(&mut self) -> &mut Server {
        self.server.as_mut().expect("the server runs")
    }

    /// A client that is signed in at the server as it runs now.
    pub(crate) fn client(&self) -> Client {
        self.server().client()
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill();
        }
    }

    /// Starts the server again, on the same port and the same data.
    pub(crate) async fn start_again(&mut self) {
        self.kill();
        self.server = Some(Server::start(&self.launch).await);
    }

    /// SIGKILL and a new start.
    pub(crate) async fn kill_and_start_again(&mut self) {
        self.kill();
        self.start_again().await;
    }

    /// The controls of a vendor.
    pub(crate) fn vendor(&self, vendor: Vendor) -> Handle {
        self.vendors.vendor(vendor)
    }

    /// The controls of the mail vendor.
    pub(crate) fn resend(&self) -> ResendHandle {
        self.vendors.resend()
    }

    /// The payment vendor.
    pub(crate) fn stripe(&self) -> StripeHandle {
        self.vendors.stripe()
    }

    /// Arms faults at a vendor.
    pub(crate) fn fault(&self, vendor: Vendor, faults: impl IntoIterator<Item = Fault>) {
        let faults = faults.into_iter().collect();
        self.vendor(vendor)
            .add_faults(faults)
            .expect("faults of that vendor");
    }

    /// Whether every armed fault has struck.
    pub(crate) fn assert_faults_struck(&self, vendor: Vendor) {
        let left = self.vendor(vendor).faults();
        assert!(left.is_empty(), "never struck: {left:?}");
    }

    /// An idempotency key that this world has not used.
    pub(crate) fn key(&self) -> String {
        format!("key-{}", self.keys.fetch_add(1, Ordering::Relaxed))
    }

    /// The wish for a short film of `project`, with `more` on top. Tests count what vendors are
    /// asked: nothing is taken over unless they say so.
    pub(crate) fn wish(&self, project: &str, more: Value) -> Value {
        let mut wish = json!({
            "projectId": project, "script": WORDS, "language": "en", "aspect": "PORTRAIT",
            "subtitles": "NONE", "reuse": false, "idempotencyKey": self.key(),
        });
        lay(&mut wish, more);
        wish
    }

    /// Has a short film made; its job.
    pub(crate) async fn film(&self, more: Value) -> String {
        let client = self.client();
        let project = client.project().await;
        client
            .start("GenerateVideo", self.wish(&project, more))
            .await
    }

    /// Has a script written; its job.
    pub(crate) async fn script(&self, more: Value) -> String {
        let mut wish = json!({
            "brief": "A steel bottle that keeps water cold.", "language": "en", "maxSeconds": 8,
            "reuse": false, "idempotencyKey": self.key(),
        });
        lay(&mut wish, more);
        self.client().start("GenerateScript", wish).await
    }

    /// Has a text spoken; its job.
    pub(crate) async fn voice(&self, more: Value) -> String {
        let mut wish = json!({
            "text": WORDS, "language": "en", "reuse": false, "idempotencyKey": self.key(),
        });
        lay(&mut wish, more);
        self.client().start("GenerateVoice", wish).await
    }

    /// How often a route of a vendor was called, whatever came of it.
    pub(crate) fn calls(&self, vendor: Vendor, route: &str) -> u64 {
        let requests: BTreeMap<String, u64> = self.vendor(vendor).invoice().requests;
        requests.get(route).copied().unwrap_or(0)
    }

    /// What a vendor has on its bill.
    pub(crate) fn billed(&self, vendor: Vendor) -> u64 {
        self.vendor(vendor).invoice().billed
    }

    /// How often a vendor started work.
    pub(crate) fn accepted(&self, vendor: Vendor) -> u64 {
        self.vendor(vendor).invoice().accepted
    }

    /// What `/readyz` says.
    pub(crate) async fn health(&self) -> Value {
        self.client().get_json("/readyz").await
    }

    /// Redis and the store; panics in a world without.
    pub(crate) fn outside(&self) -> &Outside {
        self.outside.as_ref().expect("a world on servers")
    }

    /// The same, to stop and start them.
    pub(crate) fn outside_mut(&mut self) -> &mut Outside {
        self.outside.as_mut().expect("a world on servers")
    }

    /// Whether Redis and S3 are there.
    pub(crate) fn is_on_servers(&self) -> bool {
        self.outside.is_some()
    }

    /// Bytes of media that are kept, parts of unfinished files included.
    pub(crate) fn kept_media(&self) -> u64 {
        match &self.outside {
            Some(outside) => outside.store.kept_bytes(),
            None => walk(&self.launch.data.join("media")),
        }
    }

    /// Files that hold media, and what the store notes beside them.
    pub(crate) fn media_files(&self) -> Vec<PathBuf> {
        fn below(folder: &Path) -> Vec<PathBuf> {
            let entries = std::fs::read_dir(folder).expect("a readable folder");
            entries
                .flat_map(|entry| match entry.expect("an entry").path() {
                    path if path.is_dir() => below(&path),
                    path => vec![path],
                })
                .collect()
        }
        match &self.outside {
            Some(outside) => {
                let objects = outside.store.objects().into_iter();
                objects
                    .flat_map(|path| match path {
                        path if path.is_dir() => below(&path),
                        path => vec![path],
                    })
                    .collect()
            }
            None => below(&self.launch.data.join("media")),
        }
    }

    /// The database, for looking into it from outside.
    pub(crate) fn database(&self) -> Database {
        self.database.clone()
    }
}

fn lay(under: &mut Value, over: Value) {
    for (name, value) in over.as_object().into_iter().flatten() {
        under[name] = value.clone();
    }
}

fn write_json(path: &Path, value: &Value) {
    std::fs::write(path, value.to_string()).expect("a place for a file");
}

/// Compiling the plugins takes seconds, and every world has the same ones. Only this user may
/// write to the folder, or the server refuses it.
pub(crate) fn compiled_plugins() -> String {
    let shared = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("e2e-compiled");
    std::fs::create_dir_all(&shared).expect("a folder for compiled plugins");
    std::fs::set_permissions(&shared, Permissions::from_mode(0o700)).expect("its rights");
    shared.display().to_string()
}

/// The status of a job.
pub(crate) fn status(job: &Value) -> &str {
    text(job, "/status")
}

/// Sizes of all files below a folder.
fn walk(folder: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(folder).expect("a readable folder");
    entries
        .map(|entry| {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                walk(&path)
            } else {
                path.metadata().map_or(0, |file| file.len())
            }
        })
        .sum()
}
