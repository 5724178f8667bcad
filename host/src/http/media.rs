//! Files of the local store, under signed links, with range requests (RFC 9110, section 14).

use std::time::SystemTime;

use axum::{
    body::Body,
    extract::{Path, RawQuery, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use genvid_media::{ByteRange, links::LinkError};

use super::Shared;
use crate::media::is_withdrawn;

pub(super) async fn serve(
    State(shared): State<Shared>,
    Path(key): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let query = query.unwrap_or_default();
    let grant = match shared
        .links
        .signer()
        .verify(&key, &query, SystemTime::now())
    {
        Ok(grant) => grant,
        Err(LinkError::Expired) => {
            return refuse(
                StatusCode::GONE,
                "This link has expired; ask the API for a new one.",
            );
        }
        Err(_) => return refuse(StatusCode::FORBIDDEN, "This link is not valid."),
    };
    match is_withdrawn(&shared.database, &grant.key).await {
        Ok(false) => {}
        Ok(true) => return refuse(StatusCode::GONE, "This file was removed."),
        Err(error) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "nobody knows whether a file may be read"
            );
            return refuse(
                StatusCode::INTERNAL_SERVER_ERROR,
                "The file cannot be read now.",
            );
        }
    }
    let range = headers
        .get(header::RANGE)
        .and_then(|value| value.to_str().ok())
        .and_then(ByteRange::from_header);
    let blob = match shared.blobs.open(&grant.key, range).await {
        Ok(Some(blob)) => blob,
        Ok(None) => return refuse(StatusCode::NOT_FOUND, "There is no such file."),
        Err(genvid_media::blob::Error::RangeNotSatisfiable { size }) => {
            let mut response = refuse(StatusCode::RANGE_NOT_SATISFIABLE, "There are fewer bytes.");
            if let Ok(value) = HeaderValue::try_from(format!("bytes */{size}")) {
                response.headers_mut().insert(header::CONTENT_RANGE, value);
            }
            return response;
        }
        Err(error) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "a file could not be read"
            );
            return refuse(
                StatusCode::INTERNAL_SERVER_ERROR,
                "The file cannot be read now.",
            );
        }
    };
    let (status, length, content_range) = match blob.span {
        None => (StatusCode::OK, blob.size, None),
        Some(span) => (
            StatusCode::PARTIAL_CONTENT,
            span.bytes(),
            Some(format!("bytes {}-{}/{}", span.start, span.end, blob.size)),
        ),
    };
    let mut response = Response::new(Body::from_stream(blob.body));
    *response.status_mut() = status;
    let answer = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, Some(blob.mime)),
        (header::CONTENT_LENGTH, Some(length.to_string())),
        (header::CONTENT_RANGE, content_range),
        (
            header::CONTENT_DISPOSITION,
            Some(grant.disposition.header_value()),
        ),
        (header::ETAG, blob.sha256.map(|sum| format!("\"{sum}\""))),
        (header::ACCEPT_RANGES, Some("bytes".to_owned())),
        (
            header::CACHE_CONTROL,
            Some("private, max-age=31536000, immutable".to_owned()),
        ),
        // Whatever a vendor delivered must not run as a page of this origin.
        (
            header::CONTENT_SECURITY_POLICY,
            Some("sandbox; default-src 'none'".to_owned()),
        ),
    ] {
        if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
            answer.insert(name, value);
        }
    }
    response
}

pub(super) fn refuse(status: StatusCode, message: &'static str) -> Response {
    (status, message).into_response()
}
