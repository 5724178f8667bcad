//! What every request to a vendor passes: the log, the credential, the faults.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{DefaultBodyLimit, MatchedPath, Request, State},
    handler::Handler,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing,
};
use bytes::Bytes;
use futures::{StreamExt, stream};

use crate::{
    call::Call,
    desk::{Desk, Seen},
    faults::{Fault, FaultKind, Twists},
    ledger::InvoiceCall,
    refusal::{Class, Refusal},
    run::now_ms,
    signing::sha256_hex,
};

/// Largest request that is read. HeyGen takes assets of 32 MB and base64 pictures of 50 MB.
const BODY_LIMIT: usize = 80 * 1024 * 1024;
/// How much of a request's body is logged.
const LOGGED_BODY: usize = 8 * 1024;
/// Below this path lie the media, which need no credential.
pub(crate) const MEDIA: &str = "/media/";

/// What differs from vendor to vendor on the way through the gate.
pub(crate) trait Face: Send + Sync + 'static {
    fn desk(&self) -> &Arc<Desk>;
    /// Header that carries the credential, in lower case.
    fn credential_header(&self) -> &'static str;
    fn authorize(&self, headers: &HeaderMap, path: &str) -> Result<(), Refusal>;
    /// The vendor's error envelope.
    fn envelope(&self, refusal: &Refusal, request_id: &str) -> serde_json::Value;
    /// The vendor's status, code and words for a class.
    fn refusal(&self, class: Class) -> Refusal;
    /// Whether a call of this route may cost money.
    fn bills(&self, route: &str) -> bool;
    /// Header in which the vendor names the request.
    fn request_id_header(&self) -> Option<&'static str>;
    /// Forgets all tasks and files.
    fn reset(&self);
}

/// The server closes the connection instead of answering.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cut;

/// A router that knows the names of its routes.
pub(crate) struct Routes<S> {
    router: Router<S>,
    list: Vec<String>,
}

macro_rules! method {
    ($name:ident, $word:literal) => {
        pub(crate) fn $name<H, T>(mut self, path: &str, handler: H) -> Self
        where
            H: Handler<T, S>,
            T: 'static,
        {
            self.list.push(format!("{} {path}", $word));
            self.router = self.router.route(path, routing::$name(handler));
            self
        }
    };
}

impl<S: Clone + Send + Sync + 'static> Routes<S> {
    pub(crate) fn new() -> Self {
        Self {
            router: Router::new(),
            list: Vec::new(),
        }
    }

    method!(get, "GET");
    method!(post, "POST");
    method!(delete, "DELETE");

    /// Puts the gate before the routes.
    pub(crate) fn behind_gate(self, state: S, face: Arc<dyn Face>) -> (Router, Vec<String>) {
        let router = self
            .router
            .fallback(unmatched)
            .method_not_allowed_fallback(unmatched)
            .with_state(state)
            .layer(DefaultBodyLimit::disable())
            .layer(middleware::from_fn_with_state(face, gate));
        (router, self.list)
    }
}

async fn unmatched() -> Response {
    StatusCode::NOT_FOUND.into_response()
}

/// What the log keeps of a credential: nothing that can be used.
fn scrub(desk: &Desk, text: &str) -> String {
    let keys = &desk.keys;
    [
        &keys.heygen,
        &keys.kling,
        &keys.kling_secret,
        &keys.elevenlabs,
        &keys.openai,
    ]
    .into_iter()
    .filter(|key| !key.is_empty())
    .fold(text.to_owned(), |text, key| {
        text.replace(key.as_str(), "[credential]")
    })
}

