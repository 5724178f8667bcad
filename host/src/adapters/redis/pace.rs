//! Requests per second at each vendor, counted over all nodes.
//!
//! Each request asks once, which takes a small part of the time that the vendor takes. While
//! Redis does not answer, a node keeps to its share: of so many callers as it saw last, or
//! one request a second when it never saw any. After a loss of data the vendor may get one
//! second's requests more than it allows, as it may at the start.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, LazyLock, Mutex, PoisonError},
    time::Duration,
};

use futures::future::BoxFuture;
use genvid_runtime::{Pace, Pass};
use redis::Script;

use super::{Names, link::Link};
use crate::ids::NodeId;

/// How long a node counts as a caller after its last request.
const CALLER_LIFE: Duration = Duration::from_secs(30);
/// How many seconds' requests may go at once after a rest.
const SAVED: Duration = Duration::from_secs(1);

static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/pace.lua")));

pub(super) struct SharedPace {
    pub(super) link: Link,
    pub(super) names: Arc<Names>,
    pub(super) node: NodeId,
    /// Callers of each provider, this node included, when they were last counted.
    pub(super) callers: Mutex<HashMap<String, u32>>,
}

impl fmt::Debug for SharedPace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SharedPace")
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

impl Pace for SharedPace {
    fn take<'a>(
        &'a self,
        plugin: &'a str,
        per_second: u32,
        within: Duration,
    ) -> BoxFuture<'a, Pass> {
        Box::pin(async move {
            match self.ask(plugin, per_second, within).await {
                Some((wait, callers)) => {
                    self.saw(plugin, callers);
                    match u64::try_from(wait) {
                        Ok(wait) => Pass::After(Duration::from_micros(wait)),
                        Err(_) => Pass::TooLate,
                    }
                }
                None => Pass::Share(self.callers_of(plugin).unwrap_or(per_second).max(1)),
            }
        })
    }
}

impl SharedPace {
    async fn ask(&self, plugin: &str, per_second: u32, within: Duration) -> Option<(i64, u32)> {
        let mut connection = self.link.connection()?;
        let between = Duration::from_secs(1) / per_second.max(1);
        let asked = SCRIPT
            .key(self.names.of_provider(plugin, "pace"))
            .key(self.names.of_provider(plugin, "callers"))
            .arg(self.node.to_string())
            .arg(micros(between))
            .arg(micros(SAVED))
            .arg(micros(within))
            .arg(CALLER_LIFE.as_millis().to_string())
            .invoke_async(&mut connection)
            .await;
        match asked {
            Ok(answer) => Some(answer),
            Err(error) => {
                self.link.failed("count a request", &error);
                None
            }
        }
    }

    fn saw(&self, plugin: &str, callers: u32) {
        let mut all = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        match all.get_mut(plugin) {
            Some(known) => *known = callers,
            None => {
                all.insert(plugin.to_owned(), callers);
            }
        }
    }

    fn callers_of(&self, plugin: &str) -> Option<u32> {
        let all = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(plugin).copied()
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
