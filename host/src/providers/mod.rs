//! Providers: the loaded plugins, what each can do, who may serve a request, and how many
//! tasks each vendor takes at a time.

mod catalog;
mod cost;
mod gate;
mod places;
mod route;

use std::sync::Arc;

use genvid_runtime::{Manifest, Plugin};

pub use catalog::{Catalog, CatalogError, CatalogItem, ItemKind};
pub use cost::{Used, estimate};
pub use gate::{Gate, Slot};
pub use places::{Places, Taken};
pub use route::{Need, Route, RuledOut, VideoNeed};

/// What a provider makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Scripts.
    Script,
    /// Voice tracks.
    Voice,
    /// Films.
    Video,
}

/// A loaded plugin with the operator's grant.
#[derive(Clone)]
pub struct Provider {
    /// The plugin.
    pub plugin: Plugin,
    /// Tasks at the vendor at a time; the operator's word, or the manifest's.
    pub concurrency: u32,
    /// After how many seconds an empty look-up proves that a submission was not accepted;
    /// the operator's word, or the manifest's.
    pub settle_after_seconds: Option<u32>,
    /// Why it cannot be used, for example a missing secret.
    pub disabled: Option<String>,
}

impl Provider {
    /// Its identifier.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.manifest().id
    }

    /// What it says of itself.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        self.plugin.manifest()
    }

    /// Does it make such things?
    #[must_use]
    pub fn serves(&self, kind: Kind) -> bool {
        let manifest = self.manifest();
        match kind {
            Kind::Script => manifest.script.is_some(),
            Kind::Voice => manifest.voice.is_some(),
            Kind::Video => manifest.video.is_some(),
        }
    }
}

/// All providers, in the operator's order of preference.
#[derive(Clone, Default)]
pub struct Registry {
    providers: Arc<Vec<Provider>>,
}

impl Registry {
    /// In the order of preference.
    #[must_use]
    pub fn new(providers: Vec<Provider>) -> Self {
        Self {
            providers: Arc::new(providers),
        }
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &Provider> {
        self.providers.iter()
    }

    /// One of them.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<&Provider> {
        self.providers.iter().find(|provider| provider.id() == id)
    }
}
