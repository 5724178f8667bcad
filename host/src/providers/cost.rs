//! What an attempt costs by the manifest's price list, where the vendor does not say.

use genvid_runtime::manifest::{Price, Unit};

/// How much of a provider's work was used.
#[derive(Debug, Clone, Copy, Default)]
pub struct Used {
    /// Seconds of film or voice.
    pub seconds: f64,
    /// Characters of text.
    pub characters: u64,
}

/// Millionths of a US dollar, rounded up; nothing when the list does not name the model or
/// counts in tokens, which only the vendor knows.
#[must_use]
pub fn estimate(prices: &[Price], model: Option<&str>, used: Used) -> Option<i64> {
    let price = prices
        .iter()
        .find(|price| price.model.as_deref() == model)
        .or_else(|| prices.iter().find(|price| price.model.is_none()))?;
    let units = match price.unit {
        Unit::Second => used.seconds,
        #[expect(
            clippy::cast_precision_loss,
            reason = "texts are far below 2^52 characters"
        )]
        Unit::Character => used.characters as f64,
        Unit::Call => 1.0,
        Unit::Token => return None,
    };
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "prices are millionths of a dollar and lengths are minutes: far below 2^52"
    )]
    Some((units * price.micro_usd as f64).ceil() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn price(model: Option<&str>, unit: Unit, micro_usd: u64) -> Price {
        Price {
            model: model.map(str::to_owned),
            unit,
            micro_usd,
            read: "2026-11-22".to_owned(),
            source: String::new(),
        }
    }

    #[test]
    fn the_models_own_price_goes_before_the_general_one() {
        let list = [
            price(None, Unit::Second, 10),
            price(Some("hd"), Unit::Second, 50),
        ];
        let used = Used {
            seconds: 2.5,
            characters: 0,
        };
        assert_eq!(estimate(&list, Some("hd"), used), Some(125));
        assert_eq!(estimate(&list, Some("other"), used), Some(25));
        assert_eq!(estimate(&[price(None, Unit::Token, 1)], None, used), None);
    }
}
