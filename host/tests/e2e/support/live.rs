//! Subscriptions: `graphql-transport-ws` over a WebSocket, and `graphql-sse`.

use std::time::Duration;

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Message, client::IntoClientRequest, http::HeaderValue},
};

use super::{PATIENCE, client::document};

/// A socket with one subscription at a time. Dropping it cuts the connection.
pub(crate) struct Live {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

/// What a subscription says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Said {
    /// An event.
    Event(Value),
    /// There is nothing to follow, and why.
    Refused(Value),
    /// It ended as it should.
    Complete,
    /// The connection broke.
    Cut,
}

impl Said {
    /// The event; panics for everything else.
    pub(crate) fn event(self) -> Value {
        match self {
            Self::Event(event) => event,
            other => panic!("no event but {other:?}"),
        }
    }
}

impl Live {
    /// Connects and signs in.
    pub(crate) async fn connect(url: &str, token: Option<&str>) -> Self {
        Self::try_connect(url, token)
            .await
            .expect("the socket is acknowledged")
    }

    /// Connects and signs in, unless the server is gone.
    pub(crate) async fn try_connect(url: &str, token: Option<&str>) -> Option<Self> {
        let address = format!("{}/graphql", url.replacen("http", "ws", 1));
        let mut request = address.into_client_request().expect("an address");
        let protocol = HeaderValue::from_static("graphql-transport-ws");
        request
            .headers_mut()
            .insert("sec-websocket-protocol", protocol);
        let (socket, _) = connect_async(request).await.ok()?;
        let mut live = Self { socket };
        let payload = token.map(|token| json!({"authorization": format!("Bearer {token}")}));
        live.tell(&json!({"type": "connection_init", "payload": payload}))
            .await?;
        let answer = live.hear().await?;
        assert_eq!(answer["type"], "connection_ack");
        Some(live)
    }

    /// Asks once, with everything that a payload may have; the payload of the answer.
    pub(crate) async fn ask(&mut self, payload: Value) -> Value {
        let ask = json!({"id": "ask", "type": "subscribe", "payload": payload});
        self.tell(&ask).await.expect("it is sent");
        let answer = self.hear().await.expect("an answer");
        assert_eq!(answer["type"], "next", "{answer}");
        let end = self.hear().await.expect("an end");
        assert_eq!(end["type"], "complete", "{end}");
        answer["payload"].clone()
    }

    async fn tell(&mut self, message: &Value) -> Option<()> {
        self.socket
            .send(Message::text(message.to_string()))
            .await
            .ok()
    }

    async fn hear(&mut self) -> Option<Value> {
        // Pings keep a socket open on which nothing is told.
        let latest = tokio::time::Instant::now() + PATIENCE;
        loop {
            let message = tokio::time::timeout_at(latest, self.socket.next()).await;
            match message.expect("the socket tells something in time") {
                Some(Ok(Message::Text(text))) => {
                    return Some(serde_json::from_str(&text).expect("JSON"));
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                _ => return None,
            }
        }
    }

    /// Follows a job after the event with this number.
    pub(crate) async fn follow(&mut self, job: &str, after: i64) {
        let variables = json!({"jobId": job, "after": after});
        self.subscribe(document("WatchJob"), variables).await;
    }

    /// Follows all jobs, from a cursor or from now on.
    pub(crate) async fn follow_all(&mut self, after: Option<&str>) {
        self.subscribe(document("WatchMyJobs"), json!({"after": after}))
            .await;
    }

    /// Starts a subscription.
    pub(crate) async fn subscribe(&mut self, query: &str, variables: Value) {
        let payload = json!({"query": query, "variables": variables});
        // A socket that broke shows it when it is read.
        let _ = self
            .tell(&json!({"type": "subscribe", "id": "1", "payload": payload}))
            .await;
    }

    /// What comes next.
    pub(crate) async fn next(&mut self) -> Said {
        let Some(message) = self.hear().await else {
            return Said::Cut;
        };
        match message["type"].as_str() {
            Some("next") => payload(&message["payload"]),
            Some("error") => Said::Refused(message["payload"].clone()),
            Some("complete") => Said::Complete,
            other => panic!("an unexpected message: {other:?}"),
        }
    }

    /// Whether nothing comes for so long.
    pub(crate) async fn is_silent(&mut self, time: Duration) -> bool {
        tokio::time::timeout(time, self.socket.next())
            .await
            .is_err()
    }

    /// Events up to the one that fits; nothing when the socket or the subscription ended before.
    pub(crate) async fn until(&mut self, fits: impl Fn(&Value) -> bool) -> Option<Vec<Value>> {
        let mut seen = Vec::new();
        loop {
            match self.next().await {
                Said::Event(event) => {
                    let found = fits(&event);
                    seen.push(event);
                    if found {
                        return Some(seen);
                    }
                }
                _ => return None,
            }
        }
    }
}

fn payload(payload: &Value) -> Said {
    if payload["data"].is_null() || payload.get("errors").is_some() {
        return Said::Refused(payload["errors"].clone());
    }
    let data = payload["data"].as_object().expect("data");
    Said::Event(data.values().next().expect("one field").clone())
}

/// An event stream that is read message by message. Dropping it cuts the connection.
pub(crate) struct Events {
    answer: reqwest::Response,
    text: String,
}

impl Events {
    /// Over an open answer.
    pub(crate) fn new(answer: reqwest::Response) -> Self {
        Self {
            answer,
            text: String::new(),
        }
    }

    /// What comes next.
    pub(crate) async fn next(&mut self) -> Said {
        loop {
            while let Some(end) = self.text.find("\n\n") {
                let block: String = self.text.drain(..end + 2).collect();
                let field = |name: &str| {
                    block
                        .lines()
                        .find_map(|line| line.strip_prefix(name))
                        .map(str::trim_start)
                };
                match field("event:") {
                    Some("next") => {
                        let data = field("data:").expect("data");
                        return payload(&serde_json::from_str(data).expect("JSON"));
                    }
                    Some("complete") => return Said::Complete,
                    // A comment that keeps the connection open.
                    _ => {}
                }
            }
            let chunk = tokio::time::timeout(PATIENCE, self.answer.chunk()).await;
            match chunk.expect("the stream says something in time") {
                Ok(Some(bytes)) => self.text.push_str(&String::from_utf8_lossy(&bytes)),
                Ok(None) | Err(_) => return Said::Cut,
            }
        }
    }
}
