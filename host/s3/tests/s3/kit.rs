//! Help for tests.

use std::time::Duration;

use bytes::Bytes;
use genvid_media::blob::Error;
use genvid_media::{BlobStore as _, Key, Stored};
use genvid_s3::{S3Options, S3Store};
use sha2::{Digest as _, Sha256};

use crate::contract::noise;

/// A size that takes three parts.
pub(crate) const LARGE: usize = 2 * genvid_s3::PART_BYTES + 1_234_567;

pub(crate) async fn open(options: S3Options) -> S3Store {
    S3Store::open(options).await.unwrap()
}

/// Writes in pieces as a network brings them.
pub(crate) async fn put(store: &S3Store, key: &Key, content: &Bytes) -> Result<Stored, Error> {
    let mut writer = store.create(key, "video/mp4").await?;
    for chunk in content.chunks(130_003) {
        writer.write(Bytes::copy_from_slice(chunk)).await?;
    }
    writer.finish().await
}

/// Bytes that repeat in no multiple of a part, made quickly.
pub(crate) fn film(length: usize, seed: u32) -> Bytes {
    let reel = noise(65_537, seed);
    let mut film = Vec::with_capacity(length + reel.len());
    while film.len() < length {
        film.extend_from_slice(&reel);
    }
    film.truncate(length);
    film.into()
}

pub(crate) fn sha256(content: &[u8]) -> String {
    hex::encode(Sha256::digest(content))
}

/// Waits until it is so.
pub(crate) async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    for _ in 0..400 {
        if condition().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("never happened: {what}");
}
