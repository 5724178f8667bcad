//! Slots: how many tasks a vendor works on at a time for this installation.
//!
//! Who finds no slot waits here as a small struct, not as a task. Users take turns: a turn costs
//! the less, the more weight its user has, and a freed slot goes to the user who waits and has
//! paid the least since coming, and within a user to what came first. So users have turns in
//! proportion to their weights, and somebody who queues a thousand jobs does not delay another's
//! single one, whatever their weights: who comes stands where those stand whose turn it is, so
//! that it gets the next slot that is freed, after at most one for each user who waits already.
//! While somebody of weight 1 waits for another turn, each other one has at most as many as its
//! weight, and one more.
//!
//! One node counts by itself. Where several nodes share the limit, each asks `Places` for
//! those whose turn it is here, and turns are counted there, over all nodes.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use tokio::sync::Notify;

use super::{
    places::{Places, Taken, Wanted},
    turns::{Turns, cost},
};
use crate::ids::{StepId, UserId};

/// Steps that are asked for at a time.
const TOGETHER: usize = 8;
/// The slots of one provider. `W` waits for one.
pub struct Gate<W> {
    shared: Arc<Shared<W>>,
}

impl<W> Clone for Gate<W> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

struct Shared<W> {
    state: Mutex<State<W>>,
    /// Where whoever gets a slot is sent on.
    go: Box<dyn Fn(W, Slot) + Send + Sync>,
    others: Option<Others>,
}

/// The other nodes that share the limit.
struct Others {
    provider: String,
    places: Arc<dyn Places>,
    /// Somebody waits, or room was made.
    wake: Arc<Notify>,
}

impl Drop for Others {
    fn drop(&mut self) {
        // Its keeper sees that the gate is gone.
        self.wake.notify_one();
    }
}

struct State<W> {
    /// Slots that there are.
    limit: usize,
    /// Slots that this node holds.
    taken: usize,
    queues: HashMap<UserId, VecDeque<Waiting<W>>>,
    turns: Turns,
    /// Other nodes believe that somebody waits here.
    in_line: bool,
}

/// Who waits, and what its turn costs.
struct Waiting<W> {
    step: StepId,
    cost: u64,
    waiter: W,
}

impl<W> State<W> {
    fn push(&mut self, user: UserId, waiting: Waiting<W>) {
        self.turns.wait(user);
        self.queues.entry(user).or_default().push_back(waiting);
    }

    fn next(&mut self) -> Option<(StepId, W)> {
        let user = self.turns.first()?;
        self.turns.take(user, self.queues.get(&user)?.front()?.cost);
        self.remove(user, 0)
    }

    /// Takes a waiter out of its queue.
    fn remove(&mut self, user: UserId, place: usize) -> Option<(StepId, W)> {
        let queue = self.queues.get_mut(&user)?;
        let waiting = queue.remove(place);
        if queue.is_empty() {
            self.queues.remove(&user);
            self.turns.leave(user);
        }
        waiting.map(|waiting| (waiting.step, waiting.waiter))
    }

    /// Whose turn comes next, and next after that, as `next` would answer.
    fn front(&self, most: usize) -> Vec<Wanted> {
        // Nobody else can be among the first so many.
        let mut users: Vec<_> = self.turns.next(most).collect();
        let mut places = vec![0; users.len()];
        let mut front = Vec::new();
        let mut later = u64::MAX / 2;
        while front.len() < most {
            let Some(index) = (0..users.len()).min_by_key(|index| users[*index]) else {
                break;
            };
            let (paid, _, user) = users[index];
            let next = self
                .queues
                .get(&user)
                .and_then(|queue| queue.get(places[index]));
            match next {
                Some(Waiting { step, cost, .. }) => {
                    front.push(Wanted {
                        step: *step,
                        user,
                        cost: *cost,
                    });
                    places[index] += 1;
                    later += 1;
                    users[index] = (paid + cost, later, user);
                }
                None => {
                    users.swap_remove(index);
                    places.swap_remove(index);
                }
            }
        }
        front
    }

