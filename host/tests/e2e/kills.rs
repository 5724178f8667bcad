//! SIGKILL at any moment: the next start finishes the job, and nothing is bought twice.

use std::time::Duration;

use genvid_testkit::Vendor;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

use crate::support::{
    files,
    live::{Live, Said},
    text,
    world::{Setup, WORDS, World},
};

/// How long the server seems to have been dead: longer than any vendor needs to write down
/// what it accepted.
const DEAD: Duration = Duration::from_secs(150);

async fn start() -> World {
    Setup::default()
        // Calls take long enough to be cut off in the middle.
        .profile(|pace| {
            pace.accept = Duration::from_millis(300);
            pace.speak = Duration::from_millis(300);
            pace.write = Duration::from_millis(300);
        })
        // Many deaths of one attempt must not look like a vendor that cannot be asked.
        .set("jobs.unconfirmed_minutes", 600)
        .start()
        .await
}

async fn die_and_rise(world: &mut World) {
    world.kill();
    world.database().age_open_attempts(DEAD).await;
    world.start_again().await;
}

/// Kills the server right after each of these events (type and step), in this order, while a
/// film is made; then checks the film, the log as a client saw it, and the bills.
async fn film_with_deaths(wish: Value, deaths: &[(&str, Option<&str>)]) -> World {
    let mut world = start().await;
    let id = world.film(wish).await;
    let mut seen: Vec<Value> = Vec::new();
    let mut deaths = deaths.iter();
    let mut next = deaths.next();
    'life: loop {
        let mut live = world.client().live().await;
        live.follow(
            &id,
            seen.last()
                .map_or(0, |event| event["seq"].as_i64().expect("a number")),
        )
        .await;
        loop {
            let event = match live.next().await {
                Said::Event(event) => event,
                Said::Complete => break 'life,
                other => panic!("the log broke off: {other:?}"),
            };
            let dies = next.is_some_and(|(kind, step)| {
                event["type"] == *kind && step.is_none_or(|step| event["step"] == step)
            });
            seen.push(event);
            if dies {
                next = deaths.next();
                die_and_rise(&mut world).await;
                continue 'life;
            }
        }
    }
    assert_eq!(
        next,
        None,
        "the job never came there; it went {:#?}",
        kinds(&seen)
    );
    let client = world.client();
    let job = client.ended(&id, "SUCCEEDED").await;
    assert_eq!(
        seen,
        client.log(&id).await,
        "a client that goes on with `after` has the whole log"
    );
    let film = files::inspect(&client.download(text(&job, "/videoUrl")).await).await;
    assert!(film.is_heard(), "{film:?}");
    world.audit().await;
    world
}

fn kinds(events: &[Value]) -> Vec<String> {
    let word = |event: &Value, name: &str| event[name].as_str().unwrap_or_default().to_owned();
    events
        .iter()
        .map(|event| format!("{} {}", word(event, "type"), word(event, "step")))
        .collect()
}

fn assert_bills(world: &World, bills: &[(Vendor, u64)]) {
    for (vendor, count) in bills {
        assert_eq!(world.billed(*vendor), *count, "{vendor}");
    }
}

const EACH_ONCE: [(Vendor, u64); 4] = [
    (Vendor::OpenAi, 1),
    (Vendor::ElevenLabs, 1),
    (Vendor::HeyGen, 1),
    (Vendor::Kling, 0),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_calls_are_on_their_way() {
    let deaths = [
        ("ATTEMPT_STARTED", Some("SCRIPT")),
        ("ATTEMPT_STARTED", Some("VOICE")),
        ("ATTEMPT_STARTED", Some("VIDEO")),
        ("STEP_STARTED", Some("COMPOSE")),
    ];
    let wish = json!({"script": null, "maxSeconds": 8});
    assert_bills(&film_with_deaths(wish, &deaths).await, &EACH_ONCE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_vendors_have_delivered() {
    let deaths = [
        ("TEXT_DELTA", Some("SCRIPT")),
        ("STEP_STORING", Some("SCRIPT")),
        ("STEP_STORING", Some("VOICE")),
        ("ATTEMPT_ACCEPTED", Some("VIDEO")),
        ("STEP_STORING", Some("VIDEO")),
        ("STEP_SUCCEEDED", Some("COMPOSE")),
    ];
    let wish = json!({"script": null, "maxSeconds": 8, "subtitles": "BURNED"});
    assert_bills(&film_with_deaths(wish, &deaths).await, &EACH_ONCE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn between_steps() {
    let deaths = [
        ("JOB_QUEUED", None),
        ("STEP_SUCCEEDED", Some("SCRIPT")),
        ("STEP_SUCCEEDED", Some("VOICE")),
        ("STEP_SUCCEEDED", Some("VIDEO")),
        ("STEP_STARTED", Some("THUMBNAIL")),
        ("STEP_STARTED", Some("DELIVER")),
    ];
    let wish = json!({"script": null, "maxSeconds": 8, "subtitles": "SIDECAR"});
    assert_bills(&film_with_deaths(wish, &deaths).await, &EACH_ONCE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn again_while_the_first_death_is_sorted_out() {
    let deaths = [
        ("ATTEMPT_STARTED", Some("VOICE")),
        ("STEP_UNCONFIRMED", Some("VOICE")),
        ("ATTEMPT_STARTED", Some("VIDEO")),
        ("STEP_UNCONFIRMED", Some("VIDEO")),
        ("STEP_STORING", Some("VIDEO")),
    ];
    let world = film_with_deaths(json!({"provider": "kling"}), &deaths).await;
    let bills = [
        (Vendor::ElevenLabs, 1),
        (Vendor::Kling, 1),
        (Vendor::HeyGen, 0),
    ];
    assert_bills(&world, &bills);
}

/// Several jobs of all kinds at once, and deaths at moments that nobody chose.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_any_moment_whatever() {
    let seed = rand::random::<u64>();
    // Shown when the test fails: put it in the place of the random one to see the same again.
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut world = start().await;
    let project = world.client().project().await;
    let mut jobs = Vec::new();
    for (index, more) in [
        json!({}),
        json!({"provider": "kling", "subtitles": "SIDECAR"}),
        json!({"provider": "heygen", "aspect": "SQUARE"}),
    ]
    .into_iter()
    .enumerate()
    {
        let mut wish = world.wish(&project, more);
        // ElevenLabs takes no name for a call: the same text twice would be one and the same.
        wish["script"] = json!(format!("{WORDS} Number {index}."));
        jobs.push(world.client().start("GenerateVideo", wish).await);
    }
    jobs.push(world.script(json!({})).await);
    let mut live: Option<Live> = None;
    for _ in 0..6 {
        tokio::time::sleep(Duration::from_millis(random.random_range(20..700))).await;
        die_and_rise(&mut world).await;
        drop(live.take());
        live = Some(world.client().live().await);
    }
    let client = world.client();
    for job in &jobs {
        client.ended(job, "SUCCEEDED").await;
    }
    let bills = [
        (Vendor::OpenAi, 1),
        (Vendor::ElevenLabs, 2),
        (Vendor::HeyGen, 2),
        (Vendor::Kling, 1),
    ];
    assert_bills(&world, &bills);
    world.audit().await;
}
