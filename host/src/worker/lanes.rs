//! What the steps that this node holds and that could go on wait for: its own means. Calls of
//! vendors need little; fetching results and running ffmpeg need its disk, its line and its
//! processor, so few of them go on at once, and those are finished before others begin.

use std::collections::VecDeque;

use crate::{
    jobs::{advance::Held, store::Bench},
    time::Timestamp,
};

/// How many times its limit may wait in a lane before what came last is left to other nodes.
const PATIENCE: usize = 2;

/// The lanes of one worker.
pub(super) struct Lanes {
    calls: Lane,
    fetch: Lane,
    compose: Lane,
}

struct Lane {
    queue: VecDeque<Box<Held>>,
    active: usize,
    limit: usize,
    /// There may be more for it in the table: this node did not claim it, or gave it back.
    more: bool,
}

impl Lane {
    fn new(limit: usize) -> Self {
        Self {
            queue: VecDeque::new(),
            active: 0,
            limit: limit.max(1),
            more: false,
        }
    }
}

impl Lanes {
    /// With so many steps that go on at once in each lane.
    pub(super) fn new(calls: usize, fetch: usize, compose: usize) -> Self {
        Self {
            calls: Lane::new(calls),
            fetch: Lane::new(fetch),
            compose: Lane::new(compose),
        }
    }

    fn all(&self) -> [&Lane; 3] {
        [&self.calls, &self.fetch, &self.compose]
    }

    fn lane(&mut self, bench: Option<Bench>) -> &mut Lane {
        match bench {
            None => &mut self.calls,
            Some(Bench::Fetch) => &mut self.fetch,
            Some(Bench::Compose) => &mut self.compose,
        }
    }

    /// Behind all others.
    pub(super) fn push(&mut self, held: Box<Held>) {
        self.lane(held.bench()).queue.push_back(held);
    }

    /// Before all others.
    pub(super) fn push_front(&mut self, held: Box<Held>) {
        self.lane(held.bench()).queue.push_front(held);
    }

    /// The next step that may go on now, and where it does; it counts until `done`.
    pub(super) fn next(&mut self) -> Option<(Option<Bench>, Box<Held>)> {
        [Some(Bench::Compose), Some(Bench::Fetch), None]
            .into_iter()
            .find_map(|bench| {
                let lane = self.lane(bench);
                let held = (lane.active < lane.limit)
                    .then(|| lane.queue.pop_front())
                    .flatten()?;
                lane.active += 1;
                Some((bench, held))
            })
    }

    /// A step came back from there.
    pub(super) fn done(&mut self, bench: Option<Bench>) {
        self.lane(bench).active -= 1;
    }

    /// Steps that go on now.
    pub(super) fn active(&self) -> usize {
        self.all().iter().map(|lane| lane.active).sum()
    }

    /// Steps that wait to go on.
    pub(super) fn queued(&self) -> usize {
        self.all().iter().map(|lane| lane.queue.len()).sum()
    }

    /// Whether more calls can be begun soon.
    pub(super) fn has_room(&self) -> bool {
        self.calls.queue.len() < self.calls.limit
    }

    /// What this node cannot begin soon: there is no use in claiming it.
    pub(super) fn busy(&mut self) -> Vec<Bench> {
        [
            (Bench::Fetch, &mut self.fetch),
            (Bench::Compose, &mut self.compose),
        ]
        .into_iter()
        .filter_map(|(bench, lane)| {
            lane.more = lane.queue.len() >= lane.limit;
            lane.more.then_some(bench)
        })
        .collect()
    }

    /// Whether this bench has so little left that it is time to claim what was left in the
    /// table. True once: the next claim finds out whether there is more.
    pub(super) fn wants_more(&mut self, bench: Option<Bench>) -> bool {
        let lane = self.lane(bench);
        let wants = lane.more && lane.queue.len() < lane.limit;
        lane.more &= !wants;
        wants
    }

    /// Takes out what waits too far back: other nodes may have nothing to do.
    pub(super) fn surplus(&mut self) -> VecDeque<Box<Held>> {
        let mut surplus = VecDeque::new();
        for lane in [&mut self.fetch, &mut self.compose] {
            let keep = (PATIENCE * lane.limit).min(lane.queue.len());
            let mut rest = lane.queue.split_off(keep);
            lane.more |= !rest.is_empty();
            surplus.append(&mut rest);
        }
        surplus
    }

    /// Takes out the first step that fits, wherever it waits.
    pub(super) fn withdraw(&mut self, fits: impl Fn(&Held) -> bool) -> Option<Box<Held>> {
        [&mut self.calls, &mut self.fetch, &mut self.compose]
            .into_iter()
            .find_map(|lane| {
                let place = lane.queue.iter().position(|held| fits(held))?;
                lane.queue.remove(place)
            })
    }

