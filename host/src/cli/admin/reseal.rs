//! `genvid admin reseal`.

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use super::{Output, open};
use crate::{
    accounts::{
        acts::{Counts, OPERATOR},
        tokens,
    },
    adapters::sql::Database,
    app, providers,
    vault::Vault,
    webhooks,
};

/// Most secrets that are named when they cannot be opened.
const SHOWN: usize = 20;

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
    let providers = providers::Secrets::new(database.clone(), vault.clone());
    let credentials = providers.reseal().await?;
    let secrets = webhooks::Secrets::new(database.for_worker(), vault);
    let resealed = secrets.reseal().await?;
    let endpoints = resealed.changed;
    let counts = Counts {
        signing_keys: keys,
        webhook_endpoints: endpoints,
        provider_secrets: credentials.changed,
    };
    if keys + endpoints + credentials.changed > 0 {
        database.note_reseal(counts, OPERATOR.to_owned()).await?;
    }
    let json = json!({ "signingKeys": keys, "webhookEndpoints": endpoints,
        "providerSecrets": credentials.changed });
    output.show(&json, || {
        format!(
            "Sealed anew: {keys} signing keys, the secrets of {endpoints} webhook endpoints, {} \
             credentials of providers.",
            credentials.changed
        )
    })?;
    let lost: Vec<_> = (resealed.unreadable.iter().take(SHOWN))
        .map(ToString::to_string)
        .collect();
    anyhow::ensure!(
        credentials.unreadable.is_empty(),
        "could not be opened, and have to be set anew: {}",
        credentials.unreadable.join("; ")
    );
    anyhow::ensure!(
        lost.is_empty(),
        "{} could not be opened, and their owners have to rotate them: {}",
        resealed.unreadable.len(),
        lost.join("; ")
    );
    Ok(())
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
