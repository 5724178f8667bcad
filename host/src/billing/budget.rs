//! Budgets: the most that the jobs of a project may cost, in all or in each month. What counts
//! is what they have spent and what they hold. `adapters/sql/spending.rs` keeps count.

use chrono::{Datelike, NaiveDate, NaiveTime};
use serde::{Deserialize, Serialize};

use crate::{jobs::model::words, time::Timestamp};

words!(
    /// For how long a budget is.
    Period {
        /// For all time.
        Total = "TOTAL",
        /// For each calendar month, in UTC.
        Month = "MONTH",
    }
);

/// The most that may be spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Credits.
    pub credits: i64,
    /// For how long.
    pub period: Period,
}

impl Limit {
    /// In words, for example `100 credits a month`.
    #[must_use]
    pub fn words(&self) -> String {
        match self.period {
            Period::Total => format!("{} credits", self.credits),
            Period::Month => format!("{} credits a month", self.credits),
        }
    }
}

/// A budget, and what became of it so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// The most that may be spent.
    pub limit: Limit,
    /// Spent in its period. Jobs count in the month in which they end.
    pub spent: i64,
    /// Put aside now for jobs that are under way, whenever they began.
    pub held: i64,
}

impl Budget {
    /// Credits that further jobs may hold; none where the budget was lowered below what counts.
    #[must_use]
    pub fn remaining(&self) -> i64 {
        (self.limit.credits - self.spent - self.held).max(0)
    }

    /// Is more spent and held than there may be?
    #[must_use]
    pub fn is_passed(&self) -> bool {
        self.spent + self.held > self.limit.credits
    }
}

/// Something would pass a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overrun {
    /// The budget, and what counts without what is wanted.
    pub budget: Budget,
    /// Credits that are wanted.
    pub needed: i64,
}

/// The month of an instant in UTC, for example 202611.
#[must_use]
pub fn month(at: Timestamp) -> i64 {
    let day = at.datetime().date_naive();
    i64::from(day.year()) * 100 + i64::from(day.month())
}

/// When the month after that of `at` begins; nothing at the end of the calendar.
#[must_use]
pub fn next_month(at: Timestamp) -> Option<Timestamp> {
    let day = at.datetime().date_naive();
    let (year, month) = match day.month() {
        12 => (day.year() + 1, 1),
        month => (day.year(), month + 1),
    };
    let first = NaiveDate::from_ymd_opt(year, month, 1)?;
    Some(first.and_time(NaiveTime::MIN).and_utc().into())
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    #[test]
    fn months_are_those_of_the_calendar() {
        let at = |text: &str| -> Timestamp {
            DateTime::parse_from_rfc3339(text)
                .expect("an instant")
                .to_utc()
                .into()
        };
        let last = at("2026-12-31T23:59:59.999Z");
        assert_eq!(month(last), 202_612);
        assert_eq!(next_month(last), Some(at("2027-01-01T00:00:00Z")));
        let leap = at("2028-02-29T12:00:00+14:00");
        assert_eq!(month(leap), 202_802);
        assert_eq!(next_month(leap), Some(at("2028-03-01T00:00:00Z")));
    }

    #[test]
    fn what_is_held_counts_too() {
        let mut budget = Budget {
            limit: Limit {
                credits: 10,
                period: Period::Total,
            },
            spent: 4,
            held: 6,
        };
        assert_eq!((budget.remaining(), budget.is_passed()), (0, false));
        budget.limit.credits = 9;
        assert_eq!((budget.remaining(), budget.is_passed()), (0, true));
        budget.limit.credits = 13;
        assert_eq!((budget.remaining(), budget.is_passed()), (3, false));
    }
}
