//! What a project's jobs may cost.

use async_graphql::{Enum, ID, InputObject, SimpleObject};

use super::{project::Project, scalars::DateTime};
use crate::{
    billing::budget::{self, Budget},
    time,
};

/// For how long a budget is.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "budget::Period")]
pub(super) enum BudgetPeriod {
    /// For all time.
    Total,
    /// For each calendar month, in UTC.
    Month,
}

/// The most that a project's jobs may cost, and what became of it so far.
#[derive(SimpleObject)]
pub(super) struct ProjectBudget {
    /// The most that may be spent, in credits.
    credits: i64,
    /// For how long.
    period: BudgetPeriod,
    /// Spent in the period. Jobs count in the month in which they end.
    spent: i64,
    /// Put aside now for jobs that are under way, whenever they began.
    held: i64,
    /// What further jobs may cost; 0 also when the budget was lowered below what counts.
    remaining: i64,
    /// When the next month begins; null for a budget for all time.
    resets_at: Option<DateTime>,
}

impl From<Budget> for ProjectBudget {
    fn from(budget: Budget) -> Self {
        let resets_at = match budget.limit.period {
            budget::Period::Total => None,
            budget::Period::Month => budget::next_month(time::now()),
        };
        Self {
            credits: budget.limit.credits,
            period: budget.limit.period.into(),
            spent: budget.spent,
            held: budget.held,
            remaining: budget.remaining(),
            resets_at: resets_at.map(Into::into),
        }
    }
}

/// A project's budget to set.
#[derive(InputObject)]
pub(super) struct SetProjectBudgetInput {
    /// Which project.
    pub(super) project_id: ID,
    /// The most that its jobs may cost, 0 to 1,000,000,000 credits; null: no budget any more.
    pub(super) credits: Option<i32>,
    /// For how long.
    #[graphql(default_with = "BudgetPeriod::Total")]
    pub(super) period: BudgetPeriod,
}

/// The budget holds from now on.
#[derive(SimpleObject)]
pub(super) struct SetProjectBudgetSuccess {
    /// The project as it is now.
    pub(super) project: Project,
}
