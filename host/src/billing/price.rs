//! What things cost: from a provider's list and the size of a wish to credits.

use genvid_runtime::manifest::{Price, Unit};
use serde::{Deserialize, Serialize};

/// Output tokens of a script, from a short one to the longest with what a writer thinks before.
const TOKENS: (u64, u64) = (300, 6_000);
/// Seconds of speech that a writer fills when nobody says how many.
const UNSAID: (f64, f64) = (10.0, 120.0);
/// Characters that a slow and a quick speaker get through in a second.
const PACE: (f64, f64) = (9.0, 20.0);
/// The same for scripts in which a character is a syllable.
const SYLLABLES: (f64, f64) = (2.5, 7.0);

/// How vendors' prices become credits. `config.default.toml` explains each.
#[derive(Debug, Clone, Copy)]
pub struct Tariff {
    /// Worth of a credit, in millionths of a US dollar.
    pub credit_micro_usd: i64,
    /// Put on top of the vendor's price.
    pub margin_percent: i64,
    /// What a paid step costs at least.
    pub minimum_credits: i64,
}

impl Default for Tariff {
    fn default() -> Self {
        Self {
            credit_micro_usd: 10_000,
            margin_percent: 30,
            minimum_credits: 1,
        }
    }
}

impl Tariff {
    /// Credits for a vendor's price in millionths of a US dollar, rounded up.
    #[must_use]
    pub fn credits(&self, micro_usd: i64) -> i64 {
        let paid = i128::from(micro_usd.max(0)) * i128::from(100 + self.margin_percent);
        let each = 100 * i128::from(self.credit_micro_usd.max(1));
        let credits = i64::try_from((paid + each - 1) / each).unwrap_or(super::MOST);
        credits.clamp(self.minimum_credits, super::MOST)
    }
}

/// What a step may cost at one provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoutePrice {
    /// Which one.
    pub provider: String,
    /// At least.
    pub min_credits: i64,
    /// At most.
    pub max_credits: i64,
}

/// What a step may cost, as it was reckoned before anything was spent. Stored with the step:
/// later prices change nothing about it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepQuote {
    /// By provider, in the order in which they would be tried.
    pub routes: Vec<RoutePrice>,
}

impl StepQuote {
    /// The least of all providers.
    #[must_use]
    pub fn min_credits(&self) -> i64 {
        self.routes
            .iter()
            .map(|route| route.min_credits)
            .min()
            .unwrap_or(0)
    }

    /// The most of all providers.
    #[must_use]
    pub fn max_credits(&self) -> i64 {
        self.routes
            .iter()
            .map(|route| route.max_credits)
            .max()
            .unwrap_or(0)
    }

    /// What an attempt at a provider may cost: as quoted; at one that came later, at most what
    /// the dearest of the quoted ones may, and nothing when it costs more (`now`).
    #[must_use]
    pub fn most_at(&self, provider: &str, now: Option<i64>) -> Option<i64> {
        let quoted = self.routes.iter().find(|route| route.provider == provider);
        match quoted {
            Some(route) => Some(route.max_credits),
            None => now.filter(|now| *now <= self.max_credits()),
        }
    }
}

/// How much of a provider's work something takes: at least, and at most.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Size {
    /// Seconds of film or voice.
    pub seconds: (f64, f64),
    /// Characters of text.
    pub characters: (f64, f64),
    /// Tokens that are written.
    pub tokens: (u64, u64),
}

impl Size {
    /// Of speaking a text; without one, of what a writer will write.
    #[must_use]
    pub fn of_speech(text: Option<&str>, max_seconds: Option<u32>) -> Self {
        let Some(text) = text else {
            let longest = max_seconds.map_or(UNSAID.1, f64::from);
            let shortest = UNSAID.0.min(longest);
            return Self {
                // Writers keep to a length only roughly.
                seconds: (shortest, longest * 1.5),
                characters: (shortest * PACE.0, longest * PACE.1),
                tokens: TOKENS,
            };
        };
        let all = text.chars().count();
        let syllables = text.chars().filter(|letter| is_syllable(*letter)).count();
        let (all, syllables) = (float(all), float(syllables));
        let letters = all - syllables;
        Self {
            seconds: (
                letters / PACE.1 + syllables / SYLLABLES.1,
                letters / PACE.0 + syllables / SYLLABLES.0,
            ),
            characters: (all, all),
            tokens: TOKENS,
        }
    }

