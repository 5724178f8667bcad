//! The GraphQL schema over real services and a real database: what it says of itself, and
//! what it answers. No provider is installed; what providers do is tested with the whole
//! server.

mod access;
#[path = "../backend/mod.rs"]
mod backend;
mod events;
mod harness;
mod jobs;
mod pages;
mod projects;
mod reads;
mod schema;
mod sweeps;
mod tokens;
mod uploads;
mod webhooks;
