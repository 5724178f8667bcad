//! A loaded plugin, before an operator's grant.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use wasmtime::component::InstancePre;

use crate::error::{GrantError, LoadError};
use crate::functions::Functions;
use crate::grant::{self, Grant};
use crate::manifest::Manifest;
use crate::plugin::{Granted, Plugin};
use crate::runtime::Shared;
use crate::state::CallState;

/// A plugin that is loaded and linked. Clones are the same component.
#[derive(Clone)]
pub struct Component {
    loaded: Arc<Loaded>,
}

pub(crate) struct Loaded {
    pub(crate) shared: Arc<Shared>,
    pub(crate) manifest: Manifest,
    pub(crate) digest: String,
    pub(crate) size: usize,
    pub(crate) exports: Exports,
    pub(crate) functions: Functions,
    pub(crate) pre: InstancePre<CallState>,
}

/// The interfaces that a component exports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exports {
    /// Makes films.
    pub video: bool,
    /// Speaks.
    pub voice: bool,
    /// Writes.
    pub script: bool,
    /// Has tasks that go on at the vendor.
    pub tasks: bool,
    /// Lists what there is to choose from.
    pub catalog: bool,
    /// Checks the account.
    pub account: bool,
    /// Takes deliveries.
    pub webhook: bool,
}

impl Exports {
    pub(crate) fn of(names: &BTreeSet<String>) -> Self {
        let has = |name: &str| names.contains(name);
        Self {
            video: has("video"),
            voice: has("voice"),
            script: has("script"),
            tasks: has("tasks"),
            catalog: has("catalog"),
            account: has("account"),
            webhook: has("webhook"),
        }
    }
}

impl Component {
    pub(crate) fn new(loaded: Loaded) -> Self {
        Self {
            loaded: Arc::new(loaded),
        }
    }

    pub(crate) fn loaded(&self) -> &Loaded {
        &self.loaded
    }

    /// Makes one instance and looks at the types of its functions, so that a component that
    /// does not fit the contract is refused when it is loaded and not at its first job.
    pub(crate) async fn probe(&self) -> Result<(), LoadError> {
        Plugin::new(Granted::probe(self.clone())).probe().await
    }

    /// The manifest that it carries.
    pub fn manifest(&self) -> &Manifest {
        &self.loaded.manifest
    }

    /// SHA-256 of its bytes, in hex.
    pub fn digest(&self) -> &str {
        &self.loaded.digest
    }

    /// What it exports.
    pub fn exports(&self) -> Exports {
        self.loaded.exports
    }

    /// Its length in bytes.
    pub fn size(&self) -> usize {
        self.loaded.size
    }

    /// Looks whether an operator's settings fit the manifest's schema, as `configure` does.
    ///
    /// # Errors
    ///
    /// Everything in them that does not fit, at once.
    pub fn check_settings(&self, settings: &serde_json::Value) -> Result<(), GrantError> {
        grant::check_settings(self.manifest(), settings).map_err(GrantError)
    }

    /// Makes a plugin that can be called out of the component and what an operator grants.
    ///
    /// # Errors
    ///
    /// Everything in the grant that does not fit the manifest, at once.
    pub fn configure(&self, grant: Grant) -> Result<Plugin, GrantError> {
        Granted::new(self.clone(), grant).map(Plugin::new)
    }
}

impl fmt::Debug for Component {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Component")
            .field("id", &self.loaded.manifest.id)
            .field("version", &self.loaded.manifest.version)
            .field("digest", &self.loaded.digest)
            .finish_non_exhaustive()
    }
}
