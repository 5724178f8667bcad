//! `JobStep` and `Attempt`: how a job is done, and what was tried.

use std::sync::Arc;

use async_graphql::{Context, Error, ID, Object, SimpleObject};

use super::{
    context,
    enums::{AttemptStatus, Charge, StepKind, StepStatus},
    family::Family,
    job::{JobError, Scope},
    scalars::{DateTime, MicroUsd},
};
use crate::jobs::model;

/// Attempts of a step as they usually are at most; for the cost of a query.
const ATTEMPTS: usize = 4;

pub(super) struct Step {
    pub(super) row: Arc<model::Step>,
    pub(super) family: Arc<Family>,
}

/// One step of a job's plan.
#[Object(name = "JobStep", serial)]
impl Step {
    /// What it does.
    async fn kind(&self) -> StepKind {
        self.row.kind.into()
    }

    /// Where it stands.
    async fn status(&self) -> StepStatus {
        self.row.status.into()
    }

    /// The provider that has it, or had it last; null before one is chosen, and for what this
    /// server does itself.
    async fn provider(&self) -> Option<ID> {
        self.row.provider.as_ref().map(ID::from)
    }

    /// Where its result was taken over from instead of buying one; null when it was not.
    async fn reused_from(&self, ctx: &Context<'_>) -> Result<Option<ReusedFrom>, Error> {
        context::insider(ctx)?;
        Ok(self.row.reused_from.map(|source| ReusedFrom {
            job_id: source.job.into(),
            step: self.row.kind.into(),
        }))
    }

    /// How much is done, 0 to 1, as the provider says; null when it does not say.
    async fn progress(&self) -> Option<f64> {
        self.row.progress
    }

    /// When a provider is called again: after a refusal, or when all that could make it are left
    /// alone for a while. Null when nothing of that is waited for.
    async fn retry_at(&self) -> Option<DateTime> {
        let waits = self.row.status == model::StepStatus::Pending && self.row.error.is_some();
        self.row.due_at.filter(|_| waits).map(Into::into)
    }

    /// When it began.
    async fn started_at(&self) -> Option<DateTime> {
        self.row.started_at.map(Into::into)
    }

    /// When it ended.
    async fn completed_at(&self) -> Option<DateTime> {
        self.row.completed_at.map(Into::into)
    }

    /// Why it ended without a result, or why it waits; else null.
    async fn error(&self) -> Option<JobError> {
        let failure = self.row.error.clone()?;
        let scope = Scope::Step(Arc::clone(&self.family), self.row.job, self.row.id);
        Some(JobError { failure, scope })
    }

    /// Every call to a provider that could cost money, oldest first. None is ever removed.
    #[graphql(complexity = "ATTEMPTS * child_complexity + 1")]
    async fn attempts(&self, ctx: &Context<'_>) -> Result<Vec<Attempt>, Error> {
        context::insider(ctx)?;
        let attempts = self
            .family
            .attempts_of_step(ctx, self.row.job, self.row.id)
            .await?;
        Ok(attempts.into_iter().map(Attempt).collect())
    }
}

/// A step that asked the same provider for the very same before.
#[derive(SimpleObject)]
pub(super) struct ReusedFrom {
    /// Its job, one of the caller's.
    pub(super) job_id: ID,
    /// Which of that job's steps.
    pub(super) step: StepKind,
}

pub(super) struct Attempt(Arc<model::Attempt>);

/// One call to a provider that could cost money, and what became of it.
#[Object]
impl Attempt {
    /// Opaque, begins with `att_`. The provider knows the task by it too.
    async fn id(&self) -> ID {
        self.0.id.into()
    }

    /// 1, 2, 3 … within the step.
    async fn number(&self) -> i64 {
        self.0.number
    }

    /// The provider that was called.
    async fn provider(&self) -> ID {
        ID::from(&self.0.provider)
    }

    /// The version of the provider's plugin.
    async fn plugin_version(&self) -> &str {
        &self.0.plugin_version
    }

    /// Where it stands.
    async fn status(&self) -> AttemptStatus {
        self.0.status.into()
    }

    /// Does the provider bill it?
    async fn charge(&self) -> Charge {
        self.0.charge.into()
    }

    /// The provider's own id of the task; null before it accepted.
    async fn vendor_task_id(&self) -> Option<&str> {
        self.0.vendor_task.as_deref()
    }

    /// What it cost: as the provider says, or by its price list; null when neither is known.
    async fn cost_micro_usd(&self) -> Option<MicroUsd> {
        self.0.cost_micro_usd.map(MicroUsd)
    }

    /// Credits that it costs the job's owner; 0 unless it is `CHARGED`.
    async fn credits(&self) -> i64 {
        match self.0.charge {
            model::Charge::Charged => self.0.credits,
            model::Charge::NotCharged | model::Charge::Unknown => 0,
        }
    }

    /// Why it ended without a result; else null.
    async fn error(&self) -> Option<JobError> {
        let failure = self.0.error.clone()?;
        let scope = Scope::Attempt(self.0.charge);
        Some(JobError { failure, scope })
    }

    /// When the intent to call was written down, just before the call.
    async fn submitted_at(&self) -> DateTime {
        self.0.submitted_at.into()
    }

    /// When the provider accepted.
    async fn accepted_at(&self) -> Option<DateTime> {
        self.0.accepted_at.map(Into::into)
    }

    /// When it came to rest.
    async fn finished_at(&self) -> Option<DateTime> {
        self.0.finished_at.map(Into::into)
    }
}
