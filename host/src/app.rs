//! Wiring: settings in, a running server out. Dull on purpose.

mod blobs;
mod nodes;

use std::{
    collections::HashMap,
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use axum::serve::ListenerExt;
use genvid_media::{
    Signer,
    ffmpeg::{Studio, StudioOptions, Tools},
};
use genvid_runtime::{Grant, Runtime};
use genvid_transport::SchemaTypes;
use secrecy::ExposeSecret;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use url::Url;

use crate::{
    accounts,
    adapters::sql::{Database, OpenError, PostgresOptions, migrate_postgres},
    config::{self, Settings},
    graphql, http,
    ids::NodeId,
    jobs::{self, advance::Advance},
    media::Links,
    projects,
    providers::{Catalog, Provider, Registry},
    worker::{Gauge, Worker},
};
use blobs::Blobs;
use nodes::{Nodes, Ties};

/// A server that listens.
pub struct App {
    /// Where it listens.
    pub address: SocketAddr,
    /// How others reach it.
    pub url: String,
    /// Token of the local user, when the settings ask for one.
    pub token: Option<String>,
    /// How its worker is doing.
    pub gauge: watch::Receiver<Gauge>,
    stop: watch::Sender<bool>,
    transport: genvid_transport::Shutdown,
    worker: Option<JoinHandle<()>>,
    ties: Ties,
    server: JoinHandle<std::io::Result<()>>,
    drain: Duration,
}

impl App {
    /// Starts everything; answers once it listens.
    ///
    /// # Errors
    /// With what could not be started, and why.
    pub async fn start(settings: Settings) -> anyhow::Result<Self> {
        let began = Instant::now();
        let data = settings.data.dir.clone();
        let database = open_database(&settings).await?;
        let node = NodeId::generate();
        if database.is_embedded() {
            // Nobody else can be at work: whoever held these is dead.
            database.expire_foreign_leases(node).await?;
        }

        let role = settings.server.role;
        let studio = async {
            Ok(match role.works() {
                true => Some(open_studio(&settings, data.join("scratch")).await?),
                false => None,
            })
        };
        let (plugins, blobs, studio) = tokio::try_join!(
            load_plugins(&settings),
            blobs::open(&settings, data.join("media")),
            studio,
        )?;
        let (runtime, registry) = plugins;
        let Blobs {
            store: blobs,
            direct,
        } = blobs;

        let listener = TcpListener::bind((settings.server.bind, settings.server.port))
            .await
            .with_context(|| {
                format!(
                    "cannot listen on {}:{}",
                    settings.server.bind, settings.server.port
                )
            })?;
        let address = listener.local_addr()?;
        let configured = settings.server.public_url.trim_end_matches('/').to_owned();
        let url = if configured.is_empty() {
            format!("http://{address}")
        } else {
            configured.clone()
        };

        let mut secret = vec![0_u8; 32];
        rand::Rng::fill_bytes(&mut rand::rng(), &mut secret);
        let secret = database.installation_fact("media link key", secret).await?;
        let links = Links::new(
            Signer::new(&secret)?,
            &url,
            Duration::from_secs(settings.media.link_minutes * 60),
        )
        .direct(direct);

        let job_settings = Arc::new(jobs::Settings {
            retry_base: Duration::from_millis(settings.jobs.retry_base_ms),
            deadline: Duration::from_secs(settings.jobs.deadline_minutes * 60),
            unconfirmed_window: Duration::from_secs(settings.jobs.unconfirmed_minutes * 60),
            lease: Duration::from_secs(settings.jobs.lease_seconds),
            drain: Duration::from_secs(settings.server.drain_seconds),
            settle_window: Duration::from_secs(settings.jobs.settle_hours * 3_600),
            max_media_bytes: settings.media.max_mib << 20,
            public_url: (!configured.is_empty()).then_some(configured),
        });
        let Nodes {
            bus,
            nudges,
            inbox,
            places,
            ties,
        } = Nodes::start(&settings, &database, node)?;
        let catalog = Catalog::new(registry.clone());
        let lenient = settings.development.lenient_links;
        let projects = projects::Service::new(database.clone(), lenient);
        let accounts = accounts::Service::new(database.clone());
        let jobs = jobs::Service::new(
            database.clone(),
            bus.clone(),
            projects.clone(),
            registry.clone(),
            Arc::clone(&job_settings),
            lenient,
            nudges.clone(),
        );
        let token = if settings.development.user.is_empty() || !role.answers() {
            None
        } else {
            let wanted = Some(settings.development.token.clone()).filter(|token| !token.is_empty());
            Some(
                accounts
                    .local_user(&settings.development.user, wanted)
                    .await?
                    .1,
            )
        };

        let worker = studio.map(|studio| {
            let advance = Advance {
                database: database.for_worker(),
                bus,
                registry: registry.clone(),
                catalog: catalog.clone(),
                blobs: Arc::clone(&blobs),
                studio,
                settings: job_settings,
            };
            Worker::new(advance, node, inbox, places)
        });
        let gauge = match &worker {
            Some(worker) => worker.gauge(),
            None => watch::channel(Gauge::default()).1,
        };

        let transport = genvid_transport::Shutdown::new();
        let executor = graphql::executor(
            &graphql::Services {
                accounts: accounts.clone(),
                projects,
                jobs: jobs.clone(),
                registry: registry.clone(),
                catalog,
                links: links.clone(),
            },
            graphql::Limits {
                complexity: settings.graphql.max_complexity,
                introspection: settings.graphql.introspection,
            },
        );
        let health = http::Health {
            database: database.clone(),
            registry: registry.clone(),
            runtime,
            gauge: gauge.clone(),
            reach: ties.reach(),
            role,
        };
        let router = if role.answers() {
            http::router(http::Parts {
                executor,
                accounts,
                transport: transport_options(&settings, transport.clone())?,
                database,
                blobs,
                links,
                registry,
                nudges,
                health,
            })
        } else {
            http::health_router(health)
        };

        let (stop, stopping) = watch::channel(false);
        let worker = worker.map(|worker| tokio::spawn(worker.run(stopping.clone())));
        let server = tokio::spawn(serve(listener, router, stopping));
        tracing::info!(
            %address, url,
            start_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
            "ready"
        );
        Ok(Self {
            address,
            url,
            token,
            gauge,
            stop,
            transport,
            worker,
            ties,
            server,
            drain: Duration::from_secs(settings.server.drain_seconds),
        })
    }

    /// Stops taking work, finishes or hands back what is in flight, closes connections.
    ///
    /// # Errors
    /// When the server had failed.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.stop.send_replace(true);
        self.transport.close();
        let limit = self.drain + Duration::from_secs(5);
        if let Some(worker) = self.worker
            && tokio::time::timeout(limit, worker).await.is_err()
        {
            tracing::warn!("the worker did not stop in time");
        }
        let served = tokio::time::timeout(Duration::from_secs(5), self.server).await;
        self.ties.close().await;
        match served {
            Ok(ended) => ended??,
            Err(_) => tracing::warn!("open connections were cut"),
        }
        Ok(())
    }
}