async fn gate(
    State(face): State<Arc<dyn Face>>,
    matched: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Response {
    let desk = face.desk().clone();
    let (parts, body) = request.into_parts();
    let method = parts.method.as_str().to_owned();
    let path = parts.uri.path().to_owned();
    let template = matched.map_or_else(|| "unmatched".to_owned(), |path| path.as_str().to_owned());
    // `HEAD` is served by the handlers of `GET`.
    let route_method = if method == "HEAD" { "GET" } else { &method };
    let route = format!("{route_method} {template}");
    let request_id = desk.token(24);
    let Ok(body) = to_bytes(body, BODY_LIMIT).await else {
        let refusal = Refusal::new(413, "payload_too_large", "The request is too large.");
        return written(&*face, &refusal, &request_id);
    };

    desk.count(&route);
    let credential = parts.headers.get(face.credential_header());
    let allowed = if path.starts_with(MEDIA) {
        Ok(())
    } else {
        face.authorize(&parts.headers, &path)
    };
    let faults = match allowed {
        Ok(()) => desk.strike(route_method, &template, &path),
        Err(_) => Vec::new(),
    };
    let number = desk.log(Seen {
        number: 0,
        at: now_ms(),
        method: method.clone(),
        path: scrub(&desk, &parts.uri.to_string()),
        route: route.clone(),
        credential: match (path.starts_with(MEDIA), credential, &allowed) {
            (true, _, _) => "open",
            (_, None, _) => "missing",
            (_, _, Ok(())) => "accepted",
            (_, _, Err(_)) => "wrong",
        }
        .to_owned(),
        credential_sha256: credential.map(|value| sha256_hex(value.as_bytes())[..16].to_owned()),
        headers: logged_headers(&desk, &parts.headers, face.credential_header()),
        body: scrub(
            &desk,
            &String::from_utf8_lossy(&body[..body.len().min(LOGGED_BODY)]),
        ),
        body_bytes: body.len(),
        status: None,
        faults: faults.iter().map(|fault| word(fault.fault)).collect(),
    });

    let call = Call::new(
        &route,
        parts.uri.query().unwrap_or_default(),
        parts.headers.clone(),
        body.clone(),
        Twists::of(&faults),
        &request_id,
    );
    let response = match allowed {
        Err(refusal) => refusal.into_response(),
        Ok(()) => match before(&*face, &faults).await {
            Some(response) => response,
            None => {
                let mut request = Request::from_parts(parts, Body::from(body));
                request.extensions_mut().insert(call.clone());
                // A task of its own: the vendor finishes what it started even when the
                // client goes away.
                match tokio::spawn(next.run(request)).await {
                    Ok(response) => after(&*face, &faults, &call, response).await,
                    Err(_) => face.refusal(Class::InternalError).into_response(),
                }
            }
        },
    };
    if face.bills(&route) && !call.is_booked() {
        desk.book(InvoiceCall::refused(&route));
    }
    let response = finished(&*face, response, &request_id);
    if response.extensions().get::<Cut>().is_none() {
        desk.log_status(number, response.status().as_u16());
    }
    response
}

fn word(kind: FaultKind) -> String {
    serde_json::to_value(kind)
        .ok()
        .and_then(|value| value.as_str().map(str::to_owned))
        .unwrap_or_default()
}

fn logged_headers(
    desk: &Desk,
    headers: &HeaderMap,
    credential: &str,
) -> std::collections::BTreeMap<String, String> {
    headers
        .iter()
        .map(|(name, value)| {
            let value = if name.as_str() == credential {
                "[credential]".to_owned()
            } else {
                scrub(desk, &String::from_utf8_lossy(value.as_bytes()))
            };
            (name.as_str().to_owned(), value)
        })
        .collect()
}

fn wait(fault: &Fault, default: u64) -> Duration {
    Duration::from_millis(fault.delay_ms.unwrap_or(default))
}

fn cut() -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    response.extensions_mut().insert(Cut);
    response
}

