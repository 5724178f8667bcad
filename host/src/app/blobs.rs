//! Where files are kept, by the settings.

use std::{path::PathBuf, sync::Arc};

use anyhow::Context;
use genvid_media::{BlobStore, FolderOptions, FolderStore};
use genvid_s3::{S3Options, S3Store};
use url::Url;

use crate::config::{self, MediaStore, Settings};

/// The store, and what makes links to it when readers ask it themselves.
pub(super) struct Blobs {
    pub(super) store: Arc<dyn BlobStore>,
    pub(super) direct: Option<S3Store>,
}

/// Opens the store; `root` is the folder for the one that is a folder.
pub(super) async fn open(settings: &Settings, root: PathBuf) -> anyhow::Result<Blobs> {
    let max_bytes = settings.media.max_mib << 20;
    match settings.media.store {
        MediaStore::Folder => {
            let store = FolderStore::open(FolderOptions { root, max_bytes })
                .await
                .context("cannot use the media folder")?;
            Ok(Blobs {
                store: Arc::new(store),
                direct: None,
            })
        }
        MediaStore::S3 => {
            let options = S3Options {
                max_bytes,
                ..bucket(&settings.media.s3)?
            };
            let store = S3Store::open(options).await.context("media.s3")?;
            Ok(Blobs {
                store: Arc::new(store.clone()),
                direct: Some(store),
            })
        }
    }
}

fn bucket(given: &config::S3) -> anyhow::Result<S3Options> {
    let address = |name: &str, text: &str| -> anyhow::Result<Option<Url>> {
        if text.is_empty() {
            return Ok(None);
        }
        let parsed = text.parse().with_context(|| format!("media.s3.{name}"))?;
        Ok(Some(parsed))
    };
    let credentials = config::s3_credentials(given).map_err(anyhow::Error::msg)?;
    Ok(S3Options {
        endpoint: address("endpoint", &given.endpoint)?,
        public_endpoint: address("public_endpoint", &given.public_endpoint)?,
        public_base_url: address("public_base_url", &given.public_base_url)?,
        proxy: address("proxy", &given.proxy)?,
        path_style: given.path_style,
        prefix: given.prefix.clone(),
        attempts: given.attempts,
        ..S3Options::new(&given.bucket, &given.region, credentials)
    })
}
