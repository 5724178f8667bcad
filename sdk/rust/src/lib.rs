//! The guest side of a Genvid provider plugin.
//!
//! Implement the traits for what the vendor can do, list them in [`export!`], and ship the
//! manifest beside the code. The README shows a whole provider.
//!
//! On `wasm32` the helpers call the host. On every other target they call
//! [`testing::Vendor`], so the same plugin code runs in ordinary unit tests.

#[doc(hidden)]
pub mod bindings;

mod error;
mod exports;
pub mod http;
mod options;
mod provider;
pub mod report;
pub mod retry;
mod shorthand;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;

/// What the helpers call: the host's imports, or the scripted vendor of a test.
#[cfg(target_arch = "wasm32")]
mod host {
    pub(crate) use crate::bindings::imports::genvid::provider::clock::now_ms;
    pub(crate) use crate::bindings::imports::genvid::provider::http::{
        next_event, open_events, save, send,
    };
    pub(crate) use crate::bindings::imports::genvid::provider::report::{log, text};
}
#[cfg(not(target_arch = "wasm32"))]
mod host {
    pub(crate) use crate::testing::host::{log, next_event, now_ms, open_events, save, send, text};
}

pub use bindings::imports::genvid::provider::types::{
    Asset, Context, Done, Error, ErrorKind, Json, Media, Output, Problem, Progress, Role, Status,
    Submission,
};
pub use error::{Class, ErrorTable, VendorError};
pub use provider::{Account, Catalog, Script, Tasks, Video, Voice, Webhook};
pub use serde_json;

/// What every function of a plugin answers.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Words of the `video` interface.
pub mod video {
    pub use crate::bindings::video::exports::genvid::provider::video::{Aspect, Request, Speech};
}
/// Words of the `voice` interface.
pub mod voice {
    pub use crate::bindings::voice::exports::genvid::provider::voice::Request;
}
/// Words of the `script` interface.
pub mod script {
    pub use crate::bindings::script::exports::genvid::provider::script::Request;
}
/// Words of the `tasks` interface.
pub mod tasks {
    pub use crate::bindings::tasks::exports::genvid::provider::tasks::{Lost, Task};
}
/// Words of the `catalog` interface.
pub mod catalog {
    pub use crate::bindings::catalog::exports::genvid::provider::catalog::{Item, Kind, Page};
}
/// Words of the `account` interface.
pub mod account {
    pub use crate::bindings::account::exports::genvid::provider::account::Info;
}
/// Words of the `webhook` interface.
pub mod webhook {
    pub use crate::bindings::webhook::exports::genvid::provider::webhook::{Delivery, Hint};
}

/// Milliseconds since 1970-01-01T00:00:00Z, by the host's clock.
pub fn now_ms() -> u64 {
    host::now_ms()
}

/// What nearly every plugin file needs.
pub mod prelude {
    pub use crate::{
        Account, Catalog, Class, Context, Done, Error, ErrorKind, ErrorTable, Media, Output,
        Problem, Progress, Result, Role, Script, Status, Submission, Tasks, VendorError, Video,
        Voice, Webhook, account, catalog, http, report, script, tasks, video, voice, webhook,
    };
    pub use serde_json::{Value, json};
}

/// The examples of the README compile and run as written.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
