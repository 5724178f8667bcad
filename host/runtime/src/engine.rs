//! The WebAssembly engine: one for the whole process.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use wasmtime::component::{HasSelf, Linker};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::contract::generated::Provider;
use crate::error::Error;
use crate::state::CallState;

/// Most memory that a manifest may ask for, in MiB.
pub(crate) const MAX_MEMORY_MIB: usize = 256;

/// How often a computing guest is looked at.
const TICK: Duration = Duration::from_millis(10);

/// Memories, tables and core instances that one component may have. A component from Rust has
/// one memory and up to four core instances; interpreters bring more (QuickJS three memories,
/// Python 34 core instances).
const MEMORIES_EACH: u32 = 3;
const TABLES_EACH: u32 = 4;
const CORE_INSTANCES_EACH: u32 = 40;

/// Makes the engine with a pool for `instances` calls at once, or without a pool where the
/// address space for it cannot be reserved (containers with a limit on virtual memory).
pub(crate) fn build(instances: u32) -> Result<Engine, Error> {
    match Engine::new(&config(Some(instances))) {
        Ok(engine) => Ok(engine),
        Err(error) => {
            tracing::warn!(
                error = format!("{error:#}"),
                "the instance pool cannot be reserved; instances are allocated on demand"
            );
            Engine::new(&config(None)).map_err(|error| Error::Engine(format!("{error:#}")))
        }
    }
}

fn config(pool: Option<u32>) -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .wasm_memory64(false)
        .concurrency_support(false)
        .epoch_interruption(true)
        .consume_fuel(false)
        .max_wasm_stack(1 << 20)
        .async_stack_size(2 << 20)
        .memory_init_cow(true)
        .memory_reservation((MAX_MEMORY_MIB << 20) as u64)
        .wasm_backtrace_max_frames(NonZeroUsize::new(20))
        .parallel_compilation(true);
    if let Some(instances) = pool {
        let mut pool = PoolingAllocationConfig::new();
        pool.total_component_instances(instances)
            .total_core_instances(instances.saturating_mul(CORE_INSTANCES_EACH))
            .total_memories(instances.saturating_mul(MEMORIES_EACH))
            .total_tables(instances.saturating_mul(TABLES_EACH))
            .total_stacks(instances)
            .max_memory_size(MAX_MEMORY_MIB << 20)
            .table_elements(60_000)
            .max_core_instances_per_component(64)
            .max_memories_per_component(4)
            .max_tables_per_component(16)
            .max_component_instance_size(4 << 20)
            .max_core_instance_size(2 << 20)
            .max_unused_warm_slots(64)
            .linear_memory_keep_resident(2 << 20)
            .table_keep_resident(64 << 10);
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    }
    config
}

/// Everything that a plugin may import.
pub(crate) fn linker(engine: &Engine) -> Result<Linker<CallState>, Error> {
    let mut linker = Linker::new(engine);
    Provider::add_to_linker::<CallState, HasSelf<CallState>>(&mut linker, |state| state)
        .map_err(|error| Error::Engine(format!("{error:#}")))?;
    Ok(linker)
}

/// Starts the thread that ends the time slices of computing guests. An operating system thread,
/// because a guest that spins may hold every thread of the async runtime; it ends by itself
/// when the engine is gone.
pub(crate) fn start_ticker(engine: &Engine) -> Result<(), Error> {
    let weak = engine.weak();
    std::thread::Builder::new()
        .name("genvid-epochs".to_owned())
        .spawn(move || {
            loop {
                std::thread::sleep(TICK);
                match weak.upgrade() {
                    Some(engine) => engine.increment_epoch(),
                    None => break,
                }
            }
        })
        .map(drop)
        .map_err(Error::Thread)
}

/// Counts one instance while it lives.
#[derive(Debug)]
pub(crate) struct Live(Arc<AtomicUsize>);

impl Live {
    pub(crate) fn new(counter: &Arc<AtomicUsize>) -> Self {
        counter.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(counter))
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
