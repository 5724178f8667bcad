//! Before anything is spent: who could make each step, and what it may cost there.

use super::{
    input::JobInput,
    model::StepKind,
    requests,
    service::{Error, Service},
};
use crate::{
    billing::{
        RoutePrice, StepQuote, Tariff,
        price::{Size, range},
    },
    providers::{Kind, Need, Provider, Route, VideoNeed},
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
            let route = self.registry.route(&need(input, kind, speaks_itself));
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
    let (prices, models, size) = match kind {
        StepKind::Script => (
            manifest.script.as_ref().map(|own| &own.prices),
            manifest.script.as_ref().map(|own| &own.models),
            size,
        ),
        StepKind::Voice => (
            manifest.voice.as_ref().map(|own| &own.prices),
            manifest.voice.as_ref().map(|own| &own.models),
            size,
        ),
        _ => (
            manifest.video.as_ref().map(|own| &own.prices),
            manifest.video.as_ref().map(|own| &own.models),
            manifest
                .video
                .as_ref()
                .map_or(size, |own| size.within(own.min_seconds, own.max_seconds)),
        ),
    };
    let model = input.model(kind, provider.id()).or_else(|| {
        let usual = models?.iter().find(|model| model.default)?;
        Some(usual.id.as_str())
    });
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
