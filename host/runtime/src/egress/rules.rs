//! Where a plugin may go: the manifest's rules against a URL.

use http::Method;
use url::{Host, Url};

use crate::manifest::{Manifest, MediaRule};

/// A host of the manifest or of a reroute: exact, or everything below a suffix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HostPattern {
    Exact(String),
    /// With its leading dot.
    Below(String),
}

impl HostPattern {
    pub(crate) fn new(text: &str) -> Self {
        let text = text.to_ascii_lowercase();
        match text.strip_prefix('*') {
            Some(suffix) if suffix.starts_with('.') => Self::Below(suffix.to_owned()),
            Some(_) | None => Self::Exact(text),
        }
    }

    pub(crate) fn matches(&self, host: &str) -> bool {
        match self {
            Self::Exact(name) => name == host,
            Self::Below(suffix) => host.len() > suffix.len() && host.ends_with(suffix.as_str()),
        }
    }

    /// Whether the two have a host in common.
    pub(crate) fn meets(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact(name), pattern) | (pattern, Self::Exact(name)) => pattern.matches(name),
            (Self::Below(left), Self::Below(right)) => {
                left.ends_with(right.as_str()) || right.ends_with(left.as_str())
            }
        }
    }

    /// Exact ones first, then the longest suffix.
    pub(crate) fn rank(&self) -> (bool, usize) {
        match self {
            Self::Exact(name) => (true, name.len()),
            Self::Below(suffix) => (false, suffix.len()),
        }
    }
}

/// Requests for a host go elsewhere.
#[derive(Clone, Debug)]
pub(crate) struct Reroute {
    pub(crate) pattern: HostPattern,
    pub(crate) target: Url,
}

/// One rule for the plugin's own calls.
#[derive(Debug)]
pub(crate) struct Rule {
    host: HostPattern,
    methods: Vec<Method>,
    paths: Vec<String>,
    pub(crate) credential: Option<String>,
}

/// All rules of a plugin.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    api: Vec<Rule>,
    media: Vec<HostPattern>,
}

impl Rules {
    pub(crate) fn of(manifest: &Manifest) -> Self {
        let api = manifest
            .network
            .api
            .iter()
            .map(|rule| Rule {
                host: HostPattern::new(&rule.host),
                methods: rule
                    .methods
                    .iter()
                    .filter_map(|method| Method::from_bytes(method.as_bytes()).ok())
                    .collect(),
                paths: rule.paths.clone(),
                credential: rule.credential.clone(),
            })
            .collect();
        let media = manifest
            .network
            .media
            .iter()
            .map(|MediaRule { host }| HostPattern::new(host));
        Self {
            api,
            media: media.collect(),
        }
    }

    /// The rule that allows a request, or why none does.
    pub(crate) fn api(&self, method: &Method, url: &Url) -> Result<&Rule, String> {
        let host = name_of(url)?;
        let path = url.path();
        let mut host_known = false;
        let mut path_known = false;
        for rule in self.api.iter().filter(|rule| rule.host.matches(host)) {
            host_known = true;
            if rule.paths.iter().any(|pattern| path_fits(pattern, path)) {
                path_known = true;
                if rule.methods.contains(method) {
                    return Ok(rule);
                }
            }
        }
        Err(if path_known {
            format!(
                "the manifest does not allow {method} for {host}{}",
                short(path)
            )
        } else if host_known {
            format!(
                "the manifest does not allow the path {} on {host}",
                short(path)
            )
        } else {
            format!("the manifest does not allow the host {host}")
        })
    }

    /// Whether results may be fetched from there.
    pub(crate) fn media(&self, url: &Url) -> Result<(), String> {
        let host = name_of(url)?;
        if self.media.iter().any(|pattern| pattern.matches(host)) {
            return Ok(());
        }
        Err(format!("the manifest does not allow media from {host}"))
    }
}

fn short(path: &str) -> &str {
    crate::text::cut_bytes(path, 200)
}

fn path_fits(pattern: &str, path: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => path.starts_with(prefix),
        None => path == pattern,
    }
}

/// The host's name of a URL that may be requested at all: https, a name and not an address,
/// the default port, no user, and no path that climbs once a server decodes it.
fn name_of(url: &Url) -> Result<&str, String> {
    if url.scheme() != "https" {
        return Err(format!("only https is allowed, not {}", url.scheme()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a URL with a user is not allowed".to_owned());
    }
    if url.port().is_some() {
        return Err("a URL with a port of its own is not allowed".to_owned());
    }
    if climbs(url.path()) {
        return Err("a path that climbs is not allowed".to_owned());
    }
    match url.host() {
        Some(Host::Domain(name)) => Ok(name),
        Some(Host::Ipv4(_) | Host::Ipv6(_)) => {
            Err("a URL with an address in place of a name is not allowed".to_owned())
        }
        None => Err("a URL without a host is not allowed".to_owned()),
    }
}

/// Parsing has resolved plain `..` already; here those that hide behind escapes, also behind
/// several layers of them.
fn climbs(path: &str) -> bool {
    let mut path = path.to_ascii_lowercase();
    for _ in 0..4 {
        if path.split(['/', '\\']).any(|segment| segment == "..") {
            return true;
        }
        let decoded = path
            .replace("%2e", ".")
            .replace("%2f", "/")
            .replace("%5c", "\\")
            .replace("%25", "%");
        if decoded == path {
            return false;
        }
        path = decoded;
    }
    // Nobody wraps an escape four times in good faith.
    true
}
