//! What every blob store must do, whatever it keeps its blobs in.
//!
//! An adapter's tests call [`blob_store`] with an empty store whose limit is [`LIMIT`].

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::TryStreamExt as _;
use genvid_media::blob::{Error, Span};
use genvid_media::{Blob, BlobStore, ByteRange, Key, Stored};
use sha2::{Digest as _, Sha256};

/// Limit that the store under test must have, in bytes.
pub(crate) const LIMIT: u64 = 4 * 1024 * 1024;

/// Runs the whole suite.
pub(crate) async fn blob_store(store: Arc<dyn BlobStore>) {
    let store = store.as_ref();
    what_is_written_is_read(store).await;
    an_empty_blob_is_a_blob(store).await;
    a_blob_may_be_as_large_as_the_limit_and_no_larger(store).await;
    nothing_is_overwritten(store).await;
    of_racing_writers_one_wins(store).await;
    unfinished_writes_are_invisible(store).await;
    ranges(store).await;
    keys_that_look_like_folders_of_each_other(store).await;
    deleting(store).await;
    listing(store).await;
    local_files(store).await;
    media_types_are_checked(store).await;
}

pub(crate) fn key(text: &str) -> Key {
    Key::parse(text).unwrap()
}

pub(crate) fn noise(length: usize, seed: u32) -> Bytes {
    let mut state = seed.wrapping_mul(2_654_435_761).max(1);
    let next = move || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[1]
    };
    std::iter::repeat_with(next)
        .take(length)
        .collect::<Vec<u8>>()
        .into()
}

pub(crate) async fn put(
    store: &dyn BlobStore,
    key: &Key,
    mime: &str,
    content: &Bytes,
) -> Result<Stored, Error> {
    let mut writer = store.create(key, mime).await?;
    for chunk in content.chunks(70_001) {
        writer.write(Bytes::copy_from_slice(chunk)).await?;
    }
    writer.finish().await
}

pub(crate) async fn read(blob: Blob) -> Bytes {
    blob.body
        .try_collect::<Vec<Bytes>>()
        .await
        .unwrap()
        .concat()
        .into()
}

fn sha256(content: &[u8]) -> String {
    hex::encode(Sha256::digest(content))
}

async fn what_is_written_is_read(store: &dyn BlobStore) {
    let (key, content) = (key("a/film.mp4"), noise(1_500_000, 1));
    let before = SystemTime::now() - Duration::from_secs(2);
    let stored = put(store, &key, "video/mp4", &content).await.unwrap();
    let expected = Stored {
        key: key.clone(),
        size: 1_500_000,
        sha256: sha256(&content),
        mime: "video/mp4".to_owned(),
    };
    assert_eq!(stored, expected);

    let stat = store.stat(&key).await.unwrap().unwrap();
    assert_eq!((stat.size, stat.mime.as_str()), (1_500_000, "video/mp4"));
    assert_eq!(stat.sha256.as_deref(), Some(stored.sha256.as_str()));
    assert!(stat.modified >= before, "{:?}", stat.modified);

    let blob = store.open(&key, None).await.unwrap().unwrap();
    assert_eq!(
        (blob.size, blob.span, blob.mime.as_str()),
        (1_500_000, None, "video/mp4")
    );
    assert_eq!(read(blob).await, content);
    assert!(
        store
            .open(&self::key("a/other"), None)
            .await
            .unwrap()
            .is_none()
    );
    assert!(store.stat(&self::key("a/other")).await.unwrap().is_none());
}

async fn an_empty_blob_is_a_blob(store: &dyn BlobStore) {
    let key = key("empty");
    let stored = put(store, &key, "text/plain", &Bytes::new()).await.unwrap();
    assert_eq!((stored.size, stored.sha256), (0, sha256(b"")));
    let blob = store.open(&key, None).await.unwrap().unwrap();
    assert!(read(blob).await.is_empty());
    let range = Some(ByteRange::From(0, None));
    let error = store.open(&key, range).await.unwrap_err();
    assert!(
        matches!(error, Error::RangeNotSatisfiable { size: 0 }),
        "{error}"
    );
}

async fn a_blob_may_be_as_large_as_the_limit_and_no_larger(store: &dyn BlobStore) {
    let limit = usize::try_from(LIMIT).unwrap();
    let largest = noise(limit, 2);
    put(store, &key("size/largest"), "video/mp4", &largest)
        .await
        .unwrap();

    let over = key("size/over");
    let mut writer = store.create(&over, "video/mp4").await.unwrap();
    writer.write(largest).await.unwrap();
    let error = writer.write(Bytes::from_static(b"!")).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::FileTooLarge);
    assert!(writer.write(Bytes::from_static(b"!")).await.is_err());
    assert!(writer.finish().await.is_err());
    assert!(store.stat(&over).await.unwrap().is_none());
}

