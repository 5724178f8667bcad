//! Access tokens: what is made, what is taken, and what is not, however it was forged.

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as B64};
use genvid::{
    accounts::tokens::{Bearer, Keyring, LIFE, Refused, SigningKey, Subject},
    ids::SessionId,
    time,
    vault::Vault,
};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::harness::Bench;

const ISSUER: &str = "https://genvid.test";

struct Mint {
    bench: Bench,
    keyring: Keyring,
    vault: Vault,
    session: SessionId,
}

impl Mint {
    async fn open() -> Self {
        let bench = Bench::new().await;
        let vault = Vault::new(&[9; 32], &[]);
        let keyring = ring(&bench, &vault);
        keyring.open().await.expect("a key");
        Self {
            bench,
            keyring,
            vault,
            session: SessionId::generate(),
        }
    }

    async fn key(&self) -> SigningKey {
        let keys = self.bench.database.signing_keys().await.expect("keys");
        keys.into_iter().next_back().expect("a key")
    }

    fn token(&self) -> String {
        let subject = Subject {
            user: &self.bench.ann,
            session: self.session,
            plan: "pro".to_owned(),
            credits: 42,
        };
        self.keyring.issue(&subject).expect("a token")
    }

    /// The server's own key: what nobody outside has.
    async fn private(&self) -> EncodingKey {
        let key = self.key().await;
        let purpose = format!("signing key {}", key.id);
        let der = self.vault.open(&purpose, &key.private).expect("its key");
        assert!(!key.private.windows(16).any(|part| part == &der[..16]));
        pem(&der)
    }

    async fn refused(&self, token: &str) -> Option<Refused> {
        self.keyring.check(token).await.err()
    }
}

fn ring(bench: &Bench, vault: &Vault) -> Keyring {
    let (issuer, audience) = (ISSUER.to_owned(), "genvid".to_owned());
    Keyring::new(bench.database.clone(), vault.clone(), issuer, audience)
}

fn pem(der: &[u8]) -> EncodingKey {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let line = |word| format!("-----{word} PRIVATE KEY-----");
    let pem = format!("{}\n{text}\n{}\n", line("BEGIN"), line("END"));
    EncodingKey::from_rsa_pem(pem.as_bytes()).expect("a key")
}

fn part(token: &str, at: usize) -> Value {
    let text = token.split('.').nth(at).expect("a part");
    serde_json::from_slice(&B64.decode(text).expect("base64url")).expect("JSON")
}

fn encode(header: &str, claims: &str) -> String {
    format!("{}.{}", B64.encode(header), B64.encode(claims))
}

#[tokio::test]
async fn a_token_says_who_and_is_taken() {
    let mint = Mint::open().await;
    let token = mint.token();
    let (header, claims) = (part(&token, 0), part(&token, 1));
    let key = mint.key().await;
    assert_eq!(header, json!({"alg": "RS256", "typ": "JWT", "kid": key.id}));
    assert_eq!(claims["sub"], mint.bench.ann.id.to_string());
    assert_eq!(claims["email"], "ann@example.com");
    assert_eq!(claims["email_verified"], true);
    assert_eq!(claims["role"], "user");
    let metadata = json!({"subscription_tier": "pro", "credits_remaining": 42});
    assert_eq!(claims["app_metadata"], metadata);
    assert_eq!(
        (&claims["iss"], &claims["aud"]),
        (&json!(ISSUER), &json!("genvid"))
    );
    let seconds = |name: &str| claims[name].as_i64().expect("seconds");
    assert_eq!(seconds("exp") - seconds("iat"), 3_600);
    assert!(claims["jti"].is_string());
    let bearer = mint.keyring.check(&token).await.expect("taken");
    assert_eq!(
        (bearer.user, bearer.session),
        (mint.bench.ann.id, mint.session)
    );
    assert!(bearer.until > time::now());
    assert_ne!(claims["jti"], part(&mint.token(), 1)["jti"]);

    // Nothing private is published; the name is the thumbprint.
    let published = mint.keyring.published();
    let keys = published["keys"].as_array().expect("keys");
    assert_eq!(keys.len(), 1);
    let names: Vec<_> = keys[0].as_object().expect("a key").keys().collect();
    assert_eq!(names, ["alg", "e", "kid", "kty", "n", "use"]);
    assert_eq!(keys[0]["kid"], key.id);
}

