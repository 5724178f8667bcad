//! `genvid admin plugin`.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Subcommand};
use genvid_runtime::Component;
use serde_json::{Value, json};

use super::{Output, call_nodes, open};
use crate::{
    app,
    config::Settings,
    providers::{Activated, Installed, NewVersion, Version},
};

#[derive(Args)]
pub(super) struct Plugin {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install plugin files and make each the active version of its plugin: all, or none.
    ///
    /// Each file is checked as a server does when it loads it: manifest, contract version,
    /// exports, and the provider's present settings against the plugin's schema. A version number
    /// stands for the same bytes for ever.
    #[command(after_help = "Example:\n  genvid admin plugin install heygen.wasm kling.wasm")]
    Install {
        /// Components, as `cargo xtask plugins` or a partner's build makes them.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        #[command(flatten)]
        output: Output,
    },
    /// List installed versions, newest first.
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Make an installed version the active one; also the way back.
    #[command(after_help = "Example:\n  genvid admin plugin use heygen@0.1.0")]
    Use {
        /// The plugin's id and the version.
        #[arg(value_name = "ID@VERSION")]
        version: String,
        #[command(flatten)]
        output: Output,
    },
    /// Remove a version, or all versions of a plugin. Refused while attempts are open that it
    /// submitted.
    #[command(
        after_help = "Without an active version the plugin of a node's folder is used, if there is one.\n\nExamples:\n  genvid admin plugin remove heygen@0.1.0\n  genvid admin plugin remove heygen"
    )]
    Remove {
        /// The plugin's id, with or without a version.
        #[arg(value_name = "ID[@VERSION]")]
        plugin: String,
        #[command(flatten)]
        output: Output,
    },
}

pub(super) async fn run(plugin: Plugin) -> anyhow::Result<()> {
    match plugin.command {
        Command::Install { files, output } => install(&files, &output).await,
        Command::List { output } => list(&output).await,
        Command::Use { version, output } => {
            let (id, version) = parse(&version);
            let version = version.context("name the version too: ID@VERSION")?;
            activate(id, version, &output).await
        }
        Command::Remove { plugin, output } => {
            let (id, version) = parse(&plugin);
            let settings = output.settings()?;
            let removed = open(&settings).await?.remove(id, version).await?;
            call_nodes(&settings).await;
            let rows: Vec<Value> = removed.iter().map(row).collect();
            output.show(&json!({"removed": rows}), || {
                let names: Vec<String> = removed.iter().map(name).collect();
                format!("Removed {}.", names.join(", "))
            })
        }
    }
}

async fn install(files: &[PathBuf], output: &Output) -> anyhow::Result<()> {
    let settings = output.settings()?;
    let runtime = app::runtime(&settings, None)?;
    let mut components: Vec<(Component, NewVersion)> = Vec::new();
    for path in files {
        let wasm =
            std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let component = runtime
            .load(wasm.clone())
            .await
            .with_context(|| format!("{} is not installed", path.display()))?;
        let manifest = component.manifest();
        anyhow::ensure!(
            !components.iter().any(|(_, other)| other.id == manifest.id),
            "{}: {} stands for the same plugin as another file; install one version of a plugin at a time",
            path.display(),
            manifest.id,
        );
        let new = NewVersion {
            id: manifest.id.clone(),
            version: manifest.version.clone(),
            digest: component.digest().to_owned(),
            wasm,
        };
        components.push((component, new));
    }
    let installer = open(&settings).await?;
    let installed = installer.database().installed_plugins().await?;
    for (component, new) in &components {
        check_settings(&settings, &installed, component, &new.version)?;
    }
    let new = components.into_iter().map(|(_, new)| new).collect();
    let done = installer.install(new).await?;
    call_nodes(&settings).await;
    show_activated(output, &done, "Installed")
}

