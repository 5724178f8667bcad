//! The vendors' places, shared by all nodes.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use genvid::{
    adapters::redis::Redis,
    ids::{StepId, UserId},
    jobs::remote::Nudge,
    providers::{Gate, Slot},
};
use genvid_testing as servers;
use tokio::{sync::mpsc, task::JoinHandle};

use crate::support::{PATIENCE, PLACE_LIFE, places, redis};

const VENDOR: &str = "vendor";

/// A worker's gate, with what the worker does about it.
struct Worker {
    gate: Gate<StepId>,
    went: mpsc::UnboundedReceiver<(StepId, Slot)>,
    redis: Option<Redis>,
    sweep: Option<JoinHandle<()>>,
}

impl Worker {
    fn alone(limit: usize) -> Self {
        let (sender, went) = mpsc::unbounded_channel();
        let gate = Gate::new(limit, move |step, slot| {
            let _ = sender.send((step, slot));
        });
        Self {
            gate,
            went,
            redis: None,
            sweep: None,
        }
    }

    fn over(server: &servers::Redis, limit: usize) -> Self {
        let (redis, places, mut inbox) = places(server);
        let (sender, went) = mpsc::unbounded_channel();
        let gate = Gate::shared(limit, VENDOR, places, move |step, slot| {
            let _ = sender.send((step, slot));
        });
        let looked = gate.clone();
        let sweep = tokio::spawn(async move {
            let mut sweep = tokio::time::interval(Duration::from_secs(2));
            loop {
                tokio::select! {
                    _ = sweep.tick() => looked.look(),
                    nudge = inbox.recv() => match nudge {
                        Some(Nudge::Room) => looked.look(),
                        Some(_) => {}
                        None => return,
                    }
                }
            }
        });
        Self {
            gate,
            went,
            redis: Some(redis),
            sweep: Some(sweep),
        }
    }

    fn enter(&self, user: UserId) -> StepId {
        let step = StepId::generate();
        self.gate.enter(user, 1, step, step);
        step
    }

    async fn go(&mut self) -> (StepId, Slot) {
        tokio::time::timeout(PATIENCE, self.went.recv())
            .await
            .expect("in time")
            .expect("the gate is there")
    }

    /// As SIGKILL: nothing is given back, nothing is kept alive.
    fn kill(mut self) -> Vec<Slot> {
        drop(self.redis.take());
        let mut slots = Vec::new();
        while let Ok((_, slot)) = self.went.try_recv() {
            slots.push(slot);
        }
        slots
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Some(sweep) = &self.sweep {
            sweep.abort();
        }
    }
}

/// How many are at the vendor now, and were at most.
#[derive(Default)]
struct Vendor {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Vendor {
    /// Lets `count` tasks of a worker take their time each.
    async fn serve(self: &Arc<Self>, worker: &mut Worker, count: usize, time: Duration) {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..count {
            let (_, slot) = worker.go().await;
            let vendor = Arc::clone(self);
            tasks.spawn(async move {
                let now = vendor.now.fetch_add(1, Ordering::SeqCst) + 1;
                vendor.most.fetch_max(now, Ordering::SeqCst);
                tokio::time::sleep(time).await;
                vendor.now.fetch_sub(1, Ordering::SeqCst);
                drop(slot);
            });
        }
        tasks.join_all().await;
    }

    fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }
}

