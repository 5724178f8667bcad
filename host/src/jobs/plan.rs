//! Before anything is spent: who could make each step, and what it may cost there.

use super::{
    input::JobInput,
    model::{StepKind, SubtitleMode},
    quote::Ignored,
    requests,
    service::{Error, Service},
    settings::Settings,
};
use crate::{
    billing::{
        RoutePrice, StepQuote, Tariff,
        price::{Size, range},
    },
    providers::{
        Facts, Health, Kind, Lane, Look, Need, Provider, Registry, Route, VideoNeed, order,
    },
};

/// A paid step of a job that is not accepted yet.
#[derive(Debug, Clone)]
pub struct PlannedStep {
    /// Which one.
    pub kind: StepKind,
    /// Who could make it, and why others could not.
    pub route: Route,
    /// What it may cost.
    pub quote: StepQuote,
}

/// Credits that all of these may cost together.
#[must_use]
pub fn most(plan: &[PlannedStep]) -> i64 {
    plan.iter().map(|step| step.quote.max_credits()).sum()
}

impl Service {
    /// The paid steps of a wish, in order. Refuses at once what no installed provider can make.
    pub(super) fn plan(
        &self,
        input: &JobInput,
        speaks_itself: bool,
    ) -> Result<Vec<PlannedStep>, Error> {
        let mut plan = Vec::new();
        for kind in input.plan(speaks_itself) {
            if !kind.is_paid() {
                continue;
            }
            let need = need(input, kind, speaks_itself);
            let mut route = self.registry.route(&need);
            let facts = Known {
                registry: &self.registry,
                health: &self.health,
                settings: &self.settings,
            };
            facts.rank(&mut route, kind, input, None, need.prefer);
            if route.candidates.is_empty() {
                return Err(nobody(kind, &route));
            }
            let quote = StepQuote {
                routes: route
                    .candidates
                    .iter()
                    .filter_map(|id| self.registry.find(id))
                    .map(|provider| price(&provider, kind, input, None, &self.settings.tariff))
                    .collect(),
            };
            plan.push(PlannedStep { kind, route, quote });
        }
        Ok(plan)
    }
}

fn need(input: &JobInput, kind: StepKind, speaks_itself: bool) -> Need<'_> {
    let base = Need {
        kind: requests::provider_kind(kind).unwrap_or(Kind::Script),
        language: input.language(),
        characters: input.text().map_or(0, |text| text.chars().count()),
        pin: None,
        exclude: &[],
        only: input.only(),
        prefer: None,
        video: None,
    };
    match (input, kind) {
        (JobInput::Script(script), _) => Need {
            pin: script.provider.as_deref(),
            exclude: &script.exclude,
            ..base
        },
        (JobInput::Voice(voice), _) => Need {
            pin: voice.provider.as_deref(),
            ..base
        },
        (JobInput::Video(video), StepKind::Voice) => Need {
            pin: video.voice_provider.as_deref(),
            prefer: video.voice.as_ref().map(|voice| voice.provider.as_str()),
            ..base
        },
        (JobInput::Video(video), StepKind::Video) => Need {
            pin: video.provider.as_deref(),
            exclude: &video.exclude,
            prefer: video.avatar.as_ref().map(|avatar| avatar.provider.as_str()),
            video: Some(VideoNeed {
                aspect: video.aspect,
                voice_track: !speaks_itself,
                images: video.images.len() + video.product.images.len(),
            }),
            ..base
        },
        (JobInput::Video(_), _) => base,
    }
}

fn nobody(kind: StepKind, route: &Route) -> Error {
    let what = match kind {
        StepKind::Script => "write the script",
        StepKind::Voice => "speak it",
        _ => "make the film",
    };
    let reasons: Vec<_> = route
        .ruled_out
        .iter()
        .map(|out| format!("{} {}", out.provider, out.reason))
        .collect();
    Error::NoProvider(if reasons.is_empty() {
        format!("No provider is installed that could {what}.")
    } else {
        format!("No provider can {what}: {}.", reasons.join("; "))
    })
}

/// What is known of those who could make a step.
pub(super) struct Known<'a> {
    pub(super) registry: &'a Registry,
    pub(super) health: &'a Health,
    pub(super) settings: &'a Settings,
}

