//! The tables about the network: rules, credentials, webhooks.

use std::collections::{BTreeMap, HashSet};

use http::HeaderName;

use super::reader::Reader;
use super::{ApiRule, Credential, MediaRule, Network, Verify, Webhook};

const METHODS: &[(&str, &str)] = &[
    ("GET", "GET"),
    ("HEAD", "HEAD"),
    ("POST", "POST"),
    ("PUT", "PUT"),
    ("PATCH", "PATCH"),
    ("DELETE", "DELETE"),
];

/// Reads `network` and checks that each credential that a rule names is there.
pub(super) fn network(
    table: Option<Reader<'_>>,
    credentials: &BTreeMap<String, Credential>,
    root: &Reader<'_>,
) -> Network {
    let mut network = Network::default();
    let mut used: HashSet<String> = HashSet::new();
    if let Some(table) = table {
        for rule in table.tables("api", 50) {
            let read = ApiRule {
                host: host(&rule),
                methods: rule
                    .choices("methods", METHODS)
                    .into_iter()
                    .map(str::to_owned)
                    .collect(),
                paths: paths(&rule),
                credential: rule.optional_text("credential", 64),
            };
            if let Some(name) = &read.credential {
                if !credentials.contains_key(name) {
                    rule.wrong("credential", format!("`{name}` is none of the credentials"));
                }
                used.insert(name.clone());
            }
            network.api.push(read);
            rule.finish();
        }
        for rule in table.tables("media", 50) {
            network.media.push(MediaRule { host: host(&rule) });
            rule.finish();
        }
        table.finish();
    }
    for name in credentials.keys().filter(|name| !used.contains(*name)) {
        root.wrong(
            &format!("credentials.{name}"),
            "no rule of network.api uses it",
        );
    }
    network
}

fn host(rule: &Reader<'_>) -> String {
    let host = rule.text("host", 253);
    if !host.is_empty()
        && let Err(why) = check_host(&host)
    {
        rule.wrong("host", format!("`{host}` {why}"));
    }
    host
}

/// A name with at least two labels, in lower case, exact or behind `*.`; no address, no port.
fn check_host(host: &str) -> Result<(), &'static str> {
    let name = host.strip_prefix("*.").unwrap_or(host);
    if name.contains('*') {
        return Err("may have `*.` only at its beginning");
    }
    let labels: Vec<&str> = name.split('.').collect();
    let fine = labels.iter().all(|label| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    });
    if !fine {
        return Err("is no host name in lower case");
    }
    if labels.len() < 2 {
        return Err("needs a domain, as `api.example.com`");
    }
    // A last label without a letter makes an IP address of the whole name.
    if !labels[labels.len() - 1]
        .bytes()
        .any(|byte| byte.is_ascii_alphabetic())
    {
        return Err("is an address; only names are allowed");
    }
    Ok(())
}

fn paths(rule: &Reader<'_>) -> Vec<String> {
    let paths = rule.texts("paths", 100);
    for (index, path) in paths.iter().enumerate() {
        let stem = path.strip_suffix('*').unwrap_or(path);
        let fine = path.starts_with('/')
            && !stem.contains(['*', '?', '#', '\\'])
            && !path.contains("..")
            && !path.contains("//")
            && path.bytes().all(|byte| byte.is_ascii_graphic());
        if !fine {
            rule.wrong(
                &format!("paths[{index}]"),
                format!("`{path}` is neither a path nor a prefix ending in `*`"),
            );
        }
    }
    paths
}

pub(super) fn credentials(root: &Reader<'_>) -> BTreeMap<String, Credential> {
    let mut credentials = BTreeMap::new();
    for (name, table) in root.named_tables("credentials") {
        if let Some(credential) = credential(&table) {
            credentials.insert(name, credential);
        }
        table.finish();
    }
    credentials
}

#[derive(Clone, Copy)]
enum Recipe {
    Header,
    Bearer,
    Basic,
    Query,
    Jwt,
    Hmac,
}

