//! Every root field with a token for one job: that job can be watched, and nothing else is to be had.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{CANARY, Ids, OPEN, PUBLIC, one, refused, shape::Shape};
use crate::support::{client::Client, text};

/// What a job keeps from those who only watch it, wherever it stands.
const KEPT: [&str; 7] = [
    "project",
    "costMicroUsd",
    "credits",
    "attempts",
    "reusedFrom",
    "charged",
    "vendorCode",
];
const WATCH: &str = "query($id: ID!) { job(id: $id) { id status progress videoUrl subtitlesUrl
    steps { kind status provider } error { code message } events(first: 3) { nodes { seq } } } }";
const FOLLOW: &str =
    "subscription($id: ID!) { jobEvents(jobId: $id) { seq type job { id status } } }";

/// `others` are ids of the owner's that are not of this job.
pub(super) async fn watch(owner: &Client, shape: &Shape, ids: &Ids, own: &BTreeSet<String>) {
    let ask = async |job: &str, minutes: Value| {
        let input = json!({"jobId": job, "minutes": minutes});
        let answer = one(owner, shape, "createJobToken", input).await;
        answer["data"]["createJobToken"].clone()
    };
    for minutes in [json!(0), json!(-1), json!(1_441)] {
        let refused = ask(&ids.film, minutes).await;
        assert_eq!(refused["path"], json!(["minutes"]), "{refused}");
    }
    let missing = ask(&ids.missing().film, json!(null)).await;
    assert_eq!(missing["code"], "NOT_FOUND");
    let made = ask(&ids.film, json!(1)).await;
    let watcher = owner.signed_in_as(text(&made, "/token"));

    // The job itself, without what it costs and how it was made.
    let seen = watcher.ask(WATCH, json!({"id": ids.film})).await;
    assert_eq!(seen["job"]["status"], "SUCCEEDED");
    let video = reqwest::get(text(&seen, "/job/videoUrl")).await;
    assert!(video.expect("an answer").status().is_success());
    let whole = shape.query("job", &format!("(id: \"{}\")", ids.film));
    let answer = watcher.send(&whole, json!({})).await;
    let errors = answer["errors"].as_array().expect("errors");
    for error in errors {
        assert_eq!(error["extensions"]["code"], "FORBIDDEN", "{error}");
        let path = error["path"].as_array().expect("a path");
        let field = path.iter().rev().find_map(Value::as_str);
        assert!(field.is_some_and(|name| KEPT.contains(&name)), "{error}");
    }
    for kept in [
        "project { id }",
        "costMicroUsd",
        "credits { held }",
        "steps { attempts { id } }",
    ] {
        let query = format!("query($id: ID!) {{ job(id: $id) {{ {kept} }} }}");
        let answer = watcher.send(&query, json!({"id": ids.film})).await;
        let code = &answer["errors"][0]["extensions"]["code"];
        assert_eq!(code, "FORBIDDEN", "{kept} {answer}");
    }
    let others: BTreeSet<String> = own.iter().filter(|id| **id != ids.film).cloned().collect();
    let silent = |answer: &Value, asked: &str| {
        let answer = answer.to_string();
        for id in &others {
            assert!(!answer.contains(id.as_str()), "{asked} tells {id}");
        }
    };
    silent(&answer, "job");
    let other = watcher.ask(WATCH, json!({"id": ids.failed})).await;
    assert!(other["job"].is_null());

    // Everything else.
    for field in shape.fields("Query").iter().filter(|name| *name != "job") {
        for arguments in ids.arguments(field) {
            let answer = watcher
                .send(&shape.query(field, &arguments), json!({}))
                .await;
            silent(&answer, field);
            assert!(!answer.to_string().contains(CANARY), "{field} {answer}");
            if field == "me" || !PUBLIC.contains(&field.as_str()) {
                let code = &answer["errors"][0]["extensions"]["code"];
                assert_eq!(code, "FORBIDDEN", "{field} {answer}");
            }
        }
    }
    for mutation in shape.fields("Mutation") {
        if OPEN.contains(&mutation.as_str()) {
            continue;
        }
        let input = ids.input(&mutation, "watcher");
        let answer = one(&watcher, shape, &mutation, input).await;
        let code = &answer["errors"][0]["extensions"]["code"];
        assert_eq!(code, "FORBIDDEN", "{mutation} {answer}");
    }
    let mut live = watcher.live().await;
    live.subscribe(FOLLOW, json!({"id": ids.film})).await;
    let event = live.next().await.event();
    assert_eq!(event["seq"], 1, "{event}");
    let strange = refused(&watcher, FOLLOW, json!({"id": ids.failed})).await;
    let none = refused(&watcher, FOLLOW, json!({"id": ids.missing().failed})).await;
    assert_eq!(strange, none);
    refused(&watcher, "subscription { myJobEvents { seq } }", json!({})).await;

    // One that was changed signs nobody in.
    let token = text(&made, "/token");
    let forged = format!("{}{}", &token[..30], token[30..].to_uppercase());
    let answer = owner
        .signed_in_as(&forged)
        .send("{ me { id } }", json!({}))
        .await;
    let code = &answer["errors"][0]["extensions"]["code"];
    assert_eq!(code, "UNAUTHENTICATED", "{answer}");
}
