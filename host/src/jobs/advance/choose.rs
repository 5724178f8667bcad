//! Who is called for a step: who could make it, in which order, and who is left alone for now.

use std::time::Duration;

use super::{Advance, Draft, Held, Turn, Work, Written, about};
use crate::{
    adapters::sql,
    jobs::{
        input::JobInput,
        model::{EventType, Failure, FailureCode, Step, StepKind},
        plan,
        requests::{self, Materials},
    },
    providers::{Code, Look, Need, Provider, Route, RuledOut, VideoNeed},
    time::Timestamp,
};

/// How much later than they could those go on who waited for the same provider, at most.
const SPREAD_MS: u64 = 500;

/// Who is to be called.
pub(super) struct Choice {
    pub(super) provider: String,
    /// The call is to find out whether the provider works again.
    pub(super) trial: bool,
    /// Who would have been called, were it not left alone.
    pub(super) instead_of: Option<String>,
}

pub(super) enum Chosen {
    One(Choice),
    /// All are left alone: the one that may be asked soonest, when, and why not now.
    Later(String, Timestamp, String),
    Nobody,
}

impl Advance {
    /// Who is to be called: who has the step, or else who had no try yet, as far as they are
    /// not left alone for now.
    pub(super) fn choose(&self, route: &Route, held: &Held, work: &Work) -> Chosen {
        let step = &held.step;
        let own = step
            .provider
            .as_ref()
            .filter(|id| route.candidates.contains(id));
        let others = untried(route, step, work, None);
        let mut soonest: Option<(String, Timestamp, String)> = None;
        let mut first = None;
        for id in own.into_iter().chain(others.filter(|id| own != Some(*id))) {
            first = first.or(Some(id));
            // One that was removed in this instant is found to be so later.
            let look = self.registry.find(id).map_or(Look::Free, |provider| {
                self.health
                    .look(&plan::lane(&provider, step.kind, &work.job.input))
            });
            match look {
                Look::Free | Look::Trial => {
                    return Chosen::One(Choice {
                        provider: id.clone(),
                        trial: look == Look::Trial,
                        instead_of: first.filter(|first| *first != id).cloned(),
                    });
                }
                Look::Wait(until, why) => {
                    if soonest
                        .as_ref()
                        .is_none_or(|(_, sooner, _)| until < *sooner)
                    {
                        soonest = Some((id.clone(), until, why));
                    }
                }
            }
        }
        match soonest {
            Some((provider, until, why)) => Chosen::Later(provider, until, why),
            None => Chosen::Nobody,
        }
    }

    /// The step waits: all who could make it are left alone for now. That is no try.
    pub(super) async fn leave_alone(
        &self,
        held: &mut Held,
        provider: String,
        until: Timestamp,
        why: &str,
    ) -> Result<Turn, sql::Error> {
        held.slot = None;
        // Not all at once: one of them makes the trial.
        let spread = Duration::from_millis(rand::random_range(0..SPREAD_MS));
        let due = until.after(spread).min(held.deadline);
        let failure = Failure::new(
            FailureCode::ProviderUnavailable,
            format!("{provider} is left alone until it works again. {why}"),
        );
        if held.step.error.as_ref() == Some(&failure) && held.step.due_at >= Some(due) {
            return Ok(Turn::Wait(due));
        }
        let mut events = Vec::new();
        if held.step.error.as_ref() != Some(&failure) {
            events.push(
                about(held.step.kind, EventType::StepRetrying).saying(failure.message.as_str()),
            );
        }
        let step = Step {
            error: Some(failure),
            due_at: Some(due),
            ..held.step.clone()
        };
        let draft = Draft {
            events,
            ..Draft::default()
        };
        Ok(match self.write(held, step, draft).await? {
            Written::Lost => Turn::Gone,
            Written::Done {
                cancel_requested: true,
            } => Turn::Again,
            Written::Done {
                cancel_requested: false,
            } => Turn::Wait(due),
        })
    }

