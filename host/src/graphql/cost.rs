//! What a request costs, told in `extensions.cost` to whoever asks for it.
//!
//! Only to them: an extension of the executor is asked about each field of each answer.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_graphql::{
    Request, Response, ServerError, ValidationResult, Value,
    extensions::{Extension, ExtensionContext, ExtensionFactory, NextRequest, NextValidation},
    value,
};

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
            requested: AtomicUsize::new(0),
        })
    }
}

struct Measured {
    maximum: usize,
    /// 0 until the request was found valid.
    requested: AtomicUsize,
}

#[async_trait::async_trait]
impl Extension for Measured {
    async fn request(&self, ctx: &ExtensionContext<'_>, next: NextRequest<'_>) -> Response {
        let response = next.run(ctx).await;
        let cost = match self.requested.load(Ordering::Relaxed) {
            0 => return response,
            requested => value!({"requested": requested, "maximum": self.maximum}),
        };
        response.extension(NAME, cost)
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
