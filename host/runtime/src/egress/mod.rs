//! The only way out of the sandbox: every request is checked against the manifest, gets its
//! credential at the last moment, goes to an address that was checked, and comes back without
//! the credential.

pub(crate) mod address;
mod connect;
mod credential;
mod events;
mod exchange;
mod extract;
mod fetch;
mod guest;
pub(crate) mod headers;
mod outgoing;
mod rate;
mod request;
pub(crate) mod rules;
mod scrub;

use std::collections::HashMap;
use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};

pub use fetch::Fetched;
pub(crate) use guest::CallEgress;

use crate::error::Error;
use crate::manifest::{Credential, Limits, Manifest};
use crate::pace::Pace;
use connect::Connector;
use credential::Filled;
use exchange::Pool;
use rate::Rate;
use rules::{Reroute, Rules};
use scrub::Scrubber;

/// What all plugins share: TLS, the name under which requests are made, and who counts them.
#[derive(Clone)]
pub(crate) struct Client {
    connector: Connector,
    user_agent: HeaderValue,
    pace: Option<Arc<dyn Pace>>,
}

impl Client {
    pub(crate) fn new(
        user_agent: &str,
        extra_roots: Vec<Vec<u8>>,
        pace: Option<Arc<dyn Pace>>,
    ) -> Result<Self, Error> {
        let user_agent = HeaderValue::from_str(user_agent)
            .map_err(|_| Error::Tls("the user agent does not fit into a header".to_owned()))?;
        Ok(Self {
            connector: Connector::new(extra_roots)?,
            user_agent,
            pace,
        })
    }
}

/// The way out for one plugin.
pub(crate) struct Egress {
    /// The plugin's id.
    plugin: String,
    client: Client,
    pool: Arc<Pool>,
    rules: Rules,
    reroutes: Vec<Reroute>,
    credentials: HashMap<String, Filled>,
    /// Headers of the credentials, which guests may not write.
    own_headers: Vec<HeaderName>,
    /// Query parameters of the credentials, which guests may not write.
    own_parameters: Vec<String>,
    scrubber: Arc<Scrubber>,
    rate: Rate,
    limits: Limits,
    max_saved_bytes: u64,
}

impl Egress {
    pub(crate) fn new(
        client: Client,
        manifest: &Manifest,
        secrets: &HashMap<String, SecretString>,
        reroutes: Vec<Reroute>,
        max_saved_bytes: u64,
    ) -> Self {
        let mut egress = Self {
            plugin: manifest.id.clone(),
            rules: Rules::of(manifest),
            reroutes,
            rate: Rate::new(manifest.limits.requests_per_second),
            limits: manifest.limits,
            max_saved_bytes,
            ..Self::closed(client)
        };
        let mut scrubber = Scrubber::default();
        for (name, recipe) in &manifest.credentials {
            let Some(filled) = fill(recipe, secrets) else {
                continue;
            };
            egress.own_headers.extend(filled.headers());
            egress
                .own_parameters
                .extend(filled.parameter().map(str::to_owned));
            scrubber.add(filled.secret.expose_secret());
            if let Some(issuer) = &filled.issuer {
                scrubber.add(issuer.expose_secret());
            }
            if let Some(derived) = filled.derived() {
                scrubber.add(&derived);
            }
            egress.credentials.insert(name.clone(), filled);
        }
        egress.scrubber = Arc::new(scrubber);
        egress
    }

    /// No way out at all.
    pub(crate) fn closed(client: Client) -> Self {
        Self {
            plugin: String::new(),
            client,
            pool: Arc::default(),
            rules: Rules::default(),
            reroutes: Vec::new(),
            credentials: HashMap::new(),
            own_headers: Vec::new(),
            own_parameters: Vec::new(),
            scrubber: Arc::default(),
            rate: Rate::new(1),
            limits: Limits::default(),
            max_saved_bytes: 0,
        }
    }
}

fn fill(recipe: &Credential, secrets: &HashMap<String, SecretString>) -> Option<Filled> {
    let secret = |name: &str| secrets.get(name).cloned();
    Some(match recipe {
        Credential::JwtHs256 {
            issuer_secret,
            secret: name,
            ..
        } => Filled {
            recipe: recipe.clone(),
            secret: secret(name)?,
            issuer: Some(secret(issuer_secret)?),
        },
        Credential::Header { secret: name, .. }
        | Credential::Bearer { secret: name }
        | Credential::Basic { secret: name, .. }
        | Credential::Query { secret: name, .. }
        | Credential::Hmac { secret: name, .. } => Filled {
            recipe: recipe.clone(),
            secret: secret(name)?,
            issuer: None,
        },
    })
}
