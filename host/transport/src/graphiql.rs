//! The page that a browser gets: GraphiQL with everything it needs from this server.

use axum::{body::Body, extract::Path, response::Response};
use http::{HeaderValue, StatusCode, header};
use uuid::Uuid;

use crate::{Graphiql, codes, failure::Failure, negotiation::Media, server};

struct Asset {
    name: &'static str,
    media: &'static str,
    bytes: &'static [u8],
}

/// Empty when the assets were not installed before the build.
static ASSETS: &[Asset] = include!(concat!(env!("OUT_DIR"), "/graphiql_assets.rs"));
const SCRIPT: Asset = Asset {
    name: "page.js",
    media: "text/javascript; charset=utf-8",
    bytes: include_bytes!("../graphiql/page.js"),
};
const PAGE: &str = include_str!("../graphiql/page.html");
const MISSING: &str = include_str!("../graphiql/missing.html");

pub(crate) fn page(options: &Graphiql) -> Response {
    let nonce = Uuid::new_v4().simple().to_string();
    let template = if ASSETS.is_empty() { MISSING } else { PAGE };
    let html = template
        .replace("{nonce}", &nonce)
        .replace(
            "{endpoint}",
            &escape(options.endpoint.trim_end_matches('/')),
        )
        .replace("{title}", &escape(&options.title));
    // GraphiQL's fonts and icons are data URLs in its style sheet.
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; font-src data:; img-src data:; \
         connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let mut response = respond(html.into(), Media::Html.content_type(), "no-store");
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        response
            .headers_mut()
            .insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response.headers_mut().insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    );
    response
}

pub(crate) async fn asset(Path(name): Path<String>) -> Response {
    let asset = ASSETS
        .iter()
        .find(|asset| asset.name == name)
        .or((name == SCRIPT.name).then_some(&SCRIPT));
    let Some(asset) = asset else {
        return server::refuse(
            Media::Json,
            Failure::http(StatusCode::NOT_FOUND, codes::BAD_REQUEST, "No such asset"),
        );
    };
    respond(
        asset.bytes.into(),
        HeaderValue::from_static(asset.media),
        "no-cache",
    )
}

fn respond(body: Body, media: HeaderValue, cache: &'static str) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, media);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    response
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}
