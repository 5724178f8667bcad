//! The whole server from outside: the real binary with the real plugins, against simulated
//! vendors that keep an invoice.
//!
//! Each test has a world of its own: a server process on its own data, and its own vendors.
//! Every test ends with [`support::world::World::audit`]: the vendors' invoices must agree
//! with what the server wrote down.
//!
//! The plugins come from `target/plugins`; `cargo xtask plugins` builds them.

mod accounts;
mod administration;
#[path = "../backend/mod.rs"]
mod backend;
mod batches;
mod budgets;
mod bursts;
mod callbacks;
mod canary;
mod circuits;
mod cluster;
mod commands;
mod credits;
mod fairness;
mod films;
mod google;
mod guards;
mod inputs;
mod installing;
mod keys;
mod kills;
mod lifecycle;
mod load;
mod lost_answers;
mod mails;
mod media_faults;
mod pass_through;
mod payments;
mod provider_secrets;
mod quotes;
mod realtime;
mod reconciling;
mod refusals;
mod repeats;
mod reuse;
mod sandbox;
mod seeds;
mod settling;
mod stops;
mod support;
mod tenancy;
mod tls;
mod uploads;
mod walk;
mod webhooks;
