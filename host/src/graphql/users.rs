//! What admins do with users.

use async_graphql::{Context, Error, ID, InputObject, Object, SimpleObject};

use super::{
    context,
    enums::Role,
    error::{self, Refusal, settle},
    fields::Fields,
    problems::{InvalidInputProblem, NotFoundProblem, outcome},
};

/// Another role for a user.
#[derive(InputObject)]
pub(super) struct SetUserRoleInput {
    /// Whose: an id (`usr_…`) or a mail address.
    user: String,
    /// The role from their next request on.
    role: Role,
}

/// Another plan for a user.
#[derive(InputObject)]
pub(super) struct SetUserPlanInput {
    /// Whose: an id (`usr_…`) or a mail address.
    user: String,
    /// Name of a plan of the settings, for jobs that are accepted from then on.
    plan: String,
}

/// The user has the role.
#[derive(SimpleObject)]
pub(super) struct SetUserRoleSuccess {
    /// Whose (`usr_…`).
    user_id: ID,
    /// The role.
    role: Role,
}

/// The user is on the plan.
#[derive(SimpleObject)]
pub(super) struct SetUserPlanSuccess {
    /// Whose (`usr_…`).
    user_id: ID,
    /// The plan.
    plan: String,
}

outcome!(
    /// What became of `setUserRole`.
    SetUserRoleResult = SetUserRoleSuccess | NotFound(NotFoundProblem)
);

outcome!(
    /// What became of `setUserPlan`.
    SetUserPlanResult =
        SetUserPlanSuccess | InvalidInput(InvalidInputProblem) | NotFound(NotFoundProblem)
);

fn nobody() -> Refusal {
    Refusal::NotFound(NotFoundProblem::new("user", "user"))
}

#[derive(Default)]
pub(super) struct UserMutations;

#[Object]
impl UserMutations {
    /// Gives a user another role. For admins.
    async fn set_user_role(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Whose, and which.")] input: SetUserRoleInput,
    ) -> Result<SetUserRoleResult, Error> {
        let admin = context::admin(ctx)?;
        let accounts = context::services(ctx).sessions.accounts();
        let set = accounts.set_role(&admin, &input.user, input.role.into());
        let set = set.await.map_err(|failed| error::database(ctx, &failed))?;
        let set = set.ok_or_else(|| nobody().into()).map(|user| {
            let success = SetUserRoleSuccess {
                user_id: user.id.into(),
                role: user.role.into(),
            };
            success.into()
        });
        settle(ctx, set)
    }

    /// Puts a user on a plan. For admins.
    async fn set_user_plan(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Whose, and which.")] input: SetUserPlanInput,
    ) -> Result<SetUserPlanResult, Error> {
        let admin = context::admin(ctx)?;
        let services = context::services(ctx);
        let plans = services.jobs.plans();
        if !plans.has(&input.plan) {
            let mut fields = Fields::default();
            let known = plans.names().join(", ");
            fields.add("plan", &format!("is not one of the settings: {known}"));
            return settle(ctx, fields.finish_with(None).map_err(Into::into));
        }
        let accounts = services.sessions.accounts();
        let set = accounts.set_plan(&admin, &input.user, &input.plan).await;
        let set = set.map_err(|failed| error::database(ctx, &failed))?;
        let set = set.ok_or_else(|| nobody().into()).map(|user| {
            let success = SetUserPlanSuccess {
                user_id: user.id.into(),
                plan: input.plan,
            };
            success.into()
        });
        settle(ctx, set)
    }
}
