//! The common contract on both servers, and what is this store's own.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use genvid_media::blob::Error;
use genvid_media::{BlobStore, ByteRange, Key};
use genvid_s3::{OpenError, PART_BYTES, S3Options, S3Store};

use crate::contract::{self, LIMIT, key, noise};
use crate::kit::{LARGE, eventually, film, open, put, sha256};
use crate::server::{Moto, Server};
use genvid_testing::{ObjectStore, SECRET};

fn limited(server: &impl Server) -> S3Options {
    S3Options {
        max_bytes: LIMIT,
        ..server.options()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_like_aws_keeps_the_contract() {
    let server = Moto::start().await;
    let store = open(limited(&server)).await;
    assert!(store.refuses_overwriting());
    assert!(store.keeps_checksums());
    contract::blob_store(Arc::new(store.clone())).await;
    // Every writer is done, and none left an upload.
    assert_eq!(store.remove_unfinished(Duration::ZERO).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_checks_signatures_keeps_the_contract() {
    let server = ObjectStore::start().await.unwrap();
    let store = open(limited(&server)).await;
    assert!(store.refuses_overwriting());
    assert!(store.keeps_checksums());
    contract::blob_store(Arc::new(store)).await;
    assert_eq!(server.unfinished(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_ignores_conditions_and_checksums_keeps_the_contract() {
    let server = ObjectStore::plain().await.unwrap();
    let store = open(limited(&server)).await;
    assert!(!store.refuses_overwriting());
    assert!(!store.keeps_checksums());
    contract::blob_store(Arc::new(store)).await;
    assert_eq!(server.unfinished(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn large_blobs_are_blobs_on_a_store_like_aws() {
    let server = Moto::start().await;
    large_blobs_are_blobs(open(server.options()).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_blobs_are_blobs_on_a_plain_store() {
    let server = ObjectStore::plain().await.unwrap();
    large_blobs_are_blobs(open(server.options()).await).await;
    let sums: Vec<_> = server
        .objects()
        .into_iter()
        .filter(|path| path.to_string_lossy().contains("+sha256"))
        .collect();
    assert_eq!(sums, Vec::<std::path::PathBuf>::new());
    assert_eq!(server.unfinished(), Vec::<String>::new());
}

async fn large_blobs_are_blobs(store: S3Store) {
    let (key, content) = (key("large/film.mp4"), film(LARGE, 1));
    let stored = put(&store, &key, &content).await.unwrap();
    assert_eq!(stored.size, LARGE as u64);
    assert_eq!(stored.sha256, sha256(&content));

    let stat = store.stat(&key).await.unwrap().unwrap();
    assert_eq!((stat.size, stat.mime.as_str()), (LARGE as u64, "video/mp4"));
    assert_eq!(stat.sha256.as_ref(), Some(&stored.sha256));

    let blob = store.open(&key, None).await.unwrap().unwrap();
    assert_eq!(blob.sha256.as_ref(), Some(&stored.sha256));
    assert_eq!(contract::read(blob).await, content);

    // Over the border of two parts.
    let (first, last) = (PART_BYTES - 1_000, PART_BYTES + 999);
    let range = ByteRange::From(first as u64, Some(last as u64));
    let blob = store.open(&key, Some(range)).await.unwrap().unwrap();
    assert_eq!(blob.size, LARGE as u64);
    assert_eq!(contract::read(blob).await, content.slice(first..=last));

    // Nothing replaces it, be it large or small.
    for size in [LARGE, 10] {
        let error = put(&store, &key, &film(size, 2)).await.unwrap_err();
        assert!(matches!(error, Error::AlreadyExists(_)), "{error}");
    }
    let stat = store.stat(&key).await.unwrap().unwrap();
    assert_eq!(stat.sha256.as_ref(), Some(&stored.sha256));

    // Exactly one part, and one byte more.
    for size in [PART_BYTES, PART_BYTES + 1] {
        let key = Key::parse(&format!("large/{size}")).unwrap();
        let content = film(size, 3);
        put(&store, &key, &content).await.unwrap();
        let blob = store.open(&key, None).await.unwrap().unwrap();
        assert_eq!(blob.sha256, Some(sha256(&content)));
        assert_eq!(contract::read(blob).await, content);
        store.delete(&key).await.unwrap();
    }

    // Deleted and written anew, it has the new checksum.
    store.delete(&key).await.unwrap();
    assert!(store.stat(&key).await.unwrap().is_none());
    let second = noise(10, 4);
    put(&store, &key, &second).await.unwrap();
    let stat = store.stat(&key).await.unwrap().unwrap();
    assert_eq!(stat.sha256, Some(sha256(&second)));

    // Of two large writers one wins.
    let race = Key::parse("large/race").unwrap();
    let contents = [film(LARGE, 5), film(LARGE, 6)];
    let (one, two) = tokio::join!(
        put(&store, &race, &contents[0]),
        put(&store, &race, &contents[1])
    );
    let winner = match (one, two) {
        (Ok(won), Err(Error::AlreadyExists(_))) | (Err(Error::AlreadyExists(_)), Ok(won)) => won,
        other => panic!("not one winner: {other:?}"),
    };
    let blob = store.open(&race, None).await.unwrap().unwrap();
    assert_eq!(blob.sha256, Some(winner.sha256.clone()));
    assert_eq!(sha256(&contract::read(blob).await), winner.sha256);
    let removed = tokio::time::timeout(Duration::from_secs(5), async {
        store.delete(&race).await.unwrap();
    });
    removed.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_dropped_or_too_large_leaves_nothing() {
    let server = ObjectStore::start().await.unwrap();
    let store = open(S3Options {
        max_bytes: LARGE as u64,
        ..server.options()
    })
    .await;
    let before = server.objects();

    let dropped = key("dropped");
    let mut writer = store.create(&dropped, "video/mp4").await.unwrap();
    writer.write(film(LARGE, 1)).await.unwrap();
    eventually("parts arrive", async || !server.unfinished().is_empty()).await;
    drop(writer);
    eventually("parts are gone", async || server.unfinished().is_empty()).await;

    let large = key("large");
    let mut writer = store.create(&large, "video/mp4").await.unwrap();
    writer.write(film(LARGE, 1)).await.unwrap();
    let error = writer.write(Bytes::from_static(b"!")).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::FileTooLarge);
    eventually("parts are gone", async || server.unfinished().is_empty()).await;
    assert!(writer.finish().await.is_err());

    for key in [dropped, large] {
        assert!(store.stat(&key).await.unwrap().is_none());
    }
    assert_eq!(server.objects(), before);
}

/// A process that dies drops nothing.
#[tokio::test(flavor = "multi_thread")]
async fn uploads_of_the_dead_are_removed_when_they_are_old() {
    let server = ObjectStore::start().await.unwrap();
    let store = open(server.options()).await;
    let mut writer = store.create(&key("dead"), "video/mp4").await.unwrap();
    writer.write(film(LARGE, 1)).await.unwrap();
    std::mem::forget(writer);

    // Another tenant of the bucket, who is busy.
    let neighbour = open(S3Options {
        prefix: "neighbour/".to_owned(),
        ..server.options()
    })
    .await;
    let mut busy = neighbour.create(&key("busy"), "video/mp4").await.unwrap();
    busy.write(film(LARGE, 2)).await.unwrap();

    let day = Duration::from_secs(24 * 60 * 60);
    assert_eq!(store.remove_unfinished(day).await.unwrap(), 0);
    server.age_uploads(day);
    let mut alive = store.create(&key("alive"), "video/mp4").await.unwrap();
    alive.write(film(LARGE, 3)).await.unwrap();
    assert_eq!(store.remove_unfinished(day).await.unwrap(), 1);
    assert_eq!(store.remove_unfinished(day).await.unwrap(), 0);
    alive.finish().await.unwrap();

    // The next start does the same.
    let mut writer = store.create(&key("dead"), "video/mp4").await.unwrap();
    writer.write(film(LARGE, 1)).await.unwrap();
    std::mem::forget(writer);
    server.age_uploads(day);
    assert_eq!(server.uploads().len(), 2);
    let _second = open(server.options()).await;
    eventually("the start removes it", async || {
        server.uploads() == ["neighbour/busy"]
    })
    .await;
    let stored = busy.finish().await.unwrap();
    assert_eq!(stored.size, LARGE as u64);
    assert!(store.stat(&stored.key).await.unwrap().is_none());
}

#[tokio::test]
async fn wrong_keys_and_missing_buckets_are_told_at_the_start() {
    let server = ObjectStore::start().await.unwrap();
    let mut wrong = server.options();
    wrong.credentials.secret_access_key = "guessed-wrongly".to_owned().into();
    let error = S3Store::open(wrong).await.unwrap_err();
    let said = error.to_string();
    let OpenError::Refused { error, .. } = error else {
        panic!("{said}");
    };
    assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied, "{said}");
    assert!(said.contains("SignatureDoesNotMatch"), "{said}");
    assert!(
        !said.contains("guessed-wrongly") && !said.contains(SECRET),
        "{said}"
    );

    let mut unknown = server.options();
    unknown.credentials.access_key_id = "NOBODY".to_owned();
    let error = S3Store::open(unknown).await.unwrap_err().to_string();
    assert!(error.contains("403"), "{error}");

    let lenient = Moto::start().await;
    let mut elsewhere = lenient.options();
    elsewhere.bucket = "no-such-bucket".to_owned();
    let error = S3Store::open(elsewhere).await.unwrap_err().to_string();
    assert!(error.contains("NoSuchBucket"), "{error}");
}
