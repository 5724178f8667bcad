//! Links, fetched by an HTTP client that knows nothing of S3, and names of buckets in hosts.

use std::time::Duration;

use genvid_media::links::Disposition;
use genvid_media::{BlobStore as _, ByteRange};
use genvid_s3::S3Options;
use reqwest::StatusCode;

use crate::contract::{self, key, noise};
use crate::gate::Gate;
use crate::kit::{LARGE, film, open, put};
use crate::server::{Moto, Server, options};
use genvid_testing::{BUCKET, DOMAIN, ObjectStore};

const HOUR: Duration = Duration::from_secs(3_600);

fn named() -> Disposition {
    Disposition::Download("Schöner Film.mp4".to_owned())
}

#[tokio::test]
async fn a_link_reads_one_blob_and_its_ranges_under_its_name() {
    let server = Moto::start().await;
    let store = open(server.options()).await;
    let (key, content) = (key("p/film.mp4"), noise(300_000, 1));
    put(&store, &key, &content).await.unwrap();

    let http = reqwest::Client::new();
    let link = store
        .link(&key, &named(), Some("video/webm"), HOUR)
        .await
        .unwrap();
    let answer = http.get(&link).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["content-type"], "video/webm");
    assert_eq!(
        answer.headers()["content-disposition"],
        named().header_value().as_str()
    );
    assert_eq!(answer.bytes().await.unwrap(), content);

    let part = http
        .get(&link)
        .header("range", "bytes=1000-1999")
        .send()
        .await
        .unwrap();
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.headers()["content-range"], "bytes 1000-1999/300000");
    assert_eq!(part.bytes().await.unwrap(), content.slice(1_000..2_000));

    // Without the names that the link gives, as a CDN would ask for it: still no page to run.
    let bare = link
        .replace("response-content", "x-other")
        .replace("x-id", "x-more");
    let bare = http.get(bare).send().await.unwrap();
    assert_eq!(bare.status(), StatusCode::OK);
    assert_eq!(bare.headers()["content-type"], "video/mp4");
    assert_eq!(bare.headers()["content-disposition"], "attachment");
}

#[tokio::test]
async fn a_link_is_good_for_what_was_signed_and_until_it_ends() {
    let server = ObjectStore::start().await.unwrap();
    let store = open(server.options()).await;
    let (key, content) = (key("p/film.mp4"), noise(300_000, 1));
    put(&store, &key, &content).await.unwrap();

    let http = reqwest::Client::new();
    let link = store
        .link(&key, &named(), Some("video/mp4"), HOUR)
        .await
        .unwrap();
    let part = http
        .get(&link)
        .header("range", "bytes=1000-1999")
        .send()
        .await
        .unwrap();
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.bytes().await.unwrap(), content.slice(1_000..2_000));

    // Another blob, another name, another verb, or no signature.
    for other in [
        link.replace("film.mp4?", "other.mp4?"),
        link.replace("video%2Fmp4", "text%2Fhtml"),
        link.split('?').next().unwrap().to_owned(),
    ] {
        assert_ne!(other, link);
        let status = http.get(&other).send().await.unwrap().status();
        assert_eq!(status, StatusCode::FORBIDDEN, "{other}");
    }
    let status = http.delete(&link).send().await.unwrap().status();
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(store.stat(&key).await.unwrap().is_some());

    let short = store
        .link(&key, &named(), None, Duration::from_secs(1))
        .await
        .unwrap();
    let status = http.get(&short).send().await.unwrap().status();
    assert_eq!(status, StatusCode::OK);
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    let status = http.get(&short).send().await.unwrap().status();
    assert_eq!(status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn links_point_where_readers_are() {
    let server = ObjectStore::start().await.unwrap();
    let key = key("p/film.mp4");
    let content = noise(1_000, 1);

    // Signed for the address that readers use, which leads to the same server here.
    let public = Gate::before(server.port()).await;
    let store = open(S3Options {
        public_endpoint: Some(public.url()),
        ..server.options()
    })
    .await;
    put(&store, &key, &content).await.unwrap();
    assert_eq!(public.seen(), Vec::<String>::new());
    let link = store.link(&key, &named(), None, HOUR).await.unwrap();
    assert!(link.starts_with(&format!("{}{BUCKET}/test/p/film.mp4?", public.url())));
    let answer = reqwest::get(&link).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.bytes().await.unwrap(), content);
    assert_eq!(public.count("GET", "film.mp4"), 1);

    let store = open(S3Options {
        public_base_url: Some("https://cdn.example.com/media/".parse().unwrap()),
        ..server.options()
    })
    .await;
    assert_eq!(
        store.link(&key, &named(), None, HOUR).await.unwrap(),
        "https://cdn.example.com/media/test/p/film.mp4"
    );
}

