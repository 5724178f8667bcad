//! The sandbox against a real guest and a vendor on this machine.

mod answers;
mod assets;
mod calls;
mod credentials;
mod encrypted;
mod hostile;
mod loading;
mod manifests;
mod media;
mod network;
mod outcomes;
mod support;
mod webhooks;
