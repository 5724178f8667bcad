//! Plugins and settings that are installed for every node while it runs: all pick them up, and
//! what was submitted finishes on the version that submitted it.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use genvid_testkit::Vendor;
use serde_json::{Value, json};

use crate::support::{
    attempts,
    client::Client,
    list, plugins,
    server::{Server, command},
    step, text, until,
    world::{Setup, World},
};

/// A heygen plugin of this version, as the world's own is otherwise.
fn heygen(world: &World, version: &str) -> PathBuf {
    let path = world.launch.folder.join(format!("heygen-{version}.wasm"));
    let own = world.launch.plugins.join("heygen.wasm");
    plugins::with_version(&own, version, &path);
    path
}

/// Runs `genvid admin …` as an operator does beside the servers: whether it went well, and
/// both of what it said.
async fn admin(world: &World, words: &[&str]) -> (bool, String, String) {
    let output = world.run_beside(&[&["admin"], words].concat()).await;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.success(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

async fn change(world: &World, words: &[&str]) -> Value {
    let (ok, said, why) = admin(world, &[words, &["--json"]].concat()).await;
    assert!(ok, "{words:?}: {why}");
    serde_json::from_str(&said).expect("JSON")
}

async fn refused(world: &World, words: &[&str]) -> String {
    let (ok, said, why) = admin(world, words).await;
    assert!(!ok, "{words:?} was not refused: {said}");
    why
}

async fn install(world: &World, path: &Path) -> Value {
    let path = path.display().to_string();
    change(world, &["plugin", "install", &path]).await
}

/// Installed versions as `id@version state`.
async fn listed(world: &World) -> Vec<String> {
    let said = change(world, &["plugin", "list"]).await;
    let mut all: Vec<String> = list(&said, "/plugins")
        .iter()
        .map(|row| {
            format!(
                "{}@{} {}",
                text(row, "/id"),
                text(row, "/version"),
                text(row, "/state")
            )
        })
        .collect();
    all.sort();
    all
}

/// What `/readyz` says of heygen.
async fn ready(client: &Client) -> (Value, Value) {
    let health = client.get_json("/readyz").await;
    let heygen = list(&health, "/plugins/providers")
        .iter()
        .find(|provider| provider["id"] == "heygen")
        .cloned()
        .unwrap_or_default();
    (health, heygen)
}

async fn runs(client: &Client, version: &str) {
    until(&format!("heygen {version} runs"), || async {
        let (_, heygen) = ready(client).await;
        (heygen["version"] == version).then_some(())
    })
    .await;
}

async fn film_of(world: &World, client: &Client) -> String {
    let project = client.project().await;
    let wish = world.wish(&project, json!({"provider": "heygen"}));
    client.start("GenerateVideo", wish).await
}

async fn submitted(client: &Client, film: &str) {
    client
        .wait(film, "at the vendor", |job| {
            step(job, "VIDEO")["status"] == "RUNNING"
        })
        .await;
}

/// The film is made, by one attempt with this version.
async fn made_with(client: &Client, film: &str, version: &str) {
    let job = client.ended(film, "SUCCEEDED").await;
    assert_eq!(attempts(&job, "VIDEO"), ["heygen SUCCEEDED CHARGED"]);
    let with = text(step(&job, "VIDEO"), "/attempts/0/pluginVersion").to_owned();
    assert_eq!(with, version);
}

async fn two_nodes_change_together(setup: Setup) {
    let world = setup
        .on_servers()
        .without_callbacks()
        .profile(|pace| pace.render = Duration::from_secs(6))
        .start()
        .await;
    let second: Server = world.another_server().await;
    let nodes = [world.client(), second.client()];
    let first = film_of(&world, &nodes[0]).await;
    submitted(&nodes[0], &first).await;

    let done = install(&world, &heygen(&world, "0.2.0")).await;
    assert_eq!(done["plugins"][0]["state"], "active");
    for node in &nodes {
        runs(node, "0.2.0").await;
        assert_eq!(ready(node).await.1["origin"], "database");
    }
    let next = [
        film_of(&world, &nodes[0]).await,
        film_of(&world, &nodes[1]).await,
    ];
    made_with(&nodes[1], &first, "0.1.0").await;
    for film in &next {
        made_with(&nodes[0], film, "0.2.0").await;
    }

    // Forwards once more, and back.
    let done = install(&world, &heygen(&world, "0.3.0")).await;
    assert_eq!(done["plugins"][0]["replaced"], "0.2.0");
    for node in &nodes {
        runs(node, "0.3.0").await;
    }
    change(&world, &["plugin", "use", "heygen@0.2.0"]).await;
    for node in &nodes {
        runs(node, "0.2.0").await;
    }
    let back = film_of(&world, &nodes[1]).await;
    made_with(&nodes[1], &back, "0.2.0").await;
    assert_eq!(world.accepted(Vendor::HeyGen), 4, "each film once");

    // Without an installed one, each node has that of its folder.
    change(&world, &["plugin", "remove", "heygen"]).await;
    for node in &nodes {
        runs(node, "0.1.0").await;
        assert_eq!(ready(node).await.1["origin"], "folder");
    }
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_with_redis_swap_a_plugin_together() {
    two_nodes_change_together(Setup::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_without_redis_swap_a_plugin_together() {
    two_nodes_change_together(Setup::default().without_redis()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_finishes_on_its_version_also_after_a_crash() {
    let mut world = Setup::default()
        .profile(|pace| pace.render = Duration::from_secs(8))
        .start()
        .await;
    install(&world, &heygen(&world, "0.1.1")).await;
    runs(&world.client(), "0.1.1").await;
    let client = world.client();
    let film = film_of(&world, &client).await;
    submitted(&client, &film).await;
    install(&world, &heygen(&world, "0.2.0")).await;
    let why = refused(&world, &["plugin", "remove", "heygen@0.1.1"]).await;
    assert!(why.contains("open attempts (1)"), "{why}");
    world.kill_and_start_again().await;
    let client = world.client();
    runs(&client, "0.2.0").await;
    assert_eq!(ready(&client).await.0["plugins"]["kept"], 1);
    made_with(&client, &film, "0.1.1").await;
    assert_eq!(world.accepted(Vendor::HeyGen), 1);
    change(&world, &["plugin", "remove", "heygen@0.1.1"]).await;
    assert_eq!(listed(&world).await, ["heygen@0.2.0 active"]);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_change_while_films_are_made() {
    let world = Setup::default()
        .profile(|pace| pace.render = Duration::from_secs(3))
        .start()
        .await;
    let client = world.client();
    let set = |words: &'static [&'static str]| {
        let world = &world;
        async move { change(world, &[&["provider", "set", "heygen"], words].concat()).await }
    };
    let is = async |what: &str, fits: &dyn Fn(&Value) -> bool| {
        until(what, || async {
            fits(&ready(&client).await.1).then_some(())
        })
        .await;
    };
    set(&["--concurrency", "1"]).await;
    is("one at a time", &|heygen| heygen["concurrency"] == 1).await;
    let films = [
        film_of(&world, &client).await,
        film_of(&world, &client).await,
        film_of(&world, &client).await,
    ];
    until("one is at the vendor", || async {
        (world.accepted(Vendor::HeyGen) == 1).then_some(())
    })
    .await;
    // More room: those who waited go at once.
    set(&["--concurrency", "5"]).await;
    until("all are at the vendor", || async {
        (world.accepted(Vendor::HeyGen) == 3).then_some(())
    })
    .await;
    // Nothing new any more; what runs is finished.
    set(&["--enabled", "false"]).await;
    is("disabled", &|heygen| heygen["available"] == false).await;
    let project = client.project().await;
    let wish = world.wish(&project, json!({"provider": "heygen"}));
    let answer = client.change("GenerateVideo", wish).await;
    assert!(
        text(&answer, "/message").contains("disabled by the operator"),
        "{answer:#}"
    );
    for film in &films {
        made_with(&client, film, "0.1.0").await;
    }

    let said = change(&world, &["provider", "list"]).await;
    let row = list(&said, "/providers")
        .iter()
        .find(|row| row["id"] == "heygen")
        .expect("heygen");
    assert_eq!(
        row["enabled"],
        json!({"value": false, "origin": "database"})
    );
    assert_eq!(
        row["concurrency"],
        json!({"value": 5, "origin": "database"})
    );
    assert_eq!(row["settleAfterSeconds"]["origin"], "plugin");
    assert_eq!(row["plugin"]["origin"], "folder");
    let kling = list(&said, "/providers")
        .iter()
        .find(|row| row["id"] == "kling")
        .expect("kling");
    assert_eq!(
        kling["settleAfterSeconds"],
        json!({"value": 1, "origin": "settings"})
    );
    let (_, words, _) = admin(&world, &["provider", "list"]).await;
    assert!(words.contains("database"), "{words}");

    let bad = r#"{"resolution": "4k"}"#;
    let why = refused(&world, &["provider", "set", "heygen", "--settings", bad]).await;
    assert!(why.contains("settings.resolution"), "{why}");
    let why = refused(&world, &["provider", "set", "heygen", "--settings", "[1]"]).await;
    assert!(why.contains("JSON object"), "{why}");
    let why = refused(&world, &["provider", "set", "nobody", "--enabled", "true"]).await;
    assert!(why.contains("nobody is no plugin"), "{why}");
    let why = refused(&world, &["provider", "set", "heygen"]).await;
    assert!(why.contains("--concurrency"), "{why}");
    change(&world, &["provider", "reset", "heygen"]).await;
    is("as before", &|heygen| {
        heygen["available"] == true && heygen["concurrency"] == 10
    })
    .await;
    refused(&world, &["provider", "reset", "heygen"]).await;
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_broken_is_refused_and_changes_nothing() {
    let world = World::start().await;
    install(&world, &heygen(&world, "0.2.0")).await;
    let good = heygen(&world, "0.3.0");
    let whole = std::fs::read(&good).expect("a plugin");
    let half = world.launch.folder.join("half.wasm");
    std::fs::write(&half, &whole[..whole.len() / 2]).expect("half a plugin");
    let (good, half) = (good.display().to_string(), half.display().to_string());
    let why = refused(&world, &["plugin", "install", &good, &half]).await;
    assert!(why.contains("half.wasm") && why.contains("valid"), "{why}");
    let other = world.launch.folder.join("other.wasm");
    let version = heygen(&world, "0.4.0");
    // The same number, other bytes.
    plugins::with_version(&version, "0.2.0", &other);
    let mut bytes = std::fs::read(&other).expect("a plugin");
    // An empty custom section named "x".
    bytes.extend([0, 2, 1, b'x']);
    std::fs::write(&other, bytes).expect("a plugin");
    let why = refused(&world, &["plugin", "install", &other.display().to_string()]).await;
    assert!(why.contains("another version"), "{why}");
    let why = refused(&world, &["plugin", "use", "heygen@7.0.0"]).await;
    assert!(why.contains("heygen@7.0.0 is not installed"), "{why}");
    let why = refused(&world, &["plugin", "use", "heygen"]).await;
    assert!(why.contains("ID@VERSION"), "{why}");
    assert_eq!(listed(&world).await, ["heygen@0.2.0 active"]);
    runs(&world.client(), "0.2.0").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_cannot_be_loaded_leaves_the_old_one_running() {
    let mut world = Setup::default().on_servers().start().await;
    for version in ["0.2.0", "0.3.0"] {
        install(&world, &heygen(&world, version)).await;
    }
    // Nothing of 0.2.0 is in memory any more.
    world.start_again().await;
    runs(&world.client(), "0.3.0").await;
    for sql in [
        "UPDATE plugin_versions SET wasm = '\\x00', size = 1 WHERE version = '0.2.0'",
        "UPDATE plugin_versions SET state = 'kept' WHERE version = '0.3.0'",
        "UPDATE plugin_versions SET state = 'active' WHERE version = '0.2.0'",
        "UPDATE plugin_revision SET revision = revision + 1",
    ] {
        world.database().run(sql.to_owned()).await;
    }
    let client = world.client();
    let health = until("it says so", || async {
        let (health, _) = ready(&client).await;
        (health["status"] == "degraded").then_some(health)
    })
    .await;
    assert_eq!(health["degraded"], json!(["plugins"]));
    assert_eq!(health["plugins"]["problems"][0]["version"], "0.2.0");
    runs(&client, "0.3.0").await;
    let film = film_of(&world, &client).await;
    made_with(&client, &film, "0.3.0").await;
    change(&world, &["plugin", "use", "heygen@0.3.0"]).await;
    until("all is well", || async {
        (ready(&client).await.0["status"] == "ready").then_some(())
    })
    .await;
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_in_the_middle_an_installation_is_there_or_not() {
    let world = World::start().await;
    install(&world, &heygen(&world, "0.2.0")).await;
    let path = heygen(&world, "0.3.0").display().to_string();
    let mut done = false;
    for delay in (0..40).map(|step| Duration::from_millis(step * 15)) {
        let mut child = world
            .command_beside(&["admin", "plugin", "install", &path])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary runs");
        tokio::time::sleep(delay).await;
        child.kill().expect("it can be killed");
        child.wait().expect("it is gone");
        let all = listed(&world).await;
        done = all == ["heygen@0.2.0 kept", "heygen@0.3.0 active"];
        assert!(done || all == ["heygen@0.2.0 active"], "{all:?}");
        if done {
            break;
        }
    }
    if !done {
        install(&world, Path::new(&path)).await;
    }
    runs(&world.client(), "0.3.0").await;
    let film = film_of(&world, &world.client()).await;
    made_with(&world.client(), &film, "0.3.0").await;
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn help_says_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    for (arguments, words) in [
        (&["admin"][..], &["plugin", "provider"][..]),
        (&["admin", "plugin"], &["install", "use", "remove", "list"]),
        (&["admin", "plugin", "install"], &["FILE", "Example"]),
        (&["admin", "plugin", "remove"], &["open", "Example"]),
        (
            &["admin", "provider", "set"],
            &["--enabled", "--concurrency", "--settings", "Example"],
        ),
    ] {
        let output = command(folder.path())
            .args(arguments)
            .arg("--help")
            .output()
            .expect("the binary runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        for word in words {
            assert!(said.contains(word), "{word:?} is not in: {said}");
        }
    }
}
