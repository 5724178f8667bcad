//! `Provider`: who makes things, what they can do, and what it costs.

use async_graphql::{Context, ID, Object, SimpleObject};
use genvid_runtime::{
    Manifest,
    manifest::{self, Price},
};

use super::{
    context,
    enums::{Aspect, AvatarNeed, HealthState, PriceUnit, ProviderKind, SpeechSource},
    scalars::{DateTime, Json, MicroUsd, Url},
};
use crate::providers::{self, Lane};

/// Providers of an installation as they usually are at most; for the cost of a query.
const PROVIDERS: usize = 10;

pub(super) struct Provider(providers::Provider);

/// A company whose service makes scripts, voice tracks or videos, through its plugin.
#[Object]
impl Provider {
    /// For example `heygen`. Inputs name providers by it.
    async fn id(&self) -> ID {
        self.0.id().into()
    }

    /// Its name.
    async fn name(&self) -> &str {
        &self.0.manifest().name
    }

    /// Version of its plugin, as semantic versioning has it.
    async fn version(&self) -> &str {
        &self.0.manifest().version
    }

    /// What it is, in one sentence.
    async fn description(&self) -> &str {
        &self.0.manifest().description
    }

    /// Where to read about it.
    async fn homepage(&self) -> Option<Url> {
        Url::foreign(self.0.manifest().homepage.as_deref()?)
    }

    /// What it makes.
    async fn kinds(&self) -> Vec<ProviderKind> {
        kinds(&self.0).collect()
    }

    /// Can it be used now?
    async fn available(&self) -> bool {
        self.0.disabled.is_none()
    }

    /// Why it cannot be used, in English, for callers who are signed in; else null.
    async fn unavailable_reason(&self, ctx: &Context<'_>) -> Option<&str> {
        context::whoever(ctx).user?;
        self.0.disabled.as_deref()
    }

    /// How it did lately, and whether it is called, for callers who are signed in; else null. Of
    /// its models, the one that does worst says whether it is called.
    async fn health(&self, ctx: &Context<'_>) -> Option<ProviderHealth> {
        context::whoever(ctx).user?;
        let health = &context::services(ctx).health;
        Some(health.standing_of_all(self.0.id()).into())
    }

    /// What it can do.
    async fn capabilities(&self) -> Capabilities {
        Capabilities::of(self.0.manifest())
    }

    /// The shape of `options` in requests for this kind, as a JSON Schema (2020-12); null when
    /// it takes none.
    async fn options_schema(
        &self,
        #[graphql(desc = "Of requests for this.")] kind: ProviderKind,
    ) -> Option<Json> {
        let schemas = &self.0.manifest().options;
        let schema = match kind {
            ProviderKind::Script => &schemas.script,
            ProviderKind::Voice => &schemas.voice,
            ProviderKind::Video => &schemas.video,
        };
        schema.clone().map(Json)
    }

    /// Models to choose from with `options.model`.
    async fn models(
        &self,
        #[graphql(desc = "Only those for this; without it all.")] kind: Option<ProviderKind>,
    ) -> Vec<ProviderModel> {
        let wanted = kinds(&self.0).filter(|own| kind.is_none_or(|kind| kind == *own));
        wanted
            .flat_map(|kind| {
                offer(self.0.manifest(), kind)
                    .map(|(models, _)| models)
                    .unwrap_or_default()
                    .iter()
                    .map(move |model| ProviderModel {
                        lane: Lane::of(self.0.id(), kind.into(), Some(&model.id)),
                        kind,
                        default: model.default,
                    })
            })
            .collect()
    }

    /// What it costs, by its price list. What an attempt has cost is in `Attempt`.
    async fn prices(
        &self,
        #[graphql(desc = "Only those for this; without it all.")] kind: Option<ProviderKind>,
    ) -> Vec<ProviderPrice> {
        let wanted = kinds(&self.0).filter(|own| kind.is_none_or(|kind| kind == *own));
        wanted
            .flat_map(|kind| {
                offer(self.0.manifest(), kind)
                    .map(|(_, prices)| prices)
                    .unwrap_or_default()
                    .iter()
                    .map(move |price| ProviderPrice::of(kind, price))
            })
            .collect()
    }
}

