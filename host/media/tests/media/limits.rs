//! Limits on the programs themselves: time, memory, size, number, and what they leave.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use genvid_media::ffmpeg::{Aspect, Error, Studio, StudioOptions, Tools};

use crate::kit::{Kit, eventually, ffmpeg};

/// Programs whose working folder lies in this kit's scratch folder.
#[cfg(target_os = "linux")]
fn running(kit: &Kit) -> Vec<PathBuf> {
    let scratch = kit.path("scratch").canonicalize().unwrap();
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter(|process| {
            let cwd = std::fs::read_link(process.path().join("cwd"));
            cwd.is_ok_and(|cwd| cwd.starts_with(&scratch))
        })
        .map(|process| process.path())
        .collect()
}

/// A film that takes long to bring into another ratio.
fn laborious(kit: &Kit) -> PathBuf {
    let short = kit.film("short.mp4", "1280x720", 2.0);
    let path = kit.path("long.mp4");
    let repeat = [
        "-stream_loop",
        "40",
        "-i",
        short.to_str().unwrap(),
        "-c",
        "copy",
    ];
    ffmpeg(repeat.into_iter().chain([path.to_str().unwrap()]));
    path
}

#[tokio::test]
async fn a_run_over_its_time_is_killed_and_leaves_nothing() {
    let kit = Kit::with(|options| options.time_limit = Duration::from_millis(1_500)).await;
    let mut wish = kit.composition(&laborious(&kit));
    wish.aspect = Aspect::Portrait;
    let start = Instant::now();
    let error = kit.compose(wish).await.unwrap_err();
    assert!(
        matches!(error, Error::TimedOut(_)) && !error.is_final(),
        "{error}"
    );
    assert!(
        start.elapsed() < Duration::from_secs(8),
        "{:?}",
        start.elapsed()
    );
    assert!(running(&kit).is_empty());
    kit.assert_clean().await;
    assert!(!kit.path("out.mp4").exists());
}

#[tokio::test]
async fn a_dropped_run_is_killed_and_leaves_nothing() {
    let kit = Kit::new().await;
    let mut wish = kit.composition(&laborious(&kit));
    wish.aspect = Aspect::Portrait;
    let studio = kit.studio.clone();
    let (sender, mut progress) = tokio::sync::mpsc::unbounded_channel();
    let task = tokio::spawn(async move {
        studio
            .compose(wish, |part| {
                let _ = sender.send(part);
            })
            .await
            .map(|_| ())
    });
    let part = progress.recv().await.unwrap();
    assert!(part > 0.0 && part < 1.0, "{part}");
    assert_eq!(running(&kit).len(), 1);
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    eventually("killed", || running(&kit).is_empty()).await;
    kit.assert_clean().await;
    assert!(!kit.path("out.mp4").exists());
}

/// Also what the program itself started: `sleep` stands for a helper of ffmpeg's.
#[tokio::test]
async fn a_whole_family_of_processes_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let fake = folder.path().join("ffprobe");
    std::fs::write(&fake, "#!/bin/sh\ncase \"$*\" in *-version*) exec /usr/bin/ffprobe \"$@\";; esac\nsleep 300 &\nwait\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&fake, mode).unwrap();
    let tools = Tools::locate(None, Some(fake)).await.unwrap();
    let mut options = StudioOptions::new(folder.path().join("scratch"));
    options.time_limit = Duration::from_secs(1);
    let studio = Studio::new(tools, options).await.unwrap();
    let kit = Kit { folder, studio };
    let film = kit.film("film.mp4", "64x64", 0.2);
    let studio = kit.studio.clone();
    let task = tokio::spawn(async move { studio.probe(&film).await.map(|_| ()) });
    eventually("both run", || running(&kit).len() == 2).await;
    task.abort();
    eventually("both are gone", || running(&kit).is_empty()).await;
}

