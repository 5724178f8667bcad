//! What a request may cost, before it is made.

use async_graphql::{Context, Error, ID, Object, SimpleObject};

use super::{
    context,
    enums::{JobKind, RuledOutCode, StepKind},
    error::settle,
    job_mutations::{GenerateScriptInput, GenerateVideoInput, GenerateVoiceInput},
    problems::{InvalidInputProblem, NotFoundProblem, ProviderUnavailableProblem, outcome},
    scalars::DateTime,
    step::ReusedFrom,
};
use crate::jobs::quote;

/// What a request may cost. It holds until it expires, whatever prices do meanwhile: as
/// `quoteId` of the same request it is the most that the job can cost.
#[derive(SimpleObject)]
pub(super) struct Quote {
    /// Opaque, begins with `quo_`.
    id: ID,
    /// What the request makes.
    kind: JobKind,
    /// Credits that it costs at least, if it is made.
    min_credits: i64,
    /// Credits that it never costs more than. They are put aside while the job is under way;
    /// what it does not need comes back.
    max_credits: i64,
    /// The steps that cost something, in order.
    steps: Vec<QuoteStep>,
    /// How long the steps that cost something take, as measured lately; what was never measured
    /// here counts as its plugin says.
    expected_seconds: Option<ExpectedSeconds>,
    /// Until when a job can be started with it.
    expires_at: DateTime,
}

/// A step of a request, and what it may cost.
#[derive(SimpleObject)]
pub(super) struct QuoteStep {
    /// Which step.
    kind: StepKind,
    /// The least of all providers; 0 when it would be taken over.
    min_credits: i64,
    /// Whose result would be taken over, so that nothing is bought; else null. What the quote says
    /// at most holds also when that is gone once the job is started.
    reused_from: Option<ReusedFrom>,
    /// The most of all providers.
    max_credits: i64,
    /// The providers that could make it, in the order in which they are tried.
    route: Vec<QuoteProvider>,
    /// The providers that are not tried first, and why: those that come later in `route`, then
    /// those that could not make it.
    ruled_out: Vec<RuledOutProvider>,
    /// What of the request the first provider of `route` takes no notice of.
    warnings: Vec<QuoteWarning>,
    /// How long the first provider of `route` takes.
    expected_seconds: Option<ExpectedSeconds>,
}

/// Something of a request that has no effect, or less than was asked for.
#[derive(SimpleObject)]
pub(super) struct QuoteWarning {
    /// The field of the request.
    field: String,
    /// Why, in English.
    message: String,
}

/// What a step may cost at one provider.
#[derive(SimpleObject)]
pub(super) struct QuoteProvider {
    /// The provider.
    provider: ID,
    /// At least.
    min_credits: i64,
    /// At most.
    max_credits: i64,
}

/// A provider that is not tried first for a step.
#[derive(SimpleObject)]
pub(super) struct RuledOutProvider {
    /// The provider.
    provider: ID,
    /// The model that it would use; null where it has none.
    model: Option<ID>,
    /// Why, as a word for programs.
    code: RuledOutCode,
    /// Why, in English.
    message: String,
    /// Is it tried after those before it in `route`?
    tried_later: bool,
}

/// How long something takes, in seconds.
#[derive(SimpleObject)]
pub(super) struct ExpectedSeconds {
    /// Half of the time at most this long.
    p50: f64,
    /// Nineteen times of twenty at most this long.
    p95: f64,
    /// Was it measured? Else the plugins say so.
    measured: bool,
}

