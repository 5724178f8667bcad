//! ffmpeg reads a film in the store, without a copy of it on this machine.

use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use genvid_media::BlobStore;
use genvid_media::ffmpeg::{Error, Source, Studio, StudioOptions, Tools};
use genvid_testing::ObjectStore;

use crate::contract::key;
use crate::gate::{Gate, Trouble};
use crate::kit::{open, put};

/// A film of three seconds with its index at the end, and an empty box behind it, so that it
/// takes several parts.
fn film(folder: &std::path::Path) -> Bytes {
    let path = folder.join("film.mp4");
    let made = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-f", "lavfi", "-i"])
        .arg("testsrc2=s=640x360:r=25:d=3")
        .args([
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
            "-pix_fmt",
            "yuv420p",
        ])
        .arg(&path)
        .status()
        .unwrap();
    assert!(made.success());
    let mut film = std::fs::read(path).unwrap();
    let space = crate::kit::LARGE as u32;
    film.extend(space.to_be_bytes());
    film.extend(b"free");
    film.resize(film.len() + space as usize - 8, 0);
    film.into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_film_is_looked_at_where_it_lies() {
    let folder = tempfile::tempdir().unwrap();
    let server = ObjectStore::start().await.unwrap();
    let gate = Gate::before(server.port()).await;
    let store = open(crate::server::options(gate.url())).await;
    let (key, content) = (key("film"), film(folder.path()));
    put(&store, &key, &content).await.unwrap();
    assert_eq!(store.local(&key).await.unwrap(), None);

    let tools = Tools::locate(None, None).await.unwrap();
    let options = StudioOptions::new(folder.path().join("scratch"));
    let studio = Studio::new(tools, options).await.unwrap();
    let stored = Source::Stored(Arc::new(store), key);

    gate.reset();
    let began = std::time::Instant::now();
    let there = studio.verify(stored.clone(), "video/mp4").await.unwrap();
    let took = began.elapsed();
    let began = std::time::Instant::now();
    let local = folder.path().join("film.mp4");
    let here = studio.verify(&local, "video/mp4").await.unwrap();
    assert_eq!(there, here);
    let asked = gate.seen().len();
    println!(
        "{asked} requests, {took:?}; from the disk {:?}",
        began.elapsed()
    );
    // Three runs: the beginning, the index at the end, the pictures.
    assert!((3..=40).contains(&asked), "{:#?}", gate.seen());
    let picture = studio.thumbnail(stored.clone(), None).await.unwrap();
    assert_eq!(picture.probe.video.as_ref().unwrap().width, 640);
    drop(picture);

    // What the store does wrong is not the film's fault.
    gate.reset();
    gate.plan(usize::MAX, "GET", "film", Trouble::CutAfter(1_000));
    let error = studio.verify(stored, "video/mp4").await.unwrap_err();
    assert!(
        matches!(error, Error::Io(_)) && !error.is_final(),
        "{error}"
    );
}
