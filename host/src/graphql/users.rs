//! What admins do with users.

use async_graphql::{Context, Error, ID, InputObject, Object, SimpleObject};

use super::{
    connection::{Connection, Named, decode_cursor, encode_cursor, page_cost, page_size},
    context,
    enums::Role,
    error::{self, Refusal, settle},
    fields::Fields,
    problems::{InvalidInputProblem, NotFoundProblem, outcome},
    scalars::DateTime,
};
use crate::{
    accounts::{self, User},
    ids::UserId,
};

/// A user as admins see them.
#[derive(SimpleObject)]
pub(super) struct Account {
    /// Opaque, begins with `usr_`.
    id: ID,
    /// Mail address; several may claim one, and one has it.
    email: String,
    /// Is it known that the address is theirs?
    email_verified: bool,
    /// The name that is shown.
    name: String,
    /// What they may do.
    role: Role,
    /// Since when there is the account.
    created_at: DateTime,
}

impl From<User> for Account {
    fn from(user: User) -> Self {
        Self {
            id: user.id.into(),
            email: user.email,
            email_verified: user.verified_at.is_some(),
            name: user.name,
            role: user.role.into(),
            created_at: user.created_at.into(),
        }
    }
}

impl Named for Account {
    const NAME: &'static str = "Account";
}

/// Which users to list. Conditions are joined by "and".
#[derive(InputObject, Default)]
pub(super) struct UserFilter {
    /// Only those whose mail address begins like this.
    email: Option<String>,
    /// Only those with this role.
    role: Option<Role>,
}

#[derive(Default)]
pub(super) struct UserListQueries;

#[Object]
impl UserListQueries {
    /// Users, newest first; not those whose accounts are gone. For admins and services.
    #[graphql(complexity = "page_cost(first, child_complexity)")]
    async fn users(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "At most so many, 1 to 100; without it 20.")] first: Option<i32>,
        #[graphql(desc = "Only those behind this cursor.")] after: Option<String>,
        #[graphql(desc = "Only those that fit; without it all.")] filter: Option<UserFilter>,
    ) -> Result<Connection<Account>, Error> {
        context::overseer(ctx)?;
        let first = page_size(first)?;
        let place = decode_cursor::<UserId>("after", after.as_deref())?;
        let filter = filter.unwrap_or_default();
        let filter = accounts::UserFilter {
            begins: filter.email,
            role: filter.role.map(Into::into),
        };
        let accounts = context::services(ctx).sessions.accounts();
        let page = accounts.users(filter, place, first).await;
        let page = page.map_err(|failed| error::database(ctx, &failed))?;
        let entries = (page.items.into_iter()).map(|row| (encode_cursor(row.id), row.into()));
        Ok(Connection::new(entries, after.is_some(), page.more))
    }
}

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
