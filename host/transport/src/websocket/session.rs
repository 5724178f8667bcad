//! One socket: one task that reads, runs operations and writes, with everything bounded.
//!
//! Nothing is queued between an operation and the socket. Operations are only asked for their next result while the
//! socket takes frames, so a client that reads slowly slows its own operations down and holds at most one frame and
//! the write buffer; one that does not read at all for [`Options::write_timeout`](crate::Options::write_timeout) is
//! closed with 1013. Reading goes on meanwhile, so `complete` works at any time.

use std::{
    collections::VecDeque,
    future::poll_fn,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use async_graphql::{Executor, Response};
use axum::extract::ws::{Message, WebSocket};
use bytes::Bytes;
use futures::{FutureExt, Sink, StreamExt, future::BoxFuture, stream::BoxStream};
use http::request::Parts;
use serde_json::Value;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::{
    ending::{Ending, broken, finish},
    frames::{self, Closing, Incoming},
};
use crate::{
    Authenticator, Identity, Refusal, RequestId, codes,
    failure::{self, Body, coded},
    nulls::Expected,
    parameters::Parameters,
    request::prepare,
    server::Core,
    slots::Slot,
};

/// Replies that may wait for the client to read before its next message is looked at.
const MAX_WAITING_REPLIES: usize = 16;
/// Turns of the loop before other tasks get the thread.
const MAX_TURNS: usize = 64;

pub(super) async fn run<E: Executor, A: Authenticator>(
    core: Arc<Core<E, A>>,
    head: Arc<Parts>,
    socket: WebSocket,
    slot: Slot,
) {
    let mut session = Box::new(Session::new(core, head, socket, slot));
    let ending = poll_fn(|context| session.poll(context)).await;
    session.operations.clear();
    session.pending = None;
    let Session { socket, slot, .. } = *session;
    finish(socket, ending).await;
    drop(slot);
}

struct Operation {
    id: String,
    request_id: RequestId,
    expected: Expected,
    /// Nothing was sent yet: a request error is then an `error` message.
    fresh: bool,
    stream: BoxStream<'static, Response>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Init,
    Renewal,
}

type Authentication = BoxFuture<'static, Result<Identity, Refusal>>;

struct Session<E, A> {
    core: Arc<Core<E, A>>,
    head: Arc<Parts>,
    socket: WebSocket,
    slot: Slot,
    shutdown: Pin<Box<WaitForCancellationFutureOwned>>,
    /// `None` until `connection_ack`.
    identity: Option<Identity>,
    pending: Option<(Purpose, Authentication)>,
    operations: Vec<Operation>,
    /// Which operation is asked first.
    first: usize,
    /// Replies to the client's messages, at most [`MAX_WAITING_REPLIES`] and one.
    replies: VecDeque<Message>,
    /// Frames were handed over since the last flush.
    unflushed: bool,
    /// The socket refused a frame and has not taken one since.
    blocked: bool,
    /// Since when the client has taken nothing although something waits.
    stalled_at: Option<Instant>,
    opened_at: Instant,
    heard_at: Instant,
    pinged_at: Option<Instant>,
    timer: Pin<Box<Sleep>>,
}

impl<E: Executor, A: Authenticator> Session<E, A> {
    fn new(core: Arc<Core<E, A>>, head: Arc<Parts>, socket: WebSocket, slot: Slot) -> Self {
        let now = Instant::now();
        // A token of its own: waiting on the shared one would take its lock at every wake-up of every socket.
        let shutdown = core
            .options
            .shutdown
            .token()
            .child_token()
            .cancelled_owned();
        let timer = sleep_until(now + core.options.init_timeout.min(core.options.ping_interval));
        Self {
            core,
            head,
            socket,
            slot,
            shutdown: Box::pin(shutdown),
            identity: None,
            pending: None,
            operations: Vec::new(),
            first: 0,
            replies: VecDeque::new(),
            unflushed: false,
            blocked: false,
            stalled_at: None,
            opened_at: now,
            heard_at: now,
            pinged_at: None,
            timer: Box::pin(timer),
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Ending> {
        if self.shutdown.poll_unpin(context).is_ready() {
            return Poll::Ready(Closing::new(1001, "The server is stopping").into());
        }
        for _ in 0..MAX_TURNS {
            match self.turn(context) {
                Err(ending) => return Poll::Ready(ending),
                Ok(true) => {}
                Ok(false) => return Poll::Pending,
            }
        }
        // Busy: write out what there is, let others run, come back.
        if let Err(ending) = self.write(context) {
            return Poll::Ready(ending);
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// One round; says whether anything moved.
    fn turn(&mut self, context: &mut Context<'_>) -> Result<bool, Ending> {
        let mut moved = self.authenticate(context)?;
        moved |= self.read(context)?;
        moved |= self.operate(context)?;
        if !moved {
            let full = self.replies.len() >= MAX_WAITING_REPLIES;
            self.write(context)?;
            // Reading stopped while the replies were full; there is room again.
            moved |= full && self.replies.len() < MAX_WAITING_REPLIES;
            moved |= self.keep_time(context)?;
        }
        Ok(moved)
    }

    // --- reading ---

    fn read(&mut self, context: &mut Context<'_>) -> Result<bool, Ending> {
        if self.replies.len() >= MAX_WAITING_REPLIES {
            return Ok(false);
        }
        let message = match self.socket.poll_next_unpin(context) {
            Poll::Pending => return Ok(false),
            Poll::Ready(None) => return Err(Ending::Gone),
            Poll::Ready(Some(Err(error))) => return Err(broken(error)),
            Poll::Ready(Some(Ok(message))) => message,
        };
        self.heard_at = Instant::now();
        match message {
            Message::Text(text) => self.receive(Incoming::parse(&text)?)?,
            Message::Binary(_) => return Err(Closing::malformed("Invalid message: binary").into()),
            Message::Close(_) => return Err(Ending::ClosedByPeer),
            // tungstenite has queued the pong.
            Message::Ping(_) => self.unflushed = true,
            Message::Pong(_) => {}
        }
        Ok(true)
    }

    fn receive(&mut self, message: Incoming) -> Result<(), Closing> {
        match message {
            Incoming::Init(payload) => {
                if self.identity.is_some() || self.pending.is_some() {
                    return Err(Closing::new(4429, "Too many initialisation requests"));
                }
                self.start_authentication(Purpose::Init, payload);
            }
            Incoming::Ping(payload) => {
                let renewal = self.identity.is_some()
                    && payload
                        .as_ref()
                        .and_then(|payload| payload.get("authorization"))
                        .is_some_and(Value::is_string);
                match payload {
                    // A client that renews again before the answer has to wait for it.
                    Some(payload) if renewal && self.pending.is_none() => {
                        self.start_authentication(Purpose::Renewal, payload);
                    }
                    Some(_) if renewal => {}
                    payload => self.replies.push_back(frames::pong(payload.as_ref())),
                }
            }
            Incoming::Pong => {}
            Incoming::Subscribe { id, payload } => self.subscribe(id, payload)?,
            Incoming::Complete { id } => self.operations.retain(|operation| operation.id != id),
        }
        Ok(())
    }

    fn subscribe(&mut self, id: String, payload: Value) -> Result<(), Closing> {
        let Some(identity) = &self.identity else {
            return Err(Closing::new(4401, "Unauthorized"));
        };
        if self.operations.iter().any(|operation| operation.id == id) {
            return Err(Closing::new(
                4409,
                format!("Subscriber for {id} already exists"),
            ));
        }
        let most = self.core.options.max_operations_per_socket;
        if self.operations.len() >= most {
            let message = format!("This socket runs {most} operations already");
            self.replies.push_back(frames::error(
                &id,
                &[coded(codes::TOO_MANY_OPERATIONS, message, None)],
            ));
            return Ok(());
        }
        // A payload without a usable query is a message that the protocol does not know.
        let parameters = Parameters::from_value(payload).map_err(|failure| {
            Closing::malformed(failure.errors.first().map_or("", |error| &error.message))
        })?;
        if parameters.query.is_none() && parameters.extensions.is_none() {
            return Err(Closing::malformed("Invalid message: query is missing"));
        }
        let request_id = RequestId::fresh();
        match prepare(
            &self.core.documents,
            self.core.options.types.as_ref(),
            parameters,
            identity,
            &request_id,
        ) {
            Ok(prepared) => {
                let stream = self.core.executor.execute_stream(prepared.request, None);
                let expected = prepared.expected;
                self.operations.push(Operation {
                    id,
                    request_id,
                    expected,
                    fresh: true,
                    stream,
                });
            }
            Err(failure) => self.replies.push_back(frames::error(&id, &failure.errors)),
        }
        Ok(())
    }

    // --- identity ---

    fn start_authentication(&mut self, purpose: Purpose, payload: Value) {
        let authenticator = self.core.authenticator.clone();
        let head = Arc::clone(&self.head);
        let authentication =
            async move { authenticator.authenticate_socket(&head, &payload).await };
        self.pending = Some((purpose, authentication.boxed()));
    }

    fn authenticate(&mut self, context: &mut Context<'_>) -> Result<bool, Ending> {
        let Some((purpose, authentication)) = &mut self.pending else {
            return Ok(false);
        };
        let purpose = *purpose;
        let outcome = match authentication.poll_unpin(context) {
            Poll::Pending => return Ok(false),
            Poll::Ready(outcome) => outcome,
        };
        self.pending = None;
        let identity = outcome.map_err(|refusal| Closing::new(4403, refusal.message))?;
        match purpose {
            Purpose::Init => {
                if let Some(key) = &identity.key
                    && !self.slot.claim(key)
                {
                    return Err(Closing::new(4429, "Too many open sockets").into());
                }
                self.replies.push_back(frames::ack());
            }
            Purpose::Renewal => {
                if self
                    .identity
                    .as_ref()
                    .is_some_and(|old| old.key != identity.key)
                {
                    return Err(Closing::new(4403, "The new token is somebody else's").into());
                }
                // Not the payload: a token has no business in an answer.
                self.replies.push_back(frames::pong(None));
            }
        }
        self.identity = Some(identity);
        self.arm();
        Ok(true)
    }

    // --- operations ---

    /// Takes one result from the next operation that has one.
    fn operate(&mut self, context: &mut Context<'_>) -> Result<bool, Ending> {
        let count = self.operations.len();
        if count == 0 || !self.writable(context)? {
            return Ok(false);
        }
        for offset in 0..count {
            let index = (self.first + offset) % count;
            let operation = &mut self.operations[index];
            let stream = &mut operation.stream;
            let polled =
                std::panic::catch_unwind(AssertUnwindSafe(|| stream.poll_next_unpin(context)));
            let (message, ended) = match polled {
                Ok(Poll::Pending) => continue,
                Ok(Poll::Ready(Some(mut response))) => {
                    failure::finish(&mut response, &operation.expected, &operation.request_id);
                    if operation.fresh && failure::is_request_error(&response) {
                        (frames::error(&operation.id, &response.errors), true)
                    } else {
                        operation.fresh = false;
                        (frames::next(&operation.id, &Body(&response)), false)
                    }
                }
                Ok(Poll::Ready(None)) => (frames::complete(&operation.id), true),
                // The panic hook has logged it; the socket's other operations go on.
                Err(_) => (
                    frames::error(&operation.id, &[failure::internal(&operation.request_id)]),
                    true,
                ),
            };
            if ended {
                self.operations.swap_remove(index);
                self.first = index;
            } else {
                self.first = index + 1;
            }
            self.hand_over(message)?;
            return Ok(true);
        }
        Ok(false)
    }

    // --- writing ---

    fn hand_over(&mut self, message: Message) -> Result<(), Ending> {
        self.unflushed = true;
        Pin::new(&mut self.socket)
            .start_send(message)
            .map_err(broken)
    }

    /// Hands waiting replies over; says whether the socket takes another frame.
    fn writable(&mut self, context: &mut Context<'_>) -> Result<bool, Ending> {
        loop {
            match Pin::new(&mut self.socket).poll_ready(context) {
                Poll::Pending => {
                    self.blocked = true;
                    self.stall();
                    return Ok(false);
                }
                Poll::Ready(Err(error)) => return Err(broken(error)),
                Poll::Ready(Ok(())) if self.blocked => {
                    self.blocked = false;
                    self.stalled_at = None;
                }
                Poll::Ready(Ok(())) => {}
            }
            match self.replies.pop_front() {
                Some(reply) => self.hand_over(reply)?,
                None => return Ok(true),
            }
        }
    }

    fn write(&mut self, context: &mut Context<'_>) -> Result<(), Ending> {
        if self.replies.is_empty() && !self.unflushed {
            return Ok(());
        }
        if !self.writable(context)? {
            return Ok(());
        }
        match Pin::new(&mut self.socket).poll_flush(context) {
            Poll::Pending => self.stall(),
            Poll::Ready(Ok(())) => {
                self.unflushed = false;
                self.stalled_at = None;
            }
            Poll::Ready(Err(error)) => return Err(broken(error)),
        }
        Ok(())
    }

    fn stall(&mut self) {
        if self.stalled_at.is_none() {
            self.stalled_at = Some(Instant::now());
            self.arm();
        }
    }

    // --- time ---

    /// The next moment at which something is due.
    fn deadline(&self) -> Instant {
        let options = &self.core.options;
        let life = match self.pinged_at {
            Some(pinged_at) if pinged_at >= self.heard_at => pinged_at + options.pong_timeout,
            _ => self.heard_at + options.ping_interval,
        };
        let expiry = match &self.identity {
            Some(identity) => identity.expires_at,
            None => Some(self.opened_at + options.init_timeout),
        };
        let stall = self.stalled_at.map(|at| at + options.write_timeout);
        [expiry, stall]
            .into_iter()
            .flatten()
            .fold(life, Instant::min)
    }

    /// Brings the timer forward when something is due earlier. A timer that is early is set again when it fires, so
    /// that a message does not cost a timer operation.
    fn arm(&mut self) {
        let deadline = self.deadline();
        if deadline < self.timer.deadline() {
            self.timer.as_mut().reset(deadline);
        }
    }

    fn keep_time(&mut self, context: &mut Context<'_>) -> Result<bool, Ending> {
        if self.timer.poll_unpin(context).is_pending() {
            return Ok(false);
        }
        let now = Instant::now();
        let options = &self.core.options;
        match &self.identity {
            None if now >= self.opened_at + options.init_timeout => {
                return Err(Closing::new(4408, "Connection initialisation timeout").into());
            }
            Some(identity) if identity.expires_at.is_some_and(|at| now >= at) => {
                return Err(Closing::new(4403, "Token expired").into());
            }
            _ => {}
        }
        if self
            .stalled_at
            .is_some_and(|at| now >= at + options.write_timeout)
        {
            return Err(Closing::new(1013, "The client does not read").into());
        }
        let mut moved = false;
        if let Some(pinged_at) = self
            .pinged_at
            .filter(|pinged_at| *pinged_at >= self.heard_at)
        {
            if now >= pinged_at + options.pong_timeout {
                tracing::debug!("a socket's client is silent");
                return Err(Ending::Gone);
            }
        } else if now >= self.heard_at + options.ping_interval {
            // WebSocket ping frames rather than the protocol's `ping` messages: every client answers them, browsers
            // included, without code of its own.
            self.replies.push_back(Message::Ping(Bytes::new()));
            self.pinged_at = Some(now);
            moved = true;
        }
        let deadline = self.deadline();
        self.timer.as_mut().reset(deadline);
        // Polled again, so that the timer knows whom to wake.
        Ok(moved | self.timer.poll_unpin(context).is_ready())
    }
}