async fn all_are_served_within_the_limit(workers: Vec<Worker>, limit: usize) {
    let vendor = Arc::new(Vendor::default());
    let users = [UserId::generate(), UserId::generate()];
    let count = 30;
    let mut tasks = tokio::task::JoinSet::new();
    for mut worker in workers {
        for number in 0..count {
            worker.enter(users[number % users.len()]);
        }
        let vendor = Arc::clone(&vendor);
        tasks.spawn(async move {
            vendor
                .serve(&mut worker, count, Duration::from_millis(20))
                .await;
        });
    }
    tasks.join_all().await;
    assert_eq!(vendor.most(), limit, "all of them, and never more");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_node_keeps_the_limit() {
    all_are_served_within_the_limit(vec![Worker::alone(3)], 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_keep_the_limit_together() {
    let server = redis().await;
    let workers = (0..3).map(|_| Worker::over(&server, 4)).collect();
    all_are_served_within_the_limit(workers, 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn users_take_turns_on_each_node() {
    let server = redis().await;
    for mut worker in [Worker::alone(1), Worker::over(&server, 1)] {
        let (busy, other) = (UserId::generate(), UserId::generate());
        let first = worker.enter(busy);
        let (went, slot) = worker.go().await;
        assert_eq!(went, first);
        let [second, third, fourth] = [(); 3].map(|()| worker.enter(busy));
        let single = worker.enter(other);
        drop(slot);
        let mut order = Vec::new();
        for _ in 0..4 {
            let (step, slot) = worker.go().await;
            order.push(step);
            drop(slot);
        }
        assert_eq!(order, [single, second, third, fourth]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_node_leaves_the_others_their_turn() {
    let server = redis().await;
    let mut busy = Worker::over(&server, 2);
    let user = UserId::generate();
    for _ in 0..400 {
        busy.enter(user);
    }
    let vendor = Arc::new(Vendor::default());
    let time = Duration::from_millis(40);
    let served = Arc::clone(&vendor);
    let task = tokio::spawn(async move { served.serve(&mut busy, 400, time).await });
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut other = Worker::over(&server, 2);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let began = Instant::now();
    other.enter(UserId::generate());
    let (_, slot) = other.go().await;
    let waited = began.elapsed();
    // All those of the busy node would take eight seconds.
    assert!(waited < Duration::from_millis(1_500), "{waited:?}");
    drop(slot);
    task.await.expect("served");
    assert_eq!(vendor.most(), 2);
}

/// The same behind somebody of weight 4, and of both who wait the heavy one has four turns for
/// one.
#[tokio::test(flavor = "multi_thread")]
async fn weights_are_shares_over_all_nodes() {
    for nodes in [1, 3] {
        let server = redis().await;
        let (heavy, light) = (UserId::generate(), UserId::generate());
        let (sender, mut served) = mpsc::unbounded_channel();
        let (mut gates, mut of_light) = (Vec::new(), HashSet::new());
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..nodes {
            let mut worker = Worker::over(&server, 1);
            for _ in 0..60 {
                let step = StepId::generate();
                worker.gate.enter(heavy, 4, step, step);
                of_light.insert(worker.enter(light));
            }
            gates.push(worker.gate.clone());
            let sender = sender.clone();
            tasks.spawn(async move {
                while let Some((step, slot)) = worker.went.recv().await {
                    let _ = sender.send(step);
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    drop(slot);
                }
            });
        }
        let mut next = async || {
            tokio::time::timeout(PATIENCE, served.recv())
                .await
                .expect("in time")
                .expect("somebody goes")
        };
        let mut light = 0;
        for _ in 0..50 {
            light += usize::from(of_light.contains(&next().await));
        }
        // Nodes meet one after the other at the beginning.
        assert!(
            (8..=14).contains(&light),
            "{light} of 50, with {nodes} nodes"
        );
        let single = StepId::generate();
        gates[0].enter(UserId::generate(), 1, single, single);
        let mut before = 0;
        while next().await != single {
            before += 1;
        }
        // One that was on its way, and of the bound: all weights together, and one.
        assert!(before <= 1 + (4 + 1 + 1) + 1, "{before} went before it");
        tasks.abort_all();
    }
}

/// However many one user has queued at all nodes, another's single step gets the next place
/// that comes free.
#[tokio::test(flavor = "multi_thread")]
async fn a_single_step_goes_next_on_any_node() {
    for (nodes, limit) in [(1, 1), (3, 1), (3, 2)] {
        let server = redis().await;
        let busy = UserId::generate();
        let (sender, mut served) = mpsc::unbounded_channel();
        let mut gates = Vec::new();
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..nodes {
            let mut worker = Worker::over(&server, limit);
            for _ in 0..60 {
                worker.enter(busy);
            }
            gates.push(worker.gate.clone());
            let sender = sender.clone();
            tasks.spawn(async move {
                while let Some((step, slot)) = worker.went.recv().await {
                    let _ = sender.send(step);
                    tokio::spawn(async move {
                        tokio::time::sleep(Duration::from_millis(30)).await;
                        drop(slot);
                    });
                }
            });
        }
        let mut next = async || {
            tokio::time::timeout(PATIENCE, served.recv())
                .await
                .expect("in time")
                .expect("somebody goes")
        };
        for _ in 0..7 {
            next().await;
        }
        let single = StepId::generate();
        gates[0].enter(UserId::generate(), 1, single, single);
        let mut before = 0;
        while next().await != single {
            before += 1;
        }
        // What was on its way when it came may come before it.
        assert!(
            before <= 2 * limit,
            "{before} went before it, with {nodes} nodes and {limit} places"
        );
        drop(gates);
        tasks.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn places_of_a_killed_node_end_unless_taken_over() {
    let server = redis().await;
    let mut dead = Worker::over(&server, 2);
    let user = UserId::generate();
    let steps = [dead.enter(user), dead.enter(user)];
    let mut slots = vec![dead.go().await.1, dead.go().await.1];
    let mut heir = Worker::over(&server, 2);
    heir.enter(user);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(heir.went.try_recv().is_err(), "both places are taken");
    slots.extend(dead.kill());

    // The heir goes on with one of the two; the place of the other ends by itself.
    let taken_over = heir.gate.occupy(steps[0]);
    let killed = Instant::now();
    let (_, third) = heir.go().await;
    assert!(killed.elapsed() >= PLACE_LIFE - Duration::from_millis(1_600));
    heir.enter(user);
    tokio::time::sleep(PLACE_LIFE + Duration::from_secs(1)).await;
    assert!(
        heir.went.try_recv().is_err(),
        "what was taken over is kept alive"
    );
    drop(taken_over);
    let fourth = heir.go().await;
    drop((third, fourth, slots));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_node_leaves_what_is_at_the_vendor() {
    let server = redis().await;
    let mut old = Worker::over(&server, 2);
    let user = UserId::generate();
    let step = old.enter(user);
    old.enter(user);
    let (first, slot) = old.go().await;
    assert_eq!(first, step);
    let (_, waiting) = old.go().await;
    slot.leave();
    drop(waiting);
    old.redis.take().expect("it has one").close().await;

    let mut new = Worker::over(&server, 2);
    new.enter(user);
    let (_, taken) = new.go().await;
    new.enter(user);
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(new.went.try_recv().is_err(), "one place was left");
    let over = new.gate.occupy(step);
    drop(over);
    let began = Instant::now();
    let next = new.go().await;
    assert!(began.elapsed() < Duration::from_secs(1));
    drop((taken, next));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_holds_while_redis_forgets_everything() {
    let mut server = redis().await;
    let vendor = Arc::new(Vendor::default());
    let user = UserId::generate();
    let mut tasks = tokio::task::JoinSet::new();
    let (limit, count) = (4, 60);
    for _ in 0..3 {
        let mut worker = Worker::over(&server, limit);
        for _ in 0..count {
            worker.enter(user);
        }
        let vendor = Arc::clone(&vendor);
        tasks.spawn(async move {
            // Longer than it takes to get a place, so that forgotten ones would show.
            vendor
                .serve(&mut worker, count, Duration::from_millis(100))
                .await;
        });
    }
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(1_900)).await;
        server.ask("FLUSHALL").expect("emptied");
        tokio::time::sleep(Duration::from_millis(6_000)).await;
    }
    assert!(vendor.most() <= limit, "{}", vendor.most());
    // Away and back, empty: each keeps to its share meanwhile, which is one of four here.
    server.stop();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    server.start_again().expect("started again");
    tokio::time::timeout(Duration::from_secs(60), tasks.join_all())
        .await
        .expect("all are served");
    assert!(vendor.most() < 2 * limit, "{}", vendor.most());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_a_node_keeps_to_its_share() {
    let mut server = redis().await;
    let mut nodes = [Worker::over(&server, 6), Worker::over(&server, 6)];
    let user = UserId::generate();
    // Both are known to each other before Redis goes.
    for node in &mut nodes {
        node.enter(user);
        drop(node.go().await);
    }
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    server.stop();
    tokio::time::sleep(Duration::from_millis(500)).await;
    for node in &mut nodes {
        for _ in 0..10 {
            node.enter(user);
        }
        let slots = [node.go().await, node.go().await, node.go().await];
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(node.went.try_recv().is_err(), "three are its share of six");
        drop(slots);
        let again = node.go().await;
        drop(again);
    }
    // One that never saw another node takes one at a time.
    let mut stranger = Worker::over(&server, 6);
    stranger.enter(user);
    stranger.enter(user);
    let first = stranger.go().await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(stranger.went.try_recv().is_err());
    drop(first);
    drop(stranger.go().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_withdraws_is_not_sent_on_and_holds_nobody_up() {
    let server = redis().await;
    let mut one = Worker::over(&server, 1);
    let mut other = Worker::over(&server, 1);
    let user = UserId::generate();
    one.enter(user);
    let (_, slot) = one.go().await;
    let gone = other.enter(user);
    let stays = one.enter(user);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(other.gate.withdraw(|step| *step == gone), Some(gone));
    tokio::time::sleep(Duration::from_millis(100)).await;
    let began = Instant::now();
    drop(slot);
    let (next, slot) = one.go().await;
    assert_eq!(next, stays);
    assert!(began.elapsed() < Duration::from_secs(1), "nobody is ahead");
    assert!(other.went.try_recv().is_err());
    drop(slot);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_limit_is_shared_too() {
    let server = redis().await;
    let mut here = Worker::over(&server, 1);
    let mut there = Worker::over(&server, 1);
    let user = UserId::generate();
    here.enter(user);
    let (_, first) = here.go().await;
    let waiting = [here.enter(user), there.enter(user)];
    for worker in [&here, &there] {
        worker.gate.set_limit(3);
    }
    let (one, _slot) = here.go().await;
    let (other, _slot) = there.go().await;
    assert_eq!([one, other], waiting, "whoever waited goes at once");
    drop(first);
}
