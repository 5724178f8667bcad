//! Payments, as the settings want them.

use std::sync::Arc;

use anyhow::Context;
use genvid_stripe::{Stripe, WebhookSecrets};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use crate::{
    adapters::stripe::StripeTill,
    config::{self, Settings},
    payments::{Kind, Offer, Offers, Receiver, Sold, Till},
};

/// What is sold, and by whom.
///
/// # Errors
/// When a secret cannot be read or used.
pub fn sold(settings: &Settings) -> anyhow::Result<Sold> {
    let wanted = &settings.payments;
    let secret = |given: &SecretString, name: &str| {
        config::vendor_secret(given, name).map_err(anyhow::Error::msg)
    };
    let key = secret(&wanted.stripe_key, "STRIPE_SECRET_KEY")?;
    let mut sold = Sold {
        offers: Arc::new(offers(settings)),
        till: None,
        receiver: None,
        lenient: settings.development.lenient_links,
    };
    let Some(key) = key else {
        tracing::info!("nothing is sold: there is no STRIPE_SECRET_KEY");
        return Ok(sold);
    };
    let url = Url::parse(&wanted.stripe_url).context("payments.stripe_url")?;
    let stripe = Stripe::new(&key, Some(&url)).context("STRIPE_SECRET_KEY cannot be used")?;
    let till: Arc<dyn Till> = Arc::new(StripeTill::new(stripe));
    sold.till = Some(till);
    let present = secret(&wanted.stripe_webhook_secret, "STRIPE_WEBHOOK_SECRET")?;
    let previous = secret(
        &wanted.stripe_previous_webhook_secret,
        "STRIPE_PREVIOUS_WEBHOOK_SECRET",
    )?;
    if let Some(present) = present {
        let secrets = WebhookSecrets::new(present, previous).context("STRIPE_WEBHOOK_SECRET")?;
        let receiver = genvid_stripe::Receiver::new(secrets, is_live(&key));
        let receiver: Arc<dyn Receiver> = Arc::new(receiver);
        sold.receiver = Some(receiver);
    } else {
        tracing::warn!(
            "there is no STRIPE_WEBHOOK_SECRET: payments are seen only when Stripe is asked, \
             every {} minutes",
            wanted.reconcile_minutes
        );
    }
    Ok(sold)
}

/// Is it about real money?
fn is_live(key: &SecretString) -> bool {
    let key = key.expose_secret();
    key.starts_with("sk_live_") || key.starts_with("rk_live_")
}

fn offers(settings: &Settings) -> Offers {
    let wanted = &settings.payments;
    let plans = wanted.plans.iter().map(|entry| (Kind::Plan, entry));
    let packs = wanted.packs.iter().map(|entry| (Kind::Pack, entry));
    let mut all: Vec<_> = plans
        .chain(packs)
        // A price of 0 takes one of the defaults off sale.
        .filter(|(_, (_, offer))| offer.price > 0)
        .map(|(kind, (name, offer))| Offer {
            kind,
            name: name.clone(),
            title: offer.title.clone(),
            amount: offer.price,
            credits: offer.credits,
        })
        .collect();
    all.sort_by(|one, other| (one.amount, &one.name).cmp(&(other.amount, &other.name)));
    Offers {
        currency: wanted.currency.clone(),
        all,
    }
}
