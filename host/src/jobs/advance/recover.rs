//! Attempts whose outcome is unknown: looked up by the vendor's own means, never guessed.

use std::{sync::Arc, time::Duration};

use genvid_runtime::{Call, Failure as CallFailure, types::ErrorKind};

use super::{Advance, Draft, Held, Turn, Work, Written, about};
use crate::{
    adapters::sql,
    jobs::{
        decide::{self, Then, Verdict},
        model::{
            Attempt, AttemptStatus, EventType, Failure, FailureCode, JobStatus, NewEvent, Step,
            StepStatus,
        },
        requests::PaidRequest,
        store::JobChange,
    },
    providers::{Lookup, Provider},
    time,
};

/// First wait between two look-ups; doubles up to `SLOWEST`.
const SOONEST: Duration = Duration::from_secs(1);
const SLOWEST: Duration = Duration::from_secs(15);

/// What a look-up came to.
enum Found {
    /// The vendor has it.
    Task(String),
    /// The vendor answered and knows no such task.
    Nothing,
    /// The vendor could not be asked, or says that it is too early.
    NotAsked,
    /// Such an attempt cannot be looked up at all.
    Unsupported,
}

impl Advance {
    /// The outcome of the step's latest attempt is unknown from now on.
    pub(super) async fn doubt(
        &self,
        held: &mut Held,
        work: &Work,
        why: &str,
    ) -> Result<Turn, sql::Error> {
        let Some(attempt) = work.current(&held.step).cloned() else {
            return Ok(Turn::Gone);
        };
        self.uncertain(held, attempt, why).await
    }

    pub(super) async fn uncertain(
        &self,
        held: &mut Held,
        attempt: Attempt,
        why: &str,
    ) -> Result<Turn, sql::Error> {
        let now = time::now();
        let step = Step {
            status: StepStatus::Unconfirmed,
            due_at: Some(now),
            ..held.step.clone()
        };
        let events = vec![
            about(held.step.kind, EventType::StepUnconfirmed).saying(format!(
                "{why} Looking up whether the provider accepted it."
            )),
        ];
        let attempt = Attempt {
            status: AttemptStatus::Unconfirmed,
            uncertain_at: attempt.uncertain_at.or(Some(now)),
            ..attempt
        };
        held.slot = None;
        held.tries = 0;
        match self
            .write(
                held,
                step,
                Draft {
                    attempt: Some(attempt),
                    events,
                    ..Draft::default()
                },
            )
            .await?
        {
            Written::Lost => Ok(Turn::Gone),
            Written::Done { .. } => Ok(Turn::Again),
        }
    }

    /// One look: replay where the vendor replays, else look up, else park.
    pub(super) async fn recover(&self, held: &mut Held, work: &Work) -> Result<Turn, sql::Error> {
        let Some(attempt) = work.current(&held.step).cloned() else {
            return Ok(Turn::Gone);
        };
        let now = time::now();
        let since = attempt.uncertain_at.unwrap_or(attempt.submitted_at);
        let request: Option<PaidRequest> = serde_json::from_value(attempt.request.clone()).ok();
        let (provider, request) = match (self.plugin_of(&attempt), request) {
            (Lookup::Here(provider), Some(request)) => (provider, request),
            (Lookup::Later, Some(_)) => return Ok(Turn::Wait(now.after(super::UNTIL_LOADED))),
            (Lookup::Missing, _) | (_, None) => return self.park(held).await,
        };
        let recovery = provider.manifest().recovery;
        let replays = recovery.replay_hours.is_some_and(|hours| {
            now.since(attempt.submitted_at) < Duration::from_secs(u64::from(hours) * 3_600)
        });
        if replays {
            let outcome = self.call(held, work, &provider, &request, attempt.id).await;
            match decide::judge_submission(&outcome) {
                // These speak of this attempt itself: the vendor answers the same key with
                // the first answer.
                verdict @ (Verdict::Accepted(_)
                | Verdict::Done(_)
                | Verdict::Refused(_, Then::Stop)) => {
                    return self.conclude(held, work, attempt, verdict).await;
                }
                // Anything else speaks of the repetition.
                Verdict::Refused(..) | Verdict::Unconfirmed(_) => {}
            }
        } else if recovery.lookup {
            match self.look_up(&provider, &attempt, &request).await {
                Found::Task(task) => return self.accepted(held, attempt, task).await,
                Found::Nothing => {
                    let settled = provider.settle_after_seconds.is_some_and(|seconds| {
                        now.since(since) >= Duration::from_secs(u64::from(seconds))
                    });
                    if settled {
                        let failure = Failure::new(
                            FailureCode::ProviderUnavailable,
                            "The provider has no record of the call.",
                        );
                        return self
                            .refused(held, work, attempt, failure, Then::Retry(None))
                            .await;
                    }
                }
                Found::Unsupported => return self.park(held).await,
                Found::NotAsked => {}
            }
        } else {
            return self.park(held).await;
        }
        if now.since(since) >= self.settings.unconfirmed_window {
            return self.park(held).await;
        }
        held.tries += 1;
        let wait = SOONEST
            .saturating_mul(1 << (held.tries - 1).min(6))
            .min(SLOWEST);
        Ok(Turn::Wait(now.after(wait)))
    }

    async fn look_up(
        &self,
        provider: &Provider,
        attempt: &Attempt,
        request: &PaidRequest,
    ) -> Found {
        let call = Call {
            assets: Arc::new(self.assets(attempt.job)),
            text: None,
            permission: None,
            label: format!("find {}", attempt.id),
        };
        match provider
            .plugin
            .find(call, request.lost(attempt))
            .await
            .result
        {
            Ok(Some(task)) => Found::Task(task),
            Ok(None) => Found::Nothing,
            Err(CallFailure::Plugin(error)) if matches!(error.kind, ErrorKind::Unsupported) => {
                Found::Unsupported
            }
            Err(error) => {
                tracing::warn!(attempt = %attempt.id, %error, "an attempt could not be looked up");
                Found::NotAsked
            }
        }
    }

    /// Nothing that the host may do settles it: somebody has to decide.
    async fn park(&self, held: &mut Held) -> Result<Turn, sql::Error> {
        let failure = Failure::new(
            FailureCode::Unconfirmed,
            "The provider may have accepted this and may bill it, but its answer was lost and it \
             cannot be looked up. Check the provider's own records, then retry the job and accept \
             a possible double charge, or cancel it.",
        );
        let step = Step {
            error: Some(failure.clone()),
            due_at: None,
            ..held.step.clone()
        };
        let events = vec![NewEvent::job(EventType::JobUnconfirmed).saying(&failure.message)];
        let job = Some(JobChange {
            status: JobStatus::Unconfirmed,
            error: Some(failure),
        });
        self.write(
            held,
            step,
            Draft {
                job,
                events,
                ..Draft::default()
            },
        )
        .await?;
        Ok(Turn::Gone)
    }
}
