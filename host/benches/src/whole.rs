//! Rows 4 to 7: whole jobs, from the request to the event that tells of their end, beside the same calls
//! of the vendor without a host.

use std::{path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::{
    client::{Connection, Watcher, post},
    rounds::{Measured, Plan, Row, Side, Target, cpu_of, measure, own_cpu},
    server::{Backend, Server, begin},
    vendor::{FIRST, Vendor, Work},
};

pub(crate) const BUSY: Row = Row {
    number: 4,
    name: "whole job, 64 in flight",
    unit: "job",
    baseline: "the vendor's calls, a file",
    // 0.3 times as many.
    target: Target::Times(3.33),
};
pub(crate) const ALONE: Row = Row {
    number: 5,
    name: "whole job, alone",
    unit: "beyond the vendor's time",
    baseline: "the vendor's calls, a file",
    target: Target::Beyond(Duration::from_millis(2)),
};
pub(crate) const POLLED: Row = Row {
    number: 6,
    name: "job of 5 polls, alone",
    unit: "beyond the vendor's time",
    baseline: "the vendor's calls, a file",
    target: Target::Times(2.5),
};
pub(crate) const MANY: Row = Row {
    number: 7,
    name: "job of 5 polls, 128 at a time",
    unit: "job",
    baseline: "the vendor's calls, a file",
    // 0.95 times as many.
    target: Target::Times(1.053),
};

/// A vendor that is asked again as soon as may be.
pub(crate) const QUICK: Work = Work {
    looks: 5,
    every_ms: 10,
    bytes: 1 << 10,
    tell: false,
};
/// A vendor that takes a second.
const SLOW: Work = Work {
    looks: 5,
    every_ms: 200,
    bytes: 1 << 10,
    tell: false,
};

/// Jobs of the server.
struct Jobs {
    server: Server,
    watcher: Arc<Watcher>,
    work: Work,
    at_once: u64,
    outside: Duration,
}

#[async_trait]
impl Side for Jobs {
    async fn run(&mut self, units: u64) -> anyhow::Result<()> {
        let (port, work) = (self.server.port, self.work);
        let watcher = Arc::clone(&self.watcher);
        in_parallel(units, self.at_once, move |each| {
            let watcher = Arc::clone(&watcher);
            async move {
                let mut connection = Connection::open(port).await?;
                for _ in 0..each {
                    let job = begin(&mut connection, work).await?;
                    watcher.success(&job).await?;
                }
                Ok(())
            }
        })
        .await
    }

    fn cpu(&self) -> Option<Duration> {
        cpu_of(self.server.pid())
    }

    fn outside(&self) -> Duration {
        self.outside
    }
}

/// The same calls of the vendor, by a client that keeps nothing in mind, and a file for each result.
struct Calls {
    vendor: Arc<Vendor>,
    folder: Arc<TempDir>,
    work: Work,
    at_once: u64,
    outside: Duration,
}

#[async_trait]
impl Side for Calls {
    async fn run(&mut self, units: u64) -> anyhow::Result<()> {
        let (port, work, folder) = (self.vendor.port, self.work, Arc::clone(&self.folder));
        in_parallel(units, self.at_once, move |each| {
            let folder = Arc::clone(&folder);
            async move {
                let mut connection = Connection::open(port).await?;
                for _ in 0..each {
                    let (id, text) = call(&mut connection, work).await?;
                    tokio::fs::write(folder.path().join(id), text).await?;
                }
                Ok(())
            }
        })
        .await
    }

    fn cpu(&self) -> Option<Duration> {
        own_cpu()
    }

    fn outside(&self) -> Duration {
        self.outside
    }
}

async fn call(connection: &mut Connection, work: Work) -> anyhow::Result<(String, String)> {
    let begin = post("/v1/work", &serde_json::to_value(work)?, None);
    let begun: Value = serde_json::from_slice(connection.ask(&begin).await?)?;
    let look = post(
        "/v1/looks",
        &serde_json::json!({"ids": [begun["id"]]}),
        None,
    );
    let mut wait = FIRST;
    loop {
        tokio::time::sleep(wait).await;
        let seen: Value = serde_json::from_slice(connection.ask(&look).await?)?;
        let seen = &seen[0];
        match (seen["text"].as_str(), seen["every_ms"].as_u64()) {
            (Some(text), _) => {
                let id = begun["id"].as_str().unwrap_or_default().to_owned();
                return Ok((id, text.to_owned()));
            }
            (None, Some(every)) => wait = Duration::from_millis(every),
            (None, None) => anyhow::bail!("the vendor says {seen}"),
        }
    }
}

/// Clients that share the units.
pub(crate) async fn in_parallel<F, C>(units: u64, clients: u64, client: F) -> anyhow::Result<()>
where
    F: Fn(u64) -> C,
    C: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let clients = clients.min(units).max(1);
    let mut all = JoinSet::new();
    for number in 0..clients {
        // Not one more than asked for: the unit's time is the round's by their number.
        let each = units / clients + u64::from(number < units % clients);
        all.spawn(client(each));
    }
    while let Some(done) = all.join_next().await {
        done??;
    }
    Ok(())
}

/// What a whole row is made of.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    work: Work,
    at_once: u64,
    units: u64,
    /// The vendor's own time is left out.
    beyond: bool,
}

/// The rows, each with what it is made of.
pub(crate) const ROWS: [(Row, Shape); 4] = [
    (
        BUSY,
        Shape {
            work: QUICK,
            at_once: 64,
            units: 640,
            beyond: false,
        },
    ),
    (
        ALONE,
        Shape {
            work: QUICK,
            at_once: 1,
            units: 20,
            beyond: true,
        },
    ),
    (
        POLLED,
        Shape {
            work: SLOW,
            at_once: 1,
            units: 2,
            beyond: true,
        },
    ),
    (
        MANY,
        Shape {
            work: SLOW,
            at_once: 128,
            units: 512,
            beyond: false,
        },
    ),
];

pub(crate) async fn row(
    plan: &Plan,
    row: Row,
    shape: Shape,
    backend: Backend,
    guest: &Path,
) -> anyhow::Result<Measured> {
    let vendor = Arc::new(Vendor::start()?);
    let server = Server::start(backend, guest, Arc::clone(&vendor)).await?;
    let watcher = Arc::new(Watcher::open(server.port, server.token()).await?);
    let outside = match shape.beyond {
        true => shape.work.takes(),
        false => Duration::ZERO,
    };
    let mut calls = Calls {
        vendor: Arc::clone(&vendor),
        folder: Arc::new(TempDir::with_prefix("genvid-bench-")?),
        work: shape.work,
        at_once: shape.at_once,
        outside,
    };
    let mut jobs = Jobs {
        server,
        watcher: Arc::clone(&watcher),
        work: shape.work,
        at_once: shape.at_once,
        outside,
    };
    let mut measured = measure(plan, row, shape.units, &mut calls, &mut jobs).await?;
    // The last rounds of both sides; the server's own once more, alone.
    vendor.seen().await?;
    jobs.run(plan.units(shape.units)).await?;
    let seen = vendor.seen().await?;
    measured.notes.push(format!(
        "looks come {:.1} ms late in the middle, {:.1} ms at p99; {} events were told",
        ms(seen.late_us[0]),
        ms(seen.late_us[1]),
        watcher.events(),
    ));
    Ok(measured)
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
pub(crate) fn ms(us: u64) -> f64 {
    us as f64 / 1e3
}
