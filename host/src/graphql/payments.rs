//! Plans, packs of credits, and pages to pay and to change.

use async_graphql::{ComplexObject, Context, Enum, Error, ID, InputObject, Object, SimpleObject};

use super::{
    context,
    error::{self, settle},
    fields::Fields,
    problems::{
        ConflictProblem, IdempotencyKeyReusedProblem, InvalidInputProblem,
        ProviderUnavailableProblem, outcome,
    },
    scalars::{DateTime, Url},
};
use crate::payments::{self, Kind, Order, Status};

/// How a subscription is.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "Status")]
pub(super) enum SubscriptionStatus {
    /// Its first payment has not come.
    Incomplete,
    /// Its first payment never came.
    IncompleteExpired,
    /// It is tried for nothing.
    Trialing,
    /// It is paid.
    Active,
    /// A payment failed and is tried again; the plan still holds.
    PastDue,
    /// It is over.
    Canceled,
    /// A payment failed for good.
    Unpaid,
    /// It rests.
    Paused,
}

/// A subscription to a plan.
#[derive(SimpleObject)]
pub(super) struct PlanSubscription {
    /// Name of the plan.
    plan: String,
    /// How it is.
    status: SubscriptionStatus,
    /// Until when it is paid; null before the first payment.
    current_period_end: Option<DateTime>,
    /// Does it end then?
    cancel_at_period_end: bool,
}

impl From<payments::Subscription> for PlanSubscription {
    fn from(row: payments::Subscription) -> Self {
        Self {
            plan: row.plan,
            status: row.status.into(),
            current_period_end: row.period_end.map(Into::into),
            cancel_at_period_end: row.ends,
        }
    }
}

/// A plan or a pack of credits that can be bought.
#[derive(SimpleObject)]
pub(super) struct CreditOffer {
    /// What `createCheckout` takes.
    name: String,
    /// For people.
    title: String,
    /// Price in the currency's smallest unit, for example cents: of a pack once, of a plan each
    /// month.
    price_minor: i64,
    /// Credits for each payment.
    credits: i64,
}

impl From<&payments::Offer> for CreditOffer {
    fn from(offer: &payments::Offer) -> Self {
        Self {
            name: offer.name.clone(),
            title: offer.title.clone(),
            price_minor: offer.amount,
            credits: offer.credits,
        }
    }
}

/// What can be bought.
#[derive(SimpleObject)]
#[graphql(complex)]
pub(super) struct CreditOffers {
    /// ISO 4217 in small letters, for example `usd`.
    currency: String,
    /// Can anything be bought here now? Without it `createCheckout` answers a conflict.
    available: bool,
}

#[ComplexObject]
impl CreditOffers {
    /// Paid each month, with credits for each, the cheapest first.
    async fn plans(&self, ctx: &Context<'_>) -> Vec<CreditOffer> {
        let payments = &context::services(ctx).payments;
        payments.offers().of(Kind::Plan).map(Into::into).collect()
    }

    /// Paid once, the cheapest first.
    async fn packs(&self, ctx: &Context<'_>) -> Vec<CreditOffer> {
        let payments = &context::services(ctx).payments;
        payments.offers().of(Kind::Pack).map(Into::into).collect()
    }
}

#[derive(Default)]
pub(super) struct PaymentQueries;

#[Object]
impl PaymentQueries {
    /// What can be bought: plans and packs of credits. Nobody has to be signed in.
    async fn credit_offers(&self, ctx: &Context<'_>) -> CreditOffers {
        let payments = &context::services(ctx).payments;
        CreditOffers {
            currency: payments.offers().currency.clone(),
            available: payments.is_open(),
        }
    }
}

