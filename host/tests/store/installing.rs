//! Installed plugins and the providers' settings.

use genvid::{
    adapters::sql::{InUse, InstallError, Installer},
    jobs::model::{Attempt, AttemptStatus},
    providers::{NewVersion, Overrides, Refused, VersionState},
    time,
};
use serde_json::json;

use crate::bench::{Bench, attempt, change, options, with_attempt};

fn version(id: &str, version: &str, content: u8) -> NewVersion {
    NewVersion {
        id: id.to_owned(),
        version: version.to_owned(),
        digest: format!("{content:064x}"),
        wasm: vec![content; 100_000],
    }
}

/// Versions as `id@version state`.
async fn listed(bench: &Bench) -> Vec<String> {
    let installed = bench.database.installed_plugins().await.expect("read");
    let mut names: Vec<String> = installed
        .versions
        .iter()
        .map(|there| format!("{}@{} {}", there.id, there.version, there.state.as_str()))
        .collect();
    names.sort();
    names
}

async fn revision(bench: &Bench) -> i64 {
    bench.database.plugin_revision().await.expect("read")
}

fn refused<T>(outcome: Result<T, InstallError>) -> Refused {
    match outcome {
        Err(InstallError::Refused(refused)) => refused,
        Err(other) => panic!("it failed otherwise: {other:?}"),
        Ok(_) => panic!("it is not refused"),
    }
}

pub(crate) async fn versions_are_kept_and_one_is_active(bench: Bench) {
    let installer = bench.installer().await;
    assert_eq!(revision(&bench).await, 0);
    let first = vec![version("heygen", "0.1.0", 1), version("kling", "0.1.0", 9)];
    let done = installer.install(first).await.expect("installed");
    assert_eq!(done.len(), 2);
    assert_eq!(done[0].version.state, VersionState::Active);
    assert_eq!(done[0].replaced, None);
    assert_eq!(revision(&bench).await, 1, "one transaction, one revision");
    let second = vec![version("heygen", "0.2.0", 2)];
    let done = installer.install(second.clone()).await.expect("installed");
    assert_eq!(done[0].replaced.as_deref(), Some("0.1.0"));
    assert_eq!(
        listed(&bench).await,
        [
            "heygen@0.1.0 kept",
            "heygen@0.2.0 active",
            "kling@0.1.0 active"
        ]
    );
    let back = installer.activate("heygen", "0.1.0").await.expect("back");
    let acts = bench.database.list_acts(None, 10).await.expect("read");
    let acts: Vec<_> = (acts.items.iter())
        .map(|act| format!("{} {} {}", act.actor, act.kind.as_str(), act.subject))
        .collect();
    assert_eq!(
        acts,
        [
            "operator USE_PLUGIN heygen",
            "operator INSTALL_PLUGIN heygen",
            "operator INSTALL_PLUGIN kling",
            "operator INSTALL_PLUGIN heygen",
        ]
    );
    assert_eq!(back.replaced.as_deref(), Some("0.2.0"));
    assert_eq!(revision(&bench).await, 3);
    // Once more is the same as using it again.
    installer.install(second.clone()).await.expect("installed");
    assert_eq!(
        listed(&bench).await,
        [
            "heygen@0.1.0 kept",
            "heygen@0.2.0 active",
            "kling@0.1.0 active"
        ]
    );
    let bytes = bench.database.plugin_component(&second[0].digest).await;
    assert_eq!(
        bytes.expect("read").as_deref(),
        Some(second[0].wasm.as_slice())
    );
    assert_eq!(
        bench.database.plugin_component("00").await.expect("read"),
        None
    );
    let unknown = refused(installer.activate("heygen", "9.9.9").await);
    assert!(unknown.to_string().contains("heygen@9.9.9"), "{unknown}");
    assert_eq!(revision(&bench).await, 4, "a refusal is no change");
}

pub(crate) async fn a_version_number_stands_for_the_same_bytes(bench: Bench) {
    let installer = bench.installer().await;
    installer
        .install(vec![version("heygen", "0.1.0", 1)])
        .await
        .expect("installed");
    let other = vec![version("kling", "0.1.0", 3), version("heygen", "0.1.0", 2)];
    let taken = refused(installer.install(other).await);
    assert!(matches!(taken, Refused::VersionTaken { .. }), "{taken}");
    assert_eq!(listed(&bench).await, ["heygen@0.1.0 active"], "all or none");
    assert_eq!(revision(&bench).await, 1);
    // What is larger than a plugin may be is refused by the table itself.
    let large = NewVersion {
        wasm: vec![0; (32 << 20) + 1],
        ..version("heygen", "0.3.0", 3)
    };
    installer.install(vec![large]).await.expect_err("refused");
    assert_eq!(listed(&bench).await, ["heygen@0.1.0 active"]);
}

