//! The store against servers that this binary starts itself: moto, an independent picture of
//! AWS that lets everybody in, and s3s, which checks signatures and the ends of links.

#[path = "../../../media/tests/contract/mod.rs"]
mod contract;
mod door;
mod faults;
mod gate;
mod kit;
mod links;
mod memory;
mod options;
mod server;
mod storage;
