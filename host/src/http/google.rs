//! Doors of the sign-in with Google: to its page, and back. What went wrong is told on a page of this
//! server, and nothing of it to the app.

use std::fmt::Write as _;

use axum::{
    Router,
    extract::{Extension, Query, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use serde::Deserialize;

use super::{
    ClientAddress,
    account::agent,
    mail::{PAGE, page},
};
use crate::{
    accounts::{
        google::{Google, Returned, WAIT},
        sessions::{Asker, Error},
    },
    graphql::cookies,
    mail::{Language, escape},
};

/// Keeps an attempt in the browser that began it. It has to come along when Google sends the browser
/// back, which `SameSite=Strict` would prevent.
const COOKIE: &str = "__Host-genvid_google";

/// Everything that these doors lead to.
#[derive(Clone)]
pub struct SignIn {
    /// Nothing: it is not registered there.
    pub google: Option<Google>,
    /// Pages of the app to go on to; nothing: this server's own.
    pub app_url: Option<String>,
}

#[derive(Deserialize)]
struct Begin {
    next: Option<String>,
}

#[derive(Deserialize)]
struct Back {
    state: Option<String>,
    iss: Option<String>,
    code: Option<String>,
    error: Option<String>,
}

/// The doors.
pub(super) fn router(sign_in: SignIn) -> Router {
    Router::new()
        .route("/api/auth/google", get(begin))
        .route("/api/auth/callback", get(finish))
        .with_state(sign_in)
}

async fn begin(
    State(sign_in): State<SignIn>,
    headers: HeaderMap,
    Query(Begin { next }): Query<Begin>,
) -> Response {
    let Some(google) = &sign_in.google else {
        return absent(&headers);
    };
    match google.begin(next.as_deref()).await {
        Ok(begun) => {
            let life = WAIT.as_secs();
            go(
                &begun.page,
                [format!("{COOKIE}={}; {}", begun.kept, kept(life))],
            )
        }
        Err(error) => refuse(&error, &headers),
    }
}

async fn finish(
    State(sign_in): State<SignIn>,
    address: Option<Extension<ClientAddress>>,
    headers: HeaderMap,
    Query(back): Query<Back>,
) -> Response {
    let Some(google) = &sign_in.google else {
        return absent(&headers);
    };
    let asker = Asker {
        address: address.map(|Extension(ClientAddress(address))| address),
        agent: agent(&headers),
    };
    let returned = Returned {
        kept: cookie(&headers),
        state: back.state,
        issuer: back.iss,
        code: back.code,
        error: back.error,
    };
    let forget = format!("{COOKIE}=; {}", kept(0));
    let finished = google.finish(&asker, language(&headers), returned).await;
    let mut response = match finished {
        Ok((signed_in, next)) => {
            let set = cookies::of(&signed_in);
            let mut app = sign_in.app_url.unwrap_or_default();
            app.truncate(app.trim_end_matches('/').len());
            match (next, app.is_empty()) {
                (None, true) => with(
                    words(StatusCode::OK, &headers, "You are signed in.", "您已登录。"),
                    set,
                ),
                (next, _) => {
                    // A path has been looked at before it was sealed.
                    let _ = write!(app, "{}", next.as_deref().unwrap_or("/"));
                    go(&app, set)
                }
            }
        }
        Err(error) => refuse(&error, &headers),
    };
    if let Ok(forget) = HeaderValue::from_str(&forget) {
        response.headers_mut().append(header::SET_COOKIE, forget);
    }
    response
}

fn kept(seconds: u64) -> String {
    format!("Path=/; Max-Age={seconds}; HttpOnly; Secure; SameSite=Lax")
}

fn cookie(headers: &HeaderMap) -> Option<String> {
    let all = headers.get_all(header::COOKIE).iter();
    all.filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == COOKIE)
        .map(|(_, value)| value.to_owned())
}

fn go<const N: usize>(to: &str, cookies: [String; N]) -> Response {
    with(Redirect::to(to).into_response(), cookies)
}

fn with<const N: usize>(mut response: Response, cookies: [String; N]) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    for cookie in cookies {
        if let Ok(cookie) = HeaderValue::from_str(&cookie) {
            headers.append(header::SET_COOKIE, cookie);
        }
    }
    response
}

fn language(headers: &HeaderMap) -> Language {
    let wanted = headers.get(header::ACCEPT_LANGUAGE);
    let wanted = wanted.and_then(|value| value.to_str().ok());
    let first = wanted.and_then(|text| text.split([',', ';']).next());
    Language::of(first.unwrap_or_default().trim())
}

fn absent(headers: &HeaderMap) -> Response {
    words(
        StatusCode::NOT_FOUND,
        headers,
        "Nobody signs in with Google here: its operator has not set accounts.google.client_id.",
        "此站点未启用 Google 登录。",
    )
}

fn refuse(error: &Error, headers: &HeaderMap) -> Response {
    let status = match error {
        Error::Invalid(problems) => {
            let first = problems.list().first();
            let why = first.map(|problem| format!("`{}` {}.", problem.field, problem.message));
            return words(
                StatusCode::BAD_REQUEST,
                headers,
                &why.unwrap_or_default(),
                "请求无效。",
            );
        }
        Error::Wrong(_) | Error::NotFound => StatusCode::BAD_REQUEST,
        Error::Refused(_) => StatusCode::TOO_MANY_REQUESTS,
        Error::Conflict(_) => StatusCode::CONFLICT,
        Error::Busy => StatusCode::SERVICE_UNAVAILABLE,
        Error::Failed(_) | Error::Database(_) => {
            tracing::error!(
                error = error as &dyn std::error::Error,
                "a sign-in with Google failed"
            );
            return words(
                StatusCode::SERVICE_UNAVAILABLE,
                headers,
                "Signing in with Google does not work now; please try again later.",
                "暂时无法使用 Google 登录，请稍后再试。",
            );
        }
    };
    words(
        status,
        headers,
        &error.to_string(),
        "登录未完成，请重新开始。",
    )
}

fn words(status: StatusCode, headers: &HeaderMap, english: &str, chinese: &str) -> Response {
    let language = language(headers);
    let words = match language {
        Language::English => english,
        Language::Chinese => chinese,
    };
    let body = format!("<p>{}</p>", escape(words));
    with(page(status, PAGE, language, &body), [])
}
