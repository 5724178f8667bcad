//! Wiring: settings in, a running server out. Dull on purpose.

mod blobs;
mod door;
mod identity;
mod nodes;
mod plugins;
mod post;
mod providers;
mod till;

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use genvid_media::{
    Signer,
    ffmpeg::{Studio, StudioOptions, Tools},
};
use genvid_transport::SchemaTypes;
use secrecy::ExposeSecret;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use uuid::Uuid;

use crate::{
    accounts,
    adapters::{
        sql::{Database, Installer, OpenError, PostgresOptions, migrate_postgres},
        web::Web,
    },
    billing::{self, Tariff},
    config::{self, Settings},
    dispatch, graphql, http,
    ids::NodeId,
    jobs::{
        self,
        advance::Advance,
        clerk::Clerk,
        limits::{Plan, Plans},
    },
    mail,
    media::{Links, Retention, Sweep},
    payments::{self, Cashier},
    projects,
    providers::{Catalog, Health, Rules, Secrets},
    uploads, webhooks,
    worker::{Gauge, Worker},
};
use blobs::Blobs;
pub use identity::{keyring, vault};
pub use nodes::call_nodes;
use nodes::{Nodes, Ties};
pub use plugins::{Keeper, folder_plugins, load_plugins, runtime, wanted};
pub use providers::Providers;
pub use till::sold;

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
    courier: Option<JoinHandle<()>>,
    postman: Option<JoinHandle<()>>,
    cashier: Option<JoinHandle<()>>,
    clerk: Option<JoinHandle<()>>,
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
        let mail_settings = post::settings(&settings);
        let low_credits = if mail_settings.on {
            mail_settings.low_credits
        } else {
            0
        };
        let role = settings.server.role;
        // What takes longest, beside all that follows: it needs nothing of it.
        let tools = role
            .works()
            .then(|| tokio::spawn(find_tools(&settings.media)));
        let database = open_database(&settings).await?;
        let database = database.with_low_credits(low_credits);
        let vault = identity::vault(&settings, &database).await?;
        let node = NodeId::generate();
        if database.is_embedded() {
            // Nobody else can be at work: whoever held these is dead.
            database.expire_foreign_leases(node).await?;
        }

        let Nodes {
            bus,
            nudges,
            inbox,
            installed,
            health: told,
            tell_health,
            places,
            pace,
            rates,
            ties,
        } = Nodes::start(&settings, &database, node)?;
        let (plugins, blobs) = tokio::try_join!(
            load_plugins(&settings, Some(&database), Some(vault.clone()), pace),
            blobs::open(&settings, data.join("media")),
        )?;
        let (runtime, registry, keeper) = plugins;
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
        let tls = door::tls(&settings.server);
        let url = if configured.is_empty() {
            let scheme = tls.as_ref().map_or("http", |_| "https");
            format!("{scheme}://{address}")
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
            fetches: settings.media.fetch_concurrency,
            compositions: settings.media.studio_concurrency,
            max_media_bytes: settings.media.max_mib << 20,
            tariff: Tariff {
                credit_micro_usd: settings.billing.credit_micro_usd.into(),
                margin_percent: settings.billing.margin_percent.into(),
                minimum_credits: settings.billing.minimum_credits.into(),
            },
            prefer: settings.routing.prefer,
            quote_life: Duration::from_secs(settings.billing.quote_minutes * 60),
            batch_items: settings.jobs.batch_items,
            plans: Arc::new(plans(&settings)),
            public_url: (!configured.is_empty()).then_some(configured),
            mail: mail_settings.on,
        });
        let uploads = uploads::Service::new(
            database.clone(),
            Arc::clone(&blobs),
            links.clone(),
            uploads::Settings {
                max_bytes: settings.media.max_image_mib << 20,
                open_for: Duration::from_secs(settings.media.upload_minutes * 60),
            },
        );
        let catalog = Catalog::new(registry.clone());
        let health = Health::new(
            database.clone(),
            rules(&settings.routing),
            Duration::from_secs(settings.routing.history_hours * 3_600),
            tell_health,
        );
        let lenient = settings.development.lenient_links;
        let projects = projects::Service::new(database.clone(), lenient);
        let accounts = accounts::Service::new(database.clone());
        let keyring = identity::keyring(&settings, &database, vault.clone(), &url);
        if role.answers() {
            keyring.open().await?;
        }
        let sessions = identity::sessions(
            &settings,
            accounts.clone(),
            keyring.clone(),
            vault.clone(),
            rates,
            &url,
            mail_settings.on,
        )?;
        let google = match role.answers() {
            true => identity::google(&settings, sessions.clone(), vault.clone(), &url)?,
            false => None,
        };
        let billing = billing::Service::new(database.clone());
        let jobs = jobs::Service::new(
            database.clone(),
            bus.clone(),
            projects.clone(),
            registry.clone(),
            health.clone(),
            Arc::clone(&job_settings),
            lenient,
            nudges.clone(),
        );
        let token = if settings.development.user.is_empty() || !role.answers() {
            None
        } else {
            let wanted = Some(settings.development.token.clone()).filter(|token| !token.is_empty());
            let (user, token) = accounts
                .local_user(&settings.development.user, wanted)
                .await?;
            let credits = settings.development.credits.into();
            billing.endow(user.id, credits).await?;
            Some(token)
        };

        let mut name = Uuid::new_v4().as_bytes().to_vec();
        name = database.installation_fact("media store", name).await?;
        let sweep = role.works().then(|| Sweep {
            database: database.for_worker(),
            blobs: Arc::clone(&blobs),
            retention: retention(&settings.media),
            installation: hex::encode(name),
        });
        let webhook_settings = Arc::new(webhook_settings(&settings));
        let secrets = webhooks::Secrets::new(database.for_worker(), vault.clone());
        let courier = match role.works() {
            true => Some(webhooks::Courier {
                database: database.for_worker(),
                secrets,
                post: Arc::new(Web::new(webhook_settings.timeout, lenient)?),
                links: links.clone(),
                settings: Arc::clone(&webhook_settings),
            }),
            false => None,
        };
        let seal = post::seal(&database).await?;
        let postman = match role.works() {
            true => Some(post::postman(&settings, &database, seal.clone(), &url)?),
            false => None,
        };
        let post_office = http::PostOffice {
            service: mail::Service::new(&database, jobs.clone(), seal, links.clone()),
            webhook_secret: post::webhook_secret(&settings)?,
            mailbox: settings.development.mailbox,
        };
        let sold = till::sold(&settings)?;
        let cashier = cashier(&settings, &database, &sold);
        let payments = payments::Service::new(database.clone(), sold);
        let studio = match tools {
            Some(tools) => Some(open_studio(&settings, tools.await??, data.join("scratch")).await?),
            None => None,
        };
        let worker = studio.map(|studio| {
            let advance = Advance {
                database: database.for_worker(),
                bus,
                registry: registry.clone(),
                catalog: catalog.clone(),
                health: health.clone(),
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

        let books = database.for_worker();
        let (clerks, clerks_jobs) = (database.for_worker(), jobs.clone());
        let transport = genvid_transport::Shutdown::new();
        let executor = graphql::executor(
            &graphql::Services {
                sessions: sessions.clone(),
                billing,
                payments: payments.clone(),
                projects,
                jobs: jobs.clone(),
                registry: registry.clone(),
                secrets: Secrets::new(database.clone(), vault.clone()),
                health: health.clone(),
                catalog,
                links: links.clone(),
                uploads,
                webhooks: webhooks::Service::new(database.clone(), vault, webhook_settings),
            },
            graphql::Limits {
                complexity: settings.graphql.max_complexity,
                introspection: settings.graphql.introspection,
            },
        );
        let doctor = http::Health {
            database: database.clone(),
            registry: registry.clone(),
            runtime,
            gauge: gauge.clone(),
            reach: ties.reach(),
            role,
        };
        let kept = registry.clone();
        let router = if role.answers() {
            http::router(http::Parts {
                executor,
                sessions,
                google: http::SignIn {
                    google,
                    app_url: Some(settings.mail.app_url.clone()).filter(|url| !url.is_empty()),
                },
                browsers: http::Browsers {
                    origins: settings.server.allowed_origins.clone(),
                    tls: url.starts_with("https://"),
                },
                proxies: settings.server.proxies(),
                transport: transport_options(&settings, transport.clone())?,
                database,
                blobs,
                links,
                registry,
                nudges,
                post_office,
                payments,
                health: doctor,
            })
        } else {
            http::health_router(doctor)
        };

        let (stop, stopping) = watch::channel(false);
        let worker = worker.map(|worker| tokio::spawn(worker.run(stopping.clone())));
        tokio::spawn(health.keep(kept, told, stopping.clone()));
        tokio::spawn(keeper.run(installed, stopping.clone()));
        if role.answers() {
            tokio::spawn(keyring.keep(stopping.clone()));
        }
        if role.works() {
            let every = Duration::from_secs(settings.billing.expire_seconds);
            tokio::spawn(billing::expire(books, every, stopping.clone()));
        }
        if let Some(sweep) = sweep {
            // Nobody waits for it: what is cut off goes on with the next start.
            tokio::spawn(sweep.run(stopping.clone()));
        }
        let courier = courier.map(|courier| tokio::spawn(dispatch::run(courier, stopping.clone())));
        let postman = postman.map(|postman| tokio::spawn(dispatch::run(postman, stopping.clone())));
        let clerk = role.works().then(|| Clerk {
            database: clerks,
            jobs: Arc::new(clerks_jobs),
        });
        let clerk = clerk.map(|clerk| tokio::spawn(dispatch::run(clerk, stopping.clone())));
        let cashier = cashier.filter(|_| role.works()).map(|cashier| {
            tokio::spawn(cashier.clone().keep(stopping.clone()));
            tokio::spawn(dispatch::run(cashier, stopping.clone()))
        });
        let server = door::open(listener, tls, router, stopping)?;
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
            courier,
            postman,
            cashier,
            clerk,
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
        if let Some(courier) = self.courier
            && tokio::time::timeout(self.drain, courier).await.is_err()
        {
            // What was cut off is sent again when its time is over.
            tracing::warn!("webhooks under way were cut off");
        }
        if let Some(postman) = self.postman
            && tokio::time::timeout(self.drain, postman).await.is_err()
        {
            // What was cut off is handed over again under the same key.
            tracing::warn!("mails under way were cut off");
        }
        if let Some(clerk) = self.clerk
            && tokio::time::timeout(self.drain, clerk).await.is_err()
        {
            // What was cut off is asked for again under the same key.
            tracing::warn!("films of batches under way were cut off");
        }
        if let Some(cashier) = self.cashier
            && tokio::time::timeout(self.drain, cashier).await.is_err()
        {
            // What was cut off is looked at again when its time is over.
            tracing::warn!("payment events under way were cut off");
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

/// Who works off what the payment vendor tells, if anything is sold.
#[must_use]
pub fn cashier(settings: &Settings, database: &Database, sold: &payments::Sold) -> Option<Cashier> {
    sold.till.as_ref().map(|till| Cashier {
        database: database.for_worker(),
        till: Arc::clone(till),
        every: Duration::from_secs(settings.payments.reconcile_minutes * 60),
    })
}

fn rules(routing: &config::Routing) -> Rules {
    Rules {
        failures: routing.failures,
        window: Duration::from_secs(routing.window_minutes * 60),
        open: Duration::from_secs(routing.open_seconds),
        longest: Duration::from_secs(routing.open_max_seconds),
        trial: Duration::from_secs(routing.trial_seconds),
    }
}

fn webhook_settings(settings: &Settings) -> webhooks::Settings {
    let wanted = &settings.webhooks;
    let waits = wanted.retry_seconds.iter().copied();
    webhooks::Settings {
        most_endpoints: wanted.endpoints,
        retries: waits.map(Duration::from_secs).collect(),
        timeout: Duration::from_secs(wanted.timeout_seconds),
        concurrency: wanted.concurrency,
        endpoint_concurrency: wanted.endpoint_concurrency,
        disable_after: Duration::from_secs(wanted.disable_hours * 3_600),
        lenient: settings.development.lenient_links,
    }
}

/// What users get by plan, as the settings say.
#[must_use]
pub fn plans(settings: &Settings) -> Plans {
    let in_flight = settings.jobs.in_flight_per_user;
    let plan = |plan: &config::Plan| Plan {
        weight: plan.weight,
        in_flight: plan.in_flight.unwrap_or(in_flight),
    };
    let named = settings.fairness.plans.iter();
    Plans::new(
        named.map(|(name, own)| (name.clone(), plan(own))).collect(),
        Plan {
            in_flight,
            ..Plan::default()
        },
    )
}

fn retention(media: &config::Media) -> Retention {
    const DAY: u64 = 86_400;
    Retention {
        deleted: Duration::from_secs(media.keep_deleted_days * DAY),
        failed: Duration::from_secs(media.keep_failed_days * DAY),
        orphan: Duration::from_secs(media.orphan_hours * 3_600),
        every: Duration::from_secs(media.sweep_seconds),
    }
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
        stored: stored_operations(&settings.graphql.stored_operations)?,
        max_sockets: settings.graphql.max_sockets,
        max_sockets_per_key: settings.graphql.max_sockets_per_user,
        allowed_origins: genvid_transport::AllowedOrigins::SameHostAnd(
            settings.server.allowed_origins.clone(),
        ),
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

/// The only documents that are run, if the settings name a folder of them.
fn stored_operations(folder: &std::path::Path) -> anyhow::Result<Option<Arc<[String]>>> {
    if folder.as_os_str().is_empty() {
        return Ok(None);
    }
    let cannot = || {
        format!(
            "graphql.stored_operations: cannot read {}",
            folder.display()
        )
    };
    let mut texts = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(cannot)? {
        let path = entry.with_context(cannot)?.path();
        if path.extension().is_none_or(|end| end != "graphql") {
            continue;
        }
        let text = std::fs::read_to_string(&path).with_context(cannot)?;
        if let Some(problem) = genvid_transport::check_stored(&text) {
            anyhow::bail!("graphql.stored_operations: {}: {problem}", path.display());
        }
        // Clients leave out what is around a document, or do not.
        texts.push(text.trim().to_owned());
        texts.push(text);
    }
    anyhow::ensure!(
        !texts.is_empty(),
        "graphql.stored_operations: there is no .graphql file in {}: nothing could be asked",
        folder.display()
    );
    Ok(Some(texts.into()))
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

/// The database for whoever installs plugins, also while servers use it.
///
/// # Errors
/// When the database cannot be used.
pub async fn open_installer(settings: &Settings) -> Result<Installer, OpenError> {
    match postgres(settings) {
        Some(server) => Installer::connect(&server).await,
        None => Installer::open(&settings.data.dir).await,
    }
}

/// The database to read what is installed for every node, if there is one already. Nothing is
/// migrated on a server.
///
/// # Errors
/// When there is one and it cannot be used.
pub async fn installed_plugins(settings: &Settings) -> Result<Option<Database>, OpenError> {
    let installer = match postgres(settings) {
        Some(server) => {
            let as_it_is = PostgresOptions {
                migrate: false,
                ..server
            };
            Installer::connect(&as_it_is).await?
        }
        None if settings.data.dir.join("genvid.db").is_file() => {
            Installer::open(&settings.data.dir).await?
        }
        None => return Ok(None),
    };
    Ok(Some(installer.database().clone()))
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

fn find_tools(
    settings: &config::Media,
) -> impl Future<Output = Result<Tools, genvid_media::ffmpeg::Error>> + use<> {
    let given = |path: &PathBuf| Some(path.clone()).filter(|path| !path.as_os_str().is_empty());
    Tools::locate(given(&settings.ffmpeg), given(&settings.ffprobe))
}

async fn open_studio(
    settings: &Settings,
    tools: Tools,
    scratch: PathBuf,
) -> anyhow::Result<Studio> {
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