    /// A film whose time is over is not composed any more: its turn only says so.
    pub(super) fn hurry_late(&mut self, now: Timestamp) {
        let (late, rest) = std::mem::take(&mut self.compose.queue)
            .into_iter()
            .partition(|held| held.deadline <= now);
        self.compose.queue = rest;
        self.calls.queue.extend::<VecDeque<_>>(late);
    }

    /// Takes out everything that waits.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Box<Held>> {
        [&mut self.calls, &mut self.fetch, &mut self.compose]
            .map(|lane| std::mem::take(&mut lane.queue))
            .into_iter()
            .flatten()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        ids::{JobId, NodeId, StepId, UserId},
        jobs::{
            model::{Step, StepKind, StepStatus},
            store::{Claimed, Fence},
        },
        time,
    };

    fn held(kind: StepKind, status: StepStatus) -> Box<Held> {
        let (id, now) = (StepId::generate(), time::now());
        let step = Step {
            id,
            job: JobId::generate(),
            position: 0,
            kind,
            status,
            provider: None,
            progress: None,
            output: None,
            error: None,
            round: 1,
            quote: None,
            reuse_key: None,
            reused_from: None,
            due_at: Some(now),
            started_at: None,
            completed_at: None,
        };
        let fence = Fence {
            step: id,
            node: NodeId::generate(),
            epoch: 1,
        };
        let claimed = Claimed {
            step,
            fence,
            owner: UserId::generate(),
            plan: crate::jobs::limits::FREE.to_owned(),
            deadline: now.after(Duration::from_secs(60)),
        };
        Box::new(Held::new(claimed, None))
    }

    fn composition() -> Box<Held> {
        held(StepKind::Compose, StepStatus::Pending)
    }

    #[test]
    fn a_long_composition_keeps_nobody_else_waiting() {
        let mut lanes = Lanes::new(2, 1, 1);
        for _ in 0..3 {
            lanes.push(composition());
        }
        lanes.push(held(StepKind::Voice, StepStatus::Storing));
        lanes.push(held(StepKind::Script, StepStatus::Storing));
        lanes.push(held(StepKind::Video, StepStatus::Pending));
        let mut begun = Vec::new();
        while let Some((bench, _)) = lanes.next() {
            begun.push(bench);
        }
        assert_eq!(
            begun,
            [Some(Bench::Compose), Some(Bench::Fetch), None, None]
        );
        assert_eq!((lanes.active(), lanes.queued()), (4, 2));
        assert!(lanes.next().is_none());
        lanes.done(Some(Bench::Compose));
        assert_eq!(
            lanes.next().expect("its turn has come").0,
            Some(Bench::Compose)
        );
    }

    #[test]
    fn what_waits_too_far_back_is_left_to_others() {
        let mut lanes = Lanes::new(1, 1, 2);
        let first = composition();
        let id = first.step.id;
        lanes.push(first);
        assert_eq!(lanes.busy(), []);
        for _ in 0..6 {
            lanes.push(composition());
        }
        assert_eq!(lanes.busy(), [Bench::Compose]);
        assert_eq!(lanes.surplus().len(), 3);
        assert!(lanes.surplus().is_empty());
        assert_eq!(lanes.next().expect("the first").1.step.id, id);
        // What was given back is fetched again as soon as there is room, and not before.
        let compose = Some(Bench::Compose);
        assert!(!lanes.wants_more(compose));
        lanes.compose.queue.truncate(1);
        assert!(lanes.wants_more(compose));
        assert!(!lanes.wants_more(compose), "a claim is on its way");
        // Calls wait for vendors' slots, which all nodes share: none of them is surplus.
        for _ in 0..5 {
            lanes.push(held(StepKind::Voice, StepStatus::Pending));
        }
        assert!(lanes.surplus().is_empty());
        assert!(!lanes.has_room());
    }

    #[test]
    fn whoever_has_to_stop_waits_for_no_bench() {
        let mut lanes = Lanes::new(1, 1, 1);
        lanes.push(composition());
        lanes.push(composition());
        let mut late = composition();
        late.deadline = time::now();
        lanes.push(late);
        lanes.hurry_late(time::now());
        let job = lanes.compose.queue[1].step.job;
        let mut stopped = lanes.withdraw(|held| held.step.job == job).expect("there");
        stopped.cancel = true;
        lanes.push_front(stopped);
        assert_eq!(lanes.calls.queue.len(), 2);
        assert_eq!(lanes.drain().count(), 3);
    }
}
