//! What users do about money: open a page to pay, open the page to change and cancel, see what
//! they subscribe to.

use std::sync::Arc;

use url::Url;

use super::{Failure, Kind, NewPage, Offers, Owing, Page, Receiver, Seen, Subscription, Till};
use crate::{
    accounts::User,
    adapters::sql::{self, Database},
    ids::UserId,
    input::Problems,
};

/// Longest address to return to.
const MAX_URL: usize = 2_000;
/// Longest idempotency key.
const MAX_KEY: usize = 100;

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Fields cannot be taken.
    #[error("the input cannot be taken")]
    Invalid(Problems),
    /// It does not go with what is there.
    #[error("{0}")]
    Conflict(String),
    /// The idempotency key came before with something else.
    #[error("the idempotency key was used for another request")]
    KeyReused,
    /// The vendor does not do it now.
    #[error("the payment vendor does not do it")]
    Vendor(#[source] Failure),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sql::Error),
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::KeyReused => Self::KeyReused,
            failure => Self::Vendor(failure),
        }
    }
}

/// What is bought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Name of a plan.
    pub plan: Option<String>,
    /// Name of a pack.
    pub pack: Option<String>,
    /// Where the buyer goes afterwards.
    pub success_url: Url,
    /// Where the buyer goes without paying.
    pub cancel_url: Option<Url>,
    /// Opens one page, however often it is sent.
    pub key: String,
}

/// What the settings sell, and how.
#[derive(Clone, Default)]
pub struct Sold {
    /// What is sold.
    pub offers: Arc<Offers>,
    /// By whom; nothing: nothing can be bought.
    pub till: Option<Arc<dyn Till>>,
    /// Believes events; nothing: none are taken.
    pub receiver: Option<Arc<dyn Receiver>>,
    /// May pages lead back to `http`, as in development?
    pub lenient: bool,
}

/// Payments. Cheap to clone.
#[derive(Clone)]
pub struct Service {
    database: Database,
    sold: Sold,
}

impl Service {
    /// Over a database.
    #[must_use]
    pub fn new(database: Database, sold: Sold) -> Self {
        Self { database, sold }
    }

    /// What is sold.
    #[must_use]
    pub fn offers(&self) -> &Offers {
        &self.sold.offers
    }

