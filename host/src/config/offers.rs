//! What is sold, checked.

use figment::value::Value;

use super::check::{Checker, nearest, whole};

/// Keys of `[payments.plans.NAME]` and `[payments.packs.NAME]`.
const KEYS: [&str; 3] = ["title", "price", "credits"];
/// The largest amount that Stripe takes: eight digits.
const MOST_MONEY: i128 = 99_999_999;
const MOST_CREDITS: i128 = crate::billing::MOST as i128;
const LONGEST_TITLE: usize = 100;

/// Everything of `[payments]` but the offers.
pub(super) fn payments(checker: &mut Checker<'_>) {
    checker.text(
        "payments.currency",
        |text| text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_lowercase()),
        "must be a currency by ISO 4217 in small letters, such as usd",
    );
    checker.text(
        "payments.stripe_url",
        |text| {
            let url = url::Url::parse(text);
            url.is_ok_and(|url| ["http", "https"].contains(&url.scheme()) && url.has_host())
        },
        "must be an absolute URL such as https://api.stripe.com",
    );
}

/// The offers of a kind.
pub(super) fn check(checker: &mut Checker<'_>, kind: &str, given: &Value) {
    let Some(offers) = given.as_dict() else {
        checker.add(kind, given, "must be a table");
        return;
    };
    for (name, table) in offers {
        let place = format!("{kind}.{name}");
        let known = |byte: u8| byte.is_ascii_lowercase() || b"0123456789-_".contains(&byte);
        if !(1..=40).contains(&name.len()) || !name.bytes().all(known) {
            checker.add(
                &place,
                table,
                "must be named with 1 to 40 of a-z, 0-9, - and _",
            );
        }
        let plans = checker.figment.find_value("fairness.plans");
        let is_plan = plans.is_ok_and(|plans| plans.find_ref(name).is_some());
        if kind == "payments.plans" && !is_plan {
            let message =
                format!("is sold, and nobody says what it gives: add [fairness.plans.{name}]");
            checker.add(&place, table, message);
        }
        let Some(keys) = table.as_dict() else {
            checker.add(&place, table, "must be a table");
            continue;
        };
        for key in KEYS {
            if !keys.contains_key(key) {
                checker.add(&place, table, format!("must have a {key}"));
            }
        }
        for (key, value) in keys {
            let place = format!("{place}.{key}");
            let within = |most| whole(value).is_some_and(|number| (0..=most).contains(&number));
            let wrong = match key.as_str() {
                "title" => {
                    let fits = |text: &str| (1..=LONGEST_TITLE).contains(&text.chars().count());
                    (!value.as_str().is_some_and(fits))
                        .then(|| format!("must be a text of 1 to {LONGEST_TITLE} characters"))
                }
                "price" => (!within(MOST_MONEY)).then(|| {
                    format!("must be a number in the currency's smallest unit, 0 to {MOST_MONEY}")
                }),
                "credits" => (!within(MOST_CREDITS))
                    .then(|| format!("must be a number, 0 to {MOST_CREDITS}")),
                _ => {
                    let hint = nearest(key, KEYS.into_iter());
                    Some(format!("is not a setting of an offer{hint}"))
                }
            };
            if let Some(wrong) = wrong {
                checker.add(&place, value, wrong);
            }
        }
    }
}
