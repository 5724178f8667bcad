//! `genvid admin attempts`: paid calls whose outcome nobody knows.

use std::time::Duration;

use anyhow::Context;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::{Output, open};
use crate::{
    ids::AttemptId,
    jobs::{
        model::{AttemptStatus, Charge},
        settle::{Finding, MAX_NAME, MAX_REASON, MAX_TASK, OpenAttempt, Settled, Settlement},
    },
    time,
};

/// Attempts that are listed at most.
const LISTED: u32 = 1_000;

#[derive(Args)]
pub(super) struct Attempts {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List the calls that are not settled, oldest first.
    List {
        /// Only those whose outcome is unknown.
        #[arg(long)]
        unconfirmed: bool,
        #[command(flatten)]
        output: Output,
    },
    /// Settle a call whose outcome is unknown, by what the provider's own records say.
    ///
    /// It must be one that the server has given up looking up: its job rests as UNCONFIRMED. Of
    /// this command, its owner's choice and a late answer of the provider, the first one holds;
    /// whatever comes later is refused and changes nothing.
    #[command(
        after_help = "Examples:\n  genvid admin attempts settle att_… --as not-charged --reason \"Not on the invoice of 3 May\"\n  genvid admin attempts settle att_… --as charged --task 8812 --reason \"Found in the console\""
    )]
    Settle {
        /// Which one (att_…).
        attempt: AttemptId,
        /// not-charged: the step is tried again. charged: with --task the task goes on and its
        /// result is fetched; without, the job fails, its owner pays nothing, and the provider's
        /// bill is yours.
        #[arg(long = "as", value_name = "WHAT")]
        found: Found,
        /// The provider's id of the task, with --as charged.
        #[arg(long, value_name = "ID")]
        task: Option<String>,
        /// Where you looked. The job's owner reads it.
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// Who settles it. The job's owner reads it.
        #[arg(long, value_name = "NAME", default_value = "the operator")]
        by: String,
        #[command(flatten)]
        output: Output,
    },
}

/// What the provider's records say.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Found {
    Charged,
    NotCharged,
}

pub(super) async fn run(attempts: Attempts) -> anyhow::Result<()> {
    match attempts.command {
        Command::List {
            unconfirmed,
            output,
        } => list(unconfirmed, &output).await,
        Command::Settle {
            attempt,
            found,
            task,
            reason,
            by,
            output,
        } => {
            let finding = finding(found, task)?;
            let (reason, by) = (
                words("--reason", &reason, MAX_REASON)?,
                words("--by", &by, MAX_NAME)?,
            );
            settle(attempt, finding, by, reason, &output).await
        }
    }
}

fn finding(found: Found, task: Option<String>) -> anyhow::Result<Finding> {
    Ok(match (found, task) {
        (Found::NotCharged, None) => Finding::NotCharged,
        (Found::NotCharged, Some(_)) => {
            anyhow::bail!("--task: what has a task was accepted: use --as charged")
        }
        (Found::Charged, None) => Finding::Charged,
        (Found::Charged, Some(task)) => {
            let task = task.trim().to_owned();
            anyhow::ensure!(
                (1..=MAX_TASK).contains(&task.len()),
                "--task: must have 1 to {MAX_TASK} bytes"
            );
            Finding::Task(task)
        }
    })
}

fn words(flag: &str, text: &str, most: usize) -> anyhow::Result<String> {
    let text = text.trim();
    anyhow::ensure!(
        (1..=most).contains(&text.chars().count()),
        "{flag}: must have 1 to {most} characters"
    );
    Ok(text.to_owned())
}

async fn list(unconfirmed: bool, output: &Output) -> anyhow::Result<()> {
    let settings = output.settings()?;
    let installer = open(&settings).await?;
    let found = installer
        .database()
        .open_attempts(unconfirmed, None, LISTED)
        .await?
        .items;
    let rows: Vec<Value> = found.iter().map(as_json).collect();
    output.show(&json!({ "attempts": rows }), || {
        if found.is_empty() {
            return "None.".to_owned();
        }
        let lines: Vec<String> = found.iter().map(as_line).collect();
        lines.join("\n")
    })
}

fn as_json(open: &OpenAttempt) -> Value {
    let own = &open.attempt;
    json!({
        "id": own.id.to_string(), "job": open.job_id().to_string(),
        "jobStatus": open.job.as_str(), "provider": own.provider, "model": own.model,
        "status": own.status.as_str(), "charge": own.charge.as_str(),
        "vendorTaskId": own.vendor_task, "maxCredits": own.max_credits,
        "submittedAt": own.submitted_at.to_string(),
        "uncertainAt": own.uncertain_at.map(|at| at.to_string()),
    })
}

fn as_line(open: &OpenAttempt) -> String {
    let own = &open.attempt;
    format!(
        "{}  {:<12} {:<12} {}  {} ({})",
        own.submitted_at,
        own.provider,
        own.status.as_str(),
        own.id,
        open.job_id(),
        open.job.as_str()
    )
}

async fn settle(
    attempt: AttemptId,
    finding: Finding,
    by: String,
    reason: String,
    output: &Output,
) -> anyhow::Result<()> {
    let settings = output.settings()?;
    let installer = open(&settings).await?;
    let life = Duration::from_secs(settings.jobs.deadline_minutes * 60);
    let settlement = Settlement {
        attempt,
        finding,
        by,
        actor: crate::accounts::acts::OPERATOR.to_owned(),
        reason,
        deadline: time::now().after(life),
    };
    let settled = installer
        .database()
        .settle_attempt(settlement)
        .await
        .context("nothing was changed")?;
    let (own, job) = match settled {
        Settled::Done { attempt, job, .. } => (attempt, job),
        Settled::Refused(why) => {
            anyhow::bail!("{attempt} cannot be settled: {why}. Nothing was changed")
        }
        Settled::Missing => anyhow::bail!("there is no attempt {attempt}"),
    };
    let answer = json!({
        "id": own.id.to_string(), "status": own.status.as_str(), "charge": own.charge.as_str(),
        "job": own.job.to_string(), "jobStatus": job.as_str(),
    });
    output.show(&answer, || {
        let what = match (own.status, own.charge) {
            (AttemptStatus::Accepted, _) => "is followed from here",
            (_, Charge::NotCharged) => "was not charged, and its step is tried again",
            _ => "was charged, and its owner pays nothing for it",
        };
        format!("{} {what}; {} is {}.", own.id, own.job, job.as_str())
    })
}
