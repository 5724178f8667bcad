//! Films go from the vendor to the store, and nothing stays on the way: no copy, no second
//! file, no memory.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use genvid_testkit::{Fault, FaultKind, Vendor};
use serde_json::json;

use crate::support::{
    attempts, files, text, until,
    world::{Setup, World},
};

const MEDIA: &str = "GET /media/*";
const MIB: u64 = 1 << 20;

/// What stands in for ffmpeg: it notes its arguments, one line a run, and does the work.
fn noted_ffmpeg(folder: &Path, more: &str) -> (PathBuf, PathBuf) {
    let (program, runs) = (folder.join("ffmpeg"), folder.join("runs"));
    std::fs::write(&runs, "").expect("a list of runs");
    let script = format!(
        "#!/bin/sh\necho \"$*\" >> {}\n{more}\nexec ffmpeg \"$@\"\n",
        runs.display()
    );
    std::fs::write(&program, script).expect("a program");
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).expect("it runs");
    (program, runs)
}

/// Runs that made a film.
fn compositions(runs: &Path) -> usize {
    let runs = std::fs::read_to_string(runs).expect("a list of runs");
    runs.lines()
        .filter(|run| run.contains("result.mp4"))
        .count()
}

/// Everything below a folder that is a file.
fn below(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    entries
        .flatten()
        .flat_map(|entry| match entry.path() {
            path if path.is_dir() => below(&path),
            path => vec![path],
        })
        .collect()
}

/// What runs left: everything in the scratch folder but the lock of the server that is alive.
fn scratch(world: &World) -> Vec<PathBuf> {
    let mut found = below(&world.launch.data.join("scratch"));
    found.retain(|path| path.file_name().is_none_or(|name| name != "lock"));
    found
}

/// Nothing may lie in the folder for temporary files, ever.
fn assert_no_temporary_files(world: &World) {
    let found = below(&world.launch.folder.join("tmp"));
    assert!(found.is_empty(), "left behind: {found:?}");
}

/// Sizes of the films in the store: a file type box comes first (ISO/IEC 14496-12).
fn films(world: &World) -> Vec<u64> {
    world
        .media_files()
        .into_iter()
        .filter_map(|path| {
            let mut head = [0; 8];
            let mut file = std::fs::File::open(&path).ok()?;
            std::io::Read::read_exact(&mut file, &mut head).ok()?;
            (&head[4..] == b"ftyp").then(|| file.metadata().expect("a size").len())
        })
        .collect()
}