    /// The same, of a film whose length a provider keeps within these seconds.
    #[must_use]
    pub fn within(self, least: u32, most: u32) -> Self {
        let (least, most) = (f64::from(least), f64::from(most.max(least)));
        Self {
            // A film is cut at whole seconds by some.
            seconds: (
                self.seconds.0.floor().clamp(least, most),
                self.seconds.1.ceil().clamp(least, most) + 1.0,
            ),
            ..self
        }
    }
}

/// What it costs at a provider, in millionths of a US dollar, at least and at most; nothing
/// when the list does not name the model.
#[must_use]
pub fn range(prices: &[Price], model: Option<&str>, size: &Size) -> Option<(i64, i64)> {
    let price = prices
        .iter()
        .find(|price| price.model.as_deref() == model)
        .or_else(|| prices.iter().find(|price| price.model.is_none()))?;
    let (least, most) = match price.unit {
        Unit::Second => size.seconds,
        Unit::Character => size.characters,
        Unit::Call => (1.0, 1.0),
        Unit::Token => (units(size.tokens.0), units(size.tokens.1)),
    };
    Some((cost(least, price.micro_usd), cost(most, price.micro_usd)))
}

fn is_syllable(letter: char) -> bool {
    matches!(letter, '\u{1100}'..='\u{11FF}' | '\u{2E80}'..='\u{9FFF}'
        | '\u{AC00}'..='\u{D7AF}' | '\u{F900}'..='\u{FAFF}' | '\u{20000}'..='\u{3FFFF}')
}

#[expect(
    clippy::cast_precision_loss,
    reason = "texts are far below 2^52 characters"
)]
fn float(count: usize) -> f64 {
    count as f64
}

#[expect(
    clippy::cast_precision_loss,
    reason = "texts are far below 2^52 tokens"
)]
fn units(count: u64) -> f64 {
    count as f64
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "prices are millionths of a dollar and lengths are minutes: far below 2^52"
)]
fn cost(units: f64, micro_usd: u64) -> i64 {
    (units * micro_usd as f64).ceil() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credits_are_rounded_up_with_the_margin_and_never_below_the_least() {
        let tariff = Tariff::default();
        for (micro_usd, credits) in [(0, 1), (1, 1), (7_692, 1), (7_693, 2), (1_000_000, 130)] {
            assert_eq!(tariff.credits(micro_usd), credits, "{micro_usd}");
        }
        assert_eq!(tariff.credits(-5), 1);
        assert_eq!(tariff.credits(i64::MAX), crate::billing::MOST);
        let free = Tariff {
            minimum_credits: 0,
            ..tariff
        };
        assert_eq!(free.credits(0), 0);
    }

    #[test]
    fn a_quoted_price_holds_and_a_newcomer_may_not_be_dearer() {
        let route = |provider: &str, max_credits| RoutePrice {
            provider: provider.to_owned(),
            min_credits: 1,
            max_credits,
        };
        let quote = StepQuote {
            routes: vec![route("a", 10), route("b", 20)],
        };
        assert_eq!((quote.min_credits(), quote.max_credits()), (1, 20));
        assert_eq!(quote.most_at("a", Some(500)), Some(10));
        assert_eq!(quote.most_at("c", Some(20)), Some(20));
        assert_eq!(quote.most_at("c", Some(21)), None);
        assert_eq!(quote.most_at("c", None), None);
    }

    #[test]
    fn the_size_of_a_text_fits_slow_and_quick_speakers() {
        let english = Size::of_speech(Some(&"a".repeat(180)), None);
        assert_eq!(english.seconds, (9.0, 20.0));
        assert_eq!(english.characters, (180.0, 180.0));
        let chinese = Size::of_speech(Some("你好你好你"), None);
        assert_eq!(chinese.seconds.1, 2.0);
        let film = english.within(3, 15);
        assert_eq!(film.seconds, (9.0, 16.0));
        let unsaid = Size::of_speech(None, Some(30));
        assert!(unsaid.seconds.1 >= 30.0 && unsaid.seconds.0 <= 10.0);
    }
}
