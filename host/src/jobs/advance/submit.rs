//! Calling a provider for money: the intent is durable before the call, the outcome right
//! after it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use genvid_runtime::{Call, ContextArgs, Outcome, Permission, types::Submission};
use tokio::sync::mpsc;

use super::{
    Advance, Draft, Held, Turn, Watch, Work, Written, about,
    choose::{Choice, Chosen, nobody, untried},
    reuse,
};
use crate::{
    adapters::sql,
    billing::budget::Overrun,
    ids::AttemptId,
    jobs::{
        decide::{self, Then, Verdict},
        foresee,
        input::JobInput,
        model::{
            Aspect, Attempt, AttemptStatus, Charge, EventType, Failure, FailureCode, JobStatus,
            NewEvent, Step, StepKind, StepStatus,
        },
        plan,
        requests::{self, Materials, PaidRequest},
        store::JobChange,
    },
    providers::{ItemKind, Look, Provider},
    time,
};

/// How often text that is being written is put into the log.
const TEXT_EVERY: Duration = Duration::from_millis(150);
/// Wait for a slot when the vendor does not say how long.
const SLOT_WAIT: Duration = Duration::from_secs(5);

impl Advance {
    pub(super) async fn submit(&self, held: &mut Held, work: &Work) -> Result<Turn, sql::Error> {
        // A job that is tried again after its deadline may still have its task: it is
        // followed, not bought again.
        let open = work
            .attempts_of(&held.step)
            .find(|old| old.status == AttemptStatus::Accepted);
        if let Some((open, task)) =
            open.and_then(|old| Some((old.clone(), old.vendor_task.clone()?)))
        {
            return self.accepted(held, open, task).await;
        }
        let route = self.route(held, work);
        let Choice {
            provider: id,
            trial,
            instead_of,
        } = match self.choose(&route, held, work) {
            Chosen::One(choice) => choice,
            Chosen::Later(provider, until, why) => {
                return self.leave_alone(held, provider, until, &why).await;
            }
            Chosen::Nobody => {
                let failure = nobody(&route, &held.step, work);
                return self.fail(held, failure, None, Vec::new()).await;
            }
        };
        let Some(provider) = self.registry.find(&id) else {
            // Removed in this instant: the next look at the route knows.
            return Ok(Turn::Again);
        };
        if let Some(turn) = self.reuse(held, work, &provider).await? {
            return Ok(turn);
        }
        // While it waited the providers may have changed, and with them whose turn it is.
        if held.slot.is_none() || held.waits_at.as_ref() != Some(&id) {
            held.slot = None;
            return Ok(Turn::Slot(id));
        }
        let lane = plan::lane(&provider, held.step.kind, &work.job.input);
        let request = match self.request(held, work, &provider).await {
            Ok(request) => request,
            Err((failure, then)) => {
                let attempt = new_attempt(held, work, &provider, &serde_json::Value::Null);
                return self.refused(held, work, attempt, failure, then).await;
            }
        };
        let stored = serde_json::to_value(&request)
            .map_err(|source| sql::Error::decode("paid request", source))?;
        let attempt = Attempt {
            max_credits: self.most_at(held, work, &provider).unwrap_or(0),
            ..new_attempt(held, work, &provider, &stored)
        };
        if trial && let Look::Wait(until, why) = self.health.enter(&provider, &lane).await? {
            tracing::debug!(job = %held.step.job, %until, "somebody else makes the trial");
            return self.leave_alone(held, id, until, &why).await;
        }

        let mut events = Vec::new();
        if let Some(other) = instead_of {
            events.push(
                about(held.step.kind, EventType::StepFailedOver)
                    .saying(format!("{other} is left alone for now. Going on with {id}")),
            );
        }
        if work.job.status == JobStatus::Queued {
            events.push(NewEvent::job(EventType::JobStarted));
        }
        if held.step.started_at.is_none() {
            events.push(about(held.step.kind, EventType::StepStarted));
        }
        events.push(
            about(held.step.kind, EventType::AttemptStarted).saying(format!(
                "Calling {} (try {})",
                provider.manifest().name,
                attempt.number
            )),
        );
        let now = time::now();
        let step = Step {
            status: StepStatus::Submitting,
            provider: Some(id.clone()),
            progress: None,
            error: None,
            due_at: Some(now),
            started_at: held.step.started_at.or(Some(now)),
            reuse_key: self.wanted(work, &provider, &request),
            ..held.step.clone()
        };
        let job = (work.job.status != JobStatus::Running).then_some(JobChange {
            status: JobStatus::Running,
            error: None,
        });
        let draft = Draft {
            attempt: Some(attempt.clone()),
            job,
            events,
            ..Draft::default()
        };
        let written = match self.write(held, step, draft).await {
            Err(sql::Error::OverHold) => {
                return self.fail(held, too_dear(), None, Vec::new()).await;
            }
            Err(sql::Error::BudgetExceeded(overrun)) => {
                return self
                    .fail(held, over_budget(&overrun), None, Vec::new())
                    .await;
            }
            Err(sql::Error::Underway) => return Ok(reuse::beaten(held)),
            other => other?,
        };
        match written {
            Written::Lost => return Ok(Turn::Gone),
            Written::Done {
                cancel_requested: true,
            } => {
                // Nothing has left yet.
                let failure = Failure::new(FailureCode::ProviderUnavailable, "Not sent: canceled.");
                return self
                    .refused(held, work, attempt, failure, Then::Retry(None))
                    .await;
            }
            Written::Done {
                cancel_requested: false,
            } => {}
        }
        let outcome = self.call(held, work, &provider, &request, attempt.id).await;
        tracing::info!(
            job = %attempt.job, attempt = %attempt.id, provider = %attempt.provider,
            requests = outcome.trace.requests, sent = outcome.trace.sent,
            unanswered = outcome.trace.unanswered, withheld = outcome.trace.withheld,
            status = outcome.trace.last_status,
            duration_ms = u64::try_from(outcome.trace.elapsed.as_millis()).unwrap_or(u64::MAX),
            failure = outcome.result.as_ref().err().map(tracing::field::display),
            "submitted"
        );
        // What was paid for is written down before anything else is waited for.
        let turn = self
            .conclude(held, work, attempt, decide::judge_submission(&outcome))
            .await;
        if let Some(sign) = decide::judge_health(&outcome)
            && let Err(error) = self.health.tell(&lane, sign).await
        {
            // The next failure says the same.
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "how a provider does could not be written down"
            );
        }
        turn
    }

    /// Writes what a submission came to.
    pub(super) async fn conclude(
        &self,
        held: &mut Held,
        work: &Work,
        attempt: Attempt,
        verdict: Verdict,
    ) -> Result<Turn, sql::Error> {
        match verdict {
            Verdict::Accepted(task) => self.accepted(held, attempt, task).await,
            Verdict::Done(done) => self.delivered(held, work, attempt, &done).await,
            Verdict::Refused(failure, then) => {
                self.refused(held, work, attempt, failure, then).await
            }
            Verdict::Unconfirmed(why) => self.uncertain(held, attempt, &why).await,
        }
    }

    pub(super) async fn accepted(
        &self,
        held: &mut Held,
        attempt: Attempt,
        task: String,
    ) -> Result<Turn, sql::Error> {
        let now = time::now();
        let provider = self.plugin_of(&attempt).here();
        let name = provider
            .as_ref()
            .map_or(attempt.provider.as_str(), |p| p.manifest().name.as_str());
        let step = Step {
            status: StepStatus::Running,
            due_at: Some(now),
            ..held.step.clone()
        };
        let events = vec![
            about(held.step.kind, EventType::AttemptAccepted).saying(format!("{name} works on it")),
        ];
        let watch = Watch {
            attempt: attempt.id,
            provider: attempt.provider.as_str().into(),
            digest: attempt.plugin_digest.as_str().into(),
            task: task.as_str().into(),
            polls: 0,
            settling: None,
        };
        let first = provider
            .as_ref()
            .and_then(|p| p.manifest().tasks)
            .map_or(Duration::from_secs(5), |tasks| {
                Duration::from_millis(u64::from(tasks.poll_after_ms))
            });
        let attempt = Attempt {
            status: AttemptStatus::Accepted,
            vendor_task: Some(task),
            accepted_at: Some(now),
            uncertain_at: None,
            ..attempt
        };
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
            Written::Done {
                cancel_requested: true,
            } => Ok(Turn::Again),
            Written::Done {
                cancel_requested: false,
            } => {
                held.watch = Some(watch);
                Ok(Turn::Wait(now.after(first)))
            }
        }
    }

    /// A refusal that is certain: try again, go elsewhere, or give up.
    pub(super) async fn refused(
        &self,
        held: &mut Held,
        work: &Work,
        attempt: Attempt,
        failure: Failure,
        then: Then,
    ) -> Result<Turn, sql::Error> {
        let now = time::now();
        held.slot = None;
        let counts = !matches!(then, Then::WaitForSlot(_));
        let attempt = Attempt {
            status: AttemptStatus::Failed,
            charge: Charge::NotCharged,
            error: Some(failure.clone()),
            finished_at: Some(now),
            counts,
            ..attempt
        };
        let mut events =
            vec![about(held.step.kind, EventType::AttemptFailed).saying(&failure.message)];
        let tries = 1 + work
            .attempts_of(&held.step)
            .filter(|old| {
                old.round == held.step.round
                    && old.provider == attempt.provider
                    && old.counts
                    && old.id != attempt.id
            })
            .count();
        let tries = i64::try_from(tries).unwrap_or(i64::MAX);
        let wait = match then {
            Then::Stop => return self.fail(held, failure, Some(attempt), events).await,
            // Also when the vendor says "now": it said so to everybody.
            Then::WaitForSlot(said) => {
                Some(said.unwrap_or(SLOT_WAIT).max(self.settings.retry_base))
            }
            Then::Retry(said) if tries < decide::TRIES => Some(decide::backoff(
                self.settings.retry_base,
                tries,
                said,
                rand::random(),
            )),
            Then::Retry(_) | Then::NextProvider => None,
        };
        let (provider, due) = match wait {
            Some(wait) => {
                events.push(
                    about(held.step.kind, EventType::StepRetrying)
                        .saying(format!("Next try in {} s", wait.as_secs_f32().ceil())),
                );
                (attempt.provider.clone(), now.after(wait))
            }
            None => {
                let route = self.route(held, work);
                let next = untried(&route, &held.step, work, Some(&attempt.provider))
                    .next()
                    .cloned();
                let Some(next) = next else {
                    return self.fail(held, failure, Some(attempt), events).await;
                };
                events.push(
                    about(held.step.kind, EventType::StepFailedOver)
                        .saying(format!("Going on with {next}")),
                );
                (next, now)
            }
        };
        let step = Step {
            status: StepStatus::Pending,
            provider: Some(provider),
            error: Some(failure),
            due_at: Some(due),
            ..held.step.clone()
        };
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
            Written::Done { .. } => Ok(Turn::Wait(due)),
        }
    }

    pub(super) async fn request(
        &self,
        held: &Held,
        work: &Work,
        provider: &Provider,
    ) -> Result<PaidRequest, (Failure, Then)> {
        let materials = Materials::of(&work.steps);
        let manifest = provider.manifest();
        let input = &work.job.input;
        let request = match (held.step.kind, input) {
            (StepKind::Script, _) => requests::script_request(input, manifest),
            (StepKind::Voice, _) => requests::voice_request(input, &materials, manifest),
            (StepKind::Video, JobInput::Video(video)) => {
                let avatar = if foresee::needs_speaker(video, provider) {
                    Some(self.any_avatar(provider, video.aspect).await?)
                } else {
                    None
                };
                requests::video_request(video, &materials, manifest, avatar)
            }
            _ => None,
        };
        request.ok_or_else(|| {
            let failure = Failure::new(
                FailureCode::InvalidInput,
                format!("{} cannot make this from what there is.", manifest.name),
            );
            (failure, Then::NextProvider)
        })
    }

    /// The first avatar of the catalogue that suits the picture's shape, or else the first.
    async fn any_avatar(
        &self,
        provider: &Provider,
        aspect: Aspect,
    ) -> Result<String, (Failure, Then)> {
        let items = self
            .catalog
            .items(Some(provider.id()), ItemKind::Avatar)
            .await
            .map_err(|error| {
                tracing::warn!(%error, "no avatar could be chosen");
                let failure = Failure::new(
                    FailureCode::ProviderUnavailable,
                    "The provider's list of avatars cannot be read.",
                );
                (failure, Then::Retry(None))
            })?;
        let shape = aspect.as_str().to_lowercase();
        let suits = |item: &&crate::providers::CatalogItem| {
            item.metadata
                .as_ref()
                .and_then(|facts| facts.get("preferred_orientation"))
                .and_then(|word| word.as_str())
                .is_some_and(|word| word.eq_ignore_ascii_case(&shape))
        };
        items
            .iter()
            .find(suits)
            .or_else(|| items.first())
            .map(|item| item.id.clone())
            .ok_or_else(|| {
                let failure =
                    Failure::new(FailureCode::InvalidInput, "The provider offers no avatar.");
                (failure, Then::NextProvider)
            })
    }

    /// The call itself, with the text that is being written put into the log meanwhile.
    pub(super) async fn call(
        &self,
        held: &mut Held,
        work: &Work,
        provider: &Provider,
        request: &PaidRequest,
        attempt: AttemptId,
    ) -> Outcome<Submission> {
        let (text, mut written) = mpsc::unbounded_channel();
        let call = Call {
            assets: Arc::new(
                self.assets(held.step.job)
                    .with_uploads(work.job.input.uploads()),
            ),
            text: matches!(request, PaidRequest::Script(_)).then_some(text),
            permission: held.lease.clone().map(|lease| {
                let permission: Permission = Arc::new(move || lease.holds(Instant::now()));
                permission
            }),
            label: format!("{} {attempt}", held.step.job),
        };
        let context = self.context(provider, attempt);
        let plugin = &provider.plugin;
        let submission = async {
            match request.clone() {
                PaidRequest::Script(request) => plugin.submit_script(call, request, context).await,
                PaidRequest::Voice(request) => plugin.submit_voice(call, request, context).await,
                PaidRequest::Video(request) => plugin.submit_video(call, request, context).await,
            }
        };
        tokio::pin!(submission);
        let mut tick = tokio::time::interval(TEXT_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut pending = String::new();
        let outcome = loop {
            tokio::select! {
                outcome = &mut submission => break outcome,
                Some(delta) = written.recv() => pending.push_str(&delta),
                _ = tick.tick(), if !pending.is_empty() => {
                    self.tell_text(held, std::mem::take(&mut pending)).await;
                }
            }
        };
        while let Ok(delta) = written.try_recv() {
            pending.push_str(&delta);
        }
        if !pending.is_empty() {
            self.tell_text(held, pending).await;
        }
        outcome
    }

    async fn tell_text(&self, held: &mut Held, text: String) {
        let event = NewEvent {
            text_delta: Some(text),
            ..about(held.step.kind, EventType::TextDelta)
        };
        let step = held.step.clone();
        // The text comes again, whole, with the finished step.
        if let Err(error) = self
            .write(
                held,
                step,
                Draft {
                    events: vec![event],
                    ..Draft::default()
                },
            )
            .await
        {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "live text could not be logged"
            );
        }
    }

    pub(super) fn context(&self, provider: &Provider, attempt: AttemptId) -> ContextArgs {
        let takes_callbacks = provider.plugin.exports().webhook;
        ContextArgs {
            client_ref: attempt.to_string(),
            callback_url: self
                .settings
                .public_url
                .as_ref()
                .filter(|_| takes_callbacks)
                .map(|base| {
                    format!(
                        "{}/hooks/{}/{attempt}",
                        base.trim_end_matches('/'),
                        provider.id()
                    )
                }),
        }
    }
}

