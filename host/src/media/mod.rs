//! Files of jobs: where plugins' assets go, how results are fetched and checked, and the
//! signed links under which users see them.

mod assets;
mod fetch;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use genvid_media::{Key, Signer, links::Disposition};

pub use assets::JobAssets;
pub use fetch::{Fetched, StoreError, keep_file, keep_text, keep_url, probe_kind, saved_asset};

/// Makes links to files.
#[derive(Clone)]
pub struct Links {
    signer: Arc<Signer>,
    /// Public address of this server.
    base: Arc<str>,
    lifetime: Duration,
}

impl Links {
    /// Links under `base`, good for `lifetime`.
    #[must_use]
    pub fn new(signer: Signer, base: &str, lifetime: Duration) -> Self {
        Self {
            signer: Arc::new(signer),
            base: base.trim_end_matches('/').into(),
            lifetime,
        }
    }

    /// A link to a file, offered under `name` when it is saved.
    #[must_use]
    pub fn link(&self, key: &str, name: &str) -> Option<String> {
        let key = Key::parse(key).ok()?;
        let expires = SystemTime::now() + self.lifetime;
        let path = self
            .signer
            .sign(&key, expires, &Disposition::Download(name.to_owned()));
        Some(format!("{}{path}", self.base))
    }

    /// Checks links.
    #[must_use]
    pub fn signer(&self) -> &Signer {
        &self.signer
    }
}
