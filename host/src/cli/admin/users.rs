//! `genvid admin users`.

use anyhow::Context;
use clap::{Args, Subcommand};
use serde_json::json;

use super::{Output, credits::find, open};
use crate::{
    accounts::{Role, UserFilter, acts::OPERATOR},
    app,
};

#[derive(Args)]
pub(super) struct Users {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List users, newest first; not those whose accounts are gone.
    #[command(after_help = "Example:\n  genvid admin users list --role admin")]
    List {
        /// Only those whose mail address begins like this.
        #[arg(long, value_name = "TEXT")]
        email: Option<String>,
        /// Only those with this role.
        #[arg(long, value_name = "ROLE", value_parser = ["user", "partner", "admin", "service"])]
        role: Option<String>,
        /// At most so many, 1 to 1000.
        #[arg(long, value_name = "COUNT", default_value_t = 100,
            value_parser = clap::value_parser!(u32).range(1..=1_000))]
        first: u32,
        #[command(flatten)]
        output: Output,
    },
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
    /// Give a user another role, or show which one they have. It holds from their next request on.
    #[command(
        after_help = "Example:\n  genvid admin users role --user ann@example.com --role admin"
    )]
    Role {
        /// Mail address, or id (usr_…).
        #[arg(long, value_name = "USER")]
        user: String,
        /// user: own projects and jobs. partner: the same, for those who make plugins. admin:
        /// everything. service: a program of the operator's, which looks at what admins look at and
        /// changes nothing of it. Without it, the present one is shown.
        #[arg(long, value_name = "ROLE", value_parser = ["user", "partner", "admin", "service"])]
        role: Option<String>,
        #[command(flatten)]
        output: Output,
    },
}

pub(super) async fn run(Users { command }: Users) -> anyhow::Result<()> {
    match command {
        Command::List {
            email,
            role,
            first,
            output,
        } => {
            let filter = UserFilter {
                begins: email,
                role: role.as_deref().and_then(Role::parse),
            };
            list(filter, first, &output).await
        }
        Command::Plan { user, plan, output } => set_plan(&user, plan, &output).await,
        Command::Role { user, role, output } => set_role(&user, role, &output).await,
    }
}

async fn list(filter: UserFilter, first: u32, output: &Output) -> anyhow::Result<()> {
    let settings = output.settings()?;
    let installer = open(&settings).await?;
    let page = (installer.database())
        .list_users(filter, None, first)
        .await?;
    let json = json!({
        "more": page.more,
        "users": page.items.iter().map(|user| json!({
            "user": user.id.to_string(), "email": user.email, "role": user.role.as_str(),
            "emailVerified": user.verified_at.is_some(), "createdAt": user.created_at.to_string(),
        })).collect::<Vec<_>>(),
    });
    output.show(&json, || {
        let mut lines: Vec<_> = (page.items.iter())
            .map(|user| format!("{}  {:<8} {}", user.id, user.role.as_str(), user.email))
            .collect();
        if page.more {
            lines.push("There are more: raise --first, or say how the address begins.".to_owned());
        }
        lines.join("\n")
    })
}

async fn set_role(user: &str, role: Option<String>, output: &Output) -> anyhow::Result<()> {
    let settings = output.settings()?;
    let installer = open(&settings).await?;
    let database = installer.database();
    let mut user = find(database, user).await?;
    if let Some(role) = role.as_deref().and_then(Role::parse) {
        database
            .set_role(user.id, role, OPERATOR.to_owned())
            .await?;
        user.role = role;
    }
    let role = user.role.as_str();
    let json = json!({ "user": user.id.to_string(), "role": role });
    output.show(&json, || format!("{} is {role}.", user.email))
}

async fn set_plan(user: &str, plan: Option<String>, output: &Output) -> anyhow::Result<()> {
    let settings = output.settings()?;
    let plans = app::plans(&settings);
    let installer = open(&settings).await?;
    let database = installer.database();
    let user = find(database, user).await?;
    if let Some(plan) = plan {
        anyhow::ensure!(
            plans.has(&plan),
            "--plan: the settings have no plan {plan}; there are {}",
            plans.names().join(", ")
        );
        database
            .set_plan(user.id, plan, OPERATOR.to_owned())
            .await?;
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
