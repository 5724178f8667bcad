//! Callbacks of vendors. A hint, never a fact: verified, kept, and then it only makes the
//! next poll happen now.

use std::sync::Arc;

use axum::{
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
};
use genvid_runtime::{Call, NoAssets, webhook::Hint};
use sha2::{Digest, Sha256};

use super::Shared;
use crate::{ids::AttemptId, jobs::remote::Nudge, time};

/// Largest callback.
const MAX_BODY: usize = 256 * 1_024;

/// 204 for whatever was taken, known or not: an answer must not tell which attempts exist.
pub(super) async fn receive(
    State(shared): State<Shared>,
    Path((provider, attempt)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    if body.len() > MAX_BODY {
        return StatusCode::PAYLOAD_TOO_LARGE;
    }
    let Some(provider) = shared
        .registry
        .find(&provider)
        .filter(|p| p.plugin.exports().webhook)
    else {
        return StatusCode::NOT_FOUND;
    };
    let now = time::now();
    if let Err(refused) =
        provider
            .plugin
            .verify_webhook(&headers, &body, now.millis().unsigned_abs())
    {
        tracing::warn!(provider = provider.id(), %refused, "a callback was refused");
        return StatusCode::UNAUTHORIZED;
    }
    let call = Call {
        assets: Arc::new(NoAssets),
        text: None,
        permission: None,
        label: format!("callback {}", provider.id()),
    };
    let hints = match provider
        .plugin
        .parse_webhook(call, &headers, &body)
        .await
        .result
    {
        Ok(hints) => hints,
        Err(error) => {
            tracing::warn!(provider = provider.id(), %error, "a callback could not be read");
            return StatusCode::BAD_REQUEST;
        }
    };
    let digest = hex::encode(Sha256::digest(&body));
    let delivery = hints
        .iter()
        .find_map(|hint| hint.event_id.clone())
        .unwrap_or(digest);
    let kept = shared
        .database
        .keep_callback(provider.id().to_owned(), delivery, body.to_vec(), now)
        .await;
    match kept {
        Ok(true) => {}
        Ok(false) => return StatusCode::NO_CONTENT,
        Err(error) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "a callback could not be kept"
            );
            return StatusCode::SERVICE_UNAVAILABLE;
        }
    }
    // The URL itself names the attempt; what the body says is for vendors that share one URL.
    look(&shared, provider.id(), attempt.parse().ok(), None).await;
    for Hint {
        client_ref,
        task_id,
        ..
    } in hints
    {
        let reference = client_ref.and_then(|text| text.parse().ok());
        look(&shared, provider.id(), reference, task_id.as_deref()).await;
    }
    StatusCode::NO_CONTENT
}

async fn look(shared: &Shared, provider: &str, reference: Option<AttemptId>, task: Option<&str>) {
    if reference.is_none() && task.is_none() {
        return;
    }
    match shared
        .database
        .find_open_attempt(provider, reference, task)
        .await
    {
        Ok(Some(attempt)) => {
            if let Err(error) = shared.database.wake_step(attempt.step).await {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "a step could not be woken"
                );
            }
            for nudge in [Nudge::Look(attempt.job), Nudge::Work] {
                shared.nudges.send(nudge);
            }
        }
        Ok(None) => {}
        Err(error) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "an attempt could not be found"
            );
        }
    }
}
