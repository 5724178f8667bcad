//! The simulators from outside: over HTTP, as a plugin's host and a crash test see them.

mod control;
mod elevenlabs;
mod faults;
mod heygen;
mod kit;
mod kling;
mod openai;
mod stripe;
