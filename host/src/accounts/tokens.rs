//! Access tokens: JSON Web Tokens (RFC 7519), signed with RS256 and nothing else, and the keys that
//! sign them.
//!
//! A new key is published before it signs, so that whoever keeps the set of keys has it by then; an
//! old one stays published until the last token that it signed is over.

use std::{
    sync::{Arc, RwLock},
    time::Duration,
};

use anyhow::Context as _;
use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    rsa::{KeyPair, KeySize, PublicKey},
    signature::KeyPair as _,
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::{sync::watch, time::Instant};

use super::{User, acts};
use crate::{
    adapters::sql::{self, Database},
    ids::{SessionId, UserId},
    time::{self, Timestamp},
    vault::Vault,
};

/// How long an access token lasts.
pub const LIFE: Duration = Duration::from_secs(3_600);
/// By how much clocks may differ.
const LEEWAY: Duration = Duration::from_secs(5);
/// How long a new key is published before it signs: longer than anybody keeps the set.
pub const OVERLAP: Duration = Duration::from_secs(600);
/// How long the set of keys may be kept (`Cache-Control`).
pub const KEPT: Duration = Duration::from_secs(300);
/// How often a node looks for keys of others.
const EVERY: Duration = Duration::from_secs(60);
/// An unknown key is looked for at most this often: forged ones cost nothing.
const AT_MOST: Duration = Duration::from_secs(2);
/// Longest token that is looked at, in bytes.
pub const LONGEST: usize = 4_096;
const PURPOSE: &str = "signing key";

/// A signing key as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningKey {
    /// SHA-256 thumbprint of the public half (RFC 7638), in base64url.
    pub id: String,
    /// The public half: DER of RFC 8017.
    pub public: Vec<u8>,
    /// The private half, sealed.
    pub private: Vec<u8>,
    /// Since when.
    pub created_at: Timestamp,
    /// From when on it signs, until there is a newer one.
    pub signs_from: Timestamp,
    /// When it was withdrawn before its time.
    pub revoked_at: Option<Timestamp>,
}

/// What a key is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Published, not signing yet.
    Waiting,
    /// Signs.
    Signing,
    /// Signs no more; what it signed still holds.
    Leaving,
    /// Nothing that it signed holds.
    Over,
}

/// What an access token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: String,
    email: String,
    /// Is it known that the address is the user's? Anybody may register with any.
    email_verified: bool,
    role: String,
    app_metadata: Metadata,
    iat: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nbf: Option<i64>,
    exp: i64,
    jti: String,
    sid: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Metadata {
    subscription_tier: String,
    credits_remaining: i64,
}

/// For whom a token is made.
#[derive(Debug, Clone)]
pub struct Subject<'a> {
    /// Who.
    pub user: &'a User,
    /// The session that it belongs to.
    pub session: SessionId,
    /// Name of the plan.
    pub plan: String,
    /// Credits that may be spent.
    pub credits: i64,
}

/// Who a good token is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bearer {
    /// The user.
    pub user: UserId,
    /// The session.
    pub session: SessionId,
    /// Until when.
    pub until: Timestamp,
}

/// Why a token is not taken. For logs: callers learn that it is not taken, and no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Not three parts of base64url, or larger than any that is made here.
    #[error("it is not a token of this server")]
    Malformed,
    /// Its header asks for something else than RS256 with a key of this server.
    #[error("its header asks for what is not done")]
    Header,
    /// No key has this name.
    #[error("no key has this name")]
    UnknownKey,
    /// Its signature or its claims are wrong.
    #[error("its signature or its claims are wrong")]
    Wrong,
    /// Its time is over, or has not come.
    #[error("its time is over, or has not come")]
    Time,
}

struct Ready {
    key: SigningKey,
    decoding: DecodingKey,
    /// Nothing: this node cannot open its private half.
    encoding: Option<EncodingKey>,
}

#[derive(Default)]
struct Ring {
    /// Oldest first.
    keys: Vec<Arc<Ready>>,
    read_at: Option<Instant>,
}

struct Inner {
    database: Database,
    vault: Vault,
    issuer: String,
    audience: String,
    ring: RwLock<Ring>,
    reading: tokio::sync::Mutex<()>,
}

