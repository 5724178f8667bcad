//! Verification of deliveries by the recipes of the manifest.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use http::HeaderMap;
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::error::WebhookRefused;
use crate::manifest::Verify;

/// How far a delivery's time may be away, in seconds, as Standard Webhooks 1.0.0 advises.
const TOLERANCE: u64 = 300;

/// Most signatures that one delivery may carry; more only cost time.
const SIGNATURES: usize = 16;

pub(crate) fn verify(
    rule: &Verify,
    secret: Option<&SecretString>,
    headers: &HeaderMap,
    body: &[u8],
    now_ms: u64,
) -> Result<(), WebhookRefused> {
    match rule {
        Verify::Unsigned => Ok(()),
        Verify::HmacSha256Hex {
            header,
            timestamp_header,
            ..
        } => {
            let secret = secret.ok_or(WebhookRefused::NotConfigured)?;
            if let Some(name) = timestamp_header {
                fresh(text(headers, name)?, now_ms)?;
            }
            let given = text(headers, header)?;
            let given = given.strip_prefix("sha256=").unwrap_or(given);
            let given = hex::decode(given).map_err(|_| WebhookRefused::Malformed)?;
            let expected = sign(secret.expose_secret().as_bytes(), &[body]);
            same(&expected, &given)
        }
        Verify::StandardWebhooks { prefix, .. } => {
            let secret = secret.ok_or(WebhookRefused::NotConfigured)?.expose_secret();
            let key = STANDARD
                .decode(secret.strip_prefix("whsec_").unwrap_or(secret))
                .map_err(|_| WebhookRefused::NotConfigured)?;
            let id = text(headers, &format!("{prefix}-id"))?;
            let timestamp = text(headers, &format!("{prefix}-timestamp"))?;
            fresh(timestamp, now_ms)?;
            let parts = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body];
            let expected = sign(&key, &parts);
            let given = text(headers, &format!("{prefix}-signature"))?;
            // Several signatures stand there while a secret is rotated; one must fit.
            given
                .split_ascii_whitespace()
                .take(SIGNATURES)
                .filter_map(|signature| signature.strip_prefix("v1,"))
                .filter_map(|signature| STANDARD.decode(signature).ok())
                .find_map(|signature| same(&expected, &signature).ok())
                .ok_or(WebhookRefused::BadSignature)
        }
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str, WebhookRefused> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().ok_or(WebhookRefused::Malformed)?;
    if values.next().is_some() {
        return Err(WebhookRefused::Malformed);
    }
    value.to_str().map_err(|_| WebhookRefused::Malformed)
}

fn fresh(timestamp: &str, now_ms: u64) -> Result<(), WebhookRefused> {
    let seconds: u64 = timestamp.parse().map_err(|_| WebhookRefused::Malformed)?;
    if seconds.abs_diff(now_ms / 1_000) > TOLERANCE {
        return Err(WebhookRefused::Stale);
    }
    Ok(())
}

fn sign(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    hmac_sha256(key, parts).to_vec()
}

fn same(expected: &[u8], given: &[u8]) -> Result<(), WebhookRefused> {
    if bool::from(expected.ct_eq(given)) {
        Ok(())
    } else {
        Err(WebhookRefused::BadSignature)
    }
}

/// HMAC-SHA256 over the parts, one after the other.
pub(crate) fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key)
        .expect("HMAC takes keys of any length (RFC 2104, section 2)");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}
