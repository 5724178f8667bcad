//! Asking vendors for tasks, many at a time. What did not change is not written.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt, stream::FuturesUnordered};
use genvid_runtime::{Call, ContextArgs, NoAssets};

use super::{Advance, Draft, Held, Next, Watch, Written, about};
use crate::{
    adapters::sql,
    jobs::{
        decide::{self, Sighting},
        model::{
            Attempt, AttemptStatus, Charge, EventType, Failure, FailureCode, Step, StepStatus,
        },
    },
    providers::{Lookup, Provider},
    time::{self, Timestamp},
};

/// How long to leave tasks alone whose plugin nobody has.
const WITHOUT_PLUGIN: Duration = Duration::from_secs(60);

impl Advance {
    /// Asks for all of these tasks of one version of a provider's plugin, at most the
    /// manifest's batch, in one call, and tells of each as soon as it is known what becomes of
    /// it: one whose result is written down keeps nobody waiting who is only asked for again.
    /// Those that have to do something else first come back to be looked at now.
    pub async fn poll(
        &self,
        provider: &str,
        digest: &str,
        batch: Vec<Box<Held>>,
        tell: impl Fn(Next),
    ) {
        let now = time::now();
        let mut asked = Vec::with_capacity(batch.len());
        for mut held in batch {
            match held.watch.as_ref() {
                Some(watch) if !held.cancel && is_in_time(&held, watch, now) => asked.push(held),
                _ => {
                    held.watch = None;
                    held.cancel = false;
                    tell(Next::At(now, held));
                }
            }
        }
        if asked.is_empty() {
            return;
        }
        let provider = match self.registry.version(provider, digest) {
            Lookup::Here(provider) => provider,
            other => {
                // What is gone may be installed again.
                let wait = match other {
                    Lookup::Later => super::UNTIL_LOADED,
                    _ => WITHOUT_PLUGIN,
                };
                let at = now.after(wait);
                asked.into_iter().for_each(|held| tell(Next::At(at, held)));
                return;
            }
        };
        let mut seen: FuturesUnordered<_> = (self.ask(&provider, asked).await.into_iter())
            .map(|(held, sighting)| self.after_look(&provider, held, sighting))
            .collect();
        while let Some(next) = seen.next().await {
            tell(next);
        }
    }

    /// What becomes of a task that was asked for.
    async fn after_look(
        &self,
        provider: &Provider,
        mut held: Box<Held>,
        sighting: Sighting,
    ) -> Next {
        let outcome = self.observe(provider, &mut held, sighting).await;
        if !matches!(outcome, Ok(Some(_))) || held.watch.is_some() {
            held.forget();
        }
        match outcome {
            Ok(Some(at)) => Next::At(at, held),
            Ok(None) => Next::Gone,
            Err(error) => {
                tracing::error!(
                    job = %held.step.job, error = &error as &dyn std::error::Error,
                    "a task's state could not be written; it will be asked for again"
                );
                Next::At(time::now().after(super::AFTER_FAULT), held)
            }
        }
    }

    #[expect(clippy::vec_box, reason = "steps move between queues by their pointer")]
    async fn ask(&self, provider: &Provider, asked: Vec<Box<Held>>) -> Vec<(Box<Held>, Sighting)> {
        let tasks: Vec<_> = asked
            .iter()
            .filter_map(|held| held.watch.as_ref())
            .map(|watch| {
                let context = ContextArgs {
                    client_ref: watch.attempt.to_string(),
                    callback_url: None,
                };
                (watch.task.to_string(), context)
            })
            .collect();
        // A task whose result the plugin saves by itself keeps it under its own job.
        let assets: Arc<dyn genvid_runtime::AssetStore> = match asked.as_slice() {
            [only] => Arc::new(self.assets(only.step.job)),
            _ => Arc::new(NoAssets),
        };
        let label = format!("poll {} ({})", provider.id(), tasks.len());
        let outcome = provider
            .plugin
            .poll(
                Call {
                    assets,
                    text: None,
                    permission: None,
                    label,
                },
                tasks,
            )
            .await;
        match outcome.result {
            Ok(answers) => {
                let mut answers = answers.into_iter();
                asked
                    .into_iter()
                    .map(|held| {
                        let sighting = answers
                            .next()
                            .map_or(Sighting::Unseen(None), decide::judge_status);
                        (held, sighting)
                    })
                    .collect()
            }
            Err(error) => {
                tracing::warn!(provider = provider.id(), %error, "tasks could not be asked for");
                let sighting = decide::judge_status(match error {
                    genvid_runtime::Failure::Plugin(error) => Err(error),
                    genvid_runtime::Failure::Sandbox(error) => Err(genvid_runtime::types::Error {
                        kind: genvid_runtime::types::ErrorKind::Unavailable,
                        message: error.to_string(),
                        vendor_code: None,
                    }),
                });
                asked
                    .into_iter()
                    .map(|held| (held, sighting.clone()))
                    .collect()
            }
        }
    }