/// Signs and checks. Cheap to clone.
#[derive(Clone)]
pub struct Keyring(Arc<Inner>);

impl std::fmt::Debug for Keyring {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Keyring").finish_non_exhaustive()
    }
}

/// What every key of the ring is good for, in the same order; oldest first.
#[must_use]
pub fn standings(keys: &[&SigningKey], now: Timestamp) -> Vec<Standing> {
    let signing = keys
        .iter()
        .rposition(|key| key.revoked_at.is_none() && key.signs_from <= now);
    let begun = |at: usize| {
        (keys.iter().skip(at + 1))
            .filter(|key| key.revoked_at.is_none() || key.revoked_at > Some(key.signs_from))
            .map(|key| key.signs_from)
            .min()
    };
    (keys.iter().enumerate())
        .map(|(at, key)| {
            if key.revoked_at.is_some() {
                Standing::Over
            } else if Some(at) == signing {
                Standing::Signing
            } else if key.signs_from > now {
                Standing::Waiting
            } else {
                match begun(at) {
                    Some(from) if now >= from.after(LIFE + LEEWAY + LEEWAY) => Standing::Over,
                    _ => Standing::Leaving,
                }
            }
        })
        .collect()
}

/// Makes a key that signs from `signs_from` on.
///
/// # Errors
/// When there is no randomness.
pub fn generate(vault: &Vault, signs_from: Timestamp) -> anyhow::Result<SigningKey> {
    let pair = KeyPair::generate(KeySize::Rsa2048).context("no key can be made")?;
    let private: Pkcs8V1Der<'_> = pair.as_der().context("no key can be written")?;
    let public = pair.public_key().as_ref().to_vec();
    let (n, e) = components(&public).context("no key can be read")?;
    // RFC 7638: the required members, in the order of their names, without spaces.
    let text = format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#);
    let id = URL_SAFE_NO_PAD.encode(Sha256::digest(text));
    let private = vault.seal(&purpose(&id), private.as_ref())?;
    Ok(SigningKey {
        id,
        public,
        private,
        created_at: time::now(),
        signs_from,
        revoked_at: None,
    })
}

fn purpose(id: &str) -> String {
    format!("{PURPOSE} {id}")
}

/// Seals the private half of a key anew, with the key of now.
///
/// # Errors
/// When it was sealed with a key that is not given any more.
pub fn reseal(vault: &Vault, key: &SigningKey) -> Result<Vec<u8>, crate::vault::Error> {
    let private = vault.open(&purpose(&key.id), &key.private)?;
    vault.seal(&purpose(&key.id), &private)
}

/// Modulus and exponent, as the set of keys has them.
fn components(public: &[u8]) -> Option<(String, String)> {
    let key = PublicKey::from_der(public).ok()?;
    let encode = |number: &[u8]| URL_SAFE_NO_PAD.encode(number);
    Some((
        encode(key.modulus().big_endian_without_leading_zero()),
        encode(key.exponent().big_endian_without_leading_zero()),
    ))
}

fn ready(vault: &Vault, key: SigningKey) -> Ready {
    let encoding = match vault.open(&purpose(&key.id), &key.private) {
        Ok(private) => {
            // The crate takes this form of a key as PEM only (RFC 7468).
            let line = |word| format!("-----{word} PRIVATE KEY-----");
            let (begin, end) = (line("BEGIN"), line("END"));
            let pem = format!("{begin}\n{}\n{end}\n", STANDARD.encode(private));
            EncodingKey::from_rsa_pem(pem.as_bytes()).ok()
        }
        Err(error) => {
            tracing::error!(key = key.id, %error, "a signing key cannot be used here");
            None
        }
    };
    Ready {
        decoding: DecodingKey::from_rsa_der(&key.public),
        encoding,
        key,
    }
}

impl Keyring {
    /// Over the stored keys; `issuer` and `audience` are in each token.
    #[must_use]
    pub fn new(database: Database, vault: Vault, issuer: String, audience: String) -> Self {
        Self(Arc::new(Inner {
            database,
            vault,
            issuer,
            audience,
            ring: RwLock::default(),
            reading: tokio::sync::Mutex::default(),
        }))
    }

