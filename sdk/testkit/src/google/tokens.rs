//! Keys of the OpenID provider, and the tokens that they sign: good ones, and those that no client
//! may take.

use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Context as _;
use aws_lc_rs::{
    encoding::AsDer as _,
    rsa::{KeyPair, KeySize},
    signature::KeyPair as _,
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use super::{Person, SignInTwist};
use crate::run::now_ms;

const LIFE_SECONDS: i64 = 3_600;
const DAY_SECONDS: i64 = 86_400;

struct Key {
    name: &'static str,
    modulus: String,
    exponent: String,
    public_pem: String,
    signs: EncodingKey,
}

impl Key {
    fn new(name: &'static str) -> anyhow::Result<Self> {
        let pair = KeyPair::generate(KeySize::Rsa2048).context("no key can be made")?;
        let private = pair.as_der().context("no key can be written")?;
        let public = pair.public_key();
        let spki = public.as_der().context("no key can be written")?;
        let encode = |number: &[u8]| URL_SAFE_NO_PAD.encode(number);
        Ok(Self {
            name,
            modulus: encode(public.modulus().big_endian_without_leading_zero()),
            exponent: encode(public.exponent().big_endian_without_leading_zero()),
            public_pem: pem("PUBLIC", spki.as_ref()),
            signs: EncodingKey::from_rsa_pem(pem("PRIVATE", private.as_ref()).as_bytes())?,
        })
    }

    fn published(&self) -> Value {
        json!({
            "kty": "RSA", "alg": "RS256", "use": "sig", "kid": self.name,
            "n": self.modulus, "e": self.exponent,
        })
    }
}

fn pem(kind: &str, der: &[u8]) -> String {
    let line = |word: &str| format!("-----{word} {kind} KEY-----");
    let (begin, end) = (line("BEGIN"), line("END"));
    format!("{begin}\n{}\n{end}\n", STANDARD.encode(der))
}

pub(super) struct Keys {
    /// Published one after the other.
    own: [Key; 2],
    other: Key,
    signing: AtomicUsize,
}

impl Keys {
    pub(super) fn new() -> anyhow::Result<Self> {
        Ok(Self {
            own: [Key::new("sim-1")?, Key::new("sim-2")?],
            other: Key::new("sim-other")?,
            signing: AtomicUsize::new(0),
        })
    }

    pub(super) fn rotate(&self) {
        self.signing.store(1, Ordering::Relaxed);
    }

    pub(super) fn published(&self) -> Value {
        let there = self
            .own
            .iter()
            .take(self.signing.load(Ordering::Relaxed) + 1);
        json!({ "keys": there.map(Key::published).collect::<Vec<_>>() })
    }

    pub(super) fn sign(
        &self,
        twist: SignInTwist,
        issuer: &str,
        client: &str,
        nonce: &str,
        person: &Person,
    ) -> String {
        let now = now_ms() / 1_000;
        let mut claims = json!({
            "iss": issuer, "aud": client, "azp": client, "sub": person.subject,
            "email": person.email, "email_verified": person.email_verified,
            "name": person.name, "nonce": nonce, "iat": now, "exp": now + LIFE_SECONDS,
        });
        if let Some(domain) = &person.hosted_domain {
            claims["hd"] = json!(domain);
        }
        match twist {
            SignInTwist::OtherIssuer => claims["iss"] = json!("https://accounts.example.net"),
            SignInTwist::OtherAudience => claims["aud"] = json!("another-client"),
            SignInTwist::OtherParty => {
                claims["aud"] = json!([client, "another-client"]);
                claims["azp"] = json!("another-client");
            }
            SignInTwist::OtherNonce => claims["nonce"] = json!("another-nonce"),
            SignInTwist::NoNonce => {
                claims
                    .as_object_mut()
                    .and_then(|claims| claims.remove("nonce"));
            }
            SignInTwist::Expired => {
                claims["iat"] = json!(now - DAY_SECONDS);
                claims["exp"] = json!(now - LIFE_SECONDS);
            }
            SignInTwist::FromTomorrow => {
                claims["iat"] = json!(now + DAY_SECONDS);
                claims["exp"] = json!(now + DAY_SECONDS + LIFE_SECONDS);
            }
            _ => {}
        }
        let key = &self.own[self.signing.load(Ordering::Relaxed)];
        let mut header = Header::new(Algorithm::RS256);
        header.kid = Some(key.name.to_owned());
        let mut signs = &key.signs;
        let shared = EncodingKey::from_secret(key.public_pem.as_bytes());
        match twist {
            SignInTwist::Unsigned => {
                let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
                let header = json!({"alg": "none", "typ": "JWT", "kid": key.name});
                return format!("{}.{}.", part(&header), part(&claims));
            }
            SignInTwist::PublicKeyAsSecret => {
                header.alg = Algorithm::HS256;
                signs = &shared;
            }
            SignInTwist::OtherKey => signs = &self.other.signs,
            SignInTwist::UnknownKey => {
                header.kid = Some(self.other.name.to_owned());
                signs = &self.other.signs;
            }
            _ => {}
        }
        let signed = jsonwebtoken::encode(&header, &claims, signs).unwrap_or_default();
        if twist != SignInTwist::Changed {
            return signed;
        }
        claims["email"] = json!("somebody.else@example.com");
        let mut parts: Vec<&str> = signed.split('.').collect();
        let changed = URL_SAFE_NO_PAD.encode(claims.to_string());
        if let Some(middle) = parts.get_mut(1) {
            *middle = &changed;
        }
        parts.join(".")
    }
}
