//! For operators: what holds for every node, users' credits, and calls that nobody could settle.
//! It goes into the database that the settings name, whether or not servers are running.

mod attempts;
mod credits;
mod log;
mod payments;
mod plugin;
mod provider;
mod reconcile;
mod reseal;
mod signing_keys;
mod users;

use std::{process::ExitCode, time::Duration};

use clap::{Args, Subcommand};

use super::{Common, start_log};
use crate::{adapters::sql::Installer, app, config::Settings};

#[derive(Args)]
pub(super) struct Admin {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install plugins for every node, choose among their versions, remove them.
    ///
    /// Installed plugins lie in the database that the settings name (DATABASE_URL, or the
    /// embedded one in --data-dir, also while a server runs). One of them goes before a plugin of
    /// the same id in a node's plugin folder. Nodes pick changes up within seconds and without a
    /// restart; what was submitted already finishes on the version that submitted it.
    Plugin(plugin::Plugin),
    /// Settings of providers that hold on every node.
    ///
    /// They go before those of the nodes' settings files. Credentials are sealed in the database, or
    /// each node has them in its environment.
    Provider(provider::Provider),
    /// Look at paid calls that are not settled, and settle those whose outcome nobody could look up.
    ///
    /// What is settled is written down in the job's log, with who and why.
    Attempts(attempts::Attempts),
    /// Compare paid calls with the providers' own records, and settle what is certain.
    Reconcile(reconcile::Reconcile),
    /// Give users credits, correct them, look at them.
    ///
    /// Every movement stays in the ledger for ever, with its reason.
    Credits(credits::Credits),
    /// What was paid.
    Payments(payments::Payments),
    /// Users: who they are, what they may do, what they get.
    #[command(visible_alias = "user")]
    Users(users::Users),
    /// Keys that sign access tokens: make new ones, withdraw those that got out.
    #[command(visible_alias = "keys")]
    SigningKeys(signing_keys::SigningKeys),
    /// Seal secrets in the database with the encryption key of now: signing keys, secrets of webhooks,
    /// credentials of providers.
    ///
    /// After it the keys of before can go from encryption.previous_keys. It may be repeated.
    Reseal(reseal::Reseal),
    /// Show what administrators did, on the command line or by GraphQL: who, when, what, to what.
    ///
    /// Each act is written down in its own transaction, and nobody can change it afterwards.
    Log(log::Log),
    /// Prove the books: that all entries add up to zero, each balance to its entries, and each job
    /// spent what its attempts were charged. Exits with 1 when something is wrong.
    Audit(credits::Audit),
}

/// Flags that all of these commands share.
#[derive(Args, Clone)]
struct Output {
    #[command(flatten)]
    common: Common,
    /// JSON instead of words.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(admin: Admin) -> anyhow::Result<ExitCode> {
    match admin.command {
        Command::Plugin(command) => plugin::run(command).await?,
        Command::Provider(command) => provider::run(command).await?,
        Command::Attempts(command) => attempts::run(command).await?,
        Command::Credits(command) => credits::run(command).await?,
        Command::Payments(command) => payments::run(command).await?,
        Command::Users(command) => users::run(command).await?,
        Command::Log(command) => log::run(command).await?,
        Command::SigningKeys(command) => signing_keys::run(command).await?,
        Command::Reseal(command) => reseal::run(command).await?,
        Command::Reconcile(command) => return reconcile::run(command).await,
        Command::Audit(command) => return credits::audit(command).await,
    }
    Ok(ExitCode::SUCCESS)
}

impl Output {
    /// The settings; from now on there is a log.
    fn settings(&self) -> anyhow::Result<Settings> {
        let mut settings = self.common.settings(&[])?;
        if self.common.log.is_none() {
            // What it loads to look at is not what runs.
            "warn".clone_into(&mut settings.log.filter);
        }
        start_log(&settings);
        Ok(settings)
    }

    /// Shows a result on standard output.
    fn show(&self, json: &serde_json::Value, words: impl FnOnce() -> String) -> anyhow::Result<()> {
        if self.json {
            println!("{}", serde_json::to_string_pretty(json)?);
        } else {
            println!("{}", words());
        }
        Ok(())
    }
}

/// The database to change.
async fn open(settings: &Settings) -> anyhow::Result<Installer> {
    Ok(app::open_installer(settings).await?)
}

/// Tells running nodes to look now. Without Redis they look by themselves, a little later.
async fn call_nodes(settings: &Settings) {
    if let Err(error) = app::call_nodes(settings, Duration::from_secs(3)).await {
        tracing::warn!(
            error = format!("{error:#}"),
            "running nodes could not be told; they look by themselves every few seconds"
        );
    }
}
