//! Quotes: what a wish may cost and who could grant it, before anything is spent. A job that is
//! started with one never costs more than it says, whatever prices do meanwhile.

use std::{collections::HashMap, time::Duration};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    accept::Checked,
    input::JobInput,
    model::{JobKind, StepKind, StepSource},
    plan::{self, PlannedStep},
    requests,
    service::{Error, Service},
    wish::{ScriptWish, VideoWish, VoiceWish},
};
use crate::{
    adapters::sql,
    billing::StepQuote,
    ids::{ProjectId, QuoteId, UserId},
    input::Problems,
    providers::{Code, Provider},
    time::{self, Timestamp},
};

/// Deliveries from which a time is reckoned.
const LOOKED_AT: u32 = 200;

/// What a wish may cost, and until when that holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Quote {
    /// Its identifier.
    pub id: QuoteId,
    /// Who asked.
    pub owner: UserId,
    /// For what.
    pub kind: JobKind,
    /// SHA-256 of the wish, without its key, its deadline and where its end is told.
    pub request_hash: Vec<u8>,
    /// The paid steps, in order.
    pub steps: Vec<QuotedStep>,
    /// When.
    pub created_at: Timestamp,
    /// Until when jobs can be started with it.
    pub expires_at: Timestamp,
}

/// What a step may cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QuotedStep {
    /// Which one.
    pub kind: StepKind,
    /// Who could make it, in the order in which they are tried, and for how much.
    pub quote: StepQuote,
    /// Who could not, and who comes later than the first. Quotes that are older than these fields
    /// have none.
    #[serde(default)]
    pub others: Vec<Other>,
    /// What the first of the providers takes no notice of.
    #[serde(default)]
    pub ignored: Vec<Ignored>,
    /// Whose result it would take over; then it costs nothing, if that is still there.
    #[serde(default)]
    pub reused_from: Option<StepSource>,
    /// How long the first of the providers took lately, or usually takes.
    pub took: Option<Took>,
}

/// A provider that is not tried first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Other {
    /// Which one.
    pub provider: String,
    /// The model that it would use; nothing where it has none.
    pub model: Option<String>,
    /// The class.
    pub code: Code,
    /// Plain words.
    pub message: String,
    /// Is it tried at all?
    pub tried: bool,
}

/// Something of a wish that has no effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ignored {
    /// The field of the request.
    pub field: String,
    /// Plain words.
    pub message: String,
}

/// How long something took.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Took {
    /// In seconds, half of the time at most.
    pub p50: f64,
    /// In seconds, nineteen times of twenty at most.
    pub p95: f64,
    /// How often it was measured; 0: the provider's plugin says so.
    pub samples: usize,
}

impl Took {
    /// Of measured times, by nearest rank.
    #[must_use]
    pub fn of(mut times: Vec<Duration>) -> Option<Self> {
        times.sort_unstable();
        let rank = |percent: usize| {
            let place = (times.len() * percent).div_ceil(100).max(1);
            times.get(place - 1).map(Duration::as_secs_f64)
        };
        Some(Self {
            p50: rank(50)?,
            p95: rank(95)?,
            samples: times.len(),
        })
    }
}

impl QuotedStep {
    /// Credits that it costs at least, if it is made.
    #[must_use]
    pub fn min_credits(&self) -> i64 {
        match self.reused_from {
            Some(_) => 0,
            None => self.quote.min_credits(),
        }
    }
}

impl Quote {
    /// Credits that it costs at least, if it is made.
    #[must_use]
    pub fn min_credits(&self) -> i64 {
        self.steps.iter().map(QuotedStep::min_credits).sum()
    }

    /// Credits that it never costs more than.
    #[must_use]
    pub fn max_credits(&self) -> i64 {
        self.steps.iter().map(|step| step.quote.max_credits()).sum()
    }

    /// Was the time of each paid step measured here?
    #[must_use]
    pub fn is_measured(&self) -> bool {
        let measured = |step: &QuotedStep| step.took.is_some_and(|took| took.samples > 0);
        self.steps.iter().all(measured)
    }

    /// Seconds that the paid steps take, one after the other: half of the time at most, and
    /// nineteen times of twenty at most (rather less: bad luck is added up). What was never
    /// measured counts as its plugin says.
    #[must_use]
    pub fn expected_seconds(&self) -> Option<(f64, f64)> {
        self.steps.iter().try_fold((0.0, 0.0), |(p50, p95), step| {
            let took = step.took?;
            Some((p50 + took.p50, p95 + took.p95))
        })
    }
}

/// What a quote is about.
fn hash(
    input: &JobInput,
    project: Option<ProjectId>,
    speaks_itself: bool,
) -> Result<Vec<u8>, sql::Error> {
    let text = serde_json::to_vec(&(input, project, speaks_itself))
        .map_err(|source| sql::Error::decode("job input", source))?;
    Ok(Sha256::digest(text).to_vec())
}

impl Service {
    /// What a script may cost. Starts and spends nothing.
    ///
    /// # Errors
    /// As [`Service::write_script`].
    pub async fn quote_script(&self, owner: UserId, wish: ScriptWish) -> Result<Quote, Error> {
        let checked = self.check_script(owner, wish).await?;
        self.quote(owner, checked).await
    }

