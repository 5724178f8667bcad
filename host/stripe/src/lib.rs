//! Stripe: what it is asked, and what it sends to us.
//!
//! [`Stripe`] asks. [`Receiver`] is the only way from a request to an [`Event`]: the bytes are
//! verified before anything reads them, so that a stranger's bytes never reach a parser.
//!
//! Architecture invariant: this package knows Stripe's wire format, not credits, users or
//! databases. What an event means for somebody's credits is decided elsewhere.

mod client;
mod event;
mod receiver;
mod signature;
mod wire;

pub use client::{Events, Failure, Gone, NewPrice, NewSession, SetupError, Stripe};
pub use event::{Event, Subject};
pub use receiver::{MAX_EVENT, Receiver, Refusal};
pub use signature::{SecretError, TOLERANCE, WebhookSecrets};
pub use wire::{Invoice, Metadata, Price, Session, Subscription};
