//! What users get by their plan: how many jobs at a time, and how many turns.

use std::collections::BTreeMap;

/// The plan of users who have none that the settings name.
pub const FREE: &str = "free";

/// What users of one plan get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Turns at the vendors for one of a user of weight 1.
    pub weight: u32,
    /// Most jobs that are not over.
    pub in_flight: u32,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            weight: 1,
            in_flight: 1_000,
        }
    }
}

/// Plans by name.
#[derive(Debug, Clone, Default)]
pub struct Plans {
    named: BTreeMap<String, Plan>,
    usual: Plan,
}

impl Plans {
    /// The plans that there are; `usual` for users whose plan is none of them while there is no
    /// `free` one.
    #[must_use]
    pub fn new(named: BTreeMap<String, Plan>, usual: Plan) -> Self {
        Self { named, usual }
    }

    /// What users of this plan get. A name that the settings lost counts as `free`.
    #[must_use]
    pub fn of(&self, name: &str) -> Plan {
        let named = self.named.get(name).or_else(|| self.named.get(FREE));
        named.copied().unwrap_or(self.usual)
    }

    /// Whether there is a plan of this name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        name == FREE || self.named.contains_key(name)
    }

    /// Their names, `free` among them.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        let others = self.named.keys().map(String::as_str);
        std::iter::once(FREE)
            .chain(others.filter(|name| *name != FREE))
            .collect()
    }
}

/// Whose jobs are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// All of a user's.
    User,
    /// All that an API key has asked for.
    Key,
    /// Films of a user's batches that have no job yet.
    Waiting,
}

/// So many jobs of a scope are not over, and no more may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany {
    /// Whose.
    pub scope: Scope,
    /// How many there may be.
    pub limit: u32,
    /// How many there are.
    pub in_flight: u32,
}