async fn as_the_vendor_made_it(setup: Setup) {
    let tools = tempfile::tempdir().expect("a folder");
    let (program, runs) = noted_ffmpeg(tools.path(), "");
    let world = setup.set("media.ffmpeg", program.display()).start().await;
    let client = world.client();
    let id = world.film(json!({"provider": "heygen"})).await;
    let job = client.ended(&id, "SUCCEEDED").await;
    assert_eq!(attempts(&job, "VIDEO"), ["heygen SUCCEEDED CHARGED"]);
    let film = client.download(text(&job, "/videoUrl")).await;
    assert!(files::inspect(&film).await.is_heard());
    assert_eq!(films(&world), [film.len() as u64], "one film is kept");
    assert_eq!(compositions(&runs), 0, "nothing was composed");
    let vendors = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("e2e-vendors/media");
    let same = below(&vendors)
        .into_iter()
        .any(|path| std::fs::read(path).is_ok_and(|bytes| bytes == film));
    assert!(same, "it is no film of the vendor's");
    let picture = client.download(text(&job, "/thumbnailUrl")).await;
    assert_eq!(picture[..3], [0xff, 0xd8, 0xff], "a JPEG begins so");

    // Whatever is asked for besides is work.
    for (count, more) in [
        json!({"aspect": "SQUARE", "subtitles": "SIDECAR"}),
        json!({"provider": "kling"}),
        json!({"maxSeconds": 1}),
    ]
    .into_iter()
    .enumerate()
    {
        let mut wish = json!({"provider": "heygen"});
        for (name, value) in more.as_object().expect("fields") {
            wish[name] = value.clone();
        }
        client.ended(&world.film(wish).await, "SUCCEEDED").await;
        assert_eq!(compositions(&runs), count + 1, "{more}");
    }
    until("an empty scratch folder", || async {
        scratch(&world).is_empty().then_some(())
    })
    .await;
    assert_no_temporary_files(&world);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_film_that_needs_nothing_stays_as_the_vendor_made_it() {
    as_the_vendor_made_it(Setup::default().embedded()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_film_that_needs_nothing_stays_as_the_vendor_made_it_in_s3() {
    as_the_vendor_made_it(Setup::default().on_servers()).await;
}

/// Has a film of so many bytes made, and looks all the time at how much memory it takes.
async fn large_film(setup: Setup, size: u64) {
    let world = setup.set("media.max_mib", size / MIB).start().await;
    let client = world.client();
    // The plugin, the pool and the client of the store are in memory from here on.
    let first = world.film(json!({"provider": "heygen"})).await;
    client.ended(&first, "SUCCEEDED").await;
    let small = world.kept_media();
    let padded = Fault::new(MEDIA, FaultKind::Padded).bytes(size).times(0);
    world.fault(Vendor::HeyGen, [padded]);

    let before = world.server().memory();
    let began = Instant::now();
    let id = world.film(json!({"provider": "heygen"})).await;
    let ended = async {
        loop {
            let job = client.job(&id).await;
            if matches!(text(&job, "/status"), "SUCCEEDED" | "FAILED" | "CANCELED") {
                break job;
            }
            assert!(began.elapsed() < Duration::from_secs(300), "{job:#}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let mut most = before;
    tokio::pin!(ended);
    let job = loop {
        tokio::select! {
            job = &mut ended => break job,
            () = tokio::time::sleep(Duration::from_millis(50)) => {
                most = most.max(world.server().memory());
            }
        }
    };
    let grown = most.saturating_sub(before);
    println!(
        "{} MiB in {:?}: {} MiB before, {} MiB more at most",
        size / MIB,
        began.elapsed(),
        before / MIB,
        grown / MIB
    );
    assert_eq!(job["status"], "SUCCEEDED", "{job:#}");
    assert!(grown <= 64 * MIB, "{} MiB more", grown / MIB);
    assert!(films(&world).contains(&size), "{:?}", films(&world));
    // An attempt at sending it that broke off is cleared away behind the job's back.
    until("one film and nothing beside it in the store", || async {
        (world.kept_media() - small < size + MIB).then_some(())
    })
    .await;
    assert!(text(&job, "/thumbnailUrl").starts_with("http"));
    until("an empty scratch folder", || async {
        scratch(&world).is_empty().then_some(())
    })
    .await;
    assert_no_temporary_files(&world);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_gibibytes_take_no_memory() {
    large_film(Setup::default().embedded(), 2_048 * MIB).await;
}

/// A quarter of it: the store of the tests takes 20 MiB a second, for it is not optimized.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_gibibyte_takes_no_memory_on_the_way_to_s3() {
    large_film(Setup::default().on_servers(), 512 * MIB).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes two minutes; half_a_gibibyte_takes_no_memory_on_the_way_to_s3 is its short form"]
async fn two_gibibytes_take_no_memory_on_the_way_to_s3() {
    large_film(Setup::default().on_servers(), 2_048 * MIB).await;
}

async fn killed_while_composing(setup: Setup) {
    let tools = tempfile::tempdir().expect("a folder");
    let go = tools.path().join("go");
    // The film is begun, and not finished before somebody says so.
    let slow = format!(
        "case \"$*\" in *result.mp4*) echo half a film > result.mp4; \
         until [ -e {} ]; do sleep 0.05; done;; esac",
        go.display()
    );
    let (program, runs) = noted_ffmpeg(tools.path(), &slow);
    let mut world = setup.set("media.ffmpeg", program.display()).start().await;
    let id = world
        .film(json!({"provider": "heygen", "aspect": "SQUARE", "subtitles": "SIDECAR"}))
        .await;
    until("half a film", || async {
        let begun = |path: &PathBuf| path.file_name().is_some_and(|name| name == "result.mp4");
        scratch(&world).iter().any(begun).then_some(())
    })
    .await;
    world.kill();
    assert!(!scratch(&world).is_empty(), "a dead server cleans nothing");
    std::fs::write(&go, "").expect("a sign");
    world.start_again().await;
    let client = world.client();
    let job = client.ended(&id, "SUCCEEDED").await;
    assert_eq!(compositions(&runs), 2);
    assert!(
        files::inspect(&client.download(text(&job, "/videoUrl")).await)
            .await
            .is_heard()
    );
    until("an empty scratch folder", || async {
        scratch(&world).is_empty().then_some(())
    })
    .await;
    let servers = std::fs::read_dir(world.launch.data.join("scratch"))
        .expect("the scratch folder")
        .count();
    assert_eq!(servers, 1, "only the one that lives has a folder");
    assert_no_temporary_files(&world);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_dies_while_composing_leaves_nothing() {
    killed_while_composing(Setup::default().embedded()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_dies_while_composing_leaves_nothing_on_servers() {
    killed_while_composing(Setup::default().on_servers()).await;
}