fn kinds(provider: &providers::Provider) -> impl Iterator<Item = ProviderKind> + use<'_> {
    ProviderKind::ALL
        .into_iter()
        .filter(|kind| provider.serves((*kind).into()))
}

fn offer(manifest: &Manifest, kind: ProviderKind) -> Option<(&[manifest::Model], &[Price])> {
    Some(match kind {
        ProviderKind::Script => {
            let script = manifest.script.as_ref()?;
            (&script.models, &script.prices)
        }
        ProviderKind::Voice => {
            let voice = manifest.voice.as_ref()?;
            (&voice.models, &voice.prices)
        }
        ProviderKind::Video => {
            let video = manifest.video.as_ref()?;
            (&video.models, &video.prices)
        }
    })
}

pub(super) struct ProviderModel {
    lane: Lane,
    kind: ProviderKind,
    default: bool,
}

/// A model of a provider's.
#[Object]
impl ProviderModel {
    /// For `options.model`.
    async fn id(&self) -> ID {
        ID::from(&self.lane.model)
    }

    /// What it makes.
    async fn kind(&self) -> ProviderKind {
        self.kind
    }

    /// Is it the one of those who do not choose?
    async fn default(&self) -> bool {
        self.default
    }

    /// How it did lately, and whether it is called, for callers who are signed in; else null.
    async fn health(&self, ctx: &Context<'_>) -> Option<ProviderHealth> {
        context::whoever(ctx).user?;
        let health = &context::services(ctx).health;
        Some(health.standing(&self.lane).into())
    }
}

/// How a provider did lately, on all nodes, for all users.
#[derive(SimpleObject)]
pub(super) struct ProviderHealth {
    /// Is it called?
    state: HealthState,
    /// When it is tried again; null when it is called as usual.
    open_until: Option<DateTime>,
    /// Why it is left alone, in English; else null.
    reason: Option<String>,
    /// The part of its attempts that worked, 0 to 1; those that were refused for what they asked
    /// for are not counted. Null where there were none.
    success_rate: Option<f64>,
    /// From the call to the result, in seconds, half of the time at most; null where there was
    /// no result.
    p50: Option<f64>,
    /// From the call to the result, in seconds, nineteen times of twenty at most; null where
    /// there was no result.
    p95: Option<f64>,
    /// How many attempts that is reckoned from, 500 at most.
    samples: i32,
}

impl From<providers::Standing> for ProviderHealth {
    fn from(standing: providers::Standing) -> Self {
        let measured = &standing.measured;
        let seconds = |percent| measured.percentile(percent).map(|took| took.as_secs_f64());
        Self {
            state: standing.state.into(),
            open_until: standing.until.map(Into::into),
            success_rate: measured.success_rate(),
            p50: seconds(50),
            p95: seconds(95),
            samples: i32::try_from(measured.samples).unwrap_or(i32::MAX),
            reason: standing.reason,
        }
    }
}

/// What one unit costs.
#[derive(SimpleObject)]
pub(super) struct ProviderPrice {
    /// For making this.
    kind: ProviderKind,
    /// With this model; null: with any that has no price of its own.
    model: Option<ID>,
    /// What is counted.
    unit: PriceUnit,
    /// Price of one unit.
    micro_usd: MicroUsd,
    /// The day the price was read, `YYYY-MM-DD`.
    read_at: String,
    /// Where it was read.
    source: Option<Url>,
}

impl ProviderPrice {
    fn of(kind: ProviderKind, price: &Price) -> Self {
        Self {
            kind,
            model: price.model.as_ref().map(ID::from),
            unit: price.unit.into(),
            micro_usd: MicroUsd(i64::try_from(price.micro_usd).unwrap_or(i64::MAX)),
            read_at: price.read.clone(),
            source: Url::foreign(&price.source),
        }
    }
}

