//! Stripe behind the ports of payments. Everything about a sale is noted on Stripe's objects
//! when it is made: the buyer on pages and subscriptions, plan and credits on prices. So what a
//! payment means never depends on today's settings.

use async_trait::async_trait;
use genvid_stripe::{
    Failure as StripeFailure, Invoice, Metadata, NewPrice, NewSession, Price, Session, Stripe,
    Subject as Object, Subscription,
};

use crate::{
    accounts::User,
    ids::UserId,
    payments::{
        Bought, Fact, Failure, Kind, NewPage, Page, Receiver, Seen, Status, Subject, Till,
        lookup_key, note,
    },
    time::{self, Timestamp},
};

impl From<StripeFailure> for Failure {
    fn from(failure: StripeFailure) -> Self {
        match failure {
            StripeFailure::Missing => Self::Missing,
            StripeFailure::KeyReused => Self::KeyReused,
            StripeFailure::Refused { .. } => Self::Refused(failure.to_string()),
            StripeFailure::Unavailable(why) => Self::Unavailable(why),
        }
    }
}

impl From<Object> for Subject {
    fn from(object: Object) -> Self {
        match object {
            Object::Session(id) => Self::Session(id),
            Object::Subscription(id) => Self::Subscription(id),
            Object::Invoice(id) => Self::Invoice(id),
            Object::Payment(id) => Self::Payment(id),
        }
    }
}

fn seen(event: genvid_stripe::Event) -> Seen {
    Seen {
        id: event.id,
        kind: event.kind,
        at: event.created,
        subject: event.subject.map(Into::into),
    }
}

/// Believes what Stripe signed for this server's mode.
impl Receiver for genvid_stripe::Receiver {
    fn receive(&self, signature: &[u8], body: &[u8]) -> Result<Seen, String> {
        let now = u64::try_from(time::now().millis() / 1_000).unwrap_or(0);
        let event = self.receive(signature, body, now);
        event.map(seen).map_err(|refusal| refusal.to_string())
    }
}

/// A time of Stripe's.
fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds.saturating_mul(1_000))
}

fn user(metadata: Option<&Metadata>) -> Option<UserId> {
    metadata?.get(note::USER)?.parse().ok()
}

fn credits(metadata: Option<&Metadata>) -> Option<i64> {
    let credits = metadata?.get(note::CREDITS)?.parse().ok()?;
    (0..=crate::billing::MOST)
        .contains(&credits)
        .then_some(credits)
}

fn status(word: &str) -> Option<Status> {
    // One word for words: only their case differs.
    Status::parse(&word.to_ascii_uppercase())
}

/// Credits in proportion to the money that is there no more, in the buyer's favour.
fn recalled(credits: i64, gone: genvid_stripe::Gone) -> i64 {
    if gone.paid <= 0 || gone.gone >= gone.paid {
        return if gone.gone > 0 { credits } else { 0 };
    }
    let part = i128::from(credits) * i128::from(gone.gone) / i128::from(gone.paid);
    i64::try_from(part).unwrap_or(credits)
}

fn notes(page: &NewPage<'_>) -> Metadata {
    let mut notes = price_notes(page);
    notes.insert(note::USER.to_owned(), page.user.to_string());
    notes
}

fn price_notes(page: &NewPage<'_>) -> Metadata {
    [
        (note::KIND, page.offer.kind.as_str().to_owned()),
        (note::OFFER, page.offer.name.clone()),
        (note::CREDITS, page.offer.credits.to_string()),
    ]
    .into_iter()
    .map(|(name, text)| (name.to_owned(), text))
    .collect()
}

/// Asks Stripe.
pub struct StripeTill {
    stripe: Stripe,
}

impl StripeTill {
    /// With an account.
    #[must_use]
    pub fn new(stripe: Stripe) -> Self {
        Self { stripe }
    }

    async fn recalled(&self, credits: i64, payment: Option<&str>) -> Result<i64, Failure> {
        Ok(match payment {
            Some(payment) => recalled(credits, self.stripe.gone(payment).await?),
            None => 0,
        })
    }

    async fn page(&self, session: Session) -> Result<Option<Fact>, Failure> {
        let notes = session.metadata.as_ref();
        let ours = (user(notes), credits(notes));
        let (Some(user), Some(credits)) = ours else {
            return Ok(None);
        };
        // A subscription's money is its invoices'.
        if session.mode != "payment" || session.payment_status != "paid" {
            return Ok(None);
        }
        let payment = session.payment_intent;
        Ok(Some(Fact::Bought(Bought {
            recalled: self.recalled(credits, payment.as_deref()).await?,
            key: session.id,
            user: Some(user),
            customer: session.customer,
            credits,
            amount: session.amount_total.unwrap_or(0),
            currency: session.currency.unwrap_or_default(),
            payment,
            invoice_url: None,
        })))
    }