/// What is bought: either a plan or a pack.
#[derive(InputObject)]
pub(super) struct CreateCheckoutInput {
    /// Name of a plan of `creditOffers`.
    plan: Option<String>,
    /// Name of a pack of `creditOffers`.
    pack: Option<String>,
    /// Where the buyer goes after paying: `https`. Stripe puts the page's id in the place of
    /// `{CHECKOUT_SESSION_ID}`. Credits come when the payment is confirmed, which may be a
    /// little later.
    success_url: Url,
    /// Where the buyer goes without paying; without it, the page has no way back.
    cancel_url: Option<Url>,
    /// Opens one page, however often it is sent within a day; 1 to 100 characters.
    idempotency_key: String,
}

/// Where to go back to.
#[derive(InputObject)]
pub(super) struct CreatePortalSessionInput {
    /// Where the user goes afterwards: `https`.
    return_url: Url,
}

/// The page is open.
#[derive(SimpleObject)]
pub(super) struct CreateCheckoutSuccess {
    /// The vendor's id of the page; also the reason of the line in `creditLedger` for a pack.
    session_id: ID,
    /// Where to pay: send the buyer there.
    url: Url,
    /// Until when the page is open.
    expires_at: DateTime,
}

/// The page is open, for some minutes.
#[derive(SimpleObject)]
pub(super) struct CreatePortalSessionSuccess {
    /// Where to change the plan, cancel, change the card and see invoices: send the user there
    /// at once.
    url: Url,
}

outcome!(
    /// What became of `createCheckout`.
    CreateCheckoutResult = CreateCheckoutSuccess
        | InvalidInput(InvalidInputProblem)
        | Conflict(ConflictProblem)
        | IdempotencyKeyReused(IdempotencyKeyReusedProblem)
        | ProviderUnavailable(ProviderUnavailableProblem)
);

outcome!(
    /// What became of `createPortalSession`.
    CreatePortalSessionResult = CreatePortalSessionSuccess
        | InvalidInput(InvalidInputProblem)
        | Conflict(ConflictProblem)
        | ProviderUnavailable(ProviderUnavailableProblem)
);

#[derive(Default)]
pub(super) struct PaymentMutations;

#[Object]
impl PaymentMutations {
    /// Opens a page on which the caller pays for a plan or a pack of credits.
    async fn create_checkout(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is bought.")] input: CreateCheckoutInput,
    ) -> Result<CreateCheckoutResult, Error> {
        let user = context::user(ctx)?;
        let opened = async {
            let mut fields = Fields::default();
            let success_url = fields.link("successUrl", Some(input.success_url));
            let cancel_url = fields.link("cancelUrl", input.cancel_url);
            let success_url = fields.finish_with(success_url)?;
            let order = Order {
                plan: input.plan,
                pack: input.pack,
                success_url,
                cancel_url,
                key: input.idempotency_key,
            };
            let page = context::services(ctx)
                .payments
                .checkout(&user, order)
                .await?;
            Ok(CreateCheckoutSuccess {
                session_id: page.id.into(),
                url: Url::trusted(page.url),
                expires_at: page.expires_at.into(),
            }
            .into())
        };
        settle(ctx, opened.await)
    }

    /// Opens a page on which the caller changes or cancels their subscription.
    async fn create_portal_session(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Where to go back to.")] input: CreatePortalSessionInput,
    ) -> Result<CreatePortalSessionResult, Error> {
        let user = context::user(ctx)?;
        let opened = async {
            let mut fields = Fields::default();
            let return_url = fields.link("returnUrl", Some(input.return_url));
            let return_url = fields.finish_with(return_url)?;
            let payments = &context::services(ctx).payments;
            let url = payments.portal(&user, &return_url).await?;
            let url = Url::trusted(url);
            Ok(CreatePortalSessionSuccess { url }.into())
        };
        settle(ctx, opened.await)
    }
}

/// A user's own subscription, for `User`.
pub(super) async fn subscription(
    ctx: &Context<'_>,
    user: crate::ids::UserId,
) -> Result<Option<PlanSubscription>, Error> {
    let found = context::services(ctx).payments.subscription(user).await;
    let found = found.map_err(|failed| error::database(ctx, &failed))?;
    Ok(found.map(Into::into))
}
