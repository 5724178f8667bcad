//! The only code that knows a library behind a port.

pub mod mail;
pub mod openid;
pub mod redis;
pub mod sql;
pub mod stripe;
pub mod web;
