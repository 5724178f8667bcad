//! Rates, counted over all nodes.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use async_trait::async_trait;
use redis::Script;

use super::{Names, link::Link};
use crate::rates::{Counter, Limit, Taken, Unreachable};

static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/rate.lua")));

pub(super) struct SharedRates {
    pub(super) link: Link,
    pub(super) names: Arc<Names>,
}

#[async_trait]
impl Counter for SharedRates {
    async fn take(&self, subject: &str, limit: Limit) -> Result<Taken, Unreachable> {
        let mut connection = self.link.connection().ok_or(Unreachable)?;
        let ticket: u64 = rand::random();
        let asked: Result<(u8, u32, u64), _> = SCRIPT
            .key(self.names.key(&format!("rate:{subject}")))
            .arg(limit.count)
            .arg(u64::try_from(limit.window.as_millis()).unwrap_or(u64::MAX))
            .arg(ticket)
            .invoke_async(&mut connection)
            .await;
        match asked {
            Ok((1, left, reset)) => Ok(Taken::Granted {
                ticket,
                left,
                reset: Duration::from_millis(reset),
            }),
            Ok((_, _, wait)) => Ok(Taken::Refused(Duration::from_millis(wait))),
            Err(error) => {
                self.link.failed("count what is limited", &error);
                Err(Unreachable)
            }
        }
    }

    async fn give_back(&self, subject: &str, ticket: u64) {
        let Some(mut connection) = self.link.connection() else {
            return;
        };
        let key = self.names.key(&format!("rate:{subject}"));
        let removed = redis::cmd("ZREM").arg(key).arg(ticket).to_owned();
        if let Err(error) = removed.query_async::<()>(&mut connection).await {
            self.link.failed("forget what was counted", &error);
        }
    }
}
