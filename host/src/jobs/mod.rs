//! Jobs: accepting what users ask for, and moving it on until it is delivered.
//!
//! Rules that always hold, and where:
//! - the row that accepts a job, its plan and its first event commit together
//!   (`adapters::sql`, `accept_job`);
//! - the intent to call a provider for money is durable before the call (`advance::submit`);
//! - whether a paid call may be repeated is decided in one place (`decide`);
//! - every write of a worker names its fencing token (`store::Change`), and no paid call leaves
//!   after its lease may have ended (`lease`);
//! - events are numbered in the transaction that changes the job, and told after it (`bus`).
//!
//! Start reading with `model`, then `service` (what edges call), then `advance` (what the
//! worker calls).

mod accept;
pub mod advance;
pub mod batch;
pub mod bus;
pub mod captions;
pub mod catch_up;
pub mod check;
pub mod clerk;
pub mod decide;
pub mod events;
mod foresee;
pub mod input;
pub mod lease;
pub mod limits;
pub mod model;
pub mod plan;
pub mod quote;
pub mod reconcile;
pub mod remote;
pub mod requests;
pub mod reuse;
pub mod service;
pub mod settings;
pub mod settle;
pub mod store;
pub mod wish;

pub use service::{Error, Service};
pub use settings::Settings;
