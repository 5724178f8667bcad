//! Signed links: whoever holds one may read one blob, or send one, until a given time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::key::Key;

/// Where links point to, below the server's address.
pub const PREFIX: &str = "/media/";
/// Longest query that is looked at, in bytes.
pub const MAX_QUERY: usize = 2048;
/// Longest file name in a link, in characters.
pub const MAX_FILE_NAME: usize = 120;
/// Shortest signing secret, in bytes.
pub const MIN_SECRET: usize = 32;

/// Names what is signed, so that a signature made for something else under the same secret
/// does not open a blob.
const PURPOSE: &[u8] = b"genvid media link 1\n";
/// The same for links that take a blob in.
const TAKING: &[u8] = b"genvid media upload 1\n";

/// How a browser shows the blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// In the page or the tab.
    Inline,
    /// Saved under this file name. Longer names than 120 characters are cut; control
    /// characters, quotes, slashes and backslashes become `_`.
    Download(String),
}

impl Disposition {
    /// Value of the `Content-Disposition` header: RFC 6266, with the file name both in ASCII
    /// and as RFC 8187 writes other scripts.
    pub fn header_value(&self) -> String {
        match self {
            Self::Inline => "inline".to_owned(),
            Self::Download(name) => {
                let name = clean_file_name(name);
                let ascii: String = name
                    .chars()
                    .map(|c| if c.is_ascii() { c } else { '_' })
                    .collect();
                let encoded = percent_encode(&name);
                format!("attachment; filename=\"{ascii}\"; filename*=UTF-8''{encoded}")
            }
        }
    }
}

/// What a good link allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The blob that may be read.
    pub key: Key,
    /// When the link ends.
    pub expires_at: SystemTime,
    /// How the link's maker wants it shown.
    pub disposition: Disposition,
}

/// What a good link takes in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intake {
    /// The blob that may be sent.
    pub key: Key,
    /// When the link ends.
    pub expires_at: SystemTime,
    /// Its media type.
    pub mime: String,
    /// Its exact size in bytes.
    pub size: u64,
}

/// Why a link opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// Not a link that a [`Signer`] could have made.
    #[error("the link is malformed")]
    Malformed,
    /// Changed after it was signed, or signed with another secret.
    #[error("the link's signature is wrong")]
    BadSignature,
    /// It was good once.
    #[error("the link has expired")]
    Expired,
}

/// The secret is too short to sign with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a signing secret has at least {MIN_SECRET} bytes, not {0}")]
pub struct SecretTooShort(pub usize);

/// Makes and checks links, with HMAC-SHA-256.
#[derive(Clone)]
pub struct Signer {
    current: Hmac<Sha256>,
    previous: Vec<Hmac<Sha256>>,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Signer").finish_non_exhaustive()
    }
}

impl Signer {
    /// A signer with a secret of at least 32 random bytes.
    pub fn new(secret: &[u8]) -> Result<Self, SecretTooShort> {
        Ok(Self {
            current: keyed(secret)?,
            previous: Vec::new(),
        })
    }

    /// Also accepts links that were signed with an earlier secret, while it is being changed.
    pub fn accepting(mut self, previous: &[u8]) -> Result<Self, SecretTooShort> {
        self.previous.push(keyed(previous)?);
        Ok(self)
    }

    /// A link to the blob: `/media/{key}?exp={seconds}&sig={signature}`, with `&name=` for a
    /// download. `expires_at` is cut to whole seconds.
    pub fn sign(&self, key: &Key, expires_at: SystemTime, disposition: &Disposition) -> String {
        let expires = seconds(expires_at);
        let name = match disposition {
            Disposition::Inline => None,
            Disposition::Download(name) => Some(clean_file_name(name)),
        };
        let message = message(key, expires, name.as_deref());
        let signature = self
            .current
            .clone()
            .chain_update(message)
            .finalize()
            .into_bytes();
        let signature = URL_SAFE_NO_PAD.encode(signature);
        let mut link = format!("{PREFIX}{key}?exp={expires}&sig={signature}");
        if let Some(name) = name {
            link.push_str("&name=");
            link.push_str(&percent_encode(&name));
        }
        link
    }

    /// Checks a link. `key` is the part of the path after [`PREFIX`], as it was sent; `query`
    /// is what follows the question mark. The comparison takes the same time wherever the
    /// signatures differ, and a wrong signature is told before a passed time, so that nothing
    /// can be learned from a link that was tampered with.
    pub fn verify(&self, key: &str, query: &str, now: SystemTime) -> Result<Grant, LinkError> {
        if query.len() > MAX_QUERY {
            return Err(LinkError::Malformed);
        }
        let key = Key::parse(key).map_err(|_| LinkError::Malformed)?;
        let (mut expires, mut signature, mut name) = (None, None, None);
        for pair in query.split('&') {
            let (field, value) = pair.split_once('=').ok_or(LinkError::Malformed)?;
            let slot = match field {
                "exp" => &mut expires,
                "sig" => &mut signature,
                "name" => &mut name,
                _ => return Err(LinkError::Malformed),
            };
            if slot.replace(value).is_some() {
                return Err(LinkError::Malformed);
            }
        }
        let expires = expires.and_then(whole_number).ok_or(LinkError::Malformed)?;
        let signature = signature
            .and_then(|text| URL_SAFE_NO_PAD.decode(text).ok())
            .ok_or(LinkError::Malformed)?;
        let name = name
            .map(|name| percent_decode(name).ok_or(LinkError::Malformed))
            .transpose()?;
        let message = message(&key, expires, name.as_deref());
        let good = std::iter::once(&self.current)
            .chain(&self.previous)
            .any(|mac| {
                mac.clone()
                    .chain_update(&message)
                    .verify_slice(&signature)
                    .is_ok()
            });
        if !good {
            return Err(LinkError::BadSignature);
        }
        let expires_at = UNIX_EPOCH
            .checked_add(Duration::from_secs(expires))
            .ok_or(LinkError::Malformed)?;
        if now >= expires_at {
            return Err(LinkError::Expired);
        }
        let disposition = name.map_or(Disposition::Inline, Disposition::Download);
        Ok(Grant {
            key,
            expires_at,
            disposition,
        })
    }
}

