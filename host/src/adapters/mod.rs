//! The only code that knows a library behind a port.

pub mod redis;
pub mod sql;
pub mod web;
