//! How steps and jobs end.

use std::sync::Arc;

use genvid_runtime::{Call, ContextArgs, NoAssets, types::Done};

use super::{Advance, Draft, Held, Turn, Work, Written, about, deliver::publish};
use crate::{
    adapters::sql,
    ids::UserId,
    jobs::{
        model::{
            Attempt, AttemptStatus, Charge, EventType, Failure, FailureCode, JobStatus, NewEvent,
            Step, StepKind, StepOutput, StepStatus, StoredFile,
        },
        requests::{Materials, PaidRequest},
        store::{JobChange, MediaRole},
    },
    providers::{self, Used},
    time,
};

impl Advance {
    /// The step is done; the next one begins in the same transaction.
    pub(super) async fn succeed(
        &self,
        held: &mut Held,
        work: &Work,
        output: StepOutput,
        attempt: Option<Attempt>,
        media: Vec<(UserId, MediaRole, StoredFile)>,
    ) -> Result<Turn, sql::Error> {
        self.succeed_after(held, work, output, attempt, media, Vec::new())
            .await
    }

    /// The same, with something to be told before.
    pub(super) async fn succeed_after(
        &self,
        held: &mut Held,
        work: &Work,
        output: StepOutput,
        attempt: Option<Attempt>,
        mut media: Vec<(UserId, MediaRole, StoredFile)>,
        mut events: Vec<NewEvent>,
    ) -> Result<Turn, sql::Error> {
        let now = time::now();
        let step = Step {
            status: StepStatus::Succeeded,
            output: Some(output),
            error: None,
            due_at: None,
            completed_at: Some(now),
            ..held.step.clone()
        };
        events.push(about(step.kind, EventType::StepSucceeded));
        let mut next = work
            .steps
            .iter()
            .find(|step| step.position > held.step.position && step.status == StepStatus::Pending)
            .map(|step| Step {
                due_at: Some(now),
                started_at: (!step.kind.is_paid()).then_some(now),
                ..step.clone()
            });
        if let Some(next) = next.as_ref().filter(|next| !next.kind.is_paid()) {
            events.push(about(next.kind, EventType::StepStarted));
        }
        // Publishing is a matter of rows: it is done with what makes them.
        let done = next
            .take_if(|next| next.kind == StepKind::Deliver)
            .map(|next| Step {
                status: StepStatus::Succeeded,
                output: Some(StepOutput::Deliver),
                due_at: None,
                completed_at: Some(now),
                ..next
            });
        if let Some(done) = &done {
            let made = (work.steps.iter())
                .map(|old| if old.id == step.id { &step } else { old })
                .filter_map(|step| step.output.as_ref());
            media.extend(publish(held.owner, &Materials::made(made)));
            events.push(about(done.kind, EventType::StepSucceeded));
        }
        let job = match &next {
            // What is taken over is never sent, which begins a job otherwise.
            Some(_) => (work.job.status == JobStatus::Queued).then_some(JobChange {
                status: JobStatus::Running,
                error: None,
            }),
            None => {
                events.push(NewEvent::job(EventType::JobSucceeded));
                Some(JobChange {
                    status: JobStatus::Succeeded,
                    error: None,
                })
            }
        };
        let more = next.is_some();
        match self
            .write(
                held,
                step,
                Draft {
                    attempt,
                    next,
                    done,
                    job,
                    events,
                    media,
                },
            )
            .await?
        {
            Written::Done { .. } if more => Ok(Turn::Again),
            Written::Done { .. } | Written::Lost => Ok(Turn::Gone),
        }
    }

    /// The step, and with it the job, ended without a result.
    pub(super) async fn fail(
        &self,
        held: &mut Held,
        failure: Failure,
        attempt: Option<Attempt>,
        events: Vec<NewEvent>,
    ) -> Result<Turn, sql::Error> {
        self.end(
            held,
            StepStatus::Failed,
            JobStatus::Failed,
            Some(failure),
            attempt,
            events,
            false,
        )
        .await
    }

    /// The owner asked to stop.
    pub(super) async fn cancel(&self, held: &mut Held, work: &Work) -> Result<Turn, sql::Error> {
        let (attempt, settle) = self.leave(held, work).await;
        self.end(
            held,
            StepStatus::Canceled,
            JobStatus::Canceled,
            None,
            attempt,
            Vec::new(),
            settle,
        )
        .await
    }