    /// The waiter of a step that was at the front, unless it withdrew. Its user's turn is over.
    fn pick(&mut self, step: StepId, user: UserId) -> Option<W> {
        let queue = self.queues.get(&user)?;
        let place = queue
            .iter()
            .take(TOGETHER)
            .position(|waiting| waiting.step == step)?;
        self.turns.take(user, queue.get(place)?.cost);
        self.remove(user, place).map(|(_, waiter)| waiter)
    }
}

/// A taken slot; dropping it frees the slot and sends the next one on.
pub struct Slot {
    give_back: Option<Box<dyn FnOnce(Fate) + Send + Sync>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Free,
    Leave,
}

impl Slot {
    /// This node stops while the vendor works on: the slot stays taken for whoever goes on
    /// with the step.
    pub fn leave(mut self) {
        if let Some(give_back) = self.give_back.take() {
            give_back(Fate::Leave);
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(give_back) = self.give_back.take() {
            give_back(Fate::Free);
        }
    }
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Slot")
    }
}

impl<W: Send + 'static> Gate<W> {
    /// With `limit` slots of this node's own; `go` gets each waiter whose turn has come.
    #[must_use]
    pub fn new(limit: usize, go: impl Fn(W, Slot) + Send + Sync + 'static) -> Self {
        Self::with(limit, go, None)
    }

    /// With `limit` slots that all nodes share. Must be called within a tokio runtime.
    #[must_use]
    pub fn shared(
        limit: usize,
        provider: &str,
        places: Arc<dyn Places>,
        go: impl Fn(W, Slot) + Send + Sync + 'static,
    ) -> Self {
        let wake = Arc::new(Notify::new());
        let others = Others {
            provider: provider.to_owned(),
            places,
            wake: Arc::clone(&wake),
        };
        let gate = Self::with(limit, go, Some(others));
        tokio::spawn(keep(Arc::downgrade(&gate.shared), wake));
        gate
    }

    fn with(
        limit: usize,
        go: impl Fn(W, Slot) + Send + Sync + 'static,
        others: Option<Others>,
    ) -> Self {
        let state = State {
            limit,
            taken: 0,
            queues: HashMap::new(),
            turns: Turns::default(),
            in_line: false,
        };
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                go: Box::new(go),
                others,
            }),
        }
    }

    /// Sends `waiter` on with a slot now, or when its turn comes: a user has as many turns as
    /// `weight` says for one of a user of weight 1. A step waits once at most.
    pub fn enter(&self, user: UserId, weight: u32, step: StepId, waiter: W) {
        let cost = cost(weight);
        let waiting = Waiting { step, cost, waiter };
        let waiter = {
            let mut state = self.lock();
            if let Some(others) = &self.shared.others {
                state.push(user, waiting);
                others.wake.notify_one();
                return;
            }
            if state.taken >= state.limit {
                state.push(user, waiting);
                return;
            }
            state.taken += 1;
            state.turns.take(user, cost);
            waiting.waiter
        };
        (self.shared.go)(waiter, self.slot(step));
    }

    /// Whether this node itself sees a slot for whoever comes now.
    #[must_use]
    pub fn has_room(&self) -> bool {
        let state = self.lock();
        state.taken < state.limit
    }

    /// A slot for work that is at the vendor already, whatever the limit says.
    #[must_use]
    pub fn occupy(&self, step: StepId) -> Slot {
        self.lock().taken += 1;
        if let Some(others) = &self.shared.others {
            others.places.occupy(&others.provider, step);
        }
        self.slot(step)
    }

    /// Another number of slots from now on. With more of them waiters go on at once; with
    /// fewer, those who have one keep it.
    pub fn set_limit(&self, limit: usize) {
        let mut going = Vec::new();
        {
            let mut state = self.lock();
            state.limit = limit;
            while self.shared.others.is_none() && state.taken < state.limit {
                let Some(next) = state.next() else { break };
                state.taken += 1;
                going.push(next);
            }
        }
        for (step, waiter) in going {
            (self.shared.go)(waiter, self.slot(step));
        }
        self.look();
    }

    /// There may be room that nobody told of.
    pub fn look(&self) {
        if let Some(others) = &self.shared.others {
            others.wake.notify_one();
        }
    }

    /// Takes back the first waiter that fits, whoever's it is.
    pub fn withdraw(&self, fits: impl Fn(&W) -> bool) -> Option<W> {
        let mut state = self.lock();
        let (user, place) = state.queues.iter().find_map(|(user, queue)| {
            let place = queue.iter().position(|waiting| fits(&waiting.waiter))?;
            Some((*user, place))
        })?;
        let waiter = state.remove(user, place);
        drop(state);
        self.look();
        waiter.map(|(_, waiter)| waiter)
    }

    /// Takes back everybody who waits.
    pub fn drain(&self) -> Vec<W> {
        let mut state = self.lock();
        let mut all = Vec::new();
        while let Some((_, waiter)) = state.next() {
            all.push(waiter);
        }
        drop(state);
        self.look();
        all
    }

    fn slot(&self, step: StepId) -> Slot {
        let gate = self.clone();
        Slot {
            give_back: Some(Box::new(move |fate| gate.release(step, fate))),
        }
    }

    fn release(&self, step: StepId, fate: Fate) {
        let next = {
            let mut state = self.lock();
            let next = match &self.shared.others {
                None if state.taken <= state.limit => state.next(),
                _ => None,
            };
            if next.is_none() {
                state.taken -= 1;
            }
            next
        };
        if let Some((step, waiter)) = next {
            (self.shared.go)(waiter, self.slot(step));
        }
        if let Some(others) = &self.shared.others {
            match fate {
                Fate::Free => others.places.free(&others.provider, step),
                Fate::Leave => others.places.leave(&others.provider, step),
            }
            others.wake.notify_one();
        }
    }

    /// Asks other nodes for places for those whose turn it is here.
    async fn ask(&self, others: &Others) -> Ask {
        let Others {
            provider, places, ..
        } = others;
        let (wanted, in_line, limit) = {
            let mut state = self.lock();
            let wanted = state.front(TOGETHER);
            let in_line = std::mem::replace(&mut state.in_line, !wanted.is_empty());
            (wanted, in_line, state.limit)
        };
        if wanted.is_empty() {
            if in_line {
                places.take(provider, limit, &[]).await;
            }
            return Ask::WhenCalled;
        }
        match places.take(provider, limit, &wanted).await {
            Taken::Granted(granted) => {
                let granted: HashSet<StepId> = granted.into_iter().collect();
                for Wanted { step, user, .. } in wanted
                    .iter()
                    .filter(|wanted| granted.contains(&wanted.step))
                {
                    let waiter = {
                        let mut state = self.lock();
                        let waiter = state.pick(*step, *user);
                        state.taken += usize::from(waiter.is_some());
                        waiter
                    };
                    match waiter {
                        Some(waiter) => (self.shared.go)(waiter, self.slot(*step)),
                        None => places.free(provider, *step),
                    }
                }
                if granted.len() < wanted.len() {
                    Ask::WhenCalled
                } else {
                    Ask::Again
                }
            }
            Taken::Later(wait) => Ask::After(wait),
            Taken::Alone(share) => {
                while let Some((step, waiter)) = self.next_below(share) {
                    places.occupy(provider, step);
                    (self.shared.go)(waiter, self.slot(step));
                }
                Ask::WhenCalled
            }
        }
    }

    fn next_below(&self, share: usize) -> Option<(StepId, W)> {
        let mut state = self.lock();
        if state.taken >= share.min(state.limit) {
            return None;
        }
        let next = state.next()?;
        state.taken += 1;
        Some(next)
    }

    fn lock(&self) -> MutexGuard<'_, State<W>> {
        // Every change is complete before the lock is given up, so a panic elsewhere
        // leaves the state usable.
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

