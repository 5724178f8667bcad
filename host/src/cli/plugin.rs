//! Looking at plugins and trying them out.

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use anyhow::Context;
use clap::{Args, Subcommand};
use genvid_runtime::{Call, ContextArgs, NoAssets, Outcome, catalog::Kind};
use serde_json::{Value, json};

use super::{Common, start_log};
use crate::{
    app,
    config::Settings,
    providers::{Provider, Registry},
};

#[derive(Args)]
pub(super) struct Plugin {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List the plugins that this server would load.
    List {
        #[command(flatten)]
        common: Common,
        /// One JSON array instead of a table.
        #[arg(long)]
        json: bool,
    },
    /// Show what a plugin file is, can do and asks for.
    Inspect {
        /// The component.
        file: PathBuf,
    },
    /// Call one function of an installed plugin with this server's grant, and show what left
    /// and what came back. Calls that could cost money (submit) are not offered here.
    #[command(
        after_help = "Examples:\n  genvid plugin call heygen check\n  genvid plugin call elevenlabs voices\n  genvid plugin call kling poll 831240…"
    )]
    Call {
        /// The plugin's id.
        plugin: String,
        /// What to call.
        #[arg(value_parser = ["check", "avatars", "voices", "models", "poll"])]
        function: String,
        /// For poll: the vendor's task ids.
        tasks: Vec<String>,
        /// Reroute the vendors to simulators: a ready file.
        #[arg(long, value_name = "FILE")]
        simulators: Option<PathBuf>,
        #[command(flatten)]
        common: Common,
    },
}

pub(super) async fn run(plugin: Plugin) -> anyhow::Result<ExitCode> {
    match plugin.command {
        Command::List { common, json } => {
            let settings = common.settings(&[])?;
            start_log(&settings);
            let all = load(&settings).await?.snapshot();
            let all = &all.providers;
            if json {
                let rows: Vec<Value> = all.iter().map(|provider| row(provider)).collect();
                println!("{}", serde_json::to_string_pretty(&rows)?);
            } else {
                for provider in all {
                    let manifest = provider.manifest();
                    println!(
                        "{:<12} {:<8} {:<22} {}",
                        manifest.id,
                        manifest.version,
                        kinds(provider).join(", "),
                        provider.disabled.as_deref().unwrap_or("available"),
                    );
                }
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Inspect { file } => {
            let wasm =
                std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
            let runtime = genvid_runtime::Runtime::new(genvid_runtime::Options::default())?;
            let component = runtime.load(wasm).await?;
            let exports = component.exports();
            println!(
                "{}",
                serde_json::to_string_pretty(&json!({
                    "digest": component.digest(),
                    "bytes": component.size(),
                    "exports": {
                        "video": exports.video, "voice": exports.voice, "script": exports.script,
                        "tasks": exports.tasks, "catalog": exports.catalog,
                        "account": exports.account, "webhook": exports.webhook,
                    },
                    "manifest": component.manifest(),
                }))?
            );
            Ok(ExitCode::SUCCESS)
        }
        Command::Call {
            plugin,
            function,
            tasks,
            simulators,
            common,
        } => {
            let mut settings = common.settings(&[])?;
            start_log(&settings);
            if let Some(file) = simulators {
                let played = super::ready::Ready::read(&file)?.simulators;
                super::simulators::reroute(&mut settings, &played);
            }
            let provider = load(&settings)
                .await?
                .find(&plugin)
                .with_context(|| format!("{plugin} is not installed; see `genvid plugin list`"))?;
            call(&provider, &function, tasks).await
        }
    }
}

/// The plugins as a server with these settings would load them now.
async fn load(settings: &Settings) -> anyhow::Result<Registry> {
    let database = app::installed_plugins(settings)
        .await
        .unwrap_or_else(|error| {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the database cannot be read; only plugins of folders are looked at"
            );
            None
        });
    // Without the key, providers whose credentials are in the database are listed with the reason.
    let vault = match &database {
        Some(database) => app::vault(settings, database).await.ok(),
        None => None,
    };
    let loaded = app::load_plugins(settings, database.as_ref(), vault, None).await?;
    let (_, registry, _) = loaded;
    Ok(registry)
}

async fn call(provider: &Provider, function: &str, tasks: Vec<String>) -> anyhow::Result<ExitCode> {
    let call = Call {
        assets: Arc::new(NoAssets),
        text: None,
        permission: None,
        label: format!("command line {function}"),
    };
    let plugin = &provider.plugin;
    let answer = match function {
        "check" => shown(plugin.check(call).await),
        "poll" => {
            anyhow::ensure!(!tasks.is_empty(), "poll needs at least one task id");
            let context = ContextArgs {
                client_ref: "command-line".to_owned(),
                callback_url: None,
            };
            let tasks = tasks
                .into_iter()
                .map(|task| (task, context.clone()))
                .collect();
            let outcome = plugin.poll(call, tasks).await;
            let outcome = Outcome {
                result: outcome.result.map(|answers| {
                    answers
                        .into_iter()
                        .map(|answer| match answer {
                            Ok(status) => json!({ "ok": status }),
                            Err(error) => json!({ "error": error }),
                        })
                        .collect::<Vec<_>>()
                }),
                trace: outcome.trace,
            };
            shown(outcome)
        }
        kind => {
            let kind = match kind {
                "avatars" => Kind::Avatar,
                "voices" => Kind::Voice,
                _ => Kind::Model,
            };
            shown(plugin.list(call, kind, None).await)
        }
    };
    let good = answer.get("ok").is_some();
    println!("{}", serde_json::to_string_pretty(&answer)?);
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn shown<T: serde::Serialize>(outcome: Outcome<T>) -> Value {
    let trace = json!({
        "requests": outcome.trace.requests,
        "sent": outcome.trace.sent,
        "unanswered": outcome.trace.unanswered,
        "lastStatus": outcome.trace.last_status,
        "elapsedMs": outcome.trace.elapsed.as_secs_f64() * 1_000.0,
        "instantiateMs": outcome.trace.instantiate.as_secs_f64() * 1_000.0,
    });
    match outcome.result {
        Ok(value) => json!({ "ok": value, "trace": trace }),
        Err(genvid_runtime::Failure::Plugin(error)) => json!({ "error": error, "trace": trace }),
        Err(error) => json!({ "sandbox": error.to_string(), "trace": trace }),
    }
}

fn kinds(provider: &Provider) -> Vec<&'static str> {
    use crate::providers::Kind;
    [
        (Kind::Script, "script"),
        (Kind::Voice, "voice"),
        (Kind::Video, "video"),
    ]
    .into_iter()
    .filter(|(kind, _)| provider.serves(*kind))
    .map(|(_, word)| word)
    .collect()
}

fn row(provider: &Provider) -> Value {
    let manifest = provider.manifest();
    json!({
        "id": manifest.id,
        "version": manifest.version,
        "digest": provider.plugin.digest(),
        "origin": provider.origin.as_str(),
        "kinds": kinds(provider),
        "available": provider.disabled.is_none(),
        "reason": provider.disabled,
    })
}
