//! Rounds: the baseline and what is measured take turns, so that whatever else the machine does falls on
//! both, and the middle of all rounds counts.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use rustix::time::{ClockId, clock_gettime};

/// What a row is about, and what it is to reach.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    /// As in the table of the README.
    pub(crate) number: u32,
    /// Short, in small letters.
    pub(crate) name: &'static str,
    /// What one unit is.
    pub(crate) unit: &'static str,
    /// What it stands beside.
    pub(crate) baseline: &'static str,
    /// Which figure the target is about.
    pub(crate) target: Target,
}

/// What is to be reached.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target {
    /// Time of a unit, at most so many times the baseline's.
    Times(f64),
    /// Time of a unit, at most this long.
    Within(Duration),
    /// Time of a unit, at most the baseline's and so much.
    Beyond(Duration),
    /// Memory of a unit, at most so many bytes.
    Bytes(f64),
}

/// How much is done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    rounds: usize,
    /// Units of a round, out of a thousand of what a row asks for.
    share: u64,
}

impl Plan {
    pub(crate) fn new(smoke: bool) -> Self {
        match smoke {
            true => Self {
                rounds: 2,
                share: 5,
            },
            false => Self {
                rounds: 15,
                share: 1_000,
            },
        }
    }

    pub(crate) fn units(&self, wanted: u64) -> u64 {
        (wanted * self.share / 1_000).max(1)
    }
}

/// Does a number of units.
#[async_trait]
pub(crate) trait Side: Send {
    /// Does them; an error ends the run, since a figure of half a round means nothing.
    async fn run(&mut self, units: u64) -> anyhow::Result<()>;

    /// What whoever does the work has computed so far; nothing where that cannot be said.
    fn cpu(&self) -> Option<Duration>;

    /// How much of a unit's time is others' own, and left out.
    fn outside(&self) -> Duration {
        Duration::ZERO
    }
}

/// How much a unit takes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Amount {
    /// On the wall.
    Time(Duration),
    /// Of memory.
    Bytes(f64),
}

impl Amount {
    fn time(self) -> Option<Duration> {
        match self {
            Self::Time(time) => Some(time),
            Self::Bytes(_) => None,
        }
    }

    fn bytes(self) -> Option<f64> {
        match self {
            Self::Time(_) => None,
            Self::Bytes(bytes) => Some(bytes),
        }
    }
}

/// What a unit takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figure {
    pub(crate) amount: Amount,
    /// Of all threads of this process. Nothing where others do the work.
    pub(crate) cpu: Option<Duration>,
}

/// A row with what came out.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) row: Row,
    pub(crate) baseline: Figure,
    pub(crate) subject: Figure,
    /// The middle of the rounds' ratios.
    pub(crate) times: f64,
    /// What else was seen.
    pub(crate) notes: Vec<String>,
}

impl Measured {
    pub(crate) fn is_reached(&self) -> bool {
        let (own, base) = (self.subject.amount, self.baseline.amount);
        match self.row.target {
            Target::Times(most) => self.times <= most,
            Target::Within(most) => own.time().is_some_and(|own| own <= most),
            Target::Beyond(most) => {
                (own.time().zip(base.time())).is_some_and(|(own, base)| own <= base + most)
            }
            Target::Bytes(most) => own.bytes().is_some_and(|own| own <= most),
        }
    }
}

/// Measures a row: `units` of each side in each round.
pub(crate) async fn measure(
    plan: &Plan,
    row: Row,
    units: u64,
    baseline: &mut dyn Side,
    subject: &mut dyn Side,
) -> anyhow::Result<Measured> {
    let units = plan.units(units);
    // The first ones fill caches and pools.
    baseline.run(units.div_ceil(10)).await?;
    subject.run(units.div_ceil(10)).await?;
    let (mut first, mut second, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..plan.rounds {
        // Each goes first as often as the other.
        let (base, own) = if round % 2 == 0 {
            let base = timed(baseline, units).await?;
            (base, timed(subject, units).await?)
        } else {
            let own = timed(subject, units).await?;
            (timed(baseline, units).await?, own)
        };
        ratios.push(own.0.as_secs_f64() / base.0.as_secs_f64().max(f64::MIN_POSITIVE));
        first.push(base);
        second.push(own);
    }
    Ok(Measured {
        row,
        baseline: figure(&first, units),
        subject: figure(&second, units),
        times: middle(ratios),
        notes: Vec::new(),
    })
}

/// Time on the wall, and of whoever does the work.
async fn timed(side: &mut dyn Side, units: u64) -> anyhow::Result<Round> {
    let (began, before) = (Instant::now(), side.cpu());
    side.run(units).await?;
    let outside = side.outside().mul_f64(units_as_f64(units));
    let wall = began.elapsed().saturating_sub(outside);
    let cpu = side.cpu().zip(before);
    Ok((wall, cpu.map(|(now, before)| now.saturating_sub(before))))
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn units_as_f64(units: u64) -> f64 {
    units as f64
}

/// Time on the wall and computed of a round.
type Round = (Duration, Option<Duration>);

fn figure(rounds: &[Round], units: u64) -> Figure {
    let each = |all: f64| Duration::from_secs_f64(all / units_as_f64(units));
    let wall = middle(rounds.iter().map(|(wall, _)| wall.as_secs_f64()));
    let cpu: Option<Vec<f64>> = (rounds.iter())
        .map(|(_, cpu)| cpu.map(|cpu| cpu.as_secs_f64()))
        .collect();
    Figure {
        amount: Amount::Time(each(wall)),
        cpu: cpu.map(|all| each(middle(all))),
    }
}

pub(crate) fn middle(all: impl IntoIterator<Item = f64>) -> f64 {
    let mut all: Vec<f64> = all.into_iter().collect();
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Time that all threads of this process have computed.
pub(crate) fn own_cpu() -> Option<Duration> {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let (seconds, nanos) = (time.tv_sec.try_into().ok()?, time.tv_nsec.try_into().ok()?);
    Some(Duration::new(seconds, nanos))
}

/// The same of another process (proc_pid_stat(5): fields 14 and 15, in hundredths of a second).
pub(crate) fn cpu_of(pid: u32) -> Option<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may have spaces.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(Duration::from_millis((next()? + next()?) * 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Waits(Duration);

    #[async_trait]
    impl Side for Waits {
        async fn run(&mut self, units: u64) -> anyhow::Result<()> {
            let units = u32::try_from(units)?;
            tokio::time::sleep(self.0 * units).await;
            Ok(())
        }

        fn cpu(&self) -> Option<Duration> {
            own_cpu()
        }
    }

    #[tokio::test]
    async fn ratios_are_of_the_middle() {
        assert_eq!(middle([3.0, 1.0, 100.0]), 3.0);
        let row = Row {
            number: 0,
            name: "waiting",
            unit: "wait",
            baseline: "less of it",
            target: Target::Times(2.0),
        };
        // Only that both sides run is seen here: the figures are of a machine that does much else.
        let [mut less, mut more] = [1, 2].map(|ms| Waits(Duration::from_millis(ms)));
        let plan = Plan::new(true);
        let measured = measure(&plan, row, 1_000, &mut less, &mut more).await;
        assert!(measured.expect("figures").baseline.cpu.is_some());
        assert!(cpu_of(std::process::id()).is_some());
    }
}
