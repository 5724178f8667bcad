//! Runs provider plugins: WebAssembly components in a sandbox, with their network, secrets and
//! limits.
//!
//! A [`Runtime`] loads bytes into a [`Component`], an operator's [`Grant`] makes a [`Plugin`]
//! of it, and each call of the plugin runs on an instance of its own that is thrown away
//! afterwards. A plugin reaches nothing but what the host offers in `wit/0.1.0/provider.wit`;
//! whatever it does, only its own call fails.
//!
//! Each call answers with an [`Outcome`], whose [`Trace`] says what happened on the wire. It is
//! recorded where the bytes leave and not by the plugin, so that it holds also when the plugin
//! crashes: a request that [`Trace::sent`] does not know was never sent.

mod assets;
mod cache;
mod call;
mod component;
mod contract;
mod egress;
mod engine;
mod error;
mod functions;
mod grant;
mod load;
pub mod manifest;
mod meter;
mod output;
mod pace;
mod plugin;
mod run;
mod runtime;
mod schema;
mod state;
mod text;
mod webhook_recipes;

pub use assets::{Asset, AssetStore, AssetWriter, NoAssets};
pub use call::{
    Call, ContextArgs, Failure, Lost, Outcome, Permission, SandboxError, SandboxErrorKind, Trace,
};
pub use component::{Component, Exports};
pub use contract::{ContractJson, account, catalog, script, tasks, types, video, voice, webhook};
pub use egress::Fetched;
pub use error::{Error, FetchError, GrantError, LoadError, WebhookRefused};
pub use grant::Grant;
pub use manifest::Manifest;
pub use pace::{Pace, Pass};
pub use plugin::Plugin;
pub use runtime::{Options, Runtime};

/// Can the internet reach this address? Loopback, private, link-local, multicast and reserved
/// ones, and those that embed such an address, are not public.
#[must_use]
pub fn is_public(address: std::net::IpAddr) -> bool {
    egress::address::is_public(address)
}
