//! `genvid admin reconcile`.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context;
use clap::Args;
use serde_json::{Value, json};

use super::{Output, credits::instant, open};
use crate::{
    app::Providers,
    cli::{ready::Ready, simulators},
    ids::AttemptId,
    jobs::reconcile::{Found, Outcome, Period, Reconciler, Tally, Told},
    time::{self, Timestamp},
};

/// Who settles here, as jobs' logs name it.
const ACTOR: &str = "genvid admin reconcile";
/// How far back, if nobody says.
const USUAL: Duration = Duration::from_secs(7 * 86_400);
/// The contract's limit, told with each provider.
const LISTING: &str = "records that no attempt names cannot be listed through a plugin";

/// Each attempt of the period is compared with what its provider says of it. Nothing is bought:
/// only requests that read may leave.
///
/// Differences come on standard output as they are found, progress on standard error. Ends with
/// 0 when all that could be asked agrees, 1 when something differs or could not be asked.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  genvid admin reconcile --since 2027-04-01 --json\n  genvid admin reconcile --provider kling --apply\n  genvid admin reconcile --after att_…   # goes on where an earlier run ended"
)]
pub(super) struct Reconcile {
    /// Only this provider.
    #[arg(long, value_name = "ID")]
    provider: Option<String>,
    /// Attempts submitted from then on: a time of RFC 3339, or a day (UTC). Without it, those of
    /// the last seven days.
    #[arg(long, value_name = "WHEN", value_parser = instant)]
    since: Option<Timestamp>,
    /// Attempts submitted before then.
    #[arg(long, value_name = "WHEN", value_parser = instant)]
    until: Option<Timestamp>,
    /// Go on after this attempt, as an earlier run's progress named it.
    #[arg(long, value_name = "ATTEMPT")]
    after: Option<AttemptId>,
    /// Settle what is certain: unknown calls that the provider has are followed from there,
    /// those that it certainly does not have are not charged.
    #[arg(long)]
    apply: bool,
    /// Reroute the vendors to simulators: a ready file.
    #[arg(long, value_name = "FILE")]
    simulators: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn run(wanted: Reconcile) -> anyhow::Result<ExitCode> {
    let mut settings = wanted.output.settings()?;
    if let Some(file) = &wanted.simulators {
        simulators::reroute(&mut settings, &Ready::read(file)?.simulators);
    }
    let period = wanted.period()?;
    let installer = open(&settings).await?;
    let database = installer.database();
    if let Some(after) = period.after {
        let place = database.attempt_place(after).await?;
        place.with_context(|| format!("--after: there is no attempt {after}"))?;
    }
    let providers = Providers::open(&settings, database).await?;
    let reconciler = Reconciler {
        database: database.for_worker(),
        registry: providers.registry.clone(),
        unconfirmed_window: Duration::from_secs(settings.jobs.unconfirmed_minutes * 60),
        life: Duration::from_secs(settings.jobs.deadline_minutes * 60),
        settle: wanted.apply.then(|| ACTOR.to_owned()),
    };
    let json = wanted.output.json;
    let tallies = reconciler.run(&period, |told| tell(&told, json)).await;
    providers.close().await;
    let tallies = tallies.context("it ended early; what was settled stays settled")?;
    let sum = |of: fn(&Tally) -> u64| tallies.iter().map(of).sum::<u64>();
    let (differences, not_asked) = (sum(|one| one.differences), sum(|one| one.not_asked));
    let ok = differences == 0 && not_asked == 0;
    let (attempts, settled) = (sum(|one| one.attempts), sum(|one| one.settled));
    if json {
        let line = json!({
            "type": "summary", "ok": ok, "attempts": attempts, "differences": differences,
            "settled": settled, "notAsked": not_asked,
        });
        println!("{line}");
    } else {
        println!(
            "{attempts} attempts, {differences} differences, {settled} settled, \
             {not_asked} not asked."
        );
    }
    Ok(if ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

impl Reconcile {
    fn period(&self) -> anyhow::Result<Period> {
        let now = time::now();
        let week = i64::try_from(USUAL.as_millis()).unwrap_or(i64::MAX);
        let ago = chrono::DateTime::from_timestamp_millis(now.millis() - week);
        let period = Period {
            provider: self.provider.clone(),
            since: self.since.unwrap_or(ago.unwrap_or_default().into()),
            until: self.until.unwrap_or(now),
            after: self.after,
        };
        anyhow::ensure!(
            period.since < period.until,
            "--since: must be before --until, and in the past"
        );
        Ok(period)
    }
}

fn tell(told: &Told<'_>, json: bool) {
    match told {
        Told::Found(found) if json => println!("{}", difference(found)),
        Told::Found(found) => println!("{}", line(found)),
        Told::Progress(tally, last) => eprintln!(
            "{}: {} attempts compared, {} differences; to go on from here: --after {last}",
            tally.provider, tally.attempts, tally.differences
        ),
        Told::Done(tally) if json => println!("{}", provider(tally)),
        Told::Done(tally) => println!("{}", words(tally)),
    }
}

fn difference(found: &Found) -> Value {
    let own = &found.attempt;
    json!({
        "type": "difference", "difference": found.difference.as_str(), "job": own.job.to_string(),
        "attempt": own.id.to_string(), "provider": own.provider, "status": own.status.as_str(),
        "charge": own.charge.as_str(), "credits": own.credits, "vendorTaskId": found.task,
        "submittedAt": own.submitted_at.to_string(),
        "settled": found.settled.as_ref().map(|outcome| *outcome == Outcome::Done),
        "refused": match &found.settled {
            Some(Outcome::Refused(why)) => Some(why),
            _ => None,
        },
    })
}

fn line(found: &Found) -> String {
    let own = &found.attempt;
    let mut line = format!(
        "{:<20} {:<12} {} {}  {} and {} here, task {}",
        found.difference.as_str(),
        own.provider,
        own.job,
        own.id,
        own.status.as_str(),
        own.charge.as_str(),
        found.task.as_deref().unwrap_or("none"),
    );
    match &found.settled {
        Some(Outcome::Done) => line.push_str("; settled"),
        Some(Outcome::Refused(why)) => {
            line.push_str("; not settled: ");
            line.push_str(why);
        }
        None => {}
    }
    line
}

fn provider(tally: &Tally) -> Value {
    json!({
        "type": "provider", "provider": tally.provider, "attempts": tally.attempts,
        "agree": tally.agree, "differences": tally.differences, "settled": tally.settled,
        "tooEarly": tally.too_early, "notAsked": tally.not_asked, "why": tally.why,
        "noWay": tally.no_way, "listing": false, "note": LISTING,
    })
}

fn words(tally: &Tally) -> String {
    let mut words = format!(
        "{}: {} attempts, {} agree, {} differ, {} too early to say; {LISTING}.",
        tally.provider, tally.attempts, tally.agree, tally.differences, tally.too_early
    );
    if tally.no_way > 0 {
        words.push_str(&format!(
            " For {} of them its plugin has no way to ask.",
            tally.no_way
        ));
    }
    if tally.not_asked > 0 {
        words.push_str(&format!(
            " It could not be asked about {}: {}.",
            tally.not_asked,
            tally.why.as_deref().unwrap_or("no reason")
        ));
    }
    words
}
