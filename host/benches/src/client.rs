//! Clients that cost little themselves: HTTP/1.1 over a connection that stays open, and a subscriber.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::oneshot,
    task::JoinHandle,
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async_with_config,
    tungstenite::{
        Message, Utf8Bytes, client::IntoClientRequest as _, http::HeaderValue,
        protocol::WebSocketConfig,
    },
};

use crate::process::local;

/// How long anything may take that is asked for.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection that stays open.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(port: u16) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(local(port)).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: Vec::with_capacity(4_096),
        })
    }

    /// Sends a request and reads its answer's body, as far as HTTP/1.1 servers say its length.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> anyhow::Result<&[u8]> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        loop {
            let read = self.stream.read_buf(&mut self.buffer).await?;
            anyhow::ensure!(read > 0, "the server hangs up");
            let Some(end) = find(&self.buffer, b"\r\n\r\n") else {
                continue;
            };
            let head = std::str::from_utf8(&self.buffer[..end])?.to_ascii_lowercase();
            let length = head.split("content-length: ").nth(1);
            let length = length.and_then(|rest| rest.split("\r\n").next());
            let length: usize = length.context("no length")?.trim().parse()?;
            if self.buffer.len() >= end + 4 + length {
                anyhow::ensure!(head.starts_with("http/1.1 200"), "it answers {head}");
                return Ok(&self.buffer[end + 4..end + 4 + length]);
            }
        }
    }
}

pub(crate) fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|part| part == wanted)
}

/// A request for an answer of `POST` at that path.
pub(crate) fn post(path: &str, body: &Value, token: Option<&str>) -> Vec<u8> {
    let body = body.to_string();
    let signed = token.map_or_else(String::new, |token| {
        format!("authorization: Bearer {token}\r\n")
    });
    format!(
        "POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n\
         accept: application/json\r\n{signed}content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// A GraphQL question, over HTTP.
pub(crate) fn question(query: &str, variables: &Value, token: Option<&str>) -> Vec<u8> {
    post(
        "/graphql",
        &json!({"query": query, "variables": variables}),
        token,
    )
}

impl Connection {
    /// The data of an answer without errors.
    pub(crate) async fn data(&mut self, request: &[u8]) -> anyhow::Result<Value> {
        let answer: Value = serde_json::from_slice(self.ask(request).await?)?;
        anyhow::ensure!(answer.get("errors").is_none(), "{answer}");
        Ok(answer["data"].clone())
    }
}

/// A subscription over a WebSocket.
pub(crate) struct Subscription {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Subscription {
    /// Signs in and subscribes.
    pub(crate) async fn open(port: u16, token: &str, query: &str) -> anyhow::Result<Self> {
        let mut request = format!("ws://127.0.0.1:{port}/graphql").into_client_request()?;
        let protocol = HeaderValue::from_static("graphql-transport-ws");
        (request.headers_mut()).insert("sec-websocket-protocol", protocol);
        // A thousand of them are opened.
        let small = WebSocketConfig::default().read_buffer_size(4_096);
        let (socket, _) = connect_async_with_config(request, Some(small), true).await?;
        let mut subscription = Self { socket };
        let payload = json!({"authorization": format!("Bearer {token}")});
        let hello = json!({"type": "connection_init", "payload": payload});
        subscription.tell(&hello).await?;
        let answer = subscription.hear().await?;
        anyhow::ensure!(answer.contains("connection_ack"), "{answer}");
        let ask = json!({"type": "subscribe", "id": "1", "payload": {"query": query}});
        subscription.tell(&ask).await?;
        Ok(subscription)
    }

    async fn tell(&mut self, message: &Value) -> anyhow::Result<()> {
        Ok(self.socket.send(Message::text(message.to_string())).await?)
    }

    /// The next message as it comes.
    pub(crate) async fn hear(&mut self) -> anyhow::Result<Utf8Bytes> {
        loop {
            let message = self.socket.next().await.context("the socket is closed")??;
            match message {
                Message::Text(text) => return Ok(text),
                Message::Close(why) => anyhow::bail!("the socket is closed: {why:?}"),
                _ => {}
            }
        }
    }
}

/// What follows the ends of jobs.
const FOLLOW: &str = "subscription { myJobEvents { jobId type seq } }";

enum End {
    /// Somebody waits for it.
    Awaited(oneshot::Sender<String>),
    /// It came before anybody asked.
    Came(String),
}

/// Somebody who watches all jobs of an account, and tells each client when its own is over.
pub(crate) struct Watcher {
    ends: Arc<Mutex<HashMap<String, End>>>,
    events: Arc<AtomicU64>,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Watcher {
    pub(crate) async fn open(port: u16, token: &str) -> anyhow::Result<Self> {
        let mut subscription = Subscription::open(port, token, FOLLOW).await?;
        let ends: Arc<Mutex<HashMap<String, End>>> = Arc::default();
        let events: Arc<AtomicU64> = Arc::default();
        let (known, count) = (Arc::clone(&ends), Arc::clone(&events));
        let task = tokio::spawn(async move {
            loop {
                let said: Value = serde_json::from_str(subscription.hear().await?.as_str())?;
                anyhow::ensure!(said["type"] == "next", "{said}");
                count.fetch_add(1, Ordering::Relaxed);
                let event = &said["payload"]["data"]["myJobEvents"];
                let kind = event["type"].as_str().context("no event")?;
                if !matches!(kind, "JOB_SUCCEEDED" | "JOB_FAILED" | "JOB_CANCELED") {
                    continue;
                }
                let job = event["jobId"].as_str().context("no job")?.to_owned();
                let mut ends = known.lock().unwrap_or_else(PoisonError::into_inner);
                match ends.remove(&job) {
                    Some(End::Awaited(tell)) => {
                        // Whoever waited may have given up.
                        let _ = tell.send(kind.to_owned());
                    }
                    _ => {
                        ends.insert(job, End::Came(kind.to_owned()));
                    }
                }
            }
        });
        Ok(Self { ends, events, task })
    }

    /// Waits until a job has succeeded.
    pub(crate) async fn success(&self, job: &str) -> anyhow::Result<()> {
        let waiting = {
            let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
            match ends.remove(job) {
                Some(End::Came(kind)) => Err(kind),
                _ => {
                    let (tell, heard) = oneshot::channel();
                    ends.insert(job.to_owned(), End::Awaited(tell));
                    Ok(heard)
                }
            }
        };
        let kind = match waiting {
            Err(kind) => kind,
            Ok(heard) => tokio::time::timeout(PATIENCE, heard)
                .await
                .with_context(|| format!("job {job} does not end"))?
                .context("the subscription ended")?,
        };
        anyhow::ensure!(kind == "JOB_SUCCEEDED", "job {job}: {kind}");
        Ok(())
    }

    /// Events that came so far.
    pub(crate) fn events(&self) -> u64 {
        self.events.load(Ordering::Relaxed)
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}