impl From<quote::Quote> for Quote {
    fn from(quote: quote::Quote) -> Self {
        Self {
            id: quote.id.to_string().into(),
            kind: quote.kind.into(),
            min_credits: quote.min_credits(),
            max_credits: quote.max_credits(),
            expected_seconds: quote.expected_seconds().map(|(p50, p95)| ExpectedSeconds {
                p50,
                p95,
                measured: quote.is_measured(),
            }),
            expires_at: quote.expires_at.into(),
            steps: quote.steps.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<quote::QuotedStep> for QuoteStep {
    fn from(step: quote::QuotedStep) -> Self {
        Self {
            kind: step.kind.into(),
            min_credits: step.min_credits(),
            reused_from: step.reused_from.map(|source| ReusedFrom {
                job_id: source.job.into(),
                step: step.kind.into(),
            }),
            max_credits: step.quote.max_credits(),
            route: step
                .quote
                .routes
                .into_iter()
                .map(|route| QuoteProvider {
                    provider: route.provider.into(),
                    min_credits: route.min_credits,
                    max_credits: route.max_credits,
                })
                .collect(),
            ruled_out: step
                .others
                .into_iter()
                .map(|other| RuledOutProvider {
                    provider: other.provider.into(),
                    model: other.model.map(Into::into),
                    code: other.code.into(),
                    message: other.message,
                    tried_later: other.tried,
                })
                .collect(),
            warnings: step
                .ignored
                .into_iter()
                .map(|ignored| QuoteWarning {
                    field: ignored.field,
                    message: ignored.message,
                })
                .collect(),
            expected_seconds: step.took.map(|took| ExpectedSeconds {
                p50: took.p50,
                p95: took.p95,
                measured: took.samples > 0,
            }),
        }
    }
}

/// What the script may cost.
#[derive(SimpleObject)]
pub(super) struct QuoteScriptSuccess {
    /// The quote.
    quote: Quote,
}

/// What the voice track may cost.
#[derive(SimpleObject)]
pub(super) struct QuoteVoiceSuccess {
    /// The quote.
    quote: Quote,
}

/// What the video may cost.
#[derive(SimpleObject)]
pub(super) struct QuoteVideoSuccess {
    /// The quote.
    quote: Quote,
}

outcome!(
    /// What became of `quoteScript`.
    QuoteScriptResult =
        QuoteScriptSuccess
            | InvalidInput(InvalidInputProblem)
            | NotFound(NotFoundProblem)
            | ProviderUnavailable(ProviderUnavailableProblem)
);

outcome!(
    /// What became of `quoteVoice`.
    QuoteVoiceResult =
        QuoteVoiceSuccess
            | InvalidInput(InvalidInputProblem)
            | NotFound(NotFoundProblem)
            | ProviderUnavailable(ProviderUnavailableProblem)
);

outcome!(
    /// What became of `quoteVideo`.
    QuoteVideoResult =
        QuoteVideoSuccess
            | InvalidInput(InvalidInputProblem)
            | NotFound(NotFoundProblem)
            | ProviderUnavailable(ProviderUnavailableProblem)
);

#[derive(Default)]
pub(super) struct QuoteMutations;

#[Object]
impl QuoteMutations {
    /// Says what a script would cost. Starts and spends nothing, and does not use up the
    /// idempotency key.
    async fn quote_script(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What would be written.")] input: GenerateScriptInput,
    ) -> Result<QuoteScriptResult, Error> {
        let user = context::user(ctx)?;
        let services = context::services(ctx);
        let quoted = async {
            let row = services
                .jobs
                .quote_script(user.id, input.wish(context::program(ctx))?)
                .await?;
            Ok(QuoteScriptSuccess { quote: row.into() }.into())
        };
        settle(ctx, quoted.await)
    }

    /// Says what a voice track would cost. Starts and spends nothing, and does not use up the
    /// idempotency key.
    async fn quote_voice(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What would be spoken.")] input: GenerateVoiceInput,
    ) -> Result<QuoteVoiceResult, Error> {
        let user = context::user(ctx)?;
        let services = context::services(ctx);
        let quoted = async {
            let row = services
                .jobs
                .quote_voice(user.id, input.wish(context::program(ctx))?)
                .await?;
            Ok(QuoteVoiceSuccess { quote: row.into() }.into())
        };
        settle(ctx, quoted.await)
    }

    /// Says what a video would cost, who would make it, and why others would not. Starts and
    /// spends nothing, and does not use up the idempotency key.
    async fn quote_video(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What would be made.")] input: GenerateVideoInput,
    ) -> Result<QuoteVideoResult, Error> {
        let user = context::user(ctx)?;
        let services = context::services(ctx);
        let quoted = async {
            let row = services
                .jobs
                .quote_video(user.id, input.wish(context::program(ctx))?)
                .await?;
            Ok(QuoteVideoSuccess { quote: row.into() }.into())
        };
        settle(ctx, quoted.await)
    }
}
