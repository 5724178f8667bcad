//! Row 8: jobs that wait for a vendor, ten thousand at a time.

use std::{path::Path, sync::Arc, time::Duration};

use crate::{
    client::{Connection, Watcher},
    rounds::{Amount, Figure, Measured, Plan, Row, Target, cpu_of},
    server::{Backend, Server, begin, memory_of},
    vendor::{Vendor, Work},
    whole::{QUICK, in_parallel, ms},
};

pub(crate) const WAITING: Row = Row {
    number: 8,
    name: "job that waits",
    unit: "waiting job",
    baseline: "the process before",
    target: Target::Bytes(2_048.0),
};

/// Jobs that wait.
const JOBS: u64 = 10_000;
/// How often each is asked for.
const EVERY: Duration = Duration::from_secs(10);
/// Jobs that are made and done before, so that what a busy server needs once is not counted.
const BEFORE: u64 = 2_000;
const CLIENTS: u64 = 32;
/// How long they may take until all are at the vendor.
const PATIENCE: Duration = Duration::from_secs(300);

pub(crate) async fn waiting(
    plan: &Plan,
    backend: Backend,
    guest: &Path,
) -> anyhow::Result<Measured> {
    let vendor = Arc::new(Vendor::start()?);
    let server = Server::start(backend, guest, Arc::clone(&vendor)).await?;
    let watcher = Arc::new(Watcher::open(server.port, server.token()).await?);
    let port = server.port;
    // As many at a time as may be: the sandbox keeps memory for each call that there was at once.
    in_parallel(plan.units(BEFORE), CLIENTS, |each| {
        let watcher = Arc::clone(&watcher);
        async move {
            let mut connection = Connection::open(port).await?;
            let mut jobs = Vec::new();
            for _ in 0..each {
                jobs.push(begin(&mut connection, QUICK).await?);
            }
            for job in jobs {
                watcher.success(&job).await?;
            }
            Ok(())
        }
    })
    .await?;
    drop(watcher);
    let begun = vendor.seen().await?.begun;
    let before = memory_of(server.pid())?;
    let (jobs, every) = (plan.units(JOBS), plan.units(EVERY.as_millis() as u64));
    let work = Work {
        looks: u32::MAX,
        every_ms: u32::try_from(every)?,
        ..QUICK
    };
    in_parallel(jobs, CLIENTS, |each| async move {
        let mut connection = Connection::open(port).await?;
        for _ in 0..each {
            begin(&mut connection, work).await?;
        }
        Ok(())
    })
    .await?;
    let all_there = async {
        while vendor.seen().await?.begun < begun + jobs {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(PATIENCE, all_there).await??;
    // Everybody has been asked for by then, and what the beginnings needed is given back.
    let every = Duration::from_millis(every);
    tokio::time::sleep(every * 2).await;
    let after = memory_of(server.pid())?;
    let requests = vendor.seen().await?.requests;
    let cpu = cpu_of(server.pid());
    tokio::time::sleep(every).await;
    let cpu = cpu_of(server.pid()).zip(cpu).map(|(now, then)| now - then);
    let seen = vendor.seen().await?;
    let each = bytes(after.saturating_sub(before)) / bytes(jobs);
    Ok(Measured {
        row: WAITING,
        baseline: Figure {
            amount: Amount::Bytes(bytes(before)),
            cpu: None,
        },
        subject: Figure {
            amount: Amount::Bytes(each),
            cpu: None,
        },
        times: bytes(after) / bytes(before),
        notes: vec![
            format!(
                "looks come {:.1} ms late in the middle, {:.1} ms at p99 (target 10 ms)",
                ms(seen.late_us[0]),
                ms(seen.late_us[1]),
            ),
            format!(
                "{jobs} tasks, each asked for every {every:?}: {} requests of the vendor and {:?} \
                 of computing",
                seen.requests - requests,
                cpu.unwrap_or_default(),
            ),
        ],
    })
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn bytes(count: u64) -> f64 {
    count as f64
}