#[tokio::test]
async fn the_longest_link_lasts_a_week() {
    let server = ObjectStore::start().await.unwrap();
    let store = open(server.options()).await;
    let year = 365 * 24 * HOUR;
    let link = store.link(&key("a"), &named(), None, year).await.unwrap();
    assert!(link.contains("X-Amz-Expires=604800"), "{link}");
    let link = store
        .link(&key("a"), &named(), None, Duration::ZERO)
        .await
        .unwrap();
    assert!(link.contains("X-Amz-Expires=1&"), "{link}");
}

/// The bucket's host does not exist: a proxy takes every request for it.
#[tokio::test]
async fn the_bucket_may_be_named_in_the_host() {
    let server = ObjectStore::start().await.unwrap();
    let gate = Gate::before(server.port()).await;
    let store = open(S3Options {
        path_style: false,
        proxy: Some(gate.url()),
        ..options(format!("http://{DOMAIN}").parse().unwrap())
    })
    .await;
    let (key, content) = (key("p/film.mp4"), film(LARGE, 1));
    put(&store, &key, &content).await.unwrap();
    let blob = store.open(&key, None).await.unwrap().unwrap();
    assert_eq!(contract::read(blob).await, content);
    let part = store
        .open(&key, Some(ByteRange::Last(10)))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(contract::read(part).await, content.slice(LARGE - 10..));
    let host = format!(" {BUCKET}.{DOMAIN} /test/");
    for line in gate.seen() {
        let listing = line.contains("?uploads") && line.starts_with("GET");
        assert!(line.contains(&host) || listing, "{line}");
    }

    let link = store.link(&key, &named(), None, HOUR).await.unwrap();
    let start = format!("http://{BUCKET}.{DOMAIN}/test/p/film.mp4?");
    assert!(link.starts_with(&start), "{link}");
    let http = reqwest::Client::builder()
        .proxy(reqwest::Proxy::all(gate.url()).unwrap())
        .build()
        .unwrap();
    let answer = http.get(&link).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.bytes().await.unwrap(), content);
}

async fn intakes_take_what_was_signed(server: &impl Server, checks: bool) {
    let store = open(server.options()).await;
    let (key, content) = (key("u/incoming"), noise(3_000, 1));
    let intake = store.intake(&key, "image/png", 3_000, HOUR).await.unwrap();
    let http = reqwest::Client::new();
    let send = async |url: &str, mime: &str, body: bytes::Bytes| {
        let sent = http.put(url).header("content-type", mime).body(body);
        sent.send().await.unwrap().status()
    };
    assert!(
        (intake.headers.iter())
            .any(|header| *header == ("content-type".to_owned(), "image/png".to_owned())),
        "{intake:?}"
    );
    if checks {
        // Another type, another length, another blob, another verb, no signature.
        let url = &intake.url;
        assert_eq!(
            send(url, "text/html", content.clone()).await,
            StatusCode::FORBIDDEN
        );
        assert_eq!(
            send(url, "image/png", noise(3_001, 1)).await,
            StatusCode::FORBIDDEN
        );
        for other in [
            url.replace("incoming?", "other?"),
            url.split('?').next().unwrap().to_owned(),
        ] {
            let status = send(&other, "image/png", content.clone()).await;
            assert_eq!(status, StatusCode::FORBIDDEN, "{other}");
        }
        assert_eq!(
            http.get(url).send().await.unwrap().status(),
            StatusCode::FORBIDDEN
        );
        assert!(store.stat(&key).await.unwrap().is_none());
    }
    assert_eq!(
        send(&intake.url, "image/png", content.clone()).await,
        StatusCode::OK
    );
    let stat = store.stat(&key).await.unwrap().unwrap();
    assert_eq!((stat.size, stat.mime.as_str()), (3_000, "image/png"));
    let blob = store.open(&key, None).await.unwrap().unwrap();
    assert_eq!(contract::read(blob).await, content);

    if checks {
        let short = store
            .intake(&key, "image/png", 3_000, Duration::from_secs(1))
            .await
            .unwrap();
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        assert_eq!(
            send(&short.url, "image/png", content).await,
            StatusCode::FORBIDDEN
        );
    }
}

#[tokio::test]
async fn a_store_that_checks_signatures_takes_in_what_was_signed() {
    intakes_take_what_was_signed(&ObjectStore::start().await.unwrap(), true).await;
}

#[tokio::test]
async fn a_store_like_aws_takes_in_what_was_signed() {
    intakes_take_what_was_signed(&Moto::start().await, false).await;
}
