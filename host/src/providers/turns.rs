//! Whose turn it is at a provider's slots, as one node counts it by itself.

use std::collections::{BTreeSet, HashMap};

use crate::ids::UserId;

/// What a turn costs a user of weight 1.
const TURN: u64 = 1_000_000;

/// What a turn costs. Rounded up, so that no weight buys more than its share.
pub(super) fn cost(weight: u32) -> u64 {
    TURN.div_ceil(u64::from(weight.max(1)))
}

/// Whose turn it is. A user who got a slot comes after all who wait and have paid less; one
/// who comes, or comes back, begins where those stand whose turn it is: nobody saves turns up.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// Users who wait, by what they have paid, and then by since when.
    line: BTreeSet<(u64, u64, UserId)>,
    places: HashMap<UserId, (u64, u64)>,
    /// What those have paid who do not wait and are ahead of the others.
    paid: HashMap<UserId, u64>,
    /// What whoever got a slot last had paid before.
    now: u64,
    arrivals: u64,
}

/// Users that are remembered without need before they are forgotten.
const REMEMBERED: usize = 1_000;

impl Turns {
    /// This user waits from now on.
    pub(super) fn wait(&mut self, user: UserId) {
        if self.places.contains_key(&user) {
            return;
        }
        let paid = self.paid.remove(&user).unwrap_or(0).max(self.now);
        self.arrivals += 1;
        self.places.insert(user, (paid, self.arrivals));
        self.line.insert((paid, self.arrivals, user));
    }

    /// Nothing of this user waits any more.
    pub(super) fn leave(&mut self, user: UserId) {
        if let Some((paid, since)) = self.places.remove(&user) {
            self.line.remove(&(paid, since, user));
            if paid > self.now {
                self.paid.insert(user, paid);
            }
        }
        if self.paid.len() > REMEMBERED {
            self.paid.retain(|_, paid| *paid > self.now);
        }
    }

    /// This user got a slot at that cost.
    pub(super) fn take(&mut self, user: UserId, cost: u64) {
        let waits = self.places.contains_key(&user);
        self.wait(user);
        if let Some((paid, since)) = self.places.remove(&user) {
            self.line.remove(&(paid, since, user));
            self.now = self.now.max(paid);
            self.arrivals += 1;
            self.places.insert(user, (paid + cost, self.arrivals));
            self.line.insert((paid + cost, self.arrivals, user));
        }
        if !waits {
            self.leave(user);
        }
    }

    /// Whose turn it is.
    pub(super) fn first(&self) -> Option<UserId> {
        self.line.first().map(|(_, _, user)| *user)
    }

    /// The next ones: what each has paid, since when it waits, and who it is.
    pub(super) fn next(&self, most: usize) -> impl Iterator<Item = (u64, u64, UserId)> {
        self.line.iter().take(most).copied()
    }
}
