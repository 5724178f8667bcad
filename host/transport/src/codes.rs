//! The values of `errors[].extensions.code` that this crate itself produces.
//!
//! A schema adds its own; an error that already carries a code is passed on unchanged.

/// The HTTP request or the socket message is not a well-formed GraphQL request (shape, JSON, parameters).
pub const BAD_REQUEST: &str = "BAD_REQUEST";
/// The document does not parse.
pub const PARSE_FAILED: &str = "GRAPHQL_PARSE_FAILED";
/// The document does not fit the schema, names no operation, or lacks a required variable.
pub const VALIDATION_FAILED: &str = "GRAPHQL_VALIDATION_FAILED";
/// An argument or variable has the wrong shape; found while the operation ran.
pub const INVALID_INPUT: &str = "INVALID_INPUT";
/// The document is over one of the [`DocumentLimits`](crate::DocumentLimits); `extensions.limit` names it,
/// `extensions.maximum` and `extensions.actual` say how much.
pub const QUERY_TOO_COMPLEX: &str = "QUERY_TOO_COMPLEX";
/// The body is over [`Options::max_body_bytes`](crate::Options::max_body_bytes).
pub const PAYLOAD_TOO_LARGE: &str = "PAYLOAD_TOO_LARGE";
/// The body did not arrive in time.
pub const REQUEST_TIMEOUT: &str = "REQUEST_TIMEOUT";
/// The body is not `application/json`.
pub const UNSUPPORTED_MEDIA_TYPE: &str = "UNSUPPORTED_MEDIA_TYPE";
/// None of the offered media types fits the `Accept` header.
pub const NOT_ACCEPTABLE: &str = "NOT_ACCEPTABLE";
/// The HTTP method cannot carry this operation.
pub const METHOD_NOT_ALLOWED: &str = "METHOD_NOT_ALLOWED";
/// The page behind the `Origin` header may not open sockets here.
pub const FORBIDDEN: &str = "FORBIDDEN";
/// No document is known under the hash sent; send the document along (Apollo's persisted query protocol).
pub const PERSISTED_QUERY_NOT_FOUND: &str = "PERSISTED_QUERY_NOT_FOUND";
/// Persisted queries are switched off.
pub const PERSISTED_QUERY_NOT_SUPPORTED: &str = "PERSISTED_QUERY_NOT_SUPPORTED";
/// Only the documents that were stored are run.
pub const OPERATION_NOT_STORED: &str = "OPERATION_NOT_STORED";
/// One socket holds its maximum of running operations.
pub const TOO_MANY_OPERATIONS: &str = "TOO_MANY_OPERATIONS";
/// One identity holds its maximum of event streams.
pub const RATE_LIMITED: &str = "RATE_LIMITED";
/// The server holds its maximum of sockets and streams, or is stopping; try again.
pub const UNAVAILABLE: &str = "UNAVAILABLE";
/// Something failed that the caller cannot help; `extensions.requestId` finds it in the log.
pub const INTERNAL: &str = "INTERNAL";