/// What a provider can do, for each kind that it makes.
#[derive(SimpleObject)]
pub(super) struct Capabilities {
    /// For scripts; null when it writes none.
    script: Option<ScriptCapabilities>,
    /// For voice tracks; null when it speaks none.
    voice: Option<VoiceCapabilities>,
    /// For videos; null when it makes none.
    video: Option<VideoCapabilities>,
}

/// How a provider writes scripts.
#[derive(SimpleObject)]
pub(super) struct ScriptCapabilities {
    /// Languages as BCP 47 primary tags; `*` stands for all.
    languages: Vec<String>,
    /// Is the text told while it is written, by `TEXT_DELTA` events?
    streaming: bool,
    /// Usual time from the request to the result, in seconds.
    typical_seconds: i32,
}

/// How a provider speaks.
#[derive(SimpleObject)]
pub(super) struct VoiceCapabilities {
    /// Languages as BCP 47 primary tags; `*` stands for all.
    languages: Vec<String>,
    /// Longest text in characters.
    max_characters: i32,
    /// Does it tell when each word is spoken? Subtitles are then exact.
    word_timings: bool,
    /// Usual time from the request to the result, in seconds.
    typical_seconds: i32,
}

/// How a provider makes films.
#[derive(SimpleObject)]
pub(super) struct VideoCapabilities {
    /// Shapes of the picture.
    aspects: Vec<Aspect>,
    /// What it takes as the film's sound.
    speech: Vec<SpeechSource>,
    /// Languages as BCP 47 primary tags; `*` stands for all.
    languages: Vec<String>,
    /// Longest script in characters, where it speaks itself.
    max_characters: i32,
    /// Longest description of the picture in characters; 0: it takes none.
    max_prompt_characters: i32,
    /// Shortest film in seconds.
    min_seconds: i32,
    /// Longest film in seconds.
    max_seconds: i32,
    /// Most pictures in a request; 0: it takes none.
    max_images: i32,
    /// Does a request need an avatar?
    avatar: AvatarNeed,
    /// Usual time from the request to the result, in seconds.
    typical_seconds: i32,
}

impl Capabilities {
    fn of(manifest: &Manifest) -> Self {
        Self {
            script: manifest.script.as_ref().map(|script| ScriptCapabilities {
                languages: script.languages.clone(),
                streaming: script.streaming,
                typical_seconds: int(script.typical_seconds),
            }),
            voice: manifest.voice.as_ref().map(|voice| VoiceCapabilities {
                languages: voice.languages.clone(),
                max_characters: int(voice.max_characters),
                word_timings: voice.timing,
                typical_seconds: int(voice.typical_seconds),
            }),
            video: manifest.video.as_ref().map(|video| VideoCapabilities {
                aspects: video.aspects.iter().copied().map(Into::into).collect(),
                speech: video.speech.iter().copied().map(Into::into).collect(),
                languages: video.languages.clone(),
                max_characters: int(video.max_characters),
                max_prompt_characters: int(video.max_prompt_characters),
                min_seconds: int(video.min_seconds),
                max_seconds: int(video.max_seconds),
                max_images: int(video.max_images),
                avatar: video.avatar.into(),
                typical_seconds: int(video.typical_seconds),
            }),
        }
    }
}

/// GraphQL's `Int` has 31 bits; manifests allow far less.
fn int(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

#[derive(Default)]
pub(super) struct ProviderQueries;

#[Object]
impl ProviderQueries {
    /// The installed providers, in the server's order of preference.
    #[graphql(complexity = "PROVIDERS * child_complexity + 1")]
    async fn providers(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Only those that make this; without it all.")] kind: Option<ProviderKind>,
    ) -> Vec<Provider> {
        let wanted = kind.map(providers::Kind::from);
        context::services(ctx)
            .registry
            .snapshot()
            .providers
            .iter()
            .filter(|provider| wanted.is_none_or(|kind| provider.serves(kind)))
            .map(|provider| Provider(provider.as_ref().clone()))
            .collect()
    }
}
