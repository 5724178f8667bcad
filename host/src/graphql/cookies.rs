//! Cookies of browsers' sessions: out of reach of scripts (`HttpOnly`), only over TLS (`Secure`), only
//! to this host (`__Host-`). A cookie comes along with requests that other pages cause, so it counts
//! only together with a header that no other page can send without asking first; on a WebSocket,
//! whose pages are checked by their origin, it counts by itself.

use std::time::Duration;

use async_graphql::Context;
use http::{header, request::Parts};

use crate::{
    accounts::{sessions::SignedIn, tokens},
    time,
};

/// The access token.
const ACCESS: &str = "__Host-genvid_access";
/// The refresh token.
const REFRESH: &str = "__Host-genvid_refresh";
/// Shows that a page of ours sends the request; any value.
pub(super) const CSRF_HEADER: &str = "x-genvid-csrf";
/// Longest `Cookie` header that is looked at, in bytes.
const LONGEST: usize = 16 * 1_024;

/// What cookies a request has.
#[derive(Default)]
pub(super) struct Jar {
    pub(super) access: Option<String>,
    pub(super) refresh: Option<String>,
    /// There are some, and they do not count.
    pub(super) alone: bool,
}

pub(super) fn read(parts: &Parts) -> Jar {
    let mut jar = Jar::default();
    for value in parts.headers.get_all(header::COOKIE) {
        let text = value.to_str().unwrap_or_default();
        if text.len() > LONGEST {
            continue;
        }
        for pair in text.split(';') {
            match pair.trim().split_once('=') {
                Some((ACCESS, value)) => jar.access = Some(value.to_owned()),
                Some((REFRESH, value)) => jar.refresh = Some(value.to_owned()),
                _ => {}
            }
        }
    }
    let upgrade = parts.headers.contains_key(header::UPGRADE);
    // Browsers always say whose page opens a socket; the transport has let only known ones in.
    let ours = match upgrade {
        true => parts.headers.contains_key(header::ORIGIN),
        false => parts.headers.contains_key(CSRF_HEADER),
    };
    let some = jar.access.is_some() || jar.refresh.is_some();
    match ours || !some {
        true => jar,
        false => Jar {
            alone: true,
            ..Jar::default()
        },
    }
}

/// Has a browser keep a session.
pub(super) fn set(ctx: &Context<'_>, signed_in: &SignedIn) {
    for cookie in of(signed_in) {
        ctx.append_http_header(header::SET_COOKIE.as_str(), cookie);
    }
}

/// The cookies of a session.
pub(crate) fn of(signed_in: &SignedIn) -> [String; 2] {
    let left = signed_in.expires_at.since(time::now());
    [
        strict(ACCESS, &signed_in.access_token, tokens::LIFE),
        strict(REFRESH, &signed_in.refresh_token, left),
    ]
}

/// Has a browser forget a session.
pub(super) fn clear(ctx: &Context<'_>) {
    for name in [ACCESS, REFRESH] {
        let cookie = strict(name, "", Duration::ZERO);
        ctx.append_http_header(header::SET_COOKIE.as_str(), cookie);
    }
}

fn strict(name: &str, value: &str, life: Duration) -> String {
    let life = life.as_secs();
    format!("{name}={value}; Path=/; Max-Age={life}; HttpOnly; Secure; SameSite=Strict")
}
