//! The port between nodes and its two implementations: one node alone, and several over
//! Redis. Private Redis servers, on free ports.

mod connections;
mod events;
mod losses;
mod nudges;
mod pace;
mod slots;
mod support;
