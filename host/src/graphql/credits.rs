//! Credits: what the caller has, and how that came about.

use std::collections::HashMap;

use async_graphql::{Context, Enum, Error, ID, Object, SimpleObject};

use super::{
    connection::{Connection, Named, decode_cursor, encode_cursor, page_cost, page_size},
    context, error,
    family::Kin,
    job::Job,
    scalars::DateTime,
};
use crate::billing::{self, Balance, Holding};

/// A user's credits.
#[derive(SimpleObject)]
pub(super) struct UserCredits {
    /// May be spent.
    available: i64,
    /// Put aside for jobs that are under way. What they do not need comes back.
    held: i64,
}

impl From<Balance> for UserCredits {
    fn from(balance: Balance) -> Self {
        Self {
            available: balance.available,
            held: balance.held,
        }
    }
}

/// What a job holds of its owner's credits, and what it has spent.
#[derive(SimpleObject)]
pub(super) struct JobCredits {
    /// Put aside now: what the job may cost at most, as long as it is under way. Once it is
    /// over, only what a provider may still bill.
    held: i64,
    /// Spent. Booked when the job is over, never more than was put aside.
    captured: i64,
}

impl From<Holding> for JobCredits {
    fn from(holding: Holding) -> Self {
        Self {
            held: holding.held,
            captured: holding.captured,
        }
    }
}

/// Why available credits became more or fewer.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "billing::TransferKind")]
pub(super) enum LedgerEntryKind {
    /// Given by the operator.
    Grant,
    /// Put aside for a job: what it may cost at most.
    Hold,
    /// What a job held was spent. It left the available credits when it was put aside, so no
    /// entry of `creditLedger` is of this kind.
    Capture,
    /// What a job had put aside and did not need came back.
    Release,
    /// Corrected by the operator.
    Adjustment,
    /// Bought.
    Purchase,
    /// Paid back.
    Refund,
    /// They ended at their time.
    Expiry,
}

pub(super) struct LedgerEntry {
    line: billing::Line,
    job: Option<Kin>,
}

/// One movement of the caller's available credits. Entries are never changed or removed.
#[Object]
impl LedgerEntry {
    /// Opaque, begins with `trf_`.
    async fn id(&self) -> ID {
        self.line.id.into()
    }

    /// When.
    async fn at(&self) -> DateTime {
        self.line.at.into()
    }

    /// Why.
    async fn kind(&self) -> LedgerEntryKind {
        self.line.kind.into()
    }

    /// How many credits more; below zero: how many fewer.
    async fn amount(&self) -> i64 {
        self.line.amount
    }

    /// How many credits were available afterwards.
    async fn balance_after(&self) -> i64 {
        self.line.balance_after
    }

    /// The job that it was for; null when it was for none.
    async fn job(&self) -> Option<Job> {
        self.job.clone().map(Job)
    }

    /// What it was for, in the operator's words; null when the kind says all.
    async fn reason(&self) -> Option<&str> {
        self.line.reason.as_deref()
    }
}

impl Named for LedgerEntry {
    const NAME: &'static str = "LedgerEntry";
}

#[derive(Default)]
pub(super) struct CreditQueries;

#[Object]
impl CreditQueries {
    /// Every movement of the caller's available credits, newest first. The amounts of all
    /// entries add up to `me.credits.available`.
    #[graphql(complexity = "page_cost(first, child_complexity)")]
    async fn credit_ledger(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "At most so many, 1 to 100; without it 20.")] first: Option<i32>,
        #[graphql(desc = "Only those behind this cursor.")] after: Option<String>,
    ) -> Result<Connection<LedgerEntry>, Error> {
        let user = context::user(ctx)?;
        let first = page_size(first)?;
        let after: Option<i64> = decode_cursor("after", after.as_deref())?;
        let services = context::services(ctx);
        let page = services
            .billing
            .ledger(user.id, after, first)
            .await
            .map_err(|failed| error::database(ctx, &failed))?;
        let mut ids: Vec<_> = page.items.iter().filter_map(|line| line.job).collect();
        ids.sort_unstable();
        ids.dedup();
        let jobs = services
            .jobs
            .find_many(user.id, &ids)
            .await
            .map_err(|failed| error::job(ctx, failed))?;
        let jobs: HashMap<_, _> = Kin::together(services, user.id, jobs)
            .map(|kin| (kin.row.id, kin))
            .collect();
        let entries = page.items.into_iter().map(|line| {
            let job = line.job.and_then(|id| jobs.get(&id).cloned());
            (encode_cursor(line.seq), LedgerEntry { line, job })
        });
        Ok(Connection::new(entries, after.is_some(), page.more))
    }
}