/// The refusal that a fault spells out, on the ground of the class when it has one.
fn spelled(face: &dyn Face, fault: &Fault, default: u16) -> Refusal {
    let mut refusal = match fault.fault.class() {
        Some(class) => face.refusal(class),
        None => Refusal::new(default, "internal_error", "Something went wrong."),
    };
    if let Some(status) = fault.status {
        refusal.status = status;
    }
    if let Some(code) = &fault.code {
        refusal.code.clone_from(code);
    }
    if let Some(message) = &fault.message {
        refusal.message.clone_from(message);
    }
    if fault.retry_after.is_some() {
        refusal.retry_after = fault.retry_after;
    }
    refusal
}

/// Faults that answer in the handler's place.
async fn before(face: &dyn Face, faults: &[Fault]) -> Option<Response> {
    for fault in faults {
        match fault.fault {
            FaultKind::DropBefore => {
                tokio::time::sleep(wait(fault, 0)).await;
                return Some(cut());
            }
            FaultKind::Hang => {
                tokio::time::sleep(wait(fault, 600_000)).await;
                return Some(cut());
            }
            FaultKind::Delay => tokio::time::sleep(wait(fault, 1_000)).await,
            FaultKind::Redirect => {
                tokio::time::sleep(wait(fault, 0)).await;
                let target = fault.value.as_deref().unwrap_or("https://example.com/");
                let status = fault.status.unwrap_or(302);
                let status = StatusCode::from_u16(status).unwrap_or(StatusCode::FOUND);
                return Some((status, [(header::LOCATION, target)]).into_response());
            }
            FaultKind::Answer => {
                tokio::time::sleep(wait(fault, 0)).await;
                return Some(spelled(face, fault, 500).into_response());
            }
            kind if kind.class().is_some() => {
                tokio::time::sleep(wait(fault, 0)).await;
                return Some(spelled(face, fault, 500).into_response());
            }
            _ => {}
        }
    }
    None
}

/// Faults that spoil the handler's answer.
async fn after(face: &dyn Face, faults: &[Fault], call: &Call, response: Response) -> Response {
    let mut response = response;
    for fault in faults {
        match fault.fault {
            FaultKind::AcceptThenDrop => {
                tokio::time::sleep(wait(fault, 0)).await;
                return cut();
            }
            FaultKind::AcceptThenHang => {
                tokio::time::sleep(wait(fault, 600_000)).await;
                return cut();
            }
            FaultKind::AcceptThenAnswer => {
                tokio::time::sleep(wait(fault, 0)).await;
                return spelled(face, fault, 500).into_response();
            }
            FaultKind::Malformed => {
                let body: &[u8] = b"{\"data\": {\"id\": \"half an answ";
                response = replaced(response, Body::from(body));
            }
            FaultKind::Empty => response = replaced(response, Body::empty()),
            FaultKind::NotMedia => {
                let page = "<!doctype html><title>Sorry</title><p>This is not a film.</p>";
                response = replaced(response, Body::from(page));
            }
            FaultKind::WrongContentType => {
                let value = fault.value.as_deref().unwrap_or("text/html");
                if let Ok(value) = HeaderValue::from_str(value) {
                    response.headers_mut().insert(header::CONTENT_TYPE, value);
                }
            }
            FaultKind::Huge => {
                let size = fault.bytes.unwrap_or(128 * 1024 * 1024);
                response = replaced(response, huge(size));
            }
            FaultKind::Truncated => response = truncated(response, fault.bytes).await,
            FaultKind::Slow => response = slow(response, wait(fault, 10_000)).await,
            FaultKind::EchoCredential => {
                let name = face.credential_header();
                let value = call.header(name).unwrap_or_default().to_owned();
                if let Ok(value) = HeaderValue::from_str(&value) {
                    response.headers_mut().insert("x-debug-credential", value);
                }
                response = echoing(response, &value).await;
            }
            _ => {}
        }
    }
    response
}

/// The same head with another body.
fn replaced(response: Response, body: Body) -> Response {
    let (mut parts, _) = response.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, body)
}

