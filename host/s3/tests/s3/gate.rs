//! A door in front of a server: an HTTP proxy that passes everything on unchanged, except for
//! the trouble that it is told to make. It counts what passes.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;
use url::Url;

type Failure = Box<dyn std::error::Error + Send + Sync>;
type Body = UnsyncBoxBody<Bytes, Failure>;

/// What goes wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It is answered with 500 and never reaches the server.
    Refuse,
    /// The server does what it says; the answer is 500.
    LoseAnswer,
    /// The connection ends after so many bytes of the answer's body.
    CutAfter(usize),
    /// Nothing happens for so long.
    Wait(Duration),
}

/// Which requests, and how many of them, run into which trouble.
struct Plan {
    method: &'static str,
    /// Part of path and query.
    part: &'static str,
    left: usize,
    trouble: Trouble,
}

#[derive(Default)]
struct State {
    plans: Vec<Plan>,
    seen: Vec<String>,
}

/// The door. Closed when it is dropped.
pub(crate) struct Gate {
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<State>>,
    server: AbortHandle,
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Gate {
    /// In front of the server at a port of this machine.
    pub(crate) async fn before(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let client: Client<_, Incoming> = Client::builder(TokioExecutor::new()).build_http();
        let server = tokio::spawn(async move {
            loop {
                let Ok((connection, _)) = listener.accept().await else {
                    continue;
                };
                let (state, client) = (Arc::clone(&shared), client.clone());
                let service = service_fn(move |request| {
                    pass(request, port, Arc::clone(&state), client.clone())
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(connection), service),
                );
            }
        });
        Self {
            address,
            state,
            server: server.abort_handle(),
        }
    }

    pub(crate) fn url(&self) -> Url {
        format!("http://{}", self.address).parse().unwrap()
    }

    /// The next `count` requests with this method and `part` in path or query run into trouble.
    pub(crate) fn plan(
        &self,
        count: usize,
        method: &'static str,
        part: &'static str,
        trouble: Trouble,
    ) {
        self.state.lock().unwrap().plans.push(Plan {
            method,
            part,
            left: count,
            trouble,
        });
    }

    /// No more trouble; forgets what was seen.
    pub(crate) fn reset(&self) {
        *self.state.lock().unwrap() = State::default();
    }

    /// How many requests came with this method and `part` in path or query.
    pub(crate) fn count(&self, method: &str, part: &str) -> usize {
        let state = self.state.lock().unwrap();
        state
            .seen
            .iter()
            .filter(|line| line.starts_with(method) && line.contains(part))
            .count()
    }

    /// The first lines of all requests.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.state.lock().unwrap().seen.clone()
    }
}

async fn pass(
    mut request: Request<Incoming>,
    port: u16,
    state: Arc<Mutex<State>>,
    client: Client<HttpConnector, Incoming>,
) -> Result<Response<Body>, Failure> {
    let target = request
        .uri()
        .path_and_query()
        .map_or_else(|| "/".to_owned(), ToString::to_string);
    let host = request
        .headers()
        .get("host")
        .and_then(|host| host.to_str().ok())
        .unwrap_or_default();
    let line = format!("{} {host} {target}", request.method());
    let trouble = {
        let mut state = state.lock().unwrap();
        let method = request.method().as_str();
        state.seen.push(line);
        state
            .plans
            .iter_mut()
            .find(|plan| plan.left > 0 && plan.method == method && target.contains(plan.part))
            .map(|plan| {
                plan.left -= 1;
                plan.trouble
            })
    };
    match trouble {
        Some(Trouble::Refuse) => {
            // Read to its end, or the sender meets a closed connection before the answer.
            let _ = request.into_body().collect().await?;
            return broken();
        }
        Some(Trouble::Wait(time)) => tokio::time::sleep(time).await,
        _ => {}
    }
    *request.uri_mut() = format!("http://127.0.0.1:{port}{target}").parse::<Uri>()?;
    let answer = client.request(request).await?;
    match trouble {
        Some(Trouble::LoseAnswer) => {
            let _ = answer.into_body().collect().await?;
            broken()
        }
        Some(Trouble::CutAfter(bytes)) => Ok(answer.map(|body| cut(body, bytes))),
        _ => Ok(answer.map(|body| body.map_err(Into::into).boxed_unsync())),
    }
}

fn broken() -> Result<Response<Body>, Failure> {
    const WORDS: &str = "<?xml version=\"1.0\"?><Error><Code>InternalError</Code>\
                         <Message>We encountered an internal error.</Message></Error>";
    let body = Full::new(Bytes::from(WORDS)).map_err(|never| match never {});
    Ok(Response::builder()
        .status(StatusCode::INTERNAL_SERVER_ERROR)
        .header("content-type", "application/xml")
        .body(body.boxed_unsync())?)
}

fn cut(body: Incoming, bytes: usize) -> Body {
    let mut left = bytes;
    let frames = body.into_data_stream().map(move |chunk| {
        let mut chunk = chunk?;
        if left == 0 {
            return Err("cut".into());
        }
        chunk.truncate(left);
        left -= chunk.len();
        Ok(Frame::data(chunk))
    });
    StreamBody::new(frames).boxed_unsync()
}
