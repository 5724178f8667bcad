//! Errors on their way out: every one gets a code, none says too much.

use async_graphql::{ErrorExtensionValues, Pos, Response, ServerError, Value};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::{Serialize, Serializer, ser::SerializeMap};

use crate::{Refusal, RequestId, codes, nulls::Expected};

/// async-graphql's syntax errors quote the source line, which may be the whole document.
const MAX_MESSAGE_CHARS: usize = 200;
/// A long document can break a rule in a thousand places; a caller reads the first few.
const MAX_REQUEST_ERRORS: usize = 20;

/// A request that was turned away before it ran.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The status, except that a `document` failure is 200 for clients that only understand `application/json`
    /// (GraphQL over HTTP, section "application/json").
    pub(crate) status: StatusCode,
    /// The request was well formed; its document, operation name or variables were not.
    pub(crate) document: bool,
    pub(crate) errors: Vec<ServerError>,
    pub(crate) headers: Box<HeaderMap>,
}

impl Failure {
    /// The HTTP request or its parameters are wrong.
    pub(crate) fn http(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        Self {
            status,
            document: false,
            errors: vec![coded(code, message, None)],
            headers: Box::default(),
        }
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::http(StatusCode::BAD_REQUEST, codes::BAD_REQUEST, message)
    }

    /// The document is wrong.
    pub(crate) fn document(error: ServerError) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            document: true,
            errors: vec![error],
            headers: Box::default(),
        }
    }

    pub(crate) fn validation(message: impl Into<String>, position: Option<Pos>) -> Self {
        Self::document(coded(codes::VALIDATION_FAILED, message, position))
    }

    pub(crate) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let errors = vec![coded(&refusal.code, refusal.message, None)];
        Self {
            status: refusal.status,
            document: false,
            errors,
            headers: refusal.headers,
        }
    }
}

/// An error with a code and a message of bounded length.
pub(crate) fn coded(code: &str, message: impl Into<String>, position: Option<Pos>) -> ServerError {
    let mut error = ServerError::new(cut(message.into()), position);
    let mut extensions = ErrorExtensionValues::default();
    extensions.set("code", code);
    error.extensions = Some(extensions);
    error
}

/// An `INTERNAL` error: a request id and nothing else.
pub(crate) fn internal(request_id: &RequestId) -> ServerError {
    let mut error = coded(codes::INTERNAL, "Internal error", None);
    if let Some(extensions) = &mut error.extensions {
        extensions.set("requestId", &*request_id.0);
    }
    error
}

fn cut(mut message: String) -> String {
    if let Some((end, _)) = message.char_indices().nth(MAX_MESSAGE_CHARS) {
        message.truncate(end);
    }
    message
}

/// Whether the response says that nothing ran. async-graphql leaves `data` null both then and when a non-null root
/// field failed; only the latter's errors have a path.
pub(crate) fn is_request_error(response: &Response) -> bool {
    !response.errors.is_empty()
        && matches!(response.data, Value::Null)
        && response.errors.iter().all(|error| error.path.is_empty())
}

/// Looks after every response before it leaves: every error gets a code and every failed field its `null`. An execution error without one is something the schema did not foresee: its text goes to
/// the log, the caller gets `INTERNAL` and the request id.
pub(crate) fn finish(response: &mut Response, expected: &Expected, request_id: &RequestId) {
    let request_error = is_request_error(response);
    if !request_error {
        expected.document.set_validated();
    }
    if response.errors.is_empty() {
        return;
    }
    if !request_error {
        expected.correct(response);
    }
    if request_error {
        response.errors.truncate(MAX_REQUEST_ERRORS);
    }
    for error in &mut response.errors {
        let code = error
            .extensions
            .as_ref()
            .and_then(|extensions| extensions.get("code"));
        let code = match code {
            Some(Value::String(code)) => code.as_str(),
            _ if request_error && is_limit_error(error) => codes::QUERY_TOO_COMPLEX,
            _ if request_error => codes::VALIDATION_FAILED,
            // Only a schema in fast validation mode finds this so late.
            _ if error.message.starts_with("Cannot query field ") => codes::VALIDATION_FAILED,
            _ if is_input_error(error) => codes::INVALID_INPUT,
            _ => codes::INTERNAL,
        };
        if code == codes::INTERNAL {
            tracing::error!(
                request_id = %request_id.0,
                path = ?error.path,
                error = %error.message,
                "operation failed"
            );
            let mut replacement = internal(request_id);
            replacement.locations = std::mem::take(&mut error.locations);
            replacement.path = std::mem::take(&mut error.path);
            *error = replacement;
            continue;
        }
        let code = code.to_owned();
        error.extensions.get_or_insert_default().set("code", code);
        if request_error {
            error.message = cut(std::mem::take(&mut error.message));
        }
    }
}

/// async-graphql reports an argument of the wrong shape while it runs the field, without a code; these are the
/// beginnings of its messages (`src/error.rs`, `InputValueError::into_server_error`, and `src/context.rs`).
fn is_input_error(error: &ServerError) -> bool {
    error.source.is_none()
        && [
            "Failed to parse \"",
            "Invalid value for argument \"",
            "Variable ",
        ]
        .iter()
        .any(|beginning| error.message.starts_with(beginning))
}

/// The schema's own limits (`SchemaBuilder::limit_complexity` and its neighbours) report without a code; these are the
/// beginnings of their messages (`src/validation/mod.rs` and `src/schema.rs`).
fn is_limit_error(error: &ServerError) -> bool {
    [
        "Query is too complex",
        "Query is nested too deep",
        "The recursion depth",
        "The number of directives",
    ]
    .iter()
    .any(|beginning| error.message.starts_with(beginning))
}

/// Serialises a response; a request error has no `data` entry (GraphQL specification, section 7.1).
pub(crate) struct Body<'a>(pub(crate) &'a Response);

impl Serialize for Body<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let response = self.0;
        let mut map = serializer.serialize_map(None)?;
        if !response.errors.is_empty() {
            map.serialize_entry("errors", &response.errors)?;
        }
        if !is_request_error(response) {
            map.serialize_entry("data", &response.data)?;
        }
        if !response.extensions.is_empty() {
            map.serialize_entry("extensions", &response.extensions)?;
        }
        map.end()
    }
}

/// Serialises errors alone.
#[derive(Serialize)]
pub(crate) struct ErrorsBody<'a> {
    pub(crate) errors: &'a [ServerError],
}
