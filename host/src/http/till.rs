//! The door of the payment vendor: what it sends is verified before anything reads it, kept
//! before it is acted on, and harmless when it comes again.

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, StatusCode},
    routing::post,
};

use crate::payments::Service;

/// The door.
pub(super) fn router(payments: Service) -> Router {
    Router::new()
        .route("/api/payments/webhook", post(receive))
        .layer(DefaultBodyLimit::max(genvid_stripe::MAX_EVENT))
        .with_state(payments)
}

/// 200 for whatever is believed, known or not; the vendor sends the rest again.
async fn receive(State(payments): State<Service>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let Some(signature) = headers.get("stripe-signature") else {
        return StatusCode::BAD_REQUEST;
    };
    match payments.receive(signature.as_bytes(), &body).await {
        Ok(Ok(event)) => {
            tracing::debug!(event = event.id, kind = event.kind, "a payment event came");
            StatusCode::OK
        }
        Ok(Err(why)) => {
            tracing::warn!(why, "a payment event was refused");
            StatusCode::BAD_REQUEST
        }
        Err(error) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "a payment event could not be kept"
            );
            StatusCode::SERVICE_UNAVAILABLE
        }
    }
}
