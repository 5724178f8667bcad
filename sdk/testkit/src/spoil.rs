//! What faults do to an answer: some stand in its place, some spoil it on its way out.

use std::time::Duration;

use axum::{
    body::{Body, to_bytes},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};

use crate::{
    call::Call,
    faults::{Fault, FaultKind},
    gate::{Cut, Face},
    refusal::Refusal,
};

/// Size of answers that are made large, if the fault does not say.
const LARGE: u64 = 128 * 1024 * 1024;

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
pub(crate) async fn before(face: &dyn Face, faults: &[Fault]) -> Option<Response> {
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
pub(crate) async fn after(
    face: &dyn Face,
    faults: &[Fault],
    call: &Call,
    response: Response,
) -> Response {
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
                let size = fault.bytes.unwrap_or(LARGE);
                response = replaced(response, huge(size));
            }
            FaultKind::Padded => response = padded(response, fault.bytes.unwrap_or(LARGE)),
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
    Body::from_stream(run_of(b' ', size).map(Ok::<_, std::io::Error>))
}

/// `size` times the same byte, without holding them.
fn run_of(byte: u8, size: u64) -> impl Stream<Item = Bytes> + Send + 'static {
    let chunk = Bytes::from(vec![byte; 64 * 1024]);
    let length = chunk.len() as u64;
    stream::iter((0..size.div_ceil(length)).map(move |index| {
        let rest = size - index * length;
        let end = usize::try_from(rest.min(length)).unwrap_or(chunk.len());
        chunk.slice(..end)
    }))
}

/// A film with a free space box behind it (ISO/IEC 14496-12, sections 4.2 and 8.1.2: a size of
/// 1 says that the true one follows the type in 64 bits). Players skip it.
fn padded(response: Response, size: u64) -> Response {
    const HEAD: u64 = 16;
    let header = |name| response.headers().get(name)?.to_str().ok();
    let film: Option<u64> = header(header::CONTENT_LENGTH).and_then(|length| length.parse().ok());
    let is_film = header(header::CONTENT_TYPE).is_some_and(|mime| mime.starts_with("video/mp4"));
    let Some(space) = film
        .filter(|_| is_film && response.status() == StatusCode::OK)
        .and_then(|film| size.checked_sub(film))
        .filter(|space| *space >= HEAD)
    else {
        return response;
    };
    let mut head = Vec::from(1_u32.to_be_bytes());
    head.extend_from_slice(b"free");
    head.extend_from_slice(&space.to_be_bytes());
    let (mut parts, film) = response.into_parts();
    parts
        .headers
        .insert(header::CONTENT_LENGTH, HeaderValue::from(size));
    let space = stream::once(async { Bytes::from(head) })
        .chain(run_of(0, space - HEAD))
        .map(Ok::<_, axum::Error>);
    Response::from_parts(
        parts,
        Body::from_stream(film.into_data_stream().chain(space)),
    )
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
