//! The manifest that every plugin carries: who it is, what it can do, what that costs, and
//! what it needs. `wit/MANIFEST.md` is the reference.

mod kinds;
mod network;
mod parse;
mod reader;

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use serde_json::Value;

/// Name of the custom section that holds the manifest's text.
pub const SECTION: &str = "genvid:manifest";

/// The contract version that this host speaks.
pub const CONTRACT: &str = "0.1";

/// A plugin's manifest, complete: what the text left out has its default.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Manifest {
    /// `[a-z][a-z0-9-]{1,31}`.
    pub id: String,
    /// For people.
    pub name: String,
    /// The plugin's own version, semver.
    pub version: String,
    /// `major.minor` of the contract.
    pub contract: String,
    /// One sentence.
    pub description: String,
    /// The vendor's or the plugin's page.
    pub homepage: Option<String>,
    /// SPDX expression.
    pub license: Option<String>,
    /// Makes films.
    pub video: Option<Video>,
    /// Speaks.
    pub voice: Option<Voice>,
    /// Writes.
    pub script: Option<Script>,
    /// How its tasks are polled.
    pub tasks: Option<Tasks>,
    /// What settles a submission whose answer was lost.
    pub recovery: Recovery,
    /// What it may use.
    pub limits: Limits,
    /// JSON Schema of the operator's settings.
    pub settings: Value,
    /// JSON Schemas of a request's `options`.
    pub options: OptionSchemas,
    /// Where it may go.
    pub network: Network,
    /// What the host adds to requests, by name.
    pub credentials: BTreeMap<String, Credential>,
    /// How deliveries of the vendor are verified.
    pub webhook: Option<Webhook>,
}

/// What a video provider takes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Video {
    /// Shapes of the picture; never empty.
    pub aspects: Vec<Aspect>,
    /// What `submit` takes; never empty.
    pub speech: Vec<Speech>,
    /// BCP 47 primary tags, or `*`.
    pub languages: Vec<String>,
    /// Of a spoken script, 1 to 1,000,000.
    pub max_characters: u32,
    /// Of the visual prompt; 0: takes none.
    pub max_prompt_characters: u32,
    /// Shortest film, 1 to 600.
    pub min_seconds: u32,
    /// Longest film, 1 to 600.
    pub max_seconds: u32,
    /// 0 to 9; 0: takes none.
    pub max_images: u32,
    /// Whether a request names an avatar.
    pub avatar: Need,
    /// Usual time from submit to result.
    pub typical_seconds: u32,
    /// Models to choose from; exactly one is the default, unless there are none.
    pub models: Vec<Model>,
    /// What it costs.
    pub prices: Vec<Price>,
}

/// What a voice provider takes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Voice {
    /// BCP 47 primary tags, or `*`.
    pub languages: Vec<String>,
    /// 1 to 1,000,000.
    pub max_characters: u32,
    /// Can answer with word timings.
    pub timing: bool,
    /// The voice of those who do not choose.
    pub default_voice: Option<String>,
    /// Usual time from submit to result.
    pub typical_seconds: u32,
    /// Models to choose from.
    pub models: Vec<Model>,
    /// What it costs.
    pub prices: Vec<Price>,
}

/// What a script provider takes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Script {
    /// BCP 47 primary tags, or `*`.
    pub languages: Vec<String>,
    /// Honours the request's schema.
    pub schema: bool,
    /// Tells text while it writes.
    pub streaming: bool,
    /// Usual time from submit to result.
    pub typical_seconds: u32,
    /// Models to choose from.
    pub models: Vec<Model>,
    /// What it costs.
    pub prices: Vec<Price>,
}

/// Shape of the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Aspect {
    /// 9:16
    Portrait,
    /// 1:1
    Square,
    /// 16:9
    Landscape,
}

/// What a video request may have spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Speech {
    /// Text that the vendor speaks.
    Script,
    /// Finished audio.
    Audio,
    /// No sound.
    Silent,
}

/// Whether a field must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Need {
    /// Always.
    Required,
    /// It may.
    Optional,
    /// Never.
    Unsupported,
}

/// A model of the vendor's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Model {
    /// As requests name it.
    pub id: String,
    /// The one of those who do not choose.
    pub default: bool,
}

/// What one unit costs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Price {
    /// One of the models; nothing: all of them.
    pub model: Option<String>,
    /// What is counted.
    pub unit: Unit,
    /// Millionths of a US dollar for each unit.
    pub micro_usd: u64,
    /// The day the price was read, `YYYY-MM-DD`.
    pub read: String,
    /// Where it was read.
    pub source: String,
}

/// What a price counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// A second of the result.
    Second,
    /// A character of the text.
    Character,
    /// One submission.
    Call,
    /// A token of a language model.
    Token,
}

/// How tasks are polled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Tasks {
    /// First poll after submit, 100 to 600,000.
    pub poll_after_ms: u32,
    /// The host widens up to this.
    pub poll_max_ms: u32,
    /// Most tasks in one poll, 1 to 500.
    pub batch: u32,
    /// The vendor can stop a task.
    pub cancel: bool,
}

/// What settles a submission whose answer was lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Recovery {
    /// Submitting again with the same reference answers the first task for so long.
    pub replay_hours: Option<u32>,
    /// `tasks.find` finds it.
    pub lookup: bool,
    /// An empty look-up this long after the call proves that it was not accepted.
    pub settle_after_seconds: Option<u32>,
}

