//! Serves media files behind links that run out.

use std::{path::Path, time::Duration};

use axum::{
    body::Body,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use crate::{call::Call, run::now_ms, signing};

/// Makes and checks the links of one vendor.
pub(crate) struct MediaLinks {
    host: &'static str,
    key: String,
}

impl MediaLinks {
    pub(crate) fn new(host: &'static str, key: String) -> Self {
        Self { host, key }
    }

    fn signature(&self, path: &str, expires: &str) -> String {
        let parts: [&[u8]; 3] = [path.as_bytes(), b"?", expires.as_bytes()];
        hex::encode(&signing::hmac(self.key.as_bytes(), &parts)[..16])
    }

    /// A link that works for so long.
    pub(crate) fn link(&self, path: &str, ttl: Duration) -> String {
        let ttl = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
        let expires = now_ms().saturating_add(ttl).to_string();
        let signature = self.signature(path, &expires);
        format!(
            "https://{}{path}?Expires={expires}&Signature={signature}",
            self.host
        )
    }

    /// Whether the request came through a link that still works.
    pub(crate) fn works(&self, path: &str, call: &Call) -> bool {
        let query = call.query();
        let (Some(expires), Some(signature)) = (query.get("Expires"), query.get("Signature"))
        else {
            return false;
        };
        *signature == self.signature(path, expires)
            && expires.parse::<i64>().is_ok_and(|at| now_ms() < at)
    }
}

/// What storage behind a content network answers to a link that does not work.
pub(crate) fn expired() -> Response {
    let body = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
                <Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>";
    (
        StatusCode::FORBIDDEN,
        [(header::CONTENT_TYPE, "application/xml")],
        body,
    )
        .into_response()
}

/// The part of a file that one `Range` asks for; nothing when the header is to be ignored.
fn range(headers: &HeaderMap, size: u64) -> Option<Result<(u64, u64), ()>> {
    let value = headers.get(header::RANGE)?.to_str().ok()?;
    let (from, to) = value.strip_prefix("bytes=")?.split_once('-')?;
    if to.contains(',') {
        return None;
    }
    let (start, end) = match (from.parse::<u64>(), to.parse::<u64>()) {
        (Ok(start), Ok(end)) => (start, end.min(size.saturating_sub(1))),
        (Ok(start), Err(_)) if to.is_empty() => (start, size.saturating_sub(1)),
        (Err(_), Ok(length)) if from.is_empty() => {
            (size.saturating_sub(length), size.saturating_sub(1))
        }
        _ => return None,
    };
    Some(if start < size && start <= end {
        Ok((start, end))
    } else {
        Err(())
    })
}

/// The file as an answer, whole or in part.
pub(crate) async fn file(path: &Path, mime: &str, headers: &HeaderMap) -> Response {
    match open(path, mime, headers).await {
        Ok(response) => response,
        Err(error) => {
            tracing::warn!(%error, "a media file could not be read");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

async fn open(path: &Path, mime: &str, headers: &HeaderMap) -> std::io::Result<Response> {
    let mut file = tokio::fs::File::open(path).await?;
    let size = file.metadata().await?.len();
    let (status, start, length) = match range(headers, size) {
        None => (StatusCode::OK, 0, size),
        Some(Ok((start, end))) => (StatusCode::PARTIAL_CONTENT, start, end - start + 1),
        Some(Err(())) => {
            let all = format!("bytes */{size}");
            let head = [(header::CONTENT_RANGE, all)];
            return Ok((StatusCode::RANGE_NOT_SATISFIABLE, head).into_response());
        }
    };
    file.seek(std::io::SeekFrom::Start(start)).await?;
    let body = Body::from_stream(ReaderStream::new(file.take(length)));
    let mut response = (
        status,
        [
            (header::CONTENT_TYPE, mime.to_owned()),
            (header::CONTENT_LENGTH, length.to_string()),
            (header::ACCEPT_RANGES, "bytes".to_owned()),
        ],
        body,
    )
        .into_response();
    if status == StatusCode::PARTIAL_CONTENT
        && let Ok(value) = format!("bytes {start}-{}/{size}", start + length - 1).parse()
    {
        response.headers_mut().insert(header::CONTENT_RANGE, value);
    }
    Ok(response)
}
