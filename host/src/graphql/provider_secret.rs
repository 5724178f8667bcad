//! Vendors' credentials, which administrators set and nobody reads.

use async_graphql::{Context, Error, ID, InputObject, Object, SimpleObject};

use super::{
    context,
    error::{self, settle},
    problems::{InvalidInputProblem, NotFoundProblem, outcome},
    scalars::DateTime,
};
use crate::providers::SealedSecret;

/// A credential of a provider. What it is cannot be read.
#[derive(SimpleObject)]
pub(super) struct ProviderSecret {
    /// The provider's id.
    provider: ID,
    /// The name that its plugin gives it, such as `HEYGEN_API_KEY`.
    name: String,
    /// Since when.
    set_at: DateTime,
}

impl From<SealedSecret> for ProviderSecret {
    fn from(row: SealedSecret) -> Self {
        Self {
            provider: row.provider.into(),
            name: row.name,
            set_at: row.set_at.into(),
        }
    }
}

/// A credential for every node.
#[derive(InputObject)]
pub(super) struct SetProviderSecretInput {
    /// The provider's id.
    provider: ID,
    /// The name that its plugin gives it, such as `HEYGEN_API_KEY`.
    name: String,
    /// What it is: 1 to 8192 bytes in one line.
    value: String,
}

/// A credential that is forgotten.
#[derive(InputObject)]
pub(super) struct ForgetProviderSecretInput {
    /// The provider's id.
    provider: ID,
    /// The name that its plugin gives it.
    name: String,
}

/// It is set.
#[derive(SimpleObject)]
pub(super) struct SetProviderSecretSuccess {
    /// The provider's id.
    provider: ID,
    /// The name.
    name: String,
}

/// It is forgotten.
#[derive(SimpleObject)]
pub(super) struct ForgetProviderSecretSuccess {
    /// The provider's id.
    provider: ID,
    /// The name.
    name: String,
}

outcome!(
    /// What became of `setProviderSecret`.
    SetProviderSecretResult = SetProviderSecretSuccess | InvalidInput(InvalidInputProblem)
);

outcome!(
    /// What became of `forgetProviderSecret`.
    ForgetProviderSecretResult = ForgetProviderSecretSuccess | NotFound(NotFoundProblem)
);

#[derive(Default)]
pub(super) struct ProviderSecretQueries;

#[Object]
impl ProviderSecretQueries {
    /// Which credentials of providers are set here for every node; not those of nodes' own settings.
    /// For admins and services.
    async fn provider_secrets(&self, ctx: &Context<'_>) -> Result<Vec<ProviderSecret>, Error> {
        context::overseer(ctx)?;
        let found = context::services(ctx).secrets.list().await;
        let found = found.map_err(|failed| error::database(ctx, &failed))?;
        Ok(found.into_iter().map(Into::into).collect())
    }
}

#[derive(Default)]
pub(super) struct ProviderSecretMutations;

#[Object]
impl ProviderSecretMutations {
    /// Sets a credential of a provider for every node, which takes it over within seconds in the
    /// place of what its own settings say. It is sealed at once and can be read by nobody. For admins.
    async fn set_provider_secret(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which one, and what it is.")] input: SetProviderSecretInput,
    ) -> Result<SetProviderSecretResult, Error> {
        let admin = context::admin(ctx)?;
        let services = context::services(ctx);
        let set = async {
            (services.secrets)
                .set(
                    &services.registry,
                    &input.provider,
                    &input.name,
                    &input.value,
                    admin.id.to_string(),
                )
                .await?;
            Ok(SetProviderSecretSuccess {
                provider: input.provider,
                name: input.name,
            }
            .into())
        };
        settle(ctx, set.await)
    }

    /// Forgets a credential that was set here: each node goes by its own settings again. For admins.
    async fn forget_provider_secret(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which one.")] input: ForgetProviderSecretInput,
    ) -> Result<ForgetProviderSecretResult, Error> {
        let admin = context::admin(ctx)?;
        let services = context::services(ctx);
        let forgotten = async {
            (services.secrets)
                .forget(&input.provider, &input.name, admin.id.to_string())
                .await?;
            Ok(ForgetProviderSecretSuccess {
                provider: input.provider,
                name: input.name,
            }
            .into())
        };
        settle(ctx, forgotten.await)
    }
}