enum Ask {
    Again,
    After(Duration),
    WhenCalled,
}

/// Asks for those who wait, as long as the gate is there.
async fn keep<W: Send + 'static>(shared: Weak<Shared<W>>, wake: Arc<Notify>) {
    let mut ask = Ask::WhenCalled;
    loop {
        match ask {
            Ask::Again => {}
            Ask::After(wait) => {
                tokio::select! {
                    () = wake.notified() => {}
                    () = tokio::time::sleep(wait) => {}
                }
            }
            Ask::WhenCalled => wake.notified().await,
        }
        let Some(shared) = shared.upgrade() else {
            return;
        };
        let gate = Gate { shared };
        let Some(others) = &gate.shared.others else {
            return;
        };
        ask = gate.ask(others).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn users_take_turns_and_the_limit_holds() {
        let (sender, went) = mpsc::channel();
        let gate = Gate::new(1, move |name: &'static str, slot| {
            sender.send((name, slot)).expect("test listens");
        });
        let (a, b) = (UserId::generate(), UserId::generate());
        for name in ["a1", "a2", "a3"] {
            gate.enter(a, 1, StepId::generate(), name);
        }
        gate.enter(b, 1, StepId::generate(), "b1");
        let mut order = Vec::new();
        while let Ok((name, slot)) = went.try_recv() {
            order.push(name);
            drop(slot);
        }
        assert_eq!(order, ["a1", "b1", "a2", "a3"]);
    }

    #[test]
    fn nobody_saves_turns_up_or_loses_them() {
        let (sender, went) = mpsc::channel();
        let gate = Gate::new(1, move |name: &'static str, slot| {
            sender.send((name, slot)).expect("test listens");
        });
        let [a, b, c] = [(); 3].map(|()| UserId::generate());
        let mut order = Vec::new();
        let go = |order: &mut Vec<_>| {
            let (name, slot) = went.try_recv().expect("somebody goes");
            order.push(name);
            drop(slot);
        };
        for name in ["a1", "a2", "a3", "a4"] {
            gate.enter(a, 1, StepId::generate(), name);
        }
        go(&mut order);
        go(&mut order);
        // Two who come later have one turn each before the first goes on, and one who has
        // never been there has no more than that.
        gate.enter(b, 1, StepId::generate(), "b1");
        gate.enter(b, 1, StepId::generate(), "b2");
        gate.enter(c, 1, StepId::generate(), "c1");
        for _ in 0..5 {
            go(&mut order);
        }
        assert_eq!(order, ["a1", "a2", "a3", "b1", "c1", "a4", "b2"]);
        // What was had is not forgotten by going away for a moment.
        for (user, name) in [(b, "b3"), (b, "b4"), (a, "a5"), (c, "c2")] {
            gate.enter(user, 1, StepId::generate(), name);
        }
        order.clear();
        for _ in 0..4 {
            go(&mut order);
        }
        assert_eq!(order, ["b3", "a5", "c2", "b4"]);
    }

    #[test]
    fn weights_are_shares_of_the_turns() {
        let (sender, went) = mpsc::channel();
        let gate = Gate::new(1, move |name: (u32, usize), slot| {
            sender.send((name, slot)).expect("test listens");
        });
        let weights = [1, 2, 3, 4];
        let users = weights.map(|weight| (weight, UserId::generate()));
        // A slot that everybody waits for.
        let first = gate.occupy(StepId::generate());
        for number in 0..60 {
            for (weight, user) in users {
                gate.enter(user, weight, StepId::generate(), (weight, number));
            }
        }
        drop(first);
        let mut order = Vec::new();
        while let Ok(((weight, _), slot)) = went.try_recv() {
            order.push(weight);
            drop(slot);
        }
        assert_eq!(order.len(), 240, "nobody is lost");
        for rounds in [5, 10, 15] {
            let turns = &order[..rounds * 10];
            for weight in weights {
                let had = turns.iter().filter(|other| **other == weight).count();
                let share = rounds * weight as usize;
                assert!(had.abs_diff(share) <= 1, "{weight}: {had} of {share}");
            }
        }
        // Between two turns of the lightest, the others have no more than their weights and one
        // each.
        let light: Vec<_> = (0..150).filter(|place| order[*place] == 1).collect();
        for turns in light.windows(2) {
            assert!(turns[1] - turns[0] <= (2 + 3 + 4) + 3 + 1, "{light:?}");
        }
    }

    /// One job of somebody of weight 1 behind a thousand of somebody of weight 4, and others:
    /// it begins within as many slots as all weights together, and one.
    #[test]
    fn a_light_user_comes_next_whatever_others_weigh() {
        let (sender, went) = mpsc::channel();
        let gate = Gate::new(1, move |name: usize, slot| {
            sender.send((name, slot)).expect("test listens");
        });
        let heavy = [(4, 1_000), (4, 200), (2, 200), (100, 1_000)];
        let first = gate.occupy(StepId::generate());
        for (weight, jobs) in heavy {
            let user = UserId::generate();
            for _ in 0..jobs {
                gate.enter(user, weight, StepId::generate(), 0);
            }
        }
        drop(first);
        let weights: usize = heavy.iter().map(|(weight, _)| *weight as usize).sum();
        let mut single = None;
        for turn in 0..1_500 {
            if turn % 97 == 50 {
                gate.enter(UserId::generate(), 1, StepId::generate(), turn);
                single = Some(turn);
            }
            let (name, slot) = went.try_recv().expect("somebody goes");
            if name > 0 {
                assert_eq!(single.take(), Some(name));
                assert!(turn - name <= heavy.len() + 1, "{} turns", turn - name);
                assert!(turn - name <= weights + 2);
            }
            drop(slot);
        }
        assert_eq!(single, None, "all of them went");
        // Who still waits goes too: a slot that is given back calls the next one.
        while went.try_recv().is_ok() {}
    }

    #[test]
    fn another_limit_keeps_everybody() {
        let (sender, went) = mpsc::channel();
        let gate = Gate::new(1, move |name: u32, slot| {
            sender.send((name, slot)).expect("test listens");
        });
        let user = UserId::generate();
        for name in 1..=5 {
            gate.enter(user, 1, StepId::generate(), name);
        }
        gate.set_limit(3);
        let slots: Vec<_> = went.try_iter().collect();
        let names: Vec<u32> = slots.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, [1, 2, 3], "more room, more go");
        gate.set_limit(1);
        let mut slots = slots.into_iter();
        drop(slots.next());
        drop(slots.next());
        assert!(went.try_recv().is_err(), "one is still there");
        drop(slots.next());
        let (name, slot) = went.try_recv().expect("the next one");
        assert_eq!(name, 4);
        drop(slot);
        assert_eq!(went.try_recv().expect("the last one").0, 5);
    }

    #[test]
    fn who_withdraws_is_not_sent_on() {
        let (sender, went) = mpsc::channel();
        let gate = Gate::new(1, move |name: u32, slot| {
            sender.send((name, slot)).expect("test listens");
        });
        let user = UserId::generate();
        gate.enter(user, 1, StepId::generate(), 1);
        gate.enter(user, 1, StepId::generate(), 2);
        assert_eq!(gate.withdraw(|name| *name == 2), Some(2));
        let (_, slot) = went.try_recv().expect("the first went");
        drop(slot);
        assert!(went.try_recv().is_err());
    }

    #[test]
    fn work_found_at_the_vendor_counts_even_above_the_limit() {
        let (sender, went) = mpsc::channel();
        let gate = Gate::new(1, move |name: u32, slot| {
            sender.send((name, slot)).expect("test listens");
        });
        let (first, second) = (
            gate.occupy(StepId::generate()),
            gate.occupy(StepId::generate()),
        );
        gate.enter(UserId::generate(), 1, StepId::generate(), 7);
        drop(first);
        assert!(
            went.try_recv().is_err(),
            "one above the limit is still there"
        );
        drop(second);
        assert_eq!(went.try_recv().expect("went").0, 7);
    }
}
