//! Slots: how many tasks a vendor works on at a time for this installation.
//!
//! Who finds no slot waits here as a small struct, not as a task. Users take turns: a freed
//! slot goes to the next user who waits, and within a user to who came first, so that
//! somebody who queues a thousand jobs delays another's single one by at most one turn of
//! each user.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::ids::UserId;

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
    /// Where whoever gets a freed slot is sent on.
    go: Box<dyn Fn(W, Slot) + Send + Sync>,
}

struct State<W> {
    limit: usize,
    taken: usize,
    queues: HashMap<UserId, VecDeque<W>>,
    turns: VecDeque<UserId>,
}

impl<W> State<W> {
    fn next(&mut self) -> Option<W> {
        let user = self.turns.pop_front()?;
        let queue = self.queues.get_mut(&user)?;
        let waiter = queue.pop_front();
        if queue.is_empty() {
            self.queues.remove(&user);
        } else {
            self.turns.push_back(user);
        }
        waiter
    }
}

/// A taken slot; dropping it frees the slot and sends the next one on.
pub struct Slot {
    free: Option<Box<dyn FnOnce() + Send + Sync>>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(free) = self.free.take() {
            free();
        }
    }
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Slot")
    }
}

impl<W: Send + 'static> Gate<W> {
    /// With `limit` slots; `go` gets each waiter whose turn has come.
    #[must_use]
    pub fn new(limit: usize, go: impl Fn(W, Slot) + Send + Sync + 'static) -> Self {
        let state = State {
            limit,
            taken: 0,
            queues: HashMap::new(),
            turns: VecDeque::new(),
        };
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                go: Box::new(go),
            }),
        }
    }

    /// Sends `waiter` on with a slot now, or when its turn comes.
    pub fn enter(&self, user: UserId, waiter: W) {
        {
            let mut state = self.lock();
            if state.taken >= state.limit {
                if !state.queues.contains_key(&user) {
                    state.turns.push_back(user);
                }
                state.queues.entry(user).or_default().push_back(waiter);
                return;
            }
            state.taken += 1;
        }
        (self.shared.go)(waiter, self.slot());
    }

    /// A slot for work that is at the vendor already, whatever the limit says.
    #[must_use]
    pub fn occupy(&self) -> Slot {
        self.lock().taken += 1;
        self.slot()
    }

    /// Takes back the first waiter that fits, whoever's it is.
    pub fn withdraw(&self, fits: impl Fn(&W) -> bool) -> Option<W> {
        let mut state = self.lock();
        let (user, place) = state
            .queues
            .iter()
            .find_map(|(user, queue)| queue.iter().position(&fits).map(|place| (*user, place)))?;
        let queue = state.queues.get_mut(&user)?;
        let waiter = queue.remove(place);
        if queue.is_empty() {
            state.queues.remove(&user);
            state.turns.retain(|turn| *turn != user);
        }
        waiter
    }

    /// Takes back everybody who waits.
    pub fn drain(&self) -> Vec<W> {
        let mut state = self.lock();
        let mut all = Vec::new();
        while let Some(waiter) = state.next() {
            all.push(waiter);
        }
        all
    }

    fn slot(&self) -> Slot {
        let gate = self.clone();
        Slot {
            free: Some(Box::new(move || gate.release())),
        }
    }

    fn release(&self) {
        let next = {
            let mut state = self.lock();
            let next = if state.taken <= state.limit {
                state.next()
            } else {
                None
            };
            if next.is_none() {
                state.taken -= 1;
            }
            next
        };
        if let Some(waiter) = next {
            (self.shared.go)(waiter, self.slot());
        }
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
            gate.enter(a, name);
        }
        gate.enter(b, "b1");
        let mut order = Vec::new();
        while let Ok((name, slot)) = went.try_recv() {
            order.push(name);
            drop(slot);
        }
        assert_eq!(order, ["a1", "a2", "b1", "a3"]);
    }

    #[test]
    fn who_withdraws_is_not_sent_on() {
        let (sender, went) = mpsc::channel();
        let gate = Gate::new(1, move |name: u32, slot| {
            sender.send((name, slot)).expect("test listens");
        });
        let user = UserId::generate();
        gate.enter(user, 1);
        gate.enter(user, 2);
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
        let (first, second) = (gate.occupy(), gate.occupy());
        gate.enter(UserId::generate(), 7);
        drop(first);
        assert!(
            went.try_recv().is_err(),
            "one above the limit is still there"
        );
        drop(second);
        assert_eq!(went.try_recv().expect("went").0, 7);
    }
}