    /// Reads the keys, and makes the first one.
    ///
    /// # Errors
    /// When the database fails, or none of the keys can be used.
    pub async fn open(&self) -> anyhow::Result<()> {
        self.read(Duration::ZERO).await?;
        if self.signer().is_some() {
            return Ok(());
        }
        anyhow::ensure!(
            self.with(|ring| ring.keys.iter().all(|key| key.key.revoked_at.is_some())),
            "no signing key can be opened: encryption.key is not the one that sealed them; give \
             that one, or make a new key with `genvid admin signing-keys rotate --now`"
        );
        let key = self.make(time::now()).await?;
        tracing::info!(key, "made a key that signs access tokens");
        self.read(Duration::ZERO).await?;
        Ok(())
    }

    /// Makes a key that signs from `signs_from` on; its name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn make(&self, signs_from: Timestamp) -> anyhow::Result<String> {
        let vault = self.0.vault.clone();
        // Finding primes takes its time.
        let key = tokio::task::spawn_blocking(move || generate(&vault, signs_from)).await??;
        let id = key.id.clone();
        self.0.database.insert_signing_key(key, acts::NODE).await?;
        Ok(id)
    }

    /// Looks for keys of other nodes until the end.
    pub async fn keep(self, mut stopping: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                _ = stopping.wait_for(|stop| *stop) => return,
            }
            // Makes one when all were revoked.
            if let Err(error) = self.open().await {
                tracing::warn!(
                    error = format!("{error:#}"),
                    "signing keys cannot be read; the ones that are known stay"
                );
            }
        }
    }

    async fn read(&self, at_most: Duration) -> Result<(), sql::Error> {
        let _reading = self.0.reading.lock().await;
        let fresh = |at: Instant| at.elapsed() < at_most;
        if self.with(|ring| ring.read_at.is_some_and(fresh)) {
            return Ok(());
        }
        let stored = self.0.database.signing_keys().await?;
        let known = self.with(|ring| ring.keys.clone());
        let keys = stored.into_iter().map(|key| {
            let same = known.iter().find(|known| known.key == key);
            same.map_or_else(|| Arc::new(ready(&self.0.vault, key)), Arc::clone)
        });
        let keys = keys.collect();
        let read_at = Some(Instant::now());
        *write(&self.0.ring) = Ring { keys, read_at };
        Ok(())
    }

    fn with<T>(&self, look: impl FnOnce(&Ring) -> T) -> T {
        let ring = self.0.ring.read();
        look(&ring.unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    fn standing(&self, wanted: impl Fn(Standing) -> bool) -> Vec<Arc<Ready>> {
        self.with(|ring| {
            let keys: Vec<_> = ring.keys.iter().map(|ready| &ready.key).collect();
            let standings = standings(&keys, time::now());
            (ring.keys.iter().zip(standings))
                .filter(|(_, standing)| wanted(*standing))
                .map(|(ready, _)| Arc::clone(ready))
                .collect()
        })
    }

    fn signer(&self) -> Option<Arc<Ready>> {
        let mut signing = self.standing(|standing| standing == Standing::Signing);
        signing.pop().filter(|ready| ready.encoding.is_some())
    }

    /// A token, and how long it lasts.
    ///
    /// # Errors
    /// When no key signs.
    pub fn issue(&self, subject: &Subject<'_>) -> anyhow::Result<String> {
        let signer = self.signer().context("no key signs")?;
        let encoding = signer.encoding.as_ref().context("no key signs")?;
        let now = time::now().millis() / 1_000;
        let claims = Claims {
            iss: self.0.issuer.clone(),
            aud: self.0.audience.clone(),
            sub: subject.user.id.to_string(),
            email: subject.user.email.clone(),
            email_verified: subject.user.verified_at.is_some(),
            role: subject.user.role.as_str().to_owned(),
            app_metadata: Metadata {
                subscription_tier: subject.plan.clone(),
                credits_remaining: subject.credits,
            },
            iat: now,
            nbf: None,
            exp: now + i64::try_from(LIFE.as_secs()).unwrap_or(i64::MAX),
            jti: uuid::Uuid::new_v4().to_string(),
            sid: subject.session.to_string(),
        };
        let mut header = Header::new(Algorithm::RS256);
        header.kid = Some(signer.key.id.clone());
        Ok(jsonwebtoken::encode(&header, &claims, encoding)?)
    }

    /// Who a token is of. That their session has not ended is for the database to say.
    ///
    /// # Errors
    /// With what is wrong with it.
    pub async fn check(&self, token: &str) -> Result<Bearer, Refused> {
        if token.len() > LONGEST {
            return Err(Refused::Malformed);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| Refused::Malformed)?;
        // Only what tokens of this server have: nothing in a token chooses its own key.
        let expected = Header {
            kid: header.kid.clone(),
            ..Header::new(Algorithm::RS256)
        };
        let kid = match &header.kid {
            Some(kid) if header == expected => kid,
            _ => return Err(Refused::Header),
        };
        let find = || {
            let held = self.standing(|standing| standing != Standing::Over);
            held.into_iter().find(|ready| ready.key.id == *kid)
        };
        let mut key = find();
        if key.is_none() {
            // Another node may have made it just now.
            if let Err(error) = self.read(AT_MOST).await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "signing keys cannot be read"
                );
            }
            key = find();
        }
        let key = key.ok_or(Refused::UnknownKey)?;
        let mut rules = Validation::new(Algorithm::RS256);
        rules.set_issuer(&[&self.0.issuer]);
        rules.set_audience(&[&self.0.audience]);
        rules.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        // By this installation's clock, below.
        rules.validate_exp = false;
        let decoded = jsonwebtoken::decode::<Claims>(token, &key.decoding, &rules);
        let claims = decoded.map_err(|_| Refused::Wrong)?.claims;
        let at = |seconds: i64| Timestamp::from_millis(seconds.saturating_mul(1_000));
        let now = time::now();
        let early = now.after(LEEWAY);
        if at(claims.exp).after(LEEWAY) <= now
            || claims.nbf.is_some_and(|from| at(from) > early)
            || at(claims.iat) > early
        {
            return Err(Refused::Time);
        }
        Ok(Bearer {
            user: claims.sub.parse().map_err(|_| Refused::Wrong)?,
            session: claims.sid.parse().map_err(|_| Refused::Wrong)?,
            until: at(claims.exp),
        })
    }

    /// The public halves of all keys whose tokens may hold: a JSON Web Key Set (RFC 7517).
    #[must_use]
    pub fn published(&self) -> Value {
        let held = self.standing(|standing| standing != Standing::Over);
        let keys = held.iter().filter_map(|ready| {
            let (n, e) = components(&ready.key.public)?;
            Some(json!({
                "kty": "RSA", "use": "sig", "alg": "RS256", "kid": ready.key.id, "n": n, "e": e,
            }))
        });
        json!({ "keys": keys.collect::<Vec<_>>() })
    }
}

