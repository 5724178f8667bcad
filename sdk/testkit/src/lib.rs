//! Simulators of the four vendors that Genvid's own plugins talk to: HeyGen (API v3), Kling
//! (the 2026 design and the legacy routes), ElevenLabs and OpenAI; and beside them one of
//! Stripe, for what a host bills: see [`StripeHandle`], of Resend, for its mail: see
//! [`ResendHandle`], and of Google's sign-in, for its users: see [`Google`].
//!
//! Each one is a real HTTP server on a loopback port. It speaks the vendor's wire format as
//! the vendor documents it, checks credentials, moves tasks through the vendor's states over
//! time, posts signed webhooks, and returns media that play. It also keeps an invoice of
//! every call that was accepted and billed, and can be told to misbehave: see [`Fault`].
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use genvid_testkit::{Fault, FaultKind, Options, Profile, Simulators, Vendor};
//!
//! let simulators = Simulators::start(Options { profile: Profile::instant(), ..Options::default() }).await?;
//! simulators.vendor(Vendor::HeyGen).add_faults(vec![
//!     Fault::new("POST /v3/videos", FaultKind::AcceptThenDrop),
//! ])?;
//! // … point the program under test at simulators.urls() …
//! assert_eq!(simulators.vendor(Vendor::HeyGen).invoice().billed, 1);
//! simulators.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! The same controls are HTTP routes below `/_control/` on each simulator's port; the crate's
//! README lists them.

// Stripe's objects have many fields, and `json!` recurses over each.
#![recursion_limit = "256"]

mod call;
mod clock;
mod control;
mod courier;
mod desk;
mod elevenlabs;
mod faults;
mod gate;
mod google;
mod heygen;
mod kling;
mod ledger;
mod media;
mod openai;
mod options;
mod refusal;
mod resend;
mod run;
mod server;
mod signing;
mod simulators;
mod spoil;
mod stripe;
mod twists;
mod writer;

pub use clock::Clock;
pub use control::Handle;
pub use courier::Delivery;
pub use desk::Seen;
pub use faults::{Fault, FaultError, FaultKind};
pub use google::{Google, Person, SignInTwist};
pub use ledger::{Invoice, InvoiceCall};
pub use options::{Keys, Limits, Options, Ports, Profile, Vendor};
pub use resend::{Email, Fate, ResendHandle};
pub use simulators::{Simulators, Urls};
pub use stripe::{
    Card, Press, Resend, StripeError, StripeHandle, WebhookRule, WebhookTwist, stripe_signature,
};
