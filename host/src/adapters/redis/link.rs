//! The connection for commands: one for the whole node, kept up by one task.

use std::{sync::Arc, time::Duration};

use redis::{AsyncConnectionConfig, Client, RedisError, aio::MultiplexedConnection};
use tokio::sync::{Notify, watch};

use super::{BACKOFF, PATIENCE, stopped};
use crate::jobs::remote::Reach;

/// How often an idle connection is tried.
const TRY: Duration = Duration::from_secs(1);
/// Commands that wait for their answers at a time.
const IN_FLIGHT: usize = 1_000;

/// The connection, if there is one. Cheap to clone.
#[derive(Clone)]
pub(super) struct Link {
    connection: watch::Receiver<Option<MultiplexedConnection>>,
    broken: Arc<Notify>,
}

impl Link {
    pub(super) fn new(client: Client, reach: watch::Sender<Reach>) -> (Self, Keeper) {
        let (sender, connection) = watch::channel(None);
        let broken = Arc::new(Notify::new());
        let keeper = Keeper {
            client,
            connection: sender,
            broken: Arc::clone(&broken),
            reach,
        };
        (Self { connection, broken }, keeper)
    }

    /// The connection, as far as it is known to work.
    pub(super) fn connection(&self) -> Option<MultiplexedConnection> {
        self.connection.borrow().clone()
    }

    /// Waits until there is another connection, or none any more. For ever once the keeper
    /// has gone.
    pub(super) async fn changed(&mut self) {
        if self.connection.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// A command failed. When that may be the connection's fault, there will be a new one.
    pub(super) fn failed(&self, what: &'static str, error: &RedisError) {
        tracing::warn!(%error, "Redis did not {what}");
        if is_gone(error) {
            self.broken.notify_one();
        }
    }
}

fn is_gone(error: &RedisError) -> bool {
    error.is_io_error() || error.is_timeout() || error.is_connection_dropped()
}

/// Connects, and connects again.
pub(super) struct Keeper {
    client: Client,
    connection: watch::Sender<Option<MultiplexedConnection>>,
    broken: Arc<Notify>,
    reach: watch::Sender<Reach>,
}

impl Keeper {
    pub(super) async fn run(self, mut stop: watch::Receiver<bool>) {
        let work = async {
            let mut wait = Backoff::default();
            loop {
                match self.connect().await {
                    Ok(connection) => {
                        tracing::info!("connected to Redis");
                        wait = Backoff::default();
                        self.hold(connection).await;
                        tracing::warn!(
                            "the connection to Redis is gone; the database is looked at instead"
                        );
                    }
                    Err(error) => wait.told(
                        || tracing::warn!(%error, "Redis cannot be reached; going on without it"),
                    ),
                }
                wait.pass().await;
            }
        };
        tokio::select! {
            () = work => {}
            // The connection itself lives on in the hands of those who still have to tell
            // something.
            () = stopped(&mut stop) => {}
        }
    }

    async fn connect(&self) -> Result<MultiplexedConnection, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE))
            .set_concurrency_limit(IN_FLIGHT);
        let mut connection = self
            .client
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        // A server that is still loading its data answers, with an error.
        redis::cmd("PING")
            .query_async::<()>(&mut connection)
            .await?;
        Ok(connection)
    }

    /// Returns once the connection no longer works.
    async fn hold(&self, mut connection: MultiplexedConnection) {
        self.connection.send_replace(Some(connection.clone()));
        self.reach.send_modify(|reach| reach.telling = true);
        loop {
            tokio::select! {
                () = self.broken.notified() => break,
                () = tokio::time::sleep(TRY) => {}
            }
            if let Err(error) = redis::cmd("PING").query_async::<()>(&mut connection).await {
                tracing::debug!(%error, "no answer to a ping");
                break;
            }
        }
        self.connection.send_replace(None);
        self.reach.send_modify(|reach| reach.telling = false);
    }
}

/// Longer and longer waits, not at the same time as other nodes.
pub(super) struct Backoff {
    next: Duration,
    tries: u32,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            next: BACKOFF.0,
            tries: 0,
        }
    }
}

impl Backoff {
    /// Says it the first time, and then now and then.
    pub(super) fn told(&mut self, say: impl FnOnce()) {
        if self.tries.is_multiple_of(30) {
            say();
        }
        self.tries += 1;
    }

    pub(super) async fn pass(&mut self) {
        let jitter = rand::random_range(0.5..1.0);
        tokio::time::sleep(self.next.mul_f64(jitter)).await;
        self.next = (self.next * 2).min(BACKOFF.1);
    }
}
