//! What operators do: users whose role is admin, and nobody else.

use async_graphql::{Context, Enum, Error, ID, InputObject, Object, SimpleObject};

use super::{
    connection::{Connection, Named, decode_cursor, encode_cursor, page_cost, page_size},
    context,
    credits::UserCredits,
    enums::{AttemptStatus, Charge, JobStatus},
    error::{self, settle},
    fields::Fields,
    problems::{
        ConflictProblem, IdempotencyKeyReusedProblem, InsufficientCreditsProblem,
        InvalidInputProblem, NotFoundProblem, outcome,
    },
    scalars::DateTime,
};
use crate::{
    accounts::acts,
    billing::desk::{Move, Moved},
    ids::{ActId, AttemptId},
    jobs::settle::{Finding, OpenAttempt},
};

/// Credits to give.
#[derive(InputObject)]
pub(super) struct GrantCreditsInput {
    /// Whose: an id (`usr_…`) or a mail address.
    user: String,
    /// How many, 1 to 1,000,000,000.
    credits: i64,
    /// What for, 1 to 500 characters; the user reads it.
    reason: String,
    /// When what is left of them ends. They are spent before credits without an end.
    expires_at: Option<DateTime>,
    /// Makes it happen once, 1 to 255 characters. Keys of `genvid admin credits` are the same.
    idempotency_key: String,
}

/// Credits to correct.
#[derive(InputObject)]
pub(super) struct AdjustCreditsInput {
    /// Whose: an id (`usr_…`) or a mail address.
    user: String,
    /// How many more; below zero: how many fewer. Not 0.
    credits: i64,
    /// What for, 1 to 500 characters; the user reads it.
    reason: String,
    /// Makes it happen once, 1 to 255 characters. Keys of `genvid admin credits` are the same.
    idempotency_key: String,
}

/// What a provider's own records say of a call whose outcome nobody could look up.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
pub(super) enum AttemptFinding {
    /// It was not accepted and will not be billed: the step is tried again.
    NotCharged,
    /// It is billed. With `providerTaskId` that task goes on and its result is fetched; without,
    /// the job fails, its owner pays nothing, and the provider's bill is the operator's.
    Charged,
}

/// A call to settle.
#[derive(InputObject)]
pub(super) struct SettleAttemptInput {
    /// Which one (`att_…`), of `openAttempts`.
    attempt_id: ID,
    /// What the provider's records say.
    found: AttemptFinding,
    /// The provider's id of the task, at most 512 bytes; only with `CHARGED`.
    provider_task_id: Option<String>,
    /// Where that was found, 1 to 500 characters; the job's owner reads it.
    reason: String,
}

/// Credits were moved, or had been by the same key.
#[derive(SimpleObject)]
pub(super) struct GrantCreditsSuccess {
    /// Whose (`usr_…`).
    user_id: ID,
    /// What they have now.
    credits: UserCredits,
    /// The same had been done before with this key; nothing was moved this time.
    repeated: bool,
}

/// Credits were moved, or had been by the same key.
#[derive(SimpleObject)]
pub(super) struct AdjustCreditsSuccess {
    /// Whose (`usr_…`).
    user_id: ID,
    /// What they have now.
    credits: UserCredits,
    /// The same had been done before with this key; nothing was moved this time.
    repeated: bool,
}

/// A paid call that is not settled.
#[derive(SimpleObject)]
pub(super) struct UnsettledAttempt {
    /// Begins with `att_`.
    id: ID,
    /// Its job (`job_…`).
    job_id: ID,
    /// Where its job stands; `UNCONFIRMED`: the server has given up looking it up.
    job_status: JobStatus,
    /// Who was called.
    provider: ID,
    /// Which model was asked for; null: the provider's usual one.
    model: Option<String>,
    /// What is known of the call.
    status: AttemptStatus,
    /// Whether it is billed, as far as is known.
    charge: Charge,
    /// The provider's id of the task, if it told one.
    provider_task_id: Option<String>,
    /// Credits that its owner pays for it at most.
    max_credits: i64,
    /// When it was sent.
    submitted_at: DateTime,
}

impl Named for UnsettledAttempt {
    const NAME: &'static str = "UnsettledAttempt";
}

