//! Secrets at rest: sealed with a key that is not in the database, so that neither a dump nor a
//! backup of it gives them away.

use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;
/// First byte of what is sealed in this way.
const VERSION: u8 = 1;
/// Bytes that name the key: the beginning of its SHA-256.
const NAME_BYTES: usize = 4;
const HEAD: usize = 1 + NAME_BYTES;

/// Why something sealed is not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It was sealed with a key that is not among the given ones.
    #[error(
        "it was sealed with another key: give the key of that time as encryption.key, or as one \
         of encryption.previous_keys"
    )]
    OtherKey,
    /// It was changed, cut, or sealed for something else.
    #[error("what was sealed is damaged")]
    Damaged,
}

/// Text that is not a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 32 random bytes in base64, such as `openssl rand -base64 32` prints")]
pub struct NotAKey;

struct Key {
    name: [u8; NAME_BYTES],
    cipher: RandomizedNonceKey,
}

/// Seals with its first key, and opens with each of them: AES-256-GCM, a new nonce each time.
#[derive(Clone)]
pub struct Vault {
    keys: Arc<[Key]>,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Vault")
            .field("keys", &self.keys.len())
            .finish()
    }
}

/// Reads a key from its text.
///
/// # Errors
/// When it is not base64, or not of 32 bytes.
pub fn parse_key(text: &str) -> Result<[u8; KEY_BYTES], NotAKey> {
    let bytes = STANDARD.decode(text.trim()).map_err(|_| NotAKey)?;
    bytes.try_into().map_err(|_| NotAKey)
}

/// A new key as text.
#[must_use]
pub fn new_key() -> String {
    let mut bytes = [0_u8; KEY_BYTES];
    rand::Rng::fill_bytes(&mut rand::rng(), &mut bytes);
    STANDARD.encode(bytes)
}

impl Vault {
    /// Over the key that seals, and those that sealed before.
    #[must_use]
    pub fn new(current: &[u8; KEY_BYTES], previous: &[[u8; KEY_BYTES]]) -> Self {
        let keys = std::iter::once(current).chain(previous);
        let keys = keys.filter_map(|key| {
            let digest = Sha256::digest(key);
            Some(Key {
                name: digest.first_chunk().copied()?,
                // The only error is a wrong length, which the type rules out.
                cipher: RandomizedNonceKey::new(&AES_256_GCM, key).ok()?,
            })
        });
        Self {
            keys: keys.collect(),
        }
    }

    /// Seals `secret` for `purpose`, which has to be named again to open it.
    ///
    /// # Errors
    /// When there is no randomness.
    pub fn seal(&self, purpose: &str, secret: &[u8]) -> Result<Vec<u8>, Error> {
        let key = self.keys.first().ok_or(Error::OtherKey)?;
        let mut sealed = secret.to_vec();
        let nonce = key
            .cipher
            .seal_in_place_append_tag(Aad::from(purpose.as_bytes()), &mut sealed)
            .map_err(|_| Error::Damaged)?;
        let mut whole = Vec::with_capacity(HEAD + NONCE_LEN + sealed.len());
        whole.push(VERSION);
        whole.extend_from_slice(&key.name);
        whole.extend_from_slice(nonce.as_ref());
        whole.extend_from_slice(&sealed);
        Ok(whole)
    }

    /// What was sealed for `purpose`.
    ///
    /// # Errors
    /// `OtherKey`, or `Damaged`.
    pub fn open(&self, purpose: &str, sealed: &[u8]) -> Result<Vec<u8>, Error> {
        let (&[version, ref name @ ..], rest) =
            sealed.split_first_chunk::<HEAD>().ok_or(Error::Damaged)?;
        let (nonce, rest) = rest
            .split_first_chunk::<NONCE_LEN>()
            .ok_or(Error::Damaged)?;
        if version != VERSION {
            return Err(Error::Damaged);
        }
        let key = self.keys.iter().find(|key| key.name == *name);
        let mut secret = rest.to_vec();
        let opened = key.ok_or(Error::OtherKey)?.cipher.open_in_place(
            Nonce::assume_unique_for_key(*nonce),
            Aad::from(purpose.as_bytes()),
            &mut secret,
        );
        let length = opened.map_err(|_| Error::Damaged)?.len();
        secret.truncate(length);
        Ok(secret)
    }

    /// Whether it was sealed with the key that seals now.
    #[must_use]
    pub fn is_current(&self, sealed: &[u8]) -> bool {
        let current = self.keys.first();
        current.is_some_and(|key| sealed.get(1..HEAD) == Some(&key.name[..]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_with_its_key_for_its_purpose() {
        let old = Vault::new(&[1; 32], &[]);
        let sealed = old.seal("a", b"secret").expect("sealed");
        assert_ne!(sealed, old.seal("a", b"secret").expect("sealed"), "nonces");
        assert!(!sealed.windows(6).any(|part| part == b"secret"));
        assert_eq!(old.open("a", &sealed).as_deref(), Ok(&b"secret"[..]));
        assert_eq!(old.open("b", &sealed), Err(Error::Damaged));
        for at in 0..sealed.len() {
            let mut bad = sealed.clone();
            bad[at] ^= 1;
            assert!(old.open("a", &bad).is_err(), "byte {at}");
            assert!(old.open("a", &sealed[..at]).is_err(), "cut at {at}");
        }

        let rotated = Vault::new(&[2; 32], &[[1; 32]]);
        assert_eq!(rotated.open("a", &sealed).as_deref(), Ok(&b"secret"[..]));
        assert!(!rotated.is_current(&sealed));
        let anew = rotated.seal("a", b"secret").expect("sealed");
        assert!(rotated.is_current(&anew));
        assert_eq!(old.open("a", &anew), Err(Error::OtherKey));
    }

    #[test]
    fn keys_are_32_bytes_of_base64() {
        assert!(parse_key(&new_key()).is_ok());
        for bad in ["", "short", "AAAA", &"A".repeat(44)] {
            assert_eq!(parse_key(bad), Err(NotAKey), "{bad}");
        }
    }
}