/// What a plugin may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// Tasks at the vendor at one time, 1 to 10,000.
    pub concurrency: u32,
    /// Requests of this plugin together, 1 to 1,000.
    pub requests_per_second: u32,
    /// Wall-clock time of one call, requests included, 1,000 to 600,000.
    pub call_timeout_ms: u32,
    /// Largest answer that enters the plugin, 1 to 8,192.
    pub response_kib: u32,
    /// 1 to 256.
    pub memory_mib: u32,
    /// 1 to 64.
    pub requests_per_call: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            concurrency: 10,
            requests_per_second: 10,
            call_timeout_ms: 120_000,
            response_kib: 1_024,
            memory_mib: 64,
            requests_per_call: 8,
        }
    }
}

/// JSON Schemas of a request's `options`, for each kind; nothing: only `{}` is valid.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct OptionSchemas {
    /// For `video`.
    pub video: Option<Value>,
    /// For `voice`.
    pub voice: Option<Value>,
    /// For `script`.
    pub script: Option<Value>,
}

/// Where a plugin may go.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Network {
    /// Its own calls.
    pub api: Vec<ApiRule>,
    /// Where the host fetches results.
    pub media: Vec<MediaRule>,
}

/// Allows some requests.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ApiRule {
    /// Exact, or `*.` and a suffix.
    pub host: String,
    /// In upper case.
    pub methods: Vec<String>,
    /// Exact, or a prefix ending in `*`.
    pub paths: Vec<String>,
    /// What the host adds, by its name in [`Manifest::credentials`].
    pub credential: Option<String>,
}

/// Allows fetching results.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MediaRule {
    /// Exact, or `*.` and a suffix.
    pub host: String,
}

/// What the host adds to a request when it leaves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Credential {
    /// The secret as a header.
    Header {
        /// The header's name.
        name: String,
        /// Name of the operator's secret.
        secret: String,
    },
    /// `Authorization: Bearer SECRET`.
    Bearer {
        /// Name of the operator's secret.
        secret: String,
    },
    /// HTTP basic authentication.
    Basic {
        /// The user's name, not secret.
        username: String,
        /// Name of the operator's secret, the password.
        secret: String,
    },
    /// The secret as a query parameter.
    Query {
        /// The parameter's name.
        name: String,
        /// Name of the operator's secret.
        secret: String,
    },
    /// `Authorization: Bearer JWT`, made for each request.
    #[serde(rename = "jwt-hs256")]
    JwtHs256 {
        /// Name of the operator's secret that is the `iss` claim.
        issuer_secret: String,
        /// Name of the operator's secret that signs.
        secret: String,
        /// Life of the token, 1 to 86,400.
        ttl_seconds: u32,
        /// How far back `nbf` lies, 0 to 3,600.
        not_before_seconds: u32,
    },
    /// Hex HMAC-SHA256 of the body as a header.
    Hmac {
        /// The header's name.
        name: String,
        /// Name of the operator's secret.
        secret: String,
        /// Header that carries the time; then `timestamp.body` is signed.
        timestamp_header: Option<String>,
    },
}

impl Credential {
    /// Names of the operator's secrets that the recipe needs.
    pub fn secrets(&self) -> Vec<&str> {
        match self {
            Self::Header { secret, .. }
            | Self::Bearer { secret }
            | Self::Basic { secret, .. }
            | Self::Query { secret, .. }
            | Self::Hmac { secret, .. } => vec![secret],
            Self::JwtHs256 {
                issuer_secret,
                secret,
                ..
            } => vec![issuer_secret, secret],
        }
    }
}

/// Deliveries of the vendor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Webhook {
    /// How they are verified.
    pub verify: Verify,
}

/// How a delivery is verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Verify {
    /// Hex HMAC-SHA256 of the raw body.
    HmacSha256Hex {
        /// Header with the signature.
        header: String,
        /// Header with the time in Unix seconds, which must be within 300 s.
        timestamp_header: Option<String>,
        /// Name of the operator's secret.
        secret: String,
    },
    /// Standard Webhooks 1.0.0.
    StandardWebhooks {
        /// Name of the operator's secret, `whsec_` and base64.
        secret: String,
        /// Beginning of the headers' names: `webhook` or `svix`.
        prefix: String,
    },
    /// Deliveries are hints from an unguessable URL.
    Unsigned,
}

impl Verify {
    /// Name of the operator's secret, when there is one.
    pub fn secret(&self) -> Option<&str> {
        match self {
            Self::HmacSha256Hex { secret, .. } | Self::StandardWebhooks { secret, .. } => {
                Some(secret)
            }
            Self::Unsigned => None,
        }
    }
}

/// One thing that is wrong with a manifest or a grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Path of the key, for example `video.models[0].id`.
    pub key: String,
    /// What is wrong.
    pub message: String,
}

impl Problem {
    pub(crate) fn new(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            message: message.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.key, self.message)
    }
}

impl Manifest {
    /// Reads a manifest's text.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, at once; never an empty list.
    pub fn parse(text: &str) -> Result<Self, Vec<Problem>> {
        match parse::parse(text) {
            (Some(manifest), problems) if problems.is_empty() => Ok(manifest),
            (_, problems) => Err(problems),
        }
    }

    /// Also what could be read of a manifest that is wrong, to look for more that is.
    pub(crate) fn read(text: &str) -> (Option<Self>, Vec<Problem>) {
        parse::parse(text)
    }
}
