//! Files of jobs: where plugins' assets go, how results are fetched and checked, and the
//! signed links under which users see them.

mod assets;
mod fetch;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use genvid_media::{Key, Signer, links::Disposition};
use genvid_s3::S3Store;

pub use assets::JobAssets;
pub use fetch::{
    Fetched, StoreError, keep_file, keep_text, keep_url, probe_kind, saved_asset, source,
    stored_text,
};

/// Makes links to files.
#[derive(Clone)]
pub struct Links {
    signer: Arc<Signer>,
    /// Public address of this server.
    base: Arc<str>,
    lifetime: Duration,
    /// A store that readers ask themselves.
    direct: Option<S3Store>,
}

impl Links {
    /// Links under `base`, good for `lifetime`.
    #[must_use]
    pub fn new(signer: Signer, base: &str, lifetime: Duration) -> Self {
        Self {
            signer: Arc::new(signer),
            base: base.trim_end_matches('/').into(),
            lifetime,
            direct: None,
        }
    }

    /// With links to the store itself, past this server, if it is one that readers can ask.
    #[must_use]
    pub fn direct(mut self, store: Option<S3Store>) -> Self {
        self.direct = store;
        self
    }

    /// A link to a file of type `mime`, offered under `name` when it is saved.
    pub async fn link(&self, key: &str, mime: &str, name: &str) -> Option<String> {
        let key = Key::parse(key).ok()?;
        let disposition = Disposition::Download(name.to_owned());
        if let Some(store) = &self.direct {
            let link = store
                .link(&key, &disposition, Some(mime), self.lifetime)
                .await;
            return link
                .inspect_err(|error| tracing::error!(%error, %key, "a link cannot be signed"))
                .ok();
        }
        let expires = SystemTime::now() + self.lifetime;
        let path = self.signer.sign(&key, expires, &disposition);
        Some(format!("{}{path}", self.base))
    }

    /// Checks links.
    #[must_use]
    pub fn signer(&self) -> &Signer {
        &self.signer
    }
}
