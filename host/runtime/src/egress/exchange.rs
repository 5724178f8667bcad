//! One request and its answer over HTTP/1.1. The connection is driven by the future that waits
//! for the answer and by no task of its own: whoever drops that future can be certain that
//! nothing more leaves.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::stream::BoxStream;
use http::{Request, response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;

use super::connect::{ConnectError, Connector, Route, Watched, Wire};
use crate::meter::Meter;

/// How long a connection may have been idle to carry a request that is safe to repeat.
const IDLE: Duration = Duration::from_secs(30);

/// The same for one that is not: well below the 5 s after which common servers close idle
/// connections, so that such a request does not run into a closing one.
const IDLE_UNSAFE: Duration = Duration::from_secs(2);

/// Idle connections that are kept for one route.
const IDLE_EACH: usize = 16;

/// Most headers, and most bytes of them, in an answer.
const HEADERS: usize = 100;
const HEAD_BYTES: usize = 64 * 1024;

type Driver = Pin<Box<http1::Connection<TokioIo<Watched>, Outgoing>>>;

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum ExchangeError {
    /// The address is not allowed; nothing was sent.
    Refused(String),
    /// Nothing was sent.
    Unsent(String),
    /// Something was sent.
    Lost(String),
}

/// Idle connections of one plugin. Not shared with other plugins, so that none can leave
/// anything on a connection that another one would read.
#[derive(Default)]
pub(crate) struct Pool {
    idle: Mutex<HashMap<Route, Vec<Idle>>>,
}

struct Idle {
    sender: SendRequest<Outgoing>,
    driver: Driver,
    wire: Wire,
    since: Instant,
}

impl Pool {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Route, Vec<Idle>>> {
        match self.idle.lock() {
            Ok(idle) => idle,
            // Pushing and popping leave the map whole at any time.
            Err(poisoned) => poisoned.into_inner(),
        }
    }

    /// The connection that was used last, unless it has been idle for too long.
    fn take(&self, route: &Route, longest: Duration) -> Option<Idle> {
        let mut pool = self.lock();
        let list = pool.get_mut(route)?;
        list.retain(|idle| idle.since.elapsed() < IDLE && !idle.sender.is_closed());
        if list.last()?.since.elapsed() < longest {
            list.pop()
        } else {
            None
        }
    }

    fn put(&self, route: Route, idle: Idle) {
        let mut pool = self.lock();
        let list = pool.entry(route).or_default();
        list.retain(|idle| idle.since.elapsed() < IDLE);
        if list.len() < IDLE_EACH {
            list.push(idle);
        }
    }
}

/// Sends a request and waits for the head of the answer. `make` builds the request, and is
/// called again when a kept connection turns out to be closed. `safe` says that it may be
/// sent twice (GET, HEAD); for others the meter is told before the first byte leaves.
pub(crate) async fn exchange<M, F>(
    connector: &Connector,
    pool: &Arc<Pool>,
    route: &Route,
    safe: bool,
    meter: Option<&Arc<Meter>>,
    mut make: M,
) -> Result<Answer, ExchangeError>
where
    M: FnMut() -> F,
    F: Future<Output = Result<Request<Outgoing>, String>>,
{
    let mut kept = true;
    loop {
        let longest = if safe { IDLE } else { IDLE_UNSAFE };
        let idle = if kept {
            pool.take(route, longest)
        } else {
            None
        };
        let reused = idle.is_some();
        let mut connection = match idle {
            Some(idle) => idle,
            None => open(connector, route).await?,
        };
        let request = make().await.map_err(ExchangeError::Unsent)?;
        connection.wire.arm(meter.filter(|_| !safe).cloned());
        match send(&mut connection, request).await {
            Ok(response) => {
                let (head, body) = response.into_parts();
                return Ok(Answer {
                    head,
                    body: Some(body),
                    connection: Some(connection),
                    pool: Arc::clone(pool),
                    route: route.clone(),
                });
            }
            // A kept connection that the server closed meanwhile: once more on a new one, if
            // nothing has left or nothing could be done twice.
            Err(_) if reused && (safe || !connection.wire.touched()) => kept = false,
            Err(why) if connection.wire.touched() => return Err(ExchangeError::Lost(why)),
            Err(why) => return Err(ExchangeError::Unsent(why)),
        }
    }
}

async fn open(connector: &Connector, route: &Route) -> Result<Idle, ExchangeError> {
    let io = connector
        .connect(route)
        .await
        .map_err(|error| match error {
            ConnectError::Refused(why) => ExchangeError::Refused(why),
            ConnectError::Unreachable(why) => ExchangeError::Unsent(why),
        })?;
    let wire = io.wire();
    let (sender, driver) = http1::Builder::new()
        .max_headers(HEADERS)
        .max_buf_size(HEAD_BYTES)
        .handshake(TokioIo::new(io))
        .await
        .map_err(|error| ExchangeError::Unsent(error.to_string()))?;
    Ok(Idle {
        sender,
        driver: Box::pin(driver),
        wire,
        since: Instant::now(),
    })
}

/// Drives the connection until the head of the answer is there.
async fn send(
    connection: &mut Idle,
    request: Request<Outgoing>,
) -> Result<http::Response<Incoming>, String> {
    let Idle { sender, driver, .. } = connection;
    let mut closed = false;
    // A kept connection gets ready when it is driven; that also notices that it was closed.
    poll_fn(|context| {
        if !closed && driver.as_mut().poll(context).is_ready() {
            closed = true;
        }
        sender.poll_ready(context)
    })
    .await
    .map_err(|error| describe(&error))?;
    let mut answer = std::pin::pin!(sender.send_request(request));
    poll_fn(|context| {
        if let Poll::Ready(answer) = answer.as_mut().poll(context) {
            return Poll::Ready(answer.map_err(|error| describe(&error)));
        }
        if !closed && driver.as_mut().poll(context).is_ready() {
            closed = true;
        }
        match answer.as_mut().poll(context) {
            Poll::Ready(answer) => Poll::Ready(answer.map_err(|error| describe(&error))),
            Poll::Pending if closed => {
                Poll::Ready(Err("the connection ended without an answer".to_owned()))
            }
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

fn describe(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// The head of an answer, and its body as it comes.
pub(crate) struct Answer {
    pub(crate) head: response::Parts,
    body: Option<Incoming>,
    connection: Option<Idle>,
    pool: Arc<Pool>,
    route: Route,
}

impl Answer {
    /// What the vendor says that the body's length is.
    pub(crate) fn announced(&self) -> Option<u64> {
        self.body.as_ref().and_then(|body| body.size_hint().exact())
    }

    /// The next piece of the body; nothing at its end. After the end the connection is kept
    /// for the next request.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, String> {
        loop {
            let Some(body) = &mut self.body else {
                return Ok(None);
            };
            let connection = &mut self.connection;
            let frame = poll_fn(|context| {
                let frame = Pin::new(&mut *body).poll_frame(context);
                if frame.is_ready() {
                    return frame;
                }
                if let Some(live) = connection
                    && live.driver.as_mut().poll(context).is_ready()
                {
                    *connection = None;
                }
                Pin::new(&mut *body).poll_frame(context)
            })
            .await;
            match frame {
                Some(Ok(frame)) => {
                    // Trailers mean nothing to anybody here.
                    if let Ok(data) = frame.into_data()
                        && !data.is_empty()
                    {
                        return Ok(Some(data));
                    }
                }
                Some(Err(error)) => {
                    self.body = None;
                    self.connection = None;
                    return Err(describe(&error));
                }
                None => {
                    self.body = None;
                    self.keep().await;
                    return Ok(None);
                }
            }
        }
    }

    async fn keep(&mut self) {
        let Some(mut connection) = self.connection.take() else {
            return;
        };
        let open =
            poll_fn(|context| Poll::Ready(connection.driver.as_mut().poll(context).is_pending()))
                .await;
        if open && connection.sender.is_ready() {
            connection.since = Instant::now();
            self.pool.put(self.route.clone(), connection);
        }
    }
}

/// A request's body: a stream whose length is known beforehand.
pub(crate) struct Outgoing {
    stream: Option<BoxStream<'static, io::Result<Bytes>>>,
    left: u64,
}

impl Outgoing {
    pub(crate) fn empty() -> Self {
        Self {
            stream: None,
            left: 0,
        }
    }

    pub(crate) fn new(stream: BoxStream<'static, io::Result<Bytes>>, length: u64) -> Self {
        Self {
            stream: Some(stream),
            left: length,
        }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(None);
        };
        let next = match stream.as_mut().poll_next(context) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(next) => next,
        };
        let wrong = |why| Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::InvalidData, why))));
        match next {
            Some(Ok(chunk)) => match self.left.checked_sub(chunk.len() as u64) {
                Some(left) => {
                    self.left = left;
                    Poll::Ready(Some(Ok(Frame::data(chunk))))
                }
                None => wrong("an asset is longer than it was"),
            },
            Some(Err(error)) => Poll::Ready(Some(Err(error))),
            None if self.left > 0 => wrong("an asset is shorter than it was"),
            None => {
                self.stream = None;
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
