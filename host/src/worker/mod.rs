//! The worker: an edge like GraphQL is. It claims due steps, keeps those that wait as timers
//! in memory, renews all its leases with one statement, and hands each step that is due to
//! `jobs::advance`.
//!
//! A step that waits is a small struct in a map: no task, no connection, no plugin instance.

mod lanes;

use std::{
    collections::{BTreeMap, HashMap},
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::FutureExt;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, MissedTickBehavior},
};

use crate::{
    adapters::sql,
    ids::{JobId, NodeId},
    jobs::{
        advance::{Advance, Held, Next},
        lease::Leases,
        model::{StepKind, StepStatus},
        remote::Nudge,
        store::{Bench, Claimed, Fence, Rota},
    },
    providers::{Gate, Places, Slot},
    time::{self, Timestamp},
};

use lanes::Lanes;

/// Steps that are claimed at a time.
const CLAIM: u32 = 256;
/// Steps whose calls go on at a time; polls are apart.
const ACTIVE: usize = 128;
/// How often the table is looked at, whether or not somebody called.
const SWEEP: Duration = Duration::from_secs(2);
/// How long a step is left alone after this program broke down over it: it may do so again.
const AFTER_PANIC: Duration = Duration::from_secs(5);

/// How the worker is doing, for health checks and metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Gauge {
    /// Steps that wait for their time.
    pub waiting: usize,
    /// Steps that are worked on.
    pub active: usize,
    /// Steps that wait for this node's own means.
    pub queued: usize,
}

enum Message {
    /// A step comes back from a turn at this bench.
    Back(Option<Bench>, Next),
    /// A step comes back from a poll that goes on.
    Seen(Next),
    /// A poll is over.
    Polled,
    /// A turn or a poll with steps of these jobs broke down.
    Broke(During, Vec<JobId>),
    /// Leases of lost steps that could not be handed back.
    StillLost(Vec<JobId>),
    /// Leases that could not be handed back.
    StillHeld(Vec<Fence>),
    /// A step got its slot.
    Go(Box<Held>, Slot),
    /// Steps were claimed, by a statement that was begun at that time.
    Claimed(std::time::Instant, Result<Vec<Claimed>, sql::Error>),
    /// Leases were renewed, likewise; these jobs were asked to stop.
    Renewed(std::time::Instant, Result<Vec<JobId>, sql::Error>),
}

/// Whose tasks are asked for in one call: a provider, the digest of its plugin, and whether
/// there may be more than one.
type Together = (Arc<str>, Arc<str>, bool);

/// What broke down.
#[derive(Clone, Copy)]
enum During {
    Turn(Option<Bench>),
    Poll,
}

/// Moves jobs on until it is told to stop.
pub struct Worker {
    advance: Arc<Advance>,
    node: NodeId,
    nudges: mpsc::UnboundedReceiver<Nudge>,
    messages: mpsc::UnboundedReceiver<Message>,
    back: mpsc::UnboundedSender<Message>,
    /// Steps by the time at which to look at them; the number keeps equal times apart.
    timers: BTreeMap<(Timestamp, u64), Box<Held>>,
    by_job: HashMap<JobId, (Timestamp, u64)>,
    counter: u64,
    lanes: Lanes,
    polls: usize,
    /// A claim is on its way.
    claiming: bool,
    /// Whose turn it is among those who wait to be claimed.
    rota: Rota,
    gates: HashMap<String, Gate<Box<Held>>>,
    places: Option<Arc<dyn Places>>,
    /// Jobs whose step this worker lost sight of and still has the lease of.
    broken: Vec<JobId>,
    /// What this worker gave up and may still have the lease of.
    given_up: Vec<Fence>,
    /// How long leases are sure to last; nothing where nobody else could take a step.
    leases: Option<Leases>,
    gauge: watch::Sender<Gauge>,
}