impl From<OpenAttempt> for UnsettledAttempt {
    fn from(open: OpenAttempt) -> Self {
        let OpenAttempt { attempt: own, job } = open;
        Self {
            id: own.id.into(),
            job_id: own.job.into(),
            job_status: job.into(),
            provider: own.provider.into(),
            model: own.model,
            status: own.status.into(),
            charge: own.charge.into(),
            provider_task_id: own.vendor_task,
            max_credits: own.max_credits,
            submitted_at: own.submitted_at.into(),
        }
    }
}

/// The call is settled.
#[derive(SimpleObject)]
pub(super) struct SettleAttemptSuccess {
    /// The call as it is now.
    attempt: UnsettledAttempt,
}

/// What an administrator did.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "acts::ActKind")]
pub(super) enum AdministrativeActKind {
    /// Credits were given.
    GrantCredits,
    /// Credits were corrected.
    AdjustCredits,
    /// A call whose outcome nobody knew was settled.
    SettleAttempt,
    /// A user got another role.
    SetRole,
    /// A user was put on a plan.
    SetPlan,
    /// A key that signs access tokens was made.
    AddSigningKey,
    /// A key that signed access tokens was withdrawn.
    RevokeSigningKey,
    /// A version of a plugin was installed.
    InstallPlugin,
    /// Another version of a plugin was made the active one.
    UsePlugin,
    /// A version of a plugin was removed.
    RemovePlugin,
    /// A provider was set up for every node.
    SetProvider,
    /// What was set for a provider was forgotten.
    ResetProvider,
    /// A vendor's credential was set for every node, or forgotten.
    SetProviderSecret,
    /// Secrets were sealed with another encryption key.
    Reseal,
}

/// Something that an administrator did. Written down in its transaction, and never changed.
#[derive(SimpleObject)]
pub(super) struct AdministrativeAct {
    /// Opaque, begins with `act_`.
    id: ID,
    /// When.
    at: DateTime,
    /// Who: a user's id; `operator` for the command line; `genvid` for a node by itself.
    actor: String,
    /// What.
    kind: AdministrativeActKind,
    /// To what: an id, or a name.
    subject: String,
    /// The rest. Never a secret.
    details: Vec<AdministrativeDetail>,
}

/// Something about an act.
#[derive(SimpleObject)]
pub(super) struct AdministrativeDetail {
    /// What it is, for example `reason`.
    name: String,
    /// As text.
    value: String,
}

impl From<acts::Act> for AdministrativeAct {
    fn from(row: acts::Act) -> Self {
        let details = row.details.as_object().into_iter().flatten();
        let details = details.filter(|(_, value)| !value.is_null());
        Self {
            id: row.id.into(),
            at: row.at.into(),
            actor: row.actor,
            kind: row.kind.into(),
            subject: row.subject,
            details: details
                .map(|(name, value)| AdministrativeDetail {
                    name: name.clone(),
                    value: (value.as_str()).map_or_else(|| value.to_string(), str::to_owned),
                })
                .collect(),
        }
    }
}

impl Named for AdministrativeAct {
    const NAME: &'static str = "AdministrativeAct";
}

outcome!(
    /// What became of `grantCredits`.
    GrantCreditsResult =
        GrantCreditsSuccess
            | InvalidInput(InvalidInputProblem)
            | NotFound(NotFoundProblem)
            | IdempotencyKeyReused(IdempotencyKeyReusedProblem)
);

outcome!(
    /// What became of `adjustCredits`.
    AdjustCreditsResult =
        AdjustCreditsSuccess
            | InvalidInput(InvalidInputProblem)
            | NotFound(NotFoundProblem)
            | IdempotencyKeyReused(IdempotencyKeyReusedProblem)
            | InsufficientCredits(InsufficientCreditsProblem)
);

outcome!(
    /// What became of `settleAttempt`.
    SettleAttemptResult =
        SettleAttemptSuccess
            | InvalidInput(InvalidInputProblem)
            | NotFound(NotFoundProblem)
            | Conflict(ConflictProblem)
);

#[derive(Default)]
pub(super) struct AdministrationQueries;

