//! Row 15: a small query, signed in, from many clients at a time.

use std::{
    net::Ipv4Addr,
    path::Path,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use async_graphql::{EmptyMutation, EmptySubscription, ID, Object, Schema, SimpleObject};
use async_graphql_axum::GraphQL;
use async_trait::async_trait;
use axum::{Router, routing::get, routing::post_service};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::{
    client::{Connection, find, post},
    process::{Process, free_port, own, serve},
    rounds::{Measured, Plan, Row, Side, Target, cpu_of, measure},
};

pub(crate) const JOB: Row = Row {
    number: 15,
    name: "query of a job",
    unit: "query, 32 clients",
    baseline: "stock async-graphql, memory",
    // At least one and a half times as many.
    target: Target::Times(0.67),
};

/// Clients that ask at a time, each over a connection of its own.
const CLIENTS: u64 = 32;
const QUERY: &str = "query($id: ID!) { job(id: $id) { id kind status progress provider createdAt \
    completedAt lastSeq } }";
/// How long a job may take that asks a simulated vendor.
const PATIENCE: Duration = Duration::from_secs(60);

/// A job in memory.
#[derive(SimpleObject, Clone)]
#[graphql(name = "Job")]
struct Kept {
    id: ID,
    kind: String,
    status: String,
    progress: f64,
    provider: Option<ID>,
    created_at: String,
    completed_at: Option<String>,
    last_seq: i64,
}

struct Query(Kept);

#[Object]
impl Query {
    async fn job(&self, id: ID) -> Option<Kept> {
        (id == self.0.id).then(|| self.0.clone())
    }
}

/// What async-graphql serves as its own documentation shows it, with one job and no database.
pub(crate) async fn stock_server(port: u16) -> anyhow::Result<()> {
    let kept = Kept {
        id: "job".into(),
        kind: "SCRIPT".to_owned(),
        status: "SUCCEEDED".to_owned(),
        progress: 1.0,
        provider: Some("openai".into()),
        created_at: "2026-01-01T00:00:00.000Z".to_owned(),
        completed_at: Some("2026-01-01T00:00:01.000Z".to_owned()),
        last_seq: 9,
    };
    let schema = Schema::new(Query(kept), EmptyMutation, EmptySubscription);
    let router = Router::new()
        .route("/livez", get(|| async { "ok" }))
        .route("/graphql", post_service(GraphQL::new(schema)));
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    axum::serve(listener, router).await?;
    Ok(())
}

/// A server, and the question that it is asked.
struct Asked {
    process: Process,
    port: u16,
    request: Arc<[u8]>,
    /// Of the server, as long as it runs.
    _data: Option<TempDir>,
}

#[async_trait]
impl Side for Asked {
    async fn run(&mut self, units: u64) -> anyhow::Result<()> {
        let each = units.div_ceil(CLIENTS);
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            let (request, port) = (Arc::clone(&self.request), self.port);
            clients.spawn(async move {
                let mut connection = Connection::open(port).await?;
                for _ in 0..each {
                    let answer = connection.ask(&request).await?;
                    anyhow::ensure!(find(answer, b"\"SUCCEEDED\"").is_some(), "a wrong answer");
                }
                anyhow::Ok(())
            });
        }
        while let Some(done) = clients.join_next().await {
            done??;
        }
        Ok(())
    }

    fn cpu(&self) -> Option<Duration> {
        cpu_of(self.process.id())
    }
}

fn stock() -> anyhow::Result<Asked> {
    let port = free_port()?;
    let mut command = Command::new(own()?);
    command.args(["stock-server", &port.to_string()]);
    let mut process = Process::start(&mut command)?;
    process.first_answer(port)?;
    let body = json!({"query": QUERY, "variables": {"id": "job"}});
    Ok(Asked {
        process,
        port,
        request: post("/graphql", &body, None).into(),
        _data: None,
    })
}

async fn genvid(plugins: &Path) -> anyhow::Result<Asked> {
    let data = TempDir::with_prefix("genvid-bench-")?;
    let port = free_port()?;
    let mut command = serve("dev", port, data.path(), plugins)?;
    command.args(["--speed", "instant"]);
    let mut process = Process::start(&mut command)?;
    process.first_answer(port)?;
    let mut connection = Connection::open(port).await?;
    let mut ask = async |query: &str, variables: Value, token: Option<&str>| {
        let body = json!({"query": query, "variables": variables});
        let answer = connection.ask(&post("/graphql", &body, token)).await?;
        let answer: Value = serde_json::from_slice(answer)?;
        anyhow::ensure!(answer.get("errors").is_none(), "{answer}");
        anyhow::Ok(answer["data"].clone())
    };
    let register = "mutation { register(input: {email: \"bench@example.com\",
        password: \"correct horse battery\"}) { ... on AuthSuccess { accessToken } } }";
    let user = ask(register, json!({}), None).await?;
    let token = user["register"]["accessToken"]
        .as_str()
        .context("no token")?
        .to_owned();
    let write = "mutation { generateScript(input: {brief: \"A lamp.\", language: \"en\",
        idempotencyKey: \"bench\"}) { ... on GenerateScriptSuccess { job { id } } } }";
    let job = ask(write, json!({}), Some(&token)).await?;
    let id = job["generateScript"]["job"]["id"]
        .as_str()
        .context("no job")?
        .to_owned();
    let began = Instant::now();
    loop {
        let job = ask(QUERY, json!({"id": id}), Some(&token)).await?;
        if job["job"]["status"] == "SUCCEEDED" {
            break;
        }
        anyhow::ensure!(began.elapsed() < PATIENCE, "the job does not end: {job}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let body = json!({"query": QUERY, "variables": {"id": id}});
    Ok(Asked {
        process,
        port,
        request: post("/graphql", &body, Some(&token)).into(),
        _data: Some(data),
    })
}

pub(crate) async fn job(plan: &Plan, plugins: &Path) -> anyhow::Result<Measured> {
    let (mut stock, mut genvid) = (stock()?, genvid(plugins).await?);
    measure(plan, JOB, 20_000, &mut stock, &mut genvid).await
}
