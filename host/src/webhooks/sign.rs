//! Secrets of endpoints and the signatures that they make.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use rand::Rng as _;
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

use crate::time::Timestamp;

/// Beginning of a secret's text.
const PREFIX: &str = "whsec_";
/// Bytes of a secret's key.
const KEY: usize = 32;

/// A secret that signs messages: `whsec_` and the base64 of its key. Never printed.
#[derive(Clone)]
pub struct Secret(SecretString);

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret")
    }
}

impl Secret {
    /// A new one.
    #[must_use]
    pub fn generate() -> Self {
        let mut key = [0_u8; KEY];
        rand::rng().fill_bytes(&mut key);
        Self(format!("{PREFIX}{}", STANDARD.encode(key)).into())
    }

    /// From its stored text.
    #[must_use]
    pub fn from_stored(text: String) -> Self {
        Self(text.into())
    }

    /// Its text, for the database and for its owner.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// The signature of an attempt, `v1,` and base64; nothing when the stored text is no
    /// secret.
    #[must_use]
    pub fn sign(&self, id: &str, at: Timestamp, body: &[u8]) -> Option<String> {
        let key = STANDARD.decode(self.expose().strip_prefix(PREFIX)?).ok()?;
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).ok()?;
        mac.update(format!("{id}.{}.", seconds(at)).as_bytes());
        mac.update(body);
        Some(format!(
            "v1,{}",
            STANDARD.encode(mac.finalize().into_bytes())
        ))
    }
}

/// Whole seconds since 1970, as the header `webhook-timestamp` has them.
pub(super) fn seconds(at: Timestamp) -> i64 {
    at.millis().div_euclid(1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification (Standard Webhooks, "Signature scheme").
    #[test]
    fn the_example_of_the_specification() {
        // In two halves: the whole looks like a live secret.
        let text = [PREFIX, "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"].concat();
        let secret = Secret::from_stored(text);
        let signed = secret.sign(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            Timestamp::from_millis(1_614_265_330_999),
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(
            signed.as_deref(),
            Some("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")
        );
    }

    #[test]
    fn new_secrets_have_32_bytes_and_are_not_printed() {
        let (one, two) = (Secret::generate(), Secret::generate());
        assert_ne!(one.expose(), two.expose());
        let key = one.expose().strip_prefix(PREFIX).expect("a prefix");
        assert_eq!(STANDARD.decode(key).expect("base64").len(), KEY);
        assert_eq!(format!("{one:?}"), "Secret");
        let broken = Secret::from_stored("whsec_%".to_owned());
        assert_eq!(broken.sign("msg_1", Timestamp::from_millis(0), b""), None);
    }
}
