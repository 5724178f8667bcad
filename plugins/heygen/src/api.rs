//! Where HeyGen is, how it wraps its answers, and the account.

use genvid_sdk::prelude::*;
use serde::Deserialize;

use crate::errors;

/// The only host of v3, uploads included.
pub(crate) const BASE: &str = "https://api.heygen.com";

/// Every 2xx answer stands in `data`; lists add how to go on.
#[derive(Debug, Deserialize)]
pub(crate) struct Envelope<T> {
    pub(crate) data: T,
    #[serde(default)]
    pub(crate) has_more: Option<bool>,
    #[serde(default)]
    pub(crate) next_token: Option<String>,
}

impl<T> Envelope<T> {
    /// The cursor of the next page. `has_more` decides when it is there, because a token
    /// may accompany the last page as well.
    pub(crate) fn next(&self) -> Option<String> {
        if self.has_more == Some(false) {
            return None;
        }
        self.next_token.clone().filter(|token| !token.is_empty())
    }
}

/// Asks, and reads the answer.
pub(crate) fn ask<T: serde::de::DeserializeOwned>(call: http::Call) -> Result<Envelope<T>> {
    let response = call.send()?;
    if !response.is_success() {
        return Err(errors::refusal(&response));
    }
    response.json()
}

#[derive(Deserialize)]
struct Me {
    username: Option<String>,
    email: Option<String>,
    billing_type: Option<String>,
    wallet: Option<Value>,
    subscription: Option<Value>,
    usage_based: Option<Value>,
}

/// `GET /v3/users/me`: free of charge. One of the three ways to pay is filled in.
pub(crate) fn account() -> Result<account::Info> {
    let me: Me = ask(http::get(format!("{BASE}/v3/users/me")))?.data;
    let mut remaining = serde_json::Map::new();
    let parts = [
        ("billing_type", me.billing_type.map(Value::from)),
        ("wallet", me.wallet),
        ("subscription", me.subscription),
        ("usage_based", me.usage_based),
    ];
    for (name, value) in parts {
        if let Some(value) = value.filter(|value| !value.is_null()) {
            remaining.insert(name.to_owned(), value);
        }
    }
    Ok(account::Info {
        label: me
            .email
            .or(me.username)
            .unwrap_or_else(|| "HeyGen account".to_owned()),
        remaining: (!remaining.is_empty()).then(|| Value::Object(remaining).to_string()),
    })
}