fn credential(table: &Reader<'_>) -> Option<Credential> {
    let recipe = table.choice(
        "kind",
        &[
            ("header", Recipe::Header),
            ("bearer", Recipe::Bearer),
            ("basic", Recipe::Basic),
            ("query", Recipe::Query),
            ("jwt-hs256", Recipe::Jwt),
            ("hmac", Recipe::Hmac),
        ],
    );
    let secret = secret_name(table, "secret");
    Some(match recipe? {
        Recipe::Header => Credential::Header {
            name: header(table, "name"),
            secret,
        },
        Recipe::Bearer => Credential::Bearer { secret },
        Recipe::Basic => Credential::Basic {
            username: table.text("username", 200),
            secret,
        },
        Recipe::Query => Credential::Query {
            name: table.text("name", 100),
            secret,
        },
        Recipe::Jwt => Credential::JwtHs256 {
            issuer_secret: secret_name(table, "issuer_secret"),
            secret,
            ttl_seconds: table.u32_or("ttl_seconds", 1_800, 1, 86_400),
            not_before_seconds: table.u32_or("not_before_seconds", 5, 0, 3_600),
        },
        Recipe::Hmac => Credential::Hmac {
            name: header(table, "name"),
            secret,
            timestamp_header: optional_header(table, "timestamp_header"),
        },
    })
}

/// Names of secrets are those of environment variables, so that an operator can give them so.
fn secret_name(table: &Reader<'_>, name: &'static str) -> String {
    let text = table.text(name, 64);
    let fine = text
        .bytes()
        .next()
        .is_none_or(|byte| byte.is_ascii_uppercase())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
    if !fine {
        table.wrong(name, format!("`{text}` is no name as `VENDOR_API_KEY`"));
    }
    text
}

fn header(table: &Reader<'_>, name: &'static str) -> String {
    let text = table.text(name, 100);
    check_header(table, name, &text);
    text
}

fn optional_header(table: &Reader<'_>, name: &'static str) -> Option<String> {
    let text = table.optional_text(name, 100)?;
    check_header(table, name, &text);
    Some(text)
}

fn check_header(table: &Reader<'_>, name: &'static str, text: &str) {
    if text.is_empty() {
        return;
    }
    match HeaderName::from_bytes(text.as_bytes()) {
        Err(_) => table.wrong(name, format!("`{text}` is no header name")),
        Ok(header) if crate::egress::headers::is_structural(&header) => {
            table.wrong(
                name,
                format!("`{text}` is a header that the host itself writes"),
            );
        }
        Ok(_) => {}
    }
}

#[derive(Clone, Copy)]
enum Rule {
    HmacSha256Hex,
    StandardWebhooks,
    Unsigned,
}

pub(super) fn webhook(table: Reader<'_>) -> Option<Webhook> {
    if !table.has("verify") {
        table.wrong("verify", "is missing");
    }
    let verify = table.table("verify").and_then(|verify| {
        let rule = verify.choice(
            "kind",
            &[
                ("hmac-sha256-hex", Rule::HmacSha256Hex),
                ("standard-webhooks", Rule::StandardWebhooks),
                ("unsigned", Rule::Unsigned),
            ],
        );
        let read = rule.map(|rule| match rule {
            Rule::HmacSha256Hex => Verify::HmacSha256Hex {
                header: header(&verify, "header"),
                timestamp_header: optional_header(&verify, "timestamp_header"),
                secret: secret_name(&verify, "secret"),
            },
            Rule::StandardWebhooks => Verify::StandardWebhooks {
                secret: secret_name(&verify, "secret"),
                prefix: verify
                    .choice("prefix", &[("webhook", "webhook"), ("svix", "svix")])
                    .unwrap_or("webhook")
                    .to_owned(),
            },
            Rule::Unsigned => Verify::Unsigned,
        });
        if read.is_some() {
            verify.finish();
        }
        read
    });
    table.finish();
    verify.map(|verify| Webhook { verify })
}
