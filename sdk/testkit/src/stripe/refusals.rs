//! Stripe's refusals.

use serde_json::{Value, json};

use crate::refusal::{Class, Refusal};

pub(super) fn missing(param: &str) -> Refusal {
    let message = format!("Missing required param: {param}.");
    Refusal::new(400, "parameter_missing", message).param(param)
}

pub(super) fn invalid(param: &str, message: &str) -> Refusal {
    Refusal::new(400, "", message).param(param)
}

/// What the path names does not exist.
pub(super) fn absent(kind: &str, id: &str) -> Refusal {
    let kind = kind.rsplit('.').next().unwrap_or(kind).replace('_', " ");
    Refusal::new(404, "resource_missing", format!("No such {kind}: '{id}'")).param("id")
}

/// What a parameter names does not exist.
pub(super) fn unknown(kind: &str, id: &str, param: &str) -> Refusal {
    let mut refusal = absent(kind, id).param(param);
    refusal.status = 400;
    refusal
}

/// The card's bank said no.
pub(super) fn declined() -> Refusal {
    Refusal::new(402, "card_declined", "Your card was declined.")
}

pub(super) fn of_class(class: Class) -> Refusal {
    match class {
        Class::Unauthorized => Refusal::new(401, "", "Invalid API Key provided."),
        Class::Forbidden => Refusal::new(
            403,
            "",
            "The provided key does not have the required permissions for this endpoint.",
        ),
        Class::QuotaExhausted => declined(),
        Class::RateLimited => Refusal::new(429, "rate_limit", "Request rate limit exceeded."),
        Class::NoSlot => Refusal::new(
            429,
            "lock_timeout",
            "This object cannot be accessed right now because another API request or Stripe process is currently accessing it.",
        ),
        Class::ContentRejected | Class::InvalidInput => Refusal::new(400, "", "Invalid request."),
        Class::NotFound => Refusal::new(404, "", "Unrecognized request URL."),
        Class::Conflict => Refusal::new(
            409,
            "idempotency_key_in_use",
            "There is currently another in-progress request using this idempotency key.",
        ),
        Class::Unavailable => Refusal::new(503, "", "Stripe is temporarily unavailable."),
        Class::InternalError => Refusal::new(500, "", "An unexpected error occurred."),
    }
}

/// The error envelope.
pub(super) fn envelope(refusal: &Refusal) -> Value {
    let kind = match (refusal.status, refusal.code.as_str()) {
        (_, "idempotency_error") => "idempotency_error",
        (402, _) => "card_error",
        (500.., _) => "api_error",
        _ => "invalid_request_error",
    };
    let mut error = json!({"type": kind, "message": refusal.message});
    if !refusal.code.is_empty() && refusal.code != "idempotency_error" {
        error["code"] = json!(refusal.code);
        error["doc_url"] = json!(format!(
            "https://stripe.com/docs/error-codes/{}",
            refusal.code.replace('_', "-")
        ));
    }
    if refusal.code == "card_declined" {
        error["decline_code"] = json!("generic_decline");
    }
    if let Some(param) = &refusal.param {
        error["param"] = json!(param);
    }
    json!({"error": error})
}
