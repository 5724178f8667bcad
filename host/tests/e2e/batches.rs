//! Many films at once: each a job or refused, whatever happens in between, and never dearer
//! together than was said.

use genvid_testkit::{Fault, FaultKind, Vendor};
use rand::RngExt as _;
use serde_json::{Value, json};

use crate::support::{
    client::Client,
    list, seed, server, text, until,
    world::{Setup, TOKEN, WORDS, World},
};

const BATCH: &str = "id name counts { total waiting refused underWay succeeded failed canceled }
    credits { quoted limit held captured }
    items(first: 100) { nodes { index job { id status error { code } credits { held captured } }
      refusal { code message path } } }";
const PROBLEM: &str = "__typename ... on Problem { code message path }";
const QUOTE: &str = "mutation($input: GenerateVideosInput!) { quoteVideos(input: $input) {
    __typename ... on Problem { code message path }
    ... on QuoteVideosSuccess { quote { id minCredits maxCredits expiresAt
      items { index quote { maxCredits } refusal { code path } } } } } }";

fn film(more: Value) -> Value {
    let mut film = json!({
        "script": WORDS, "language": "en", "aspects": ["PORTRAIT"], "provider": "heygen",
        "reuse": false,
    });
    for (name, value) in more.as_object().expect("fields") {
        film[name] = value.clone();
    }
    film
}

fn wish(world: &World, project: &str, items: &[Value]) -> Value {
    json!({
        "projectId": project, "name": "Spring", "items": items, "idempotencyKey": world.key(),
    })
}

async fn begin(client: &Client, input: &Value) -> Value {
    let document = format!(
        "mutation($input: GenerateVideosInput!) {{ generateVideos(input: $input) {{ {PROBLEM}
         ... on GenerateVideosSuccess {{ batch {{ id }} }} }} }}"
    );
    let answer = client.ask(&document, json!({"input": input})).await;
    answer["generateVideos"].clone()
}

async fn started(client: &Client, input: &Value) -> String {
    let answer = begin(client, input).await;
    assert_eq!(answer["__typename"], "GenerateVideosSuccess", "{answer:#}");
    text(&answer, "/batch/id").to_owned()
}

async fn look(client: &Client, id: &str) -> Value {
    let document = format!("query($id: ID!) {{ batch(id: $id) {{ {BATCH} }} }}");
    let answer = client.ask(&document, json!({"id": id})).await;
    answer["batch"].clone()
}

/// The batch once nothing of it waits or runs.
async fn over(client: &Client, id: &str) -> Value {
    until("the batch is over", || async {
        let batch = look(client, id).await;
        let counts = &batch["counts"];
        (counts["waiting"] == 0 && counts["underWay"] == 0).then_some(batch)
    })
    .await
}

async fn cancel(client: &Client, id: &str) -> Value {
    let document = format!(
        "mutation($input: CancelBatchInput!) {{ cancelBatch(input: $input) {{ {PROBLEM}
         ... on CancelBatchSuccess {{ batch {{ id }} }} }} }}"
    );
    let answer = client
        .ask(&document, json!({"input": {"batchId": id}}))
        .await;
    answer["cancelBatch"].clone()
}

async fn retry(client: &Client, id: &str, key: &str) -> Value {
    let document = format!(
        "mutation($input: RetryBatchInput!) {{ retryBatch(input: $input) {{ {PROBLEM}
         ... on RetryBatchSuccess {{ retried notRetried {{ index refusal {{ code }} }} }} }} }}"
    );
    let input = json!({"input": {"batchId": id, "idempotencyKey": key}});
    client.ask(&document, input).await["retryBatch"].clone()
}

