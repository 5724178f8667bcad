//! What goes wrong outside a call.

use std::fmt;

use crate::manifest::Problem;

/// The runtime could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The machine cannot run the engine as configured.
    #[error("the WebAssembly engine cannot start: {0}")]
    Engine(String),
    /// The folder for compiled plugins cannot be used.
    #[error("the cache folder cannot be used: {0}")]
    Cache(String),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
    /// The operating system gave no thread.
    #[error("no thread for the epoch ticker: {0}")]
    Thread(std::io::Error),
}

/// A file is not a plugin that this host can run.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Larger than a plugin may be.
    #[error("the file has {size} bytes; a plugin may have {limit}")]
    TooLarge {
        /// In bytes.
        size: usize,
        /// In bytes.
        limit: usize,
    },
    /// Not a valid WebAssembly component.
    #[error("not a valid WebAssembly component: {0}")]
    Invalid(String),
    /// There is no manifest inside.
    #[error("no manifest: the custom section `genvid:manifest` is missing or not UTF-8 text")]
    NoManifest,
    /// The manifest, or what it says about the component, is wrong.
    #[error("the manifest is wrong: {}", List(.0))]
    Manifest(Vec<Problem>),
    /// The component wants something that the host does not offer.
    #[error("the component imports what this host does not offer: {}", .0.join(", "))]
    Imports(Vec<String>),
    /// The component's types are not those of the contract, or it does not start.
    #[error("the component does not fit the contract: {0}")]
    Contract(String),
    /// The component cannot be compiled.
    #[error("the component cannot be compiled: {0}")]
    Compile(String),
    /// The host stopped in between.
    #[error("the host is shutting down")]
    Interrupted,
}

/// The operator's grant does not fit the manifest. Everything that is wrong, at once.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the settings do not fit the plugin: {}", List(.0))]
pub struct GrantError(pub Vec<Problem>);

/// A delivery was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebhookRefused {
    /// The plugin takes no webhooks.
    #[error("the plugin takes no webhooks")]
    Unsupported,
    /// The operator gave no secret to verify with.
    #[error("no webhook secret is configured")]
    NotConfigured,
    /// A header that the recipe needs is missing or malformed.
    #[error("a signature header is missing or malformed")]
    Malformed,
    /// The delivery's time is more than 300 s away.
    #[error("the delivery is too old or from the future")]
    Stale,
    /// The signature does not fit.
    #[error("the signature does not fit")]
    BadSignature,
}

/// A result could not be fetched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// The URL, one of its redirects, or an address it resolves to, is not allowed.
    #[error("not allowed: {0}")]
    NotPermitted(String),
    /// The vendor could not be reached or did not answer in time; worth another try.
    #[error("not reachable: {0}")]
    Unavailable(String),
    /// The vendor answered with this status.
    #[error("the vendor answered with status {0}")]
    Status(u16),
    /// The vendor announces more bytes than allowed.
    #[error("the answer has {size} bytes; {limit} are allowed")]
    TooLarge {
        /// In bytes.
        size: u64,
        /// In bytes.
        limit: u64,
    },
}

struct List<'a>(&'a [Problem]);

impl fmt::Display for List<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                formatter.write_str("; ")?;
            }
            problem.fmt(formatter)?;
        }
        Ok(())
    }
}
