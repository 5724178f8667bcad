//! What every request to a vendor passes: the log, the credential, the faults.

use std::sync::Arc;

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

use crate::{
    call::Call,
    desk::{Desk, Seen},
    faults::FaultKind,
    ledger::InvoiceCall,
    refusal::{Class, Refusal},
    run::now_ms,
    signing::sha256_hex,
    spoil::{after, before},
    twists::Twists,
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
    /// Whether a path needs no credential.
    fn is_open(&self, path: &str) -> bool {
        path.starts_with(MEDIA)
    }
    /// The vendor's name for a request.
    fn request_id(&self, token: String) -> String {
        token
    }
    /// Adds the vendor's own headers to an answer.
    fn dress(&self, _refusal: Option<&Refusal>, _headers: &mut HeaderMap) {}
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
        &keys.stripe,
        &keys.stripe_webhook,
        &keys.resend,
        &keys.resend_webhook,
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
    let request_id = face.request_id(desk.token(24));
    let open = face.is_open(&path);
    let Ok(body) = to_bytes(body, BODY_LIMIT).await else {
        let refusal = Refusal::new(413, "payload_too_large", "The request is too large.");
        return written(&*face, &refusal, &request_id);
    };

    desk.count(&route);
    let credential = parts.headers.get(face.credential_header());
    let allowed = if open {
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
        credential: match (open, credential, &allowed) {
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
                let under_way = desk.deal_with(number);
                let work = async move {
                    let response = next.run(request).await;
                    drop(under_way);
                    response
                };
                match tokio::spawn(work).await {
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
    if let Some(refusal) = &refusal {
        let mut more = std::mem::take(response.headers_mut());
        more.remove(header::CONTENT_LENGTH);
        response = written(face, refusal, request_id);
        response.headers_mut().extend(more);
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
    face.dress(refusal.as_ref(), response.headers_mut());
    response
}
