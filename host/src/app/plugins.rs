//! Which plugins this node runs: those that are installed in the database, for every node,
//! then those of this node's folders. What is installed may change at any time: a task looks,
//! loads what is new beside what runs, and swaps all at once.

use std::{
    collections::{HashMap, HashSet},
    panic::AssertUnwindSafe,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use futures::FutureExt;
use genvid_runtime::{Component, Grant, Pace, Plugin, Runtime, manifest::Credential};
use tokio::sync::{Notify, watch};
use url::Url;

use crate::{
    adapters::sql::{self, Database},
    config::{self, Settings},
    providers::{
        Installed, Origin, Overrides, Problem, Provider, Registry, SealedSecret, Snapshot, Version,
        secrets,
    },
    vault::Vault,
};

/// How often somebody looks whether anything has changed, when nobody tells.
const LOOK: Duration = Duration::from_secs(2);
/// How long nothing is looked for again after a look.
const PAUSE: Duration = Duration::from_millis(200);
/// How often what could not be loaded is tried again, and what nobody needs is let go.
const AGAIN: Duration = Duration::from_secs(60);
/// How long a version stays after another one took its place, whoever needs it: somebody may
/// be about to submit with it.
const RETIREMENT: Duration = Duration::from_secs(600);

const NO_PLUGINS: &str = "no plugins: install them with `genvid admin plugin install`, name their \
    folder with plugins.dirs or --plugins, or build them with `cargo xtask plugins`";

/// The sandbox of this process. With `pace` it shares the vendors' requests per second with
/// other nodes.
///
/// # Errors
/// When the engine does not start.
pub fn runtime(settings: &Settings, pace: Option<Arc<dyn Pace>>) -> anyhow::Result<Runtime> {
    Ok(Runtime::new(genvid_runtime::Options {
        cache_dir: Some(if settings.plugins.cache_dir.as_os_str().is_empty() {
            settings.data.dir.join("plugin-cache")
        } else {
            settings.plugins.cache_dir.clone()
        }),
        max_instances: settings.plugins.max_instances,
        max_saved_bytes: settings.media.max_mib << 20,
        pace,
        ..genvid_runtime::Options::default()
    })?)
}

/// Loads the plugins of this node's folders, the first of each id. One that cannot be used is
/// left out and the log says why: one broken file must not stop the others.
///
/// # Errors
/// When a folder cannot be read.
pub async fn folder_plugins(
    settings: &Settings,
    runtime: &Runtime,
) -> anyhow::Result<Vec<(PathBuf, Component)>> {
    let mut loaded: Vec<(PathBuf, Component)> = Vec::new();
    for path in plugin_files(settings)? {
        let wasm = tokio::fs::read(&path)
            .await
            .with_context(|| format!("cannot read {}", path.display()))?;
        let component = match runtime.load(wasm).await {
            Ok(component) => component,
            Err(error) => {
                tracing::error!(path = %path.display(), %error, "a plugin is left out");
                continue;
            }
        };
        let id = &component.manifest().id;
        if loaded.iter().any(|(_, there)| there.manifest().id == *id) {
            tracing::error!(
                provider = id,
                path = %path.display(),
                "installed twice; the first file is used"
            );
            continue;
        }
        loaded.push((path, component));
    }
    Ok(loaded)
}

/// Loads every plugin: those that are installed in `database`, if there is one, and those of
/// the plugin folders. The registry stays as it is unless somebody runs the keeper.
///
/// # Errors
/// When a folder cannot be read, the engine does not start, or the database fails; without a
/// database also when there is no plugin at all.
pub async fn load_plugins(
    settings: &Settings,
    database: Option<&Database>,
    vault: Option<Vault>,
    pace: Option<Arc<dyn Pace>>,
) -> anyhow::Result<(Runtime, Registry, Keeper)> {
    let runtime = runtime(settings, pace)?;
    let folder = folder_plugins(settings, &runtime).await?;
    let mut keeper = Keeper {
        settings: settings.clone(),
        runtime: runtime.clone(),
        database: database.cloned(),
        vault,
        registry: Registry::default(),
        folder: folder.into_iter().map(|(_, component)| component).collect(),
        loaded: HashMap::new(),
        failures: HashMap::new(),
        granted: HashMap::new(),
        grants: 0,
        retired: HashMap::new(),
        looked: Instant::now(),
    };
    keeper.refresh().await?;
    let registry = keeper.registry.clone();
    let nothing = registry.snapshot().providers.is_empty() && folders(settings).is_empty();
    match database {
        // They may be installed while it runs.
        Some(_) if nothing => tracing::warn!("{NO_PLUGINS}"),
        None if nothing => anyhow::bail!(NO_PLUGINS),
        Some(_) | None => {}
    }
    Ok((runtime, registry, keeper))
}

/// What an operator wants of a provider: the database's word goes before the node's settings.
#[must_use]
pub fn wanted(settings: &Settings, id: &str, overrides: Option<&Overrides>) -> config::Provider {
    let mut wanted = settings.providers.get(id).cloned().unwrap_or_default();
    if let Some(overrides) = overrides {
        wanted.enabled = overrides.enabled.unwrap_or(wanted.enabled);
        wanted.concurrency = overrides.concurrency.or(wanted.concurrency);
        wanted.settle_after_seconds = overrides
            .settle_after_seconds
            .or(wanted.settle_after_seconds);
        if let Some(settings) = &overrides.settings {
            wanted.settings.clone_from(settings);
        }
    }
    wanted
}

fn secrets_of(installed: &Installed, id: &str) -> Vec<SealedSecret> {
    let all = installed.secrets.iter();
    all.filter(|one| one.provider == id).cloned().collect()
}

/// Keeps a registry as the database says.
pub struct Keeper {
    settings: Settings,
    runtime: Runtime,
    /// Without one nothing ever changes.
    database: Option<Database>,
    /// Opens credentials that are in the database.
    vault: Option<Vault>,
    registry: Registry,
    folder: Vec<Component>,
    /// Components of the database, by digest.
    loaded: HashMap<String, Component>,
    /// By digest: why a component could not be loaded.
    failures: HashMap<String, String>,
    /// By digest: what the providers are made of.
    granted: HashMap<String, Granted>,
    grants: u64,
    /// By digest: since when another version is in its place.
    retired: HashMap<String, Instant>,
    looked: Instant,
}

/// A component with the operator's grant.
#[derive(Clone)]
struct Granted {
    plugin: Plugin,
    settings: serde_json::Map<String, serde_json::Value>,
    /// Of the database.
    secrets: Vec<SealedSecret>,
    /// Which secrets are missing, in words.
    missing: Option<String>,
    number: u64,
}

/// A version that is to make new attempts.
struct Wanted {
    id: String,
    version: String,
    digest: String,
    origin: Origin,
}

impl Keeper {
    /// Looks until `stop` turns true: now and then, at once when `told`, and when an attempt
    /// needs a version that is not here.
    pub(super) async fn run(mut self, told: Arc<Notify>, mut stop: watch::Receiver<bool>) {
        if self.database.is_none() {
            return;
        }
        let registry = self.registry.clone();
        loop {
            tokio::select! {
                () = told.notified() => {}
                () = registry.wished() => {}
                () = tokio::time::sleep(LOOK) => {}
                // An error means that the app is gone, which is a stop too.
                _ = stop.wait_for(|stop| *stop) => return,
            }
            // A fault of this program over one plugin must not end the looking for all others.
            match AssertUnwindSafe(self.look()).catch_unwind().await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "it is unknown whether installed plugins changed; what runs goes on"
                ),
                Err(_) => {
                    tracing::error!("looking at installed plugins broke down; what runs goes on");
                    tokio::time::sleep(AGAIN).await;
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Refreshes the registry if there is a reason to.
    async fn look(&mut self) -> Result<(), sql::Error> {
        let Some(database) = &self.database else {
            return Ok(());
        };
        let known = self.registry.snapshot();
        let wishes = self.registry.take_wishes();
        let news = wishes.iter().any(|digest| {
            !known.kept.contains_key(digest)
                && !known.gone.contains(digest)
                && !self.failures.contains_key(digest)
        });
        let changed = database.plugin_revision().await? != known.revision;
        let unsettled = !known.problems.is_empty() || !known.kept.is_empty();
        let again = unsettled && self.looked.elapsed() >= AGAIN;
        if changed || again {
            self.failures.clear();
        }
        if changed || again || news {
            self.wish(wishes);
            self.refresh().await?;
        }
        Ok(())
    }

    /// Has these versions looked for as if they had just been in use.
    fn wish(&mut self, digests: HashSet<String>) {
        for digest in digests {
            self.retired.insert(digest, Instant::now());
        }
    }

    /// Makes a new snapshot of what the database and the folders say, and puts it in place.
    /// What cannot be done leaves what there was.
    async fn refresh(&mut self) -> Result<(), sql::Error> {
        let (installed, in_use) = match &self.database {
            Some(database) => (
                database.installed_plugins().await?,
                database.plugins_in_use().await?,
            ),
            None => (Installed::default(), Vec::new()),
        };
        self.looked = Instant::now();
        let before = self.registry.snapshot();
        let mut problems = Vec::new();
        let mut providers = Vec::new();
        for wanted in self.wanted(&installed) {
            let overrides = installed.overrides.get(&wanted.id);
            let secrets = secrets_of(&installed, &wanted.id);
            match self.provider(&wanted, overrides, secrets).await? {
                Ok(provider) => providers.push(provider),
                Err(reason) => {
                    let old = before.find(&wanted.id).cloned();
                    tracing::error!(
                        provider = wanted.id,
                        version = wanted.version,
                        reason,
                        goes_on = old.as_ref().map(|old| old.manifest().version.as_str()),
                        "a plugin cannot be used as it is wanted"
                    );
                    providers.extend(old);
                    problems.push(Problem {
                        provider: wanted.id,
                        version: wanted.version,
                        reason,
                    });
                }
            }
        }
        self.sort(&mut providers);

        let current: HashSet<&str> = providers.iter().map(|p| p.plugin.digest()).collect();
        for old in &before.providers {
            let digest = old.plugin.digest();
            if !current.contains(digest) {
                self.retired.insert(digest.to_owned(), Instant::now());
            }
        }
        self.retired.retain(|_, since| since.elapsed() < RETIREMENT);
        let needed: HashSet<String> = in_use
            .into_iter()
            .map(|needed| needed.digest)
            .chain(self.retired.keys().cloned())
            .filter(|digest| !current.contains(digest.as_str()))
            .collect();
        let (mut kept, mut gone) = (HashMap::new(), HashSet::new());
        for digest in needed {
            match self.keep(&digest, &installed, &before).await? {
                Some(Ok(provider)) => {
                    kept.insert(digest, provider);
                }
                Some(Err(problem)) => problems.push(problem),
                None => {
                    gone.insert(digest);
                }
            }
        }

        let here = |digest: &String| current.contains(digest.as_str()) || kept.contains_key(digest);
        self.granted.retain(|digest, _| here(digest));
        self.loaded.retain(|digest, _| here(digest));
        tell(&before, &providers);
        self.registry.replace(Snapshot {
            providers,
            kept,
            gone,
            revision: installed.revision,
            problems,
            kept_up: self.database.is_some(),
        });
        Ok(())
    }

    /// One version of each plugin: the active one of the database, or else the folder's.
    fn wanted(&self, installed: &Installed) -> Vec<Wanted> {
        let mut wanted: Vec<Wanted> = Vec::new();
        for version in &installed.versions {
            if installed.active(&version.id) == Some(version) {
                wanted.push(Wanted {
                    id: version.id.clone(),
                    version: version.version.clone(),
                    digest: version.digest.clone(),
                    origin: Origin::Database,
                });
            }
        }
        for component in &self.folder {
            let manifest = component.manifest();
            if installed.active(&manifest.id).is_none() {
                wanted.push(Wanted {
                    id: manifest.id.clone(),
                    version: manifest.version.clone(),
                    digest: component.digest().to_owned(),
                    origin: Origin::Folder,
                });
            }
        }
        wanted
    }

    /// A provider as it is wanted, or why it cannot be had.
    async fn provider(
        &mut self,
        wanted: &Wanted,
        overrides: Option<&Overrides>,
        secrets: Vec<SealedSecret>,
    ) -> Result<Result<Arc<Provider>, String>, sql::Error> {
        let settings = self::wanted(&self.settings, &wanted.id, overrides);
        let granted = match self.granted.get(&wanted.digest) {
            // The same plugin goes on, with all that it counts.
            Some(granted)
                if granted.settings == settings.settings && granted.secrets == secrets =>
            {
                granted.clone()
            }
            _ => {
                let component = match self.component(&wanted.digest, &wanted.id).await? {
                    Ok(component) => component,
                    Err(reason) => return Ok(Err(reason)),
                };
                match self.grant(&component, &settings, secrets) {
                    Ok(granted) => granted,
                    Err(error) => return Ok(Err(format!("{error:#}"))),
                }
            }
        };
        self.granted.insert(wanted.digest.clone(), granted.clone());
        Ok(Ok(assemble(granted, &settings, wanted.origin)))
    }

    /// A version that attempts need, or what is wrong with it; nothing when nobody has it.
    async fn keep(
        &mut self,
        digest: &str,
        installed: &Installed,
        before: &Snapshot,
    ) -> Result<Option<Result<Arc<Provider>, Problem>>, sql::Error> {
        let old = before
            .providers
            .iter()
            .find(|old| old.plugin.digest() == digest);
        if let Some(provider) = old.or_else(|| before.kept.get(digest)) {
            return Ok(Some(Ok(Arc::clone(provider))));
        }
        let stored = installed
            .versions
            .iter()
            .find(|version| version.digest == digest);
        let Some((id, version, origin)) = stored
            .map(|Version { id, version, .. }| (id.clone(), version.clone(), Origin::Database))
            .or_else(|| {
                let component = self.in_folder(digest)?;
                let manifest = component.manifest();
                Some((
                    manifest.id.clone(),
                    manifest.version.clone(),
                    Origin::Folder,
                ))
            })
        else {
            return Ok(None);
        };
        let problem = |reason| Problem {
            provider: id.clone(),
            version: version.clone(),
            reason,
        };
        let component = match self.component(digest, &id).await? {
            Ok(component) => component,
            Err(reason) => {
                tracing::error!(
                    provider = id,
                    version,
                    reason,
                    "attempts wait for a plugin that cannot be loaded"
                );
                return Ok(Some(Err(problem(reason))));
            }
        };
        // Present settings may be made for another version: without any, what it began can
        // still be finished.
        let mut settings = wanted(&self.settings, &id, installed.overrides.get(&id));
        let secrets = secrets_of(installed, &id);
        let granted = (self.grant(&component, &settings, secrets.clone())).or_else(|error| {
            tracing::warn!(
                provider = id,
                version,
                error = format!("{error:#}"),
                "a version that attempts need goes on without settings"
            );
            settings.settings.clear();
            self.grant(&component, &settings, secrets)
        });
        Ok(Some(match granted {
            Ok(granted) => {
                self.granted.insert(digest.to_owned(), granted.clone());
                Ok(assemble(granted, &settings, origin))
            }
            Err(error) => Err(problem(format!("{error:#}"))),
        }))
    }

    /// A component of the folders or the database, compiled off the async threads.
    async fn component(
        &mut self,
        digest: &str,
        id: &str,
    ) -> Result<Result<Component, String>, sql::Error> {
        if let Some(component) = self.in_folder(digest).or_else(|| self.loaded.get(digest)) {
            return Ok(Ok(component.clone()));
        }
        if let Some(reason) = self.failures.get(digest) {
            return Ok(Err(reason.clone()));
        }
        let stored = match &self.database {
            Some(database) => database.plugin_component(digest).await?,
            None => None,
        };
        let loaded = match stored {
            None => Err("it was removed in this moment".to_owned()),
            Some(wasm) => match self.runtime.load(wasm).await {
                Err(error) => Err(error.to_string()),
                Ok(component) if component.digest() != digest => {
                    Err("its stored bytes are not those that were installed".to_owned())
                }
                Ok(component) if component.manifest().id != id => {
                    Err("it is stored under another plugin's id".to_owned())
                }
                Ok(component) => Ok(component),
            },
        };
        match &loaded {
            Ok(component) => {
                self.loaded.insert(digest.to_owned(), component.clone());
            }
            Err(reason) => {
                self.failures.insert(digest.to_owned(), reason.clone());
            }
        }
        Ok(loaded)
    }

    fn in_folder(&self, digest: &str) -> Option<&Component> {
        self.folder
            .iter()
            .find(|component| component.digest() == digest)
    }

    fn grant(
        &mut self,
        component: &Component,
        wanted: &config::Provider,
        sealed: Vec<SealedSecret>,
    ) -> anyhow::Result<Granted> {
        let opened = secrets::open(self.vault.as_ref(), &sealed).map_err(anyhow::Error::msg)?;
        let mut whole = wanted.clone();
        // The database's word goes before the node's.
        whole.secrets.extend(opened);
        let (plugin, missing) = configure(component, &whole)?;
        self.grants += 1;
        Ok(Granted {
            plugin,
            settings: wanted.settings.clone(),
            secrets: sealed,
            missing,
            number: self.grants,
        })
    }

    fn sort(&self, providers: &mut [Arc<Provider>]) {
        let order = &self.settings.plugins.order;
        providers.sort_by_key(|provider| {
            let named = order
                .iter()
                .position(|id| id == provider.id())
                .unwrap_or(order.len());
            (named, provider.id().to_owned())
        });
    }
}

fn assemble(granted: Granted, wanted: &config::Provider, origin: Origin) -> Arc<Provider> {
    let manifest = granted.plugin.manifest();
    let disabled = (!wanted.enabled).then(|| "is disabled by the operator".to_owned());
    Arc::new(Provider {
        concurrency: wanted.concurrency.unwrap_or(manifest.limits.concurrency),
        settle_after_seconds: wanted
            .settle_after_seconds
            .or(manifest.recovery.settle_after_seconds),
        disabled: disabled.or(granted.missing),
        origin,
        grant: granted.number,
        plugin: granted.plugin,
    })
}

/// Logs what is different.
fn tell(before: &Snapshot, now: &[Arc<Provider>]) {
    for provider in now {
        let old = before.find(provider.id());
        let same = old.is_some_and(|old| {
            old.grant == provider.grant
                && old.concurrency == provider.concurrency
                && old.settle_after_seconds == provider.settle_after_seconds
                && old.disabled == provider.disabled
        });
        if !same {
            tracing::info!(
                provider = provider.id(),
                version = provider.manifest().version,
                before = old.map(|old| old.manifest().version.as_str()),
                digest = &provider.plugin.digest()[..12],
                origin = provider.origin.as_str(),
                concurrency = provider.concurrency,
                disabled = provider.disabled,
                "plugin loaded"
            );
        }
    }
    for old in &before.providers {
        if !now.iter().any(|provider| provider.id() == old.id()) {
            tracing::info!(provider = old.id(), "a provider is gone");
        }
    }
}

/// The operator's grant for a plugin, and why it cannot be used yet. Without its secrets a
/// plugin is still listed, so that an operator sees what to set; it is never called.
fn configure(
    component: &Component,
    wanted: &config::Provider,
) -> anyhow::Result<(Plugin, Option<String>)> {
    let manifest = component.manifest();
    let mut secrets = HashMap::new();
    let mut find = |name: &str| -> anyhow::Result<bool> {
        let found = config::secret(name, &wanted.secrets).map_err(anyhow::Error::msg)?;
        let there = found.is_some();
        secrets.extend(found.map(|secret| (name.to_owned(), secret)));
        Ok(there)
    };
    let mut complete = manifest.credentials.is_empty();
    let mut missing: Vec<&str> = Vec::new();
    for credential in manifest.credentials.values() {
        let mut whole = true;
        for name in credential.secrets() {
            if !find(name)? {
                whole = false;
                missing.push(name);
            }
        }
        // A vendor with two doors (a key, or a signed token) is usable with one of them.
        complete |= whole;
    }
    if let Some(name) = manifest
        .webhook
        .as_ref()
        .and_then(|webhook| webhook.verify.secret())
    {
        find(name)?;
    }
    let disabled = (!complete).then(|| format!("is not configured: set {}", missing.join(", ")));
    if disabled.is_some() {
        secrets = manifest
            .credentials
            .values()
            .flat_map(Credential::secrets)
            .map(|name| (name.to_owned(), "not-configured".to_owned().into()))
            .collect();
    }
    let reroute = wanted
        .reroute
        .iter()
        .map(|(host, to)| Ok((host.clone(), to.parse::<Url>()?)))
        .collect::<Result<HashMap<_, _>, url::ParseError>>()?;
    let plugin = component.configure(Grant {
        settings: serde_json::Value::Object(wanted.settings.clone()),
        secrets,
        reroute,
    })?;
    Ok((plugin, disabled))
}

/// The folders that the settings name, or the usual one that is there.
fn folders(settings: &Settings) -> Vec<PathBuf> {
    if settings.plugins.dirs.is_empty() {
        config::usual_plugin_folders()
            .into_iter()
            .filter(|folder| folder.is_dir())
            .take(1)
            .collect()
    } else {
        settings.plugins.dirs.clone()
    }
}

fn plugin_files(settings: &Settings) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for folder in folders(settings) {
        let entries = std::fs::read_dir(&folder)
            .with_context(|| format!("cannot read the plugin folder {}", folder.display()))?;
        for entry in entries {
            let path = entry?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "wasm")
            {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}