async fn serve(
    listener: TcpListener,
    router: axum::Router,
    mut stopping: watch::Receiver<bool>,
) -> std::io::Result<()> {
    // Events are small frames: none of them waits for a fuller packet.
    let listener = listener.tap_io(|connection| {
        if let Err(error) = connection.set_nodelay(true) {
            tracing::debug!(%error, "a connection sends in bursts");
        }
    });
    axum::serve(listener, router)
        .with_graceful_shutdown(async move {
            // An error means that the app is gone, which is a stop too.
            let _ = stopping.wait_for(|stop| *stop).await;
        })
        .await
}

fn transport_options(
    settings: &Settings,
    shutdown: genvid_transport::Shutdown,
) -> anyhow::Result<genvid_transport::Options> {
    let defaults = genvid_transport::Options::default();
    Ok(genvid_transport::Options {
        types: Some(SchemaTypes::from_sdl(&graphql::sdl())?),
        max_body_bytes: settings.graphql.max_body_kib << 10,
        limits: genvid_transport::DocumentLimits {
            depth: settings.graphql.max_depth,
            aliases: settings.graphql.max_aliases,
            ..defaults.limits
        },
        max_sockets: settings.graphql.max_sockets,
        graphiql: settings
            .graphql
            .graphiql
            .then(|| genvid_transport::Graphiql {
                title: "Genvid".to_owned(),
                endpoint: "/graphql".to_owned(),
            }),
        shutdown,
        ..defaults
    })
}

/// The server that the settings name, or nothing: then the database is embedded.
fn postgres(settings: &Settings) -> Option<PostgresOptions> {
    let wanted = &settings.database;
    let url = wanted.url.expose_secret();
    let owner = wanted.owner_url.expose_secret();
    (!url.is_empty()).then(|| PostgresOptions {
        url: wanted.url.clone(),
        owner_url: if owner.is_empty() { url } else { owner }.into(),
        role: wanted.role.clone(),
        worker_role: wanted.worker_role.clone(),
        max_connections: wanted.max_connections,
        migrate: wanted.migrate_at_start,
    })
}

