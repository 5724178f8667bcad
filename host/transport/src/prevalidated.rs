//! Skips the part of validation that a document has already passed.

use std::{any::TypeId, sync::Arc};

use async_graphql::{Data, Executor, Request, Response};
use futures::stream::BoxStream;

/// Marks a request whose document has passed full validation and whose variables have been checked.
pub(crate) struct Validated;

/// One schema built twice: with `ValidationMode::Strict` for documents that are new, and with `ValidationMode::Fast` for
/// documents that have run before. Both check complexity and depth each time, because these depend on variables.
///
/// async-graphql validates a document at every execution, which costs more than running a small one. Its outcome
/// depends on the document and on the variables' shape only; the router checks the latter itself when it knows the
/// schema's types, so it needs [`Options::types`](crate::Options::types) and the document cache. Without them every
/// request goes to the strict schema.
#[derive(Clone, Debug)]
pub struct Prevalidated<S> {
    strict: S,
    fast: S,
}

impl<S: Executor> Prevalidated<S> {
    /// Both must be the same schema but for the validation mode.
    pub fn new(strict: S, fast: S) -> Self {
        Self { strict, fast }
    }

    fn choose(&self, request: &Request) -> &S {
        if request.data.contains_key(&TypeId::of::<Validated>()) {
            &self.fast
        } else {
            &self.strict
        }
    }
}

impl<S: Executor> Executor for Prevalidated<S> {
    async fn execute(&self, request: Request) -> Response {
        self.choose(&request).execute(request).await
    }

    fn execute_stream(
        &self,
        request: Request,
        session_data: Option<Arc<Data>>,
    ) -> BoxStream<'static, Response> {
        self.choose(&request).execute_stream(request, session_data)
    }
}
