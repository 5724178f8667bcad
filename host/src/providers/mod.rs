//! Providers: the loaded plugins, what each can do, who may serve a request, and how many
//! tasks each vendor takes at a time.

mod catalog;
mod choice;
mod circuit;
mod cost;
mod gate;
mod health;
mod installed;
mod places;
mod registry;
mod route;
pub mod secrets;
mod turns;

use std::time::Duration;

use genvid_runtime::{Manifest, Plugin};

pub use catalog::{Catalog, CatalogError, CatalogItem, ItemKind};
pub use choice::{Code, Facts, Later, Prefer, order};
pub use circuit::{Circuit, CircuitState, Entry, Lane, Rules, Sign};
pub use cost::{Used, estimate};
pub use gate::{Gate, Slot};
pub use health::{Health, Look, Measured, Outcome, Standing, Trial};
pub use installed::{Activated, Installed, NewVersion, Overrides, Refused, Version, VersionState};
pub use places::{Places, Taken, Wanted};
pub use registry::{Lookup, Problem, Registry, Snapshot};
pub use route::{Need, Route, RuledOut, VideoNeed};
pub use secrets::{SealedSecret, Secrets};

/// What a provider makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Scripts.
    Script,
    /// Voice tracks.
    Voice,
    /// Films.
    Video,
}

impl Kind {
    /// The stored word, which is that of the step that makes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Script => "SCRIPT",
            Self::Voice => "VOICE",
            Self::Video => "VIDEO",
        }
    }

    /// From the stored word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Script, Self::Voice, Self::Video]
            .into_iter()
            .find(|kind| kind.as_str() == word)
    }
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

    /// How long such things usually take, as its plugin says.
    #[must_use]
    pub fn usual_time(&self, kind: Kind) -> Option<Duration> {
        let manifest = self.manifest();
        let seconds = match kind {
            Kind::Script => manifest.script.as_ref()?.typical_seconds,
            Kind::Voice => manifest.voice.as_ref()?.typical_seconds,
            Kind::Video => manifest.video.as_ref()?.typical_seconds,
        };
        Some(Duration::from_secs(seconds.into()))
    }

    /// The model that it uses for such things when nobody chooses one.
    #[must_use]
    pub fn usual_model(&self, kind: Kind) -> Option<&str> {
        let manifest = self.manifest();
        let models = match kind {
            Kind::Script => &manifest.script.as_ref()?.models,
            Kind::Voice => &manifest.voice.as_ref()?.models,
            Kind::Video => &manifest.video.as_ref()?.models,
        };
        let usual = models.iter().find(|model| model.default)?;
        Some(usual.id.as_str())
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
