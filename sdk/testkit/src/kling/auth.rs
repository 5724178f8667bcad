//! API keys on all routes, signed tokens on the legacy ones.

use axum::http::{HeaderMap, header};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;
use subtle::ConstantTimeEq;

use crate::{options::Keys, refusal::Refusal, run::now_ms, signing};

fn refused(code: &str, message: &str) -> Refusal {
    Refusal::new(401, code, message)
}

pub(super) fn authorize(keys: &Keys, headers: &HeaderMap, path: &str) -> Result<(), Refusal> {
    let given = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if given.trim().is_empty() {
        return Err(refused("1001", "Authorization is empty"));
    }
    let token = given
        .strip_prefix("Bearer ")
        .ok_or_else(|| refused("1000", "Authentication failed"))?;
    if token == keys.kling {
        return Ok(());
    }
    let is_legacy = path.starts_with("/v1/") || path.starts_with("/account/");
    if is_legacy && token.matches('.').count() == 2 {
        return check_token(keys, token, now_ms() / 1_000);
    }
    Err(refused("1002", "access key not found"))
}

/// HS256 with `iss`, `exp` and `nbf`.
fn check_token(keys: &Keys, token: &str, now: i64) -> Result<(), Refusal> {
    let invalid = || refused("1002", "Authorization is invalid");
    let (content, signature) = token.rsplit_once('.').ok_or_else(invalid)?;
    let (head, claims) = content.split_once('.').ok_or_else(invalid)?;
    let json = |part: &str| -> Option<Value> {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
    };
    let head = json(head).ok_or_else(invalid)?;
    let claims = json(claims).ok_or_else(invalid)?;
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| invalid())?;
    let expected = signing::hmac(keys.kling_secret.as_bytes(), &[content.as_bytes()]);
    let is_signed = bool::from(signature.ct_eq(&expected));
    if head["alg"] != "HS256" || claims["iss"] != keys.kling_access.as_str() || !is_signed {
        return Err(invalid());
    }
    match claims["nbf"].as_i64() {
        Some(from) if from > now => {
            return Err(refused("1003", "Authorization is not yet valid"));
        }
        _ => {}
    }
    match claims["exp"].as_i64() {
        Some(until) if until > now => Ok(()),
        Some(_) => Err(refused("1004", "Authorization has expired")),
        None => Err(invalid()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documents_token_passes_in_its_time_only() {
        let keys = Keys {
            kling_access: "ak_test".into(),
            kling_secret: "sk_test".into(),
            ..Keys::default()
        };
        let token = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJha190ZXN0IiwiZXhwIjoxNzAwMDAxODAwLCJuYmYiOjE2OTk5OTk5OTV9.eDa_F6Qhv7yHoYstKBIL6uubYWDLHLekl_49ClsUCf4";
        let code = |now| check_token(&keys, token, now).map_err(|refusal| refusal.code);
        assert_eq!(code(1_700_000_000), Ok(()));
        assert_eq!(code(1_699_999_000), Err("1003".into()));
        assert_eq!(code(1_700_001_800), Err("1004".into()));
        let other = Keys::default();
        assert!(check_token(&other, token, 1_700_000_000).is_err());
    }
}
