//! The guest, a store in memory, and vendors.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use genvid_runtime::{
    Asset, AssetStore, AssetWriter, Call, Component, ContextArgs, Failure, Grant, NoAssets,
    Options, Outcome, Plugin, Runtime, SandboxError, script, types,
};
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use url::Url;

/// The operator's secrets in all tests; the characters make its escaped forms differ.
pub(crate) const API_KEY: &str = "sk-test/KEY+with=odd\"bits";

/// The bytes of the guest that misbehaves.
pub(crate) fn guest() -> Vec<u8> {
    let folder = match std::env::var_os("GENVID_TEST_PLUGINS_DIR") {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/test-plugins"),
    };
    let path = folder.join("test-guest.wasm");
    std::fs::read(&path).unwrap_or_else(|error| {
        panic!(
            "{}: {error}; build the guest first: cargo xtask plugins",
            path.display()
        )
    })
}

pub(crate) fn runtime(options: Options) -> Runtime {
    Runtime::new(options).expect("a runtime")
}

/// The guest, loaded once for all tests that do not count instances.
pub(crate) async fn component() -> Component {
    static LOADED: OnceCell<(Runtime, Component)> = OnceCell::const_new();
    let load = || async {
        let runtime = runtime(Options::default());
        let component = runtime.load(guest()).await.expect("the guest loads");
        (runtime, component)
    };
    LOADED.get_or_init(load).await.1.clone()
}

/// A grant whose declared hosts all lead to `vendor`.
pub(crate) fn grant(vendor: &str) -> Grant {
    let vendor: Url = vendor.parse().expect("a URL");
    let hosts = [
        "api.vendor.example",
        "other.vendor.example",
        "*.recipes.example",
        "*.media.example",
    ];
    Grant {
        settings: json!({}),
        secrets: HashMap::from([
            ("VENDOR_API_KEY".to_owned(), SecretString::from(API_KEY)),
            (
                "VENDOR_ISSUER".to_owned(),
                SecretString::from("issuer-name"),
            ),
            ("VENDOR_HOOK".to_owned(), SecretString::from("hook-secret")),
        ]),
        reroute: hosts.map(|host| (host.to_owned(), vendor.clone())).into(),
    }
}

/// The guest with its hosts at `vendor`.
pub(crate) async fn plugin(vendor: &str) -> Plugin {
    component()
        .await
        .configure(grant(vendor))
        .expect("the grant fits")
}

/// The guest with hosts that nobody serves.
pub(crate) async fn lonely() -> Plugin {
    plugin("http://127.0.0.1:1").await
}

pub(crate) fn call() -> Call {
    Call {
        assets: Arc::new(NoAssets),
        text: None,
        permission: None,
        label: "test".to_owned(),
    }
}

pub(crate) fn context() -> ContextArgs {
    ContextArgs {
        client_ref: "attempt_1".to_owned(),
        callback_url: None,
    }
}

/// A script request with this command.
pub(crate) fn request(command: &Value) -> script::Request {
    script::Request {
        instructions: String::new(),
        brief: String::new(),
        language: "en".to_owned(),
        max_seconds: None,
        schema: None,
        model: None,
        options: command.to_string(),
    }
}

pub(crate) async fn command(plugin: &Plugin, command: Value) -> Outcome<types::Submission> {
    plugin
        .submit_script(call(), request(&command), context())
        .await
}

/// The JSON text that the guest answered with.
pub(crate) fn text_of(outcome: &Outcome<types::Submission>) -> Value {
    match &outcome.result {
        Ok(types::Submission::Done(done)) => match &done.outputs[0].media {
            types::Media::Text(text) => serde_json::from_str(text).expect("JSON"),
            other => panic!("no text: {other:?}"),
        },
        other => panic!("no result: {other:?}"),
    }
}

pub(crate) fn sandbox_error(outcome: &Outcome<types::Submission>) -> &SandboxError {
    match &outcome.result {
        Err(Failure::Sandbox(error)) => error,
        other => panic!("the sandbox did not end it: {other:?}"),
    }
}

