//! Rows 12 and 14: how long it takes from the vendor's word until a subscriber hears of it, on one
//! node and from one node to another.

use std::{
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures::StreamExt as _;
use genvid_testing::Redis;
use tokio::task::JoinSet;

use crate::{
    client::{Connection, Subscription},
    crowd::{self, FOLLOW_TICKS},
    rounds::{Amount, Figure, Measured, Plan, Row, Target},
    server::{Backend, Cluster, Server, begin},
    vendor::{Vendor, Work},
    whole::QUICK,
};

pub(crate) const LOCAL: Row = Row {
    number: 12,
    name: "event to its subscriber",
    unit: "event, p50",
    baseline: "a bare WebSocket",
    target: Target::Times(1.3),
};
pub(crate) const REMOTE: Row = Row {
    number: 14,
    name: "event to another node",
    unit: "event, p50",
    baseline: "Redis alone",
    target: Target::Within(Duration::from_millis(15)),
};

/// Row 12: subscribers, each with a job of its own that tells something once a second.
const SUBSCRIBERS: u64 = 1_000;
const TICK: Duration = Duration::from_secs(1);
/// Row 14: so many jobs tell something five times a second.
const REMOTE_JOBS: u64 = 40;
const REMOTE_TICK: Duration = Duration::from_millis(200);
/// How often each job tells something.
const TICKS: u32 = 10;

/// Now, in microseconds; one clock for all processes of a machine.
pub(crate) fn stamp() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(now.unwrap_or_default().as_micros()).unwrap_or(u64::MAX)
}

/// How long each event took, in microseconds.
#[derive(Clone, Default)]
struct Delays(Arc<Mutex<Vec<u64>>>);

impl Delays {
    fn note(&self, stamped: u64) {
        let delay = stamp().saturating_sub(stamped);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(delay);
    }

    /// How many there were, the middle, and all but a hundredth.
    fn told(&self) -> (usize, Duration, Duration) {
        let mut all = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        all.sort_unstable();
        let at = |part: usize| {
            let us = all.get(all.len() * part / 100).copied().unwrap_or(0);
            Duration::from_micros(us)
        };
        (all.len(), at(50), at(99))
    }
}

/// The stamp in a frame that has one.
fn stamped(frame: &str) -> Option<u64> {
    let (_, rest) = frame.split_once("\"message\":\"@")?;
    rest.split('"').next()?.parse().ok()
}

/// Jobs that each have a subscriber and tell something now and then; how many stamps were told.
async fn follow(
    port: u16,
    token: &'static str,
    jobs: u64,
    tick: Duration,
    delays: &Delays,
) -> anyhow::Result<u64> {
    let work = Work {
        looks: TICKS,
        every_ms: u32::try_from(tick.as_millis())?,
        tell: true,
        ..QUICK
    };
    let heard = Arc::new(AtomicU64::new(0));
    let mut all = JoinSet::new();
    let mut connection = Connection::open(port).await?;
    for _ in 0..jobs {
        let job = begin(&mut connection, work).await?;
        let follow = format!("subscription {{ jobEvents(jobId: \"{job}\") {{ type message }} }}");
        let (delays, heard) = (delays.clone(), Arc::clone(&heard));
        all.spawn(async move {
            let mut subscription = Subscription::open(port, token, &follow).await?;
            // The first one may have been told before anybody listened.
            let mut listening = false;
            loop {
                let frame = subscription.hear().await?;
                if let Some(stamp) = stamped(&frame) {
                    heard.fetch_add(1, Ordering::Relaxed);
                    if std::mem::replace(&mut listening, true) {
                        delays.note(stamp);
                    }
                }
                if frame.contains("JOB_SUCCEEDED") {
                    return anyhow::Ok(());
                }
            }
        });
    }
    while let Some(done) = all.join_next().await {
        done??;
    }
    let heard = heard.load(Ordering::Relaxed);
    let wanted = jobs * u64::from(TICKS);
    anyhow::ensure!(heard == wanted, "{heard} of {wanted} events were heard");
    Ok(heard)
}

fn measured(row: Row, own: &Delays, base: &Delays) -> Measured {
    let (count, middle, most) = own.told();
    let (base_count, base_middle, base_most) = base.told();
    let figure = |time| Figure {
        amount: Amount::Time(time),
        cpu: None,
    };
    Measured {
        row,
        baseline: figure(base_middle),
        subject: figure(middle),
        times: middle.as_secs_f64() / base_middle.as_secs_f64().max(f64::MIN_POSITIVE),
        notes: vec![format!(
            "{count} events, p99 {most:.1?}, beside {base_count} with p99 {base_most:.1?}; none is lost"
        )],
    }
}

pub(crate) async fn local(plan: &Plan, backend: Backend, guest: &Path) -> anyhow::Result<Measured> {
    let jobs = plan.units(SUBSCRIBERS);
    let base = Delays::default();
    let (process, port) = crowd::start_bare()?;
    let mut all = JoinSet::new();
    for _ in 0..jobs {
        let mut subscription = Subscription::open(port, "", FOLLOW_TICKS).await?;
        let base = base.clone();
        all.spawn(async move {
            for _ in 0..TICKS {
                let frame = subscription.hear().await?;
                base.note(stamped(&frame).unwrap_or_default());
            }
            anyhow::Ok(())
        });
    }
    crowd::tick(port, u64::from(TICKS) * jobs).await?;
    while let Some(done) = all.join_next().await {
        done??;
    }
    drop(process);
    let vendor = Arc::new(Vendor::start()?);
    let server = Server::start(backend, guest, vendor).await?;
    let own = Delays::default();
    follow(server.port, server.token(), jobs, TICK, &own).await?;
    Ok(measured(LOCAL, &own, &base))
}

pub(crate) async fn remote(plan: &Plan, guest: &Path) -> anyhow::Result<Measured> {
    let jobs = plan.units(REMOTE_JOBS);
    let vendor = Arc::new(Vendor::start()?);
    let redis = Redis::start()?;
    let base = Delays::default();
    let client = redis::Client::open(redis.url())?;
    let mut hear = client.get_async_pubsub().await?;
    hear.subscribe("bench").await?;
    let mut tell = client.get_multiplexed_async_connection().await?;
    let events = jobs * u64::from(TICKS);
    let telling = tokio::spawn(async move {
        let mut tick = tokio::time::interval(Duration::from_millis(5));
        for _ in 0..events {
            tick.tick().await;
            let _: () = (redis::cmd("PUBLISH").arg("bench").arg(stamp()))
                .query_async(&mut tell)
                .await?;
        }
        anyhow::Ok(())
    });
    let mut heard = hear.on_message();
    for _ in 0..events {
        let message = heard.next().await;
        let stamp: String = message
            .ok_or_else(|| anyhow::anyhow!("Redis hangs up"))?
            .get_payload()?;
        base.note(stamp.parse()?);
    }
    telling.await??;
    drop(heard);
    let cluster = Cluster::start(guest, vendor, redis).await?;
    let own = Delays::default();
    follow(cluster.port(), cluster.token(), jobs, REMOTE_TICK, &own).await?;
    Ok(measured(REMOTE, &own, &base))
}
