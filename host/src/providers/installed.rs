//! What is installed for every node: versions of plugins, and what an operator set for
//! providers. It lies in the database; `genvid admin` changes it.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::SealedSecret;
use crate::time::Timestamp;

/// Everything that is installed, as of one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Installed {
    /// Grows with every change.
    pub revision: i64,
    /// Of each plugin, newest first.
    pub versions: Vec<Version>,
    /// By the provider's id.
    pub overrides: BTreeMap<String, Overrides>,
    /// Credentials that are set for every node.
    pub secrets: Vec<SealedSecret>,
}

impl Installed {
    /// The version of a plugin that makes new attempts.
    #[must_use]
    pub fn active(&self, id: &str) -> Option<&Version> {
        self.versions
            .iter()
            .find(|version| version.id == id && version.state == VersionState::Active)
    }
}

/// An installed version of a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// The plugin.
    pub id: String,
    /// Semver, as its manifest says.
    pub version: String,
    /// SHA-256 of the component, in hex.
    pub digest: String,
    /// Of the component, in bytes.
    pub size: u64,
    /// What it is for.
    pub state: VersionState,
    /// When it was installed first.
    pub installed_at: Timestamp,
}

/// What an installed version is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionState {
    /// Makes new attempts; one of each plugin at most.
    Active,
    /// To go back to, and for attempts that it began.
    Kept,
}

impl VersionState {
    /// As it is stored and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Kept => "kept",
        }
    }

    /// From the stored word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "active" => Some(Self::Active),
            "kept" => Some(Self::Kept),
            _ => None,
        }
    }
}

/// What an operator set for a provider on all nodes. What is left out is as the settings of
/// each node say, or else the plugin's manifest.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Overrides {
    /// May it make new attempts?
    pub enabled: Option<bool>,
    /// Tasks at the vendor at a time, 1 to 10,000.
    pub concurrency: Option<u32>,
    /// After how many seconds an empty look-up proves that nothing was accepted.
    pub settle_after_seconds: Option<u32>,
    /// Instead of all of the node's `settings`; must satisfy the plugin's schema.
    pub settings: Option<Map<String, Value>>,
}

/// A component to install. The caller has loaded it.
#[derive(Debug, Clone)]
pub struct NewVersion {
    /// The plugin, as its manifest says.
    pub id: String,
    /// The version, as its manifest says.
    pub version: String,
    /// SHA-256 of `wasm`, in hex.
    pub digest: String,
    /// The component, at most 32 MiB.
    pub wasm: Vec<u8>,
}

/// What became of a version that was made active.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Activated {
    /// As it is now.
    pub version: Version,
    /// The version that was active before, if it is another one.
    pub replaced: Option<String>,
}

/// A change that is refused; nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The same version with other bytes.
    #[error(
        "{id}@{version} is installed already with other bytes (digest {digest}); give the new file another version"
    )]
    VersionTaken {
        /// The plugin.
        id: String,
        /// The version.
        version: String,
        /// Of what is installed.
        digest: String,
    },
    /// There is no such version.
    #[error("{id}@{version} is not installed; `genvid admin plugin list` shows what is")]
    UnknownVersion {
        /// The plugin.
        id: String,
        /// The version.
        version: String,
    },
    /// There is no such plugin.
    #[error("no version of {id} is installed; `genvid admin plugin list` shows what is")]
    UnknownPlugin {
        /// The plugin.
        id: String,
    },
    /// Attempts are open that this version submitted.
    #[error(
        "{id}@{version} still has open attempts ({attempts}): they finish on the version that submitted them. Try again later; `genvid admin plugin use` or `genvid admin provider set {id} --enabled false` keeps new ones away"
    )]
    InUse {
        /// The plugin.
        id: String,
        /// The version.
        version: String,
        /// How many.
        attempts: u64,
    },
    /// Nothing was set for this provider.
    #[error("nothing is set for {id} in the database; `genvid admin provider list` shows what is")]
    NothingSet {
        /// The provider.
        id: String,
    },
}
