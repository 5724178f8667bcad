//! `genvid admin users`.

use anyhow::Context;
use clap::{Args, Subcommand};
use serde_json::json;

use super::{Output, credits::find, open};
use crate::app;

#[derive(Args)]
pub(super) struct Users {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Put a user on a plan of the settings' [fairness.plans], or show which one they are on.
    ///
    /// It holds for jobs that are accepted from then on: how many may be under way at a time,
    /// and how many turns at the vendors they get.
    #[command(
        after_help = "Example:\n  genvid admin users plan --user ann@example.com --plan business"
    )]
    Plan {
        /// Mail address, or id (usr_…).
        #[arg(long, value_name = "USER")]
        user: String,
        /// Name of the plan; without it, the present one is shown.
        #[arg(long, value_name = "NAME")]
        plan: Option<String>,
        #[command(flatten)]
        output: Output,
    },
}

pub(super) async fn run(Users { command }: Users) -> anyhow::Result<()> {
    let Command::Plan { user, plan, output } = command;
    let settings = output.settings()?;
    let plans = app::plans(&settings);
    let installer = open(&settings).await?;
    let database = installer.database();
    let user = find(database, &user).await?;
    if let Some(plan) = plan {
        anyhow::ensure!(
            plans.has(&plan),
            "--plan: the settings have no plan {plan}; there are {}",
            plans.names().join(", ")
        );
        database.set_plan(user.id, plan).await?;
    }
    let name = database.plan_of(user.id).await?;
    let name = name.context("the user is gone")?;
    let plan = plans.of(&name);
    let json = json!({
        "user": user.id.to_string(),
        "plan": name,
        "weight": plan.weight,
        "inFlight": plan.in_flight,
    });
    output.show(&json, || {
        format!(
            "{} is on {name}: weight {}, at most {} jobs under way.",
            user.email, plan.weight, plan.in_flight
        )
    })
}