fn over_budget(Overrun { budget, .. }: &Overrun) -> Failure {
    Failure::new(
        FailureCode::BudgetExceeded,
        format!(
            "The project's budget is {}, and {} are spent or held. Nothing was sent; raise the \
             budget to try again.",
            budget.limit.words(),
            budget.spent + budget.held
        ),
    )
}

fn too_dear() -> Failure {
    Failure::new(
        FailureCode::ProviderUnavailable,
        "Another try may cost more credits than were put aside for the job. Nothing was sent.",
    )
}

fn new_attempt(
    held: &Held,
    work: &Work,
    provider: &Provider,
    request: &serde_json::Value,
) -> Attempt {
    let number = work
        .attempts_of(&held.step)
        .map(|old| old.number)
        .max()
        .unwrap_or(0)
        + 1;
    Attempt {
        id: AttemptId::generate(),
        step: held.step.id,
        job: held.step.job,
        number,
        round: held.step.round,
        provider: provider.id().to_owned(),
        plugin_version: provider.manifest().version.clone(),
        plugin_digest: provider.plugin.digest().to_owned(),
        model: plan::model_at(provider, held.step.kind, &work.job.input).map(str::to_owned),
        status: AttemptStatus::Submitting,
        counts: true,
        charge: Charge::Unknown,
        vendor_task: None,
        request: request.clone(),
        delivered: None,
        error: None,
        cost_micro_usd: None,
        max_credits: 0,
        credits: 0,
        submitted_at: time::now(),
        accepted_at: None,
        uncertain_at: None,
        finished_at: None,
    }
}
