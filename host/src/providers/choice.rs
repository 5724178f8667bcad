//! In which order those are tried who could make something. Pure: the same facts give the same
//! order.

use std::{cmp::Reverse, time::Duration};

use serde::{Deserialize, Serialize};

/// What the operator prefers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Prefer {
    /// The order in the settings.
    #[default]
    Order,
    /// Who asks for the fewest credits.
    Price,
    /// Who is quickest.
    Speed,
    /// Who fails least.
    Reliability,
    /// All three alike.
    Balanced,
}

impl Prefer {
    /// How much price, time and failures weigh.
    fn weights(self) -> [u32; 3] {
        match self {
            Self::Order => [0, 0, 0],
            Self::Price => [1, 0, 0],
            Self::Speed => [0, 1, 0],
            Self::Reliability => [0, 0, 1],
            Self::Balanced => [1, 1, 1],
        }
    }
}

/// What is known of one who could make it. They come in the operator's order.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// Which provider.
    pub provider: String,
    /// Something of its catalogue was chosen.
    pub wanted: bool,
    /// It is not called for now.
    pub left_alone: bool,
    /// Credits that it costs at most.
    pub credits: i64,
    /// How long it takes: as measured, or as its plugin says.
    pub time: Duration,
    /// Attempts that worked, and all of them.
    pub worked: (usize, usize),
}

/// Why one comes later than the first, or does not come at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Code {
    /// Another one was asked for.
    NotAskedFor,
    /// The request excludes it.
    Excluded,
    /// The API key that asked may not use it.
    NotAllowed,
    /// It cannot be used here.
    Disabled,
    /// It does not offer the language.
    Language,
    /// The text is too long.
    TextLength,
    /// It does not offer the shape of the picture.
    Aspect,
    /// It neither speaks itself nor takes what is spoken.
    Speech,
    /// It needs a picture.
    Images,
    /// It would cost more than was quoted.
    BeyondQuote,
    /// It is left alone for now.
    LeftAlone,
    /// Something of another one's catalogue was chosen.
    NotChosen,
    /// It costs more.
    Dearer,
    /// It takes longer.
    Slower,
    /// It fails more often.
    LessReliable,
    /// The operator put it behind.
    Order,
}

/// One who comes later than the first, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Later {
    /// Which provider.
    pub provider: String,
    /// The class.
    pub code: Code,
    /// Plain words.
    pub message: String,
}

/// The order in which they are tried, and why each but the first comes later.
#[must_use]
pub fn order(facts: &[Facts], prefer: Prefer) -> (Vec<String>, Vec<Later>) {
    let scores: Vec<[u64; 3]> = facts.iter().map(|own| score(own, facts, prefer)).collect();
    let mut places: Vec<usize> = (0..facts.len()).collect();
    places.sort_by_key(|place| {
        let own = &facts[*place];
        let sum: u64 = scores[*place].iter().sum();
        (Reverse(own.wanted), own.left_alone, sum, *place)
    });
    let ordered = places.iter().map(|place| facts[*place].provider.clone());
    let later = match places.split_first() {
        Some((first, rest)) => rest
            .iter()
            .map(|place| {
                let (code, message) = why(
                    (&facts[*first], scores[*first]),
                    (&facts[*place], scores[*place]),
                );
                Later {
                    provider: facts[*place].provider.clone(),
                    code,
                    message,
                }
            })
            .collect(),
        None => Vec::new(),
    };
    (ordered.collect(), later)
}

/// How much worse than the best, in thousandths, by price, time and failures. Whole numbers, so
/// that no rounding decides.
fn score(own: &Facts, all: &[Facts], prefer: Prefer) -> [u64; 3] {
    let credits = |facts: &Facts| facts.credits.max(1).unsigned_abs();
    let time = |facts: &Facts| u64::try_from(facts.time.as_millis().max(1)).unwrap_or(u64::MAX);
    let worse = |own: u64, best: u64| 1_000 - best.saturating_mul(1_000) / own.max(1);
    let best = |of: &dyn Fn(&Facts) -> u64| all.iter().map(of).min().unwrap_or(1);
    // A few attempts prove little: everybody begins with some that worked.
    let (worked, attempts) = (own.worked.0 as u64 + 5, own.worked.1 as u64 + 5);
    let parts = [
        worse(credits(own), best(&credits)),
        worse(time(own), best(&time)),
        1_000 - worked.saturating_mul(1_000) / attempts.max(worked),
    ];
    let weights = prefer.weights();
    std::array::from_fn(|part| parts[part] * u64::from(weights[part]))
}

