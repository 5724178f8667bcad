//! Somebody who receives webhooks.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, Response, Uri},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures::StreamExt as _;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value;
use sha2::Sha256;

use super::until;

/// What a receiver answers.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// With this status.
    Status(u16),
    /// With this status and the wish to wait so many seconds.
    Later(u16, u32),
    /// Somewhere else.
    Redirect(String),
    /// Only after this time.
    Slow(Duration),
    /// With a body that does not end.
    Endless,
}

/// A request that came.
#[derive(Debug, Clone)]
pub(crate) struct Got {
    /// Of the address.
    pub(crate) path: String,
    /// Its headers.
    pub(crate) headers: HeaderMap,
    /// Its body, byte for byte.
    pub(crate) body: Bytes,
}

#[derive(Default)]
struct Desk {
    got: Vec<Got>,
    replies: VecDeque<Reply>,
}

/// A receiver of webhooks. It answers 200 unless told otherwise.
#[derive(Clone)]
pub(crate) struct Receiver {
    url: String,
    desk: Arc<Mutex<Desk>>,
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        let desk = Arc::new(Mutex::new(Desk::default()));
        let router = Router::new()
            .fallback(receive)
            .with_state(Arc::clone(&desk));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, desk }
    }

    /// An address of it.
    pub(crate) fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// Answers the next requests so.
    pub(crate) fn answer(&self, replies: impl IntoIterator<Item = Reply>) {
        let mut desk = self.desk.lock().expect("no panic");
        desk.replies.extend(replies);
    }

    /// What came so far.
    pub(crate) fn got(&self) -> Vec<Got> {
        self.desk.lock().expect("no panic").got.clone()
    }

    /// What came, once it is so many.
    pub(crate) async fn wait(&self, count: usize) -> Vec<Got> {
        let what = format!("{count} webhooks");
        until(&what, || async {
            Some(self.got()).filter(|got| got.len() >= count)
        })
        .await
    }
}

async fn receive(
    State(desk): State<Arc<Mutex<Desk>>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let reply = {
        let mut desk = desk.lock().expect("no panic");
        desk.got.push(Got {
            path: uri.path().to_owned(),
            headers,
            body,
        });
        desk.replies.pop_front().unwrap_or(Reply::Status(200))
    };
    let answer = Response::builder();
    let answer = match reply {
        Reply::Status(status) => answer.status(status).body(Body::from("thanks")),
        Reply::Later(status, seconds) => answer
            .status(status)
            .header("retry-after", seconds)
            .body(Body::empty()),
        Reply::Redirect(to) => answer
            .status(302)
            .header("location", to)
            .body(Body::empty()),
        Reply::Slow(time) => {
            tokio::time::sleep(time).await;
            answer.body(Body::empty())
        }
        Reply::Endless => {
            let chunk = Bytes::from(vec![b'x'; 64 * 1_024]);
            let chunks = futures::stream::repeat(chunk).map(Ok::<_, std::io::Error>);
            answer.body(Body::from_stream(chunks))
        }
    };
    answer.expect("an answer")
}

impl Got {
    /// The text of a header.
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        let value = value.unwrap_or_else(|| panic!("no {name} in {:?}", self.headers));
        value.to_str().expect("a text")
    }

    /// The body.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    /// The words of its type.
    pub(crate) fn kind(&self) -> String {
        super::text(&self.json(), "/type").to_owned()
    }

    /// How many of its signatures are of this secret: reckoned here, as the specification says
    /// it, without anything of the server's.
    pub(crate) fn signatures_of(&self, secret: &str) -> usize {
        let key = secret.strip_prefix("whsec_").expect("a secret");
        let key = STANDARD.decode(key).expect("base64");
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("a key");
        mac.update(self.header("webhook-id").as_bytes());
        mac.update(b".");
        mac.update(self.header("webhook-timestamp").as_bytes());
        mac.update(b".");
        mac.update(&self.body);
        let wanted = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
        let signatures = self.header("webhook-signature").split(' ');
        signatures.filter(|signature| *signature == wanted).count()
    }
}
