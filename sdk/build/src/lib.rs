//! Builds Genvid provider plugins written in Rust.
//!
//! A plugin is a crate (`crate-type = ["cdylib"]`) with a `plugin.toml` beside its
//! `Cargo.toml`. [`Build::run`] compiles any number of such crates of one workspace for
//! `wasm32-unknown-unknown` in a single cargo call, wraps each core module as a component,
//! appends the manifest's text as the custom section [`MANIFEST_SECTION`], and writes
//! `<out>/<id>.wasm`.
//!
//! The target has no WASI on purpose: the sandbox is exactly what the WIT world imports.
//! Not every machine has a standard library for it, so [`toolchain`] looks for a way to get
//! one: see there for the order.
//!
//! What this crate checks of a manifest is only what the build needs (it is TOML, it has an
//! `id` and a `version`); the full check is the host's, when it loads the component.

mod build;
mod cargo;
pub mod component;
mod fingerprint;
pub mod machine;
pub mod manifest;
pub mod toolchain;

pub use build::{Build, BuildError, Failure, FailureReason, Plugin, Report};
pub use toolchain::{Preference, Toolchain};

/// The rustc target of every Rust plugin.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// Name of the custom section, at the component's top level, that holds `plugin.toml`.
pub const MANIFEST_SECTION: &str = "genvid:manifest";
