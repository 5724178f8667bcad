//! The SDK against its scripted vendor.

#[path = "sdk/errors.rs"]
mod errors;
#[path = "sdk/provider.rs"]
mod provider;
#[path = "sdk/requests.rs"]
mod requests;
#[path = "sdk/scripted.rs"]
mod scripted;
#[path = "sdk/words.rs"]
mod words;

/// The provider of the README.
#[path = "sdk/acme.rs"]
mod acme;
