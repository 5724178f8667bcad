//! The settings as types. `config.default.toml` says what each means.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf};

use secrecy::SecretString;
use serde::Deserialize;

use crate::providers::Prefer;

/// All settings.
#[derive(Debug, Clone, Deserialize)]
pub struct Settings {
    /// Where to listen.
    pub server: Server,
    /// Where data goes.
    pub data: Data,
    /// Where the rows are.
    pub database: Database,
    /// How nodes hear each other.
    pub redis: Redis,
    /// What is logged.
    pub log: Log,
    /// How jobs run.
    pub jobs: Jobs,
    /// How users share what there is.
    pub fairness: Fairness,
    /// What things cost.
    pub billing: Billing,
    /// What is sold.
    pub payments: Payments,
    /// Who is asked, and who is left alone.
    pub routing: Routing,
    /// Files and films.
    pub media: Media,
    /// Where plugins are.
    pub plugins: Plugins,
    /// What users are told by webhook.
    pub webhooks: Webhooks,
    /// What users are told by mail.
    pub mail: Mail,
    /// What is sealed with what.
    pub encryption: Encryption,
    /// Who signs in, and how.
    pub accounts: Accounts,
    /// What may be done how often.
    pub limits: RateLimits,
    /// Limits of the API.
    pub graphql: Graphql,
    /// For development.
    pub development: Development,
    /// By plugin id.
    pub providers: BTreeMap<String, Provider>,
}

/// Where to listen.
#[derive(Debug, Clone, Deserialize)]
pub struct Server {
    /// Address.
    pub bind: IpAddr,
    /// Port; 0 for any.
    pub port: u16,
    /// How others reach this server; empty: as it listens.
    pub public_url: String,
    /// A PEM file with the certificate; empty: no TLS.
    pub tls_certificate: String,
    /// The PEM file of its key.
    pub tls_key: String,
    /// How long a stop may take.
    pub drain_seconds: u64,
    /// What this node does.
    pub role: Role,
    /// Web pages of other hosts that may use the API.
    pub allowed_origins: Vec<String>,
    /// Whose word about addresses is believed.
    pub trusted_proxies: Vec<String>,
}

/// What a node does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Everything.
    All,
    /// Answers users and vendors.
    Api,
    /// Moves jobs on.
    Worker,
}

impl Role {
    /// Does it answer users and vendors?
    #[must_use]
    pub fn answers(self) -> bool {
        self != Self::Worker
    }

    /// Does it move jobs on?
    #[must_use]
    pub fn works(self) -> bool {
        self != Self::Api
    }
}

/// Where data goes.
#[derive(Debug, Clone, Deserialize)]
pub struct Data {
    /// The folder.
    pub dir: PathBuf,
}

/// What things cost.
#[derive(Debug, Clone, Deserialize)]
pub struct Billing {
    /// Worth of a credit, in millionths of a US dollar.
    pub credit_micro_usd: u32,
    /// Put on top of vendors' prices.
    pub margin_percent: u32,
    /// What a paid step costs at least.
    pub minimum_credits: u32,
    /// How long a quote holds, in minutes.
    pub quote_minutes: u64,
    /// How often a worker looks for credits whose time is over.
    pub expire_seconds: u64,
}

/// Where the rows are.
#[derive(Debug, Clone, Deserialize)]
pub struct Database {
    /// Of a PostgreSQL server; empty: an embedded database.
    pub url: SecretString,
    /// The same as the owner of the tables; empty: `url`.
    pub owner_url: SecretString,
    /// Role of statements for users.
    pub role: String,
    /// Role of statements for the worker.
    pub worker_role: String,
    /// Most connections.
    pub max_connections: u32,
    /// Bring the tables up to date at start?
    pub migrate_at_start: bool,
}

/// How nodes hear each other.
#[derive(Debug, Clone, Deserialize)]
pub struct Redis {
    /// Of a Redis server; empty: this node does without others.
    pub url: SecretString,
    /// Before every key and channel.
    pub prefix: String,
}

