//! Settings of accounts, limits and proxies, checked and read.

use ipnet::IpNet;

use super::check::Checker;
use crate::rates::{Limit, Limits};

/// Every limit's setting.
const LIMITS: &[&str] = &[
    "limits.login",
    "limits.register",
    "limits.mail",
    "limits.create_project",
    "limits.generate",
    "limits.api_key",
];

pub(super) fn check(checker: &mut Checker<'_>) {
    for key in LIMITS {
        checker.text(
            key,
            |text| Limit::parse(text).is_ok(),
            "must be a count and a time up to 24h, such as 5/15m, 30/1h or 100/10s, or off",
        );
    }
    checker.text(
        "accounts.audience",
        |text| (1..=200).contains(&text.len()),
        "must have 1 to 200 bytes",
    );
    checker.text(
        "accounts.issuer",
        |text| text.len() <= 200,
        "must have at most 200 bytes",
    );
    checker.text(
        "accounts.google.client_id",
        |text| text.len() <= 200 && !text.contains(char::is_whitespace),
        "must have at most 200 bytes and no spaces",
    );
    checker.text(
        "accounts.google.issuer",
        is_issuer,
        "must be an https address such as https://accounts.google.com; http only of this machine",
    );
    const KEY: &str = "must be 32 random bytes in base64, such as `openssl rand -base64 32` prints";
    let is_key = |text: &str| crate::vault::parse_key(text).is_ok();
    checker.secret(
        "encryption.key",
        |text| text.is_empty() || is_key(text),
        KEY,
    );
    checker.texts("encryption.previous_keys", is_key, KEY);
    checker.texts(
        "server.allowed_origins",
        is_origin,
        "must be origins: a scheme, a host and perhaps a port, such as https://app.example.com",
    );
    checker.texts(
        "server.trusted_proxies",
        |text| parse_network(text).is_some(),
        "must be networks or addresses, such as 10.0.0.0/8 or ::1",
    );
}

/// As browsers write it: nothing behind the host and the port.
fn is_origin(text: &str) -> bool {
    let Ok(url) = url::Url::parse(text) else {
        return false;
    };
    ["http", "https"].contains(&url.scheme())
        && url.has_host()
        && url.origin().ascii_serialization() == text
}

/// Codes and secrets go there: nobody on the way may read them.
fn is_issuer(text: &str) -> bool {
    let Ok(url) = url::Url::parse(text) else {
        return false;
    };
    match url.scheme() {
        "https" => url.has_host(),
        "http" => matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]")),
        _ => false,
    }
}

/// A network, or a single address.
fn parse_network(text: &str) -> Option<IpNet> {
    let address = || text.parse().map(|address: std::net::IpAddr| address.into());
    text.parse().or_else(|_| address()).ok()
}

impl super::Server {
    /// Whose word about addresses is believed.
    #[must_use]
    pub fn proxies(&self) -> Vec<IpNet> {
        let given = self.trusted_proxies.iter();
        given.filter_map(|text| parse_network(text)).collect()
    }
}

impl super::RateLimits {
    /// As numbers.
    #[must_use]
    pub fn limits(&self) -> Limits {
        // Checked when they were read.
        let limit = |text: &String| Limit::parse(text).ok().flatten();
        Limits {
            login: limit(&self.login),
            register: limit(&self.register),
            mail: limit(&self.mail),
            create_project: limit(&self.create_project),
            generate: limit(&self.generate),
            api_key: limit(&self.api_key),
        }
    }
}
