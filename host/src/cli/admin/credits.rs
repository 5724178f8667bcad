//! `genvid admin credits` and `genvid admin audit`.

use std::process::ExitCode;

use anyhow::Context;
use chrono::{DateTime, NaiveDate, NaiveTime};
use clap::{Args, Subcommand};
use serde_json::json;

use super::{Output, open};
use crate::{
    accounts::User,
    adapters::sql::Database,
    billing::{Adjustment, Booked, Grant, MAX_REASON, MOST},
    ids::TransferId,
    time::{self, Timestamp},
};

/// Who moves credits here, as the ledger names it.
const ACTOR: &str = "operator";
/// Longest key, in bytes.
const MAX_KEY: usize = 255;
/// Lines of a user's ledger that are shown.
const SHOWN: u32 = 20;

#[derive(Args)]
pub(super) struct Credits {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Give a user credits.
    #[command(
        after_help = "Examples:\n  genvid admin credits grant --user ann@example.com --credits 5000 --reason \"Welcome\"\n  genvid admin credits grant --user ann@example.com --credits 500 --reason \"Spring\" --expires 2027-04-01"
    )]
    Grant {
        #[command(flatten)]
        target: Target,
        /// How many.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..=MOST))]
        credits: i64,
        /// When what is left of them ends: a time of RFC 3339, or a day, at whose beginning (UTC)
        /// they end. They are spent before credits without an end.
        #[arg(long, value_name = "WHEN", value_parser = instant)]
        expires: Option<Timestamp>,
        #[command(flatten)]
        output: Output,
    },
    /// Correct a user's available credits, up or down; never below zero.
    #[command(
        after_help = "Example:\n  genvid admin credits adjust --user ann@example.com --credits -20 --reason \"Booked twice by hand\""
    )]
    Adjust {
        #[command(flatten)]
        target: Target,
        /// How many more; below zero: how many fewer.
        #[arg(long, value_name = "N", allow_negative_numbers = true,
              value_parser = clap::value_parser!(i64).range(-MOST..=MOST))]
        credits: i64,
        #[command(flatten)]
        output: Output,
    },
    /// Show a user's credits and the latest movements.
    Show {
        /// Mail address, or id (usr_…).
        #[arg(long, value_name = "USER")]
        user: String,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Args)]
struct Target {
    /// Mail address, or id (usr_…).
    #[arg(long, value_name = "USER")]
    user: String,
    /// What for; the user reads it.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Makes it happen once: the same key again moves nothing. Without it, each call is new.
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
}

/// Prove the books: every entry, balance and hold.
#[derive(Args)]
pub(super) struct Audit {
    #[command(flatten)]
    output: Output,
}

pub(super) async fn run(credits: Credits) -> anyhow::Result<()> {
    match credits.command {
        Command::Grant {
            target,
            credits,
            expires,
            output,
        } => grant(target, credits, expires, &output).await,
        Command::Adjust {
            target,
            credits,
            output,
        } => adjust(target, credits, &output).await,
        Command::Show { user, output } => show(&user, &output).await,
    }
}