    async fn invoice(&self, invoice: Invoice) -> Result<Option<Fact>, Failure> {
        if invoice.status.as_deref() != Some("paid") || invoice.subscription().is_none() {
            return Ok(None);
        }
        let mut all = 0_i64;
        for (price, quantity) in invoice.periods() {
            let price = self.stripe.price_of(price).await?;
            if let Some(credits) = credits(price.metadata.as_ref()) {
                all = all.saturating_add(credits.saturating_mul(quantity.max(0)));
            }
        }
        if all == 0 {
            return Ok(None);
        }
        let payment = self.stripe.payment_of(&invoice.id).await?;
        Ok(Some(Fact::Bought(Bought {
            user: user(invoice.metadata()),
            recalled: self.recalled(all, payment.as_deref()).await?,
            key: invoice.id,
            customer: invoice.customer,
            credits: all,
            amount: invoice.amount_paid,
            currency: invoice.currency,
            payment,
            invoice_url: invoice.hosted_invoice_url,
        })))
    }
}

fn plan(price: &Price) -> Option<String> {
    let notes = price.metadata.as_ref()?;
    let is_plan = notes.get(note::KIND).map(String::as_str) == Some(Kind::Plan.as_str());
    notes.get(note::OFFER).filter(|_| is_plan).cloned()
}

fn subscribed(subscription: Subscription) -> Option<Fact> {
    let status = status(&subscription.status).or_else(|| {
        let (id, status) = (&subscription.id, &subscription.status);
        tracing::warn!(
            id,
            status,
            "a subscription is in a state that nobody here knows"
        );
        None
    })?;
    Some(Fact::Subscribed {
        user: user(subscription.metadata.as_ref()),
        plan: plan(subscription.price()?)?,
        status,
        period_end: subscription.period_end().map(at),
        ends: subscription.cancel_at_period_end || subscription.cancel_at.is_some(),
        since: at(subscription.created),
        id: subscription.id,
        customer: subscription.customer,
    })
}

#[async_trait]
impl Till for StripeTill {
    async fn customer(&self, user: &User) -> Result<String, Failure> {
        let notes = Metadata::from([(note::USER.to_owned(), user.id.to_string())]);
        let key = format!("genvid/customer/{}", user.id);
        Ok(self.stripe.customer(&user.email, &notes, &key).await?)
    }

    async fn open(&self, page: &NewPage<'_>, key: &str) -> Result<Page, Failure> {
        let offer = page.offer;
        let price = NewPrice {
            lookup_key: lookup_key(offer, page.currency),
            name: offer.title.clone(),
            amount: offer.amount,
            currency: page.currency.to_owned(),
            interval: (offer.kind == Kind::Plan).then_some("month"),
            metadata: price_notes(page),
        };
        let session = NewSession {
            price: self.stripe.price(&price).await?.id,
            is_subscription: offer.kind == Kind::Plan,
            customer: page.customer.to_owned(),
            reference: page.user.to_string(),
            metadata: notes(page),
            success_url: page.success_url.to_owned(),
            cancel_url: page.cancel_url.map(str::to_owned),
        };
        let session = self.stripe.open(&session, key).await?;
        let url = session.url.ok_or_else(|| {
            Failure::Refused("this page is over: take another idempotency key".to_owned())
        })?;
        Ok(Page {
            id: session.id,
            url,
            expires_at: at(session.expires_at),
        })
    }

    async fn portal(&self, customer: &str, return_url: &str) -> Result<String, Failure> {
        Ok(self.stripe.portal(customer, return_url).await?)
    }

    async fn behind(&self, subject: &Subject) -> Result<Vec<Subject>, Failure> {
        Ok(match subject {
            Subject::Session(id) => {
                let session = self.stripe.session(id).await?;
                let subscription = session.subscription.map(Subject::Subscription);
                [Some(subject.clone()), subscription]
                    .into_iter()
                    .flatten()
                    .collect()
            }
            Subject::Subscription(_) => vec![subject.clone()],
            Subject::Invoice(id) => {
                let invoice = self.stripe.invoice(id).await?;
                let subscription = invoice.subscription().map(str::to_owned);
                let subscription = subscription.map(Subject::Subscription);
                [Some(subject.clone()), subscription]
                    .into_iter()
                    .flatten()
                    .collect()
            }
            Subject::Payment(id) => {
                let all = self.stripe.paid_by(id).await?;
                all.into_iter().map(Into::into).collect()
            }
        })
    }

    async fn look(&self, subject: &Subject) -> Result<Option<Fact>, Failure> {
        match subject {
            Subject::Session(id) => self.page(self.stripe.session(id).await?).await,
            Subject::Invoice(id) => self.invoice(self.stripe.invoice(id).await?).await,
            Subject::Subscription(id) => Ok(subscribed(self.stripe.subscription(id).await?)),
            // It stands for what it paid for: see `behind`.
            Subject::Payment(_) => Ok(None),
        }
    }

    async fn events(&self, since: i64, before: Option<&str>) -> Result<(Vec<Seen>, bool), Failure> {
        let page = self.stripe.events(since, before).await?;
        Ok((page.events.into_iter().map(seen).collect(), page.more))
    }
}

#[cfg(test)]
mod tests {
    use super::recalled;
    use genvid_stripe::Gone;

    #[test]
    fn what_goes_back_is_in_proportion() {
        let of = |gone, paid| recalled(1_000, Gone { paid, gone });
        assert_eq!(of(0, 1_900), 0);
        assert_eq!(of(1_900, 1_900), 1_000);
        assert_eq!(of(950, 1_900), 500);
        assert_eq!(of(1, 1_900), 0, "in the buyer's favour");
        assert_eq!(of(0, 0), 0, "nothing was paid");
    }
}
