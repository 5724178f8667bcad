//! Rows 11 and 13: a thousand subscribers, beside bare WebSockets that send a frame made once.

use std::{
    net::Ipv4Addr,
    path::Path,
    process::Command,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use axum::{
    Router,
    body::Bytes,
    extract::{
        State,
        ws::{Message, Utf8Bytes, WebSocket, WebSocketUpgrade},
    },
    response::Response,
    routing::{any, get, post},
    serve::ListenerExt as _,
};
use serde_json::json;
use tokio::{
    sync::{broadcast, mpsc},
    task::JoinSet,
};

use crate::{
    client::{Connection, Subscription},
    latency::stamp,
    process::{Process, free_port, own},
    rounds::{Amount, Figure, Measured, Plan, Row, Side, Target, cpu_of, measure},
    server::{Backend, Server, begin, memory_of},
    vendor::{Vendor, Work},
    whole::{QUICK, in_parallel},
};

pub(crate) const BURST: Row = Row {
    number: 11,
    name: "burst to subscribers",
    unit: "frame",
    baseline: "bare WebSockets",
    // 0.6 times as many.
    target: Target::Times(1.67),
};
pub(crate) const MEMORY: Row = Row {
    number: 13,
    name: "memory of a subscriber",
    unit: "connection",
    baseline: "a bare WebSocket",
    target: Target::Times(2.0),
};

const SUBSCRIBERS: u64 = 1_000;
/// Events of a job that is done at its first look.
const EVENTS: u64 = 10;
/// Jobs of a round: what they cost themselves is little beside what a thousand hear of them.
const JOBS: u64 = 20;
const AT_ONCE: Work = Work { looks: 0, ..QUICK };
const FOLLOW: &str = "subscription { myJobEvents { jobId seq type at step message } }";
/// What the bare server sends: as long as an event.
const FRAME: &str = "{\"id\":\"1\",\"type\":\"next\",\"payload\":{\"data\":{\"myJobEvents\":{\
    \"jobId\":\"job_01234567-89ab-cdef-0123-456789abcdef\",\"seq\":4,\"type\":\"ATTEMPT_STARTED\",\
    \"at\":\"2026-01-01T00:00:00.000Z\",\"step\":\"SCRIPT\",\"message\":\"Calling Test guest (try 1)\"}}}}";
/// How the last event of a job is known.
const LAST: &str = "JOB_SUCCEEDED";
/// The same of the bare server.
const LAST_FRAME: &str = "{\"type\":\"next\",\"payload\":\"JOB_SUCCEEDED\"}";

/// What somebody subscribes to who wants frames of his own.
pub(crate) const FOLLOW_TICKS: &str = "subscription { ticks }";

/// The bare server's topics: one for all, and one for each that wants his own.
#[derive(Clone)]
struct Frames {
    all: broadcast::Sender<Utf8Bytes>,
    each: Arc<Mutex<Vec<mpsc::UnboundedSender<Utf8Bytes>>>>,
}

async fn attend(mut socket: WebSocket, frames: Frames) {
    // `connection_init` and `subscribe`, as far as a client of that protocol needs an answer.
    let ack = json!({"type": "connection_ack"}).to_string();
    if socket.recv().await.is_none() || socket.send(Message::text(ack)).await.is_err() {
        return;
    }
    let Some(Ok(Message::Text(subscribe))) = socket.recv().await else {
        return;
    };
    if subscribe.contains("ticks") {
        let (tell, mut hear) = mpsc::unbounded_channel();
        (frames.each.lock().unwrap_or_else(PoisonError::into_inner)).push(tell);
        while let Some(frame) = hear.recv().await {
            if socket.send(Message::Text(frame)).await.is_err() {
                return;
            }
        }
        return;
    }
    let mut frames = frames.all.subscribe();
    while let Ok(frame) = frames.recv().await {
        if socket.send(Message::Text(frame)).await.is_err() {
            return;
        }
    }
}

/// Sends as many frames as the body says to everybody.
async fn burst(State(frames): State<Frames>, body: Bytes) -> Result<(), String> {
    let count = number(&body)?;
    for number in 1..=count {
        let frame = match number.is_multiple_of(EVENTS) {
            true => Utf8Bytes::from_static(LAST_FRAME),
            false => Utf8Bytes::from_static(FRAME),
        };
        (frames.all.send(frame)).map_err(|error| error.to_string())?;
        // Whoever writes to the sockets gets a turn.
        if number.is_multiple_of(16) {
            tokio::task::yield_now().await;
        }
    }
    Ok(())
}

fn number(body: &Bytes) -> Result<u64, String> {
    let text = std::str::from_utf8(body).ok();
    let number = text.and_then(|text| text.parse().ok());
    number.ok_or_else(|| "no number".to_owned())
}

/// Tells somebody the time each millisecond, one after the other, so many times.
async fn ticks(State(frames): State<Frames>, body: Bytes) -> Result<(), String> {
    let count = number(&body)?;
    let each = (frames.each.lock().unwrap_or_else(PoisonError::into_inner)).clone();
    tokio::spawn(async move {
        let mut tick = tokio::time::interval(Duration::from_millis(1));
        for to in each
            .iter()
            .cycle()
            .take(usize::try_from(count).unwrap_or(usize::MAX))
        {
            tick.tick().await;
            let message = format!("@{}", stamp());
            let payload =
                json!({"data": {"jobEvents": {"type": "STEP_PROGRESS", "message": message}}});
            let frame = json!({"id": "1", "type": "next", "payload": payload}).to_string();
            // Whoever is gone hears nothing.
            let _ = to.send(frame.into());
        }
    });
    Ok(())
}

/// Has the bare server tell so many stamps.
pub(crate) async fn tick(port: u16, count: u64) -> anyhow::Result<()> {
    // The last ones are there before anything is told.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut connection = Connection::open(port).await?;
    let request = crate::client::post("/ticks", &json!(count), None);
    connection.ask(&request).await?;
    Ok(())
}

/// The baseline.
pub(crate) async fn bare_sockets(port: u16) -> anyhow::Result<()> {
    let frames = Frames {
        all: broadcast::channel(16_384).0,
        each: Arc::default(),
    };
    let upgrade = |State(frames): State<Frames>, upgrade: WebSocketUpgrade| async move {
        let upgrade = upgrade
            .protocols(["graphql-transport-ws"])
            .read_buffer_size(4_096);
        let answer: Response = upgrade.on_upgrade(move |socket| attend(socket, frames));
        answer
    };
    let router = Router::new()
        .route("/livez", get(|| async { "ok" }))
        .route("/graphql", any(upgrade))
        .route("/burst", post(burst))
        .route("/ticks", post(ticks))
        .with_state(frames);
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    let listener = listener.tap_io(|stream| {
        // Without it frames are only slower.
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, router).await?;
    Ok(())
}

pub(crate) fn start_bare() -> anyhow::Result<(Process, u16)> {
    let port = free_port()?;
    let mut command = Command::new(own()?);
    command.args(["bare-sockets", &port.to_string()]);
    let mut process = Process::start(&mut command)?;
    process.first_answer(port)?;
    Ok((process, port))
}

/// Everybody who listens, and what they have heard.
struct Crowd {
    listeners: JoinSet<anyhow::Result<()>>,
    frames: Arc<AtomicU64>,
    ends: Arc<AtomicU64>,
    size: u64,
}

impl Crowd {
    async fn gather(port: u16, token: &str, size: u64, follow: &str) -> anyhow::Result<Self> {
        let mut crowd = Self {
            listeners: JoinSet::new(),
            frames: Arc::default(),
            ends: Arc::default(),
            size,
        };
        for _ in 0..size {
            let mut subscription = Subscription::open(port, token, follow).await?;
            let (frames, ends) = (Arc::clone(&crowd.frames), Arc::clone(&crowd.ends));
            crowd.listeners.spawn(async move {
                loop {
                    let frame = subscription.hear().await?;
                    frames.fetch_add(1, Ordering::Relaxed);
                    if frame.contains(LAST) {
                        ends.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        // The last ones are heard before anything is told.
        tokio::time::sleep(Duration::from_millis(300)).await;
        Ok(crowd)
    }

    /// Waits until everybody has heard of so many ends more than before.
    async fn hear(&self, before: u64, jobs: u64) -> anyhow::Result<()> {
        let wanted = before + jobs * self.size;
        let all = async {
            while self.ends.load(Ordering::Relaxed) < wanted {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let heard = tokio::time::timeout(Duration::from_secs(60), all).await;
        anyhow::ensure!(heard.is_ok(), "frames are lost");
        Ok(())
    }
}

fn jobs_of(units: u64) -> u64 {
    (units / (EVENTS * SUBSCRIBERS)).max(1)
}

struct Bare {
    process: Process,
    port: u16,
    crowd: Crowd,
}

#[async_trait]
impl Side for Bare {
    async fn run(&mut self, units: u64) -> anyhow::Result<()> {
        let jobs = jobs_of(units);
        let before = self.crowd.ends.load(Ordering::Relaxed);
        let mut connection = Connection::open(self.port).await?;
        let request = crate::client::post("/burst", &json!(jobs * EVENTS), None);
        connection.ask(&request).await?;
        self.crowd.hear(before, jobs).await
    }

    fn cpu(&self) -> Option<Duration> {
        cpu_of(self.process.id())
    }
}

struct Told {
    server: Server,
    crowd: Crowd,
}

#[async_trait]
impl Side for Told {
    async fn run(&mut self, units: u64) -> anyhow::Result<()> {
        let jobs = jobs_of(units);
        let ends = self.crowd.ends.load(Ordering::Relaxed);
        let frames = self.crowd.frames.load(Ordering::Relaxed);
        let port = self.server.port;
        in_parallel(jobs, jobs, |_| async move {
            let mut connection = Connection::open(port).await?;
            begin(&mut connection, AT_ONCE).await?;
            Ok(())
        })
        .await?;
        self.crowd.hear(ends, jobs).await?;
        let told = self.crowd.frames.load(Ordering::Relaxed) - frames;
        let wanted = jobs * EVENTS * self.crowd.size;
        anyhow::ensure!(told == wanted, "{told} frames instead of {wanted}");
        Ok(())
    }

    fn cpu(&self) -> Option<Duration> {
        cpu_of(self.server.pid())
    }
}

pub(crate) async fn burst_row(
    plan: &Plan,
    backend: Backend,
    guest: &Path,
) -> anyhow::Result<Measured> {
    let size = plan.units(SUBSCRIBERS);
    let (process, port) = start_bare()?;
    let mut bare = Bare {
        crowd: Crowd::gather(port, "", size, FOLLOW).await?,
        process,
        port,
    };
    let vendor = Arc::new(Vendor::start()?);
    let server = Server::start(backend, guest, vendor).await?;
    let mut told = Told {
        crowd: Crowd::gather(server.port, server.token(), size, FOLLOW).await?,
        server,
    };
    measure(
        plan,
        BURST,
        JOBS * EVENTS * SUBSCRIBERS,
        &mut bare,
        &mut told,
    )
    .await
}

pub(crate) async fn memory_row(
    plan: &Plan,
    backend: Backend,
    guest: &Path,
) -> anyhow::Result<Measured> {
    let size = plan.units(SUBSCRIBERS);
    let (process, port) = start_bare()?;
    let bare = grown(process.id(), port, "", size, FOLLOW).await?;
    let vendor = Arc::new(Vendor::start()?);
    let server = Server::start(backend, guest, vendor).await?;
    let own = grown(server.pid(), server.port, server.token(), size, FOLLOW).await?;
    let figure = |bytes| Figure {
        amount: Amount::Bytes(bytes),
        cpu: None,
    };
    Ok(Measured {
        row: MEMORY,
        baseline: figure(bare),
        subject: figure(own),
        times: own / bare,
        notes: vec![format!("{size} connections")],
    })
}

/// What a process takes more for each of its listeners.
async fn grown(pid: u32, port: u16, token: &str, size: u64, follow: &str) -> anyhow::Result<f64> {
    // What the first ones need is not theirs alone.
    drop(Crowd::gather(port, token, size.div_ceil(10), follow).await?);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = memory_of(pid)?;
    let crowd = Crowd::gather(port, token, size, follow).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let after = memory_of(pid)?;
    drop(crowd);
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    Ok(after.saturating_sub(before) as f64 / size as f64)
}
