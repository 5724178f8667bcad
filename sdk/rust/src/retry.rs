//! How long a vendor asks to wait.

use crate::http::Response;

/// The longest wait that the contract carries: one hour.
pub const LONGEST_MS: u64 = 3_600_000;

/// The wait of an answer in milliseconds, 0 to [`LONGEST_MS`]: `retry-after-ms` when it is
/// there, else `retry-after` as seconds or as an HTTP date (RFC 9110, 10.2.3).
#[must_use]
pub fn after_ms(response: &Response) -> Option<u64> {
    if let Some(value) = response.header("retry-after-ms")
        && let Some(wait) = number(value)
    {
        return Some(limit(wait));
    }
    let value = response.header("retry-after")?.trim();
    if let Some(seconds) = number(value) {
        return Some(limit(seconds * 1000.0));
    }
    let at = date_ms(value)?;
    Some(at.saturating_sub(crate::now_ms()).min(LONGEST_MS))
}

/// Some vendors send fractions although the standard asks for whole seconds.
fn number(text: &str) -> Option<f64> {
    let value: f64 = text.trim().parse().ok()?;
    (value.is_finite() && value >= 0.0).then_some(value)
}

fn limit(wait_ms: f64) -> u64 {
    wait_ms.ceil().min(LONGEST_MS as f64) as u64
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` as milliseconds since 1970; nothing for other forms or
/// dates before 1970.
#[must_use]
pub fn date_ms(text: &str) -> Option<u64> {
    let mut words = text.trim().split(' ');
    words.next()?.strip_suffix(',')?;
    let day: i64 = words.next()?.parse().ok()?;
    let month = match words.next()? {
        "Jan" => 1,
        "Feb" => 2,
        "Mar" => 3,
        "Apr" => 4,
        "May" => 5,
        "Jun" => 6,
        "Jul" => 7,
        "Aug" => 8,
        "Sep" => 9,
        "Oct" => 10,
        "Nov" => 11,
        "Dec" => 12,
        _ => return None,
    };
    let year: i64 = words.next()?.parse().ok()?;
    let mut time = words.next()?.splitn(3, ':');
    let hour: i64 = time.next()?.parse().ok()?;
    let minute: i64 = time.next()?.parse().ok()?;
    let second: i64 = time.next()?.parse().ok()?;
    let well_formed = words.next() == Some("GMT")
        && words.next().is_none()
        && (1970..=9999).contains(&year)
        && (1..=31).contains(&day)
        && (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0..=60).contains(&second);
    if !well_formed {
        return None;
    }
    let seconds = days_since_1970(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    u64::try_from(seconds).ok()?.checked_mul(1_000)
}

/// Days from 1970-01-01 in the Gregorian calendar. Years start in March here, so that the
/// leap day is the last of its year and month lengths follow one formula.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let era = year / 400;
    let year_of_era = year % 400;
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}