    pub(super) fn route(&self, held: &Held, work: &Work) -> Route {
        let Some(kind) = requests::provider_kind(held.step.kind) else {
            return Route::default();
        };
        let materials = Materials::of(&work.steps);
        let characters = requests::spoken_text(&work.job.input, &materials)
            .chars()
            .count();
        let own = (&work.job.input, held.step.kind);
        let (language, pin, exclude, prefer) = match own {
            (JobInput::Script(input), _) => (
                &input.language,
                input.provider.as_deref(),
                input.exclude.as_slice(),
                None,
            ),
            (JobInput::Voice(input), _) => (
                &input.language,
                input.provider.as_deref(),
                input.exclude.as_slice(),
                None,
            ),
            (JobInput::Video(input), StepKind::Voice) => (
                &input.language,
                input.voice_provider.as_deref(),
                &[] as &[String],
                input.voice.as_ref().map(|voice| voice.provider.as_str()),
            ),
            (JobInput::Video(input), StepKind::Video) => (
                &input.language,
                input.provider.as_deref(),
                input.exclude.as_slice(),
                input.avatar.as_ref().map(|avatar| avatar.provider.as_str()),
            ),
            (JobInput::Video(input), _) => (&input.language, None, &[] as &[String], None),
        };
        let video = match own {
            (JobInput::Video(input), StepKind::Video) => Some(VideoNeed {
                aspect: input.aspect,
                voice_track: materials.voice.is_some(),
                images: input.images.len() + input.product.images.len(),
            }),
            _ => None,
        };
        let mut route = self.registry.route(&Need {
            kind,
            language,
            characters,
            pin,
            exclude,
            only: work.job.input.only(),
            prefer,
            video,
        });
        self.keep_to_quote(held, work, &mut route);
        let known = plan::Known {
            registry: &self.registry,
            health: &self.health,
            settings: &self.settings,
        };
        let written = materials.script.map(|script| script.text.as_str());
        known.rank(&mut route, held.step.kind, &work.job.input, written, prefer);
        route
    }

    /// Rules out who would cost more than was quoted before the job began.
    fn keep_to_quote(&self, held: &Held, work: &Work, route: &mut Route) {
        let (kept, dear): (Vec<_>, Vec<_>) = route.candidates.drain(..).partition(|id| {
            let provider = self.registry.find(id);
            // One that was removed in this instant is found to be so later.
            provider.is_none_or(|provider| self.most_at(held, work, &provider).is_some())
        });
        route.candidates = kept;
        route
            .ruled_out
            .extend(dear.into_iter().map(|provider| RuledOut {
                provider,
                code: Code::BeyondQuote,
                reason: "would cost more credits than were quoted".to_owned(),
            }));
    }

    /// Credits that an attempt at a provider may cost; nothing when it is dearer than the quote.
    pub(super) fn most_at(&self, held: &Held, work: &Work, provider: &Provider) -> Option<i64> {
        let Some(quote) = &held.step.quote else {
            // From before there were credits.
            return Some(0);
        };
        let written = Materials::of(&work.steps)
            .script
            .map(|script| script.text.as_str());
        let (kind, input) = (held.step.kind, &work.job.input);
        let now = plan::price(provider, kind, input, written, &self.settings.tariff);
        quote.most_at(provider.id(), Some(now.max_credits))
    }
}

/// The candidates that have had no attempt in this round. `refused` has had one that `work` may
/// not know yet.
pub(super) fn untried<'a>(
    route: &'a Route,
    step: &'a Step,
    work: &'a Work,
    refused: Option<&'a str>,
) -> impl Iterator<Item = &'a String> {
    route
        .candidates
        .iter()
        .filter(move |id| refused != Some(id.as_str()))
        .filter(move |id| {
            !work
                .attempts_of(step)
                .any(|old| old.round == step.round && old.provider == **id)
        })
}

pub(super) fn nobody(route: &Route, step: &Step, work: &Work) -> Failure {
    let last = work
        .current(step)
        .filter(|old| old.round == step.round)
        .and_then(|old| old.error.clone());
    last.unwrap_or_else(|| {
        let reasons: Vec<_> = route
            .ruled_out
            .iter()
            .map(|out| format!("{} {}", out.provider, out.reason))
            .collect();
        Failure::new(
            FailureCode::ProviderUnavailable,
            if reasons.is_empty() {
                format!(
                    "No provider for the step {} is installed.",
                    step.kind.as_str()
                )
            } else {
                format!("No provider can make this: {}.", reasons.join("; "))
            },
        )
    })
}
