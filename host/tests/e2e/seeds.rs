//! A thousand jobs, each with a trouble of its own that a seed chooses: a lost answer, a call
//! that never arrived, a callback that comes twice, early or late, the same wish twice at
//! once; and the server is killed again and again. Nothing is bought twice, and the books
//! agree with the bills to the credit.

use std::time::Duration;

use futures::StreamExt;
use genvid_testkit::{Fault, FaultKind, Handle, Vendor};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::json;
use tokio::sync::watch;

use crate::support::{
    audit::job_ids,
    crowd::{Doors, Wish},
    seed::{pause, random},
    text,
    world::{Setup, World},
};

/// Jobs, unless the environment asks for another number.
const RUNS: usize = 1_000;
/// Asks for it.
const RUNS_WANTED: &str = "GENVID_TEST_RUNS";
/// Jobs that are not over, at most.
const AT_ONCE: usize = 100;
/// What every paid step costs here, so that bills can be counted.
const EACH: i64 = 7;
/// What the user has at first.
const CREDITS: i64 = 1_000_000;
/// Vendors' time for proofs, which nobody waits for here.
const SETTLED: Duration = Duration::from_secs(150);
/// A call that is younger may still be on its way to the vendor.
const COME_IN: Duration = Duration::from_secs(8);

const SCRIPT: (Vendor, &str) = (Vendor::OpenAi, "POST /v1/chat/completions");
const VOICE: (Vendor, &str) = (Vendor::ElevenLabs, "POST /v1/text-to-speech/*");
const FILMS: [(Vendor, &str); 2] = [
    (Vendor::HeyGen, "POST /v3/videos"),
    (Vendor::Kling, "POST /text-to-video/*"),
];

/// What goes wrong around a job.
#[derive(Debug, Clone, Copy)]
enum Trouble {
    /// Only what happens to all.
    None,
    /// A call to this vendor is struck.
    Vendor(FaultKind),
    /// The client sends its wish twice at the same time.
    Twice,
}

