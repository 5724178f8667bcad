//! `genvid admin reseal`.

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use super::{Output, open};
use crate::{accounts::tokens, adapters::sql::Database, app, vault::Vault, webhooks};

#[derive(Args)]
pub(super) struct Reseal {
    #[command(flatten)]
    output: Output,
}

pub(super) async fn run(Reseal { output }: Reseal) -> anyhow::Result<()> {
    let settings = output.settings()?;
    let installer = open(&settings).await?;
    let database = installer.database();
    let vault = app::vault(&settings, database).await?;
    let keys = signing_keys(database, &vault).await?;
    let secrets = webhooks::Secrets::new(database.for_worker(), vault);
    let endpoints = secrets.reseal(false).await?;
    let json = json!({ "signingKeys": keys, "webhookEndpoints": endpoints });
    output.show(&json, || {
        format!("Sealed anew: {keys} signing keys, the secrets of {endpoints} webhook endpoints.")
    })
}

async fn signing_keys(database: &Database, vault: &Vault) -> anyhow::Result<u64> {
    let mut count = 0;
    for key in database.signing_keys().await? {
        if vault.is_current(&key.private) {
            continue;
        }
        let new = tokens::reseal(vault, &key);
        let new = new.with_context(|| format!("the signing key {}", key.id))?;
        let sealed = database.reseal_signing_key(key.id, key.private, new);
        count += u64::from(sealed.await?);
    }
    Ok(count)
}
