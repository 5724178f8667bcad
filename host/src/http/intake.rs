//! Pictures that users send to the local store, under signed links: streamed to the disk, never
//! more than the link says.

use std::{
    io,
    time::{Duration, SystemTime},
};

use axum::{
    body::Body,
    extract::{Path, RawQuery, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures::StreamExt;
use genvid_media::{
    blob,
    links::{Intake, LinkError},
};

use super::{Shared, media::refuse};

/// Longest wait for the next piece.
const PIECE: Duration = Duration::from_secs(30);
/// Longest time for the whole.
const WHOLE: Duration = Duration::from_secs(600);

/// Pages of any origin may send: the link itself is the permission, and nothing here looks at
/// cookies.
pub(super) async fn preflight() -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    for (name, value) in [
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, PUT"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "content-type"),
        (header::ACCESS_CONTROL_MAX_AGE, "86400"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    open_to_pages(response)
}

pub(super) async fn receive(
    State(shared): State<Shared>,
    Path(key): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Response {
    open_to_pages(take(&shared, &key, &query.unwrap_or_default(), &headers, body).await)
}

async fn take(
    shared: &Shared,
    key: &str,
    query: &str,
    headers: &HeaderMap,
    body: Body,
) -> Response {
    let intake = match shared
        .links
        .signer()
        .verify_intake(key, query, SystemTime::now())
    {
        Ok(intake) => intake,
        Err(LinkError::Expired) => {
            return refuse(
                StatusCode::GONE,
                "This link has expired; ask the API for a new upload.",
            );
        }
        Err(_) => return refuse(StatusCode::FORBIDDEN, "This link is not valid."),
    };
    let told = |name| {
        headers
            .get(name)
            .and_then(|value: &HeaderValue| value.to_str().ok())
    };
    let is_type = told(header::CONTENT_TYPE)
        .and_then(|value| value.split(';').next())
        .is_some_and(|value| value.trim().eq_ignore_ascii_case(&intake.mime));
    if !is_type {
        return refuse(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "The content type is not the one that was announced.",
        );
    }
    match told(header::CONTENT_LENGTH).map(str::parse::<u64>) {
        Some(Ok(size)) if size > intake.size => return too_large(),
        Some(Ok(size)) if size < intake.size => return too_small(),
        // In chunks; counted as they come.
        Some(Ok(_)) | None => {}
        Some(Err(_)) => return refuse(StatusCode::BAD_REQUEST, "The length is no number."),
    }
    // One at a time, so that a link fills the disk once only.
    if !shared.arriving.insert(intake.key.clone()) {
        return refuse(StatusCode::CONFLICT, "Somebody sends to this link now.");
    }
    let arriving = Arriving(shared, &intake);
    let kept = tokio::time::timeout(WHOLE, arriving.keep(body)).await;
    match kept {
        Ok(Ok(())) => StatusCode::OK.into_response(),
        Ok(Err(Failure::TooLarge)) => too_large(),
        Ok(Err(Failure::TooSmall)) => too_small(),
        Ok(Err(Failure::Late)) | Err(_) => {
            refuse(StatusCode::REQUEST_TIMEOUT, "The file came too slowly.")
        }
        Ok(Err(Failure::Broken)) => refuse(StatusCode::BAD_REQUEST, "The file broke off."),
        Ok(Err(Failure::Store(blob::Error::AlreadyExists(_)))) => refuse(
            StatusCode::CONFLICT,
            "A file has arrived already; go on with completeUpload.",
        ),
        Ok(Err(Failure::Store(error))) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "a file could not be kept"
            );
            refuse(
                StatusCode::INTERNAL_SERVER_ERROR,
                "The file cannot be kept now.",
            )
        }
    }
}

enum Failure {
    TooLarge,
    TooSmall,
    Late,
    Broken,
    Store(blob::Error),
}

impl From<blob::Error> for Failure {
    fn from(error: blob::Error) -> Self {
        Self::Store(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Store(error.into())
    }
}

/// A file that is being sent; dropped, the link is free again.
struct Arriving<'a>(&'a Shared, &'a Intake);

impl Drop for Arriving<'_> {
    fn drop(&mut self) {
        self.0.arriving.remove(&self.1.key);
    }
}

impl Arriving<'_> {
    async fn keep(&self, body: Body) -> Result<(), Failure> {
        let Self(
            shared,
            Intake {
                key, mime, size, ..
            },
        ) = self;
        let mut writer = shared.blobs.create(key, mime).await?;
        let mut body = body.into_data_stream();
        let mut left = *size;
        loop {
            let piece = tokio::time::timeout(PIECE, body.next())
                .await
                .map_err(|_| Failure::Late)?;
            let Some(piece) = piece else { break };
            let piece = piece.map_err(|_| Failure::Broken)?;
            left = left
                .checked_sub(piece.len() as u64)
                .ok_or(Failure::TooLarge)?;
            writer.write(piece).await?;
        }
        if left > 0 {
            return Err(Failure::TooSmall);
        }
        writer.finish().await?;
        Ok(())
    }
}

fn too_large() -> Response {
    refuse(
        StatusCode::PAYLOAD_TOO_LARGE,
        "The file is larger than was announced.",
    )
}

fn too_small() -> Response {
    refuse(
        StatusCode::BAD_REQUEST,
        "The file is smaller than was announced.",
    )
}

fn open_to_pages(mut response: Response) -> Response {
    response.headers_mut().insert(
        header::ACCESS_CONTROL_ALLOW_ORIGIN,
        HeaderValue::from_static("*"),
    );
    response
}