fn huge(size: u64) -> Body {
    let chunk = Bytes::from(vec![b' '; 64 * 1024]);
    let length = chunk.len() as u64;
    Body::from_stream(stream::iter((0..size.div_ceil(length)).map(move |index| {
        let rest = size - index * length;
        let end = usize::try_from(rest.min(length)).unwrap_or(chunk.len());
        Ok::<_, std::io::Error>(chunk.slice(..end))
    })))
}

async fn collected(response: Response) -> (axum::http::response::Parts, Bytes) {
    let (mut parts, body) = response.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    let bytes = to_bytes(body, usize::MAX).await.unwrap_or_default();
    (parts, bytes)
}

async fn truncated(response: Response, keep: Option<u64>) -> Response {
    let (mut parts, bytes) = collected(response).await;
    let half = bytes.len() / 2;
    let keep = keep.map_or(half, |keep| usize::try_from(keep).unwrap_or(half));
    parts
        .headers
        .insert(header::CONTENT_LENGTH, HeaderValue::from(bytes.len()));
    let start = bytes.slice(..keep.min(bytes.len()));
    let broken = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
    // The pause lets the first part reach the client before the connection breaks.
    let parts_of_body = stream::iter([Ok(start), Err(broken)]).then(|part| async move {
        if part.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        part
    });
    Response::from_parts(parts, Body::from_stream(parts_of_body))
}

async fn slow(response: Response, over: Duration) -> Response {
    let (mut parts, bytes) = collected(response).await;
    parts
        .headers
        .insert(header::CONTENT_LENGTH, HeaderValue::from(bytes.len()));
    let pieces = 20;
    let step = bytes.len().div_ceil(pieces).max(1);
    let chunks: Vec<Bytes> = (0..bytes.len())
        .step_by(step)
        .map(|start| bytes.slice(start..(start + step).min(bytes.len())))
        .collect();
    let pause = over / u32::try_from(chunks.len().max(1)).unwrap_or(1);
    let drip = stream::iter(chunks).then(move |chunk| async move {
        tokio::time::sleep(pause).await;
        Ok::<_, std::io::Error>(chunk)
    });
    Response::from_parts(parts, Body::from_stream(drip))
}

async fn echoing(response: Response, credential: &str) -> Response {
    let (parts, bytes) = collected(response).await;
    let body = match serde_json::from_slice::<serde_json::Value>(&bytes) {
        Ok(serde_json::Value::Object(mut object)) => {
            object.insert("debug".into(), serde_json::json!({"received": credential}));
            serde_json::Value::Object(object).to_string().into()
        }
        _ => {
            let mut text = bytes.to_vec();
            text.extend_from_slice(credential.as_bytes());
            Bytes::from(text)
        }
    };
    Response::from_parts(parts, Body::from(body))
}

/// Writes a refusal in the vendor's envelope.
fn written(face: &dyn Face, refusal: &Refusal, request_id: &str) -> Response {
    let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = face.envelope(refusal, request_id).to_string();
    let mut response = (status, [(header::CONTENT_TYPE, "application/json")], body).into_response();
    if let Some(seconds) = refusal.retry_after {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Envelopes for refusals and for what no route serves; the request's id for all.
fn finished(face: &dyn Face, mut response: Response, request_id: &str) -> Response {
    if response.extensions().get::<Cut>().is_some() {
        return response;
    }
    let refusal = response.extensions_mut().remove::<Refusal>();
    if let Some(refusal) = refusal {
        response = written(face, &refusal, request_id);
    } else if response.status() == StatusCode::NOT_FOUND
        && response.headers().get(header::CONTENT_TYPE).is_none()
    {
        response = written(face, &face.refusal(Class::NotFound), request_id);
    }
    if let Some(name) = face.request_id_header()
        && let Ok(value) = HeaderValue::from_str(request_id)
    {
        response
            .headers_mut()
            .insert(HeaderName::from_static(name), value);
    }
    response
}