#[tokio::test]
async fn memory_and_size_have_limits() {
    let kit = Kit::with(|options| options.output_limit_mib = 1).await;
    let film = kit.make(
        "noise.mp4",
        "-f lavfi -i testsrc2=s=640x360:r=25:d=4 -vf noise=alls=100:allf=t -c:v libx264 -preset ultrafast -pix_fmt yuv420p",
    );
    let mut wish = kit.composition(&film);
    wish.aspect = Aspect::Square;
    let error = kit.compose(wish).await.unwrap_err();
    assert!(
        matches!(error, Error::OutputTooLarge { limit_mib: 1 }),
        "{error:?}"
    );
    kit.assert_clean().await;

    let kit = Kit::with(|options| options.memory_limit_mib = 700).await;
    let film = kit.make(
        "large.mp4",
        "-f lavfi -i testsrc2=s=3840x2160:r=25:d=2 -c:v libx264 -preset ultrafast -pix_fmt yuv420p",
    );
    let mut wish = kit.composition(&film);
    wish.aspect = Aspect::Square;
    let error = kit.compose(wish).await.unwrap_err();
    assert!(
        matches!(error, Error::OutOfMemory { limit_mib: 700, .. }),
        "{error:?}"
    );
    assert!(!kit.path("out.mp4").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bounded_number_runs_at_a_time() {
    let kit = Kit::with(|options| options.concurrency = 2).await;
    let film = kit.film("film.mp4", "640x360", 3.0);
    let tasks: Vec<_> = (0..6)
        .map(|_| {
            let mut wish = kit.composition(&film);
            wish.aspect = Aspect::Square;
            let studio = kit.studio.clone();
            tokio::spawn(async move { studio.compose(wish, |_| {}).await.map(|_| ()) })
        })
        .collect();
    let mut most = 0;
    while !tasks.iter().all(tokio::task::JoinHandle::is_finished) {
        most = most.max(running(&kit).len());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert!((1..=2).contains(&most), "{most} at a time");
    kit.assert_clean().await;
}

/// A server that was killed cannot stop its ffmpeg; the next one does, and cleans up.
#[tokio::test]
async fn a_new_studio_ends_what_a_killed_one_left() {
    let folder = tempfile::tempdir().unwrap();
    let dead = folder.path().join("scratch/live-of-the-dead");
    let run = dead.join("run-1");
    std::fs::create_dir_all(&run).unwrap();
    std::fs::write(dead.join("lock"), "").unwrap();
    let mut orphan = std::process::Command::new("sleep")
        .arg("300")
        .current_dir(&run)
        .spawn()
        .unwrap();
    let tools = Tools::locate(None, None).await.unwrap();
    let options = StudioOptions::new(folder.path().join("scratch"));
    let _studio = Studio::new(tools, options).await.unwrap();
    assert!(!dead.exists());
    let status = orphan.wait().unwrap();
    assert!(!status.success(), "{status}");
}

#[tokio::test]
async fn the_programs_see_nothing_of_the_servers_environment() {
    let folder = tempfile::tempdir().unwrap();
    let spy = folder.path().join("ffprobe");
    let seen = folder.path().join("seen");
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *-version*) exec /usr/bin/ffprobe \"$@\";; esac\nenv > {}\n",
        seen.display()
    );
    std::fs::write(&spy, script).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&spy, mode).unwrap();
    let tools = Tools::locate(None, Some(spy)).await.unwrap();
    let studio = Studio::new(tools, StudioOptions::new(folder.path().join("scratch")))
        .await
        .unwrap();
    let kit = Kit { folder, studio };
    let _ = kit.studio.probe(&kit.film("film.mp4", "64x64", 0.2)).await;
    let seen = std::fs::read_to_string(seen).unwrap();
    assert!(!seen.contains("CARGO"), "{seen}");
    assert!(seen.contains("LC_ALL=C.UTF-8"), "{seen}");
}

#[tokio::test]
async fn tools_are_checked_and_the_error_says_what_to_do() {
    let tools = Tools::locate(None, None).await.unwrap();
    assert!(tools.ffmpeg().is_absolute() && tools.ffprobe().is_absolute());
    assert!(
        tools
            .version()
            .starts_with(|c: char| c.is_ascii_alphanumeric())
    );

    let error = Tools::locate(Some("/nowhere/ffmpeg".into()), None)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Missing { .. }));
    assert!(
        error.to_string().contains("apt-get install ffmpeg"),
        "{error}"
    );

    let folder = tempfile::tempdir().unwrap();
    let mode = || std::os::unix::fs::PermissionsExt::from_mode(0o755);
    for (name, answer, reason) in [
        ("old", "ffmpeg version 3.4.1 Copyright", "version 3.4.1"),
        ("other", "hello", "-version"),
        ("bare", "ffmpeg version 7.1 Copyright", "libx264"),
    ] {
        let fake = folder.path().join(name);
        std::fs::write(&fake, format!("#!/bin/sh\necho '{answer}'\n")).unwrap();
        std::fs::set_permissions(&fake, mode()).unwrap();
        let error = Tools::locate(Some(fake), None).await.unwrap_err();
        assert!(matches!(error, Error::Unusable { .. }), "{error}");
        assert!(error.to_string().contains(reason), "{error}");
    }
}
