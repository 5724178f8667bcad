//! Leaving a vendor alone that does not work: when, for how long, and how it is found out that
//! it works again. Pure; `health` shares it among nodes.

use std::time::Duration;

use super::Kind;
use crate::time::Timestamp;

/// What works or does not: a model of a provider, or the whole account there.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lane {
    /// Which provider.
    pub provider: String,
    /// What is made; nothing: the whole account.
    pub kind: Option<Kind>,
    /// With which model; empty where there are none, and for the whole account.
    pub model: String,
}

impl Lane {
    /// A model of a provider's.
    #[must_use]
    pub fn of(provider: &str, kind: Kind, model: Option<&str>) -> Self {
        Self {
            provider: provider.to_owned(),
            kind: Some(kind),
            model: model.unwrap_or_default().to_owned(),
        }
    }

    /// Everything at a provider: its credentials and its balance.
    #[must_use]
    pub fn account(provider: &str) -> Self {
        Self {
            provider: provider.to_owned(),
            kind: None,
            model: String::new(),
        }
    }
}

/// The numbers by which circuits open and close. `config.default.toml` explains each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Failures in a row that open one; 0: none ever opens.
    pub failures: u32,
    /// Failures that are further apart are not in a row.
    pub window: Duration,
    /// How long one is open for the first time; doubles each time.
    pub open: Duration,
    /// How long at most.
    pub longest: Duration,
    /// How long a trial has before another one is made.
    pub trial: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            failures: 5,
            window: Duration::from_secs(600),
            open: Duration::from_secs(15),
            longest: Duration::from_secs(600),
            trial: Duration::from_secs(60),
        }
    }
}

/// Where a circuit stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord)]
pub enum CircuitState {
    /// Calls go through.
    #[default]
    Closed,
    /// One call finds out whether it works again; the others wait.
    HalfOpen,
    /// No calls.
    Open,
}

impl CircuitState {
    /// The stored word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "CLOSED",
            Self::HalfOpen => "HALF_OPEN",
            Self::Open => "OPEN",
        }
    }

    /// From the stored word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Closed, Self::HalfOpen, Self::Open]
            .into_iter()
            .find(|state| state.as_str() == word)
    }
}

/// What a call said of whoever was called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sign {
    /// It answers as it should, whatever it thinks of the request.
    Works,
    /// It failed, through its own fault. In plain words.
    Fails(String),
    /// It lets nobody of this account in. In plain words.
    Barred(String),
}

/// May a call be made?
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// Yes.
    Free,
    /// One, to find out. The circuit is like this then.
    Trial(Circuit),
    /// Not before this time.
    Wait(Timestamp),
}

/// One circuit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Circuit {
    /// Where it stands.
    pub state: CircuitState,
    /// Failures in a row while it was closed.
    pub failures: u32,
    /// Openings one soon after the other.
    pub opened: u32,
    /// Open: when a trial may be made. Half open: how long the trial has.
    pub until: Option<Timestamp>,
    /// The last failure.
    pub failed_at: Option<Timestamp>,
    /// When it was closed last.
    pub closed_at: Option<Timestamp>,
    /// Why it is not closed, or may not be soon. In plain words.
    pub reason: Option<String>,
}