/// What is logged.
#[derive(Debug, Clone, Deserialize)]
pub struct Log {
    /// How.
    pub format: LogFormat,
    /// What, in tracing's directive syntax.
    pub filter: String,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Pretty on a terminal, else JSON.
    Auto,
    /// For people.
    Pretty,
    /// One JSON object a line.
    Json,
}

/// How jobs run.
#[derive(Debug, Clone, Deserialize)]
pub struct Jobs {
    /// Wait before the second try.
    pub retry_base_ms: u64,
    /// How long a job may take.
    pub deadline_minutes: u64,
    /// How long a lease lasts.
    pub lease_seconds: u64,
    /// How long a lost answer is looked up.
    pub unconfirmed_minutes: u64,
    /// How long a task is followed whose job is over.
    pub settle_hours: u64,
    /// Most jobs of one user that are not over, unless the plan says otherwise.
    pub in_flight_per_user: u32,
    /// Most films of one batch.
    pub batch_items: u32,
}

/// How users share what there is.
#[derive(Debug, Clone, Deserialize)]
pub struct Fairness {
    /// By name.
    pub plans: BTreeMap<String, Plan>,
}

/// What users of one plan get.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Plan {
    /// Turns for another's one.
    #[serde(default = "one")]
    pub weight: u32,
    /// Most jobs that are not over.
    #[serde(default)]
    pub in_flight: Option<u32>,
}

fn one() -> u32 {
    1
}

/// Who is asked, and who is left alone.
#[derive(Debug, Clone, Deserialize)]
pub struct Routing {
    /// Who is tried first.
    pub prefer: Prefer,
    /// Failures in a row after which a provider is left alone; 0: never.
    pub failures: u32,
    /// Failures that are further apart are not in a row.
    pub window_minutes: u64,
    /// How long it is left alone for the first time.
    pub open_seconds: u64,
    /// How long at most.
    pub open_max_seconds: u64,
    /// How long a trial may take before another one is made.
    pub trial_seconds: u64,
    /// How far back is looked at how providers did.
    pub history_hours: u64,
}

/// Files and films.
#[derive(Debug, Clone, Deserialize)]
pub struct Media {
    /// How long a link works.
    pub link_minutes: u64,
    /// Largest fetched file.
    pub max_mib: u64,
    /// Results that are fetched at a time.
    pub fetch_concurrency: usize,
    /// Largest picture that a user may send.
    pub max_image_mib: u64,
    /// How long an upload may take.
    pub upload_minutes: u64,
    /// How long files outlive their project.
    pub keep_deleted_days: u64,
    /// How long files of jobs are kept that failed or were canceled.
    pub keep_failed_days: u64,
    /// How old a file is before nobody referring to it makes it an orphan.
    pub orphan_hours: u64,
    /// How often is looked for what is to be removed.
    pub sweep_seconds: u64,
    /// Path of ffmpeg; empty: from PATH.
    pub ffmpeg: PathBuf,
    /// Path of ffprobe; empty: from PATH.
    pub ffprobe: PathBuf,
    /// Films and pictures made at a time.
    pub studio_concurrency: usize,
    /// Files looked at at a time, besides those.
    pub studio_looks: usize,
    /// Threads of one run.
    pub studio_threads: u32,
    /// Longest run.
    pub studio_minutes: u64,
    /// Memory of one run.
    pub studio_memory_mib: u64,
    /// Font family of burned-in subtitles.
    pub subtitle_font: String,
    /// The folder lies on a disk that all hosts have.
    pub folder_is_shared: bool,
    /// Where files are kept.
    pub store: MediaStore,
    /// The bucket, when it is one.
    pub s3: S3,
}

/// Where files are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MediaStore {
    /// In the data folder.
    Folder,
    /// In a bucket.
    S3,
}

