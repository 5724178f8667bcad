//! What was bought is not bought again.

use genvid_testkit::Vendor;
use serde_json::{Value, json};

use crate::support::{list, seed, text, until, world::World};

const CREDITS: &str = "{ me { credits { available held } } }";
const QUOTE: &str = "mutation($input: GenerateVideoInput!) { quoteVideo(input: $input) {
    ... on Problem { code message path }
    ... on QuoteVideoSuccess { quote { id minCredits maxCredits
      steps { kind minCredits maxCredits reusedFrom { jobId step } } } } } }";

/// How often each vendor started work.
fn bought(world: &World) -> [u64; 4] {
    [
        Vendor::OpenAi,
        Vendor::ElevenLabs,
        Vendor::HeyGen,
        Vendor::Kling,
    ]
    .map(|vendor| world.accepted(vendor))
}

/// How often anybody was asked for anything.
fn asked(world: &World) -> usize {
    Vendor::ALL
        .iter()
        .map(|vendor| world.vendor(*vendor).requests().len())
        .sum()
}

fn sources(job: &Value) -> Vec<(String, Value)> {
    list(job, "/steps")
        .iter()
        .map(|step| {
            (
                text(step, "/kind").to_owned(),
                step["reusedFrom"]["jobId"].clone(),
            )
        })
        .filter(|(_, source)| !source.is_null())
        .collect()
}

