//! Where the requests per second of a vendor are counted for more than this process.

use std::fmt;
use std::time::Duration;

use futures::future::BoxFuture;

/// Counts requests together with other processes that call the same vendors.
pub trait Pace: fmt::Debug + Send + Sync + 'static {
    /// Takes one of the `per_second` requests that all processes together may make with this
    /// plugin, unless it would have to wait for longer than `within`.
    fn take<'a>(
        &'a self,
        plugin: &'a str,
        per_second: u32,
        within: Duration,
    ) -> BoxFuture<'a, Pass>;
}

/// When a request may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// After this time.
    After(Duration),
    /// Not in time.
    TooLate,
    /// Others cannot be asked: this process counts for itself, one of so many.
    Share(u32),
}