impl Signer {
    /// A link that takes a blob in: `/media/{key}?exp={seconds}&size={bytes}&type={mime}&sig=…`.
    /// `expires_at` is cut to whole seconds.
    pub fn sign_intake(&self, intake: &Intake) -> String {
        let Intake {
            key, mime, size, ..
        } = intake;
        let expires = seconds(intake.expires_at);
        let signature = self
            .current
            .clone()
            .chain_update(intake_message(key, expires, *size, mime))
            .finalize()
            .into_bytes();
        let signature = URL_SAFE_NO_PAD.encode(signature);
        let mime = percent_encode(mime);
        format!("{PREFIX}{key}?exp={expires}&size={size}&type={mime}&sig={signature}")
    }

    /// Checks a link that takes a blob in, as [`Signer::verify`] checks one that hands one out.
    pub fn verify_intake(
        &self,
        key: &str,
        query: &str,
        now: SystemTime,
    ) -> Result<Intake, LinkError> {
        if query.len() > MAX_QUERY {
            return Err(LinkError::Malformed);
        }
        let key = Key::parse(key).map_err(|_| LinkError::Malformed)?;
        let (mut expires, mut size, mut mime, mut signature) = (None, None, None, None);
        for pair in query.split('&') {
            let (field, value) = pair.split_once('=').ok_or(LinkError::Malformed)?;
            let slot = match field {
                "exp" => &mut expires,
                "size" => &mut size,
                "type" => &mut mime,
                "sig" => &mut signature,
                _ => return Err(LinkError::Malformed),
            };
            if slot.replace(value).is_some() {
                return Err(LinkError::Malformed);
            }
        }
        let number = |text: Option<&str>| text.and_then(whole_number).ok_or(LinkError::Malformed);
        let (expires, size) = (number(expires)?, number(size)?);
        let mime = mime.and_then(percent_decode).ok_or(LinkError::Malformed)?;
        let signature = signature
            .and_then(|text| URL_SAFE_NO_PAD.decode(text).ok())
            .ok_or(LinkError::Malformed)?;
        let message = intake_message(&key, expires, size, &mime);
        let good = std::iter::once(&self.current)
            .chain(&self.previous)
            .any(|mac| {
                mac.clone()
                    .chain_update(&message)
                    .verify_slice(&signature)
                    .is_ok()
            });
        if !good {
            return Err(LinkError::BadSignature);
        }
        let expires_at = UNIX_EPOCH
            .checked_add(Duration::from_secs(expires))
            .ok_or(LinkError::Malformed)?;
        if now >= expires_at {
            return Err(LinkError::Expired);
        }
        Ok(Intake {
            key,
            expires_at,
            mime,
            size,
        })
    }
}

/// What is signed. Only the last part may hold any character.
fn intake_message(key: &Key, expires: u64, size: u64, mime: &str) -> Vec<u8> {
    let mut message = TAKING.to_vec();
    message.extend_from_slice(format!("{key}\n{expires}\n{size}\n{mime}").as_bytes());
    message
}

fn keyed(secret: &[u8]) -> Result<Hmac<Sha256>, SecretTooShort> {
    if secret.len() < MIN_SECRET {
        return Err(SecretTooShort(secret.len()));
    }
    // HMAC takes keys of every length (RFC 2104, section 2), so only the check above can fail.
    Hmac::new_from_slice(secret).map_err(|_| SecretTooShort(secret.len()))
}

/// What is signed. A key holds no line feed and a cleaned name no control character, so no
/// two different links share one message.
fn message(key: &Key, expires: u64, name: Option<&str>) -> Vec<u8> {
    let mut message = PURPOSE.to_vec();
    message.extend_from_slice(format!("{key}\n{expires}\n").as_bytes());
    match name {
        None => message.extend_from_slice(b"inline"),
        Some(name) => {
            message.extend_from_slice(b"download\n");
            message.extend_from_slice(name.as_bytes());
        }
    }
    message
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

fn whole_number(text: &str) -> Option<u64> {
    // One way to write each number: a link has one form.
    let canonical =
        text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    canonical.then(|| text.parse().ok()).flatten()
}

fn clean_file_name(name: &str) -> String {
    let cleaned: String = name
        .chars()
        .take(MAX_FILE_NAME)
        .map(|c| {
            if c.is_control() || matches!(c, '"' | '/' | '\\') {
                '_'
            } else {
                c
            }
        })
        .collect();
    let trimmed = cleaned.trim().trim_start_matches('.');
    if trimmed.is_empty() {
        "download".to_owned()
    } else {
        trimmed.to_owned()
    }
}

/// Leaves what both a query (RFC 3986) and an RFC 8187 value may hold unescaped.
fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digit = |byte: u8| char::from(byte).to_digit(16);
            let (high, low) = (digit(bytes.next()?)?, digit(bytes.next()?)?);
            decoded.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            decoded.push(byte);
        }
    }
    String::from_utf8(decoded).ok()
}