    /// What a voice track may cost. Starts and spends nothing.
    ///
    /// # Errors
    /// As [`Service::speak`].
    pub async fn quote_voice(&self, owner: UserId, wish: VoiceWish) -> Result<Quote, Error> {
        let checked = self.check_voice(owner, wish).await?;
        self.quote(owner, checked).await
    }

    /// What a video may cost. Starts and spends nothing.
    ///
    /// # Errors
    /// As [`Service::make_video`].
    pub async fn quote_video(&self, owner: UserId, wish: VideoWish) -> Result<Quote, Error> {
        let checked = self.check_video(owner, wish).await?;
        self.quote(owner, checked).await
    }

    async fn quote(&self, owner: UserId, checked: Checked) -> Result<Quote, Error> {
        let Checked {
            project,
            input,
            speaks_itself,
            ..
        } = checked;
        let mut steps = Vec::new();
        let plan = self.plan(&input, speaks_itself)?;
        let reused = self.foresee(owner, project, &input, &plan).await?;
        for planned in plan {
            let first = planned.route.candidates.first();
            let first = first.and_then(|id| self.registry.find(id));
            steps.push(QuotedStep {
                kind: planned.kind,
                others: self.others(&planned, &input),
                ignored: first.as_ref().map_or_else(Vec::new, |provider| {
                    plan::ignored(provider, planned.kind, &input)
                }),
                took: match &first {
                    Some(provider) => self.took(provider, planned.kind).await?,
                    None => None,
                },
                quote: planned.quote,
                reused_from: reused.get(&planned.kind).copied(),
            });
        }
        let now = time::now();
        let quote = Quote {
            id: QuoteId::generate(),
            owner,
            kind: input.kind(),
            request_hash: hash(&input, project, speaks_itself)?,
            steps,
            created_at: now,
            expires_at: now.after(self.settings.quote_life),
        };
        self.database.for_user(owner).insert_quote(&quote).await?;
        Ok(quote)
    }

    /// Why those who are not tried first are not.
    fn others(&self, planned: &PlannedStep, input: &JobInput) -> Vec<Other> {
        let model = |id: &str| {
            let provider = self.registry.find(id)?;
            plan::model_at(&provider, planned.kind, input).map(str::to_owned)
        };
        let later = planned.route.later.iter().map(|later| Other {
            model: model(&later.provider),
            provider: later.provider.clone(),
            code: later.code,
            message: later.message.clone(),
            tried: true,
        });
        let out = planned.route.ruled_out.iter().map(|out| Other {
            model: model(&out.provider),
            provider: out.provider.clone(),
            code: out.code,
            message: out.reason.clone(),
            tried: false,
        });
        later.chain(out).collect()
    }

    async fn took(&self, provider: &Provider, kind: StepKind) -> Result<Option<Took>, sql::Error> {
        let database = self.database.for_worker();
        let times = database
            .delivery_times(provider.id(), kind, LOOKED_AT)
            .await?;
        Ok(Took::of(times).or_else(|| {
            let usual = provider.usual_time(requests::provider_kind(kind)?)?;
            Some(Took {
                p50: usual.as_secs_f64(),
                p95: usual.as_secs_f64(),
                samples: 0,
            })
        }))
    }

    /// The plan of a job that is to be started: as it was quoted, or as things are now.
    /// Refuses at once what nobody can make any more.
    pub(super) async fn plan_of(
        &self,
        owner: UserId,
        quote: Option<QuoteId>,
        checked: &Checked,
    ) -> Result<Vec<PlannedStep>, Error> {
        if let Some(edit) = checked.input.edit() {
            self.check_source(owner, edit).await?;
            return Ok(Vec::new());
        }
        let mut plan = self.plan(&checked.input, checked.speaks_itself)?;
        let Some(id) = quote else {
            return Ok(plan);
        };
        let found = self.database.for_user(owner).find_quote(owner, id).await?;
        let place = checked.common.place;
        let asked_at = place.map_or_else(time::now, |place| place.asked_at);
        let Some(quote) = found else {
            return Err(no_quote("is no quote of yours"));
        };
        let hash = hash(&checked.input, checked.project, checked.speaks_itself)?;
        if quote.kind != checked.input.kind() || quote.request_hash != hash {
            return Err(no_quote(
                "was made for another request; ask for one with these fields",
            ));
        }
        if quote.expires_at <= asked_at {
            return Err(no_quote("has expired; ask for a new one"));
        }
        // Who could make it is found out anew; the prices are those of then.
        let mut quoted: HashMap<StepKind, StepQuote> = quote
            .steps
            .into_iter()
            .map(|step| (step.kind, step.quote))
            .collect();
        for step in &mut plan {
            if let Some(quote) = quoted.remove(&step.kind) {
                step.quote = quote;
            }
        }
        Ok(plan)
    }
}

fn no_quote(why: &str) -> Error {
    let mut problems = Problems::default();
    problems.add("quoteId", why);
    Error::Invalid(problems)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_by_rank() {
        assert_eq!(Took::of(Vec::new()), None);
        let seconds = |all: &[u64]| all.iter().map(|each| Duration::from_secs(*each)).collect();
        let one = Took::of(seconds(&[7])).expect("one");
        assert_eq!((one.p50, one.p95, one.samples), (7.0, 7.0, 1));
        let many: Vec<u64> = (1..=100).rev().collect();
        let many = Took::of(seconds(&many)).expect("many");
        assert_eq!((many.p50, many.p95, many.samples), (50.0, 95.0, 100));
    }
}
