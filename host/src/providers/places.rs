//! Places at a vendor that all nodes share.

use std::time::Duration;

use async_trait::async_trait;

use crate::ids::{StepId, UserId};

/// What became of a wish for places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// These of the wanted ones; the others have to wait.
    Granted(Vec<StepId>),
    /// None now: who holds what is being found out. Worth another try after this time.
    Later(Duration),
    /// Other nodes cannot be asked: this one may hold so many in all.
    Alone(usize),
}

/// A step whose turn it is at a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Which one.
    pub step: StepId,
    /// Whose.
    pub user: UserId,
    /// What its turn costs the user: the less, the more of them.
    pub cost: u64,
}

/// Keeps count over all nodes of who is at which vendor. A place is one step's, and whoever
/// holds it keeps it alive; that of a node that died ends by itself, unless another node
/// takes the step over, and its place with it.
#[async_trait]
pub trait Places: Send + Sync + 'static {
    /// Takes places for these users' steps as far as fewer than `limit` are taken and no user
    /// who waits at another node has paid less for turns; those who have paid the least come
    /// first, then in this order. Nobody wanted means that nobody waits here any more.
    async fn take(&self, provider: &str, limit: usize, wanted: &[Wanted]) -> Taken;

    /// Takes a place, or takes it over, whatever the limit says: the step is there already.
    fn occupy(&self, provider: &str, step: StepId);

    /// Gives a place back.
    fn free(&self, provider: &str, step: StepId);

    /// Leaves a place to the node that takes the step over; it ends by itself if none does.
    fn leave(&self, provider: &str, step: StepId);
}
