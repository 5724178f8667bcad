//! One call of a plugin: what goes in beside the request, and what comes out beside the answer.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;

use crate::assets::AssetStore;
use crate::contract::types;

/// Asked right before the first byte of a request that is not safe (anything but GET and HEAD)
/// leaves. Must not wait.
pub type Permission = Arc<dyn Fn() -> bool + Send + Sync>;

/// What a call may use.
#[derive(Clone)]
pub struct Call {
    /// The assets of the job that the call works for.
    pub assets: Arc<dyn AssetStore>,
    /// Where live text of a script goes; without it the text is dropped.
    pub text: Option<UnboundedSender<String>>,
    /// Whether what may cost money may still leave; without it, it may. When it says no, the
    /// request is not sent and [`Trace::withheld`] says so.
    pub permission: Option<Permission>,
    /// Who calls, for logs: for example the step's id.
    pub label: String,
}

impl fmt::Debug for Call {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Call")
            .field("label", &self.label)
            .finish_non_exhaustive()
    }
}

/// The part of the contract's context that differs between attempts. The settings come from
/// the grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContextArgs {
    /// The attempt's reference, `[A-Za-z0-9_-]{1,64}`.
    pub client_ref: String,
    /// Where the vendor may call back.
    pub callback_url: Option<String>,
}

/// An attempt whose outcome is unknown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The attempt's context, as it was submitted.
    pub context: ContextArgs,
    /// The interface whose `submit` was called: `video`, `voice` or `script`.
    pub kind: String,
    /// The request as [`crate::ContractJson`] writes it.
    pub request: String,
    /// Milliseconds since 1970.
    pub submitted_at_ms: u64,
}

/// The answer of a call together with what happened on the wire.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome<T> {
    /// The plugin's answer, or why there is none.
    pub result: Result<T, Failure>,
    /// What happened on the wire, true also when the plugin trapped or ran out of time.
    pub trace: Trace,
}

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Failure {
    /// The plugin answered with an error.
    #[error("{}", .0.message)]
    Plugin(types::Error),
    /// The sandbox ended the call.
    #[error(transparent)]
    Sandbox(SandboxError),
}

/// The sandbox ended a call. Nothing else is touched by it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("plugin {plugin} {version}, {function}: {message}")]
pub struct SandboxError {
    /// What went wrong; callers act on this.
    pub kind: SandboxErrorKind,
    /// The plugin's id.
    pub plugin: String,
    /// The plugin's version.
    pub version: String,
    /// The function of the contract, for example `video.submit`.
    pub function: &'static str,
    /// For operators and logs.
    pub message: String,
}

/// Why the sandbox ended a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SandboxErrorKind {
    /// The wall-clock limit of the call, or its budget of computing time, ran out.
    Timeout,
    /// The plugin crashed.
    Trap,
    /// The plugin asked for more memory than its manifest grants.
    OutOfMemory,
    /// What came back breaks a limit or a rule of the contract.
    BadOutput,
    /// No instance became free in time; the plugin never ran.
    Busy,
    /// The component does not export the function; the plugin never ran.
    NotExported,
    /// An argument breaks a rule of the contract; the plugin never ran.
    BadInput,
    /// The host itself failed.
    Internal,
}

impl SandboxErrorKind {
    /// A stable word for logs and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Trap => "trap",
            Self::OutOfMemory => "out_of_memory",
            Self::BadOutput => "bad_output",
            Self::Busy => "busy",
            Self::NotExported => "not_exported",
            Self::BadInput => "bad_input",
            Self::Internal => "internal",
        }
    }
}

/// What happened on the wire during one call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// Requests that were made, redirects included.
    pub requests: u32,
    /// A request other than GET and HEAD began to leave this machine.
    pub sent: bool,
    /// One of those has no complete answer: the vendor may have accepted it.
    pub unanswered: bool,
    /// One of those was not sent, because the caller's permission had ended.
    pub withheld: bool,
    /// Status of the last answer.
    pub last_status: Option<u16>,
    /// Wall-clock time of the whole call, without waiting for a free instance.
    pub elapsed: Duration,
    /// Part of it that making the instance took.
    pub instantiate: Duration,
}