async fn open_database(settings: &Settings) -> Result<Database, OpenError> {
    match postgres(settings) {
        Some(server) => Database::connect(&server).await,
        None => Database::open(&settings.data.dir).await,
    }
}

/// Brings the tables up to date, wherever they are; answers where that is.
///
/// # Errors
/// When the database cannot be used.
pub async fn migrate(settings: &Settings) -> Result<String, OpenError> {
    match postgres(settings) {
        Some(server) => {
            migrate_postgres(&server).await?;
            Ok("on the PostgreSQL server".to_owned())
        }
        None => {
            Database::open(&settings.data.dir).await?;
            Ok(format!("in {}", settings.data.dir.display()))
        }
    }
}

async fn open_studio(settings: &Settings, scratch: PathBuf) -> anyhow::Result<Studio> {
    let given = |path: &PathBuf| Some(path.clone()).filter(|path| !path.as_os_str().is_empty());
    let tools = Tools::locate(
        given(&settings.media.ffmpeg),
        given(&settings.media.ffprobe),
    )
    .await?;
    let options = StudioOptions {
        concurrency: settings.media.studio_concurrency,
        looks: settings.media.studio_looks,
        threads: settings.media.studio_threads,
        time_limit: Duration::from_secs(settings.media.studio_minutes * 60),
        memory_limit_mib: settings.media.studio_memory_mib,
        subtitle_font: settings.media.subtitle_font.clone(),
        ..StudioOptions::new(scratch)
    };
    Ok(Studio::new(tools, options).await?)
}

/// Loads every plugin of the plugin folders. One that cannot be used is left out and the
/// log says why: one broken file must not stop the others.
///
/// # Errors
/// When no folder can be read, or the engine does not start.
pub async fn load_plugins(settings: &Settings) -> anyhow::Result<(Runtime, Registry)> {
    let runtime = Runtime::new(genvid_runtime::Options {
        cache_dir: Some(if settings.plugins.cache_dir.as_os_str().is_empty() {
            settings.data.dir.join("plugin-cache")
        } else {
            settings.plugins.cache_dir.clone()
        }),
        max_instances: settings.plugins.max_instances,
        max_saved_bytes: settings.media.max_mib << 20,
        ..genvid_runtime::Options::default()
    })?;
    let mut providers = Vec::new();
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
        let id = component.manifest().id.clone();
        let wanted = settings.providers.get(&id).cloned().unwrap_or_default();
        if !wanted.enabled {
            continue;
        }
        match configure(&component, &wanted) {
            Ok((plugin, disabled)) => {
                tracing::info!(
                    provider = id,
                    version = component.manifest().version,
                    digest = &component.digest()[..12],
                    disabled,
                    "plugin loaded"
                );
                providers.push(Provider {
                    concurrency: wanted
                        .concurrency
                        .unwrap_or(component.manifest().limits.concurrency),
                    settle_after_seconds: wanted
                        .settle_after_seconds
                        .or(component.manifest().recovery.settle_after_seconds),
                    plugin,
                    disabled,
                });
            }
            Err(error) => tracing::error!(provider = id, %error, "a plugin is left out"),
        }
    }
    let place = |provider: &Provider| {
        let order = &settings.plugins.order;
        let named = order
            .iter()
            .position(|id| id == provider.id())
            .unwrap_or(order.len());
        (named, provider.id().to_owned())
    };
    providers.sort_by_key(place);
    providers.dedup_by(|later, earlier| {
        let twice = later.id() == earlier.id();
        if twice {
            tracing::error!(
                provider = later.id(),
                "installed twice; the first file is used"
            );
        }
        twice
    });
    Ok((runtime, Registry::new(providers)))
}

/// The operator's grant for a plugin, and why it cannot be used yet. Without its secrets a
/// plugin is still listed, so that an operator sees what to set; it is never called.
fn configure(
    component: &genvid_runtime::Component,
    wanted: &config::Provider,
) -> anyhow::Result<(genvid_runtime::Plugin, Option<String>)> {
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
            .flat_map(genvid_runtime::manifest::Credential::secrets)
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

fn plugin_files(settings: &Settings) -> anyhow::Result<Vec<PathBuf>> {
    let folders = if settings.plugins.dirs.is_empty() {
        config::usual_plugin_folders()
            .into_iter()
            .filter(|folder| folder.is_dir())
            .take(1)
            .collect()
    } else {
        settings.plugins.dirs.clone()
    };
    if folders.is_empty() {
        anyhow::bail!(
            "no plugins: name their folder with plugins.dirs or --plugins, or build them with `cargo xtask plugins`"
        );
    }
    let mut files = Vec::new();
    for folder in folders {
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
