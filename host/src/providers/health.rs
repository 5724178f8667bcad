//! How providers do: what was measured lately, and who is left alone for a while.
//!
//! The database has the truth, for all nodes. A provider that works costs no write: a node asks
//! its own copy, which is a second or two old, and only a failure, a success after one, and a
//! trial are written down.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use genvid_runtime::{Call, Failure, NoAssets, types::ErrorKind};
use tokio::sync::{Notify, watch};

use super::{Circuit, CircuitState, Entry, Kind, Lane, Provider, Registry, Rules, Sign};
use crate::{
    adapters::sql::{self, Database},
    time::{self, Timestamp},
};

/// How often a node looks what others wrote down.
const LOOK: Duration = Duration::from_secs(2);
/// How often the newest attempts are looked at.
const MEASURE: Duration = Duration::from_secs(15);
/// Most attempts of a provider that are looked at.
const MOST: u32 = 500;
/// When those who wait for somebody else's trial look again.
const TRIAL_LOOK: Duration = Duration::from_secs(3);

/// How one attempt went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// What was called.
    pub lane: Lane,
    /// Did it work? What is wrong with the request is no fault of the provider's.
    pub worked: bool,
    /// From the submission to the result, if there is one.
    pub took: Option<Duration>,
}

/// What became of asking for a call, and the circuit as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial {
    /// Before.
    pub before: Circuit,
    /// The answer.
    pub entry: Entry,
}

/// What was measured lately.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Measured {
    /// Attempts that came to an end, or whose outcome is unknown.
    pub samples: usize,
    /// Those that worked.
    pub worked: usize,
    /// From the submission to the result, shortest first.
    times: Vec<Duration>,
}

impl Measured {
    /// Of these.
    #[must_use]
    pub fn of<'a>(outcomes: impl IntoIterator<Item = &'a Outcome>) -> Self {
        let mut all = Self::default();
        for outcome in outcomes {
            all.samples += 1;
            all.worked += usize::from(outcome.worked);
            all.times.extend(outcome.took);
        }
        all.times.sort_unstable();
        all
    }

    /// The part that worked, 0.0 to 1.0; nothing when there was none.
    #[must_use]
    pub fn success_rate(&self) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "some hundred at most")]
        let rate = self.worked as f64 / self.samples as f64;
        (self.samples > 0).then_some(rate)
    }

    /// The time that so many of a hundred took at most, by nearest rank.
    #[must_use]
    pub fn percentile(&self, percent: usize) -> Option<Duration> {
        let place = (self.times.len() * percent).div_ceil(100).max(1);
        self.times.get(place - 1).copied()
    }
}

/// Where a provider, or one of its models, stands.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Standing {
    /// May it be called?
    pub state: CircuitState,
    /// If not: until when not.
    pub until: Option<Timestamp>,
    /// Why not, in plain words.
    pub reason: Option<String>,
    /// How it did lately.
    pub measured: Measured,
}

/// May a call be made, as far as this node knows?
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// Yes.
    Free,
    /// One may find out: ask with [`Health::enter`] right before.
    Trial,
    /// Not before this time, and why.
    Wait(Timestamp, String),
}

/// How providers do. Cheap to clone.
#[derive(Clone)]
pub struct Health {
    shared: Arc<Shared>,
}

struct Shared {
    database: Database,
    rules: Rules,
    /// How far back attempts are looked at.
    history: Duration,
    /// Tells other nodes that a circuit changed.
    call: Box<dyn Fn() + Send + Sync>,
    circuits: RwLock<HashMap<Lane, Circuit>>,
    outcomes: RwLock<BTreeMap<String, Vec<Outcome>>>,
}