    /// Can anything be bought here?
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.sold.till.is_some()
    }

    /// What a user subscribes to: what holds, or else what was last.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn subscription(&self, user: UserId) -> Result<Option<Subscription>, sql::Error> {
        self.database.for_user(user).subscription_of(user).await
    }

    /// The name of a user's plan.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn plan(&self, user: UserId) -> Result<Option<String>, sql::Error> {
        self.database.plan_of(user).await
    }

    /// What a user owes.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn owing(&self, user: UserId) -> Result<Owing, sql::Error> {
        self.database.for_user(user).owing(user).await
    }

    /// Opens a page to pay.
    ///
    /// # Errors
    /// When the order cannot be taken, or the vendor does not open it.
    pub async fn checkout(&self, user: &User, order: Order) -> Result<Page, Error> {
        let mut problems = Problems::default();
        let wanted = match (&order.plan, &order.pack) {
            (Some(name), None) => Some((Kind::Plan, "plan", name)),
            (None, Some(name)) => Some((Kind::Pack, "pack", name)),
            _ => {
                problems.add("plan", "name either a plan or a pack");
                None
            }
        };
        let offer = wanted.and_then(|(kind, field, name)| {
            let found = self.sold.offers.find(kind, name);
            if found.is_none() {
                problems.add(field, self.unknown(kind));
            }
            found
        });
        let key = problems.text("idempotencyKey", &order.key, 1, MAX_KEY);
        self.check_address(&mut problems, "successUrl", Some(&order.success_url));
        self.check_address(&mut problems, "cancelUrl", order.cancel_url.as_ref());
        problems.into_result().map_err(Error::Invalid)?;
        let (Some(offer), till) = (offer, self.till()?) else {
            return Err(Error::Conflict("There is no such offer.".to_owned()));
        };
        if offer.kind == Kind::Plan
            && let Some(present) = self.subscription(user.id).await?
            && present.status.entitles()
        {
            return Err(Error::Conflict(format!(
                "You subscribe to the plan {} already: change it with createPortalSession.",
                present.plan
            )));
        }
        let customer = self.customer(user, till).await?;
        let success_url = with_placeholder(&order.success_url);
        let page = NewPage {
            offer,
            currency: &self.sold.offers.currency,
            user: user.id,
            customer: &customer,
            success_url: &success_url,
            cancel_url: order.cancel_url.as_ref().map(Url::as_str),
        };
        let key = format!("genvid/checkout/{}/{key}", user.id);
        Ok(till.open(&page, &key).await?)
    }

    /// Opens the page on which a user changes and cancels; its address.
    ///
    /// # Errors
    /// When they never bought anything, or the vendor does not open it.
    pub async fn portal(&self, user: &User, return_url: &Url) -> Result<String, Error> {
        let mut problems = Problems::default();
        self.check_address(&mut problems, "returnUrl", Some(return_url));
        problems.into_result().map_err(Error::Invalid)?;
        let till = self.till()?;
        let customer = self.database.customer_of(user.id).await?;
        let customer = customer.ok_or_else(|| {
            Error::Conflict("You have not bought anything yet: see createCheckout.".to_owned())
        })?;
        Ok(till.portal(&customer, return_url.as_str()).await?)
    }

    /// Believes an event and keeps it until it is worked off; `Err` with words for the log when
    /// it is not believed.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn receive(
        &self,
        signature: &[u8],
        body: &[u8],
    ) -> Result<Result<Seen, String>, sql::Error> {
        let Some(receiver) = &self.sold.receiver else {
            let why = "there is no secret for payment events: set STRIPE_WEBHOOK_SECRET";
            return Ok(Err(why.to_owned()));
        };
        let seen = match receiver.receive(signature, body) {
            Ok(seen) => seen,
            Err(why) => return Ok(Err(why)),
        };
        self.database.note_payment_event(&seen).await?;
        Ok(Ok(seen))
    }

    fn till(&self) -> Result<&dyn Till, Error> {
        self.sold.till.as_deref().ok_or_else(|| {
            Error::Conflict("Nothing is sold here: payments are not set up.".to_owned())
        })
    }

    fn unknown(&self, kind: Kind) -> String {
        let names: Vec<_> = self
            .sold
            .offers
            .of(kind)
            .map(|offer| &*offer.name)
            .collect();
        match names.is_empty() {
            true => format!("there is no {} for sale", kind.as_str()),
            false => format!("must be one of {}", names.join(", ")),
        }
    }

    fn check_address(&self, problems: &mut Problems, field: &str, url: Option<&Url>) {
        let Some(url) = url else { return };
        let wanted = match self.sold.lenient {
            true => "must be an address with http or https",
            false => "must be an address with https",
        };
        let fits = url.scheme() == "https" || self.sold.lenient && url.scheme() == "http";
        if !fits || url.host_str().is_none() {
            problems.add(field, wanted);
        } else if !url.username().is_empty() || url.password().is_some() {
            problems.add(field, "must not name a user or a password");
        } else if url.as_str().len() > MAX_URL {
            problems.add(field, format!("must have at most {MAX_URL} characters"));
        }
    }

    async fn customer(&self, user: &User, till: &dyn Till) -> Result<String, Error> {
        if let Some(customer) = self.database.customer_of(user.id).await? {
            return Ok(customer);
        }
        let customer = till.customer(user).await?;
        Ok(self.database.note_customer(user.id, customer).await?)
    }
}

/// Addresses are written by the URL standard, which escapes braces in a path; the vendor looks
/// for them as they are.
fn with_placeholder(url: &Url) -> String {
    url.as_str()
        .replace("%7BCHECKOUT_SESSION_ID%7D", "{CHECKOUT_SESSION_ID}")
}