impl Worker {
    /// A worker of this node. With `places` it shares the vendors' slots with other nodes;
    /// then this must be called within a tokio runtime.
    #[must_use]
    pub fn new(
        advance: Advance,
        node: NodeId,
        nudges: mpsc::UnboundedReceiver<Nudge>,
        places: Option<Arc<dyn Places>>,
    ) -> Self {
        let (back, messages) = mpsc::unbounded_channel();
        let lanes = Lanes::new(
            ACTIVE,
            advance.settings.fetches,
            advance.settings.compositions,
        );
        let leases = (!advance.database.is_embedded()).then(|| Leases::new(advance.settings.lease));
        let mut worker = Self {
            advance: Arc::new(advance),
            node,
            nudges,
            messages,
            back,
            timers: BTreeMap::new(),
            by_job: HashMap::new(),
            counter: 0,
            lanes,
            polls: 0,
            claiming: false,
            rota: Rota::default(),
            gates: HashMap::new(),
            places,
            broken: Vec::new(),
            given_up: Vec::new(),
            leases,
            gauge: watch::channel(Gauge::default()).0,
        };
        worker.fit_gates();
        worker
    }

    /// Makes the gates fit the providers as they are now. Nobody who waits is lost: where
    /// nothing new may begin any more, all look for another way.
    fn fit_gates(&mut self) {
        let snapshot = self.advance.registry.snapshot();
        for provider in &snapshot.providers {
            let limit = provider.concurrency as usize;
            match self.gates.get(provider.id()) {
                Some(gate) => gate.set_limit(limit),
                None => {
                    let gate = self.new_gate(provider.id(), limit);
                    self.gates.insert(provider.id().to_owned(), gate);
                }
            }
        }
        for (id, gate) in &self.gates {
            let open = snapshot
                .find(id)
                .is_some_and(|provider| provider.disabled.is_none());
            if !open {
                gate.drain()
                    .into_iter()
                    .for_each(|held| self.lanes.push(held));
            }
        }
    }

    fn new_gate(&self, provider: &str, limit: usize) -> Gate<Box<Held>> {
        let back = self.back.clone();
        let go = move |held, slot| {
            // Fails only while the worker itself goes away, and the lease with it.
            let _ = back.send(Message::Go(held, slot));
        };
        match &self.places {
            Some(places) => Gate::shared(limit, provider, Arc::clone(places), go),
            None => Gate::new(limit, go),
        }
    }

    /// How it is doing, as it changes.
    #[must_use]
    pub fn gauge(&self) -> watch::Receiver<Gauge> {
        self.gauge.subscribe()
    }

