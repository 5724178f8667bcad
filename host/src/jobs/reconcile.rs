//! Comparing attempts with the vendors' own records, through what the contract has for that:
//! asking for a task, and looking one up. Only GET and HEAD may leave, so nothing is ever bought.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream};
use genvid_runtime::{
    Call, ContextArgs, NoAssets, Permission,
    types::{ErrorKind, Status},
};

use super::{
    model::{Attempt, AttemptStatus, Charge},
    requests::PaidRequest,
    settle::{Finding, Settled, Settlement},
};
use crate::{
    adapters::sql::{self, Database},
    ids::AttemptId,
    providers::{Lookup, Provider, Registry},
    time::{self, Timestamp},
};

/// Attempts that are read at a time.
const PAGE: u32 = 64;
/// Attempts that one vendor is asked about at a time. How many requests leave in a second is the
/// sandbox's matter, as for a server.
const TOGETHER: usize = 4;
/// How far apart attempts may be that a look-up without a reference confuses.
const NEAR: Duration = Duration::from_secs(1_800);
/// Attempts of those minutes that are compared at most.
const ALIKE: u32 = 500;
/// How long a task that is unknown to its vendor may be only slow to show up.
const FRESH: Duration = Duration::from_secs(60);
/// How often, and how long apart, a version of a plugin is waited for.
const TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(100);

/// What is compared.
#[derive(Debug, Clone)]
pub struct Period {
    /// Only this provider's.
    pub provider: Option<String>,
    /// Submitted from here on …
    pub since: Timestamp,
    /// … and before here.
    pub until: Timestamp,
    /// Only what comes after this one: an earlier run got so far.
    pub after: Option<AttemptId>,
}

/// What does not agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    /// It counts as charged here, and the vendor has no record, or one that it ended.
    ChargedNotThere,
    /// It is over here without a charge, and the vendor has a result for it.
    ThereNotCharged,
    /// Its outcome is unknown here, and the vendor has it.
    UnknownFound,
    /// Its outcome is unknown here, and the vendor certainly does not have it.
    UnknownNotThere,
    /// It is over here, and the vendor still works on it.
    StillRunningThere,
}

impl Difference {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ChargedNotThere => "CHARGED_NOT_THERE",
            Self::ThereNotCharged => "THERE_NOT_CHARGED",
            Self::UnknownFound => "UNKNOWN_FOUND",
            Self::UnknownNotThere => "UNKNOWN_NOT_THERE",
            Self::StillRunningThere => "STILL_RUNNING_THERE",
        }
    }
}

/// What the vendor's records say of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
enum There {
    Working(String),
    /// Done, or found by a look-up.
    Has(String),
    /// It ended without a result.
    Ended,
    /// No such record. False: it may be too early to say so.
    Nothing(bool),
    /// The vendor could not be asked this time, and why.
    NotAsked(String),
    /// The contract has no way to ask.
    NoWay,
}

/// What comparing one attempt came to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    Agrees,
    Differs(Difference),
    TooEarly,
    NotAsked(String),
    NoWay,
}

/// An attempt that differs.
#[derive(Debug, Clone)]
pub struct Found {
    /// Its row.
    pub attempt: Attempt,
    /// How.
    pub difference: Difference,
    /// The vendor's task, where it has one.
    pub task: Option<String>,
    /// What became of it, where it was to be settled.
    pub settled: Option<Outcome>,
}

/// What settling came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is durable.
    Done,
    /// Nothing was changed, and why.
    Refused(String),
}

/// Numbers of one provider.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Whose.
    pub provider: String,
    /// Attempts of the period.
    pub attempts: u64,
    /// Those that agree.
    pub agree: u64,
    /// Those that do not.
    pub differences: u64,
    /// Those of the differences that were settled.
    pub settled: u64,
    /// On their way at this moment, or too young to be missed.
    pub too_early: u64,
    /// Those for which the vendor could not be asked.
    pub not_asked: u64,
    /// Those for which the contract has no way to ask.
    pub no_way: u64,
    /// Why it could not be asked, the first time.
    pub why: Option<String>,
}

