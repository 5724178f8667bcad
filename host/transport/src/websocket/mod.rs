//! The `graphql-transport-ws` protocol (npm `graphql-ws`, `PROTOCOL.md`) over axum's WebSocket.
//!
//! Close codes: 4400 malformed or unknown message; 4401 `subscribe` before the acknowledgement; 4403 token refused,
//! expired, or renewed for somebody else; 4408 no acknowledged `connection_init` in time; 4409 id in use; 4429 second
//! `connection_init`, or too many sockets of one identity; 1001 the server stops; 1002, 1007, 1009 broken, not UTF-8 or
//! too large on the WebSocket level; 1013 the client does not read. One operation too many is an `error` message of
//! its own, the others go on.
//!
//! What the protocol leaves open: a token that expires can be renewed. The client sends
//! `{"type":"ping","payload":{"authorization":"Bearer …"}}`; the answer is a `pong` without payload, and the new token's
//! expiry counts from then on. Operations that run keep the identity they started with, new ones get the new one.

mod ending;
mod frames;
mod session;

use std::sync::Arc;

use async_graphql::Executor;
use axum::{
    extract::{FromRequestParts, OriginalUri, ws::WebSocketUpgrade},
    response::Response,
};
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header, request::Parts};

use crate::{
    AllowedOrigins, Authenticator, codes,
    failure::Failure,
    negotiation::Media,
    server::{Core, refuse},
};

pub(crate) const SUBPROTOCOL: &str = "graphql-transport-ws";
/// tungstenite keeps both buffers for the life of a socket and takes 128 KiB for reading by default. Messages larger
/// than this get a buffer of their own while they are read or written.
const BUFFER_BYTES: usize = 2 * 1024;

/// Answers the upgrade request; the socket then runs as one task of its own.
///
/// A client that does not offer the subprotocol gets 400: a handshake that succeeds without it fails in browsers
/// anyway, with less to see. (The protocol allows 4406 or this.)
pub(crate) async fn upgrade<E: Executor, A: Authenticator>(
    core: Arc<Core<E, A>>,
    mut parts: Parts,
) -> Response {
    if !origin_allowed(&parts.headers, &core.options.allowed_origins) {
        let failure = Failure::http(
            StatusCode::FORBIDDEN,
            codes::FORBIDDEN,
            "This origin may not open sockets here",
        );
        return refuse(Media::Json, failure);
    }
    let upgrade = match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
        Ok(upgrade) => upgrade.protocols([SUBPROTOCOL]),
        Err(rejection) => {
            let failure = Failure::http(
                rejection.status(),
                codes::BAD_REQUEST,
                rejection.body_text(),
            );
            return refuse(Media::Json, failure);
        }
    };
    if upgrade.selected_protocol().is_none() {
        let failure =
            Failure::bad_request("The WebSocket subprotocol must be graphql-transport-ws");
        let protocol = HeaderValue::from_static(SUBPROTOCOL);
        return refuse(
            Media::Json,
            failure.with_header(header::SEC_WEBSOCKET_PROTOCOL, protocol),
        );
    }
    let shutdown = core.options.shutdown.clone();
    let Some(slot) = core
        .slots
        .enter()
        .filter(|_| !shutdown.token().is_cancelled())
    else {
        let failure = Failure::http(
            StatusCode::SERVICE_UNAVAILABLE,
            codes::UNAVAILABLE,
            "Too many open sockets",
        );
        return refuse(
            Media::Json,
            failure.with_header(header::RETRY_AFTER, HeaderValue::from_static("5")),
        );
    };
    let head = Arc::new(detached(parts));
    let largest = core.options.max_message_bytes;
    upgrade
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(BUFFER_BYTES)
        .max_message_size(largest)
        .max_frame_size(largest)
        .on_upgrade(move |socket| {
            let tracked = shutdown.track();
            async move {
                session::run(core, head, socket, slot).await;
                drop(tracked);
            }
        })
}

/// A copy of the head that does not keep the connection's read buffer alive: hyper's header values and URIs are slices
/// of it.
fn detached(parts: Parts) -> Parts {
    let copy = |uri: &Uri| uri.to_string().parse().unwrap_or_default();
    let mut headers = HeaderMap::with_capacity(parts.headers.len());
    for (name, value) in &parts.headers {
        if let Ok(mut copy) = HeaderValue::from_bytes(value.as_bytes()) {
            copy.set_sensitive(value.is_sensitive());
            headers.append(name.clone(), copy);
        }
    }
    let mut detached = http::Request::new(()).into_parts().0;
    detached.method = parts.method;
    detached.uri = copy(&parts.uri);
    detached.version = parts.version;
    detached.headers = headers;
    detached.extensions = parts.extensions;
    if let Some(OriginalUri(original)) = detached.extensions.remove::<OriginalUri>() {
        detached.extensions.insert(OriginalUri(copy(&original)));
    }
    detached
}

fn origin_allowed(headers: &HeaderMap, allowed: &AllowedOrigins) -> bool {
    let AllowedOrigins::SameHostAnd(origins) = allowed else {
        return true;
    };
    let Some(origin) = headers.get(header::ORIGIN) else {
        return true;
    };
    let Ok(origin) = origin.to_str() else {
        return false;
    };
    let same_host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .zip(origin.split_once("://"))
        .is_some_and(|(host, (_, authority))| host.eq_ignore_ascii_case(authority));
    same_host
        || origins
            .iter()
            .any(|allowed| allowed.eq_ignore_ascii_case(origin))
}