fn why((first, best): (&Facts, [u64; 3]), (own, score): (&Facts, [u64; 3])) -> (Code, String) {
    let name = &first.provider;
    if first.wanted && !own.wanted {
        return (
            Code::NotChosen,
            format!("something of {name}'s catalogue was chosen"),
        );
    }
    if own.left_alone && !first.left_alone {
        return (Code::LeftAlone, "is left alone for now".to_owned());
    }
    let gaps: [u64; 3] = std::array::from_fn(|part| score[part].saturating_sub(best[part]));
    let widest = gaps.iter().copied().max().unwrap_or(0);
    let seconds = |facts: &Facts| facts.time.as_secs_f64().ceil();
    match gaps.iter().position(|gap| *gap == widest && widest > 0) {
        Some(0) => (
            Code::Dearer,
            format!("may cost {} credits; {name} {}", own.credits, first.credits),
        ),
        Some(1) => (
            Code::Slower,
            format!("takes {} s; {name} {} s", seconds(own), seconds(first)),
        ),
        Some(_) => (
            Code::LessReliable,
            format!("fails more often lately than {name}"),
        ),
        None => (Code::Order, format!("the server's order has {name} first")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(provider: &str, credits: i64, seconds: u64, worked: (usize, usize)) -> Facts {
        Facts {
            provider: provider.to_owned(),
            wanted: false,
            left_alone: false,
            credits,
            time: Duration::from_secs(seconds),
            worked,
        }
    }

    fn three() -> Vec<Facts> {
        vec![
            facts("dear", 90, 10, (100, 100)),
            facts("slow", 10, 300, (95, 100)),
            facts("shaky", 20, 20, (50, 100)),
        ]
    }

    #[test]
    fn each_preference_has_its_first() {
        for (prefer, expected) in [
            (Prefer::Order, ["dear", "slow", "shaky"]),
            (Prefer::Price, ["slow", "shaky", "dear"]),
            (Prefer::Speed, ["dear", "shaky", "slow"]),
            (Prefer::Reliability, ["dear", "slow", "shaky"]),
        ] {
            assert_eq!(order(&three(), prefer).0, expected, "{prefer:?}");
            assert_eq!(order(&three(), prefer), order(&three(), prefer));
        }
    }

    #[test]
    fn each_who_comes_later_is_told_why() {
        let codes = |prefer| -> Vec<Code> {
            let later = order(&three(), prefer).1;
            later.into_iter().map(|later| later.code).collect()
        };
        assert_eq!(codes(Prefer::Order), [Code::Order, Code::Order]);
        assert_eq!(codes(Prefer::Price), [Code::Dearer, Code::Dearer]);
        assert_eq!(codes(Prefer::Speed), [Code::Slower, Code::Slower]);
        let less = [Code::LessReliable, Code::LessReliable];
        assert_eq!(codes(Prefer::Reliability), less);
        assert!(order(&[], Prefer::Balanced).0.is_empty());
    }

    #[test]
    fn who_is_left_alone_comes_last_and_who_was_chosen_first() {
        let mut all = three();
        all[0].left_alone = true;
        let (ordered, later) = order(&all, Prefer::Speed);
        assert_eq!(ordered, ["shaky", "slow", "dear"]);
        assert_eq!(later[1].code, Code::LeftAlone);
        all[1].wanted = true;
        let (ordered, later) = order(&all, Prefer::Speed);
        assert_eq!(ordered[0], "slow");
        assert!(later.iter().all(|later| later.code == Code::NotChosen));
    }

    #[test]
    fn equals_stay_in_the_operators_order_and_few_attempts_prove_little() {
        let all = [facts("a", 5, 5, (0, 0)), facts("b", 5, 5, (0, 0))];
        for prefer in [Prefer::Price, Prefer::Speed, Prefer::Balanced] {
            assert_eq!(order(&all, prefer).0, ["a", "b"]);
        }
        let all = [facts("once", 5, 5, (0, 1)), facts("often", 5, 5, (50, 100))];
        assert_eq!(order(&all, Prefer::Reliability).0, ["once", "often"]);
    }
}