    /// Works until `stop` turns true; then finishes what is in flight within the drain time
    /// and hands every lease back.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let lease = self.advance.settings.lease;
        let mut heartbeat = tokio::time::interval(lease / 3);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut sweep = tokio::time::interval(SWEEP);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut providers = self.advance.registry.changes();
        let mut claim = true;
        while !*stop.borrow() {
            if claim && !self.claiming && self.lanes.has_room() {
                claim = false;
                self.claim();
            }
            self.start_ready();
            self.start_due();
            self.gauge.send_if_modified(|gauge| {
                let now = Gauge {
                    waiting: self.timers.len(),
                    active: self.lanes.active(),
                    queued: self.lanes.queued(),
                };
                std::mem::replace(gauge, now) != now
            });
            let wake = self.next_timer();
            tokio::select! {
                biased;
                _ = stop.changed() => {}
                Some(message) = self.messages.recv() => {
                    claim |= self.take(message);
                    while let Ok(message) = self.messages.try_recv() {
                        claim |= self.take(message);
                    }
                }
                Some(nudge) = self.nudges.recv() => match nudge {
                    Nudge::Work => claim = true,
                    Nudge::Cancel(job) => self.hurry(job, true),
                    Nudge::Look(job) => self.hurry(job, false),
                    Nudge::Room => self.look_for_room(),
                    // The registry tells once it has changed; circuits are looked at in turns.
                    Nudge::Plugins | Nudge::Health => {}
                },
                Ok(()) = providers.changed() => self.fit_gates(),
                _ = heartbeat.tick() => self.renew(lease),
                _ = sweep.tick() => {
                    claim = true;
                    self.withdraw_late();
                    self.look_for_room();
                    self.let_go();
                    self.hand_back();
                }
                () = tokio::time::sleep_until(wake) => {}
            }
        }
        self.stop().await;
    }

    /// Claims what is due. The database is waited for elsewhere: a poll must not be late
    /// because a disk is slow.
    fn claim(&mut self) {
        self.claiming = true;
        let lease = self.advance.settings.lease;
        let (advance, back, node) = (Arc::clone(&self.advance), self.back.clone(), self.node);
        let busy = self.lanes.busy();
        let rota = self.rota.clone();
        tokio::spawn(async move {
            let began = std::time::Instant::now();
            let claimed = advance
                .database
                .claim_steps(node, lease, CLAIM, &busy, &rota);
            // A claim that never came back would be the last one.
            let claimed = AssertUnwindSafe(claimed)
                .catch_unwind()
                .await
                .unwrap_or(Err(sql::Error::Closed));
            let _ = back.send(Message::Claimed(began, claimed));
        });
    }

    fn renew(&self, lease: Duration) {
        let (advance, back, node) = (Arc::clone(&self.advance), self.back.clone(), self.node);
        tokio::spawn(async move {
            let began = std::time::Instant::now();
            let renewed = advance.database.renew_leases(node, lease).await;
            let _ = back.send(Message::Renewed(began, renewed));
        });
    }

    /// Looks at a job's step now instead of later.
    fn hurry(&mut self, job: JobId, cancel: bool) {
        let waiting = match self.by_job.remove(&job) {
            Some(key) => self.timers.remove(&key),
            None if cancel => self
                .gates
                .values()
                .find_map(|gate| gate.withdraw(|held| held.step.job == job))
                .or_else(|| self.lanes.withdraw(|held| held.step.job == job)),
            None => None,
        };
        if let Some(mut held) = waiting {
            if cancel {
                held.cancel = true;
                held.watch = None;
                self.lanes.push_front(held);
            } else {
                self.wait(time::now(), held);
            }
        }
    }

    /// Who waits for a slot has no timer; a deadline ends that wait too.
    fn withdraw_late(&mut self) {
        let now = time::now();
        for gate in self.gates.values() {
            while let Some(held) = gate.withdraw(|held| held.deadline <= now) {
                self.lanes.push(held);
            }
        }
        self.lanes.hurry_late(now);
    }

    /// True when there may be more to claim.
    fn take(&mut self, message: Message) -> bool {
        match message {
            Message::Back(bench, next) => {
                self.lanes.done(bench);
                self.place(next);
                return self.lanes.wants_more(bench);
            }
            Message::Seen(next) => self.place(next),
            Message::Polled => self.polls -= 1,
            Message::Broke(during, jobs) => {
                match during {
                    During::Turn(bench) => self.lanes.done(bench),
                    During::Poll => self.polls -= 1,
                }
                tracing::error!(
                    ?jobs,
                    "this program broke down over these jobs; they go on from their rows"
                );
                self.broken.extend(jobs);
                self.let_go();
            }
            Message::StillLost(jobs) => self.broken.extend(jobs),
            Message::StillHeld(fences) => self.given_up.extend(fences),
            Message::Go(mut held, slot) => {
                held.slot = Some(slot);
                self.lanes.push(held);
            }
            Message::Claimed(began, Ok(claimed)) => {
                self.claiming = false;
                let more = claimed.len() == CLAIM as usize;
                claimed.iter().for_each(|claimed| self.inherit(claimed));
                let lease = self.leases.as_ref().map(|leases| leases.claimed(began));
                for step in claimed {
                    let weight = self.advance.settings.plans.of(&step.plan).weight;
                    let mut held = Held::new(step, lease.clone());
                    held.weight = weight;
                    self.lanes.push(Box::new(held));
                }
                self.leave_surplus();
                return more;
            }
            Message::Claimed(_, Err(error)) => {
                self.claiming = false;
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "no step could be claimed"
                );
            }
            Message::Renewed(began, Ok(canceled)) => {
                if let Some(leases) = &self.leases {
                    leases.renewed(began);
                }
                for job in canceled {
                    self.hurry(job, true);
                }
            }
            Message::Renewed(_, Err(error)) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "leases could not be renewed"
                );
            }
        }
        false
    }

    /// A dead node's step may still have the place at its vendor that it had there. Whoever is
    /// at the vendor takes that over once it is followed; of the others nobody would give it
    /// back before it ends by itself.
    fn inherit(&self, claimed: &Claimed) {
        let Claimed { step, fence, .. } = claimed;
        if fence.epoch > 1
            && step.status != StepStatus::Running
            && let Some(gate) = step.provider.as_ref().and_then(|id| self.gates.get(id))
        {
            drop(gate.occupy(step.id));
        }
    }

    fn place(&mut self, next: Next) {
        match next {
            Next::At(at, held) => self.wait(at, held),
            Next::Slot(provider, mut held) => {
                if !self.gates.contains_key(&provider) {
                    // It was installed in this instant.
                    self.fit_gates();
                }
                match self.gates.get(&provider) {
                    Some(gate) => {
                        if !gate.has_room() {
                            held.forget();
                        }
                        gate.enter(held.owner, held.weight, held.step.id, held);
                    }
                    // It went again; the next turn looks for another one.
                    None => self.lanes.push(held),
                }
            }
            Next::Bench(held) => {
                self.lanes.push(held);
                self.leave_surplus();
            }
            Next::Gone => {}
        }
    }

    fn wait(&mut self, at: Timestamp, mut held: Box<Held>) {
        if let Some(watch) = &held.watch
            && held.slot.is_none()
            && let Some(gate) = self.gates.get(&*watch.provider)
        {
            // Found at the vendor after a restart: it takes one of the slots.
            held.slot = Some(gate.occupy(held.step.id));
        }
        // A deadline is kept to the moment, whenever the vendor would be asked next.
        let settling = held
            .watch
            .as_ref()
            .is_some_and(|watch| watch.settling.is_some());
        let at = if settling || held.deadline <= time::now() {
            at
        } else {
            at.min(held.deadline)
        };
        self.counter += 1;
        let key = (at, self.counter);
        self.by_job.insert(held.step.job, key);
        self.timers.insert(key, held);
    }

    /// Places that other nodes gave back, or lost.
    fn look_for_room(&self) {
        for gate in self.gates.values() {
            gate.look();
        }
    }

    fn next_timer(&self) -> Instant {
        let wait = self
            .timers
            .first_key_value()
            .map_or(SWEEP, |((at, _), _)| at.since(time::now()).min(SWEEP));
        Instant::now() + wait
    }

    /// Hands back the leases of steps that got lost in a panic: without that they would be
    /// renewed for as long as this process lives, and nobody would go on with them.
    fn let_go(&mut self) {
        if self.broken.is_empty() {
            return;
        }
        let jobs = std::mem::take(&mut self.broken);
        let (advance, back, node) = (Arc::clone(&self.advance), self.back.clone(), self.node);
        tokio::spawn(async move {
            let released = advance.database.let_go(node, jobs.clone(), AFTER_PANIC);
            if let Err(error) = released.await {
                still_leased(&error);
                let _ = back.send(Message::StillLost(jobs));
            }
        });
    }

    /// Gives up what this node does not begin soon; others may claim it at once.
    fn hand_back(&mut self) {
        if self.given_up.is_empty() {
            return;
        }
        let fences = std::mem::take(&mut self.given_up);
        let (advance, back) = (Arc::clone(&self.advance), self.back.clone());
        tokio::spawn(async move {
            if let Err(error) = advance.database.hand_back(fences.clone()).await {
                still_leased(&error);
                let _ = back.send(Message::StillHeld(fences));
            }
        });
    }

    /// Leaves to other nodes what this one cannot begin soon.
    fn leave_surplus(&mut self) {
        if self.advance.database.is_embedded() {
            return;
        }
        let surplus = self.lanes.surplus();
        self.given_up.extend(surplus.iter().map(|held| held.fence));
        self.hand_back();
    }

    fn start_ready(&mut self) {
        while let Some((bench, held)) = self.lanes.next() {
            let (advance, back) = (Arc::clone(&self.advance), self.back.clone());
            tokio::spawn(async move {
                let job = held.step.job;
                let turn = AssertUnwindSafe(advance.run(held)).catch_unwind().await;
                let _ = back.send(match turn {
                    Ok(next) => Message::Back(bench, next),
                    Err(_) => Message::Broke(During::Turn(bench), vec![job]),
                });
            });
        }
    }

    /// Takes what is due off the timers: tasks are asked for together, by provider; the rest
    /// gets its turn.
    fn start_due(&mut self) {
        let now = time::now();
        let mut asked: HashMap<Together, Vec<Box<Held>>> = HashMap::new();
        while let Some(entry) = self.timers.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let (key, held) = entry.remove_entry();
            if self.by_job.get(&held.step.job) == Some(&key) {
                self.by_job.remove(&held.step.job);
            }
            match &held.watch {
                Some(watch) => {
                    // Films come as links and scripts as texts. Voices are saved by the plugin
                    // itself while it is asked, into the files of one job: those are asked for
                    // one by one.
                    let together = held.step.kind != StepKind::Voice;
                    asked
                        .entry((
                            Arc::clone(&watch.provider),
                            Arc::clone(&watch.digest),
                            together,
                        ))
                        .or_default()
                        .push(held);
                }
                None => self.lanes.push(held),
            }
        }
        for ((provider, digest, together), mut all) in asked {
            let most = self
                .advance
                .registry
                .version(&provider, &digest)
                .here()
                .and_then(|provider| provider.manifest().tasks)
                .filter(|_| together)
                .map_or(1, |tasks| tasks.batch.max(1) as usize);
            while !all.is_empty() {
                let rest = all.split_off(all.len().min(most));
                let batch = std::mem::replace(&mut all, rest);
                self.polls += 1;
                let (advance, back) = (Arc::clone(&self.advance), self.back.clone());
                let (provider, digest) = (Arc::clone(&provider), Arc::clone(&digest));
                let jobs: Vec<JobId> = batch.iter().map(|held| held.step.job).collect();
                tokio::spawn(async move {
                    let jobs = Mutex::new(jobs);
                    let tell = |next| {
                        if let Next::At(_, held) = &next {
                            // Whatever breaks down now, this one is not lost.
                            let mut jobs = jobs.lock().unwrap_or_else(PoisonError::into_inner);
                            jobs.retain(|job| *job != held.step.job);
                        }
                        // Fails only while the worker itself goes away, and the lease with it.
                        let _ = back.send(Message::Seen(next));
                    };
                    let poll = advance.poll(&provider, &digest, batch, tell);
                    let poll = AssertUnwindSafe(poll).catch_unwind().await;
                    let _ = back.send(match poll {
                        Ok(()) => Message::Polled,
                        Err(_) => {
                            let lost = jobs.into_inner().unwrap_or_else(PoisonError::into_inner);
                            Message::Broke(During::Poll, lost)
                        }
                    });
                });
            }
        }
        self.start_ready();
    }

    async fn stop(mut self) {
        for gate in self.gates.values() {
            gate.drain();
        }
        for held in std::mem::take(&mut self.timers).into_values() {
            leave(held);
        }
        self.lanes.drain().for_each(leave);
        let deadline = Instant::now() + self.advance.settings.drain;
        while self.lanes.active() + self.polls > 0 || self.claiming {
            match tokio::time::timeout_at(deadline, self.messages.recv()).await {
                Ok(Some(Message::Back(bench, next))) => {
                    self.lanes.done(bench);
                    leave_next(next);
                }
                Ok(Some(Message::Seen(next))) => leave_next(next),
                Ok(Some(Message::Polled)) => self.polls -= 1,
                Ok(Some(Message::Broke(During::Turn(bench), _))) => self.lanes.done(bench),
                Ok(Some(Message::Broke(During::Poll, _))) => self.polls -= 1,
                Ok(Some(Message::Claimed(..))) => self.claiming = false,
                // All leases are handed back below.
                Ok(Some(
                    Message::Go(..)
                    | Message::Renewed(..)
                    | Message::StillLost(_)
                    | Message::StillHeld(_),
                )) => {}
                Ok(None) | Err(_) => break,
            }
        }
        let active = self.lanes.active();
        if active > 0 {
            tracing::warn!(
                active,
                "calls in flight were left; the next start looks them up"
            );
        }
        match self.advance.database.release_leases(self.node).await {
            Ok(count) => tracing::info!(count, "leases handed back"),
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "leases run out by themselves"
                );
            }
        }
    }
}

fn still_leased(error: &sql::Error) {
    tracing::error!(
        error = error as &dyn std::error::Error,
        "leases could not be handed back; the next sweep tries again"
    );
}

fn leave_next(next: Next) {
    if let Next::At(_, held) = next {
        leave(held);
    }
}

/// A stopping worker's step whose task goes on at the vendor keeps its slot there.
fn leave(mut held: Box<Held>) {
    if held.watch.is_some()
        && let Some(slot) = held.slot.take()
    {
        slot.leave();
    }
}
