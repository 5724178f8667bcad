//! Signatures of events: `Stripe-Signature: t=<seconds>,v1=<hex>[,v1=<hex>]`.

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;

/// How many seconds a signature may be old, or ahead of our clock.
pub const TOLERANCE: u64 = 300;
/// Longest header; one of Stripe has about 170 bytes with two signatures.
const MAX_HEADER: usize = 4_096;
/// Beginning of a secret.
const PREFIX: &str = "whsec_";
/// Longest secret.
const MAX_SECRET: usize = 255;
/// Bytes of a signature.
const SIGNATURE: usize = 32;

/// Why secrets cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// One is not as Stripe writes them.
    #[error("a webhook secret of Stripe begins with `whsec_` and has at most 255 characters")]
    Malformed,
    /// Both are the same, so that one of them is probably a mistake.
    #[error("the previous webhook secret is the present one")]
    Same,
}

/// The secrets of our endpoint: the present one, and the previous one while it is rotated.
/// Never printed.
#[derive(Clone)]
pub struct WebhookSecrets {
    present: SecretString,
    previous: Option<SecretString>,
}

impl fmt::Debug for WebhookSecrets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("WebhookSecrets")
    }
}

impl WebhookSecrets {
    /// With the present secret, and the previous one while events signed with it are on
    /// their way.
    ///
    /// # Errors
    /// When one cannot be a secret of Stripe, or both are the same.
    pub fn new(present: SecretString, previous: Option<SecretString>) -> Result<Self, SecretError> {
        let all = [Some(&present), previous.as_ref()];
        if !all.into_iter().flatten().all(is_secret) {
            return Err(SecretError::Malformed);
        }
        if previous
            .as_ref()
            .is_some_and(|previous| previous.expose_secret() == present.expose_secret())
        {
            return Err(SecretError::Same);
        }
        Ok(Self { present, previous })
    }

    /// Did Stripe sign these bytes, at which second? The age is not looked at.
    pub(crate) fn verify(&self, header: &[u8], body: &[u8]) -> Result<u64, Invalid> {
        let Header { time, at, v1 } = Header::read(header).ok_or(Invalid::Header)?;
        let secrets = [Some(&self.present), self.previous.as_ref()];
        let signed = secrets.into_iter().flatten().any(|secret| {
            v1.iter()
                .any(|signature| is_signed(secret, time, body, signature))
        });
        if signed {
            Ok(at)
        } else {
            Err(Invalid::Signature)
        }
    }
}

fn is_secret(secret: &SecretString) -> bool {
    let text = secret.expose_secret();
    text.len() <= MAX_SECRET
        && text.strip_prefix(PREFIX).is_some_and(|rest| {
            !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_graphic())
        })
}

/// The whole text of the secret is the key, with its beginning and not decoded. The comparison
/// takes as long wherever the first difference is.
fn is_signed(secret: &SecretString, time: &str, body: &[u8], signature: &[u8]) -> bool {
    Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes()).is_ok_and(|mut mac| {
        mac.update(time.as_bytes());
        mac.update(b".");
        mac.update(body);
        mac.verify_slice(signature).is_ok()
    })
}

/// Why bytes are not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Invalid {
    Header,
    Signature,
}

struct Header<'a> {
    /// As it was signed.
    time: &'a str,
    at: u64,
    v1: Vec<[u8; SIGNATURE]>,
}

impl<'a> Header<'a> {
    /// Other schemes (`v0` is for tests of Stripe) are passed over, and so is a `v1` that is no
    /// signature. Two times are ambiguous.
    fn read(header: &'a [u8]) -> Option<Self> {
        if header.len() > MAX_HEADER {
            return None;
        }
        let mut time = None;
        let mut v1 = Vec::new();
        for part in std::str::from_utf8(header).ok()?.split(',') {
            let (name, value) = part.split_once('=')?;
            match name.trim() {
                "t" if time.is_some() => return None,
                "t" => time = Some(value),
                "v1" => {
                    let mut signature = [0; SIGNATURE];
                    if hex::decode_to_slice(value, &mut signature).is_ok() {
                        v1.push(signature);
                    }
                }
                _ => {}
            }
        }
        let time = time.filter(|time| time.bytes().all(|byte| byte.is_ascii_digit()))?;
        Some(Self {
            time,
            at: time.parse().ok()?,
            v1,
        })
    }
}