async fn nothing_is_overwritten(store: &dyn BlobStore) {
    let (key, first) = (key("once"), noise(10_000, 3));
    put(store, &key, "video/mp4", &first).await.unwrap();
    let error = put(store, &key, "video/webm", &noise(10_000, 4))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, Error::AlreadyExists(taken) if *taken == key),
        "{error}"
    );
    let blob = store.open(&key, None).await.unwrap().unwrap();
    assert_eq!(blob.mime, "video/mp4");
    assert_eq!(read(blob).await, first);
}

async fn of_racing_writers_one_wins(store: &dyn BlobStore) {
    let key = key("race/prize");
    let mut writers = Vec::new();
    for seed in 0..8 {
        let mut writer = store.create(&key, "video/mp4").await.unwrap();
        writer.write(noise(5_000, seed)).await.unwrap();
        writers.push(writer);
    }
    let results =
        futures::future::join_all(writers.into_iter().map(|writer| writer.finish())).await;
    let mut winner = None;
    for result in results {
        match result {
            Ok(stored) => assert!(winner.replace(stored).is_none(), "two writers won"),
            Err(error) => assert!(matches!(error, Error::AlreadyExists(_)), "{error}"),
        }
    }
    let blob = store.open(&key, None).await.unwrap().unwrap();
    assert_eq!(sha256(&read(blob).await), winner.unwrap().sha256);
}

async fn unfinished_writes_are_invisible(store: &dyn BlobStore) {
    let key = key("unfinished");
    let mut writer = store.create(&key, "video/mp4").await.unwrap();
    writer.write(noise(700_000, 5)).await.unwrap();
    assert!(store.stat(&key).await.unwrap().is_none());
    assert!(store.open(&key, None).await.unwrap().is_none());
    drop(writer);
    assert!(store.stat(&key).await.unwrap().is_none());
    // The name is still free.
    put(store, &key, "video/mp4", &noise(10, 6)).await.unwrap();
}

async fn ranges(store: &dyn BlobStore) {
    let (key, content) = (key("ranges"), noise(300_000, 7));
    put(store, &key, "video/mp4", &content).await.unwrap();
    let good = [
        (ByteRange::From(0, Some(0)), 0..1),
        (ByteRange::From(0, None), 0..300_000),
        (ByteRange::From(1_000, Some(1_999)), 1_000..2_000),
        (ByteRange::From(200_000, Some(9_999_999)), 200_000..300_000),
        (ByteRange::From(299_999, None), 299_999..300_000),
        (ByteRange::Last(10), 299_990..300_000),
        (ByteRange::Last(u64::MAX), 0..300_000),
    ];
    for (range, expected) in good {
        let blob = store.open(&key, Some(range)).await.unwrap().unwrap();
        let span = Span {
            start: expected.start as u64,
            end: expected.end as u64 - 1,
        };
        assert_eq!((blob.size, blob.span), (300_000, Some(span)), "{range:?}");
        assert_eq!(read(blob).await, content.slice(expected), "{range:?}");
    }
    for range in [
        ByteRange::From(300_000, None),
        ByteRange::From(u64::MAX, Some(u64::MAX)),
        ByteRange::From(5, Some(4)),
        ByteRange::Last(0),
    ] {
        let error = store.open(&key, Some(range)).await.unwrap_err();
        assert!(
            matches!(error, Error::RangeNotSatisfiable { size: 300_000 }),
            "{range:?}"
        );
    }
    let missing = self::key("ranges/none");
    assert!(
        store
            .open(&missing, Some(ByteRange::Last(1)))
            .await
            .unwrap()
            .is_none()
    );
}

async fn keys_that_look_like_folders_of_each_other(store: &dyn BlobStore) {
    let keys = [
        "deep/a/b/c",
        "deep/a",
        "deep/a/b",
        "deep",
        "deep/a.b",
        "deep/a-b/c",
    ]
    .map(key);
    for (seed, key) in (20..).zip(&keys) {
        put(store, key, "video/mp4", &noise(100, seed))
            .await
            .unwrap();
    }
    for (seed, key) in (20..).zip(&keys) {
        let blob = store.open(key, None).await.unwrap().unwrap();
        assert_eq!(read(blob).await, noise(100, seed), "{key}");
    }
    store.delete(&keys[1]).await.unwrap();
    assert!(store.stat(&keys[1]).await.unwrap().is_none());
    assert!(store.stat(&keys[2]).await.unwrap().is_some());
}

