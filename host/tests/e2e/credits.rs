//! Credits, from the outside: who has none starts nothing, and the books add up.

use serde_json::{Value, json};

use crate::support::{client::Client, list, text, world::Setup, world::World};

const GENERATE: &str = "mutation($input: GenerateVoiceInput!) { generateVoice(input: $input) {
    __typename ... on Problem { code message path }
    ... on InsufficientCreditsProblem { required available }
    ... on GenerateVoiceSuccess { job { id credits { held captured } } } } }";
const MINE: &str = "{ me { credits { available held } } jobs { nodes { id } } }";
const LEDGER: &str = "query($after: String) { creditLedger(first: 2, after: $after) {
    pageInfo { hasNextPage endCursor }
    nodes { id at kind amount balanceAfter reason job { id status } } } }";

async fn ledger(client: &Client) -> Vec<Value> {
    let (mut lines, mut after) = (Vec::new(), Value::Null);
    loop {
        let data = client.ask(LEDGER, json!({"after": after})).await;
        lines.extend(list(&data, "/creditLedger/nodes").iter().cloned());
        if data["creditLedger"]["pageInfo"]["hasNextPage"] == false {
            return lines;
        }
        after = data["creditLedger"]["pageInfo"]["endCursor"].clone();
    }
}

async fn admin(world: &World, words: &[&str]) -> (bool, Value) {
    let told = world
        .run_beside(&[&["admin"], words, &["--json"]].concat())
        .await;
    let answer = serde_json::from_slice(&told.stdout).unwrap_or(Value::Null);
    (told.status.success(), answer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_no_credits_starts_nothing() {
    let world = Setup::default().set("development.credits", 2).start().await;
    let client = world.client();
    let long = "Cold water, all day, wherever you go. ".repeat(40);
    let wish = json!({"input": {"text": long, "language": "en", "idempotencyKey": world.key()}});
    let refused = client.ask(GENERATE, wish.clone()).await;
    let refused = &refused["generateVoice"];
    assert_eq!(refused["__typename"], "InsufficientCreditsProblem");
    assert_eq!(refused["code"], "INSUFFICIENT_CREDITS");
    assert_eq!(refused["available"], 2);
    let required = refused["required"].as_i64().expect("a number");
    assert!(required > 2, "{refused}");
    let mine = client.ask(MINE, json!({})).await;
    assert_eq!(mine["me"]["credits"], json!({"available": 2, "held": 0}));
    assert!(list(&mine, "/jobs/nodes").is_empty(), "{mine}");

    // The operator helps; the same request may come again.
    let user = text(&client.ask("{ me { id } }", json!({})).await, "/me/id").to_owned();
    let credits = required.to_string();
    let grant = [
        "credits",
        "grant",
        "--user",
        &user,
        "--credits",
        &credits,
        "--reason",
        "A gift",
        "--key",
        "gift-1",
    ];
    for repeated in [false, true] {
        let (done, answer) = admin(&world, &grant).await;
        assert!(done, "{answer}");
        assert_eq!(answer["available"], required + 2);
        assert_eq!(answer["repeated"], repeated);
    }
    // Nor does anything begin that may cost more than the caller allows.
    let mut limited = wish.clone();
    limited["input"]["maxCredits"] = json!(required - 1);
    let refused = client.ask(GENERATE, limited).await;
    let refused = &refused["generateVoice"];
    assert_eq!(refused["code"], "INVALID_INPUT");
    assert_eq!(refused["path"], json!(["maxCredits"]), "{refused}");
    let mut wish = wish;
    wish["input"]["maxCredits"] = json!(required);
    let accepted = client.ask(GENERATE, wish).await;
    let job = &accepted["generateVoice"]["job"];
    assert_eq!(job["credits"], json!({"held": required, "captured": 0}));
    let job = text(job, "/id").to_owned();
    client.ended(&job, "SUCCEEDED").await;
    let captured = client.job(&job).await["credits"]["captured"].as_i64();
    let captured = captured.expect("a number");
    assert!((1..=required).contains(&captured));

    let lines = ledger(&client).await;
    let available = required + 2 - captured;
    let sum: i64 = lines
        .iter()
        .filter_map(|line| line["amount"].as_i64())
        .sum();
    assert_eq!(sum, available);
    assert_eq!(lines[0]["balanceAfter"], available);
    let held = lines.iter().find(|line| line["kind"] == "HOLD");
    let held = held.expect("a hold");
    assert_eq!(held["amount"], -required);
    assert_eq!(held["job"]["id"], job.as_str());
    assert_eq!(
        lines.last().expect("the first")["reason"],
        "For development"
    );

    for (words, good) in [
        (vec!["--credits", "-1000000", "--reason", "Too many"], false),
        (vec!["--credits", "-1", "--reason", "One"], true),
    ] {
        let all = [&["credits", "adjust", "--user", user.as_str()], &words[..]].concat();
        assert_eq!(admin(&world, &all).await.0, good, "{words:?}");
    }
    let (_, shown) = admin(&world, &["credits", "show", "--user", &user]).await;
    assert_eq!(shown["available"], available - 1);
    assert_eq!(shown["ledger"][0]["kind"], "ADJUSTMENT");
    world.audit().await;
}
