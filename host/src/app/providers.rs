//! Providers for a command that asks vendors beside running servers.

use std::sync::Arc;

use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
};

use super::{nodes, plugins::load_plugins};
use crate::{
    adapters::{redis::Redis, sql::Database},
    config::Settings,
    providers::Registry,
};

/// The plugins of a command, with the versions that attempts ask for.
pub struct Providers {
    /// They.
    pub registry: Registry,
    stop: watch::Sender<bool>,
    keeper: JoinHandle<()>,
    redis: Option<Redis>,
}

impl Providers {
    /// Loads them.
    ///
    /// # Errors
    /// When a folder or the database cannot be read, or Redis' address is wrong.
    pub async fn open(settings: &Settings, database: &Database) -> anyhow::Result<Self> {
        let redis = nodes::beside(settings)?;
        let pace = redis.as_ref().map(Redis::pace);
        // Without the key, providers whose credentials are in the database cannot be asked, and say so.
        let vault = super::vault(settings, database).await.ok();
        let loaded = load_plugins(settings, Some(database), vault, pace);
        let (_, registry, keeper) = loaded.await?;
        let (stop, stopping) = watch::channel(false);
        let keeper = tokio::spawn(keeper.run(Arc::new(Notify::new()), stopping));
        Ok(Self {
            registry,
            stop,
            keeper,
            redis,
        })
    }

    /// Lets them go.
    pub async fn close(self) {
        self.stop.send_replace(true);
        self.keeper.abort();
        if let Some(redis) = self.redis {
            redis.close().await;
        }
    }
}
