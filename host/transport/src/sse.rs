//! GraphQL over server-sent events, distinct connections mode: one request, one stream.

use std::{
    convert::Infallible,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use async_graphql::{Executor, Response};
use axum::body::Body as HttpBody;
use bytes::Bytes;
use futures::{
    FutureExt, Stream, StreamExt,
    stream::{self, BoxStream},
};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use tokio::time::{Instant, Sleep, sleep, sleep_until};
use tokio_util::{sync::WaitForCancellationFutureOwned, task::task_tracker::TaskTrackerToken};

use crate::{
    Identity, RequestId, codes,
    failure::{self, Body, ErrorsBody, Failure},
    negotiation::Media,
    nulls::Expected,
    request::Prepared,
    server::Core,
    slots::Slot,
};

/// A comment, which clients skip. The first one makes proxies pass the head of the answer on.
const COMMENT: Bytes = Bytes::from_static(b":\n\n");
/// `data` is empty, not missing: a browser's `EventSource` drops events without it.
const COMPLETE: Bytes = Bytes::from_static(b"event: complete\ndata: \n\n");

/// Starts the operation and answers with its stream.
pub(crate) fn open<E: Executor, A>(
    core: &Arc<Core<E, A>>,
    prepared: Prepared,
    identity: &Identity,
    request_id: &RequestId,
) -> Result<axum::response::Response, Failure> {
    let shutdown = &core.options.shutdown;
    let slot = core
        .slots
        .enter()
        .filter(|_| !shutdown.token().is_cancelled());
    let Some(mut slot) = slot else {
        let failure = Failure::http(
            StatusCode::SERVICE_UNAVAILABLE,
            codes::UNAVAILABLE,
            "Too many open streams",
        );
        return Err(failure.with_header(header::RETRY_AFTER, HeaderValue::from_static("5")));
    };
    if let Some(key) = &identity.key
        && !slot.claim(key)
    {
        let failure = Failure::http(
            StatusCode::TOO_MANY_REQUESTS,
            codes::RATE_LIMITED,
            "Too many open streams",
        );
        return Err(failure.with_header(header::RETRY_AFTER, HeaderValue::from_static("5")));
    }
    let events = Events {
        operation: Some(core.executor.execute_stream(prepared.request, None)),
        expected: prepared.expected,
        opened: false,
        request_id: request_id.clone(),
        keep_alive: core.options.sse_keep_alive,
        idle: Box::pin(sleep(core.options.sse_keep_alive)),
        expiry: identity.expires_at.map(|at| Box::pin(sleep_until(at))),
        shutdown: Box::pin(shutdown.token().child_token().cancelled_owned()),
        _tracked: shutdown.track(),
        _slot: slot,
    };
    Ok(respond(HttpBody::from_stream(events)))
}

/// A document that cannot run, told as the protocol asks: in the stream, because a browser's `EventSource` shows no
/// other answer to the page.
pub(crate) fn refuse(failure: &Failure) -> axum::response::Response {
    let event = next(&ErrorsBody {
        errors: &failure.errors,
    });
    respond(HttpBody::from_stream(stream::iter(
        [event, COMPLETE].map(Ok::<_, Infallible>),
    )))
}

fn respond(body: HttpBody) -> axum::response::Response {
    let mut response = axum::response::Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, Media::EventStream.content_type());
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("no-store, no-transform"),
    );
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    // nginx buffers answers unless told otherwise (ngx_http_proxy_module, proxy_buffering).
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// JSON as serde_json writes it has no line break, so one `data` line holds it.
fn next(payload: &impl Serialize) -> Bytes {
    let mut event = b"event: next\ndata: ".to_vec();
    let start = event.len();
    if serde_json::to_writer(&mut event, payload).is_err() {
        event.truncate(start);
        event.extend_from_slice(
            br#"{"errors":[{"message":"Internal error","extensions":{"code":"INTERNAL"}}]}"#,
        );
    }
    event.extend_from_slice(b"\n\n");
    Bytes::from(event)
}

/// The body of an event stream. It asks the operation for its next result only when the connection takes more, so a
/// client that does not read holds back its own operation and nothing else.
struct Events {
    /// `None` once it ended.
    operation: Option<BoxStream<'static, Response>>,
    expected: Expected,
    opened: bool,
    request_id: RequestId,
    keep_alive: Duration,
    idle: Pin<Box<Sleep>>,
    expiry: Option<Pin<Box<Sleep>>>,
    shutdown: Pin<Box<WaitForCancellationFutureOwned>>,
    _tracked: TaskTrackerToken,
    _slot: Slot,
}

impl Stream for Events {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if !this.opened {
            this.opened = true;
            return Poll::Ready(Some(Ok(COMMENT)));
        }
        let Some(operation) = &mut this.operation else {
            return Poll::Ready(None);
        };
        // Without `complete` the client knows that the stream was cut and connects again.
        let expired = this
            .expiry
            .as_mut()
            .is_some_and(|expiry| expiry.poll_unpin(context).is_ready());
        if expired || this.shutdown.poll_unpin(context).is_ready() {
            this.operation = None;
            return Poll::Ready(None);
        }
        let polled =
            std::panic::catch_unwind(AssertUnwindSafe(|| operation.poll_next_unpin(context)));
        let event = match polled {
            Ok(Poll::Ready(Some(mut response))) => {
                failure::finish(&mut response, &this.expected, &this.request_id);
                next(&Body(&response))
            }
            Ok(Poll::Ready(None)) => {
                this.operation = None;
                COMPLETE
            }
            Ok(Poll::Pending) => {
                if this.idle.poll_unpin(context).is_pending() {
                    return Poll::Pending;
                }
                COMMENT
            }
            Err(_) => {
                this.operation = None;
                let mut event = next(&ErrorsBody {
                    errors: &[failure::internal(&this.request_id)],
                })
                .to_vec();
                event.extend_from_slice(&COMPLETE);
                Bytes::from(event)
            }
        };
        this.idle.as_mut().reset(Instant::now() + this.keep_alive);
        Poll::Ready(Some(Ok(event)))
    }
}