/// What is told while it goes on.
pub enum Told<'a> {
    /// An attempt that differs.
    Found(&'a Found),
    /// So far everything is compared and, if wanted, settled.
    Progress(&'a Tally, AttemptId),
    /// One provider is done.
    Done(&'a Tally),
}

/// Compares.
pub struct Reconciler {
    /// Where the attempts are.
    pub database: Database,
    /// The plugins.
    pub registry: Registry,
    /// How long a server keeps trying to find out by itself.
    pub unconfirmed_window: Duration,
    /// How long a job that goes on has at least.
    pub life: Duration,
    /// Whether what is certain is settled, and by whom.
    pub settle: Option<String>,
}

impl Reconciler {
    /// Compares all attempts of a period, provider by provider, the oldest first.
    ///
    /// # Errors
    /// When the database fails. What was settled before stays settled.
    pub async fn run(
        &self,
        period: &Period,
        mut tell: impl FnMut(Told<'_>),
    ) -> Result<Vec<Tally>, sql::Error> {
        let mut from = match period.after {
            Some(id) => self.database.attempt_place(id).await?,
            None => None,
        };
        let mut tallies = Vec::new();
        for provider in self.database.providers_of_attempts(period).await? {
            let after = match &from {
                Some((first, ..)) if provider < *first => continue,
                Some((first, at, id)) if provider == *first => Some((*at, *id)),
                _ => None,
            };
            from = from.filter(|(first, ..)| provider < *first);
            let tally = self.provider(period, provider, after, &mut tell).await?;
            tell(Told::Done(&tally));
            tallies.push(tally);
        }
        Ok(tallies)
    }

    async fn provider(
        &self,
        period: &Period,
        provider: String,
        mut after: Option<(Timestamp, AttemptId)>,
        tell: &mut impl FnMut(Told<'_>),
    ) -> Result<Tally, sql::Error> {
        let mut tally = Tally {
            provider,
            ..Tally::default()
        };
        loop {
            let page = self
                .database
                .attempts_between(&tally.provider, period.since, period.until, after, PAGE)
                .await?;
            let Some(last) = page.last().map(|last| (last.submitted_at, last.id)) else {
                return Ok(tally);
            };
            let mut compared = stream::iter(page)
                .map(|attempt| async {
                    let compared = self.compare(&attempt).await;
                    (attempt, compared)
                })
                .buffered(TOGETHER);
            while let Some((attempt, compared)) = compared.next().await {
                let (verdict, task) = compared?;
                if let Some(found) = self.count(&mut tally, attempt, verdict, task).await? {
                    tell(Told::Found(&found));
                }
            }
            tell(Told::Progress(&tally, last.1));
            after = Some(last);
        }
    }

    async fn count(
        &self,
        tally: &mut Tally,
        attempt: Attempt,
        verdict: Verdict,
        task: Option<String>,
    ) -> Result<Option<Found>, sql::Error> {
        tally.attempts += 1;
        let difference = match verdict {
            Verdict::Agrees => {
                tally.agree += 1;
                return Ok(None);
            }
            Verdict::TooEarly => {
                tally.too_early += 1;
                return Ok(None);
            }
            Verdict::NoWay => {
                tally.no_way += 1;
                return Ok(None);
            }
            Verdict::NotAsked(why) => {
                tally.not_asked += 1;
                tally.why.get_or_insert(why);
                return Ok(None);
            }
            Verdict::Differs(difference) => difference,
        };
        tally.differences += 1;
        let settled = self.settle(&attempt, difference, task.as_deref()).await?;
        tally.settled += u64::from(settled == Some(Outcome::Done));
        Ok(Some(Found {
            attempt,
            difference,
            task,
            settled,
        }))
    }

    /// Settles what is certain, if that is wanted.
    async fn settle(
        &self,
        attempt: &Attempt,
        difference: Difference,
        task: Option<&str>,
    ) -> Result<Option<Outcome>, sql::Error> {
        let Some(by) = &self.settle else {
            return Ok(None);
        };
        let (finding, reason) = match (difference, task) {
            (Difference::UnknownFound, Some(task)) => (
                Finding::Task(task.to_owned()),
                "found in the provider's records",
            ),
            (Difference::UnknownNotThere, _) => {
                (Finding::NotCharged, "the provider's records do not have it")
            }
            _ => return Ok(None),
        };
        let settlement = Settlement {
            attempt: attempt.id,
            finding,
            by: by.clone(),
            actor: by.clone(),
            reason: reason.to_owned(),
            deadline: time::now().after(self.life),
        };
        Ok(Some(
            match self.database.settle_attempt(settlement).await? {
                Settled::Done { .. } => Outcome::Done,
                Settled::Refused(why) => Outcome::Refused(why),
                Settled::Missing => Outcome::Refused("it is gone".to_owned()),
            },
        ))
    }

    async fn compare(&self, attempt: &Attempt) -> Result<(Verdict, Option<String>), sql::Error> {
        if attempt.status == AttemptStatus::Submitting {
            // A worker has it in hand, or will soon say that it is unknown.
            return Ok((Verdict::TooEarly, None));
        }
        let Some(provider) = self.plugin_of(attempt).await else {
            let why = "its plugin is not there".to_owned();
            return Ok((Verdict::NotAsked(why), None));
        };
        let mut there = self.ask(&provider, attempt).await;
        if let There::Has(task) = &there
            && expected(attempt) != Expected::There
        {
            match self.whose(&provider, attempt, task).await? {
                // A look-up without a reference may name the record of the same words again.
                Some(true) => there = There::Nothing(false),
                Some(false) => {
                    let why = "another attempt could not be told from it".to_owned();
                    there = There::NotAsked(why);
                }
                None => {}
            }
        }
        let task = match &there {
            There::Has(task) | There::Working(task) => Some(task.clone()),
            _ => attempt.vendor_task.clone(),
        };
        Ok((judge(attempt, there), task))
    }

    /// The version that submitted it, or the one that took its place.
    async fn plugin_of(&self, attempt: &Attempt) -> Option<Arc<Provider>> {
        for _ in 0..TRIES {
            match self
                .registry
                .version(&attempt.provider, &attempt.plugin_digest)
            {
                Lookup::Here(provider) => return Some(provider),
                Lookup::Missing => return None,
                Lookup::Later => tokio::time::sleep(PAUSE).await,
            }
        }
        None
    }

    async fn ask(&self, provider: &Provider, attempt: &Attempt) -> There {
        let told = match &attempt.vendor_task {
            Some(task) => state(provider, attempt, task).await,
            None => There::NoWay,
        };
        match told {
            // What has no task, and what a plugin cannot say without keeping the result.
            There::NoWay | There::NotAsked(_) if provider.manifest().recovery.lookup => {
                match look_up(provider, attempt).await {
                    Ok(Some(task)) => There::Has(task),
                    Ok(None) => There::Nothing(self.is_proof(provider, attempt)),
                    Err(there) => there,
                }
            }
            other => other,
        }
    }

    /// Does an empty look-up prove that nothing was accepted? The same rule as a server's own,
    /// and not before the last repetition of its key may have left.
    fn is_proof(&self, provider: &Provider, attempt: &Attempt) -> bool {
        let Some(seconds) = provider.settle_after_seconds else {
            return false;
        };
        let mut wait = Duration::from_secs(seconds.into());
        if provider.manifest().recovery.replay_hours.is_some() {
            wait += self.unconfirmed_window;
        }
        time::now().since(last_word(attempt)) >= wait
    }

    /// Does a task that was found belong to another attempt? Nothing: it does not; false: that
    /// could not be found out.
    async fn whose(
        &self,
        provider: &Provider,
        attempt: &Attempt,
        task: &str,
    ) -> Result<Option<bool>, sql::Error> {
        let others = self.database.attempts_with_task(&attempt.provider, task);
        if others.await?.iter().any(|other| *other != attempt.id) {
            return Ok(Some(true));
        }
        let near = self.database.attempts_without_task(attempt, NEAR, ALIKE);
        let near = near.await?;
        if near.len() >= ALIKE as usize {
            return Ok(Some(false));
        }
        for other in near.iter().filter(|one| one.request == attempt.request) {
            match look_up(provider, other).await {
                Ok(Some(found)) if found == task => return Ok(Some(true)),
                Ok(_) => {}
                Err(_) => return Ok(Some(false)),
            }
        }
        Ok(None)
    }
}

/// What the vendor ought to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    There,
    Unknown,
    Nothing,
}

fn expected(attempt: &Attempt) -> Expected {
    match attempt.status {
        AttemptStatus::Unconfirmed => Expected::Unknown,
        AttemptStatus::Submitting | AttemptStatus::Accepted | AttemptStatus::Succeeded => {
            Expected::There
        }
        AttemptStatus::Failed | AttemptStatus::Canceled | AttemptStatus::Abandoned => {
            match attempt.charge {
                Charge::Charged => Expected::There,
                Charge::NotCharged | Charge::Unknown => Expected::Nothing,
            }
        }
    }
}

fn judge(attempt: &Attempt, there: There) -> Verdict {
    use Difference::{
        ChargedNotThere, StillRunningThere, ThereNotCharged, UnknownFound, UnknownNotThere,
    };
    let over = attempt.finished_at.is_some();
    // What an operator settled as charged for nothing may well have ended there.
    let delivered = attempt.status == AttemptStatus::Succeeded;
    match (expected(attempt), there) {
        (_, There::NoWay) => Verdict::NoWay,
        (_, There::NotAsked(why)) => Verdict::NotAsked(why),
        (Expected::There, There::Nothing(true)) => Verdict::Differs(ChargedNotThere),
        (Expected::There, There::Ended) if delivered => Verdict::Differs(ChargedNotThere),
        (Expected::There | Expected::Nothing, There::Working(_)) if over => {
            Verdict::Differs(StillRunningThere)
        }
        (Expected::Nothing, There::Has(_)) => Verdict::Differs(ThereNotCharged),
        (Expected::Unknown, There::Has(_) | There::Working(_)) => Verdict::Differs(UnknownFound),
        (Expected::Unknown, There::Nothing(true)) => Verdict::Differs(UnknownNotThere),
        (Expected::There | Expected::Unknown, There::Nothing(false))
        | (Expected::Unknown, There::Ended) => Verdict::TooEarly,
        (Expected::There, There::Has(_) | There::Working(_) | There::Ended)
        | (Expected::Nothing, There::Working(_) | There::Ended | There::Nothing(_)) => {
            Verdict::Agrees
        }
    }
}

/// When something about it last happened here.
fn last_word(attempt: &Attempt) -> Timestamp {
    let times = [
        attempt.uncertain_at,
        attempt.accepted_at,
        attempt.finished_at,
    ];
    let latest = times.into_iter().flatten().max();
    latest.map_or(attempt.submitted_at, |at| at.max(attempt.submitted_at))
}

fn call(label: String) -> Call {
    // Only GET and HEAD leave: whatever a plugin tries, nothing is bought here.
    let never: Permission = Arc::new(|| false);
    Call {
        assets: Arc::new(NoAssets),
        text: None,
        permission: Some(never),
        label,
    }
}

async fn state(provider: &Provider, attempt: &Attempt, task: &str) -> There {
    let context = ContextArgs {
        client_ref: attempt.id.to_string(),
        callback_url: None,
    };
    let asked = vec![(task.to_owned(), context)];
    let label = format!("reconcile {}", attempt.id);
    let outcome = provider.plugin.poll(call(label), asked).await;
    let answer = match outcome.result {
        Ok(answers) => answers.into_iter().next(),
        Err(error) => return There::NotAsked(error.to_string()),
    };
    let missing = || There::Nothing(time::now().since(last_word(attempt)) >= FRESH);
    match answer {
        Some(Ok(Status::Queued(_) | Status::Running(_))) => There::Working(task.to_owned()),
        Some(Ok(Status::Done(_))) => There::Has(task.to_owned()),
        Some(Ok(Status::Failed(error)) | Err(error)) if error.kind == ErrorKind::NotFound => {
            missing()
        }
        Some(Ok(Status::Failed(_) | Status::Canceled)) => There::Ended,
        Some(Err(error)) => There::NotAsked(error.message),
        None => There::NotAsked("its plugin did not answer".to_owned()),
    }
}

async fn look_up(provider: &Provider, attempt: &Attempt) -> Result<Option<String>, There> {
    let request: PaidRequest = serde_json::from_value(attempt.request.clone())
        .map_err(|_| There::NotAsked("its request cannot be read".to_owned()))?;
    let label = format!("reconcile {}", attempt.id);
    let outcome = provider.plugin.find(call(label), request.lost(attempt));
    let outcome = outcome.await;
    match outcome.result {
        _ if outcome.trace.withheld => Err(There::NoWay),
        Ok(found) => Ok(found),
        Err(genvid_runtime::Failure::Plugin(error)) if error.kind == ErrorKind::Unsupported => {
            Err(There::NoWay)
        }
        Err(error) => Err(There::NotAsked(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::ids::{JobId, StepId};

    fn attempt(status: AttemptStatus, charge: Charge, over: bool) -> Attempt {
        let at = time::now();
        Attempt {
            id: AttemptId::generate(),
            step: StepId::generate(),
            job: JobId::generate(),
            number: 1,
            round: 1,
            provider: "heygen".to_owned(),
            plugin_version: String::new(),
            plugin_digest: String::new(),
            model: None,
            status,
            counts: true,
            charge,
            vendor_task: None,
            request: Value::Null,
            delivered: None,
            error: None,
            cost_micro_usd: None,
            max_credits: 0,
            credits: 0,
            submitted_at: at,
            accepted_at: None,
            uncertain_at: None,
            finished_at: over.then_some(at),
        }
    }

    /// For each that may be here, what comes of all that may be there.
    #[test]
    fn here_and_there_are_compared() {
        use AttemptStatus::{
            Abandoned, Accepted, Canceled, Failed, Submitting, Succeeded, Unconfirmed,
        };
        use Charge::{Charged, NotCharged, Unknown};
        use Difference::{
            ChargedNotThere, StillRunningThere, ThereNotCharged, UnknownFound, UnknownNotThere,
        };
        use Verdict::{Agrees, Differs, TooEarly};
        let there = || {
            let task = || "task".to_owned();
            [
                There::Working(task()),
                There::Has(task()),
                There::Ended,
                There::Nothing(true),
                There::Nothing(false),
            ]
        };
        let missing = Differs(ChargedNotThere);
        let running = Differs(StillRunningThere);
        let found = Differs(UnknownFound);
        let unpaid = Differs(ThereNotCharged);
        let under_way = [&Agrees, &Agrees, &Agrees, &missing, &TooEarly];
        let delivered = [&running, &Agrees, &missing, &missing, &TooEarly];
        let paid_for_nothing = [&running, &Agrees, &Agrees, &missing, &TooEarly];
        let lost = [
            &found,
            &found,
            &TooEarly,
            &Differs(UnknownNotThere),
            &TooEarly,
        ];
        let unpaid = [&running, &unpaid, &Agrees, &Agrees, &Agrees];
        for (status, charge, over, wanted) in [
            (Submitting, Unknown, false, under_way),
            (Accepted, Charged, false, under_way),
            (Succeeded, Charged, true, delivered),
            (Failed, Charged, true, paid_for_nothing),
            (Canceled, Charged, true, paid_for_nothing),
            (Unconfirmed, Unknown, false, lost),
            (Failed, NotCharged, true, unpaid),
            (Canceled, NotCharged, true, unpaid),
            (Abandoned, Unknown, true, unpaid),
        ] {
            let attempt = attempt(status, charge, over);
            for (there, wanted) in there().into_iter().zip(wanted) {
                let said = format!("{status:?} {charge:?} {there:?}");
                assert_eq!(judge(&attempt, there), *wanted, "{said}");
            }
            let why = "it is away".to_owned();
            let not_asked = judge(&attempt, There::NotAsked(why.clone()));
            assert_eq!(not_asked, Verdict::NotAsked(why));
            assert_eq!(judge(&attempt, There::NoWay), Verdict::NoWay);
        }
    }

    #[test]
    fn the_last_word_is_the_latest() {
        let mut attempt = attempt(AttemptStatus::Accepted, Charge::Unknown, false);
        assert_eq!(last_word(&attempt), attempt.submitted_at);
        let later = attempt.submitted_at.after(Duration::from_secs(5));
        attempt.accepted_at = Some(later);
        attempt.uncertain_at = Some(attempt.submitted_at);
        assert_eq!(last_word(&attempt), later);
    }
}
