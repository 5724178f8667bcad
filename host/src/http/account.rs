//! Doors of accounts: the public keys, and pages behind links in mails for installations without an
//! app of their own. Pages show a form and do nothing by themselves, because programs that look
//! after mail follow links before people do.

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Extension, Form, Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Deserialize;

use super::{ClientAddress, mail::page};
use crate::{
    accounts::{
        sessions::{Asker, Error, Sessions},
        tokens::KEPT,
    },
    mail::{Language, escape},
};

/// Largest form.
const MAX_BODY: usize = 16 * 1_024;

#[derive(Deserialize)]
struct Token {
    #[serde(default)]
    token: String,
}

#[derive(Deserialize)]
struct NewPassword {
    #[serde(default)]
    token: String,
    #[serde(default)]
    password: String,
}

/// The doors.
pub(super) fn router(sessions: Sessions) -> Router {
    Router::new()
        .route("/.well-known/jwks.json", get(keys))
        .route("/account/verify", get(ask_verify).post(verify))
        .route("/account/reset", get(ask_reset).post(reset))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(sessions)
}

async fn keys(State(sessions): State<Sessions>) -> Response {
    let kept = format!("public, max-age={}", KEPT.as_secs());
    let headers = [
        (header::CACHE_CONTROL, kept),
        (header::CONTENT_TYPE, "application/jwk-set+json".to_owned()),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*".to_owned()),
    ];
    (headers, Json(sessions.keyring().published()).0.to_string()).into_response()
}

async fn ask_verify(Query(Token { token }): Query<Token>) -> Response {
    let token = escape(&token);
    let form = format!(
        "<h1>Confirm your address</h1><form method=\"post\">\
         <input type=\"hidden\" name=\"token\" value=\"{token}\">\
         <button>Confirm</button></form>"
    );
    page(StatusCode::OK, super::mail::PAGE, Language::English, &form)
}

async fn verify(State(sessions): State<Sessions>, Form(Token { token }): Form<Token>) -> Response {
    match sessions.verify(&token).await {
        Ok(_) => words(StatusCode::OK, "Thank you: your address is confirmed."),
        Err(error) => refuse(&error),
    }
}

async fn ask_reset(Query(Token { token }): Query<Token>) -> Response {
    let token = escape(&token);
    let form = format!(
        "<h1>Choose a new password</h1><form method=\"post\">\
         <input type=\"hidden\" name=\"token\" value=\"{token}\">\
         <p><label>New password <input type=\"password\" name=\"password\" minlength=\"8\" \
         autocomplete=\"new-password\" required></label></p><button>Save</button></form>"
    );
    page(StatusCode::OK, super::mail::PAGE, Language::English, &form)
}

async fn reset(
    State(sessions): State<Sessions>,
    address: Option<Extension<ClientAddress>>,
    headers: HeaderMap,
    Form(NewPassword { token, password }): Form<NewPassword>,
) -> Response {
    let asker = Asker {
        address: address.map(|Extension(ClientAddress(address))| address),
        agent: agent(&headers),
    };
    match sessions.reset(&asker, &token, password).await {
        Ok(signed_in) => {
            // Nobody has the tokens of this session: it ends here.
            let (user, session) = (signed_in.user.id, signed_in.session);
            let reason = crate::accounts::sessions::EndReason::Logout;
            if let Err(error) = sessions.close(user, session, reason).await {
                tracing::warn!(%error, "a session that nobody uses stays open until its end");
            }
            words(
                StatusCode::OK,
                "Your password is changed; every session is closed. Sign in with the new one.",
            )
        }
        Err(error) => refuse(&error),
    }
}

/// What a client calls itself.
pub(super) fn agent(headers: &HeaderMap) -> String {
    let agent = headers.get(header::USER_AGENT);
    let agent = agent.and_then(|value| value.to_str().ok());
    agent.unwrap_or_default().to_owned()
}

fn refuse(error: &Error) -> Response {
    let status = match error {
        Error::Invalid(problems) => {
            let first = problems.list().first();
            let why = first.map_or("cannot be taken", |problem| problem.message.as_str());
            return words(
                StatusCode::UNPROCESSABLE_ENTITY,
                &format!("The password {why}."),
            );
        }
        Error::Wrong(_) | Error::NotFound => StatusCode::GONE,
        Error::Refused(_) => StatusCode::TOO_MANY_REQUESTS,
        Error::Conflict(_) => StatusCode::CONFLICT,
        Error::Busy => StatusCode::SERVICE_UNAVAILABLE,
        Error::Failed(_) | Error::Database(_) => {
            tracing::error!(
                error = error as &dyn std::error::Error,
                "a link of an account failed"
            );
            return words(
                StatusCode::SERVICE_UNAVAILABLE,
                "This does not work now; please try again later.",
            );
        }
    };
    words(status, &error.to_string())
}

fn words(status: StatusCode, words: &str) -> Response {
    let body = format!("<p>{}</p>", escape(words));
    page(status, super::mail::PAGE, Language::English, &body)
}
