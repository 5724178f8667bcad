//! Providers: the loaded plugins, what each can do, who may serve a request, and how many
//! tasks each vendor takes at a time.

mod catalog;
mod cost;
mod gate;
mod installed;
mod places;
mod registry;
mod route;

use genvid_runtime::{Manifest, Plugin};

pub use catalog::{Catalog, CatalogError, CatalogItem, ItemKind};
pub use cost::{Used, estimate};
pub use gate::{Gate, Slot};
pub use installed::{Activated, Installed, NewVersion, Overrides, Refused, Version, VersionState};
pub use places::{Places, Taken, Wanted};
pub use registry::{Lookup, Problem, Registry, Snapshot};
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
    /// Where the plugin lies.
    pub origin: Origin,
    /// Tells this configuration from others of the same provider within this process: it
    /// changes with the plugin, the settings and the secrets.
    pub grant: u64,
}

/// Where a plugin lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// In the database, for every node.
    Database,
    /// In a folder of this node.
    Folder,
}

impl Origin {
    /// As it is shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Database => "database",
            Self::Folder => "folder",
        }
    }
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
