//! What a request costs, told in `extensions.cost` to whoever asks for it.
//!
//! Only to them: an extension of the executor is asked about each field of each answer.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_graphql::{
    Request, Response, ServerError, ValidationResult, Value,
    extensions::{
        Extension, ExtensionContext, ExtensionFactory, NextRequest, NextSubscribe, NextValidation,
    },
    value,
};
use futures::{StreamExt as _, stream::BoxStream};

/// Name of it in a request's `extensions`, where `true` asks, and in an answer's.
const NAME: &str = "cost";

/// Does this request ask what it costs?
pub(super) fn is_asked(request: &Request) -> bool {
    request.extensions.get(NAME) == Some(&Value::Boolean(true))
}

/// Tells `{"requested": …, "maximum": …}`, in fields, those in lists counted by the page size.
pub(super) struct Cost {
    /// The most that a request may cost.
    pub(super) maximum: usize,
}

impl ExtensionFactory for Cost {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(Measured {
            maximum: self.maximum,
            requested: Arc::default(),
        })
    }
}

struct Measured {
    maximum: usize,
    /// 0 until the request was found valid. Shared with the answers of a stream.
    requested: Arc<AtomicUsize>,
}

/// An answer with the cost, once it is known.
fn tell(response: Response, requested: &AtomicUsize, maximum: usize) -> Response {
    let cost = match requested.load(Ordering::Relaxed) {
        0 => return response,
        requested => value!({"requested": requested, "maximum": maximum}),
    };
    response.extension(NAME, cost)
}

#[async_trait::async_trait]
impl Extension for Measured {
    async fn request(&self, ctx: &ExtensionContext<'_>, next: NextRequest<'_>) -> Response {
        let response = next.run(ctx).await;
        tell(response, &self.requested, self.maximum)
    }

    /// Whatever comes over a socket or an event stream, queries too.
    fn subscribe<'s>(
        &self,
        ctx: &ExtensionContext<'_>,
        stream: BoxStream<'s, Response>,
        next: NextSubscribe<'_>,
    ) -> BoxStream<'s, Response> {
        let (requested, maximum) = (Arc::clone(&self.requested), self.maximum);
        let stream = next.run(ctx, stream);
        stream
            .map(move |response| tell(response, &requested, maximum))
            .boxed()
    }

    async fn validation(
        &self,
        ctx: &ExtensionContext<'_>,
        next: NextValidation<'_>,
    ) -> Result<ValidationResult, Vec<ServerError>> {
        let found = next.run(ctx).await?;
        self.requested.store(found.complexity, Ordering::Relaxed);
        Ok(found)
    }
}