#[tokio::test]
async fn forged_tokens_are_refused() {
    let mint = Mint::open().await;
    let good = mint.token();
    let (head, rest) = good.split_once('.').expect("parts");
    let (claims, signature) = rest.split_once('.').expect("parts");
    let kid = mint.key().await.id;
    let body = String::from_utf8(B64.decode(claims).expect("base64url")).expect("text");

    // No signature at all, however it is spelt.
    for alg in ["none", "None", "NONE", "nOnE"] {
        for typ in [r#","typ":"JWT""#, ""] {
            let header = format!(r#"{{"alg":"{alg}","kid":"{kid}"{typ}}}"#);
            for end in ["", signature] {
                let forged = format!("{}.{end}", encode(&header, &body));
                assert!(mint.refused(&forged).await.is_some(), "{alg}");
            }
        }
    }
    // The public key as the secret of a MAC.
    let public = mint.key().await.public;
    let text = base64::engine::general_purpose::STANDARD.encode(&public);
    let pem_text =
        format!("-----BEGIN RSA PUBLIC KEY-----\n{text}\n-----END RSA PUBLIC KEY-----\n");
    for (alg, hash) in [("HS256", hmac::HMAC_SHA256), ("HS384", hmac::HMAC_SHA384)] {
        for secret in [public.as_slice(), pem_text.as_bytes(), text.as_bytes()] {
            let signed = encode(
                &format!(r#"{{"alg":"{alg}","typ":"JWT","kid":"{kid}"}}"#),
                &body,
            );
            let mac = hmac::sign(&hmac::Key::new(hash, secret), signed.as_bytes());
            let forged = format!("{signed}.{}", B64.encode(mac));
            assert_eq!(mint.refused(&forged).await, Some(Refused::Header), "{alg}");
        }
    }
    // Somebody else's key, with a header that offers it.
    let own = genvid::accounts::tokens::generate(&mint.vault, time::now()).expect("a key");
    let purpose = format!("signing key {}", own.id);
    let der = mint.vault.open(&purpose, &own.private).expect("its key");
    let (thief, claims_value) = (pem(&der), part(&good, 1));
    let header = |alg| Header {
        kid: Some(kid.clone()),
        ..Header::new(alg)
    };
    let offers = [
        header(Algorithm::RS256),
        Header {
            kid: Some(own.id.clone()),
            ..header(Algorithm::RS256)
        },
        Header {
            kid: None,
            ..header(Algorithm::RS256)
        },
        Header {
            jku: Some("https://evil.example/jwks.json".to_owned()),
            ..header(Algorithm::RS256)
        },
        Header {
            x5u: Some("https://evil.example/x509".to_owned()),
            ..header(Algorithm::RS256)
        },
        Header {
            crit: Some(vec!["exp".to_owned()]),
            ..header(Algorithm::RS256)
        },
        header(Algorithm::RS384),
        header(Algorithm::PS256),
    ];
    for offer in offers {
        let forged = jsonwebtoken::encode(&offer, &claims_value, &thief).expect("a token");
        assert!(mint.refused(&forged).await.is_some(), "{offer:?}");
    }
    for kid in [
        "../../etc/passwd",
        "' OR 1=1 --",
        "",
        "\u{0}",
        &"k".repeat(3_000),
    ] {
        let offer = Header {
            kid: Some(kid.to_owned()),
            ..Header::new(Algorithm::RS256)
        };
        let forged = jsonwebtoken::encode(&offer, &claims_value, &thief).expect("a token");
        assert!(mint.refused(&forged).await.is_some(), "{kid:?}");
    }
    // A good one that was touched.
    let cut = &good[..good.len() - 2];
    let other = format!(
        "{head}.{}.{signature}",
        B64.encode(body.replace("user", "admin"))
    );
    let long = format!("{good}{}", "A".repeat(1_000_000));
    for forged in [
        cut,
        &other,
        &long,
        head,
        "",
        "..",
        "ey.ey.ey",
        &format!("{good}.{good}"),
    ] {
        assert!(mint.refused(forged).await.is_some(), "{:.60}", forged);
    }
    assert_eq!(mint.refused(&good).await, None);
}

#[tokio::test]
async fn what_this_server_signed_for_something_else_is_refused() {
    let mint = Mint::open().await;
    let (private, kid) = (mint.private().await, mint.key().await.id);
    let claims = part(&mint.token(), 1);
    let now = claims["iat"].as_i64().expect("seconds");
    let header = Header {
        kid: Some(kid),
        ..Header::new(Algorithm::RS256)
    };
    let sign = |claims: &Value| jsonwebtoken::encode(&header, claims, &private).expect("a token");
    assert!(mint.keyring.check(&sign(&claims)).await.is_ok(), "as it is");
    for (name, value) in [
        ("iss", json!("https://other.test")),
        ("iss", json!(null)),
        ("aud", json!("other")),
        ("aud", json!([])),
        ("sub", json!("usr_1")),
        ("sub", json!(null)),
        ("sid", json!("prj_00000000000070008000000000000000")),
        ("exp", json!(now - 3_600)),
        ("exp", json!(now - 6)),
        ("exp", json!("never")),
        ("exp", json!(null)),
        ("nbf", json!(now + 60)),
        ("iat", json!(now + 60)),
        ("role", json!(null)),
    ] {
        let mut changed = claims.clone();
        changed[name] = value.clone();
        assert!(
            mint.refused(&sign(&changed)).await.is_some(),
            "{name}: {value}"
        );
        if !value.is_null() || name == "role" {
            continue;
        }
        changed.as_object_mut().expect("claims").remove(name);
        assert!(mint.refused(&sign(&changed)).await.is_some(), "no {name}");
    }
    // Another type of token, and a claim that is there twice.
    for typ in [Some("at+jwt"), Some("refresh+jwt"), None] {
        let offer = Header {
            typ: typ.map(str::to_owned),
            ..header.clone()
        };
        let forged = jsonwebtoken::encode(&offer, &claims, &private).expect("a token");
        assert_eq!(
            mint.refused(&forged).await,
            Some(Refused::Header),
            "{typ:?}"
        );
    }
    struct Twice(Value);
    impl serde::Serialize for Twice {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            use serde::ser::SerializeMap as _;
            let mut map = serializer.serialize_map(None)?;
            for (name, value) in self.0.as_object().into_iter().flatten() {
                map.serialize_entry(name, value)?;
            }
            map.serialize_entry("sub", "usr_00000000000070008000000000000000")?;
            map.end()
        }
    }
    let forged = jsonwebtoken::encode(&header, &Twice(claims), &private).expect("a token");
    assert_eq!(mint.refused(&forged).await, Some(Refused::Wrong));
}

#[tokio::test]
async fn keys_are_rotated_with_overlap() {
    let mint = Mint::open().await;
    let another_node = ring(&mint.bench, &mint.vault);
    another_node.open().await.expect("the same key");
    let (old, old_key) = (mint.token(), mint.key().await.id);

    // Published before it signs.
    let soon = time::now().after(std::time::Duration::from_secs(600));
    let new_key = mint.keyring.make(soon).await.expect("a key");
    let fresh = ring(&mint.bench, &mint.vault);
    fresh.open().await.expect("keys");
    assert_eq!(fresh.published()["keys"].as_array().expect("keys").len(), 2);
    let subject = Subject {
        user: &mint.bench.ann,
        session: mint.session,
        plan: "free".to_owned(),
        credits: 0,
    };
    let kid = |token: &str| part(token, 0)["kid"].clone();
    assert_eq!(kid(&fresh.issue(&subject).expect("a token")), old_key);

    // One that signs at once: the other node finds it when it meets it, and the old tokens hold.
    let third = mint.keyring.make(time::now()).await.expect("a key");
    let fresh = ring(&mint.bench, &mint.vault);
    fresh.open().await.expect("keys");
    let token = fresh.issue(&subject).expect("a token");
    assert_eq!(kid(&token), third);
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    let expected = |bearer: Bearer| assert_eq!(bearer.user, mint.bench.ann.id);
    expected(another_node.check(&token).await.expect("found"));
    expected(another_node.check(&old).await.expect("still good"));
    assert!(LIFE.as_secs() == 3_600);

    // One that got out: nothing that it signed holds, from then on.
    let now = time::now();
    assert!(
        mint.bench
            .database
            .revoke_signing_key(third.clone(), now, "operator")
            .await
            .expect("revoked")
    );
    assert!(
        !mint
            .bench
            .database
            .revoke_signing_key(third, now, "operator")
            .await
            .expect("once")
    );
    let fresh = ring(&mint.bench, &mint.vault);
    fresh.open().await.expect("keys");
    assert_eq!(fresh.check(&token).await, Err(Refused::UnknownKey));
    expected(fresh.check(&old).await.expect("still good"));
    assert_ne!(new_key, old_key);

    // Without the key that sealed them, nothing is signed, and it says what is missing.
    let stranger = ring(&mint.bench, &Vault::new(&[8; 32], &[]));
    let error = stranger.open().await.expect_err("no key");
    assert!(error.to_string().contains("encryption.key"), "{error}");
    let moved = ring(&mint.bench, &Vault::new(&[8; 32], &[[9; 32]]));
    moved.open().await.expect("the key of before");
}