/// One run: what is wished for, and what goes wrong.
struct Run {
    wish: Wish,
    /// The vendor that is paid first, and its route.
    paid: (Vendor, &'static str),
    trouble: Trouble,
    seed: u64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_runs_cost_what_the_vendors_bill() {
    let mut random = random();
    let mut world = start().await;
    let project = world.client().project().await;
    let count = std::env::var(RUNS_WANTED).map_or(RUNS, |text| text.parse().expect("a number"));
    let runs: Vec<Run> = (0..count)
        .map(|number| run(number, &project, StdRng::seed_from_u64(random.random())))
        .collect();
    let doors = Doors::new(vec![world.server().url.clone()], &world.launch.token);
    let handles = Vendor::ALL.map(|vendor| world.vendor(vendor));
    let (over, ended) = watch::channel(0);
    let crowd = tokio::spawn(
        futures::stream::iter(runs)
            .map(move |run| one(doors.clone(), handles.clone(), run))
            .buffer_unordered(AT_ONCE)
            .inspect(move |_| over.send_modify(|ended| *ended += 1))
            .collect::<Vec<(String, String)>>(),
    );
    let (mut deaths, mut next) = (0, 0);
    while !crowd.is_finished() {
        pause(&mut random, 100..1_500).await;
        settle(&world).await;
        // Not by the clock: a server that is slow today must get somewhere, too.
        if *ended.borrow() >= next {
            world.kill_and_start_again().await;
            deaths += 1;
            next = *ended.borrow() + random.random_range(50..200);
            println!("{deaths} deaths, {} runs", *ended.borrow());
        }
    }
    let told = crowd.await.expect("the crowd is content");
    assert!(
        deaths > count / 250,
        "only {deaths} deaths: too quick to be a test"
    );

    let client = world.client();
    let mut failed = 0;
    for (job, status) in &told {
        if status == "SUCCEEDED" {
            continue;
        }
        // Struck three times before it arrived: said so, and cost nothing.
        let job = client.job(job).await;
        assert_eq!(text(&job, "/status"), "FAILED", "{job:#}");
        assert_eq!(job["error"]["retryable"], true, "{job:#}");
        failed += 1;
    }
    println!("{failed} jobs failed");
    // How many are struck so often is the seeds' luck: 8 and 55 of a thousand were seen.
    assert!(failed <= count / 10, "{failed} jobs failed");
    let mut jobs: Vec<&String> = told.iter().map(|(job, _)| job).collect();
    jobs.sort_unstable();
    let mut known = job_ids(&client).await;
    known.sort_unstable();
    assert_eq!(
        known.iter().collect::<Vec<_>>(),
        jobs,
        "a job for each wish"
    );
    world.audit().await;
    check_bills(&world).await;
}

async fn start() -> World {
    Setup::default()
        // One price for all: the dearest film costs a fraction of this credit's worth.
        .set("billing.credit_micro_usd", 1_000_000_000)
        .set("billing.minimum_credits", EACH)
        .set("development.credits", CREDITS)
        // Many deaths of one attempt must not look like a vendor that cannot be asked.
        .set("jobs.unconfirmed_minutes", 600)
        // So many calls that do not arrive would have everybody wait for minutes.
        .set("routing.failures", 0)
        .set("providers.openai.concurrency", AT_ONCE)
        .start()
        .await
}

/// The run of a number.
fn run(number: usize, project: &str, mut random: StdRng) -> Run {
    let key = format!("run-{number}");
    let dice = random.random_range(0..20);
    let (wish, paid) = match dice {
        // Films keep ffmpeg busy; those of HeyGen least.
        0..2 => {
            let film = FILMS[usize::from(number.is_multiple_of(5))];
            let input = json!({
                "projectId": project, "script": format!("Cold water. Bottle {number}."),
                "language": "en", "aspect": "PORTRAIT", "subtitles": "NONE",
                "provider": film.0.id(), "idempotencyKey": key,
            });
            (("GenerateVideo", input), film)
        }
        2 => {
            // ElevenLabs takes no name for a call: no two texts are the same.
            let text = format!("A sentence that nobody else says, number {number}.");
            let input = json!({"text": text, "language": "en", "idempotencyKey": key});
            (("GenerateVoice", input), VOICE)
        }
        _ => {
            let brief = format!("A steel bottle that keeps water cold, number {number}.");
            let input = json!({
                "brief": brief, "language": "en", "maxSeconds": 8, "idempotencyKey": key,
            });
            (("GenerateScript", input), SCRIPT)
        }
    };
    let trouble = match random.random_range(0..7) {
        0..2 => Trouble::Vendor(FaultKind::AcceptThenDrop),
        2 => Trouble::Vendor(FaultKind::DropBefore),
        3 => Trouble::Twice,
        // Only films are called back.
        4 if dice < 2 => Trouble::Vendor(FaultKind::WebhookEarly),
        5 if dice < 2 => Trouble::Vendor(FaultKind::WebhookDuplicate),
        6 if dice < 2 => Trouble::Vendor(FaultKind::WebhookLate),
        _ => Trouble::None,
    };
    Run {
        wish,
        paid,
        trouble,
        seed: random.random(),
    }
}

/// Sends a wish, with its trouble, and waits for its end: the job and how it ended.
async fn one(doors: Doors, handles: [Handle; 4], run: Run) -> (String, String) {
    let (vendor, route) = run.paid;
    if let Trouble::Vendor(kind) = run.trouble {
        let handle = handles.iter().find(|handle| handle.vendor() == vendor);
        // It strikes the next call of its kind, whosever that is.
        let fault = Fault::new(route, kind).delay(Duration::from_millis(run.seed % 700));
        let armed = handle.map(|handle| handle.add_faults(vec![fault]));
        assert!(matches!(armed, Some(Ok(()))), "{armed:?}");
    }
    let job = if matches!(run.trouble, Trouble::Twice) {
        let (one, other) = tokio::join!(
            doors.insist(run.wish.clone(), run.seed),
            doors.insist(run.wish, !run.seed)
        );
        assert_eq!(one, other, "the same key, and another job");
        one
    } else {
        doors.insist(run.wish, run.seed).await
    };
    let status = doors.over(&job, run.seed).await;
    (job, status)
}

/// Lets vendors' times for proofs be over, for all outcomes that are looked up now.
async fn settle(world: &World) {
    let busy = Vendor::ALL.map(|vendor| world.vendor(vendor).busy_for());
    let busy = busy.into_iter().max().unwrap_or_default();
    let database = world.database();
    database.age_lost_attempts(SETTLED, COME_IN + busy).await;
}

/// Every work on a bill was paid for with what it costs, and nothing else was.
async fn check_bills(world: &World) {
    let billed: u64 = Vendor::ALL.map(|vendor| world.billed(vendor)).iter().sum();
    let billed = i64::try_from(billed).expect("a small number");
    let mine = world
        .client()
        .ask("{ me { credits { available held } } }", json!({}))
        .await;
    let left = json!({"available": CREDITS - EACH * billed, "held": 0});
    assert_eq!(mine["me"]["credits"], left, "{billed} works are billed");
}
