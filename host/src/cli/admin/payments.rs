//! `genvid admin payments`.

use anyhow::Context;
use clap::{Args, Subcommand};
use serde_json::json;

use super::{Output, credits::instant, open};
use crate::{app, time::Timestamp};

#[derive(Args)]
pub(super) struct Payments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Ask the payment vendor for events that never came, and work off everything that is open.
    ///
    /// Servers do so by themselves every payments.reconcile_minutes. It is harmless at any time:
    /// whatever was paid is in the books once. The vendor keeps events for 30 days.
    #[command(
        after_help = "Examples:\n  genvid admin payments reconcile\n  genvid admin payments reconcile --since 2026-11-01 --json"
    )]
    Reconcile {
        /// From when on: a time of RFC 3339, or a day. Without it, since the last time.
        #[arg(long, value_name = "WHEN", value_parser = instant)]
        since: Option<Timestamp>,
        #[command(flatten)]
        output: Output,
    },
}

pub(super) async fn run(Payments { command }: Payments) -> anyhow::Result<()> {
    let Command::Reconcile { since, output } = command;
    let settings = output.settings()?;
    let sold = app::sold(&settings)?;
    let installer = open(&settings).await?;
    let cashier = app::cashier(&settings, installer.database(), &sold);
    let cashier = cashier.context(
        "nothing is sold: set STRIPE_SECRET_KEY, STRIPE_SECRET_KEY_FILE or payments.stripe_key",
    )?;
    let found = cashier.reconcile(since).await?;
    let done = cashier.drain().await?;
    let open = cashier.database.open_payment_events().await?;
    let json = json!({
        "seen": found.seen,
        "missed": found.missed,
        "workedOff": done,
        "open": open,
    });
    output.show(&json, || {
        format!(
            "The vendor told of {} events; {} of them had never come. {done} were worked off, \
             {open} are open.",
            found.seen, found.missed
        )
    })
}
