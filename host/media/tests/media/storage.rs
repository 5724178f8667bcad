//! The folder store: the common contract, and what is its own.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt as _;
use genvid_media::blob::Error;
use genvid_media::{
    Blob, BlobStore, BlobWriter, ByteRange, FolderOptions, FolderStore, Key, Listed, Stat,
};

use crate::contract::{self, LIMIT, key, noise, put};
use crate::kit::eventually;

pub(crate) async fn open(root: &Path, max_bytes: u64) -> FolderStore {
    FolderStore::open(FolderOptions {
        root: root.to_owned(),
        max_bytes,
    })
    .await
    .unwrap()
}

/// Leaves out `local`, as a store without local files does.
pub(crate) struct Remote(pub(crate) FolderStore);

#[async_trait]
impl BlobStore for Remote {
    async fn create(&self, key: &Key, mime: &str) -> Result<Box<dyn BlobWriter>, Error> {
        self.0.create(key, mime).await
    }
    async fn open(&self, key: &Key, range: Option<ByteRange>) -> Result<Option<Blob>, Error> {
        self.0.open(key, range).await
    }
    async fn stat(&self, key: &Key) -> Result<Option<Stat>, Error> {
        self.0.stat(key).await
    }
    async fn delete(&self, key: &Key) -> Result<(), Error> {
        self.0.delete(key).await
    }
    async fn list(
        &self,
        prefix: &str,
        after: Option<&Key>,
        most: usize,
    ) -> Result<Vec<Listed>, Error> {
        self.0.list(prefix, after, most).await
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

/// Files of writers that are not finished, besides the lock of the process.
fn unfinished(root: &Path) -> Vec<PathBuf> {
    let mut files = files(&root.join(".tmp"));
    files.retain(|file| file.file_name().unwrap() != "lock");
    files
}

#[tokio::test]
async fn folder_keeps_the_contract() {
    let root = tempfile::tempdir().unwrap();
    contract::blob_store(Arc::new(open(root.path(), LIMIT).await)).await;
    eventually("no unfinished files", || unfinished(root.path()).is_empty()).await;
}

#[tokio::test]
async fn a_store_without_local_files_keeps_the_contract() {
    let root = tempfile::tempdir().unwrap();
    contract::blob_store(Arc::new(Remote(open(root.path(), LIMIT).await))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_survive_a_new_start() {
    let root = tempfile::tempdir().unwrap();
    let stored = {
        let store = open(root.path(), LIMIT).await;
        put(&store, &key("p/film.mp4"), "video/mp4", &noise(100_000, 1))
            .await
            .unwrap()
    };
    let store = open(root.path(), LIMIT).await;
    let stat = store.stat(&stored.key).await.unwrap().unwrap();
    assert_eq!(stat.sha256, Some(stored.sha256));
    let blob = store.open(&stored.key, None).await.unwrap().unwrap();
    assert_eq!(contract::read(blob).await, noise(100_000, 1));
}

#[tokio::test]
async fn a_dropped_writer_leaves_no_file() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path(), LIMIT).await;
    let mut writer = store.create(&key("x"), "video/mp4").await.unwrap();
    writer.write(noise(900_000, 1)).await.unwrap();
    assert!(!unfinished(root.path()).is_empty());
    drop(writer);
    eventually("removed", || unfinished(root.path()).is_empty()).await;
}

/// A crash is a folder whose lock nobody holds.
#[tokio::test]
async fn leftovers_of_a_crash_are_removed_and_those_of_the_living_are_not() {
    let root = tempfile::tempdir().unwrap();
    let dead = root.path().join(".tmp/live-of-the-dead");
    std::fs::create_dir_all(dead.join("run-1")).unwrap();
    std::fs::write(dead.join("lock"), "").unwrap();
    std::fs::write(dead.join("run-1/film.mp4"), "half a film").unwrap();

    let living = open(root.path(), LIMIT).await;
    assert!(!dead.exists());
    let mut writer = living.create(&key("x"), "video/mp4").await.unwrap();
    writer.write(noise(300_000, 1)).await.unwrap();

    let second = open(root.path(), LIMIT).await;
    writer.write(noise(300_000, 2)).await.unwrap();
    let stored = writer.finish().await.unwrap();
    assert_eq!(
        second.stat(&stored.key).await.unwrap().unwrap().size,
        600_000
    );
}

#[tokio::test]
async fn damage_is_noticed() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path(), LIMIT).await;
    let key = key("film.mp4");
    put(&store, &key, "video/mp4", &noise(1_000, 1))
        .await
        .unwrap();
    let content = store.local(&key).await.unwrap().unwrap();
    std::fs::write(&content, "short").unwrap();
    let error = store.open(&key, None).await.unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
    let error = store.stat(&key).await.unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
}