async fn activate(id: &str, version: &str, output: &Output) -> anyhow::Result<()> {
    let settings = output.settings()?;
    let installer = open(&settings).await?;
    let installed = installer.database().installed_plugins().await?;
    let stored = installed
        .versions
        .iter()
        .find(|there| there.id == id && there.version == version);
    // One that is not there is refused below.
    if let Some(stored) = stored
        && let Some(wasm) = installer
            .database()
            .plugin_component(&stored.digest)
            .await?
    {
        let component = app::runtime(&settings, None)?
            .load(wasm)
            .await
            .with_context(|| {
                format!("{} cannot be used by this version of genvid", name(stored))
            })?;
        check_settings(&settings, &installed, &component, version)?;
    }
    let done = installer.activate(id, version).await?;
    call_nodes(&settings).await;
    show_activated(output, &[done], "Now active:")
}

/// A version that does not take the provider's settings would not run anywhere.
fn check_settings(
    settings: &Settings,
    installed: &Installed,
    component: &Component,
    version: &str,
) -> anyhow::Result<()> {
    let id = &component.manifest().id;
    let Some(wanted) = installed
        .overrides
        .get(id)
        .and_then(|overrides| overrides.settings.clone())
        .or_else(|| Some(settings.providers.get(id)?.settings.clone()))
    else {
        return Ok(());
    };
    component
        .check_settings(&Value::Object(wanted))
        .with_context(|| {
            format!(
                "{id}@{version} does not take the provider's present settings; change them first \
                 with `genvid admin provider set {id} --settings …` or `genvid admin provider reset {id}`"
            )
        })
}

async fn list(output: &Output) -> anyhow::Result<()> {
    let settings = output.settings()?;
    let installer = open(&settings).await?;
    let installed = installer.database().installed_plugins().await?;
    let needed = installer.database().plugins_in_use().await?;
    let open = |version: &Version| -> u64 {
        needed
            .iter()
            .filter(|needed| needed.digest == version.digest)
            .map(|needed| needed.attempts)
            .sum()
    };
    let rows: Vec<Value> = installed
        .versions
        .iter()
        .map(|version| {
            let mut row = row(version);
            row["openAttempts"] = json!(open(version));
            row
        })
        .collect();
    output.show(
        &json!({"revision": installed.revision, "plugins": rows}),
        || {
            if installed.versions.is_empty() {
                return "No plugin is installed in the database; nodes use those of their folders."
                    .to_owned();
            }
            let mut lines = vec![format!(
                "{:<16} {:<12} {:<8} {:>10}  {:<24} {:<14} {}",
                "PLUGIN", "VERSION", "STATE", "BYTES", "INSTALLED", "DIGEST", "OPEN ATTEMPTS"
            )];
            lines.extend(installed.versions.iter().map(|version| {
                format!(
                    "{:<16} {:<12} {:<8} {:>10}  {:<24} {:<14} {}",
                    version.id,
                    version.version,
                    version.state.as_str(),
                    version.size,
                    version.installed_at,
                    &version.digest[..12],
                    open(version),
                )
            }));
            lines.join("\n")
        },
    )
}

fn show_activated(output: &Output, done: &[Activated], what: &str) -> anyhow::Result<()> {
    let rows: Vec<Value> = done
        .iter()
        .map(|done| {
            let mut row = row(&done.version);
            row["replaced"] = json!(done.replaced);
            row
        })
        .collect();
    output.show(&json!({"plugins": rows}), || {
        let lines: Vec<String> = done
            .iter()
            .map(|done| {
                let before = done.replaced.as_ref().map_or_else(String::new, |replaced| {
                    format!(
                        "; {replaced} is kept: `genvid admin plugin use {}@{replaced}` goes back",
                        done.version.id
                    )
                });
                format!("{what} {}{before}.", name(&done.version))
            })
            .collect();
        lines.join("\n")
    })
}

fn parse(text: &str) -> (&str, Option<&str>) {
    match text.split_once('@') {
        Some((id, version)) => (id, Some(version)),
        None => (text, None),
    }
}

fn name(version: &Version) -> String {
    format!("{}@{}", version.id, version.version)
}

fn row(version: &Version) -> Value {
    json!({
        "id": version.id,
        "version": version.version,
        "digest": version.digest,
        "bytes": version.size,
        "state": version.state.as_str(),
        "installedAt": version.installed_at.to_string(),
    })
}
