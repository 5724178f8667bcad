//! The build of plugins: manifests, components, the search for a toolchain, whole builds.

mod component;
mod manifest;
mod toolchain;
mod whole;
