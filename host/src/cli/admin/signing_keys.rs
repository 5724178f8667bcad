//! `genvid admin signing-keys`.

use clap::{Args, Subcommand};
use serde_json::json;

use super::{Output, open};
use crate::{
    accounts::{
        acts::OPERATOR,
        tokens::{self, OVERLAP, Standing},
    },
    app, time,
};

#[derive(Args)]
pub(super) struct SigningKeys {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show the keys and what each is good for.
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Make a new key.
    ///
    /// It is published at once and signs after ten minutes, when everybody who keeps the set of keys
    /// has it; the old one stays published for an hour, until the last token that it signed is over.
    Rotate {
        /// Let it sign at once, for example because the old one was revoked: whoever keeps the set of
        /// keys may refuse new tokens for up to five minutes.
        #[arg(long)]
        now: bool,
        #[command(flatten)]
        output: Output,
    },
    /// Withdraw a key that got out: nothing that it has signed holds any more, on every node within a
    /// minute. Whoever was signed in with it gets another token with their refresh token.
    Revoke {
        /// Which key, as `list` names it.
        #[arg(value_name = "KEY")]
        key: String,
        #[command(flatten)]
        output: Output,
    },
}

pub(super) async fn run(SigningKeys { command }: SigningKeys) -> anyhow::Result<()> {
    match command {
        Command::List { output } => list(&output).await,
        Command::Rotate { now, output } => rotate(now, &output).await,
        Command::Revoke { key, output } => revoke(key, &output).await,
    }
}

async fn list(output: &Output) -> anyhow::Result<()> {
    let settings = output.settings()?;
    let installer = open(&settings).await?;
    let keys = installer.database().signing_keys().await?;
    let standings = tokens::standings(&keys.iter().collect::<Vec<_>>(), time::now());
    let word = |standing| match standing {
        Standing::Waiting => "waiting",
        Standing::Signing => "signing",
        Standing::Leaving => "leaving",
        Standing::Over => "over",
    };
    let rows = keys.iter().zip(standings).map(|(key, standing)| {
        json!({
            "id": key.id,
            "standing": word(standing),
            "createdAt": key.created_at.to_string(),
            "signsFrom": key.signs_from.to_string(),
            "revokedAt": key.revoked_at.map(|at| at.to_string()),
        })
    });
    let rows: Vec<_> = rows.collect();
    output.show(&json!(rows), || {
        let lines = rows.iter().map(|row| {
            let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
            format!(
                "{}  {:<8} from {}",
                text("id"),
                text("standing"),
                text("signsFrom")
            )
        });
        lines.collect::<Vec<_>>().join("\n")
    })
}

async fn rotate(at_once: bool, output: &Output) -> anyhow::Result<()> {
    let settings = output.settings()?;
    let installer = open(&settings).await?;
    let database = installer.database();
    let vault = app::vault(&settings, database).await?;
    let now = time::now();
    let from = match at_once {
        true => now,
        false => now.after(OVERLAP),
    };
    let key = tokens::generate(&vault, from)?;
    let id = key.id.clone();
    database.insert_signing_key(key, OPERATOR).await?;
    let json = json!({ "id": id, "signsFrom": from.to_string() });
    output.show(&json, || format!("{id} signs from {from} on."))
}

async fn revoke(key: String, output: &Output) -> anyhow::Result<()> {
    let settings = output.settings()?;
    let installer = open(&settings).await?;
    let revoked = installer
        .database()
        .revoke_signing_key(key.clone(), time::now(), OPERATOR);
    anyhow::ensure!(
        revoked.await?,
        "there is no key {key} that could be revoked; `genvid admin signing-keys list` shows them"
    );
    let json = json!({ "id": key });
    output.show(&json, || {
        format!(
            "{key} is revoked. If none signs now, a node makes one when it starts, or: genvid admin signing-keys rotate --now"
        )
    })
}
