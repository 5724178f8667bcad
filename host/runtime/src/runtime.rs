//! The process-wide runtime.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Semaphore;
use wasmtime::Engine;
use wasmtime::component::Linker;

use crate::cache::Cache;
use crate::component::Component;
use crate::egress::Client;
use crate::error::{Error, LoadError};
use crate::pace::Pace;
use crate::state::CallState;
use crate::{engine, load};

/// How a [`Runtime`] is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// Folder for compiled plugins, which only this host may write to; without it each start
    /// compiles anew. Made when it is missing.
    pub cache_dir: Option<PathBuf>,
    /// Calls that may run at once, 1 to 10,000.
    pub max_instances: u32,
    /// The `User-Agent` of all requests.
    pub user_agent: String,
    /// Most bytes of an answer that `http.save` keeps.
    pub max_saved_bytes: u64,
    /// Certificates (X.509, DER) that are trusted beside those of the system, for networks
    /// whose proxy opens TLS connections.
    pub extra_roots: Vec<Vec<u8>>,
    /// Who counts the vendors' requests per second together with other processes; without
    /// it, this one counts for itself.
    pub pace: Option<Arc<dyn Pace>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cache_dir: None,
            max_instances: 256,
            user_agent: concat!("genvid/", env!("CARGO_PKG_VERSION")).to_owned(),
            max_saved_bytes: 2 << 30,
            extra_roots: Vec::new(),
            pace: None,
        }
    }
}

/// Loads and runs plugins. One for each process; clones are the same runtime.
#[derive(Clone)]
pub struct Runtime {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) engine: Engine,
    pub(crate) linker: Linker<CallState>,
    pub(crate) cache: Option<Cache>,
    pub(crate) client: Client,
    /// As many as the pool has places.
    pub(crate) permits: Semaphore,
    pub(crate) max_instances: u32,
    pub(crate) max_saved_bytes: u64,
    /// Compiling takes a lot of memory: one at a time.
    pub(crate) compiling: Semaphore,
    pub(crate) live: Arc<AtomicUsize>,
}

impl Runtime {
    /// Makes the engine, its ticker and the HTTP client. Needs no async runtime.
    ///
    /// # Errors
    ///
    /// When the machine cannot run the engine, the cache folder is not usable or TLS cannot be
    /// set up.
    pub fn new(options: Options) -> Result<Self, Error> {
        let max_instances = options.max_instances.clamp(1, 10_000);
        let engine = engine::build(max_instances)?;
        let linker = engine::linker(&engine)?;
        let cache = options
            .cache_dir
            .map(|folder| Cache::open(folder, &engine))
            .transpose()?;
        let client = Client::new(&options.user_agent, options.extra_roots, options.pace)?;
        engine::start_ticker(&engine)?;
        Ok(Self {
            shared: Arc::new(Shared {
                engine,
                linker,
                cache,
                client,
                permits: Semaphore::new(max_instances as usize),
                max_instances,
                max_saved_bytes: options.max_saved_bytes,
                compiling: Semaphore::new(1),
                live: Arc::new(AtomicUsize::new(0)),
            }),
        })
    }

    /// Turns the bytes of a plugin into something that runs. They are validated to the end,
    /// the manifest is read and compared with the exports, and the component is compiled off
    /// the async threads, or taken from the cache.
    ///
    /// # Errors
    ///
    /// Why this is no plugin that this host can run.
    pub async fn load(&self, wasm: Vec<u8>) -> Result<Component, LoadError> {
        load::load(&self.shared, wasm).await
    }

    /// Instances that are alive now.
    pub fn live_instances(&self) -> usize {
        self.shared.live.load(Ordering::Relaxed)
    }
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Runtime")
            .field("live_instances", &self.live_instances())
            .finish_non_exhaustive()
    }
}