#[tokio::test]
async fn a_file_that_shrinks_while_it_is_read_is_an_error_not_a_short_answer() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path(), LIMIT).await;
    let key = key("film.mp4");
    put(&store, &key, "video/mp4", &noise(2_000_000, 1))
        .await
        .unwrap();
    let mut blob = store.open(&key, None).await.unwrap().unwrap();
    assert!(blob.body.try_next().await.unwrap().is_some());
    let content = store.local(&key).await.unwrap().unwrap();
    std::fs::File::options()
        .write(true)
        .open(content)
        .unwrap()
        .set_len(10)
        .unwrap();
    let error = blob.body.try_collect::<Vec<Bytes>>().await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
}

/// 96 MiB through the store; the process may grow by a fraction of that.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn memory_does_not_grow_with_the_size() {
    fn resident_kib() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path(), u64::MAX).await;
    let key = key("large");
    let before = resident_kib();
    let mut highest = before;
    let mut writer = store.create(&key, "video/mp4").await.unwrap();
    for _ in 0..96 {
        // A buffer of its own each time, as from a network.
        writer
            .write(Bytes::from(vec![7; 1024 * 1024]))
            .await
            .unwrap();
        highest = highest.max(resident_kib());
    }
    let stored = writer.finish().await.unwrap();
    assert_eq!(stored.size, 96 * 1024 * 1024);
    let mut blob = store.open(&key, None).await.unwrap().unwrap();
    let mut read = 0;
    while let Some(chunk) = blob.body.try_next().await.unwrap() {
        read += chunk.len() as u64;
        highest = highest.max(resident_kib());
    }
    assert_eq!(read, stored.size);
    let grown = highest - before;
    assert!(grown < 40 * 1024, "grew by {grown} KiB");
}

#[test]
fn keys() {
    for good in [
        "a",
        "a/b",
        "projects/01h/video_1-2.mp4",
        &"a".repeat(200),
        "a..b",
        "a.",
    ] {
        assert_eq!(Key::parse(good).unwrap().as_str(), good);
    }
    for bad in [
        "",
        "/",
        "/a",
        "a/",
        "a//b",
        ".",
        "..",
        "../a",
        "a/../b",
        "a/./b",
        ".tmp/x",
        "a/.about.json",
        "A",
        "a b",
        "a\\b",
        "a\0",
        "ä",
        "a+",
        "a%2e",
        "a?b",
        "a#b",
        "a\n",
    ] {
        assert!(Key::parse(bad).is_err(), "{bad:?}");
    }
    assert!(Key::parse(&"a".repeat(201)).is_err());
    assert!(Key::parse(&"a/".repeat(256)).is_err());
    assert!(Key::parse(&format!("{}a", "ab/".repeat(171))).is_err());
}

#[test]
fn range_headers() {
    let read = ByteRange::from_header;
    assert_eq!(read("bytes=0-"), Some(ByteRange::From(0, None)));
    assert_eq!(read("bytes=5-9"), Some(ByteRange::From(5, Some(9))));
    assert_eq!(read("Bytes = 5 - 9"), Some(ByteRange::From(5, Some(9))));
    assert_eq!(read("bytes=-500"), Some(ByteRange::Last(500)));
    for other in [
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=9-5",
        "bytes=a-b",
        "bytes=0-1,3-4",
        "lines=0-1",
        "bytes=+1-2",
        "bytes=99999999999999999999-",
        "bytes=1--2",
    ] {
        assert_eq!(read(other), None, "{other:?}");
    }
}