/// A bucket, and how it is reached.
#[derive(Debug, Clone, Deserialize)]
pub struct S3 {
    /// Its name.
    pub bucket: String,
    /// Its region.
    pub region: String,
    /// Address of the store; empty: AWS.
    pub endpoint: String,
    /// Address of the store for readers; empty: the same.
    pub public_endpoint: String,
    /// Address of a CDN; empty: none.
    pub public_base_url: String,
    /// Before every key.
    pub prefix: String,
    /// Is the bucket named in the path?
    pub path_style: bool,
    /// An HTTP proxy; empty: none.
    pub proxy: String,
    /// Empty: from the environment.
    pub access_key_id: SecretString,
    /// Empty: from the environment.
    pub secret_access_key: SecretString,
    /// Empty: from the environment.
    pub session_token: SecretString,
    /// Tries of one request.
    pub attempts: u32,
}

/// Where plugins are.
#[derive(Debug, Clone, Deserialize)]
pub struct Plugins {
    /// Folders; empty: the usual ones.
    pub dirs: Vec<PathBuf>,
    /// Who is asked first.
    pub order: Vec<String>,
    /// Where compiled plugins are kept; empty: in the data folder.
    pub cache_dir: PathBuf,
    /// Calls at a time.
    pub max_instances: u32,
}

/// What users are told by webhook.
#[derive(Debug, Clone, Deserialize)]
pub struct Webhooks {
    /// Most endpoints of one user.
    pub endpoints: u32,
    /// Waits before each attempt.
    pub retry_seconds: Vec<u64>,
    /// How long an attempt may take.
    pub timeout_seconds: u64,
    /// Attempts at a time.
    pub concurrency: usize,
    /// Attempts at one endpoint at a time.
    pub endpoint_concurrency: u32,
    /// How long an endpoint may do nothing but fail.
    pub disable_hours: u64,
}

/// What is sold.
#[derive(Debug, Clone, Deserialize)]
pub struct Payments {
    /// ISO 4217, in small letters.
    pub currency: String,
    /// Empty: from the environment; nothing is sold without it.
    pub stripe_key: SecretString,
    /// Empty: from the environment.
    pub stripe_webhook_secret: SecretString,
    /// While it is rotated. Empty: from the environment.
    pub stripe_previous_webhook_secret: SecretString,
    /// Address of the vendor.
    pub stripe_url: String,
    /// How often is asked for events that never came.
    pub reconcile_minutes: u64,
    /// By name: what is paid each month.
    pub plans: BTreeMap<String, Offer>,
    /// By name: what is paid once.
    pub packs: BTreeMap<String, Offer>,
}

/// Something that is sold.
#[derive(Debug, Clone, Deserialize)]
pub struct Offer {
    /// What the buyer reads.
    pub title: String,
    /// In the currency's smallest unit; 0: not for sale.
    pub price: i64,
    /// For each payment.
    pub credits: i64,
}

/// What users are told by mail.
#[derive(Debug, Clone, Deserialize)]
pub struct Mail {
    /// How it leaves.
    pub delivery: MailDelivery,
    /// Whom it is from.
    pub from: String,
    /// Where answers go; empty: nowhere.
    pub reply_to: String,
    /// What mails call the sender.
    pub brand: String,
    /// Pages of the app; empty: none.
    pub app_url: String,
    /// Empty: from the environment.
    pub resend_key: SecretString,
    /// Empty: from the environment.
    pub resend_webhook_secret: SecretString,
    /// Address of the vendor.
    pub resend_url: String,
    /// How long links work.
    pub link_days: u64,
    /// Fewer available credits are told.
    pub low_credits: i64,
    /// Most mails of one user.
    pub daily_per_user: u32,
    /// Mails in a second.
    pub per_second: u32,
    /// Attempts at a time.
    pub concurrency: usize,
    /// How long an attempt may take.
    pub timeout_seconds: u64,
    /// Waits before each attempt.
    pub retry_seconds: Vec<u64>,
}

/// How mail leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MailDelivery {
    /// Kept in development, else not at all.
    Auto,
    /// Kept.
    Mailbox,
    /// Through Resend.
    Resend,
    /// Not at all.
    Off,
}

