//! The database's clock. Leases and due times are reckoned by the server itself; other
//! instants (deadlines, times of events) are written by this process, so its clock follows
//! the server's: two nodes whose hosts disagree still agree on what time it is.

use std::time::{Duration, Instant};

use sqlx::PgPool;

use crate::time::{self, Timestamp};

/// How often the clocks are compared.
const EVERY: Duration = Duration::from_secs(20);
/// Differences below this are left alone: the answer's way back is not known better.
const SLACK_MILLIS: i64 = 5;

/// Compares once, and then from time to time as long as the pool is open.
pub(super) async fn follow(pool: &PgPool) -> Result<(), sqlx::Error> {
    compare(pool).await?;
    let pool = pool.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = pool.close_event() => return,
                () = tokio::time::sleep(EVERY) => {}
            }
            if let Err(error) = compare(&pool).await {
                tracing::warn!(%error, "the database's clock cannot be read");
            }
        }
    });
    Ok(())
}

async fn compare(pool: &PgPool) -> Result<(), sqlx::Error> {
    let mut connection = pool.acquire().await?;
    let began = Instant::now();
    let before = time::host_clock();
    let there: Timestamp = sqlx::query_scalar("SELECT clock_timestamp()")
        .fetch_one(&mut *connection)
        .await?;
    // Half the way there, half the way back; the rest is uncertainty.
    let half = i64::try_from(began.elapsed().as_millis() / 2).unwrap_or(i64::MAX);
    let ahead = there
        .millis()
        .saturating_sub(before.millis())
        .saturating_sub(half);
    if time::follow(ahead, half.saturating_add(SLACK_MILLIS)) {
        tracing::warn!(
            ahead_ms = ahead,
            "the clock of this host differs from the database's, which is followed"
        );
    }
    Ok(())
}
