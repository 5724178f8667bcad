//! What a task cost, in millionths of a US dollar.
//!
//! Kling bills in money or in units of packs; one unit lists at 0.14 USD (its pricing page).

use serde::Deserialize;
use serde_json::Value;

/// The list price of one unit.
const UNIT_MICRO_USD: u64 = 140_000;
/// Digits after the point in millionths.
const DIGITS: usize = 6;

/// One line of `billing[]`. Numbers come as text.
#[derive(Deserialize)]
pub(crate) struct Line {
    charge_type: Option<String>,
    amount: Option<Value>,
    list_price: Option<Value>,
    currency: Option<String>,
}

/// The sum of the lines. Nothing when there are none, or when one of them is not in
/// dollars: a plugin knows no exchange rates.
pub(crate) fn cost(lines: &[Line]) -> Option<u64> {
    if lines.is_empty() {
        return None;
    }
    lines.iter().map(of_line).sum()
}

fn of_line(line: &Line) -> Option<u64> {
    if line.currency.as_deref() == Some("USD") {
        // What units are worth stands in the list price; for money it is the price before
        // discounts, and the amount is what was taken.
        let paid = match line.charge_type.as_deref() {
            Some("cash") => line.amount.as_ref().or(line.list_price.as_ref()),
            _ => line.list_price.as_ref(),
        };
        if let Some(paid) = paid.and_then(micro) {
            return Some(paid);
        }
    }
    match line.charge_type.as_deref() {
        Some("unit") => units(line.amount.as_ref()?),
        _ => None,
    }
}

/// Units as money, by their list price.
pub(crate) fn units(amount: &Value) -> Option<u64> {
    let millionths_of_units = micro(amount)?;
    let cost = u128::from(millionths_of_units) * u128::from(UNIT_MICRO_USD) / 1_000_000;
    u64::try_from(cost).ok()
}

/// A decimal, as text or as a number, in millionths; digits beyond that are rounded up.
fn micro(value: &Value) -> Option<u64> {
    let text = match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let is_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_digits(whole) || !is_digits(fraction) {
        return None;
    }
    let (kept, beyond) = fraction.split_at(fraction.len().min(DIGITS));
    let millionths: u64 = format!("{kept:0<DIGITS$}").parse().ok()?;
    let round_up = u64::from(beyond.bytes().any(|byte| byte != b'0'));
    whole
        .parse::<u64>()
        .ok()?
        .checked_mul(1_000_000)?
        .checked_add(millionths + round_up)
}