pub(crate) async fn a_version_with_open_attempts_stays(bench: Bench) {
    let installer = bench.installer().await;
    let new = version("elevenlabs", "0.1.0", 7);
    let digest = new.digest.clone();
    installer.install(vec![new]).await.expect("installed");
    let (_, claimed) = bench.accept_and_claim(bench.ann).await;
    let open = Attempt {
        plugin_digest: digest.clone(),
        ..attempt(&claimed.step, 1)
    };
    bench
        .done(with_attempt(change(&claimed), open.clone()))
        .await;
    let needed = bench.database.plugins_in_use().await.expect("read");
    assert_eq!(
        needed,
        [InUse {
            provider: "elevenlabs".to_owned(),
            digest: digest.clone(),
            attempts: 1
        }]
    );
    let all = refused(installer.remove("elevenlabs", None).await);
    assert!(matches!(all, Refused::InUse { attempts: 1, .. }), "{all}");
    assert_eq!(listed(&bench).await, ["elevenlabs@0.1.0 active"]);
    let settled = Attempt {
        status: AttemptStatus::Succeeded,
        finished_at: Some(time::now()),
        ..open
    };
    bench.done(with_attempt(change(&claimed), settled)).await;
    let removed = installer.remove("elevenlabs", Some("0.1.0")).await;
    assert_eq!(removed.expect("removed")[0].digest, digest);
    assert!(listed(&bench).await.is_empty());
    let gone = refused(installer.remove("elevenlabs", None).await);
    assert!(matches!(gone, Refused::UnknownPlugin { .. }), "{gone}");
    assert_eq!(revision(&bench).await, 2);
}

pub(crate) async fn settings_are_laid_over_each_other_and_forgotten(bench: Bench) {
    let installer = bench.installer().await;
    let some = Overrides {
        concurrency: Some(7),
        settings: json!({"resolution": "720p"}).as_object().cloned(),
        ..Overrides::default()
    };
    let now = installer.set_provider("heygen", some.clone()).await;
    assert_eq!(now.expect("set"), some);
    let more = Overrides {
        enabled: Some(false),
        settle_after_seconds: Some(0),
        ..Overrides::default()
    };
    let both = Overrides {
        enabled: Some(false),
        settle_after_seconds: Some(0),
        ..some
    };
    let now = installer.set_provider("heygen", more).await;
    assert_eq!(now.expect("set"), both);
    let installed = bench.database.installed_plugins().await.expect("read");
    assert_eq!(installed.overrides.get("heygen"), Some(&both));
    assert_eq!(installed.revision, 2);
    installer.reset_provider("heygen").await.expect("reset");
    let installed = bench.database.installed_plugins().await.expect("read");
    assert!(installed.overrides.is_empty());
    assert_eq!(installed.revision, 3);
    let nothing = refused(installer.reset_provider("heygen").await);
    assert!(nothing.to_string().contains("heygen"), "{nothing}");
}

pub(crate) async fn who_installs_at_once_leaves_one_active(bench: Bench) {
    let installs = (1..=8).map(|number: u8| {
        let bench = &bench;
        async move {
            let installer = bench.installer().await;
            installer
                .install(vec![version("heygen", &format!("0.{number}.0"), number)])
                .await
                .expect("installed");
        }
    });
    futures::future::join_all(installs).await;
    let installed = bench.database.installed_plugins().await.expect("read");
    assert_eq!(installed.versions.len(), 8);
    let active = (installed.versions.iter()).filter(|there| there.state == VersionState::Active);
    assert_eq!(active.count(), 1);
    assert_eq!(installed.revision, 8);
}

/// On a server, only the owner of the tables.
#[tokio::test]
async fn whoever_is_not_the_owner_is_told_so() {
    let bench = Bench::postgres().await;
    let (_, place) = bench.server();
    let somebody = genvid::adapters::sql::PostgresOptions {
        owner_url: place.url.as_str().into(),
        ..options(place)
    };
    let installer = Installer::connect(&somebody).await.expect("it connects");
    let outcome = installer.install(vec![version("heygen", "0.1.0", 1)]).await;
    let error = outcome.expect_err("refused");
    assert!(matches!(error, InstallError::NotOwner), "{error:?}");
    assert!(error.to_string().contains("owner_url"), "{error}");
    assert!(listed(&bench).await.is_empty());
}
