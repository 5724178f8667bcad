//! Bare wasmtime: the same component with the same pool, and a host that does nothing but answer. What a
//! sandbox costs beyond this is this project's own.

use anyhow::Context as _;
use wasmtime::{
    Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store,
    component::{Component, ComponentExportIndex, HasSelf, InstancePre, Linker},
};

mod generated {
    wasmtime::component::bindgen!({
        path: "../../wit/0.1.0",
        world: "provider",
        imports: { default: async | trappable },
        exports: { default: async },
    });
}

use generated::{
    Provider,
    exports::genvid::provider::script::Request,
    genvid::provider::{
        clock, http, report,
        types::{self, Error, Submission},
    },
};

/// A host that has nothing: requests are refused, words go nowhere, and the time is now.
pub(crate) struct Nothing;

type Refused<T> = wasmtime::Result<Result<T, Error>>;

fn refused<T>() -> Refused<T> {
    wasmtime::bail!("there is no network here")
}

impl types::Host for Nothing {}

impl http::Host for Nothing {
    async fn send(&mut self, _: http::Request) -> Refused<http::Response> {
        refused()
    }

    async fn save(&mut self, _: http::Request, _: http::Part) -> Refused<http::Saved> {
        refused()
    }

    async fn open_events(&mut self, _: http::Request) -> Refused<http::Opened> {
        refused()
    }

    async fn next_event(&mut self, _: u32) -> Refused<Option<http::Event>> {
        refused()
    }
}

impl report::Host for Nothing {
    async fn log(&mut self, _: report::Level, _: String) -> wasmtime::Result<()> {
        Ok(())
    }

    async fn text(&mut self, _: String) -> wasmtime::Result<()> {
        Ok(())
    }
}

impl clock::Host for Nothing {
    async fn now_ms(&mut self) -> wasmtime::Result<u64> {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
        Ok(u64::try_from(now.as_millis())?)
    }
}

/// The engine, as the documentation of wasmtime shows it for servers.
pub(crate) fn engine() -> anyhow::Result<Engine> {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(256)
        .total_core_instances(1_024)
        .total_memories(256)
        .total_tables(512)
        .total_stacks(256)
        .max_component_instance_size(4 << 20)
        .max_core_instance_size(2 << 20)
        .table_elements(60_000)
        .linear_memory_keep_resident(2 << 20)
        .table_keep_resident(64 << 10);
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .concurrency_support(false)
        .async_stack_size(2 << 20)
        .max_wasm_stack(1 << 20)
        .memory_init_cow(true)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    Engine::new(&config).map_err(anyhow::Error::from)
}

/// A component that is ready to be called.
pub(crate) struct Bare {
    engine: Engine,
    pre: InstancePre<Nothing>,
    submit: ComponentExportIndex,
}

impl Bare {
    pub(crate) fn new(wasm: &[u8]) -> anyhow::Result<Self> {
        let engine = engine()?;
        let component = Component::new(&engine, wasm)?;
        let mut linker = Linker::new(&engine);
        Provider::add_to_linker::<Nothing, HasSelf<Nothing>>(&mut linker, |state| state)?;
        let interface = component.get_export_index(None, "genvid:provider/script@0.1.0");
        let interface = interface.context("no script interface")?;
        let submit = component.get_export_index(Some(&interface), "submit");
        Ok(Self {
            submit: submit.context("no submit")?,
            pre: linker.instantiate_pre(&component)?,
            engine,
        })
    }

    /// Store, instance, call, one host import, drop.
    pub(crate) async fn call(&self, options: &str) -> anyhow::Result<()> {
        let mut store = Store::new(&self.engine, Nothing);
        let instance = self.pre.instantiate_async(&mut store).await?;
        let submit = instance
            .get_typed_func::<(Request, types::Context), (Result<Submission, Error>,)>(
                &mut store,
                &self.submit,
            )?;
        let request = Request {
            instructions: String::new(),
            brief: String::new(),
            language: "en".to_owned(),
            max_seconds: None,
            schema: None,
            model: None,
            options: options.to_owned(),
        };
        let context = types::Context {
            client_ref: "bench".to_owned(),
            callback_url: None,
            settings: "{}".to_owned(),
        };
        let (answer,) = submit.call_async(&mut store, (request, context)).await?;
        anyhow::ensure!(answer.is_ok(), "the guest refuses: {answer:?}");
        Ok(())
    }
}

/// A component from what this process has compiled and written itself.
#[expect(
    unsafe_code,
    reason = "wasmtime cannot know whose file it is; it is ours"
)]
pub(crate) fn deserialize(engine: &Engine, file: &std::path::Path) -> anyhow::Result<Component> {
    // SAFETY: the same process compiled it with the same engine, into a file that only it can write.
    Ok(unsafe { Component::deserialize_file(engine, file)? })
}
