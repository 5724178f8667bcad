//! Genvid: short product and avatar videos through other companies' AI services.
//!
//! In dependency order; each may use those above it. `ARCHITECTURE.md` is the map.

pub mod dispatch;
pub mod ids;
pub mod input;
pub mod rates;
pub mod time;
pub mod uploads;
pub mod vault;

pub mod adapters;
pub mod config;

pub mod accounts;
pub mod billing;
pub mod payments;
pub mod projects;
pub mod providers;
pub mod scripts;

pub mod jobs;
pub mod mail;
pub mod media;
pub mod webhooks;

pub mod app;

pub mod cli;
pub mod graphql;
pub mod http;
pub mod worker;
