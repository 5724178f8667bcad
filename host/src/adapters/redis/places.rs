//! Places at vendors, counted over all nodes.
//!
//! A place is a member of a sorted set, by step, that lives as long as somebody keeps it
//! alive. Redis may forget everything at any time: nodes notice by its generation, and for a
//! while nobody gets a place, until every node has told again which ones it holds. While
//! Redis is away each node limits itself to its share of the limit.
//!
//! How far above a limit tasks can get: not at all while Redis answers, and neither when it
//! is away for a moment nor when it loses all its data. While it is away for longer, a node
//! that held more than its share keeps what it has, and the others fill theirs: below twice
//! the limit, or the number of nodes where that is more than the limit.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, LazyLock},
    time::Duration,
};

use async_trait::async_trait;
use redis::{RedisError, Script, aio::MultiplexedConnection};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, MissedTickBehavior},
};
use uuid::Uuid;

use super::{
    Names,
    link::Link,
    stopped,
    wire::{Body, Calls, Message},
};
use crate::{
    ids::{NodeId, StepId},
    providers::{Places, Taken, Wanted},
};

/// How often places are kept alive.
const BEAT: Duration = Duration::from_secs(1);
/// How long a node counts after its last beat.
const NODE_LIFE: Duration = Duration::from_secs(10);
/// How long nobody gets a place after Redis forgot who holds which: longer than the longest
/// wait for a new connection, a beat and an answer take together.
const AFTER_LOSS: Duration = Duration::from_secs(5);
/// The same when the first node finds nothing and remembers nothing: other nodes that do
/// remember get this long to say so.
const AFTER_START: Duration = Duration::from_millis(1_200);
/// How long Redis has to be away until a node goes on without it, and how often it looks
/// meanwhile. Most interruptions are shorter, and the first connection has to come first.
const HESITATION: Duration = Duration::from_secs(2);
const MEANWHILE: Duration = Duration::from_millis(100);
/// How long a node keeps its place in the line without asking again.
const LINE_LIFE: Duration = Duration::from_secs(5);
/// Steps that one command names.
const MOST_AT_ONCE: usize = 1_000;
/// Given back while Redis was away, to be told later; what is more ends by itself.
const MOST_OWED: usize = 10_000;

static BEAT_SCRIPT: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("scripts/beat.lua")));
static TAKE_SCRIPT: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("scripts/take.lua")));
static HOLD_SCRIPT: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("scripts/hold.lua")));
static FREE_SCRIPT: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("scripts/free.lua")));

/// What the counter needs.
pub(super) struct Parts {
    pub(super) link: Link,
    pub(super) names: Arc<Names>,
    pub(super) node: NodeId,
    /// How long a place lasts that nobody keeps alive.
    pub(super) life: Duration,
}

enum Order {
    Take {
        provider: String,
        limit: usize,
        wanted: Vec<Wanted>,
        answer: oneshot::Sender<Taken>,
    },
    Occupy(String, StepId),
    Free(String, StepId),
    Leave(String, StepId),
}

/// Sends orders to the counter, which carries them out one after the other.
pub(super) struct SharedPlaces {
    orders: mpsc::UnboundedSender<Order>,
}

#[async_trait]
impl Places for SharedPlaces {
    async fn take(&self, provider: &str, limit: usize, wanted: &[Wanted]) -> Taken {
        let (answer, taken) = oneshot::channel();
        self.put(Order::Take {
            provider: provider.to_owned(),
            limit,
            wanted: wanted.to_vec(),
            answer,
        });
        // Without an answer the counter has stopped, and so does this node.
        taken.await.unwrap_or(Taken::Granted(Vec::new()))
    }

    fn occupy(&self, provider: &str, step: StepId) {
        self.put(Order::Occupy(provider.to_owned(), step));
    }

    fn free(&self, provider: &str, step: StepId) {
        self.put(Order::Free(provider.to_owned(), step));
    }

    fn leave(&self, provider: &str, step: StepId) {
        self.put(Order::Leave(provider.to_owned(), step));
    }
}

impl SharedPlaces {
    fn put(&self, order: Order) {
        // Fails once the counter has stopped: then the places end by themselves.
        let _ = self.orders.send(order);
    }
}

pub(super) fn channel(parts: Parts) -> (SharedPlaces, Counter) {
    let (sender, orders) = mpsc::unbounded_channel();
    let counter = Counter {
        parts,
        orders,
        generation: None,
        nodes: None,
        away: None,
        alone: false,
        held: HashMap::new(),
        owed: HashMap::new(),
    };
    (SharedPlaces { orders: sender }, counter)
}

type Steps = HashMap<String, HashSet<StepId>>;