    /// The deadline passed. A task at the vendor is asked to stop, and followed to its end.
    pub(super) async fn expire(&self, held: &mut Held, work: &Work) -> Result<Turn, sql::Error> {
        let (attempt, settle) = self.leave(held, work).await;
        let last = held
            .step
            .error
            .as_ref()
            .map(|error| format!(" Last problem: {}", error.message));
        let failure = Failure::new(
            FailureCode::DeadlineExceeded,
            format!(
                "The job was not done by its deadline.{}",
                last.unwrap_or_default()
            ),
        );
        self.end(
            held,
            StepStatus::Failed,
            JobStatus::Failed,
            Some(failure),
            attempt,
            Vec::new(),
            settle,
        )
        .await
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "private: the three ways to end share one write"
    )]
    async fn end(
        &self,
        held: &mut Held,
        step_status: StepStatus,
        job_status: JobStatus,
        error: Option<Failure>,
        attempt: Option<Attempt>,
        mut events: Vec<NewEvent>,
        settle: bool,
    ) -> Result<Turn, sql::Error> {
        let now = time::now();
        let (step_event, job_event) = match job_status {
            JobStatus::Canceled => (None, EventType::JobCanceled),
            _ => (Some(EventType::StepFailed), EventType::JobFailed),
        };
        let saying = |event: NewEvent| match &error {
            Some(failure) => event.saying(&failure.message),
            None => event,
        };
        if let Some(event) = step_event {
            events.push(saying(about(held.step.kind, event)));
        }
        events.push(saying(NewEvent::job(job_event)));
        let step = Step {
            status: step_status,
            error: error.clone(),
            due_at: settle.then_some(now),
            completed_at: Some(now),
            ..held.step.clone()
        };
        let job = Some(JobChange {
            status: job_status,
            error,
        });
        held.cancel = false;
        match self
            .write(
                held,
                step,
                Draft {
                    attempt,
                    job,
                    events,
                    ..Draft::default()
                },
            )
            .await?
        {
            Written::Done { .. } if settle => Ok(Turn::Again),
            Written::Done { .. } | Written::Lost => {
                held.slot = None;
                Ok(Turn::Gone)
            }
        }
    }

    /// What becomes of the attempt when its job ends early, and whether it has to be
    /// followed.
    async fn leave(&self, held: &Held, work: &Work) -> (Option<Attempt>, bool) {
        let Some(attempt) = work.current(&held.step).cloned() else {
            return (None, false);
        };
        match attempt.status {
            AttemptStatus::Accepted => {
                if self.stop_task(&attempt).await {
                    let attempt = Attempt {
                        status: AttemptStatus::Canceled,
                        finished_at: Some(time::now()),
                        ..attempt
                    };
                    (Some(attempt), false)
                } else {
                    (None, true)
                }
            }
            AttemptStatus::Submitting | AttemptStatus::Unconfirmed => {
                let attempt = Attempt {
                    status: AttemptStatus::Abandoned,
                    finished_at: Some(time::now()),
                    ..attempt
                };
                (Some(attempt), false)
            }
            _ => (None, false),
        }
    }

    async fn stop_task(&self, attempt: &Attempt) -> bool {
        let (Some(provider), Some(task)) =
            (self.plugin_of(attempt).here(), attempt.vendor_task.clone())
        else {
            return false;
        };
        if !provider.manifest().tasks.is_some_and(|tasks| tasks.cancel) {
            return false;
        }
        let call = Call {
            assets: Arc::new(NoAssets),
            text: None,
            permission: None,
            label: format!("cancel {}", attempt.id),
        };
        let context = ContextArgs {
            client_ref: attempt.id.to_string(),
            callback_url: None,
        };
        match provider.plugin.cancel(call, task, context).await.result {
            Ok(()) => true,
            Err(error) => {
                tracing::info!(attempt = %attempt.id, %error, "the vendor does not stop the task");
                false
            }
        }
    }

    /// The vendor delivered, and bills. Where it does not say how much, the attempt counts as
    /// much as it may until the result has been looked at.
    pub(super) fn charged(&self, attempt: Attempt, done: &Done) -> Attempt {
        let cost = done
            .cost_micro_usd
            .and_then(|cost| i64::try_from(cost).ok());
        Attempt {
            status: AttemptStatus::Succeeded,
            charge: Charge::Charged,
            cost_micro_usd: cost,
            credits: cost.map_or(attempt.max_credits, |cost| self.credits(&attempt, cost)),
            error: None,
            uncertain_at: None,
            finished_at: Some(time::now()),
            ..attempt
        }
    }

    /// Credits that an attempt costs its owner: never more than were reckoned before it.
    fn credits(&self, attempt: &Attempt, cost_micro_usd: i64) -> i64 {
        let credits = self.settings.tariff.credits(cost_micro_usd);
        credits.min(attempt.max_credits)
    }

    /// Puts a price by the manifest's list on an attempt whose vendor named none. One of an
    /// earlier round was settled when the job was over: its credits stay.
    pub(super) fn priced(&self, attempt: Attempt, output: &StepOutput, round: i64) -> Attempt {
        if attempt.cost_micro_usd.is_some() {
            return attempt;
        }
        let request: Option<PaidRequest> = serde_json::from_value(attempt.request.clone()).ok();
        let (Some(provider), Some(request)) = (self.plugin_of(&attempt).here(), request) else {
            return attempt;
        };
        let manifest = provider.manifest();
        let (prices, models) = match output {
            StepOutput::Script { .. } => match &manifest.script {
                Some(kind) => (&kind.prices, &kind.models),
                None => return attempt,
            },
            StepOutput::Voice { .. } => match &manifest.voice {
                Some(kind) => (&kind.prices, &kind.models),
                None => return attempt,
            },
            _ => match &manifest.video {
                Some(kind) => (&kind.prices, &kind.models),
                None => return attempt,
            },
        };
        let model = request.model().or_else(|| {
            models
                .iter()
                .find(|model| model.default)
                .map(|model| model.id.as_str())
        });
        let duration_ms = match output {
            StepOutput::Voice { audio: file, .. } | StepOutput::Video { film: file, .. } => {
                file.duration_ms
            }
            _ => None,
        };
        #[expect(
            clippy::cast_precision_loss,
            reason = "playing times are far below 2^52 ms"
        )]
        let seconds = duration_ms.unwrap_or(0) as f64 / 1_000.0;
        let used = Used {
            seconds,
            characters: request.characters(),
        };
        let cost = providers::estimate(prices, model, used);
        let credits = match cost {
            Some(cost) if attempt.round == round => self.credits(&attempt, cost),
            _ => attempt.credits,
        };
        Attempt {
            cost_micro_usd: cost,
            credits,
            ..attempt
        }
    }
}
