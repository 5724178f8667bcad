//! The host's own download of results.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Redirect;
use axum::routing::get;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use genvid_runtime::{FetchError, Plugin};

use crate::support::{lonely, plugin, serve};

async fn vendor() -> Plugin {
    let film = |headers: HeaderMap| async move {
        assert!(!headers.contains_key("x-api-key") && !headers.contains_key("authorization"));
        assert_eq!(headers["host"], "cdn.media.example");
        ([("content-type", "video/mp4")], vec![7_u8; 100_000])
    };
    let unannounced = || async {
        let pieces = (0..100).map(|_| Ok::<_, std::io::Error>(Bytes::from(vec![7_u8; 1_000])));
        Body::from_stream(futures::stream::iter(pieces))
    };
    let router = Router::new()
        .route("/film.mp4", get(film))
        .route("/unannounced", get(unannounced))
        .route(
            "/near",
            get(|| async { Redirect::temporary("/film.mp4?signed=1") }),
        )
        .route(
            "/far",
            get(|| async { Redirect::temporary("https://evil.example/film.mp4") }),
        )
        .route(
            "/inside",
            get(|| async { Redirect::temporary("https://169.254.169.254/") }),
        )
        .route(
            "/plain",
            get(|| async { Redirect::temporary("http://cdn.media.example/film.mp4") }),
        )
        .route("/loop", get(|| async { Redirect::temporary("/loop") }))
        .route("/gone", get(|| async { StatusCode::NOT_FOUND }))
        .route("/part", get(|| async { StatusCode::PARTIAL_CONTENT }));
    plugin(&serve(router).await).await
}

async fn error(plugin: &Plugin, url: &str) -> FetchError {
    match plugin.fetch_media(url, 1 << 20).await {
        Err(error) => error,
        Ok(fetched) => panic!("fetched {fetched:?}"),
    }
}

#[tokio::test]
async fn a_result_is_fetched_without_credentials() {
    let plugin = vendor().await;
    for path in ["film.mp4", "near"] {
        let url = format!("https://cdn.media.example/{path}#t=1");
        let fetched = plugin.fetch_media(&url, 1 << 20).await.expect("a film");
        assert_eq!(fetched.mime.as_deref(), Some("video/mp4"));
        assert_eq!(fetched.size, Some(100_000));
        let pieces: Vec<Bytes> = fetched.body.try_collect().await.expect("all of it");
        assert_eq!(pieces.concat(), vec![7_u8; 100_000]);
    }
}

#[tokio::test]
async fn too_much_is_not_fetched() {
    let plugin = vendor().await;
    let url = "https://cdn.media.example/film.mp4";
    let error = plugin
        .fetch_media(url, 99_999)
        .await
        .expect_err("too large");
    assert_eq!(
        error,
        FetchError::TooLarge {
            size: 100_000,
            limit: 99_999
        }
    );
    let url = "https://cdn.media.example/unannounced";
    let fetched = plugin.fetch_media(url, 50_000).await.expect("a body");
    assert_eq!(fetched.size, None);
    let pieces: Vec<std::io::Result<Bytes>> = fetched.body.collect().await;
    let (last, before) = pieces.split_last().expect("pieces");
    let failure = last.as_ref().expect_err("an end");
    assert_eq!(failure.kind(), std::io::ErrorKind::FileTooLarge);
    assert!(before.iter().flatten().map(Bytes::len).sum::<usize>() <= 50_000);
}

#[tokio::test]
async fn only_declared_places_are_fetched_from() {
    let plugin = vendor().await;
    for url in [
        "https://evil.example/film.mp4",
        "https://media.example/film.mp4",
        "https://api.vendor.example/v1/film.mp4",
        "http://cdn.media.example/film.mp4",
        "https://cdn.media.example:8443/film.mp4",
        "https://user@cdn.media.example/film.mp4",
        "https://127.0.0.1/film.mp4",
        "https://[::ffff:169.254.169.254]/",
        "file:///etc/passwd",
        "not a url",
        "https://cdn.media.example/far",
        "https://cdn.media.example/inside",
        "https://cdn.media.example/plain",
        "https://cdn.media.example/loop",
    ] {
        let error = error(&plugin, url).await;
        assert!(
            matches!(error, FetchError::NotPermitted(_)),
            "{url}: {error}"
        );
    }
}

#[tokio::test]
async fn other_answers_are_told_by_their_status() {
    let plugin = vendor().await;
    assert_eq!(
        error(&plugin, "https://cdn.media.example/gone").await,
        FetchError::Status(404)
    );
    assert_eq!(
        error(&plugin, "https://cdn.media.example/part").await,
        FetchError::Status(206)
    );
}

#[tokio::test]
async fn a_vendor_that_is_away_is_unavailable() {
    let plugin = lonely().await;
    let work = error(&plugin, "https://cdn.media.example/film.mp4");
    let error = tokio::time::timeout(Duration::from_secs(5), work)
        .await
        .expect("in time");
    assert!(matches!(error, FetchError::Unavailable(_)), "{error}");
}