#[Object]
impl AdministrationQueries {
    /// What administrators did, newest first. For admins and services.
    #[graphql(complexity = "page_cost(first, child_complexity)")]
    async fn administrative_acts(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "At most so many, 1 to 100; without it 20.")] first: Option<i32>,
        #[graphql(desc = "Only those behind this cursor.")] after: Option<String>,
    ) -> Result<Connection<AdministrativeAct>, Error> {
        context::overseer(ctx)?;
        let first = page_size(first)?;
        let place = decode_cursor::<ActId>("after", after.as_deref())?;
        let accounts = context::services(ctx).sessions.accounts();
        let page = accounts.acts(place, first).await;
        let page = page.map_err(|failed| error::database(ctx, &failed))?;
        let entries = (page.items.into_iter()).map(|row| (encode_cursor(row.id), row.into()));
        Ok(Connection::new(entries, after.is_some(), page.more))
    }

    /// Paid calls of all users that are not settled, oldest first. For admins and services.
    #[graphql(complexity = "page_cost(first, child_complexity)")]
    async fn open_attempts(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Only those whose outcome is unknown.", default = true)] unconfirmed: bool,
        #[graphql(desc = "At most so many, 1 to 100; without it 20.")] first: Option<i32>,
        #[graphql(desc = "Only those behind this cursor.")] after: Option<String>,
    ) -> Result<Connection<UnsettledAttempt>, Error> {
        context::overseer(ctx)?;
        let first = page_size(first)?;
        let place = decode_cursor::<AttemptId>("after", after.as_deref())?;
        let jobs = &context::services(ctx).jobs;
        let page = jobs.open_attempts(unconfirmed, place, first).await;
        let page = page.map_err(|failed| error::job(ctx, failed))?;
        let entries = page.items.into_iter();
        let entries = entries.map(|row| (encode_cursor(row.attempt.id), row.into()));
        Ok(Connection::new(entries, after.is_some(), page.more))
    }
}

#[derive(Default)]
pub(super) struct AdministrationMutations;

#[Object]
impl AdministrationMutations {
    /// Gives a user credits. For admins.
    async fn grant_credits(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "To whom, how many, what for.")] input: GrantCreditsInput,
    ) -> Result<GrantCreditsResult, Error> {
        let admin = context::admin(ctx)?;
        let given = async {
            let mut fields = Fields::default();
            let expires_at = fields.instant("expiresAt", input.expires_at);
            fields.finish()?;
            let wish = Move {
                user: input.user,
                credits: input.credits,
                reason: input.reason,
                key: input.idempotency_key,
            };
            let billing = &context::services(ctx).billing;
            let Moved {
                user,
                balance,
                repeated,
            } = billing.give(&admin, wish, expires_at).await?;
            let success = GrantCreditsSuccess {
                user_id: user.id.into(),
                credits: balance.into(),
                repeated,
            };
            Ok(success.into())
        };
        settle(ctx, given.await)
    }

    /// Corrects a user's available credits, up or down, never below zero. For admins.
    async fn adjust_credits(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Whose, how many, what for.")] input: AdjustCreditsInput,
    ) -> Result<AdjustCreditsResult, Error> {
        let admin = context::admin(ctx)?;
        let corrected = async {
            let wish = Move {
                user: input.user,
                credits: input.credits,
                reason: input.reason,
                key: input.idempotency_key,
            };
            let Moved {
                user,
                balance,
                repeated,
            } = context::services(ctx).billing.correct(&admin, wish).await?;
            let success = AdjustCreditsSuccess {
                user_id: user.id.into(),
                credits: balance.into(),
                repeated,
            };
            Ok(success.into())
        };
        settle(ctx, corrected.await)
    }

    /// Settles a call whose outcome nobody could look up, by what the provider's own records say.
    /// Of this, its owner's choice and a late answer of the provider the first one holds. For
    /// admins.
    async fn settle_attempt(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which call, and what was found.")] input: SettleAttemptInput,
    ) -> Result<SettleAttemptResult, Error> {
        let admin = context::admin(ctx)?;
        let settled = async {
            let mut fields = Fields::default();
            let attempt = fields.id::<AttemptId>("attemptId", &input.attempt_id);
            let finding = match (input.found, input.provider_task_id) {
                (AttemptFinding::Charged, None) => Finding::Charged,
                (AttemptFinding::Charged, Some(task)) => Finding::Task(task),
                (AttemptFinding::NotCharged, None) => Finding::NotCharged,
                (AttemptFinding::NotCharged, Some(_)) => {
                    let why = "what has a task was accepted: say CHARGED";
                    fields.add("providerTaskId", why);
                    Finding::NotCharged
                }
            };
            let attempt = fields.finish_with(attempt)?;
            let jobs = &context::services(ctx).jobs;
            let by = (admin.id.to_string(), admin.name.clone());
            let open = jobs
                .settle_attempt(attempt, finding, by, input.reason)
                .await?;
            let attempt = open.into();
            Ok(SettleAttemptSuccess { attempt }.into())
        };
        settle(ctx, settled.await)
    }
}
