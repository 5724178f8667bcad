//! A vendor whose tasks take as long as whoever begins them says, and cost nothing to make. It runs as a
//! process of its own, and notes how late each look comes.

use std::{
    collections::HashMap,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use axum::{
    Json, Router,
    body::Body,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::{get, post},
    serve::ListenerExt as _,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio_util::io::ReaderStream;

use crate::{
    client::Connection,
    latency::stamp,
    process::{Process, free_port, own},
};

/// What a task is to be.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Work {
    /// Looks that find it unfinished.
    pub(crate) looks: u32,
    /// What is answered to be asked again after, in milliseconds.
    pub(crate) every_ms: u32,
    /// Length of the text that comes of it, in bytes.
    pub(crate) bytes: usize,
    /// Each look is told something new, with the time.
    pub(crate) tell: bool,
}

impl Work {
    /// How long it takes at least, begun with one wait as long as the others.
    pub(crate) fn takes(&self) -> Duration {
        // The first look comes `FIRST` after the beginning, the others after one another.
        FIRST + Duration::from_millis(u64::from(self.every_ms)) * self.looks
    }
}

/// When to look for the first time: as the guest's manifest says.
pub(crate) const FIRST: Duration = Duration::from_millis(10);

/// What a vendor has seen.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// Tasks that were begun.
    pub(crate) begun: u64,
    /// How much later than it said looks came, in microseconds: the middle, and all but a hundredth.
    pub(crate) late_us: [u64; 2],
    /// Requests that came.
    pub(crate) requests: u64,
}

struct Task {
    work: Work,
    left: u32,
    /// When it said it was to be asked again.
    due: Option<Instant>,
}

#[derive(Default)]
struct Desk {
    tasks: HashMap<u64, Task>,
    begun: u64,
    requests: u64,
    late_us: Vec<u64>,
}

type Shared = Arc<Mutex<Desk>>;

fn open(desk: &Shared) -> MutexGuard<'_, Desk> {
    desk.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn begin(State(desk): State<Shared>, Json(work): Json<Work>) -> Json<Value> {
    let mut desk = open(&desk);
    desk.begun += 1;
    desk.requests += 1;
    let id = desk.begun;
    let task = Task {
        work,
        left: work.looks,
        due: None,
    };
    desk.tasks.insert(id, task);
    Json(json!({ "id": id.to_string() }))
}

#[derive(Deserialize)]
struct Question {
    ids: Vec<String>,
}

async fn look(State(desk): State<Shared>, Json(question): Json<Question>) -> Json<Value> {
    let now = Instant::now();
    let mut desk = open(&desk);
    desk.requests += 1;
    let mut answers = Vec::with_capacity(question.ids.len());
    for id in &question.ids {
        let task = id.parse().ok().and_then(|id| desk.tasks.get_mut(&id));
        let Some(task) = task else {
            // Nobody asks again after an end.
            answers.push(json!({ "text": "" }));
            continue;
        };
        let every_ms = task.work.every_ms;
        let late = task.due.map(|due| now.saturating_duration_since(due));
        let done = task.left == 0;
        task.left = task.left.saturating_sub(1);
        task.due = Some(now + Duration::from_millis(u64::from(every_ms)));
        answers.push(if done {
            json!({ "text": script(task.work.bytes) })
        } else {
            let mut working = json!({ "every_ms": every_ms });
            if task.work.tell {
                let left = f64::from(task.left + 1) / f64::from(task.work.looks.max(1));
                working["fraction"] = json!(1.0 - left);
                working["message"] = json!(format!("@{}", stamp()));
            }
            working
        });
        if done {
            let id: Option<u64> = id.parse().ok();
            id.and_then(|id| desk.tasks.remove(&id));
        }
        if let Some(late) = late {
            let late = u64::try_from(late.as_micros()).unwrap_or(u64::MAX);
            desk.late_us.push(late);
        }
    }
    Json(Value::from(answers))
}

/// A script of about so many bytes.
fn script(bytes: usize) -> String {
    json!({
        "title": "Work", "hook": "It is done.",
        "scenes": [{ "narration": "x".repeat(bytes.max(1)), "visual": "Nothing.", "seconds": 1.0 }],
        "call_to_action": "Look.",
    })
    .to_string()
}

/// What was seen since the last time somebody asked.
async fn seen(State(desk): State<Shared>) -> Json<Seen> {
    let mut desk = open(&desk);
    let mut late = std::mem::take(&mut desk.late_us);
    late.sort_unstable();
    let at = |part: usize| late.get(late.len() * part / 100).copied().unwrap_or(0);
    Json(Seen {
        begun: desk.begun,
        late_us: [at(50), at(99)],
        requests: desk.requests,
    })
}

/// Where the film is that somebody may fetch.
pub(crate) const FILM: &str = "/film.mp4";

async fn send(film: Option<PathBuf>) -> Result<Response, StatusCode> {
    let film = film.ok_or(StatusCode::NOT_FOUND)?;
    let file = tokio::fs::File::open(film).await;
    let file = file.map_err(|_| StatusCode::NOT_FOUND)?;
    let length = file
        .metadata()
        .await
        .map_err(|_| StatusCode::NOT_FOUND)?
        .len();
    let body = Body::from_stream(ReaderStream::with_capacity(file, 256 << 10));
    let headers = [
        (header::CONTENT_TYPE, "video/mp4".to_owned()),
        (header::CONTENT_LENGTH, length.to_string()),
    ];
    Ok((headers, body).into_response())
}

/// Plays the vendor; with that film to fetch.
pub(crate) async fn play(port: u16, film: Option<PathBuf>) -> anyhow::Result<()> {
    let router = Router::new()
        .route("/livez", get(|| async { "ok" }))
        .route("/v1/work", post(begin))
        .route("/v1/looks", post(look))
        .route("/seen", post(seen))
        .route(FILM, get(move || send(film.clone())))
        .with_state(Shared::default());
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    let listener = listener.tap_io(|stream| {
        // Without it answers are only slower.
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, router).await?;
    Ok(())
}

/// A vendor that runs.
pub(crate) struct Vendor {
    _process: Process,
    pub(crate) port: u16,
}

impl Vendor {
    pub(crate) fn start() -> anyhow::Result<Self> {
        Self::start_with(None)
    }

    /// With a film that may be fetched.
    pub(crate) fn start_with(film: Option<&Path>) -> anyhow::Result<Self> {
        let port = free_port()?;
        let mut command = Command::new(own()?);
        command.args(["play-vendor", &port.to_string()]).args(film);
        let mut process = Process::start(&mut command)?;
        process.first_answer(port)?;
        Ok(Self {
            _process: process,
            port,
        })
    }

    /// What it has seen since this was asked the last time.
    pub(crate) async fn seen(&self) -> anyhow::Result<Seen> {
        let mut connection = Connection::open(self.port).await?;
        let request = crate::client::post("/seen", &json!({}), None);
        let answer = connection.ask(&request).await?;
        serde_json::from_slice(answer).context("the vendor says something else")
    }
}
