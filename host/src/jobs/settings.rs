//! The numbers by which jobs run.

use std::{sync::Arc, time::Duration};

use super::limits::Plans;
use crate::{billing::Tariff, providers::Prefer};

/// The numbers by which jobs run. `config.default.toml` explains each.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Wait before the second try of a step; doubles with each try.
    pub retry_base: Duration,
    /// How long a job may take, when its owner does not say.
    pub deadline: Duration,
    /// How long an unknown outcome is looked up before the job parks.
    pub unconfirmed_window: Duration,
    /// How long a lease lasts without a heartbeat.
    pub lease: Duration,
    /// How long a stopping worker waits for calls in flight.
    pub drain: Duration,
    /// How long a task whose job is over is still asked for, to settle its attempt.
    pub settle_window: Duration,
    /// How many results are fetched at a time.
    pub fetches: usize,
    /// How many films are composed at a time.
    pub compositions: usize,
    /// Largest file that is fetched from a vendor, in bytes.
    pub max_media_bytes: u64,
    /// How vendors' prices become credits.
    pub tariff: Tariff,
    /// Who is tried first.
    pub prefer: Prefer,
    /// How long a quote holds.
    pub quote_life: Duration,
    /// Most films of one batch, 1 to 200.
    pub batch_items: u32,
    /// What users get, by plan.
    pub plans: Arc<Plans>,
    /// Public address of this server, for vendors' callbacks.
    pub public_url: Option<String>,
    /// Can ends of jobs be told by mail?
    pub mail: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            retry_base: Duration::from_secs(5),
            deadline: Duration::from_secs(3_600),
            unconfirmed_window: Duration::from_secs(900),
            lease: Duration::from_secs(30),
            drain: Duration::from_secs(10),
            settle_window: Duration::from_secs(86_400),
            fetches: 8,
            compositions: 2,
            max_media_bytes: 2 << 30,
            tariff: Tariff::default(),
            prefer: Prefer::default(),
            quote_life: Duration::from_secs(1_800),
            batch_items: super::batch::MAX_ITEMS,
            plans: Arc::default(),
            public_url: None,
            mail: true,
        }
    }
}
