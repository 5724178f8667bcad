//! The command line beside `serve`.

use std::{path::Path, process::Stdio, time::Duration};

use genvid_testkit::Vendor;
use serde_json::{Value, json};

use crate::support::{
    client::Client,
    files, list, plugins,
    server::{self, command, signal},
    text, until,
    world::Setup,
};

async fn run(folder: &Path, arguments: &[&str]) -> (bool, String, String) {
    let output = server::run(folder, arguments, &[]).await;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.success(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn help_teaches() {
    let folder = tempfile::tempdir().expect("a folder");
    for (arguments, words) in [
        (
            &["--help"][..],
            &["genvid dev", "serve", "plugin", "migrate"][..],
        ),
        (
            &["serve", "--help"],
            &["--data-dir", "--simulators", "HEYGEN_API_KEY", "Example"],
        ),
        (&["dev", "--help"], &["--port", "--ready-file", "Example"]),
        (&["demo", "--help"], &["--json", "--out", "Example"]),
        (&["simulate", "--help"], &["--ready-file", "Example"]),
        (&["schema", "--help"], &["GraphQL"]),
        (&["migrate", "--help"], &["--data-dir"]),
        (&["config", "--help"], &["setting"]),
        (&["plugin", "--help"], &["list", "inspect", "call"]),
        (&["plugin", "list", "--help"], &["--json"]),
        (&["plugin", "inspect", "--help"], &["FILE"]),
        (
            &["plugin", "call", "--help"],
            &["check", "voices", "Example"],
        ),
    ] {
        let (ok, said, _) = run(folder.path(), arguments).await;
        assert!(ok, "{arguments:?}");
        for word in words {
            assert!(
                said.contains(word),
                "{word:?} is not in the help of {arguments:?}:\n{said}"
            );
        }
    }
    let (ok, _, said) = run(folder.path(), &["serv"]).await;
    assert!(!ok && said.contains("serve"), "{said}");
    let (ok, _, said) = run(folder.path(), &[]).await;
    assert!(!ok && said.contains("Usage"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schema_settings_and_migration() {
    let folder = tempfile::tempdir().expect("a folder");
    let (ok, schema, _) = run(folder.path(), &["schema"]).await;
    assert!(ok);
    assert!(
        schema == include_str!("../../../graphql/schema.graphql"),
        "`cargo xtask codegen` is due"
    );
    let (ok, settings, _) = run(folder.path(), &["config"]).await;
    assert!(ok);
    // What it prints is a settings file that works.
    let file = folder.path().join("all.toml");
    std::fs::write(&file, settings).expect("a file");
    let file = file.display().to_string();
    let data = folder.path().join("data").display().to_string();
    for _ in 0..2 {
        let (ok, said, why) = run(
            folder.path(),
            &["migrate", "--config", &file, "--data-dir", &data],
        )
        .await;
        assert!(ok && said.contains("up to date"), "{said}{why}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plugins_are_listed_inspected_and_called() {
    let world = Setup::default().start_vendors().await;
    let path = |path: &Path| path.display().to_string();
    let (folder, data) = (path(&world.launch.plugins), path(&world.launch.data));
    let common = ["--plugins", &folder, "--data-dir", &data];
    let with = |more: &[&str]| -> Vec<String> {
        more.iter()
            .chain(&common)
            .map(|word| (*word).to_owned())
            .collect()
    };
    let run = async |arguments: Vec<String>| {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        run(&world.launch.folder, &arguments).await
    };
    let (ok, said, why) = run(with(&["plugin", "list"])).await;
    assert!(ok, "{why}");
    for vendor in Vendor::ALL {
        assert!(said.contains(vendor.id()), "{said}");
    }
    assert!(
        said.contains("HEYGEN_API_KEY"),
        "it says what to set: {said}"
    );
    let (_, said, _) = run(with(&["plugin", "list", "--json"])).await;
    let listed: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(list(&listed, "").len(), 4);

    let wasm = path(&world.launch.plugins.join("kling.wasm"));
    let (ok, said, why) = run(vec!["plugin".into(), "inspect".into(), wasm]).await;
    assert!(ok, "{why}");
    let shown: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(shown["manifest"]["id"], "kling");
    assert_eq!(
        (&shown["exports"]["video"], &shown["exports"]["voice"]),
        (&json!(true), &json!(false))
    );
    let (ok, _, why) = run(vec![
        "plugin".into(),
        "inspect".into(),
        path(&world.launch.config),
    ])
    .await;
    assert!(!ok && !why.contains("panicked"), "{why}");

    let simulators = path(&world.launch.simulators);
    let call = |plugin: &str, function: &str| {
        with(&[
            "plugin",
            "call",
            plugin,
            function,
            "--simulators",
            &simulators,
        ])
    };
    for (plugin, function) in [
        ("heygen", "check"),
        ("heygen", "avatars"),
        ("elevenlabs", "voices"),
        ("openai", "models"),
        ("kling", "check"),
    ] {
        let (ok, said, why) = run(call(plugin, function)).await;
        assert!(ok, "{plugin} {function}: {said}{why}");
        assert!(serde_json::from_str::<Value>(&said).is_ok(), "{said}");
    }
    assert_eq!(world.calls(Vendor::HeyGen, "GET /v3/users/me"), 1);
    let (ok, _, why) = run(call("nobody", "check")).await;
    assert!(!ok && why.contains("nobody"), "{why}");
    let (ok, _, why) = run(call("kling", "submit")).await;
    assert!(
        !ok && why.contains("possible values"),
        "what costs money is not offered: {why}"
    );
}

/// Starts a command that runs until it is told to stop, and reads its ready file.
/// A program that is killed with its test.
struct Running(std::process::Child);

impl Running {
    fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended cannot be killed any more.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn ready(folder: &Path, arguments: &[&str]) -> (Running, Value) {
    let file = folder.join("told.json");
    let child = command(folder)
        .args(arguments)
        .arg("--ready-file")
        .arg(&file)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map(Running)
        .expect("the binary runs");
    let told = until("the ready file", || async {
        let text = std::fs::read_to_string(&file).ok()?;
        Some(serde_json::from_str(&text).expect("the file is whole"))
    })
    .await;
    (child, told)
}

async fn stop(mut child: Running) {
    signal(child.id(), "TERM");
    let status = until("it stops", || {
        let status = child.0.try_wait().expect("it can be asked");
        async move { status }
    })
    .await;
    assert_eq!(status.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn simulators_run_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let (child, told) = ready(folder.path(), &["simulate", "--speed", "instant"]).await;
    assert_eq!(told["pid"], child.id());
    for vendor in Vendor::ALL {
        let url = text(&told, &format!("/simulators/{vendor}"));
        let invoice = Client::new(url, None).get_json("/_control/invoice").await;
        assert_eq!(
            (&invoice["accepted"], &invoice["billed"]),
            (&json!(0), &json!(0))
        );
        assert!(invoice["calls"].is_array());
    }
    assert!(text(&told, "/simulators/stripe").starts_with("http://"));
    stop(child).await;
}

/// The usual soft limit of open files is for programs of another time.
#[tokio::test]
async fn it_opens_as_many_files_as_it_may() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let folder = tempfile::tempdir().expect("a folder");
    let granted = getrlimit(Resource::Nofile);
    // Each test is a process of its own; what it starts inherits this.
    let low = Rlimit {
        current: Some(200),
        ..granted
    };
    setrlimit(Resource::Nofile, low).expect("less is always allowed");
    let (child, _) = ready(folder.path(), &["simulate", "--speed", "instant"]).await;
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", child.id()));
    let limits = limits.expect("the process runs");
    let files = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let soft = files.and_then(|line| line.split_whitespace().nth(3));
    let soft: u64 = soft.expect("a limit").parse().expect("a number");
    let most = granted.maximum.map_or(1 << 20, |most| most.min(1 << 20));
    assert_eq!(soft, most, "{limits}");
    stop(child).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_development_server_runs_by_itself() {
    let world = Setup::default().start_vendors().await;
    let plugins = world.launch.plugins.display().to_string();
    let data = world.launch.data.display().to_string();
    let arguments = [
        "dev",
        "--port",
        "0",
        "--speed",
        "instant",
        "--plugins",
        &plugins,
        "--data-dir",
        &data,
    ];
    let (child, told) = ready(&world.launch.folder, &arguments).await;
    assert_eq!(told["pid"], child.id());
    assert_eq!(
        text(&told, "/graphql"),
        format!("{}/graphql", text(&told, "/url"))
    );
    assert!(text(&told, "/ws").starts_with("ws://"));
    assert_eq!(told["simulators"].as_object().expect("simulators").len(), 5);
    let client = Client::new(text(&told, "/url"), Some(text(&told, "/token")));
    let wish = json!({"brief": "A bottle.", "language": "en", "idempotencyKey": "k"});
    let job = client.start("GenerateScript", wish).await;
    client.ended(&job, "SUCCEEDED").await;
    stop(child).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demo_leaves_a_film() {
    let folder = tempfile::tempdir().expect("a folder");
    let installed = folder.path().join("plugins");
    plugins::install(&installed, &[], false);
    let out = folder.path().join("out");
    let (plugins, out_text) = (installed.display().to_string(), out.display().to_string());
    let arguments = [
        "demo",
        "--json",
        "--speed",
        "instant",
        "--plugins",
        &plugins,
        "--out",
        &out_text,
    ];
    // A second demo is quick because it finds what the first one compiled and drew.
    let cache = concat!(env!("CARGO_TARGET_TMPDIR"), "/e2e-cache");
    let output = tokio::time::timeout(
        Duration::from_secs(120),
        server::run(folder.path(), &arguments, &[("XDG_CACHE_HOME", cache)]),
    )
    .await
    .expect("it ends");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let last = said.lines().last().unwrap_or_default();
    let told: Value = serde_json::from_str(last).expect("the last line is JSON");
    assert!(output.status.success(), "{told:#}");
    assert_eq!(
        (&told["ok"], &told["status"]),
        (&json!(true), &json!("SUCCEEDED"))
    );
    let film = files::inspect(&std::fs::read(out.join("video.mp4")).expect("the film")).await;
    assert!(film.is_heard());
    assert_eq!(
        film.size,
        Some((
            told["video"]["width"].as_u64().expect("a width"),
            told["video"]["height"].as_u64().expect("a height"),
        ))
    );
    assert!(out.join("thumbnail.jpg").is_file());
    let subtitles = std::fs::read_to_string(out.join("subtitles.srt")).expect("subtitles");
    assert!(subtitles.contains("-->"));
    assert!(
        list(&told, "/steps")
            .iter()
            .all(|step| step["status"] == "SUCCEEDED")
    );
}
