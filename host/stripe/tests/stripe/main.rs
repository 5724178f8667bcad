//! What is believed of what is sent to us, and what not.

mod signatures;
mod simulator;