/// A film whose script is written first, and that may take over what there is.
fn wish(world: &World, project: &str, more: Value) -> Value {
    let mut wish = world.wish(
        project,
        json!({"provider": "heygen", "voiceProvider": "elevenlabs", "reuse": true}),
    );
    wish.as_object_mut().expect("an object").remove("script");
    for (name, value) in more.as_object().expect("an object") {
        wish[name] = value.clone();
    }
    wish
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_wish_twice_is_bought_once() {
    let world = World::start().await;
    let client = world.client();
    let project = client.project().await;
    let make = async |more: Value| {
        let job = client
            .start("GenerateVideo", wish(&world, &project, more))
            .await;
        client.ended(&job, "SUCCEEDED").await
    };
    let first = make(json!({})).await;
    assert_eq!(bought(&world), [1, 1, 1, 0]);
    assert!(sources(&first).is_empty());

    // Again: nothing is sent, nothing is charged, and the files are the job's own.
    let again = make(json!({})).await;
    assert_eq!(bought(&world), [1, 1, 1, 0], "{again:#}");
    let id = first["id"].clone();
    let all = ["SCRIPT", "VOICE", "VIDEO"].map(|kind| (kind.to_owned(), id.clone()));
    assert_eq!(sources(&again), all, "{again:#}");
    assert_eq!(again["credits"]["captured"], 0, "{again:#}");
    let told: Vec<_> = client.log(text(&again, "/id")).await;
    let reused = told.iter().filter(|event| event["type"] == "STEP_REUSED");
    assert_eq!(reused.count(), 3, "{told:#?}");
    assert!(told.iter().any(|event| event["type"] == "JOB_STARTED"));
    assert!(told.iter().all(|event| event["type"] != "ATTEMPT_STARTED"));
    assert_ne!(first["videoUrl"], again["videoUrl"]);

    // Only what comes after a change is bought.
    let shape = make(json!({"aspect": "SQUARE"})).await;
    assert_eq!(
        bought(&world),
        [1, 1, 2, 0],
        "one script, one voice, two films"
    );
    assert_eq!(sources(&shape).len(), 2, "{shape:#}");

    // Whoever wants it buys it again; another project buys too.
    let bought_again = make(json!({"reuse": false})).await;
    assert_eq!(bought(&world), [2, 2, 3, 0], "{bought_again:#}");
    let other = client.project().await;
    let job = client
        .start("GenerateVideo", wish(&world, &other, json!({})))
        .await;
    client.ended(&job, "SUCCEEDED").await;
    assert_eq!(bought(&world), [3, 3, 4, 0]);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_subtitles_ask_no_vendor() {
    let world = World::start().await;
    let client = world.client();
    let project = client.project().await;
    let start = async |subtitles: &str| {
        let more = json!({"subtitles": subtitles});
        let job = client
            .start("GenerateVideo", wish(&world, &project, more))
            .await;
        client.ended(&job, "SUCCEEDED").await
    };
    let plain = start("NONE").await;
    assert!(plain["subtitlesUrl"].is_null(), "{plain:#}");
    let before = asked(&world);
    for mode in ["SIDECAR", "BURNED"] {
        let with = start(mode).await;
        assert!(!with["subtitlesUrl"].is_null(), "{with:#}");
        assert_eq!(sources(&with).len(), 3, "{with:#}");
    }
    assert_eq!(asked(&world), before, "no request of any kind");
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_at_once_one_buys_also_when_the_server_dies() {
    let mut world = World::start().await;
    let client = world.client();
    let project = client.project().await;
    let mut jobs = Vec::new();
    for aspect in ["PORTRAIT", "SQUARE", "LANDSCAPE", "PORTRAIT"] {
        let wish = wish(&world, &project, json!({"aspect": aspect}));
        jobs.push(client.start("GenerateVideo", wish).await);
    }
    // Dies when something was taken over already.
    until("a step was taken over", || async {
        for job in &jobs {
            if !sources(&client.job(job).await).is_empty() {
                return Some(());
            }
        }
        None
    })
    .await;
    world.kill_and_start_again().await;
    let client = world.client();
    for job in &jobs {
        client.ended(job, "SUCCEEDED").await;
    }
    let [scripts, voices, films, others] = bought(&world);
    assert_eq!((scripts, voices, films, others), (1, 1, 3, 0));
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quote_says_what_would_be_taken_over() {
    let world = World::start().await;
    let client = world.client();
    let project = client.project().await;
    // A clip of somebody's choice: who speaks in it is not left to the server.
    let more = json!({"provider": "kling"});
    let job = client
        .start("GenerateVideo", wish(&world, &project, more.clone()))
        .await;
    let film = client.ended(&job, "SUCCEEDED").await;
    assert!(film["credits"]["captured"].as_i64() > Some(0));
    let ask = async |wish: Value| {
        let answer = client.ask(QUOTE, json!({"input": wish})).await;
        let quote = answer["quoteVideo"]["quote"].clone();
        assert!(quote.is_object(), "{answer:#}");
        quote
    };
    let same = ask(wish(&world, &project, more.clone())).await;
    assert_eq!(same["minCredits"], 0, "{same:#}");
    assert!(same["maxCredits"].as_i64() > Some(0), "{same:#}");
    for step in list(&same, "/steps") {
        assert_eq!(step["reusedFrom"]["jobId"], json!(job), "{same:#}");
        assert_eq!(step["reusedFrom"]["step"], step["kind"]);
        assert_eq!(step["minCredits"], 0);
    }
    let anew = json!({"provider": "kling", "reuse": false});
    let anew = ask(wish(&world, &project, anew)).await;
    assert!(anew["minCredits"].as_i64() > Some(0), "{anew:#}");
    assert_eq!(anew["maxCredits"], same["maxCredits"]);
    assert!(
        list(&anew, "/steps")
            .iter()
            .all(|step| step["reusedFrom"].is_null())
    );

    // What is gone meanwhile is bought: the quote covers it.
    world
        .database()
        .run("UPDATE jobs SET files_removed_at = completed_at".to_owned())
        .await;
    let before = bought(&world);
    let mut bound = wish(&world, &project, more);
    bound["quoteId"] = same["id"].clone();
    let job = client.start("GenerateVideo", bound).await;
    let job = client.ended(&job, "SUCCEEDED").await;
    assert_eq!(bought(&world), before.map(|count| 2 * count), "{job:#}");
    assert!(sources(&job).is_empty(), "{job:#}");
    let captured = job["credits"]["captured"].as_i64();
    assert!(captured > Some(0) && captured <= same["maxCredits"].as_i64());
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_captions_ask_no_vendor_whoever_dies() {
    let mut random = seed::random();
    let mut world = World::start().await;
    let client = world.client();
    let project = client.project().await;
    let wanted = wish(&world, &project, json!({"subtitles": "SIDECAR"}));
    let film = client.start("GenerateVideo", wanted).await;
    let input = |key: &str, captions: Value| {
        json!({
            "jobId": film, "captions": captions, "subtitles": "SIDECAR", "idempotencyKey": key,
        })
    };
    let captions = json!([
        {"startMs": 0, "endMs": 900, "text": "{\\an8}Other <words>\nin two lines"},
        {"startMs": 900, "endMs": 1_500, "text": "and more."},
    ]);
    let early = client
        .change("EditCaptions", input("early", captions.clone()))
        .await;
    assert_eq!(early["code"], "CONFLICT", "there is no film yet: {early}");
    let made = client.ended(&film, "SUCCEEDED").await;
    let before = asked(&world);
    let spent = world.client().ask(CREDITS, json!({})).await;

    for (bad, field) in [
        (json!([]), "captions"),
        (
            json!([{"startMs": 5, "endMs": 5, "text": "x"}]),
            "captions.0.endMs",
        ),
        (
            json!([{"startMs": 0, "endMs": 86_400_000, "text": "x"}]),
            "captions.0.endMs",
        ),
    ] {
        let refused = client.change("EditCaptions", input("bad", bad)).await;
        let path: Vec<&str> = field.split('.').collect();
        assert_eq!(refused["path"], json!(path), "{refused}");
    }
    let edited = client
        .change("EditCaptions", input("edit", captions.clone()))
        .await;
    let edited = text(&edited, "/job/id").to_owned();
    for _ in 0..2 {
        seed::pause(&mut random, 0..400).await;
        world.kill_and_start_again().await;
    }
    let client = world.client();
    let again = client.change("EditCaptions", input("edit", captions)).await;
    assert_eq!(again["job"]["id"], edited, "one key, one job");
    let job = client.ended(&edited, "SUCCEEDED").await;
    let all = ["SCRIPT", "VOICE", "VIDEO"].map(|kind| (kind.to_owned(), made["id"].clone()));
    assert_eq!(sources(&job), all, "{job:#}");
    assert_eq!(job["credits"]["captured"], 0, "{job:#}");
    let file = client.download(text(&job, "/subtitlesUrl")).await;
    let file = String::from_utf8(file).expect("text");
    let wanted = "1\n00:00:00,000 --> 00:00:00,900\n{\\an8}Other <words>\nin two lines\n\n\
        2\n00:00:00,900 --> 00:00:01,500\nand more.\n\n";
    assert_eq!(file, wanted);

    // An edit of an edit, burned in; and back to what the voice says.
    let back = json!({"jobId": edited, "subtitles": "BURNED", "idempotencyKey": "back"});
    let back = client.change("EditCaptions", back).await;
    let back = client.ended(text(&back, "/job/id"), "SUCCEEDED").await;
    let (first, last) = (text(&made, "/subtitlesUrl"), text(&back, "/subtitlesUrl"));
    let (first, last) = (client.download(first).await, client.download(last).await);
    assert_eq!(
        String::from_utf8_lossy(&first),
        String::from_utf8_lossy(&last)
    );

    assert_eq!(asked(&world), before, "no request of any kind");
    assert_eq!(client.ask(CREDITS, json!({})).await, spent);
    let missing = json!({"jobId": "job_00000000000070008000000000000000", "idempotencyKey": "no"});
    let missing = client.change("EditCaptions", missing).await;
    assert_eq!(missing["code"], "NOT_FOUND", "{missing}");
    world.audit().await;
}