impl Circuit {
    /// Did nothing ever happen that a success would have to make good?
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.state == CircuitState::Closed && self.failures == 0
    }

    /// May a call be made?
    #[must_use]
    pub fn enter(&self, now: Timestamp, rules: &Rules) -> Entry {
        match (self.state, self.until) {
            (CircuitState::Closed, _) => Entry::Free,
            _ if rules.failures == 0 => Entry::Free,
            (_, Some(until)) if now < until => Entry::Wait(until),
            _ => Entry::Trial(Self {
                state: CircuitState::HalfOpen,
                until: Some(now.after(rules.trial)),
                ..self.clone()
            }),
        }
    }

    /// The circuit after a call. What was called before it opened says nothing more of it.
    #[must_use]
    pub fn after(&self, sign: &Sign, now: Timestamp, rules: &Rules) -> Self {
        match (self.state, sign) {
            (CircuitState::Open, _) => self.clone(),
            (CircuitState::Closed, Sign::Works) => Self {
                failures: 0,
                reason: None,
                ..self.clone()
            },
            (CircuitState::HalfOpen, Sign::Works) => Self {
                state: CircuitState::Closed,
                failures: 0,
                until: None,
                closed_at: Some(now),
                reason: None,
                ..self.clone()
            },
            (_, Sign::Fails(_) | Sign::Barred(_)) if rules.failures == 0 => self.clone(),
            (CircuitState::HalfOpen, Sign::Fails(why) | Sign::Barred(why)) => {
                self.opens(why, now, rules)
            }
            (CircuitState::Closed, Sign::Barred(why)) => self.opens(why, now, rules),
            (CircuitState::Closed, Sign::Fails(why)) => {
                let in_a_row = self
                    .failed_at
                    .is_some_and(|last| now.since(last) <= rules.window);
                let failed = Self {
                    failures: if in_a_row {
                        self.failures.saturating_add(1)
                    } else {
                        1
                    },
                    failed_at: Some(now),
                    reason: Some(why.clone()),
                    ..self.clone()
                };
                if failed.failures >= rules.failures {
                    failed.opens(why, now, rules)
                } else {
                    failed
                }
            }
        }
    }

    /// It opens: longer each time, unless it was in order for a long time.
    fn opens(&self, why: &str, now: Timestamp, rules: &Rules) -> Self {
        let again = self.state == CircuitState::HalfOpen
            || self
                .closed_at
                .is_some_and(|closed| now.since(closed) <= rules.longest);
        let opened = if again {
            self.opened.saturating_add(1)
        } else {
            1
        };
        let doubled = 1_u32.checked_shl(opened - 1).unwrap_or(u32::MAX);
        let length = rules.open.saturating_mul(doubled).min(rules.longest);
        Self {
            state: CircuitState::Open,
            opened,
            until: Some(now.after(length)),
            failed_at: Some(now),
            reason: Some(why.to_owned()),
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng, rngs::StdRng};

    use super::*;

    const RULES: Rules = Rules {
        failures: 3,
        window: Duration::from_secs(60),
        open: Duration::from_secs(10),
        longest: Duration::from_secs(100),
        trial: Duration::from_secs(30),
    };

    fn at(second: i64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000 + second * 1_000)
    }

    fn fails() -> Sign {
        Sign::Fails("down".to_owned())
    }

    fn failing(times: i64) -> Circuit {
        (0..times).fold(Circuit::default(), |circuit, second| {
            circuit.after(&fails(), at(second), &RULES)
        })
    }

    #[test]
    fn so_many_failures_in_a_row_open_it() {
        assert_eq!(failing(2).state, CircuitState::Closed);
        assert_eq!(failing(2).enter(at(2), &RULES), Entry::Free);
        let open = failing(3);
        assert_eq!((open.state, open.until), (CircuitState::Open, Some(at(12))));
        assert_eq!(open.enter(at(11), &RULES), Entry::Wait(at(12)));
        // One success between them, or a long time, begins the row anew.
        let again = failing(2).after(&Sign::Works, at(2), &RULES);
        assert!(again.is_sound());
        assert_eq!(again.after(&fails(), at(3), &RULES).failures, 1);
        assert_eq!(failing(2).after(&fails(), at(100), &RULES).failures, 1);
    }

    #[test]
    fn one_trial_goes_through_and_decides() {
        let open = failing(3);
        let Entry::Trial(half) = open.enter(at(12), &RULES) else {
            panic!("a trial is due");
        };
        assert_eq!(half.state, CircuitState::HalfOpen);
        assert_eq!(half.enter(at(13), &RULES), Entry::Wait(at(42)));
        // A trial that nobody hears of again makes room for another one.
        assert!(matches!(half.enter(at(42), &RULES), Entry::Trial(_)));
        let closed = half.after(&Sign::Works, at(14), &RULES);
        assert!(closed.is_sound());
        let reopened = half.after(&fails(), at(14), &RULES);
        assert_eq!(reopened.until, Some(at(34)), "twice as long");
    }

    #[test]
    fn who_opens_again_soon_is_open_longer_and_never_too_long() {
        let mut circuit = Circuit::default();
        let mut now = 0;
        for expected in [10, 20, 40, 80, 100, 100] {
            circuit = circuit.after(&Sign::Barred("no".to_owned()), at(now), &RULES);
            assert_eq!(circuit.until, Some(at(now + expected)));
            now += expected;
            let Entry::Trial(half) = circuit.enter(at(now), &RULES) else {
                panic!("a trial is due");
            };
            circuit = half.after(&Sign::Works, at(now), &RULES);
        }
        let later = circuit.after(&Sign::Barred("no".to_owned()), at(now + 101), &RULES);
        assert_eq!(later.until, Some(at(now + 111)), "it was in order for long");
    }

    #[test]
    fn without_a_number_of_failures_none_opens() {
        let off = Rules {
            failures: 0,
            ..RULES
        };
        let circuit = Circuit::default()
            .after(&Sign::Barred("no".to_owned()), at(0), &off)
            .after(&fails(), at(0), &off);
        assert!(circuit.is_sound());
        assert_eq!(failing(3).enter(at(4), &off), Entry::Free);
    }

    /// Whatever happens in whatever order: what always holds.
    #[test]
    fn random_histories_keep_the_rules() {
        for seed in 0..500 {
            let mut random = StdRng::seed_from_u64(seed);
            let mut circuit = Circuit::default();
            let mut now = 0;
            let mut trial_until = None;
            for _ in 0..200 {
                now += random.random_range(0..20);
                let before = circuit.clone();
                match random.random_range(0..4) {
                    0 => match circuit.enter(at(now), &RULES) {
                        Entry::Free => assert_eq!(before.state, CircuitState::Closed),
                        Entry::Wait(until) => {
                            assert!(until > at(now), "seed {seed}");
                            assert!(before.state != CircuitState::Closed, "seed {seed}");
                        }
                        Entry::Trial(half) => {
                            if let Some(until) = trial_until {
                                assert!(at(now) >= until, "two trials at once, seed {seed}");
                            }
                            trial_until = half.until;
                            circuit = half;
                        }
                    },
                    1 => circuit = circuit.after(&Sign::Works, at(now), &RULES),
                    2 => circuit = circuit.after(&fails(), at(now), &RULES),
                    _ => {
                        let barred = Sign::Barred("no".to_owned());
                        circuit = circuit.after(&barred, at(now), &RULES);
                        assert!(circuit.state == CircuitState::Open, "seed {seed}");
                    }
                }
                if circuit.state != CircuitState::HalfOpen {
                    trial_until = None;
                }
                assert_eq!(
                    circuit.until.is_some(),
                    circuit.state != CircuitState::Closed
                );
                if circuit.state == CircuitState::Closed {
                    assert!(circuit.failures < RULES.failures, "seed {seed}");
                }
                if let Some(until) = circuit.until {
                    assert!(until.since(at(now)) <= RULES.longest, "seed {seed}");
                }
                // Nothing but a trial leads out of an open circuit.
                if before.state == CircuitState::Open {
                    assert!(circuit.state != CircuitState::Closed, "seed {seed}");
                }
                assert_eq!(
                    CircuitState::parse(circuit.state.as_str()),
                    Some(circuit.state)
                );
            }
        }
    }
}
