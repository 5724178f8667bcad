//! Ends long-lived connections when the server stops.

use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};

/// A handle that closes every socket (1001) and ends every event stream of the routers that share it.
///
/// A WebSocket leaves its HTTP connection behind, so a graceful stop of the HTTP server neither sees nor waits for it:
/// call [`Shutdown::close`] when stopping begins and await [`Shutdown::drained`] before the process ends.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    token: CancellationToken,
    tracker: TaskTracker,
}

impl Shutdown {
    /// A handle for [`Options::shutdown`](crate::Options::shutdown).
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Closes every socket with 1001, ends every event stream, and refuses new ones with 503. Cannot be undone.
    pub fn close(&self) {
        self.token.cancel();
        self.tracker.close();
    }

    /// Returns once [`Shutdown::close`] was called and the last socket and stream are gone.
    pub async fn drained(&self) {
        self.tracker.wait().await;
    }

    /// How many sockets and streams are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.tracker.len()
    }

    pub(crate) fn token(&self) -> &CancellationToken {
        &self.token
    }

    pub(crate) fn track(&self) -> TaskTrackerToken {
        self.tracker.token()
    }
}
