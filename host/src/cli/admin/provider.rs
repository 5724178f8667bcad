//! `genvid admin provider`.

use std::{collections::BTreeSet, io::Read as _};

use anyhow::Context;
use clap::{Args, Subcommand};
use genvid_runtime::{Component, Manifest, Runtime};
use serde_json::{Map, Value, json};

use super::{Output, call_nodes, open};
use crate::{
    accounts::acts::OPERATOR,
    adapters::sql::Database,
    app,
    config::{self, Settings},
    providers::{Installed, Overrides, Secrets, secrets::SecretError},
};

#[derive(Args)]
pub(super) struct Provider {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List providers with each setting and where it comes from: the database, this node's
    /// settings, or the plugin's manifest.
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Set something for a provider on every node; what is not named stays as it is.
    #[command(
        after_help = "Examples:\n  genvid admin provider set heygen --concurrency 20\n  genvid admin provider set kling --enabled false     # nothing new; running tasks finish\n  genvid admin provider set heygen --settings @heygen.json"
    )]
    Set {
        /// The provider's id, which is its plugin's.
        id: String,
        /// May it make new attempts?
        #[arg(long, value_name = "true|false")]
        enabled: Option<bool>,
        /// Tasks at the vendor at a time, over all nodes.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
        concurrency: Option<u32>,
        /// After how many seconds an empty look-up proves that the vendor did not accept.
        #[arg(long, value_name = "N")]
        settle_after_seconds: Option<u32>,
        /// A JSON object for the plugin's settings schema, or @ and the name of a file with one. It
        /// takes the place of all such settings; never put secrets here.
        #[arg(long, value_name = "JSON|@FILE")]
        settings: Option<String>,
        #[command(flatten)]
        output: Output,
    },
    /// Set a credential for every node, from standard input, or forget it. It is sealed in the
    /// database, and no command shows it.
    #[command(
        after_help = "Examples:\n  genvid admin provider secret heygen HEYGEN_API_KEY < key.txt\n  genvid admin provider secret heygen HEYGEN_API_KEY --forget\n\nWithout a name, those that are set are listed."
    )]
    Secret {
        /// The provider's id.
        id: String,
        /// The name that the plugin gives it, such as HEYGEN_API_KEY.
        name: Option<String>,
        /// Nodes go by their own settings again.
        #[arg(long, requires = "name")]
        forget: bool,
        #[command(flatten)]
        output: Output,
    },
    /// Forget what was set: the provider is as each node's own settings say. Credentials stay.
    Reset {
        /// The provider's id.
        id: String,
        #[command(flatten)]
        output: Output,
    },
}

pub(super) async fn run(provider: Provider) -> anyhow::Result<()> {
    match provider.command {
        Command::List { output } => list(&output).await,
        Command::Set {
            id,
            enabled,
            concurrency,
            settle_after_seconds,
            settings,
            output,
        } => {
            let change = Overrides {
                enabled,
                concurrency,
                settle_after_seconds,
                settings: settings.as_deref().map(parse).transpose()?,
            };
            anyhow::ensure!(
                change != Overrides::default(),
                "name what to set: --enabled, --concurrency, --settle-after-seconds or --settings"
            );
            set(&id, change, &output).await
        }
        Command::Secret {
            id,
            name,
            forget,
            output,
        } => secret(&id, name.as_deref(), forget, &output).await,
        Command::Reset { id, output } => {
            let settings = output.settings()?;
            open(&settings).await?.reset_provider(&id).await?;
            call_nodes(&settings).await;
            output.show(&json!({"id": id, "reset": true}), || {
                format!("{id} is as the settings of each node say.")
            })
        }
    }
}

async fn set(id: &str, change: Overrides, output: &Output) -> anyhow::Result<()> {
    let settings = output.settings()?;
    let installer = open(&settings).await?;
    let known = Known::load(&settings, installer.database()).await?;
    let component = known.component(id).with_context(|| {
        format!(
            "{id} is no plugin that is installed or in this node's plugin folders; `genvid admin \
             provider list` shows those that are"
        )
    })?;
    if let Some(wanted) = &change.settings {
        component
            .check_settings(&Value::Object(wanted.clone()))
            .with_context(|| {
                format!(
                    "--settings is refused by {id}@{}",
                    component.manifest().version
                )
            })?;
    }
    let now = installer.set_provider(id, change).await?;
    call_nodes(&settings).await;
    output.show(&json!({"id": id, "set": shown(&now)}), || {
        format!("{id} on every node: {}.", words(&now))
    })
}

