//! What an operator grants a plugin, checked against its manifest.

use std::collections::HashMap;
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::Url;

use crate::egress::rules::{HostPattern, Reroute};
use crate::manifest::{Credential, Manifest, Problem};
use crate::schema;

/// What an operator grants. The network, the credentials and the limits are those of the
/// manifest, which the operator approved when installing.
#[derive(Clone, Debug, Default)]
pub struct Grant {
    /// Must satisfy the manifest's `settings.schema`; `null` stands for `{}`.
    pub settings: Value,
    /// By the names that the manifest gives. Of several credentials some may be left out;
    /// requests that need one of those are refused as `unauthorized`.
    pub secrets: HashMap<String, SecretString>,
    /// Declared host, exact or `*.` and a suffix, to where its requests go instead. Only such
    /// hosts may be reached by plain HTTP or on a private address.
    pub reroute: HashMap<String, Url>,
}

/// A grant that fits.
pub(crate) struct Checked {
    pub(crate) settings: String,
    pub(crate) secrets: HashMap<String, SecretString>,
    pub(crate) reroute: Vec<Reroute>,
}

/// Longest secret, in bytes: what fits into a header together with a recipe's own text.
const LONGEST_SECRET: usize = 8 * 1024;

pub(crate) fn check(manifest: &Manifest, grant: Grant) -> Result<Checked, Vec<Problem>> {
    let settings = match grant.settings {
        Value::Null => Value::Object(serde_json::Map::new()),
        settings => settings,
    };
    let mut problems = check_settings(manifest, &settings)
        .err()
        .unwrap_or_default();
    let settings = settings.to_string();
    check_secrets(manifest, &grant.secrets, &mut problems);
    let reroute = check_reroute(manifest, grant.reroute, &mut problems);
    if problems.is_empty() {
        Ok(Checked {
            settings,
            secrets: grant.secrets,
            reroute,
        })
    } else {
        problems.sort_by(|left, right| left.key.cmp(&right.key));
        Err(problems)
    }
}

pub(crate) fn check_settings(manifest: &Manifest, settings: &Value) -> Result<(), Vec<Problem>> {
    let mut problems = Vec::new();
    match schema::compile(&manifest.settings) {
        Ok(validator) => {
            let validator: Arc<_> = validator;
            problems.extend(schema::problems(&validator, settings, "settings"));
        }
        Err(error) => problems.push(Problem::new("settings", error)),
    }
    if settings.to_string().len() > 256 * 1024 {
        problems.push(Problem::new("settings", "are longer than 256 KiB"));
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(problems)
    }
}

fn check_secrets(
    manifest: &Manifest,
    secrets: &HashMap<String, SecretString>,
    problems: &mut Vec<Problem>,
) {
    // Of several credentials an operator may have only some: requests that need another one
    // are refused. But a credential in pieces is a mistake, and so is none at all.
    let recipes = || manifest.credentials.values();
    let none = !recipes().any(|recipe| {
        recipe
            .secrets()
            .iter()
            .all(|name| secrets.contains_key(*name))
    });
    let mut needed: Vec<&str> = recipes().flat_map(|recipe| recipe.secrets()).collect();
    let mut missing: Vec<&str> = recipes()
        .map(Credential::secrets)
        .filter(|names| none || names.iter().any(|name| secrets.contains_key(*name)))
        .flatten()
        .filter(|name| !secrets.contains_key(*name))
        .collect();
    for names in [&mut needed, &mut missing] {
        names.sort_unstable();
        names.dedup();
    }
    for name in missing {
        problems.push(Problem::new(format!("secrets.{name}"), "is missing"));
    }
    // The webhook's secret may stay away: then deliveries are refused and polling does it all.
    let webhook = manifest
        .webhook
        .as_ref()
        .and_then(|webhook| webhook.verify.secret());
    for (name, secret) in secrets {
        let key = format!("secrets.{name}");
        let text = secret.expose_secret();
        if !needed.contains(&name.as_str()) && webhook != Some(name) {
            problems.push(Problem::new(key, "the plugin needs no such secret"));
        } else if text.is_empty() || text.len() > LONGEST_SECRET {
            problems.push(Problem::new(key, "must have 1 to 8,192 bytes"));
        } else if text.chars().any(char::is_control) || text.trim() != text {
            problems.push(Problem::new(
                key,
                "has a control character or blanks around it",
            ));
        }
    }
}

fn check_reroute(
    manifest: &Manifest,
    reroute: HashMap<String, Url>,
    problems: &mut Vec<Problem>,
) -> Vec<Reroute> {
    let declared: Vec<HostPattern> = manifest
        .network
        .api
        .iter()
        .map(|rule| rule.host.as_str())
        .chain(manifest.network.media.iter().map(|rule| rule.host.as_str()))
        .map(HostPattern::new)
        .collect();
    let mut checked = Vec::new();
    for (host, target) in reroute {
        let key = format!("reroute.{host}");
        let pattern = HostPattern::new(&host);
        if !declared.iter().any(|declared| declared.meets(&pattern)) {
            problems.push(Problem::new(&key, "the manifest declares no such host"));
        }
        let plain = matches!(target.scheme(), "http" | "https")
            && target.host_str().is_some()
            && target.username().is_empty()
            && target.password().is_none()
            && target.query().is_none()
            && target.fragment().is_none();
        if !plain {
            problems.push(Problem::new(
                &key,
                "the target must be http or https with a host, and no user, query or fragment",
            ));
        }
        checked.push(Reroute { pattern, target });
    }
    // An exact host goes before a suffix, a longer suffix before a shorter one.
    checked.sort_by_key(|reroute| std::cmp::Reverse(reroute.pattern.rank()));
    checked
}
