//! `User` and `me`.

use std::sync::Arc;

use async_graphql::{Context, Error, ID, Object};

use super::{
    context,
    credits::UserCredits,
    enums::{Role, SignInMethod},
    error,
    payments::{self, PlanSubscription},
    scalars::DateTime,
};
use crate::accounts;

pub(super) struct User(pub(super) Arc<accounts::User>);

/// A person or program with an account.
#[Object]
impl User {
    /// Opaque, begins with `usr_`.
    pub(super) async fn id(&self) -> ID {
        self.0.id.into()
    }

    /// Mail address.
    async fn email(&self) -> &str {
        &self.0.email
    }

    /// Is it known that the address is the user's?
    async fn email_verified(&self) -> bool {
        self.0.verified_at.is_some()
    }

    /// The name that is shown.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// What the user may do.
    async fn role(&self) -> Role {
        self.0.role.into()
    }

    /// Since when there is the account.
    async fn created_at(&self) -> DateTime {
        self.0.created_at.into()
    }

    /// With what the user can sign in: a forgotten or first password is set with
    /// `requestPasswordReset`.
    async fn sign_in_methods(&self, ctx: &Context<'_>) -> Result<Vec<SignInMethod>, Error> {
        let sessions = &context::services(ctx).sessions;
        let methods = sessions.sign_in_methods(self.0.id).await;
        let methods = methods.map_err(|failed| error::database(ctx, &failed))?;
        Ok(methods.into_iter().map(Into::into).collect())
    }

    /// The user's credits.
    async fn credits(&self, ctx: &Context<'_>) -> Result<UserCredits, Error> {
        let billing = &context::services(ctx).billing;
        let balance = billing.balance(self.0.id).await;
        Ok(balance
            .map_err(|failed| error::database(ctx, &failed))?
            .into())
    }

    /// Name of the plan that the user is on.
    async fn plan(&self, ctx: &Context<'_>) -> Result<String, Error> {
        let plan = context::services(ctx).payments.plan(self.0.id).await;
        let plan = plan.map_err(|failed| error::database(ctx, &failed))?;
        Ok(plan.unwrap_or_else(|| "free".to_owned()))
    }

    /// The subscription that holds, or else the last one; null when there never was one.
    async fn subscription(&self, ctx: &Context<'_>) -> Result<Option<PlanSubscription>, Error> {
        payments::subscription(ctx, self.0.id).await
    }

    /// Credits whose money went back after they had been spent.
    async fn owed_credits(&self, ctx: &Context<'_>) -> Result<i64, Error> {
        let owing = context::services(ctx).payments.owing(self.0.id).await;
        Ok(owing
            .map_err(|failed| error::database(ctx, &failed))?
            .credits)
    }
}

#[derive(Default)]
pub(super) struct UserQueries;

#[Object]
impl UserQueries {
    /// Who is calling; null when nobody is signed in.
    async fn me(&self, ctx: &Context<'_>) -> Result<Option<User>, Error> {
        Ok(context::caller(ctx)?.map(User))
    }
}
