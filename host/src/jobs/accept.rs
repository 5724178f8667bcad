//! From a wish whose fields can be taken to a job with its plan, its hold and its first event.

use std::{collections::HashMap, sync::Arc};

use sha2::{Digest, Sha256};

use super::{
    check::Common,
    input::JobInput,
    model::{EventType, Job, JobStatus, NewEvent, Step, StepStatus},
    plan,
    remote::Nudge,
    service::{Error, Service},
    store::{Accepted, NewJob, Request},
};
use crate::{
    adapters::sql,
    ids::{JobId, ProjectId, StepId, UserId},
    time,
};

/// A wish whose fields can be taken.
pub(super) struct Checked {
    pub(super) project: Option<ProjectId>,
    pub(super) input: JobInput,
    pub(super) speaks_itself: bool,
    pub(super) common: Common,
}

impl Service {
    /// Accepts a job, once for each key.
    pub(super) async fn accept(&self, owner: UserId, checked: Checked) -> Result<Job, Error> {
        let quote = checked.common.quote;
        let planned = self.plan_of(owner, quote, &checked).await;
        let Checked {
            project,
            input,
            speaks_itself,
            common,
        } = checked;
        // Absent, they leave the text as it was before there were any: keys of that time answer
        // their jobs.
        let mut more = serde_json::Map::new();
        if let Some(quote) = common.quote {
            more.insert("quoteId".to_owned(), quote.to_string().into());
        }
        if let Some(most) = common.max_credits {
            more.insert("maxCredits".to_owned(), most.into());
        }
        if let Some(url) = &common.webhook_url {
            more.insert("webhookUrl".to_owned(), url.as_str().into());
        }
        if let Some(address) = &common.notify {
            more.insert("notificationEmail".to_owned(), address.as_str().into());
        }
        let request = match more.is_empty() {
            true => serde_json::to_vec(&(&input, project, common.asked_deadline)),
            false => serde_json::to_vec(&(&input, project, common.asked_deadline, more)),
        };
        let request = request.map_err(|source| sql::Error::decode("job input", source))?;
        let request_hash = Sha256::digest(&request).to_vec();
        let plan = match planned {
            Ok(plan) => plan,
            // Who could make it then may be gone by now, and the quote may have expired: a
            // repeat is answered all the same.
            Err(error @ Error::Database(_)) => return Err(error),
            // An item of a batch that has a job is not asked for again.
            Err(error) if common.place.is_some() => return Err(error),
            Err(error) => {
                let request = Request {
                    owner,
                    kind: input.kind(),
                    key: common.key,
                    hash: request_hash,
                };
                return match self.database.for_user(owner).answer_to(request).await? {
                    Some(Accepted::Created(job) | Accepted::Repeated(job)) => Ok(job),
                    Some(Accepted::KeyReused) => Err(Error::KeyReused),
                    None => Err(error),
                };
            }
        };
        let quotes: HashMap<_, _> = plan.iter().map(|step| (step.kind, &step.quote)).collect();
        let now = time::now();
        let id = JobId::generate();
        let steps = (0_i64..)
            .zip(input.plan(speaks_itself))
            .map(|(position, kind)| Step {
                id: StepId::generate(),
                job: id,
                position,
                kind,
                status: StepStatus::Pending,
                provider: None,
                progress: None,
                output: None,
                error: None,
                round: 1,
                quote: quotes.get(&kind).map(|quote| (*quote).clone()),
                reuse_key: None,
                reused_from: None,
                due_at: (position == 0).then_some(now),
                started_at: None,
                completed_at: None,
            })
            .collect();
        let job = Job {
            id,
            owner,
            project,
            kind: input.kind(),
            status: JobStatus::Queued,
            input,
            error: None,
            cancel_requested: false,
            last_seq: 0,
            deadline: common
                .asked_deadline
                .unwrap_or(now.after(self.settings.deadline)),
            created_at: now,
            completed_at: None,
        };
        let new = NewJob {
            job,
            steps,
            events: vec![NewEvent::job(EventType::JobQueued)],
            idempotency_key: common.key,
            hold: plan::most(&plan),
            max_hold: common.max_credits.map(i64::from),
            plans: Arc::clone(&self.settings.plans),
            request_hash,
            webhook_url: common.webhook_url,
            notify: common.notify,
            place: common.place,
            by: common.by,
        };
        let (accepted, events) = self.database.accept_job(new).await?;
        self.bus.publish(events);
        match accepted {
            Accepted::Created(job) => {
                self.nudges.send(Nudge::Work);
                Ok(job)
            }
            Accepted::Repeated(job) => Ok(job),
            Accepted::KeyReused => Err(Error::KeyReused),
        }
    }
}
