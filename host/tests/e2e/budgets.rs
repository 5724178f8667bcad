//! Budgets of projects: never passed, also by a server that dies while jobs race for what is left.

use rand::RngExt as _;
use serde_json::{Value, json};

use crate::support::{client::Client, seed, text, world::World};

const SET: &str = "mutation($input: SetProjectBudgetInput!) { setProjectBudget(input: $input) {
    __typename ... on Problem { message } } }";
const BUDGET: &str = "query($id: ID!) { project(id: $id) {
    budget { credits spent held remaining } } }";
const GENERATE: &str = "mutation($input: GenerateVideoInput!) { generateVideo(input: $input) {
    __typename ... on Problem { code message } ... on GenerateVideoSuccess { job { id } } } }";
const CREDITS: &str = "query($id: ID!) { job(id: $id) { credits { held captured } } }";
const FILMS: usize = 10;

async fn budget(client: &Client, project: &str) -> Value {
    let data = client.ask(BUDGET, json!({"id": project})).await;
    let budget = data["project"]["budget"].clone();
    let number = |field: &str| budget[field].as_i64().expect("a number");
    let counted = number("spent") + number("held");
    assert!(counted <= number("credits"), "it is passed: {budget}");
    budget
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_is_not_passed_by_a_server_that_dies() {
    let mut random = seed::random();
    let mut world = World::start().await;
    let client = world.client();
    let project = client.project().await;
    // What one such film holds, to the credit.
    let probe = world.wish(&project, json!({"reuse": false}));
    let data = client.ask(GENERATE, json!({"input": probe})).await;
    let first = text(&data, "/generateVideo/job/id").to_owned();
    let held = client.ask(CREDITS, json!({"id": first})).await;
    let held = held["job"]["credits"]["held"].as_i64().expect("a number");
    assert!(held > 0, "{data}");
    let done = client.ended(&first, "SUCCEEDED").await;
    let spent = done["credits"]["captured"].as_i64().expect("a number");

    // Room for three at a time, and for about five in all.
    let credits = spent + 3 * held;
    let input = json!({"projectId": project, "credits": credits});
    client.ask(SET, json!({"input": input})).await;
    let wishes: Vec<Value> = (0..FILMS)
        .map(|_| world.wish(&project, json!({"reuse": false})))
        .collect();
    let mut accepted: Vec<Option<String>> = vec![None; FILMS];
    for round in 0..4 {
        let client = world.client();
        for (wish, id) in wishes.iter().zip(&mut accepted) {
            // Those that were refused are sent again: there may be room now.
            if id.is_some() {
                continue;
            }
            let data = client.ask(GENERATE, json!({"input": wish})).await;
            let answer = &data["generateVideo"];
            match answer["code"].as_str() {
                None => *id = Some(text(answer, "/job/id").to_owned()),
                Some(code) => assert_eq!(code, "BUDGET_EXCEEDED", "{answer}"),
            }
        }
        budget(&client, &project).await;
        if round < 3 {
            let wait = random.random_range(0..900);
            tokio::time::sleep(std::time::Duration::from_millis(wait)).await;
            world.kill_and_start_again().await;
            budget(&world.client(), &project).await;
        }
    }
    let client = world.client();
    let accepted: Vec<String> = accepted.into_iter().flatten().collect();
    assert!(accepted.len() >= 3, "{} were accepted", accepted.len());
    let mut sum = spent;
    for id in &accepted {
        let job = client.ended(id, "SUCCEEDED").await;
        sum += job["credits"]["captured"].as_i64().expect("a number");
        budget(&client, &project).await;
    }
    let over = budget(&client, &project).await;
    assert_eq!(over["held"], 0, "{over}");
    assert_eq!(over["spent"], sum, "what the jobs spent: {over}");
    world.audit().await;
}
