//! Servers that fail, are slow, or lose their answers.

use std::time::{Duration, Instant};

use futures::TryStreamExt as _;
use genvid_media::BlobStore as _;
use genvid_media::blob::Error;
use genvid_s3::{OpenError, S3Options, S3Store};

use crate::contract::{self, key, noise};
use crate::gate::{Gate, Trouble};
use crate::kit::{LARGE, eventually, film, open, put, sha256};
use crate::server::{Moto, Server, options};
use genvid_testing::ObjectStore;

/// A store that knows only the gate in front of its server.
async fn behind(server: &impl Server) -> (Gate, S3Store) {
    let gate = Gate::before(server.port()).await;
    let store = open(options(gate.url())).await;
    gate.reset();
    (gate, store)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_fails_now_and_then_is_asked_again() {
    let server = ObjectStore::start().await.unwrap();
    let (gate, store) = behind(&server).await;
    let (small, large) = (key("small"), key("large"));

    gate.plan(1, "PUT", "small", Trouble::Refuse);
    let content = noise(1_000, 1);
    put(&store, &small, &content).await.unwrap();
    gate.plan(1, "POST", "uploads", Trouble::Refuse);
    gate.plan(2, "PUT", "partNumber", Trouble::Refuse);
    gate.plan(1, "POST", "uploadId", Trouble::Refuse);
    let content = film(LARGE, 1);
    put(&store, &large, &content).await.unwrap();
    assert_eq!(gate.count("PUT", "partNumber"), 3 + 2);
    gate.plan(1, "HEAD", "large", Trouble::Refuse);
    gate.plan(1, "GET", "large", Trouble::Refuse);
    assert!(store.stat(&large).await.unwrap().is_some());
    let blob = store.open(&large, None).await.unwrap().unwrap();
    assert_eq!(contract::read(blob).await, content);
    gate.plan(1, "DELETE", "large", Trouble::Refuse);
    store.delete(&large).await.unwrap();
    assert!(store.stat(&large).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_always_fails_is_given_up_soon() {
    let server = ObjectStore::start().await.unwrap();
    let (gate, store) = behind(&server).await;
    let content = film(LARGE, 1);

    gate.plan(usize::MAX, "PUT", "", Trouble::Refuse);
    let error = put(&store, &key("large"), &content).await.unwrap_err();
    assert!(error.to_string().contains("InternalError"), "{error}");
    assert!(error.to_string().contains("500"), "{error}");
    // Two parts are on their way at a time, and each is tried four times.
    let tried = gate.count("PUT", "partNumber");
    assert!((4..=8).contains(&tried), "{tried}");
    eventually("the upload is removed", async || {
        gate.count("DELETE", "uploadId") == 1 && server.unfinished().is_empty()
    })
    .await;

    gate.reset();
    gate.plan(usize::MAX, "PUT", "", Trouble::Refuse);
    let error = put(&store, &key("small"), &noise(10, 1)).await.unwrap_err();
    assert!(matches!(error, Error::Io(_)), "{error}");
    assert_eq!(gate.count("PUT", "small"), 4);

    gate.plan(usize::MAX, "HEAD", "", Trouble::Refuse);
    assert!(store.stat(&key("small")).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_does_not_answer_is_given_up_in_time() {
    let server = ObjectStore::start().await.unwrap();
    let gate = Gate::before(server.port()).await;
    let slow = S3Options {
        attempts: 2,
        request_timeout: Duration::from_millis(400),
        part_timeout: Duration::from_millis(400),
        ..options(gate.url())
    };
    let store = open(slow.clone()).await;

    let forever = Trouble::Wait(Duration::from_secs(600));
    for method in ["PUT", "HEAD", "GET"] {
        gate.plan(usize::MAX, method, "silent", forever);
    }
    let began = Instant::now();
    let error = put(&store, &key("silent"), &noise(10, 1))
        .await
        .unwrap_err();
    let Error::Io(error) = error else {
        panic!("{error}");
    };
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut, "{error}");
    assert!(store.stat(&key("silent")).await.is_err());
    assert!(store.open(&key("silent"), None).await.is_err());
    assert!(began.elapsed() < Duration::from_secs(30));

    // A little slowness is no failure.
    gate.plan(3, "PUT", "late", Trouble::Wait(Duration::from_millis(100)));
    put(&store, &key("late"), &noise(10, 1)).await.unwrap();

    gate.reset();
    gate.plan(usize::MAX, "PUT", "probe", forever);
    let error = S3Store::open(slow).await.unwrap_err();
    let OpenError::Refused { error, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut, "{error}");
}

#[tokio::test]
async fn a_store_that_is_not_there_is_told_at_the_start() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    let began = Instant::now();
    let error = S3Store::open(S3Options {
        attempts: 2,
        ..options(address.parse().unwrap())
    })
    .await
    .unwrap_err();
    assert!(matches!(error, OpenError::Refused { .. }), "{error}");
    assert!(began.elapsed() < Duration::from_secs(20));
}

/// The write is done but its answer is lost; the repeated request then meets the writer's own
/// object, or an upload that is over.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_not_taken_for_another_writer() {
    lost_answers(&Moto::start().await).await;
    lost_answers(&ObjectStore::start().await.unwrap()).await;
    lost_answers(&ObjectStore::plain().await.unwrap()).await;
}

async fn lost_answers(server: &impl Server) {
    let (gate, store) = behind(server).await;
    let content = noise(1_000, 1);
    gate.plan(1, "PUT", "small", Trouble::LoseAnswer);
    let stored = put(&store, &key("small"), &content).await.unwrap();
    assert_eq!(stored.sha256, sha256(&content));
    assert_eq!(gate.count("PUT", "small"), 2);

    let content = film(LARGE, 1);
    gate.plan(1, "POST", "uploadId", Trouble::LoseAnswer);
    let stored = put(&store, &key("large"), &content).await.unwrap();
    let stat = store.stat(&stored.key).await.unwrap().unwrap();
    assert_eq!(stat.sha256, Some(sha256(&content)));

    // However often it is lost.
    gate.plan(4, "POST", "uploadId", Trouble::LoseAnswer);
    let stored = put(&store, &key("larger"), &content).await.unwrap();
    assert_eq!(stored.sha256, sha256(&content));

    // And it is another writer's when it is.
    let error = put(&store, &key("small"), &noise(10, 2)).await.unwrap_err();
    assert!(matches!(error, Error::AlreadyExists(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_goes_on_where_a_connection_broke() {
    let server = ObjectStore::start().await.unwrap();
    let (gate, store) = behind(&server).await;
    let (key, content) = (key("film"), film(6_000_000, 1));
    put(&store, &key, &content).await.unwrap();

    gate.plan(3, "GET", "film", Trouble::CutAfter(1_500_000));
    let blob = store.open(&key, None).await.unwrap().unwrap();
    assert_eq!(contract::read(blob).await, content);
    // A broken connection may cost one of the SDK's own retries as well.
    let asked = gate.count("GET", "film");
    assert!((4..=6).contains(&asked), "{asked}");

    // An answer that never comes to its end is an error, not a short blob.
    gate.reset();
    gate.plan(usize::MAX, "GET", "film", Trouble::CutAfter(1_000));
    let blob = store.open(&key, None).await.unwrap().unwrap();
    blob.body.try_collect::<Vec<_>>().await.unwrap_err();
    let asked = gate.count("GET", "film");
    assert!((2..=30).contains(&asked), "{asked}");
}