/// Keeps this node's places.
pub(super) struct Counter {
    parts: Parts,
    orders: mpsc::UnboundedReceiver<Order>,
    /// What Redis remembers is of this generation, as far as this node knows.
    generation: Option<String>,
    /// Living nodes, when they were last counted.
    nodes: Option<usize>,
    /// Since when places could not be counted.
    away: Option<Instant>,
    /// This node goes on without others, and said so.
    alone: bool,
    held: Steps,
    /// Given back, or taken without an answer, and not known to be so in Redis.
    owed: Steps,
}

impl Counter {
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut beat = tokio::time::interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut link = self.parts.link.clone();
        loop {
            tokio::select! {
                biased;
                _ = beat.tick() => self.beat().await,
                order = self.orders.recv() => match order {
                    Some(order) => self.carry_out(order).await,
                    None => break,
                },
                () = link.changed() => self.beat().await,
                () = stopped(&mut stop) => break,
            }
        }
        self.go().await;
    }

    async fn carry_out(&mut self, order: Order) {
        match order {
            Order::Take {
                provider,
                limit,
                wanted,
                answer,
            } => {
                let taken = self.take(&provider, limit, &wanted).await;
                if let Taken::Granted(granted) = &taken {
                    let granted = granted.clone();
                    if answer.send(taken).is_ok() {
                        for step in granted {
                            self.keep(&provider, step);
                        }
                    } else {
                        self.owe(&provider, &granted);
                    }
                } else {
                    // Who asked has gone: nothing was taken.
                    let _ = answer.send(taken);
                }
            }
            Order::Occupy(provider, step) => {
                self.keep(&provider, step);
                let over = self.hold(&provider, &[step], true).await;
                self.note("count a place", over);
            }
            Order::Free(provider, step) => {
                self.drop_held(&provider, step);
                let mut steps = vec![step];
                // Those that end together are told together.
                while let Ok(order) = self.orders.try_recv() {
                    match order {
                        Order::Free(other, step) if other == provider => {
                            self.drop_held(&provider, step);
                            steps.push(step);
                        }
                        other => {
                            self.free(&provider, &steps).await;
                            Box::pin(self.carry_out(other)).await;
                            return;
                        }
                    }
                }
                self.free(&provider, &steps).await;
            }
            Order::Leave(provider, step) => self.drop_held(&provider, step),
        }
    }

    fn keep(&mut self, provider: &str, step: StepId) {
        self.held
            .entry(provider.to_owned())
            .or_default()
            .insert(step);
        if let Some(owed) = self.owed.get_mut(provider) {
            owed.remove(&step);
        }
    }

    fn drop_held(&mut self, provider: &str, step: StepId) {
        if let Some(held) = self.held.get_mut(provider) {
            held.remove(&step);
        }
    }

    fn owe(&mut self, provider: &str, steps: &[StepId]) {
        let owed = self.owed.entry(provider.to_owned()).or_default();
        if owed.len() < MOST_OWED {
            owed.extend(steps);
        }
    }

    async fn take(&mut self, provider: &str, limit: usize, wanted: &[Wanted]) -> Taken {
        if self.generation.is_none() {
            self.beat().await;
        }
        // The second time with the generation that the first time found out.
        for _ in 0..2 {
            let (Some(mut connection), Some(generation)) =
                (self.parts.link.connection(), self.generation.clone())
            else {
                break;
            };
            match self
                .ask(&mut connection, &generation, provider, limit, wanted)
                .await
            {
                Ok((-1, ..)) => self.beat().await,
                Ok((-2, wait, _)) => return Taken::Later(Duration::from_millis(wait.max(1))),
                Ok((_, _, granted)) => {
                    self.away = None;
                    let steps = wanted.iter().map(|wanted| wanted.step);
                    return Taken::Granted(
                        steps
                            .filter(|step| granted.contains(&step.to_string()))
                            .collect(),
                    );
                }
                Err(error) => {
                    self.parts.link.failed("count places", &error);
                    // Some may have been taken all the same.
                    let steps: Vec<StepId> = wanted.iter().map(|wanted| wanted.step).collect();
                    self.owe(provider, &steps);
                    break;
                }
            }
        }
        if self.away.get_or_insert_with(Instant::now).elapsed() < HESITATION {
            return Taken::Later(MEANWHILE);
        }
        let share = match self.nodes {
            Some(nodes) => (limit / nodes.max(1)).max(1),
            // How many others there are was never known.
            None => 1,
        };
        if !std::mem::replace(&mut self.alone, true) {
            tracing::warn!(
                nodes = self.nodes,
                "places at vendors are not counted together with other nodes; this one keeps to its share"
            );
        }
        Taken::Alone(share)
    }

    async fn ask(
        &self,
        connection: &mut MultiplexedConnection,
        generation: &str,
        provider: &str,
        limit: usize,
        wanted: &[Wanted],
    ) -> Result<(i64, u64, Vec<String>), RedisError> {
        let mut call = TAKE_SCRIPT.prepare_invoke();
        call.key(self.parts.names.key("state"));
        for name in ["places", "owners", "paid", "line"] {
            call.key(self.parts.names.of_provider(provider, name));
        }
        call.arg(self.parts.node.to_string())
            .arg(generation)
            .arg(limit)
            .arg(millis(self.parts.life))
            .arg(millis(LINE_LIFE));
        for Wanted { step, user, cost } in wanted {
            call.arg(step.to_string()).arg(user.to_string()).arg(*cost);
        }
        call.invoke_async(connection).await
    }

    /// Says that this node lives, and keeps its places alive.
    async fn beat(&mut self) {
        let told = self.try_beat().await;
        if self.note("take a sign of life", told) {
            self.away = None;
            if std::mem::take(&mut self.alone) {
                tracing::info!("places at vendors are counted together with other nodes again");
            }
        }
    }

    /// False when there is no connection.
    async fn try_beat(&mut self) -> Result<bool, RedisError> {
        let Some(mut connection) = self.parts.link.connection() else {
            return Ok(false);
        };
        let names = &self.parts.names;
        let fresh = Uuid::new_v4().simple().to_string();
        let (generation, wait, nodes): (String, u64, usize) = BEAT_SCRIPT
            .key(names.key("state"))
            .key(names.key("nodes"))
            .arg(self.parts.node.to_string())
            .arg(millis(NODE_LIFE))
            .arg(self.generation.as_deref().unwrap_or_default())
            .arg(&fresh)
            .arg(millis(AFTER_LOSS))
            .arg(millis(AFTER_START))
            .invoke_async(&mut connection)
            .await?;
        let forgot = self
            .generation
            .replace(generation.clone())
            .is_some_and(|known| known != generation);
        if forgot {
            tracing::warn!("Redis forgot who is at which vendor; it is being counted anew");
        }
        // After a loss the others are counted only once they have told that they are there.
        self.nodes = Some(match self.nodes {
            Some(known) if wait > 0 => known.max(nodes),
            _ => nodes,
        });
        for (provider, held) in &self.held {
            let held: Vec<StepId> = held.iter().copied().collect();
            for steps in held.chunks(MOST_AT_ONCE) {
                self.hold(provider, steps, false).await?;
            }
        }
        for (provider, owed) in std::mem::take(&mut self.owed) {
            let steps: Vec<StepId> = owed.into_iter().collect();
            for steps in steps.chunks(MOST_AT_ONCE) {
                self.free(&provider, steps).await;
            }
        }
        Ok(true)
    }

    /// False when there is no connection: the next beat does it.
    async fn hold(&self, provider: &str, steps: &[StepId], over: bool) -> Result<bool, RedisError> {
        let Some(mut connection) = self.parts.link.connection() else {
            return Ok(false);
        };
        let names = &self.parts.names;
        let mut call = HOLD_SCRIPT.prepare_invoke();
        call.key(names.of_provider(provider, "places"))
            .key(names.of_provider(provider, "owners"))
            .arg(self.parts.node.to_string())
            .arg(millis(self.parts.life))
            .arg(if over { "over" } else { "" });
        for step in steps {
            call.arg(step.to_string());
        }
        call.invoke_async::<i64>(&mut connection).await?;
        Ok(true)
    }

    async fn free(&mut self, provider: &str, steps: &[StepId]) {
        let freed = self.try_free(provider, steps).await;
        if !self.note("take a place back", freed) {
            self.owe(provider, steps);
        }
    }

    async fn try_free(&self, provider: &str, steps: &[StepId]) -> Result<bool, RedisError> {
        let Some(mut connection) = self.parts.link.connection() else {
            return Ok(false);
        };
        let names = &self.parts.names;
        let room = Calls {
            room: true,
            ..Calls::default()
        };
        let message = Message::new(self.parts.node, Body::Nudges(room))
            .encode()
            .unwrap_or_default();
        let mut call = FREE_SCRIPT.prepare_invoke();
        for name in ["places", "owners", "line"] {
            call.key(names.of_provider(provider, name));
        }
        call.arg(self.parts.node.to_string())
            .arg(&names.nudges)
            .arg(message);
        for step in steps {
            call.arg(step.to_string());
        }
        call.invoke_async::<i64>(&mut connection).await?;
        Ok(true)
    }

    /// True when it was done.
    fn note(&self, what: &'static str, outcome: Result<bool, RedisError>) -> bool {
        outcome.unwrap_or_else(|error| {
            self.parts.link.failed(what, &error);
            false
        })
    }

    /// This node stops: what it leaves stays as long as it lasts, and nobody waits for it.
    async fn go(&mut self) {
        while let Ok(order) = self.orders.try_recv() {
            self.carry_out(order).await;
        }
        let Some(mut connection) = self.parts.link.connection() else {
            return;
        };
        let gone = redis::cmd("ZREM")
            .arg(self.parts.names.key("nodes"))
            .arg(self.parts.node.to_string())
            .query_async::<()>(&mut connection)
            .await;
        if let Err(error) = gone {
            self.parts.link.failed("take leave", &error);
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
