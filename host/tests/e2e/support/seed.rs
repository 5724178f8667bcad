//! Chance that can be repeated.

use std::time::Duration;

use rand::{RngExt, SeedableRng, rngs::StdRng};

/// Repeats the run of this seed; without it each run has another.
const SEED: &str = "GENVID_TEST_SEED";

/// A seed that the environment gives, or a new one; printed, and shown when a test fails.
pub(crate) fn random() -> StdRng {
    let seed = match std::env::var(SEED) {
        Ok(text) => text.parse().expect("GENVID_TEST_SEED is a number"),
        Err(_) => rand::random::<u64>(),
    };
    println!("{SEED}={seed}");
    StdRng::seed_from_u64(seed)
}

/// A wait of up to so many milliseconds.
pub(crate) async fn pause(random: &mut StdRng, milliseconds: std::ops::Range<u64>) {
    let wait = random.random_range(milliseconds);
    tokio::time::sleep(Duration::from_millis(wait)).await;
}
