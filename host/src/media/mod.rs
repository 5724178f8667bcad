//! Files of jobs: where plugins' assets go, how results are fetched and checked, and the
//! signed links under which users see them.

mod assets;
mod fetch;
mod sweep;

use std::{
    io,
    sync::Arc,
    time::{Duration, SystemTime},
};

use genvid_media::{
    Key, Signer,
    links::{self, Disposition},
};
use genvid_s3::S3Store;

pub use assets::JobAssets;
pub use fetch::{
    Fetched, StoreError, copy, keep_file, keep_text, keep_url, probe_kind, saved_asset, source,
    stored_text,
};
pub use sweep::{Retention, Sweep, Swept, is_withdrawn};

use crate::{ids::UploadId, uploads::picture_key};

/// Where a file is sent to, by PUT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intake {
    /// The address.
    pub url: String,
    /// Headers that the request must have.
    pub headers: Vec<(String, String)>,
}

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
        self.sign(&key, Some(mime), &disposition).await
    }

    async fn sign(
        &self,
        key: &Key,
        mime: Option<&str>,
        disposition: &Disposition,
    ) -> Option<String> {
        if let Some(store) = &self.direct {
            let link = store.link(key, disposition, mime, self.lifetime).await;
            return link
                .inspect_err(|error| tracing::error!(%error, %key, "a link cannot be signed"))
                .ok();
        }
        let expires = SystemTime::now() + self.lifetime;
        let path = self.signer.sign(key, expires, disposition);
        Some(format!("{}{path}", self.base))
    }

    /// Where to send a file of `size` bytes and this type, by PUT, until `expires_at`.
    ///
    /// # Errors
    /// When the link cannot be signed.
    pub async fn intake(
        &self,
        key: &Key,
        mime: &str,
        size: u64,
        expires_at: SystemTime,
    ) -> io::Result<Intake> {
        if let Some(store) = &self.direct {
            let lifetime = expires_at
                .duration_since(SystemTime::now())
                .unwrap_or_default();
            let genvid_s3::Intake { url, headers } =
                store.intake(key, mime, size, lifetime).await?;
            return Ok(Intake { url, headers });
        }
        let path = self.signer.sign_intake(&links::Intake {
            key: key.clone(),
            expires_at,
            mime: mime.to_owned(),
            size,
        });
        Ok(Intake {
            url: format!("{}{path}", self.base),
            headers: vec![("content-type".to_owned(), mime.to_owned())],
        })
    }

    /// A link under which a browser shows an uploaded picture.
    pub async fn picture(&self, upload: UploadId) -> Option<String> {
        let key = Key::parse(&picture_key(upload)).ok()?;
        self.sign(&key, None, &Disposition::Inline).await
    }

    /// Checks links.
    #[must_use]
    pub fn signer(&self) -> &Signer {
        &self.signer
    }
}
