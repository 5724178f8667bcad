//! Secrets of endpoints and the signatures that they make.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use rand::Rng as _;
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

use crate::{
    ids::EndpointId,
    time::Timestamp,
    vault::{self, Vault},
};

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

    /// From its text.
    #[must_use]
    pub fn from_text(text: String) -> Self {
        Self(text.into())
    }

    /// As the database is to have it, for one endpoint.
    ///
    /// # Errors
    /// When there is no key to seal with.
    pub fn seal(&self, vault: &Vault, endpoint: EndpointId) -> Result<SealedSecret, vault::Error> {
        let sealed = vault.seal(&purpose(endpoint), self.expose().as_bytes())?;
        Ok(SealedSecret(STANDARD.encode(sealed)))
    }

    /// Its text, for its owner.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// The signature of an attempt, `v1,` and base64; nothing when the text is no secret.
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

/// A secret as the database has it: sealed, in base64. Versions that sealed nothing wrote the
/// secret itself, which is read too. There is none before somebody needs it.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct SealedSecret(String);

impl fmt::Debug for SealedSecret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SealedSecret")
    }
}

impl SealedSecret {
    /// As it is stored.
    #[must_use]
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// As it is stored.
    #[must_use]
    pub fn stored(&self) -> &str {
        &self.0
    }

    /// Is there none yet?
    #[must_use]
    pub fn is_missing(&self) -> bool {
        self.0.is_empty()
    }

    /// The secret.
    ///
    /// # Errors
    /// When it was sealed with a key that is not given, for another endpoint, or is damaged.
    pub fn open(&self, vault: &Vault, endpoint: EndpointId) -> Result<Secret, vault::Error> {
        if self.is_plain() {
            return Ok(Secret::from_text(self.0.clone()));
        }
        let opened = vault.open(&purpose(endpoint), &self.bytes()?)?;
        let text = String::from_utf8(opened).map_err(|_| vault::Error::Damaged)?;
        Ok(Secret::from_text(text))
    }

    /// Sealed with the key of now; nothing when it is so already, or there is none.
    ///
    /// # Errors
    /// As for opening.
    pub(super) fn anew(
        &self,
        vault: &Vault,
        endpoint: EndpointId,
    ) -> Result<Option<Self>, vault::Error> {
        if self.is_missing() || (!self.is_plain() && vault.is_current(&self.bytes()?)) {
            return Ok(None);
        }
        Ok(Some(self.open(vault, endpoint)?.seal(vault, endpoint)?))
    }

    fn is_plain(&self) -> bool {
        self.0.starts_with(PREFIX)
    }

    fn bytes(&self) -> Result<Vec<u8>, vault::Error> {
        STANDARD.decode(&self.0).map_err(|_| vault::Error::Damaged)
    }
}

/// What a secret is sealed for: nobody can put it under another endpoint.
fn purpose(endpoint: EndpointId) -> String {
    format!("webhook secret {}", endpoint.uuid())
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
        let secret = Secret::from_text(text);
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
        let broken = Secret::from_text("whsec_%".to_owned());
        assert_eq!(broken.sign("msg_1", Timestamp::from_millis(0), b""), None);
    }

    #[test]
    fn a_sealed_secret_opens_for_its_endpoint() {
        let (old, id) = (Vault::new(&[1; 32], &[]), EndpointId::generate());
        let secret = Secret::generate();
        let sealed = secret.seal(&old, id).expect("sealed");
        assert!(!sealed.stored().contains(secret.expose()));
        let opened = sealed.open(&old, id).expect("opened");
        assert_eq!(opened.expose(), secret.expose());
        let other = sealed.open(&old, EndpointId::generate());
        assert_eq!(other.err(), Some(vault::Error::Damaged));
        assert_eq!(sealed.anew(&old, id), Ok(None), "nothing to do");

        let new = Vault::new(&[2; 32], &[[1; 32]]);
        let anew = sealed.anew(&new, id).expect("opened").expect("sealed");
        let alone = Vault::new(&[2; 32], &[]);
        let opened = anew.open(&alone, id).expect("opened");
        assert_eq!(opened.expose(), secret.expose());
        assert_eq!(sealed.open(&alone, id).err(), Some(vault::Error::OtherKey));

        let plain = SealedSecret::from_stored(secret.expose().to_owned());
        let opened = plain.open(&alone, id).expect("read");
        assert_eq!(opened.expose(), secret.expose());
        assert!(plain.anew(&alone, id).expect("sealed").is_some());
        assert_eq!(SealedSecret::default().anew(&alone, id), Ok(None));
    }
}
