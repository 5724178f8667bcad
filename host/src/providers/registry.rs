//! The providers of this node. They change while jobs run, all at once: whoever reads gets a
//! whole snapshot, and who asks for an attempt's plugin gets the version that submitted it.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{Notify, watch};

use super::Provider;

/// Most versions that are asked for and not there yet; more of them wait for the next look.
const MOST_WISHES: usize = 256;

/// The providers of one moment.
#[derive(Default)]
pub struct Snapshot {
    /// What makes new attempts, in the operator's order of preference. One of each id.
    pub providers: Vec<Arc<Provider>>,
    /// By digest: other versions, which attempts that they submitted still need.
    pub kept: HashMap<String, Arc<Provider>>,
    /// Digests that attempts name and that nobody has any more.
    pub gone: HashSet<String>,
    /// Of what is installed in the database: the revision that this is made of.
    pub revision: i64,
    /// What could not be made so, although somebody wants it.
    pub problems: Vec<Problem>,
    /// Whether somebody looks for versions that are asked for and not here.
    pub kept_up: bool,
}

/// Something that an operator wants and this node cannot do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The plugin.
    pub provider: String,
    /// The version that is wanted.
    pub version: String,
    /// Why it is not used, in plain words and without secrets.
    pub reason: String,
}

impl Snapshot {
    /// The provider that makes new attempts under this id.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<&Arc<Provider>> {
        self.providers.iter().find(|provider| provider.id() == id)
    }
}

/// The version of a plugin that submitted an attempt.
pub enum Lookup {
    /// It is loaded. When nobody has it any more, this is the one that took its place.
    Here(Arc<Provider>),
    /// It is being looked for: ask again in a second or so.
    Later,
    /// Neither it nor another version is there.
    Missing,
}

impl Lookup {
    /// The provider, if it is loaded.
    #[must_use]
    pub fn here(self) -> Option<Arc<Provider>> {
        match self {
            Self::Here(provider) => Some(provider),
            Self::Later | Self::Missing => None,
        }
    }
}

/// All providers of this node. Clones are the same registry.
#[derive(Clone)]
pub struct Registry {
    shared: Arc<Shared>,
}

struct Shared {
    current: watch::Sender<Arc<Snapshot>>,
    wishes: Mutex<HashSet<String>>,
    wished: Notify,
}

impl Default for Registry {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl Registry {
    /// Of providers that stay, in the order of preference.
    #[must_use]
    pub fn new(providers: Vec<Provider>) -> Self {
        Self::with(Snapshot {
            providers: providers.into_iter().map(Arc::new).collect(),
            ..Snapshot::default()
        })
    }

    /// Beginning with a snapshot.
    #[must_use]
    pub fn with(snapshot: Snapshot) -> Self {
        Self {
            shared: Arc::new(Shared {
                current: watch::channel(Arc::new(snapshot)).0,
                wishes: Mutex::default(),
                wished: Notify::new(),
            }),
        }
    }

    /// All providers as they are now. It stays as it is while others change the registry.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.shared.current.borrow())
    }

    /// One of those that make new attempts.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<Arc<Provider>> {
        self.snapshot().find(id).cloned()
    }

    /// The version that submitted an attempt.
    #[must_use]
    pub fn version(&self, id: &str, digest: &str) -> Lookup {
        let snapshot = self.snapshot();
        let current = snapshot.find(id);
        let exact = current
            .filter(|provider| provider.plugin.digest() == digest)
            .or_else(|| snapshot.kept.get(digest));
        if let Some(provider) = exact {
            return Lookup::Here(Arc::clone(provider));
        }
        if snapshot.kept_up && !snapshot.gone.contains(digest) {
            let mut wishes = self.wishes();
            if wishes.len() < MOST_WISHES {
                wishes.insert(digest.to_owned());
            }
            drop(wishes);
            self.shared.wished.notify_one();
            return Lookup::Later;
        }
        current.map_or(Lookup::Missing, |provider| {
            Lookup::Here(Arc::clone(provider))
        })
    }

    /// Puts another snapshot in the place of the present one.
    pub fn replace(&self, snapshot: Snapshot) {
        self.shared.current.send_replace(Arc::new(snapshot));
    }

    /// Tells of each new snapshot.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.shared.current.subscribe()
    }

    /// Waits until a version is asked for that is not here.
    pub async fn wished(&self) {
        self.shared.wished.notified().await;
    }

    /// Takes the digests of versions that were asked for and were not here.
    #[must_use]
    pub fn take_wishes(&self) -> HashSet<String> {
        std::mem::take(&mut *self.wishes())
    }

    fn wishes(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        // A set of texts is whole whatever happened to its last user.
        self.shared
            .wishes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
