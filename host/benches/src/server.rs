//! The server as whole rows measure it: with the guest as its only plugin and the vendor that the suite
//! plays, its rows in a file or in PostgreSQL, and everything that is durable, durable.

use std::{fs, path::Path, process::Command, sync::Arc};

use anyhow::Context as _;
use clap::ValueEnum;
use genvid_testing::{Postgres, Redis};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    client::{Connection, question},
    process::{Process, free_port, genvid},
    vendor::{Vendor, Work},
};

/// Where the server keeps its rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Backend {
    /// In a file.
    #[default]
    Sqlite,
    /// In a PostgreSQL server of the suite's own, which flushes each commit.
    Postgres,
}

/// Token of the server's user.
const TOKEN: &str = "gv_bench00000000000000000000000000000000000bench";

const WRITE: &str = "mutation($input: GenerateScriptInput!) { generateScript(input: $input) { \
    ... on GenerateScriptSuccess { job { id } } ... on Problem { code message } } }";

/// A server that runs.
pub(crate) struct Server {
    process: Process,
    pub(crate) port: u16,
    _vendor: Arc<Vendor>,
    /// Of the server, as long as it runs.
    _data: TempDir,
    _postgres: Option<Postgres>,
}

impl Server {
    pub(crate) async fn start(
        backend: Backend,
        guest: &Path,
        vendor: Arc<Vendor>,
    ) -> anyhow::Result<Self> {
        let (postgres, environment) = match backend {
            Backend::Sqlite => (None, Vec::new()),
            Backend::Postgres => {
                let server = Postgres::start_durable()?;
                let environment = connect(&server)?;
                (Some(server), environment)
            }
        };
        let mut server = Self::launch(guest, vendor, "all", &environment)?;
        server._postgres = postgres;
        Ok(server)
    }

    fn launch(
        guest: &Path,
        vendor: Arc<Vendor>,
        role: &str,
        environment: &[(&str, String)],
    ) -> anyhow::Result<Self> {
        let data = TempDir::with_prefix("genvid-bench-")?;
        let plugins = data.path().join("plugins");
        fs::create_dir(&plugins)?;
        fs::copy(guest, plugins.join("test-guest.wasm"))
            .with_context(|| format!("{} is not there", guest.display()))?;
        let config = data.path().join("genvid.toml");
        let vendor_port = vendor.port;
        fs::write(
            &config,
            format!(
                "[jobs]\nin_flight_per_user = 100000\n\
                 [log]\nfilter = \"warn\"\n\
                 [limits]\ngenerate = \"off\"\n\
                 [graphql]\nmax_sockets_per_user = 2000\n\
                 [media]\nfolder_is_shared = true\n\
                 [development]\nuser = \"bench@example.com\"\ntoken = \"{TOKEN}\"\n\
                 credits = 1000000000\n\
                 [providers.test-guest]\nconcurrency = 10000\n\
                 secrets = {{ VENDOR_API_KEY = \"bench-0123456789\", VENDOR_ISSUER = \"bench\", \
                 VENDOR_HOOK = \"bench-0123456789\" }}\n\
                 reroute = {{ \"api.vendor.example\" = \"http://127.0.0.1:{vendor_port}\", \
                 \"files.media.example\" = \"http://127.0.0.1:{vendor_port}\" }}\n"
            ),
        )?;
        let port = free_port()?;
        let mut command = Command::new(genvid()?);
        command
            .args([
                "serve",
                "--role",
                role,
                "--port",
                &port.to_string(),
                "--config",
            ])
            .arg(&config)
            .arg("--data-dir")
            .arg(data.path().join("data"))
            .arg("--plugins")
            .arg(&plugins)
            .envs(environment.iter().map(|(name, value)| (name, value)));
        let mut process = Process::start_heard(&mut command)?;
        process.first_answer(port)?;
        Ok(Self {
            process,
            port,
            _vendor: vendor,
            _data: data,
            _postgres: None,
        })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn token(&self) -> &'static str {
        TOKEN
    }
}

/// What a server is told of a fresh database.
fn connect(postgres: &Postgres) -> anyhow::Result<Vec<(&'static str, String)>> {
    let database = postgres.database()?;
    // With several nodes it is in the environment, with one as well.
    let key = "YmVuY2gtYmVuY2gtYmVuY2gtYmVuY2gtYmVuY2gtMDE=";
    Ok(vec![
        ("DATABASE_URL", database.url),
        ("GENVID__DATABASE__OWNER_URL", database.owner_url),
        ("GENVID_ENCRYPTION_KEY", key.to_owned()),
    ])
}

/// A node that answers and one that moves jobs on.
pub(crate) struct Cluster {
    api: Server,
    _worker: Server,
    _redis: Redis,
    _postgres: Postgres,
}

impl Cluster {
    pub(crate) async fn start(
        guest: &Path,
        vendor: Arc<Vendor>,
        redis: Redis,
    ) -> anyhow::Result<Self> {
        let postgres = Postgres::start_durable()?;
        let mut environment = connect(&postgres)?;
        environment.push(("REDIS_URL", redis.url()));
        Ok(Self {
            api: Server::launch(guest, Arc::clone(&vendor), "api", &environment)?,
            _worker: Server::launch(guest, vendor, "worker", &environment)?,
            _redis: redis,
            _postgres: postgres,
        })
    }

    pub(crate) fn port(&self) -> u16 {
        self.api.port
    }

    pub(crate) fn token(&self) -> &'static str {
        TOKEN
    }
}

/// Has work done; its job.
pub(crate) async fn begin(connection: &mut Connection, work: Work) -> anyhow::Result<String> {
    let key = uuid::Uuid::new_v4().to_string();
    let mut options = serde_json::to_value(work)?;
    options["do"] = Value::from("work");
    let input = json!({
        "brief": format!("Work {key}."), "language": "en", "provider": "test-guest",
        "reuse": false, "idempotencyKey": key, "options": options,
    });
    let request = question(WRITE, &json!({ "input": input }), Some(TOKEN));
    let data = connection.data(&request).await?;
    let job = data["generateScript"]["job"]["id"].as_str();
    Ok(job.with_context(|| data.to_string())?.to_owned())
}

/// Memory of a process that lies in RAM, in bytes (proc_pid_status(5): `VmRSS`).
pub(crate) fn memory_of(pid: u32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = (status.lines()).find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: u64 = (line.and_then(|rest| rest.split_whitespace().next()))
        .context("no VmRSS")?
        .parse()?;
    Ok(kib * 1_024)
}
