//! The page that a browser gets.

use axum::{extract::Path, response::Response};
use http::StatusCode;

use crate::{Graphiql, failure::Failure, negotiation::Media, server};

pub(crate) fn page(_page: &Graphiql) -> Response {
    server::refuse(
        Media::Json,
        Failure::http(StatusCode::NOT_FOUND, "NOT_FOUND", "No page"),
    )
}

pub(crate) async fn asset(Path(_name): Path<String>) -> Response {
    server::refuse(
        Media::Json,
        Failure::http(StatusCode::NOT_FOUND, "NOT_FOUND", "No such asset"),
    )
}