impl Health {
    /// Nothing is known before [`Health::look_around`] or [`Health::keep`]. `call` tells other
    /// nodes to look now, if they can be told.
    #[must_use]
    pub fn new(
        database: Database,
        rules: Rules,
        history: Duration,
        call: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                database,
                rules,
                history,
                call: Box::new(call),
                circuits: RwLock::default(),
                outcomes: RwLock::default(),
            }),
        }
    }

    /// Looks every few seconds what other nodes wrote down, and at once when it is `told`.
    pub async fn keep(
        self,
        registry: Registry,
        told: Arc<Notify>,
        mut stop: watch::Receiver<bool>,
    ) {
        let mut measured: Option<Instant> = None;
        loop {
            let due = measured.is_none_or(|at| at.elapsed() >= MEASURE);
            let looked = async {
                self.look_around().await?;
                if due {
                    self.measure(&registry).await?;
                    measured = Some(Instant::now());
                }
                Ok::<_, sql::Error>(())
            };
            if let Err(error) = looked.await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "how providers do could not be read; it will be read again"
                );
            }
            tokio::select! {
                // An error means that the app is gone, which is a stop too.
                _ = stop.wait_for(|stop| *stop) => return,
                () = told.notified() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// Reads the circuits as all nodes see them.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn look_around(&self) -> Result<(), sql::Error> {
        let all: HashMap<Lane, Circuit> =
            self.shared.database.circuits().await?.into_iter().collect();
        *self
            .shared
            .circuits
            .write()
            .unwrap_or_else(PoisonError::into_inner) = all;
        Ok(())
    }

    /// Reads how the attempts of these providers went lately.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn measure(&self, registry: &Registry) -> Result<(), sql::Error> {
        let mut all = BTreeMap::new();
        for provider in &registry.snapshot().providers {
            let outcomes = self
                .shared
                .database
                .outcomes(provider.id(), self.shared.history, MOST)
                .await?;
            all.insert(provider.id().to_owned(), outcomes);
        }
        *self
            .shared
            .outcomes
            .write()
            .unwrap_or_else(PoisonError::into_inner) = all;
        Ok(())
    }

    /// May this lane be called now, as far as this node knows?
    #[must_use]
    pub fn look(&self, lane: &Lane) -> Look {
        let now = time::now();
        let mut look = Look::Free;
        for lane in [Lane::account(&lane.provider), lane.clone()] {
            let circuit = self.circuit(&lane);
            match circuit.enter(now, &self.shared.rules) {
                Entry::Free => {}
                Entry::Trial(_) if look == Look::Free => look = Look::Trial,
                Entry::Trial(_) => {}
                Entry::Wait(until) => {
                    let until = match circuit.state {
                        // It may be over any moment.
                        CircuitState::HalfOpen => until.min(now.after(TRIAL_LOOK)),
                        _ => until,
                    };
                    look = match look {
                        Look::Wait(longest, why) if longest >= until => Look::Wait(longest, why),
                        _ => Look::Wait(until, circuit.reason.unwrap_or_default()),
                    };
                }
            }
        }
        look
    }

    /// Asks for a trial, right before a call that [`Health::look`] says is one. Where the
    /// account is in question and the plugin can check it for free, that is the trial.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn enter(&self, provider: &Provider, lane: &Lane) -> Result<Look, sql::Error> {
        let account = Lane::account(&lane.provider);
        if !self.circuit(&account).is_sound() {
            if let Some(wait) = self.enter_one(&account).await? {
                return Ok(wait);
            }
            if self.circuit(&account).state == CircuitState::HalfOpen
                && let Some(sign) = check(provider).await
            {
                self.tell_one(&account, sign).await?;
                if self.circuit(&account).state != CircuitState::Closed {
                    return Ok(self.look(lane));
                }
            }
        }
        Ok(self.enter_one(lane).await?.unwrap_or(Look::Free))
    }

    async fn enter_one(&self, lane: &Lane) -> Result<Option<Look>, sql::Error> {
        if self.circuit(lane).state == CircuitState::Closed {
            return Ok(None);
        }
        let rules = self.shared.rules;
        let Trial { before, entry } = self.shared.database.enter_circuit(lane, rules).await?;
        let (after, wait) = match entry {
            Entry::Free => (before.clone(), None),
            Entry::Trial(half) => (half, None),
            Entry::Wait(until) => {
                let why = before.reason.clone().unwrap_or_default();
                (before.clone(), Some(Look::Wait(until, why)))
            }
        };
        self.changed(lane, &before, after);
        Ok(wait)
    }

    /// Takes down what a call said. Nothing is written while all is in order.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn tell(&self, lane: &Lane, sign: Sign) -> Result<(), sql::Error> {
        let account = Lane::account(&lane.provider);
        match sign {
            Sign::Barred(_) => self.tell_one(&account, sign).await,
            Sign::Fails(_) => self.tell_one(lane, sign).await,
            Sign::Works => {
                for lane in [&account, lane] {
                    if !self.circuit(lane).is_sound() {
                        self.tell_one(lane, Sign::Works).await?;
                    }
                }
                Ok(())
            }
        }
    }

    async fn tell_one(&self, lane: &Lane, sign: Sign) -> Result<(), sql::Error> {
        let rules = self.shared.rules;
        if rules.failures == 0 {
            return Ok(());
        }
        let (before, after) = self.shared.database.tell_circuit(lane, sign, rules).await?;
        self.changed(lane, &before, after);
        Ok(())
    }

    /// Keeps a circuit in this node's copy; says so when its state has changed.
    fn changed(&self, lane: &Lane, before: &Circuit, after: Circuit) {
        if before.state != after.state {
            tracing::warn!(
                provider = lane.provider,
                kind = lane.kind.map(Kind::as_str),
                model = lane.model,
                from = before.state.as_str(),
                to = after.state.as_str(),
                until = after.until.map(tracing::field::display),
                reason = after.reason,
                "a circuit changed"
            );
            (self.shared.call)();
        }
        self.shared
            .circuits
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(lane.clone(), after);
    }

    fn circuit(&self, lane: &Lane) -> Circuit {
        self.shared
            .circuits
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(lane)
            .cloned()
            .unwrap_or_default()
    }

    /// How a model of a provider's stands, and how it did lately.
    #[must_use]
    pub fn standing(&self, lane: &Lane) -> Standing {
        let circuits = [Lane::account(&lane.provider), lane.clone()].map(|l| self.circuit(&l));
        self.stands(&lane.provider, circuits, |outcome| outcome.lane == *lane)
    }

    /// How a provider stands: as the worst of what it makes, and how all of it did lately.
    #[must_use]
    pub fn standing_of_all(&self, provider: &str) -> Standing {
        let circuits: Vec<Circuit> = self
            .shared
            .circuits
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .filter(|(lane, _)| lane.provider == provider)
            .map(|(_, circuit)| circuit.clone())
            .collect();
        self.stands(provider, circuits, |_| true)
    }

    fn stands(
        &self,
        provider: &str,
        circuits: impl IntoIterator<Item = Circuit>,
        counts: impl Fn(&Outcome) -> bool,
    ) -> Standing {
        let worst = circuits
            .into_iter()
            .max_by_key(|circuit| (circuit.state, circuit.until))
            .filter(|circuit| circuit.state != CircuitState::Closed)
            .unwrap_or_default();
        let outcomes = self
            .shared
            .outcomes
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let own = outcomes.get(provider).into_iter().flatten();
        Standing {
            state: worst.state,
            until: worst.until,
            reason: worst.reason,
            measured: Measured::of(own.filter(|outcome| counts(outcome))),
        }
    }
}

