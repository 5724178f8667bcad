//! What a set of simulators is started with.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    time::Duration,
};

use serde::{Deserialize, Serialize};

/// One of the simulated vendors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Vendor {
    /// HeyGen, API v3: avatar films.
    HeyGen,
    /// Kling: films from words and pictures.
    Kling,
    /// ElevenLabs: speech.
    ElevenLabs,
    /// OpenAI: scripts.
    OpenAi,
}

impl Vendor {
    /// All of them, in the order in which they are started.
    pub const ALL: [Self; 4] = [Self::HeyGen, Self::Kling, Self::ElevenLabs, Self::OpenAi];

    /// The plugin's id: `heygen`, `kling`, `elevenlabs` or `openai`.
    #[must_use]
    pub fn id(self) -> &'static str {
        match self {
            Self::HeyGen => "heygen",
            Self::Kling => "kling",
            Self::ElevenLabs => "elevenlabs",
            Self::OpenAi => "openai",
        }
    }
}

impl std::fmt::Display for Vendor {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.id())
    }
}

/// How to start the simulators. `Options::default()` listens on free loopback ports with
/// [`Profile::demo`] timing.
#[derive(Debug, Clone)]
pub struct Options {
    /// Address to listen on.
    pub bind: IpAddr,
    /// Port of each vendor; 0 takes a free one.
    pub ports: Ports,
    /// How long the vendors take.
    pub profile: Profile,
    /// The credentials that are accepted.
    pub keys: Keys,
    /// How much work each vendor takes at one time.
    pub limits: Limits,
    /// Seed of everything that looks random: ids, faults with a probability, colours.
    pub seed: u64,
    /// The `ffmpeg` to run. `ffprobe` is looked for beside it.
    pub ffmpeg: PathBuf,
    /// Where media are kept, so that a later start finds them; otherwise a temporary folder
    /// that goes with the simulators. Tasks and invoices live in memory only.
    pub data_dir: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
            ports: Ports::default(),
            profile: Profile::demo(),
            keys: Keys::default(),
            limits: Limits::default(),
            seed: 1,
            ffmpeg: PathBuf::from("ffmpeg"),
            data_dir: None,
        }
    }
}

/// Ports to listen on; 0 takes a free one.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ports {
    /// Port of HeyGen's simulator.
    pub heygen: u16,
    /// Port of Kling's simulator.
    pub kling: u16,
    /// Port of ElevenLabs' simulator.
    pub elevenlabs: u16,
    /// Port of OpenAI's simulator.
    pub openai: u16,
    /// Port of Stripe's simulator.
    pub stripe: u16,
    /// Port of Resend's simulator.
    pub resend: u16,
}

/// How long the vendors take, and how much they vary.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// How long the call that creates a film task takes to answer.
    pub accept: Duration,
    /// How long a film task waits before the vendor starts on it.
    pub queue: Duration,
    /// How long the vendor works on a film.
    pub render: Duration,
    /// How long speech takes before its first byte.
    pub speak: Duration,
    /// How long a script takes; a stream spreads its text over this time.
    pub write: Duration,
    /// How long a result link works. Each new look at a task gives a fresh one.
    pub media_ttl: Duration,
    /// Each film shows its own words and has its own length. Without this, films of similar
    /// length share one encoding without words, so that thousands of jobs cost few encodings.
    pub distinct_films: bool,
}

impl Profile {
    /// No waiting at all, for tests.
    #[must_use]
    pub fn instant() -> Self {
        Self {
            accept: Duration::ZERO,
            queue: Duration::ZERO,
            render: Duration::ZERO,
            speak: Duration::ZERO,
            write: Duration::ZERO,
            media_ttl: Duration::from_secs(3_600),
            distinct_films: true,
        }
    }

    /// A few seconds, so that a person sees each step.
    #[must_use]
    pub fn demo() -> Self {
        Self {
            accept: Duration::from_millis(200),
            queue: Duration::from_millis(800),
            render: Duration::from_millis(3_500),
            speak: Duration::from_millis(600),
            write: Duration::from_millis(2_500),
            ..Self::instant()
        }
    }

