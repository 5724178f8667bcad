//! Rows about the sandbox.

use std::{collections::HashMap, path::Path, sync::Arc, time::Duration};

use anyhow::Context as _;
use async_trait::async_trait;
use genvid_runtime::{Call, ContextArgs, Grant, NoAssets, Options, Plugin, Runtime, script};
use secrecy::SecretString;
use serde_json::json;
use wasmtime::{Engine, component::Component};

use crate::{
    bare::{self, Bare},
    rounds::{Measured, Plan, Row, Side, Target, measure, own_cpu},
};

pub(crate) const CALL: Row = Row {
    number: 1,
    name: "sandboxed call",
    unit: "call, fresh instance",
    baseline: "bare wasmtime, the same pool",
    target: Target::Times(2.0),
};

pub(crate) const LOAD: Row = Row {
    number: 3,
    name: "plugin load, cached",
    unit: "load",
    baseline: "wasmtime deserialize",
    target: Target::Times(2.0),
};

/// What the guest does: reads a little JSON, asks the host for the time, answers with it.
const COMMAND: &str = r#"{"do":"now"}"#;

fn read(guest: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(guest).with_context(|| {
        format!(
            "{} is not there; `cargo xtask plugins` builds it",
            guest.display()
        )
    })
}

struct Calls(Plugin);

#[async_trait]
impl Side for Calls {
    async fn run(&mut self, units: u64) -> anyhow::Result<()> {
        for _ in 0..units {
            let call = Call {
                assets: Arc::new(NoAssets),
                text: None,
                permission: None,
                label: "bench".to_owned(),
            };
            let request = script::Request {
                instructions: String::new(),
                brief: String::new(),
                language: "en".to_owned(),
                max_seconds: None,
                schema: None,
                model: None,
                options: COMMAND.to_owned(),
            };
            let context = ContextArgs {
                client_ref: "bench".to_owned(),
                callback_url: None,
            };
            let outcome = self.0.submit_script(call, request, context).await;
            outcome.result?;
        }
        Ok(())
    }

    fn cpu(&self) -> Option<Duration> {
        own_cpu()
    }
}

struct BareCalls(Bare);

#[async_trait]
impl Side for BareCalls {
    async fn run(&mut self, units: u64) -> anyhow::Result<()> {
        for _ in 0..units {
            self.0.call(COMMAND).await?;
        }
        Ok(())
    }

    fn cpu(&self) -> Option<Duration> {
        own_cpu()
    }
}

pub(crate) async fn call(plan: &Plan, guest: &Path) -> anyhow::Result<Measured> {
    let wasm = read(guest)?;
    let mut bare = BareCalls(Bare::new(&wasm)?);
    let runtime = Runtime::new(Options::default())?;
    let component = runtime.load(wasm).await?;
    let secrets = ["VENDOR_API_KEY", "VENDOR_ISSUER", "VENDOR_HOOK"];
    let secrets = secrets.map(|name| (name.to_owned(), SecretString::from("bench".to_owned())));
    let plugin = component.configure(Grant {
        settings: json!({}),
        secrets: HashMap::from(secrets),
        reroute: HashMap::new(),
    })?;
    measure(plan, CALL, 20_000, &mut bare, &mut Calls(plugin)).await
}

struct Loads {
    runtime: Runtime,
    wasm: Vec<u8>,
}

#[async_trait]
impl Side for Loads {
    async fn run(&mut self, units: u64) -> anyhow::Result<()> {
        for _ in 0..units {
            self.runtime.load(self.wasm.clone()).await?;
        }
        Ok(())
    }

    fn cpu(&self) -> Option<Duration> {
        own_cpu()
    }
}

struct BareLoads {
    engine: Engine,
    file: tempfile::NamedTempFile,
}

#[async_trait]
impl Side for BareLoads {
    async fn run(&mut self, units: u64) -> anyhow::Result<()> {
        for _ in 0..units {
            bare::deserialize(&self.engine, self.file.path())?;
        }
        Ok(())
    }

    fn cpu(&self) -> Option<Duration> {
        own_cpu()
    }
}

pub(crate) async fn load(plan: &Plan, guest: &Path) -> anyhow::Result<Measured> {
    let wasm = read(guest)?;
    let engine = bare::engine()?;
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), Component::new(&engine, &wasm)?.serialize()?)?;
    let cache = tempfile::TempDir::with_prefix("genvid-bench-")?;
    let runtime = Runtime::new(Options {
        cache_dir: Some(cache.path().to_owned()),
        ..Options::default()
    })?;
    // The first one compiles.
    runtime.load(wasm.clone()).await?;
    let mut own = Loads { runtime, wasm };
    measure(plan, LOAD, 200, &mut BareLoads { engine, file }, &mut own).await
}
