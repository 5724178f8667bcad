//! GraphQL over HTTP, WebSocket and server-sent events for axum.
//!
//! The crate runs any [`async_graphql::Executor`] behind one path and knows nothing of the schema behind it.
//! It speaks:
//!
//! - GraphQL over HTTP (the `graphql.github.io/graphql-over-http` draft): `POST` with `application/json`, `GET` for
//!   queries only, `application/graphql-response+json` and `application/json` answers;
//! - `graphql-transport-ws`, the protocol of the npm package `graphql-ws` (its `PROTOCOL.md`);
//! - GraphQL over server-sent events in "distinct connections" mode, the protocol of the npm package `graphql-sse`
//!   (its `PROTOCOL.md`);
//! - a GraphiQL page for browsers, with assets embedded at build time.
//!
//! Everything that comes from outside has a limit ([`Options`], [`DocumentLimits`]), and everything that is refused
//! says why with a machine-readable `extensions.code` ([`codes`]).
//!
//! ```no_run
//! # use async_graphql::{EmptyMutation, EmptySubscription, Object, Schema};
//! # use genvid_transport::{Authenticator, Decorate, Identity, Options, Refusal};
//! # struct Query;
//! # #[Object] impl Query { async fn one(&self) -> i32 { 1 } }
//! #[derive(Clone)]
//! struct Anybody;
//! impl Authenticator for Anybody {
//!     async fn authenticate_http(&self, _: &http::request::Parts) -> Result<Identity, Refusal> {
//!         Ok(Identity::anonymous())
//!     }
//!     async fn authenticate_socket(
//!         &self,
//!         _: &http::request::Parts,
//!         _: &serde_json::Value,
//!     ) -> Result<Identity, Refusal> {
//!         Ok(Identity::anonymous())
//!     }
//! }
//! let schema = Schema::new(Query, EmptyMutation, EmptySubscription);
//! let app: axum::Router =
//!     axum::Router::new().nest("/graphql", genvid_transport::router(schema, Anybody, Options::default()));
//! ```

pub mod codes;
mod documents;
mod failure;
mod graphiql;
mod identity;
mod limits;
mod negotiation;
mod nulls;
mod options;
mod parameters;
mod prevalidated;
mod request;
mod server;
mod shutdown;
mod slots;
mod sse;
mod variables;
mod websocket;

pub use documents::check_stored;
pub use identity::{Authenticator, Decorate, Identity, Refusal, RequestId};
pub use nulls::{SchemaTextError, SchemaTypes};
pub use options::{AllowedOrigins, DocumentLimits, Graphiql, Options};
pub use prevalidated::Prevalidated;
pub use server::router;
pub use shutdown::Shutdown;
