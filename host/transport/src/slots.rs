//! How many long-lived connections are open, in all and for each identity.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

pub(crate) struct Slots {
    open: AtomicUsize,
    maximum: usize,
    keys: Mutex<HashMap<String, usize>>,
    maximum_per_key: usize,
}

impl Slots {
    pub(crate) fn new(maximum: usize, maximum_per_key: usize) -> Arc<Self> {
        Arc::new(Self {
            open: AtomicUsize::new(0),
            maximum,
            keys: Mutex::default(),
            maximum_per_key,
        })
    }

    /// A place for one connection, or `None` when all are taken.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<Slot> {
        self.open
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |open| {
                (open < self.maximum).then_some(open + 1)
            })
            .ok()?;
        Some(Slot {
            slots: Arc::clone(self),
            key: None,
        })
    }

    fn keys(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        // The map is valid after every statement that holds the lock.
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One taken place; given back when dropped.
pub(crate) struct Slot {
    slots: Arc<Slots>,
    key: Option<String>,
}

impl Slot {
    /// Counts the connection under a key too. `false`: the key holds its maximum.
    pub(crate) fn claim(&mut self, key: &str) -> bool {
        let mut keys = self.slots.keys();
        let count = keys.entry(key.to_owned()).or_default();
        if *count >= self.slots.maximum_per_key {
            if *count == 0 {
                keys.remove(key);
            }
            return false;
        }
        *count += 1;
        self.key = Some(key.to_owned());
        true
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.open.fetch_sub(1, Ordering::AcqRel);
        let Some(key) = self.key.take() else { return };
        let mut keys = self.slots.keys();
        if let Some(count) = keys.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                keys.remove(&key);
            }
        }
    }
}
