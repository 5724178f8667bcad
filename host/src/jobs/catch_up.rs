//! The net below live events: compares the logs that somebody on this node listens to with
//! what was told, all of them with a few statements, so that an event which got lost between
//! nodes is late and not missing.

use std::time::Duration;

use tokio::sync::watch;

use super::{bus::Bus, remote::Reach};
use crate::adapters::sql::{self, Database};

/// How often while everything gets through: only for what nobody noticed.
const RARELY: Duration = Duration::from_secs(5);
/// How often while nodes do not hear each other.
const OFTEN: Duration = Duration::from_secs(1);
/// Losses that follow each other quickly are looked after together.
const TOGETHER: Duration = Duration::from_millis(50);
/// Logs that one statement asks for.
const MOST_AT_ONCE: usize = 500;

/// Looks after the listeners of `bus` until `reach` is closed. Without other ways to hear
/// from nodes (a `reach` that stays at nothing) this alone is what tells.
pub async fn catch_up(database: Database, bus: Bus, mut reach: watch::Receiver<Reach>) {
    let mut known = *reach.borrow_and_update();
    loop {
        let wait = if known.is_whole() { RARELY } else { OFTEN };
        tokio::select! {
            changed = reach.changed() => match changed {
                Ok(()) => {
                    let before = std::mem::replace(&mut known, *reach.borrow_and_update());
                    if known.losses == before.losses {
                        continue;
                    }
                    tokio::time::sleep(TOGETHER).await;
                }
                Err(_) => return,
            },
            () = tokio::time::sleep(wait) => {}
        }
        if let Err(error) = look(&database, &bus).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "event logs could not be compared with what was told"
            );
        }
    }
}

async fn look(database: &Database, bus: &Bus) -> Result<(), sql::Error> {
    for jobs in bus.heard_jobs().chunks(MOST_AT_ONCE) {
        for (job, seq) in database.last_seqs(jobs).await? {
            bus.job_reaches(job, seq);
        }
    }
    for owners in bus.heard_owners().chunks(MOST_AT_ONCE) {
        for (owner, position) in database.last_positions(owners).await? {
            bus.owner_reaches(owner, position);
        }
    }
    Ok(())
}