impl Known<'_> {
    /// Puts those who could make a step into the order in which they are tried.
    pub(super) fn rank(
        &self,
        route: &mut Route,
        kind: StepKind,
        input: &JobInput,
        written: Option<&str>,
        wanted: Option<&str>,
    ) {
        // In the operator's order, which decides among equals.
        let snapshot = self.registry.snapshot();
        let facts: Vec<Facts> = snapshot
            .providers
            .iter()
            .filter(|provider| route.candidates.iter().any(|id| id == provider.id()))
            .map(|provider| {
                let lane = lane(provider, kind, input);
                let measured = self.health.standing(&lane).measured;
                let usual = requests::provider_kind(kind).and_then(|own| provider.usual_time(own));
                let tariff = &self.settings.tariff;
                Facts {
                    provider: provider.id().to_owned(),
                    wanted: wanted == Some(provider.id()),
                    left_alone: matches!(self.health.look(&lane), Look::Wait(..)),
                    credits: price(provider, kind, input, written, tariff).max_credits,
                    time: measured.percentile(50).or(usual).unwrap_or_default(),
                    worked: (measured.worked, measured.samples),
                }
            })
            .collect();
        (route.candidates, route.later) = order(&facts, self.settings.prefer);
    }
}

/// What of a wish the provider that is tried first for a step takes no notice of.
pub(super) fn ignored(provider: &Provider, kind: StepKind, input: &JobInput) -> Vec<Ignored> {
    let (name, manifest) = (&provider.manifest().name, provider.manifest());
    let mut all = Vec::new();
    let mut add = |field: &str, message: String| {
        all.push(Ignored {
            field: field.to_owned(),
            message,
        });
    };
    match (kind, input) {
        (StepKind::Voice, JobInput::Video(wish)) => {
            if let Some(voice) = wish.voice.as_ref().filter(|v| v.provider != manifest.id) {
                let whose = &voice.provider;
                add(
                    "voiceId",
                    format!("{name} does not have the voice of {whose}."),
                );
            }
            let exact = manifest.voice.as_ref().is_some_and(|voice| voice.timing);
            if wish.subtitles != SubtitleMode::None && !exact {
                let words =
                    "does not tell when each word is spoken; subtitles are timed by length.";
                add("subtitles", format!("{name} {words}"));
            }
        }
        (StepKind::Video, JobInput::Video(wish)) => {
            let Some(video) = manifest.video.as_ref() else {
                return all;
            };
            if let Some(avatar) = wish.avatar.as_ref().filter(|a| a.provider != manifest.id) {
                let whose = &avatar.provider;
                add(
                    "avatarId",
                    format!("{name} does not have the avatar of {whose}."),
                );
            }
            let images = match wish.images.len() {
                0 => wish.product.images.len(),
                own => own,
            };
            match video.max_images as usize {
                0 if images > 0 => add("images", format!("{name} takes no pictures.")),
                most if images > most => {
                    add(
                        "images",
                        format!("{name} takes the first {most} pictures only."),
                    );
                }
                _ => {}
            }
            let least = video.min_seconds;
            if wish.max_seconds.is_some_and(|longest| longest < least) {
                add(
                    "maxSeconds",
                    format!("{name} makes films of {least} s at least."),
                );
            }
        }
        _ => {}
    }
    all
}

/// The model that a step uses at a provider: the one that was asked for, or the usual one.
pub(super) fn model_at<'a>(
    provider: &'a Provider,
    kind: StepKind,
    input: &'a JobInput,
) -> Option<&'a str> {
    let asked = input.model(kind, provider.id());
    asked.or_else(|| provider.usual_model(requests::provider_kind(kind)?))
}

/// What of a provider's a step uses.
pub(super) fn lane(provider: &Provider, kind: StepKind, input: &JobInput) -> Lane {
    match requests::provider_kind(kind) {
        Some(own) => Lane::of(provider.id(), own, model_at(provider, kind, input)),
        None => Lane::account(provider.id()),
    }
}

/// What a step may cost at a provider; `written` is the script, once there is one.
pub(super) fn price(
    provider: &Provider,
    kind: StepKind,
    input: &JobInput,
    written: Option<&str>,
    tariff: &Tariff,
) -> RoutePrice {
    let manifest = provider.manifest();
    let size = Size::of_speech(input.text().or(written), input.max_seconds());
    let (prices, size) = match kind {
        StepKind::Script => (manifest.script.as_ref().map(|own| &own.prices), size),
        StepKind::Voice => (manifest.voice.as_ref().map(|own| &own.prices), size),
        _ => (
            manifest.video.as_ref().map(|own| &own.prices),
            manifest
                .video
                .as_ref()
                .map_or(size, |own| size.within(own.min_seconds, own.max_seconds)),
        ),
    };
    let model = model_at(provider, kind, input);
    // Without a list it costs the least that anything costs; more is never asked for.
    let (least, most) = prices
        .and_then(|prices| range(prices, model, &size))
        .unwrap_or((0, 0));
    RoutePrice {
        provider: provider.id().to_owned(),
        min_credits: tariff.credits(least),
        max_credits: tariff.credits(most),
    }
}