async fn secret(id: &str, name: Option<&str>, forget: bool, output: &Output) -> anyhow::Result<()> {
    let settings = output.settings()?;
    let installer = open(&settings).await?;
    let database = installer.database();
    let vault = app::vault(&settings, database).await?;
    let secrets = Secrets::new(database.clone(), vault);
    let Some(name) = name else {
        let all = secrets.list().await?;
        let own: Vec<_> = all.iter().filter(|one| one.provider == id).collect();
        let json = json!({"id": id, "secrets": own.iter().map(|one| json!({
            "name": one.name, "setAt": one.set_at.to_string(),
        })).collect::<Vec<_>>()});
        return output.show(&json, || match own.is_empty() {
            true => format!("No credentials of {id} are set for every node."),
            false => (own.iter())
                .map(|one| format!("{}  set {}", one.name, one.set_at))
                .collect::<Vec<_>>()
                .join("\n"),
        });
    };
    let by = OPERATOR.to_owned();
    if forget {
        secrets.forget(id, name, by).await?;
    } else {
        let mut value = String::new();
        // More is refused below.
        std::io::stdin()
            .take(64 * 1_024)
            .read_to_string(&mut value)?;
        let known = Known::load(&settings, database).await?;
        let component = known.component(id).with_context(|| {
            format!(
                "{id} is no plugin that is installed or in this node's plugin folders; `genvid \
                 admin provider list` shows those that are"
            )
        })?;
        secrets
            .set_for(id, component.manifest(), name, &value, by)
            .await
            .map_err(|error| match error {
                SecretError::Invalid(problems) => anyhow::Error::msg(
                    (problems.list().iter())
                        .map(|problem| format!("{} {}", problem.field, problem.message))
                        .collect::<Vec<_>>()
                        .join("; "),
                ),
                error => error.into(),
            })?;
    }
    call_nodes(&settings).await;
    output.show(
        &json!({"id": id, "name": name, "set": !forget}),
        || match forget {
            true => format!("{name} of {id} is as the settings of each node say."),
            false => format!("{name} of {id} is set on every node."),
        },
    )
}

async fn list(output: &Output) -> anyhow::Result<()> {
    let settings = output.settings()?;
    let installer = open(&settings).await?;
    let known = Known::load(&settings, installer.database()).await?;
    let rows: Vec<Value> = known
        .ids(&settings)
        .iter()
        .map(|id| row(&settings, &known, id))
        .collect();
    output.show(&json!({"providers": rows}), || {
        if rows.is_empty() {
            return "There are no providers; `genvid admin plugin install` installs some."
                .to_owned();
        }
        let mut lines = Vec::new();
        for row in &rows {
            let text = |value: &Value| match value {
                Value::String(text) => text.clone(),
                Value::Null => "none".to_owned(),
                other => other.to_string(),
            };
            lines.push(format!(
                "{} {} ({})",
                text(&row["id"]),
                text(&row["plugin"]["version"]),
                text(&row["plugin"]["origin"]),
            ));
            for name in ["enabled", "concurrency", "settleAfterSeconds", "settings"] {
                lines.push(format!(
                    "  {name:<20} {:<24} {}",
                    text(&row[name]["value"]),
                    text(&row[name]["origin"]),
                ));
            }
        }
        lines.join("\n")
    })
}

/// What there is: installed, and in the folders of the node that this runs on.
struct Known {
    installed: Installed,
    folder: Vec<Component>,
    active: Vec<Component>,
}

impl Known {
    async fn load(settings: &Settings, database: &Database) -> anyhow::Result<Self> {
        let runtime: Runtime = app::runtime(settings, None)?;
        let installed = database.installed_plugins().await?;
        let mut active = Vec::new();
        for version in &installed.versions {
            if installed.active(&version.id) != Some(version) {
                continue;
            }
            let Some(wasm) = database.plugin_component(&version.digest).await? else {
                continue;
            };
            match runtime.load(wasm).await {
                Ok(component) => active.push(component),
                Err(error) => tracing::error!(
                    provider = version.id, version = version.version, %error,
                    "an installed plugin cannot be used by this version of genvid"
                ),
            }
        }
        let folder = app::folder_plugins(settings, &runtime).await?;
        Ok(Self {
            installed,
            folder: folder.into_iter().map(|(_, component)| component).collect(),
            active,
        })
    }