/// What is sealed with what.
#[derive(Debug, Clone, Deserialize)]
pub struct Encryption {
    /// Empty: from the environment, or a file.
    pub key: SecretString,
    /// Keys of before.
    pub previous_keys: Vec<SecretString>,
}

/// Who signs in, and how.
#[derive(Debug, Clone, Deserialize)]
pub struct Accounts {
    /// May anybody make an account?
    pub registration: bool,
    /// `iss` of access tokens; empty: the public address.
    pub issuer: String,
    /// `aud` of access tokens.
    pub audience: String,
    /// Ends a session whatever happens.
    pub session_days: u64,
    /// Ends a session that is not refreshed.
    pub idle_days: u64,
    /// How long a link works that confirms an address.
    pub verify_minutes: u64,
    /// How long a link to a new password works.
    pub reset_minutes: u64,
    /// Memory of a hash.
    pub argon2_memory_kib: u32,
    /// Passes over it.
    pub argon2_iterations: u32,
    /// Lanes.
    pub argon2_parallelism: u32,
    /// Hashes at a time.
    pub argon2_at_once: usize,
    /// Sign-in with Google.
    pub google: Google,
}

/// What is registered at Google.
#[derive(Debug, Clone, Deserialize)]
pub struct Google {
    /// This installation; empty: nobody signs in with Google.
    pub client_id: String,
    /// What it shows; empty: from the environment.
    pub client_secret: SecretString,
    /// Who gives out identities.
    pub issuer: String,
}

/// What may be done how often: `COUNT/TIME`, or `off`.
#[derive(Debug, Clone, Deserialize)]
pub struct RateLimits {
    /// Wrong passwords.
    pub login: String,
    /// New accounts.
    pub register: String,
    /// Mails that anybody may ask for.
    pub mail: String,
    /// New projects.
    pub create_project: String,
    /// Things to make.
    pub generate: String,
    /// Requests with an API key.
    pub api_key: String,
}

/// Limits of the API.
#[derive(Debug, Clone, Deserialize)]
pub struct Graphql {
    /// Serve the page for browsers?
    pub graphiql: bool,
    /// Answer introspection?
    pub introspection: bool,
    /// A folder of the only documents that are run; empty: any document is.
    pub stored_operations: PathBuf,
    /// Largest request body.
    pub max_body_kib: usize,
    /// Deepest selection.
    pub max_depth: usize,
    /// Most aliases.
    pub max_aliases: usize,
    /// Highest cost of a query.
    pub max_complexity: usize,
    /// Most sockets and streams.
    pub max_sockets: usize,
    /// Those of one user.
    pub max_sockets_per_user: usize,
}

/// For development.
#[derive(Debug, Clone, Deserialize)]
pub struct Development {
    /// Take http and private addresses in users' links?
    pub lenient_links: bool,
    /// Show kept mails?
    pub mailbox: bool,
    /// Mail address of the local user; empty: none.
    pub user: String,
    /// Credits that it gets when it is made.
    pub credits: u32,
    /// Its token; empty: a new one.
    pub token: String,
}

/// What an operator says of one provider.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct Provider {
    /// Use it?
    pub enabled: bool,
    /// Overrides the manifest's `limits.concurrency`.
    pub concurrency: Option<u32>,
    /// Overrides the manifest's `recovery.settle_after_seconds`.
    pub settle_after_seconds: Option<u32>,
    /// For the plugin's settings schema.
    pub settings: serde_json::Map<String, serde_json::Value>,
    /// By the names that the plugin gives.
    pub secrets: BTreeMap<String, SecretString>,
    /// Declared hosts that are really elsewhere.
    pub reroute: BTreeMap<String, String>,
}

impl Default for Provider {
    fn default() -> Self {
        Self {
            enabled: true,
            concurrency: None,
            settle_after_seconds: None,
            settings: serde_json::Map::new(),
            secrets: BTreeMap::new(),
            reroute: BTreeMap::new(),
        }
    }
}