/// Makes one request and answers what the guest saw, with the trace.
pub(crate) async fn exchange(plugin: &Plugin, exchange: Value) -> (Value, genvid_runtime::Trace) {
    exchange_with(plugin, call(), exchange).await
}

pub(crate) async fn exchange_with(
    plugin: &Plugin,
    call: Call,
    exchange: Value,
) -> (Value, genvid_runtime::Trace) {
    let command = json!({ "do": "http", "exchanges": [exchange] });
    let outcome = plugin
        .submit_script(call, request(&command), context())
        .await;
    let mut came = text_of(&outcome);
    (came[0].take(), outcome.trace)
}

pub(crate) fn get(path: &str) -> Value {
    json!({ "method": "GET", "url": format!("https://api.vendor.example{path}") })
}

pub(crate) fn post(path: &str, body: &str) -> Value {
    json!({
        "method": "POST",
        "url": format!("https://api.vendor.example{path}"),
        "headers": [["content-type", "application/json"]],
        "body": { "text": body },
    })
}

/// Serves `router` on a port of its own and answers its base URL.
pub(crate) async fn serve(router: axum::Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

/// Assets in memory, and how many bytes at most were handed over at once.
#[derive(Clone, Default)]
pub(crate) struct Memory {
    pub(crate) assets: Arc<Mutex<HashMap<String, (String, Bytes)>>>,
    pub(crate) largest_chunk: Arc<Mutex<usize>>,
}

impl Memory {
    pub(crate) fn with(name: &str, mime: &str, bytes: impl Into<Bytes>) -> Self {
        let memory = Self::default();
        memory
            .assets
            .lock()
            .expect("a lock")
            .insert(name.to_owned(), (mime.to_owned(), bytes.into()));
        memory
    }

    pub(crate) fn get(&self, name: &str) -> Bytes {
        self.assets
            .lock()
            .expect("a lock")
            .get(name)
            .expect("an asset")
            .1
            .clone()
    }

    pub(crate) fn len(&self) -> usize {
        self.assets.lock().expect("a lock").len()
    }

    pub(crate) fn call(&self) -> Call {
        Call {
            assets: Arc::new(self.clone()),
            ..call()
        }
    }
}

struct Writer {
    memory: Memory,
    mime: String,
    bytes: Vec<u8>,
}

#[async_trait]
impl AssetStore for Memory {
    async fn create(&self, mime: &str) -> io::Result<Box<dyn AssetWriter>> {
        let memory = self.clone();
        Ok(Box::new(Writer {
            memory,
            mime: mime.to_owned(),
            bytes: Vec::new(),
        }))
    }

    async fn open(&self, name: &str) -> io::Result<Option<Asset>> {
        let found = self.assets.lock().expect("a lock").get(name).cloned();
        Ok(found.map(|(mime, bytes)| {
            // Odd pieces, so that nothing depends on where a piece ends.
            let pieces: Vec<io::Result<Bytes>> = bytes
                .chunks(1_000)
                .map(|piece| Ok(Bytes::copy_from_slice(piece)))
                .collect();
            let size = bytes.len() as u64;
            Asset {
                size,
                mime,
                body: futures::stream::iter(pieces).boxed(),
            }
        }))
    }
}

#[async_trait]
impl AssetWriter for Writer {
    async fn write(&mut self, chunk: Bytes) -> io::Result<()> {
        let mut largest = self.memory.largest_chunk.lock().expect("a lock");
        *largest = (*largest).max(chunk.len());
        self.bytes.extend_from_slice(&chunk);
        Ok(())
    }

    async fn finish(self: Box<Self>) -> io::Result<String> {
        let mut assets = self.memory.assets.lock().expect("a lock");
        let name = format!("asset_{}", assets.len() + 1);
        assets.insert(name.clone(), (self.mime, self.bytes.into()));
        Ok(name)
    }
}
