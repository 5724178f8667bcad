//! Mail, as the settings want it.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use tokio::sync::Mutex;

use crate::{
    adapters::{
        mail::{Mailbox, Resend},
        sql::Database,
    },
    config::{self, MailDelivery, Settings},
    mail::{self, Address, Mail, Postman, Seal, Sender},
    webhooks::Secret,
};

/// How mail leaves, with `auto` decided.
fn delivery(settings: &Settings) -> MailDelivery {
    match settings.mail.delivery {
        MailDelivery::Auto if settings.development.mailbox => MailDelivery::Mailbox,
        MailDelivery::Auto => MailDelivery::Off,
        wanted => wanted,
    }
}

/// The numbers by which mail runs.
pub(super) fn settings(settings: &Settings) -> mail::Settings {
    let wanted = &settings.mail;
    let waits = wanted.retry_seconds.iter().copied();
    mail::Settings {
        on: delivery(settings) != MailDelivery::Off,
        from: Sender::parse(&wanted.from).unwrap_or_else(|| Sender::local(&wanted.brand)),
        reply_to: Address::parse(&wanted.reply_to),
        brand: wanted.brand.clone(),
        app_url: Some(wanted.app_url.clone()).filter(|url| !url.is_empty()),
        link_life: Duration::from_secs(wanted.link_days * 86_400),
        low_credits: wanted.low_credits,
        per_second: wanted.per_second,
        concurrency: wanted.concurrency,
        daily: wanted.daily_per_user,
        retries: waits.map(Duration::from_secs).collect(),
        timeout: Duration::from_secs(wanted.timeout_seconds),
    }
}

/// The installation's own seal for links in mails.
pub(super) async fn seal(database: &Database) -> anyhow::Result<Seal> {
    let mut secret = vec![0_u8; 32];
    rand::Rng::fill_bytes(&mut rand::rng(), &mut secret);
    let secret = database.installation_fact("mail link key", secret).await?;
    Seal::new(&secret).context("the installation's key for links in mails is too short")
}

/// Who takes mails to where they go.
pub(super) fn postman(
    settings: &Settings,
    database: &Database,
    seal: Seal,
    base: &str,
) -> anyhow::Result<Postman> {
    let numbers = self::settings(settings);
    let mail: Option<Arc<dyn Mail>> = match delivery(settings) {
        MailDelivery::Auto | MailDelivery::Off => {
            tracing::info!("no mail is sent: mail.delivery is off");
            None
        }
        MailDelivery::Mailbox => {
            tracing::info!("mail is kept in the database and not sent: mail.delivery is mailbox");
            Some(Arc::new(Mailbox::new(database)))
        }
        MailDelivery::Resend => {
            let wanted = &settings.mail;
            let key = config::vendor_secret(&wanted.resend_key, "RESEND_API_KEY");
            let key = key.map_err(anyhow::Error::msg)?.context(
                "mail.delivery is resend, and there is no key: set RESEND_API_KEY, \
                 RESEND_API_KEY_FILE or mail.resend_key",
            )?;
            let resend = Resend::new(&wanted.resend_url, key, numbers.timeout);
            Some(Arc::new(resend.context("mail.resend_url cannot be used")?))
        }
    };
    Ok(Postman {
        database: database.for_worker(),
        mail,
        seal,
        base: base.into(),
        settings: Arc::new(numbers),
        turn: Arc::new(Mutex::new(None)),
    })
}

/// What signs the vendor's webhooks; without it they are refused.
pub(super) fn webhook_secret(settings: &Settings) -> anyhow::Result<Option<Secret>> {
    let given = &settings.mail.resend_webhook_secret;
    let found =
        config::vendor_secret(given, "RESEND_WEBHOOK_SECRET").map_err(anyhow::Error::msg)?;
    let found = found.map(|text| {
        use secrecy::ExposeSecret as _;
        Secret::from_text(text.expose_secret().to_owned())
    });
    if found.is_none() && delivery(settings) == MailDelivery::Resend {
        tracing::warn!(
            "there is no secret for the mail vendor's webhooks: nobody learns what bounces; \
             set RESEND_WEBHOOK_SECRET"
        );
    }
    Ok(found)
}
