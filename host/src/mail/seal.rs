//! Links in mails that let their holder do one thing: signed, each for one mail and one purpose.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::{ids::MailId, jobs::model::words, time::Timestamp};

/// Names what is signed, so that a signature made for something else opens nothing here.
const PURPOSE: &str = "genvid mail link 1";
/// Longest token that is looked at, in bytes.
const LONGEST: usize = 200;

words!(
    /// What a link is for.
    Door {
        /// Shows the result.
        Open = "open",
        /// Shows the result's picture.
        Picture = "picture",
        /// Tries the job again.
        Retry = "retry",
        /// Wants no more mail. Never ends.
        Unsubscribe = "unsubscribe",
    }
);

/// Why a link opens nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// Not one of ours, or changed.
    #[error("the link is not valid")]
    Forged,
    /// It was good once.
    #[error("the link has expired")]
    Expired,
}

/// Makes and checks links.
#[derive(Clone)]
pub struct Seal {
    secret: Hmac<Sha256>,
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Seal").finish_non_exhaustive()
    }
}

impl Seal {
    /// With the installation's secret; `None` when it is too short to be one.
    #[must_use]
    pub fn new(secret: &[u8]) -> Option<Self> {
        if secret.len() < 32 {
            return None;
        }
        let secret = Hmac::<Sha256>::new_from_slice(secret).ok()?;
        Some(Self { secret })
    }

    /// The path of a link. The same for the same mail, whenever it is made.
    #[must_use]
    pub fn path(&self, door: Door, mail: MailId, from: Timestamp, life: Duration) -> String {
        let until = match door {
            Door::Unsubscribe => 0,
            _ => from.after(life).millis() / 1_000,
        };
        let signed = format!("{mail}.{until}");
        let signature = self.mac(door, &signed).finalize().into_bytes();
        let signature = URL_SAFE_NO_PAD.encode(signature);
        format!("/mail/{}/{signed}.{signature}", door.as_str())
    }

    /// Which mail a link is of.
    ///
    /// # Errors
    /// A wrong signature is told before a passed time.
    pub fn check(&self, door: Door, token: &str, now: Timestamp) -> Result<MailId, Broken> {
        if token.len() > LONGEST {
            return Err(Broken::Forged);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(Broken::Forged)?;
        let signature = URL_SAFE_NO_PAD
            .decode(signature)
            .map_err(|_| Broken::Forged)?;
        (self.mac(door, signed).verify_slice(&signature)).map_err(|_| Broken::Forged)?;
        let (mail, until) = signed.split_once('.').ok_or(Broken::Forged)?;
        let mail = mail.parse().map_err(|_| Broken::Forged)?;
        let until: i64 = until.parse().map_err(|_| Broken::Forged)?;
        if until != 0 && now.millis() / 1_000 >= until {
            return Err(Broken::Expired);
        }
        Ok(mail)
    }

    fn mac(&self, door: Door, signed: &str) -> Hmac<Sha256> {
        let text = format!("{PURPOSE}\n{}\n{signed}", door.as_str());
        self.secret.clone().chain_update(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_opens_one_door_of_one_mail_for_a_time() {
        let seal = Seal::new(&[7; 32]).expect("a seal");
        let mail = MailId::generate();
        let from = Timestamp::from_millis(1_800_000_000_000);
        let life = Duration::from_secs(60);
        let path = seal.path(Door::Retry, mail, from, life);
        assert_eq!(path, seal.path(Door::Retry, mail, from, life));
        let token = path.strip_prefix("/mail/retry/").expect("a path");
        assert_eq!(seal.check(Door::Retry, token, from), Ok(mail));
        assert_eq!(
            seal.check(Door::Retry, token, from.after(life)),
            Err(Broken::Expired)
        );
        assert_eq!(
            seal.check(Door::Unsubscribe, token, from),
            Err(Broken::Forged)
        );
        let other = token.replace(&mail.to_string(), &MailId::generate().to_string());
        let long = "x".repeat(1_000);
        for bad in [
            other.as_str(),
            "",
            ".",
            "a.b.c",
            &token[..token.len() - 2],
            &long,
        ] {
            assert_eq!(
                seal.check(Door::Retry, bad, from),
                Err(Broken::Forged),
                "{bad}"
            );
        }
        let stranger = Seal::new(&[8; 32]).expect("a seal");
        assert_eq!(
            stranger.check(Door::Retry, token, from),
            Err(Broken::Forged)
        );

        let path = seal.path(Door::Unsubscribe, mail, from, life);
        let token = path.strip_prefix("/mail/unsubscribe/").expect("a path");
        let late = from.after(Duration::from_secs(400 * 86_400));
        assert_eq!(seal.check(Door::Unsubscribe, token, late), Ok(mail));
        assert!(Seal::new(b"short").is_none());
    }
}