/// The code is a failure when the books are not in order.
pub(super) async fn audit(Audit { output }: Audit) -> anyhow::Result<ExitCode> {
    let settings = output.settings()?;
    let audit = open(&settings).await?.database().audit_credits().await?;
    output.show(&serde_json::to_value(&audit)?, || {
        let mut lines = vec![format!(
            "{}: {} entries with the sum {}, {} holds.",
            if audit.ok { "In order" } else { "NOT in order" },
            audit.entries,
            audit.sum,
            audit.holds,
        )];
        lines.extend(audit.mismatches.iter().cloned());
        lines.join("\n")
    })?;
    Ok(if audit.ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn grant(
    target: Target,
    credits: i64,
    expires_at: Option<Timestamp>,
    output: &Output,
) -> anyhow::Result<()> {
    anyhow::ensure!(
        expires_at.is_none_or(|at| at > time::now()),
        "--expires: must be later than now"
    );
    let (reason, key) = target.words()?;
    let settings = output.settings()?;
    let installer = open(&settings).await?;
    let user = find(installer.database(), &target.user).await?;
    let grant = Grant {
        user: user.id,
        credits,
        reason,
        actor: ACTOR.to_owned(),
        key,
        expires_at,
    };
    let booked = installer.database().grant(grant).await?;
    tell(installer.database(), &user, booked, output).await
}

async fn adjust(target: Target, credits: i64, output: &Output) -> anyhow::Result<()> {
    anyhow::ensure!(credits != 0, "--credits: must not be 0");
    let (reason, key) = target.words()?;
    let settings = output.settings()?;
    let installer = open(&settings).await?;
    let user = find(installer.database(), &target.user).await?;
    let change = Adjustment {
        user: user.id,
        credits,
        reason,
        actor: ACTOR.to_owned(),
        key,
    };
    let booked = installer.database().adjust(change).await?;
    tell(installer.database(), &user, booked, output).await
}

async fn tell(
    database: &Database,
    user: &User,
    booked: Booked,
    output: &Output,
) -> anyhow::Result<()> {
    anyhow::ensure!(
        booked != Booked::KeyReused,
        "the key came before with something else; nothing was changed"
    );
    let balance = database.for_worker().balance(user.id).await?;
    let repeated = booked == Booked::Repeated;
    let answer = json!({
        "user": user.id.to_string(), "repeated": repeated,
        "available": balance.available, "held": balance.held,
    });
    output.show(&answer, || {
        format!(
            "{}{} has {} credits available and {} held.",
            if repeated {
                "Nothing was changed: the key came before. "
            } else {
                ""
            },
            user.email,
            balance.available,
            balance.held
        )
    })
}

async fn show(user: &str, output: &Output) -> anyhow::Result<()> {
    let settings = output.settings()?;
    let installer = open(&settings).await?;
    let database = installer.database();
    let user = find(database, user).await?;
    let balance = database.for_worker().balance(user.id).await?;
    let page = database.for_worker().ledger(user.id, None, SHOWN).await?;
    let lines: Vec<_> = page
        .items
        .iter()
        .map(|line| {
            json!({
                "id": line.id.to_string(), "at": line.at.to_string(), "kind": line.kind.as_str(),
                "amount": line.amount, "balanceAfter": line.balance_after,
                "job": line.job.map(|job| job.to_string()), "reason": line.reason,
            })
        })
        .collect();
    let answer = json!({
        "user": user.id.to_string(), "available": balance.available, "held": balance.held,
        "ledger": lines,
    });
    output.show(&answer, || {
        let mut words = vec![format!(
            "{} has {} credits available and {} held.",
            user.email, balance.available, balance.held
        )];
        words.extend(page.items.iter().map(|line| {
            let about = line.job.map(|job| job.to_string()).or(line.reason.clone());
            format!(
                "{}  {:<10} {:>+10} {:>10}  {}",
                line.at,
                line.kind.as_str(),
                line.amount,
                line.balance_after,
                about.unwrap_or_default()
            )
        }));
        words.join("\n")
    })
}

impl Target {
    /// The reason and the key.
    fn words(&self) -> anyhow::Result<(String, String)> {
        let reason = self.reason.trim();
        let length = reason.chars().count();
        anyhow::ensure!(
            (1..=MAX_REASON).contains(&length),
            "--reason: must have 1 to {MAX_REASON} characters"
        );
        let key = match &self.key {
            Some(key) => {
                anyhow::ensure!(
                    (1..=MAX_KEY).contains(&key.len()),
                    "--key: must have 1 to {MAX_KEY} bytes"
                );
                key.clone()
            }
            None => TransferId::generate().to_string(),
        };
        // Apart from the keys that the server makes itself.
        Ok((reason.to_owned(), format!("{ACTOR}/{key}")))
    }
}

pub(super) async fn find(database: &Database, user: &str) -> anyhow::Result<User> {
    let found = database.find_user_named(user).await?;
    found.with_context(|| format!("there is no user {user}"))
}

pub(super) fn instant(text: &str) -> Result<Timestamp, String> {
    if let Ok(instant) = DateTime::parse_from_rfc3339(text) {
        return Ok(instant.to_utc().into());
    }
    text.parse::<NaiveDate>()
        .map(|day| day.and_time(NaiveTime::MIN).and_utc().into())
        .map_err(|_| {
            "must be a time such as 2027-04-01T12:00:00Z, or a day such as 2027-04-01".to_owned()
        })
}