async fn deleting(store: &dyn BlobStore) {
    let (key, content) = (key("gone/soon"), noise(2_000_000, 8));
    store.delete(&key).await.unwrap();
    put(store, &key, "video/mp4", &content).await.unwrap();
    store.delete(&key).await.unwrap();
    store.delete(&key).await.unwrap();
    assert!(store.open(&key, None).await.unwrap().is_none());
    // The name is free again.
    put(store, &key, "audio/mpeg", &noise(10, 9)).await.unwrap();
    assert_eq!(store.stat(&key).await.unwrap().unwrap().mime, "audio/mpeg");
}

async fn listing(store: &dyn BlobStore) {
    async fn all(store: &dyn BlobStore, prefix: &str, most: usize) -> Vec<String> {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = store.list(prefix, after.as_ref(), most).await.unwrap();
            assert!(page.len() <= most);
            found.extend(page.iter().map(|blob| blob.key.to_string()));
            match page.last() {
                Some(last) if page.len() == most => after = Some(last.key.clone()),
                _ => return found,
            }
        }
    }
    let before = SystemTime::now() - Duration::from_secs(2);
    // In the order of bytes: '-' and '.' come before the slash, digits and letters behind it.
    let keys = [
        "list/a",
        "list/a-b/c",
        "list/a.b",
        "list/a/0",
        "list/a/b/c",
        "list/a/b/d",
        "list/a0",
        "list/b",
    ];
    for (seed, text) in (60..).zip(keys.iter().rev()) {
        put(store, &key(text), "video/mp4", &noise(100, seed))
            .await
            .unwrap();
    }
    for most in [1, 2, 3, 8, 1_000] {
        assert_eq!(all(store, "list/", most).await, keys, "{most}");
        assert_eq!(all(store, "list/a/", most).await, keys[3..6], "{most}");
        assert_eq!(all(store, "list/a", most).await, keys[..7], "{most}");
        assert_eq!(all(store, "list/a/b/c", most).await, keys[4..5], "{most}");
        let none: [&str; 0] = [];
        assert_eq!(all(store, "list/c", most).await, none, "{most}");
        assert_eq!(all(store, "list/a/b/c/", most).await, none, "{most}");
    }
    let everything = all(store, "", 7).await;
    assert!(everything.is_sorted());
    assert!(
        keys.iter()
            .all(|key| everything.iter().any(|found| found == key))
    );

    // Behind a key that is not there, too.
    let page = store
        .list("list/", Some(&key("list/a/b")), 2)
        .await
        .unwrap();
    let names: Vec<_> = page.iter().map(|blob| blob.key.as_str()).collect();
    assert_eq!(names, keys[4..6]);
    assert_eq!(page[0].size, 100);
    assert!(
        page[0].modified >= before
            && page[0].modified <= SystemTime::now() + before.elapsed().unwrap()
    );

    // What is being written is not listed, what is deleted no more.
    let mut writer = store.create(&key("list/new"), "video/mp4").await.unwrap();
    writer.write(noise(10, 70)).await.unwrap();
    store.delete(&key("list/a/b/c")).await.unwrap();
    store.delete(&key("list/a/b/d")).await.unwrap();
    assert_eq!(all(store, "list/a/", 10).await, ["list/a/0"]);
    assert_eq!(all(store, "list/n", 10).await.len(), 0);
    writer.finish().await.unwrap();
    assert_eq!(all(store, "list/n", 10).await, ["list/new"]);
    // The emptied place can be filled again.
    put(store, &key("list/a/b/c"), "video/mp4", &noise(10, 71))
        .await
        .unwrap();
    assert_eq!(all(store, "list/a/b", 10).await, ["list/a/b/c"]);
}

/// A store has a local file for all of its blobs or for none.
async fn local_files(store: &dyn BlobStore) {
    let (key, content) = (key("local/film.mp4"), noise(400_000, 10));
    put(store, &key, "video/mp4", &content).await.unwrap();
    let Some(path) = store.local(&key).await.unwrap() else {
        return;
    };
    assert!(path.is_absolute());
    assert_eq!(std::fs::read(&path).unwrap(), content);
    let error = store.local(&self::key("local/none")).await.unwrap_err();
    assert!(
        matches!(&error, Error::Io(error) if error.kind() == std::io::ErrorKind::NotFound),
        "{error}"
    );
}

async fn media_types_are_checked(store: &dyn BlobStore) {
    let key = key("mime");
    for mime in [
        "",
        "video",
        "video/",
        "/mp4",
        "video/mp4\r\nx: y",
        "vidéo/mp4",
        &"a/b".repeat(99),
    ] {
        match store.create(&key, mime).await {
            Err(Error::InvalidMime(_)) => {}
            Err(error) => panic!("{mime:?}: {error}"),
            Ok(_) => panic!("{mime:?} was accepted"),
        }
    }
    put(store, &key, "text/vtt; charset=utf-8", &noise(1, 11))
        .await
        .unwrap();
}