fn spent(batch: &Value) -> i64 {
    list(batch, "/items/nodes")
        .iter()
        .filter_map(|item| item["job"]["credits"]["captured"].as_i64())
        .sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_bad_film_hinders_no_other_and_shapes_share_a_voice() {
    let world = World::start().await;
    let client = world.client();
    let project = client.project().await;
    let all = ["PORTRAIT", "SQUARE", "LANDSCAPE"];
    let items = [
        film(json!({"aspects": all, "reuse": true, "voiceProvider": "elevenlabs"})),
        film(json!({"language": "nonsense!"})),
        film(json!({"avatarId": "nobody's"})),
        film(json!({"aspects": []})),
    ];
    let input = wish(&world, &project, &items);
    let id = started(&client, &input).await;
    assert_eq!(started(&client, &input).await, id, "one key, one batch");
    let batch = over(&client, &id).await;
    let counts = json!({
        "total": 6, "waiting": 0, "refused": 3, "underWay": 0, "succeeded": 3, "failed": 0,
        "canceled": 0,
    });
    assert_eq!(batch["counts"], counts, "{batch:#}");
    for (index, path) in [(3, "language"), (4, "avatarId"), (5, "aspects")] {
        let refusal = &list(&batch, "/items/nodes")[index]["refusal"];
        assert_eq!(refusal["code"], "INVALID_INPUT", "{batch:#}");
        assert_eq!(refusal["path"], json!([path]), "{batch:#}");
    }
    assert_eq!(world.billed(Vendor::ElevenLabs), 1, "one voice");
    assert_eq!(world.billed(Vendor::HeyGen), 3, "three films");

    let mut other = input.clone();
    other["name"] = json!("Summer");
    let refused = begin(&client, &other).await;
    assert_eq!(refused["code"], "IDEMPOTENCY_KEY_REUSED", "{refused}");
    for (items, path) in [
        (json!([]), "items"),
        (json!(vec![film(json!({})); 201]), "items"),
    ] {
        let mut bad = wish(&world, &project, &[]);
        bad["items"] = items;
        let refused = begin(&client, &bad).await;
        assert_eq!(refused["path"], json!([path]), "{refused}");
    }
    let page = "{ batches(first: 5) { nodes { id name } } }";
    let page = client.ask(page, json!({})).await;
    assert_eq!(
        page["batches"]["nodes"],
        json!([{"id": id, "name": "Spring"}])
    );
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_survives_kills_and_keeps_to_its_quote() {
    let mut random = seed::random();
    let mut world = World::start().await;
    let client = world.client();
    let project = client.project().await;
    let mut items: Vec<Value> = (0..10).map(|_| film(json!({}))).collect();
    items.push(film(json!({"language": "nonsense!"})));
    let mut input = wish(&world, &project, &items);
    let answer = client.ask(QUOTE, json!({"input": input})).await;
    let quote = answer["quoteVideos"]["quote"].clone();
    let most = quote["maxCredits"].as_i64().expect("a number");
    assert!(most > 0, "{answer:#}");
    assert_eq!(
        list(&quote, "/items")[10]["refusal"]["code"],
        "INVALID_INPUT"
    );
    assert_eq!(
        world.accepted(Vendor::HeyGen),
        0,
        "nothing is bought for it"
    );
    input["quoteId"] = quote["id"].clone();
    let mut other = input.clone();
    other["items"][0]["language"] = json!("de");
    let refused = begin(&client, &other).await;
    assert_eq!(
        refused["path"],
        json!(["quoteId"]),
        "of another request: {refused}"
    );
    let id = started(&client, &input).await;
    for _ in 0..4 {
        let wait = random.random_range(0..700);
        tokio::time::sleep(std::time::Duration::from_millis(wait)).await;
        world.kill_and_start_again().await;
    }
    let client = world.client();
    let batch = over(&client, &id).await;
    assert_eq!(batch["counts"]["succeeded"], 10, "{batch:#}");
    assert_eq!(batch["counts"]["refused"], 1);
    assert!(spent(&batch) <= most, "{} of {most}", spent(&batch));
    let credits = json!({"quoted": most, "limit": most, "held": 0, "captured": spent(&batch)});
    assert_eq!(batch["credits"], credits);
    assert_eq!(world.billed(Vendor::HeyGen), 10);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_budget_for_all_and_only_the_failed_again() {
    let world = Setup::default().start().await;
    let client = world.client();
    let project = client.project().await;
    // Two of them fail for good at the vendor that they are pinned to.
    let broken = Fault::new("POST /v3/videos", FaultKind::QuotaExhausted).times(2);
    world.fault(Vendor::HeyGen, [broken]);
    let items: Vec<Value> = (0..4).map(|_| film(json!({}))).collect();
    let id = started(&client, &wish(&world, &project, &items)).await;
    let batch = over(&client, &id).await;
    assert_eq!(batch["counts"]["succeeded"], 2, "{batch:#}");
    assert_eq!(batch["counts"]["failed"], 2, "{batch:#}");
    let before = world.billed(Vendor::HeyGen);
    // One key is one request, however often and at once it comes.
    let tries = futures::future::join_all((0..3).map(|_| retry(&client, &id, "again"))).await;
    let begun: u64 = tries
        .iter()
        .filter_map(|answer| answer["retried"].as_u64())
        .sum();
    assert!(begun <= 2, "{tries:?}");
    let batch = over(&client, &id).await;
    let retried = world.billed(Vendor::HeyGen) - before;
    let succeeded = batch["counts"]["succeeded"].as_u64().expect("a number");
    assert_eq!(
        (succeeded, retried),
        (4, 2),
        "only those that failed: {batch:#}"
    );
    let late = retry(&client, &id, "again").await;
    assert_eq!(late["retried"], 0, "{late}");

    // Room for two of them.
    let one = list(&batch, "/items/nodes").iter();
    let one = one
        .filter_map(|item| item["job"]["credits"]["captured"].as_i64())
        .max();
    let one = one.expect("credits");
    let mut input = wish(&world, &project, &items);
    input["maxCredits"] = json!(one * 2 + one / 2);
    let id = started(&client, &input).await;
    let batch = over(&client, &id).await;
    let refused = list(&batch, "/items/nodes").iter();
    let refused: Vec<_> = refused.filter(|item| !item["refusal"].is_null()).collect();
    assert!(!refused.is_empty(), "{batch:#}");
    for item in refused {
        assert_eq!(item["refusal"]["code"], "BUDGET_EXCEEDED", "{batch:#}");
    }
    assert!(spent(&batch) <= one * 2 + one / 2, "{batch:#}");
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_canceled_batch_begins_nothing_more() {
    let world = Setup::default()
        .set("jobs.in_flight_per_user", 2)
        .start()
        .await;
    let busy = Fault::new("POST /v3/videos", FaultKind::NoSlot).times(100_000);
    world.fault(Vendor::HeyGen, [busy]);
    let client = world.client();
    let project = client.project().await;
    let items: Vec<Value> = (0..6).map(|_| film(json!({}))).collect();
    let id = started(&client, &wish(&world, &project, &items)).await;
    until("two of them have a job", || async {
        let counts = look(&client, &id).await["counts"].clone();
        (counts["underWay"] == 2).then_some(())
    })
    .await;
    assert_eq!(
        look(&client, &id).await["counts"]["waiting"],
        4,
        "the others wait"
    );
    let canceled = cancel(&client, &id).await;
    assert_eq!(canceled["__typename"], "CancelBatchSuccess", "{canceled}");
    let batch = over(&client, &id).await;
    assert_eq!(batch["counts"]["refused"], 4, "{batch:#}");
    assert_eq!(batch["counts"]["canceled"], 2, "{batch:#}");
    assert_eq!(world.billed(Vendor::HeyGen), 0);
    let late = retry(&client, &id, "late").await;
    assert_eq!(late["retried"], 0, "what was canceled stays so: {late}");
    let nobody = retry(&client, "bat_00000000000070008000000000000000", "a").await;
    assert_eq!(nobody["code"], "NOT_FOUND", "{nobody}");
    assert_eq!(nobody["path"], json!(["batchId"]), "{nobody}");
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_makes_a_batch_of_a_table() {
    let world = World::start().await;
    let client = world.client();
    let project = client.project().await;
    let folder = &world.launch.folder;
    let table = folder.join("films.csv");
    let run = async |words: &[&str]| {
        let url = &world.server().url;
        let words = [&["batch"], words, &["--url", url]].concat();
        let output = server::run(folder, &words, &[("GENVID_TOKEN", TOKEN)]).await;
        let said = String::from_utf8(output.stdout).expect("text");
        let why = String::from_utf8(output.stderr).expect("text");
        (output.status.success(), said, why)
    };
    let path = table.to_str().expect("text");
    let create = ["create", "--file", path, "--project", &project];

    // What is wrong is told with its line, and nothing is asked for.
    let bad = "script,language,aspects,maxSeconds\nHello.,en,PORTRAIT,soon\n";
    std::fs::write(&table, bad).expect("written");
    let (good, _, why) = run(&create).await;
    assert!(
        !good && why.contains("line 2, maxSeconds: must be a whole number"),
        "{why}"
    );

    let rows = format!(
        "\u{feff}script,language,aspects,provider,reuse\r\n\"{WORDS}\",en,PORTRAIT|SQUARE,heygen,no\r\n\
         Hallo.,nonsense!,PORTRAIT,,\r\n"
    );
    std::fs::write(&table, rows).expect("written");
    let (good, said, why) = run(&[&create[..], &["--dry-run"]].concat()).await;
    assert!(!good, "one is refused: {said} {why}");
    assert!(
        said.contains("2 films cost ") && said.contains("film 2 is refused"),
        "{said}"
    );
    assert_eq!(world.accepted(Vendor::HeyGen), 0, "it only asked");

    let (good, said, why) = run(&[&create[..], &["--watch", "--json"]].concat()).await;
    assert!(!good, "one was refused: {said} {why}");
    let batch: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(batch["counts"]["succeeded"], 2, "{batch:#}");
    assert_eq!(
        batch["items"][2]["refusal"]["code"], "INVALID_INPUT",
        "{batch:#}"
    );
    assert!(
        text(&batch, "/items/0/job/videoUrl").starts_with("http"),
        "{batch:#}"
    );
    let id = text(&batch, "/id");
    // The same table is the same batch.
    let (_, said, _) = run(&create).await;
    assert!(said.contains(id) && said.contains("2 succeeded"), "{said}");
    assert_eq!(world.billed(Vendor::HeyGen), 2);
    let (_, said, _) = run(&["retry", id]).await;
    assert!(said.contains("INVALID_INPUT"), "{said}");
    let (good, _, why) = run(&["show", "bat_00000000000070008000000000000000"]).await;
    assert!(!good && why.contains("there is no batch"), "{why}");
    let words = ["batch", "show", id, "--url", &world.server().url];
    let output = server::run(folder, &words, &[]).await;
    let why = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(why.contains("set GENVID_TOKEN"), "{why}");
}