    /// About as long as the vendors take: minutes for a film, seconds for the rest.
    #[must_use]
    pub fn realistic() -> Self {
        Self {
            accept: Duration::from_secs(3),
            queue: Duration::from_secs(20),
            render: Duration::from_secs(280),
            speak: Duration::from_secs(4),
            write: Duration::from_secs(10),
            ..Self::instant()
        }
    }
}

/// Credentials that the simulators accept, and the secrets they sign webhooks with.
#[derive(Debug, Clone)]
pub struct Keys {
    /// HeyGen's `X-Api-Key`.
    pub heygen: String,
    /// Signs HeyGen's webhooks; any text.
    pub heygen_webhook: String,
    /// Kling's API key.
    pub kling: String,
    /// `iss` of the tokens on Kling's legacy routes.
    pub kling_access: String,
    /// Signs the tokens on Kling's legacy routes.
    pub kling_secret: String,
    /// `whsec_` and base64; nothing leaves Kling's webhooks unsigned, as without a secret in
    /// its console.
    pub kling_webhook: Option<String>,
    /// ElevenLabs' `xi-api-key`.
    pub elevenlabs: String,
    /// OpenAI's bearer key.
    pub openai: String,
    /// Stripe's secret key. No plugin gets it.
    pub stripe: String,
    /// Signs what Stripe posts to the receivers of `StripeHandle::listen`.
    pub stripe_webhook: String,
    /// Resend's API key. No plugin gets it.
    pub resend: String,
    /// Signs what Resend posts to the receiver of `ResendHandle::listen`: `whsec_` and base64.
    pub resend_webhook: String,
}

impl Default for Keys {
    fn default() -> Self {
        Self {
            heygen: "sim-heygen-key".into(),
            heygen_webhook: "sim-heygen-webhook-secret".into(),
            kling: "api-key-kling-sim".into(),
            kling_access: "sim-kling-access".into(),
            kling_secret: "sim-kling-secret".into(),
            kling_webhook: Some("whsec_c2ltLWtsaW5nLXdlYmhvb2stc2VjcmV0".into()),
            elevenlabs: "sim-elevenlabs-key".into(),
            openai: "sk-sim-openai-key".into(),
            stripe: "sk_test_sim_stripe_key".into(),
            stripe_webhook: "whsec_sim_stripe_webhook".into(),
            resend: "re_sim_resend_key".into(),
            resend_webhook: "whsec_c2ltLXJlc2VuZC13ZWJob29rLXNlY3JldA==".into(),
        }
    }
}

/// Parallel work that each vendor takes; 0 is without limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Film tasks that are not finished. HeyGen, pay as you go: 10.
    pub heygen: usize,
    /// Film tasks that are not finished. Kling, one standard pack: 20.
    pub kling: usize,
    /// Requests in flight. ElevenLabs, Creator plan: 5.
    pub elevenlabs: usize,
    /// Requests in flight. OpenAI documents no such limit.
    pub openai: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            heygen: 10,
            kling: 20,
            elevenlabs: 5,
            openai: 0,
        }
    }
}

impl Keys {
    /// By the names in the plugins' manifests, for example `HEYGEN_API_KEY`.
    #[must_use]
    pub fn secrets(&self) -> BTreeMap<String, String> {
        let mut secrets: BTreeMap<String, String> = [
            ("HEYGEN_API_KEY", &self.heygen),
            ("HEYGEN_WEBHOOK_SECRET", &self.heygen_webhook),
            ("KLING_API_KEY", &self.kling),
            ("KLING_ACCESS_KEY", &self.kling_access),
            ("KLING_SECRET_KEY", &self.kling_secret),
            ("ELEVENLABS_API_KEY", &self.elevenlabs),
            ("OPENAI_API_KEY", &self.openai),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.clone()))
        .collect();
        if let Some(secret) = &self.kling_webhook {
            secrets.insert("KLING_WEBHOOK_SECRET".into(), secret.clone());
        }
        secrets
    }
}