/// Asks a vendor whether it lets this account in; nothing where that cannot be asked.
async fn check(provider: &Provider) -> Option<Sign> {
    if !provider.plugin.exports().account {
        return None;
    }
    let call = Call {
        assets: Arc::new(NoAssets),
        text: None,
        permission: None,
        label: format!("check {}", provider.id()),
    };
    match provider.plugin.check(call).await.result {
        Ok(_) => Some(Sign::Works),
        Err(Failure::Plugin(error)) => match error.kind {
            ErrorKind::Unsupported | ErrorKind::NotPermitted => None,
            ErrorKind::Unauthorized | ErrorKind::Forbidden | ErrorKind::QuotaExhausted => Some(
                Sign::Barred("The account was checked and is not in order.".to_owned()),
            ),
            // Whether it is in order is as open as before.
            _ => Some(Sign::Barred(
                "The provider could not be asked about the account.".to_owned(),
            )),
        },
        Err(Failure::Sandbox(_)) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_measured_is_by_rank_and_of_the_lane() {
        let lane = Lane::of("kling", Kind::Video, Some("v2"));
        let outcome = |seconds: Option<u64>| Outcome {
            lane: lane.clone(),
            worked: seconds.is_some(),
            took: seconds.map(Duration::from_secs),
        };
        let none = Measured::of(&[]);
        assert_eq!((none.success_rate(), none.percentile(50)), (None, None));
        let some: Vec<Outcome> = (1..=19)
            .map(|s| outcome(Some(s)))
            .chain([outcome(None)])
            .collect();
        let some = Measured::of(&some);
        assert_eq!(some.success_rate(), Some(0.95));
        assert_eq!(some.percentile(50), Some(Duration::from_secs(10)));
        assert_eq!(some.percentile(95), Some(Duration::from_secs(19)));
    }
}
