//! Somebody who queues a thousand jobs does not delay another's single one.

use std::time::Duration;

use futures::StreamExt;
use genvid_testkit::Vendor;
use serde_json::json;

use crate::support::{
    client::Client,
    until,
    world::{Setup, World},
};

/// Jobs of the one who wants a lot.
const JOBS: usize = 1_000;
/// Voices that the vendor speaks at a time.
pub(crate) const SLOTS: usize = 2;
const SPEAK: &str = "/v1/text-to-speech/";
const SINGLE: &str = "This is the only one.";

/// A vendor with few slots, where nobody has to wait for long.
pub(crate) fn few_slots() -> Setup {
    Setup::default()
        .profile(|pace| pace.speak = Duration::from_millis(400))
        .set("providers.elevenlabs.concurrency", SLOTS)
        .set("database.max_connections", 12)
}

/// How many voices the vendor was asked for, and as which of them for this one.
fn asked_for(world: &World, text: &str) -> (usize, Option<usize>) {
    let requests = world.vendor(Vendor::ElevenLabs).requests();
    let mut asked = requests
        .iter()
        .filter(|seen| seen.method == "POST" && seen.path.contains(SPEAK));
    let place = asked.clone().position(|seen| seen.body.contains(text));
    (asked.by_ref().count(), place)
}

/// Has a thousand voices made for somebody.
pub(crate) async fn queue_many(client: &Client) {
    let wishes = (0..JOBS).map(|number| {
        let client = client.clone();
        async move {
            let wish = json!({
                "text": "One of a thousand.", "language": "en", "provider": "elevenlabs",
                "reuse": false, "idempotencyKey": format!("many-{number}"),
            });
            client.start("GenerateVoice", wish).await
        }
    });
    futures::stream::iter(wishes)
        .buffer_unordered(16)
        .collect::<Vec<_>>()
        .await;
}

/// Has one voice made for another, and looks how many the vendor was asked for before it.
pub(crate) async fn one_goes_soon(world: &World, client: &Client) {
    let database = world.database();
    until("workers have all of them, and the queue moves", || async {
        let held = usize::try_from(database.leases().await).expect("a count");
        let (asked, _) = asked_for(world, SINGLE);
        (asked > SLOTS && held + asked >= JOBS).then_some(())
    })
    .await;
    let wish = json!({
        "text": SINGLE, "language": "en", "provider": "elevenlabs", "idempotencyKey": "single",
    });
    client.start("GenerateVoice", wish).await;
    let (before, _) = asked_for(world, SINGLE);
    let place = until("it begins", || async { asked_for(world, SINGLE).1 }).await;
    let waited = place.saturating_sub(before);
    assert!(
        waited <= 2 * SLOTS,
        "{waited} voices of somebody else began first: more than two slots' times"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_jobs_do_not_delay_anothers_one() {
    let mut world = few_slots().start().await;
    queue_many(&world.client()).await;
    // Another user of the same data.
    world.kill();
    world.launch.user = Some("other@localhost".to_owned());
    world.launch.token = "gv_other00000000000000000000000000000000000000test".to_owned();
    world.start_again().await;
    one_goes_soon(&world, &world.client()).await;
}
