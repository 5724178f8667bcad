//! Between stored columns and domain types.

use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::{Error, query::Row, values::Json};
use crate::{
    ids::{AttemptId, JobId, ProjectId, StepId, UserId},
    jobs::model::{
        Attempt, AttemptStatus, Charge, Event, EventType, Job, JobKind, JobStatus, NewEvent, Step,
        StepKind, StepSource, StepStatus,
    },
    time::Timestamp,
};

pub(super) const JOB: &str = "id, owner_id, project_id, kind, status, input, error, \
    cancel_requested, last_seq, deadline, created_at, completed_at";
pub(super) const STEP: &str = "id, job_id, position, kind, status, provider, progress, output, \
    error, round, quote, reuse_key, reused_step, reused_job, due_at, started_at, completed_at";
pub(super) const ATTEMPT: &str = "id, step_id, job_id, number, round, provider, plugin_version, \
    plugin_digest, status, charge, vendor_task, request, delivered, error, cost_micro_usd, \
    max_credits, credits, submitted_at, accepted_at, uncertain_at, finished_at, counts, model";
pub(super) const EVENT: &str =
    "position, job_id, owner_id, seq, type, step, progress, message, text_delta, at";

fn json<T: DeserializeOwned>(what: &'static str, document: Json) -> Result<T, Error> {
    document.read(what)
}

fn optional_json<T: DeserializeOwned>(
    what: &'static str,
    document: Option<Json>,
) -> Result<Option<T>, Error> {
    document.map(|document| document.read(what)).transpose()
}

pub(super) fn word<T>(
    what: &'static str,
    text: &str,
    parse: fn(&str) -> Option<T>,
) -> Result<T, Error> {
    parse(text).ok_or_else(|| Error::decode(what, format!("unknown word {text:?}")))
}

pub(super) fn time(row: &Row, column: &str) -> Result<Timestamp, Error> {
    Ok(row.try_get(column)?)
}

pub(super) fn optional_time(row: &Row, column: &str) -> Result<Option<Timestamp>, Error> {
    Ok(row.try_get(column)?)
}

pub(super) fn uuid(row: &Row, column: &str) -> Result<Uuid, Error> {
    Ok(row.try_get(column)?)
}

pub(super) fn job(row: &Row) -> Result<Job, Error> {
    Ok(Job {
        id: JobId::from_uuid(uuid(row, "id")?),
        owner: UserId::from_uuid(uuid(row, "owner_id")?),
        project: row
            .try_get::<Option<Uuid>>("project_id")?
            .map(ProjectId::from_uuid),
        kind: word("job kind", row.try_get("kind")?, JobKind::parse)?,
        status: word("job status", row.try_get("status")?, JobStatus::parse)?,
        input: json("job input", row.try_get("input")?)?,
        error: optional_json("job error", row.try_get("error")?)?,
        cancel_requested: row.try_get("cancel_requested")?,
        last_seq: row.try_get("last_seq")?,
        deadline: time(row, "deadline")?,
        created_at: time(row, "created_at")?,
        completed_at: optional_time(row, "completed_at")?,
    })
}

pub(super) fn step(row: &Row) -> Result<Step, Error> {
    Ok(Step {
        id: StepId::from_uuid(uuid(row, "id")?),
        job: JobId::from_uuid(uuid(row, "job_id")?),
        position: row.try_get("position")?,
        kind: word("step kind", row.try_get("kind")?, StepKind::parse)?,
        status: word("step status", row.try_get("status")?, StepStatus::parse)?,
        provider: row.try_get("provider")?,
        progress: row.try_get("progress")?,
        output: optional_json("step output", row.try_get("output")?)?,
        error: optional_json("step error", row.try_get("error")?)?,
        round: row.try_get("round")?,
        quote: optional_json("step quote", row.try_get("quote")?)?,
        reuse_key: row.try_get("reuse_key")?,
        reused_from: source(row)?,
        due_at: optional_time(row, "due_at")?,
        started_at: optional_time(row, "started_at")?,
        completed_at: optional_time(row, "completed_at")?,
    })
}

fn source(row: &Row) -> Result<Option<StepSource>, Error> {
    let job: Option<Uuid> = row.try_get("reused_job")?;
    let step: Option<Uuid> = row.try_get("reused_step")?;
    Ok(job.zip(step).map(|(job, step)| StepSource {
        job: JobId::from_uuid(job),
        step: StepId::from_uuid(step),
    }))
}

pub(super) fn attempt(row: &Row) -> Result<Attempt, Error> {
    Ok(Attempt {
        id: AttemptId::from_uuid(uuid(row, "id")?),
        step: StepId::from_uuid(uuid(row, "step_id")?),
        job: JobId::from_uuid(uuid(row, "job_id")?),
        number: row.try_get("number")?,
        round: row.try_get("round")?,
        provider: row.try_get("provider")?,
        plugin_version: row.try_get("plugin_version")?,
        plugin_digest: row.try_get("plugin_digest")?,
        model: row.try_get("model")?,
        status: word(
            "attempt status",
            row.try_get("status")?,
            AttemptStatus::parse,
        )?,
        charge: word("charge", row.try_get("charge")?, Charge::parse)?,
        vendor_task: row.try_get("vendor_task")?,
        request: json("attempt request", row.try_get("request")?)?,
        delivered: optional_json("attempt result", row.try_get("delivered")?)?,
        error: optional_json("attempt error", row.try_get("error")?)?,
        cost_micro_usd: row.try_get("cost_micro_usd")?,
        max_credits: row.try_get("max_credits")?,
        credits: row.try_get("credits")?,
        submitted_at: time(row, "submitted_at")?,
        accepted_at: optional_time(row, "accepted_at")?,
        uncertain_at: optional_time(row, "uncertain_at")?,
        counts: row.try_get("counts")?,
        finished_at: optional_time(row, "finished_at")?,
    })
}

pub(super) fn event(row: &Row) -> Result<Event, Error> {
    Ok(Event {
        position: row.try_get("position")?,
        job: JobId::from_uuid(uuid(row, "job_id")?),
        owner: UserId::from_uuid(uuid(row, "owner_id")?),
        seq: row.try_get("seq")?,
        at: time(row, "at")?,
        body: NewEvent {
            event: word("event type", row.try_get("type")?, EventType::parse)?,
            step: row
                .try_get::<Option<&str>>("step")?
                .map(|text| word("step kind", text, StepKind::parse))
                .transpose()?,
            progress: row.try_get("progress")?,
            message: row.try_get("message")?,
            text_delta: row.try_get("text_delta")?,
        },
    })
}