    /// When to look again; nothing when the step is done with.
    async fn observe(
        &self,
        provider: &Provider,
        held: &mut Held,
        sighting: Sighting,
    ) -> Result<Option<Timestamp>, sql::Error> {
        let now = time::now();
        let Some(watch) = held.watch.as_mut() else {
            return Ok(Some(now));
        };
        watch.polls = watch.polls.saturating_add(1);
        let settling = watch.settling.is_some();
        let (attempt, polls) = (watch.attempt, watch.polls);
        let after = |vendor| {
            let (first, most) = provider.manifest().tasks.map_or((5_000, 30_000), |tasks| {
                (tasks.poll_after_ms, tasks.poll_max_ms)
            });
            // A task whose job is over is nobody's hurry.
            let polls = if settling { polls + 4 } else { polls };
            now.after(decide::poll_interval(first, most, polls, vendor))
        };
        match sighting {
            Sighting::Unseen(wait) => Ok(Some(after(wait))),
            Sighting::Working {
                fraction,
                message,
                after: said,
            } => {
                if settling || fraction.is_none() || fraction == held.step.progress {
                    return Ok(Some(after(said)));
                }
                let step = Step {
                    progress: fraction,
                    ..held.step.clone()
                };
                let mut event = about(step.kind, EventType::StepProgress);
                event.progress = fraction;
                event.message = message.map(|text| text.chars().take(200).collect());
                let at = after(said);
                match self
                    .write(
                        held,
                        step,
                        Draft {
                            events: vec![event],
                            ..Draft::default()
                        },
                    )
                    .await?
                {
                    Written::Lost => Ok(None),
                    Written::Done { cancel_requested } => {
                        held.cancel |= cancel_requested;
                        Ok(Some(if cancel_requested { now } else { at }))
                    }
                }
            }
            Sighting::Done(done) => {
                let at = Instant::now();
                let work = self.load(held).await?;
                let attempt = (work.attempts.iter())
                    .find(|known| known.id == attempt)
                    .cloned()
                    .ok_or_else(unknown)?;
                held.watch = None;
                if settling {
                    // Kept for an owner who retries the job: it is paid for.
                    let attempt = Attempt {
                        delivered: serde_json::to_value(&done).ok(),
                        ..self.charged(attempt, &done)
                    };
                    return self.settled(held, attempt).await;
                }
                match self.delivered(held, &work, attempt, &done).await? {
                    super::Turn::Gone => Ok(None),
                    _ => {
                        held.remember(work, at);
                        Ok(Some(now))
                    }
                }
            }
            Sighting::Failed(failure) => {
                self.gave_up(held, attempt, settling, failure, AttemptStatus::Failed)
                    .await
            }
            Sighting::Canceled => {
                let failure = Failure::new(
                    FailureCode::ProviderRejected,
                    "The provider stopped the task.",
                );
                self.gave_up(held, attempt, settling, failure, AttemptStatus::Canceled)
                    .await
            }
        }
    }

    async fn gave_up(
        &self,
        held: &mut Held,
        attempt: crate::ids::AttemptId,
        settling: bool,
        failure: Failure,
        status: AttemptStatus,
    ) -> Result<Option<Timestamp>, sql::Error> {
        let attempt = self.attempt(held, attempt).await?;
        let attempt = Attempt {
            status,
            // Whether a failed task is billed is the vendor's word; none of them says so
            // with the task.
            charge: Charge::Unknown,
            error: Some(failure.clone()),
            finished_at: Some(time::now()),
            ..attempt
        };
        held.watch = None;
        if settling {
            return self.settled(held, attempt).await;
        }
        held.slot = None;
        let events = vec![about(held.step.kind, EventType::AttemptFailed).saying(&failure.message)];
        self.fail(held, failure, Some(attempt), events).await?;
        Ok(None)
    }

    async fn settled(
        &self,
        held: &mut Held,
        attempt: Attempt,
    ) -> Result<Option<Timestamp>, sql::Error> {
        let step = Step {
            due_at: None,
            ..held.step.clone()
        };
        self.write(
            held,
            step,
            Draft {
                attempt: Some(attempt),
                ..Draft::default()
            },
        )
        .await?;
        Ok(None)
    }

    async fn attempt(&self, held: &Held, id: crate::ids::AttemptId) -> Result<Attempt, sql::Error> {
        let attempts = self.database.attempts_of(&[held.step.job]).await?;
        attempts
            .into_iter()
            .find(|attempt| attempt.id == id)
            .ok_or_else(unknown)
    }
}

fn unknown() -> sql::Error {
    sql::Error::decode("attempt", "a watched attempt has no row")
}

fn is_in_time(held: &Held, watch: &Watch, now: Timestamp) -> bool {
    match watch.settling {
        Some(until) => now < until,
        None => now < held.deadline && held.step.status == StepStatus::Running,
    }
}