    /// The one that makes new attempts.
    fn component(&self, id: &str) -> Option<&Component> {
        let all: &[Component] = match self.installed.active(id) {
            Some(_) => &self.active,
            None => &self.folder,
        };
        all.iter().find(|component| component.manifest().id == id)
    }

    fn ids(&self, settings: &Settings) -> BTreeSet<String> {
        let components = self.folder.iter().map(|there| there.manifest().id.clone());
        let versions = self.installed.versions.iter().map(|there| there.id.clone());
        components
            .chain(versions)
            .chain(self.installed.overrides.keys().cloned())
            .chain(settings.providers.keys().cloned())
            .collect()
    }
}

fn row(settings: &Settings, known: &Known, id: &str) -> Value {
    let manifest = known.component(id).map(Component::manifest);
    let active = known.installed.active(id);
    let overrides = known
        .installed
        .overrides
        .get(id)
        .cloned()
        .unwrap_or_default();
    let file = settings.providers.get(id);
    let limit = |manifest: &Manifest| manifest.limits.concurrency;
    let settle = |manifest: &Manifest| manifest.recovery.settle_after_seconds;
    json!({
        "id": id,
        "plugin": {
            "version": active.map(|version| version.version.clone())
                .or_else(|| manifest.map(|manifest| manifest.version.clone())),
            "origin": match (active, manifest) {
                (Some(_), _) => "database",
                (None, Some(_)) => "folder",
                (None, None) => "not installed",
            },
        },
        "enabled": origin(
            overrides.enabled,
            file.map(|file| file.enabled).filter(|enabled| !enabled),
            Some(true),
            "default",
        ),
        "concurrency": origin(
            overrides.concurrency,
            file.and_then(|file| file.concurrency),
            manifest.map(limit),
            "plugin",
        ),
        "settleAfterSeconds": origin(
            overrides.settle_after_seconds,
            file.and_then(|file| file.settle_after_seconds),
            manifest.and_then(settle),
            "plugin",
        ),
        "settings": origin(
            overrides.settings,
            file.map(|file: &config::Provider| file.settings.clone())
                .filter(|settings| !settings.is_empty()),
            Some(Map::new()),
            "default",
        ),
    })
}

/// A value and where it comes from.
fn origin<T: serde::Serialize>(
    database: Option<T>,
    file: Option<T>,
    otherwise: Option<T>,
    name: &str,
) -> Value {
    let (value, origin) = match (database, file) {
        (Some(value), _) => (Some(value), "database"),
        (None, Some(value)) => (Some(value), "settings"),
        (None, None) => (otherwise, name),
    };
    json!({"value": value, "origin": origin})
}

fn parse(text: &str) -> anyhow::Result<Map<String, Value>> {
    let read;
    let json = match text.strip_prefix('@') {
        Some(path) => {
            read = std::fs::read_to_string(path)
                .with_context(|| format!("--settings: cannot read {path}"))?;
            &read
        }
        None => text,
    };
    serde_json::from_str(json).with_context(|| {
        "--settings must be a JSON object such as {\"resolution\": \"720p\"}".to_owned()
    })
}

fn shown(overrides: &Overrides) -> Value {
    json!({
        "enabled": overrides.enabled,
        "concurrency": overrides.concurrency,
        "settleAfterSeconds": overrides.settle_after_seconds,
        "settings": overrides.settings,
    })
}

fn words(overrides: &Overrides) -> String {
    let mut words = Vec::new();
    if let Some(enabled) = overrides.enabled {
        words.push(format!("enabled {enabled}"));
    }
    if let Some(concurrency) = overrides.concurrency {
        words.push(format!("concurrency {concurrency}"));
    }
    if let Some(seconds) = overrides.settle_after_seconds {
        words.push(format!("settle after {seconds} s"));
    }
    if let Some(settings) = &overrides.settings {
        words.push(format!("settings {}", Value::Object(settings.clone())));
    }
    words.join(", ")
}
