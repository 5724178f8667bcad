//! The transport's rules over real sockets, with a toy schema behind it.

mod documents;
mod graphiql;
mod http;
mod nulls;
mod server;
mod sse;
#[path = "../toy/mod.rs"]
mod toy;
mod variables;
mod websocket;