fn write(ring: &RwLock<Ring>) -> std::sync::RwLockWriteGuard<'_, Ring> {
    ring.write()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Whether a text may be an access token of this kind: what else there is begins otherwise.
#[must_use]
pub fn looks_like_one(token: &str) -> bool {
    token.starts_with("ey")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(from: i64, revoked: Option<i64>) -> SigningKey {
        SigningKey {
            id: from.to_string(),
            public: Vec::new(),
            private: Vec::new(),
            created_at: Timestamp::from_millis(0),
            signs_from: Timestamp::from_millis(from),
            revoked_at: revoked.map(Timestamp::from_millis),
        }
    }

    #[test]
    fn keys_come_and_go_with_overlap() {
        use Standing::{Leaving, Over, Signing, Waiting};
        let keys = [key(0, None), key(10_000, None)];
        let keys: Vec<_> = keys.iter().collect();
        let hour = 3_600_000;
        for (now, expected) in [
            (9_999, [Signing, Waiting]),
            (10_000, [Leaving, Signing]),
            (10_000 + hour, [Leaving, Signing]),
            (10_000 + hour + 10_000, [Over, Signing]),
        ] {
            let found = standings(&keys, Timestamp::from_millis(now));
            assert_eq!(found, expected, "at {now}");
        }
        // The new one is withdrawn: the old one signs again, and is over only once.
        let keys = [key(0, None), key(10_000, Some(20_000))];
        let keys: Vec<_> = keys.iter().collect();
        let found = standings(&keys, Timestamp::from_millis(30_000));
        assert_eq!(found, [Signing, Over]);
    }
}
