//! What belongs to accounts and to their keys.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{ACCOUNTS, ADMINS, Ids, OPEN, PUBLIC, assert_silent, one, refused, shape::Shape};
use crate::support::{client::Client, text};

/// A key does what its scopes say: a root field that is neither public, nor for admins, nor about
/// accounts and keys needs one.
pub(super) async fn scopes(owner: &Client, shape: &Shape, ids: &Ids) {
    let mut keys = Vec::new();
    for scope in ["READ", "PROJECTS", "GENERATE", "WEBHOOKS", "BILLING"] {
        let wish = json!({"name": scope, "scopes": [scope]});
        let made = one(owner, shape, "createApiKey", wish).await;
        let made = &made["data"]["createApiKey"];
        assert_eq!(made["apiKey"]["scopes"], json!([scope]));
        keys.push((scope, owner.signed_in_as(text(made, "/secret"))));
    }
    let is_refused = |answer: &Value| answer["errors"][0]["extensions"]["code"] == "FORBIDDEN";
    for field in shape.fields("Query") {
        let arguments = ids.arguments(&field).swap_remove(0);
        let query = shape.query(&field, &arguments);
        for (scope, program) in &keys {
            let answer = program.send(&query, json!({})).await;
            let may = *scope == "READ" || (PUBLIC.contains(&field.as_str()) && field != "me");
            let never =
                ADMINS.contains(&field.as_str()) || ["apiKeys", "sessions"].contains(&&*field);
            assert_eq!(
                is_refused(&answer),
                never || !may,
                "{field} {scope} {answer}"
            );
        }
    }
    for mutation in shape.fields("Mutation") {
        if OPEN.contains(&mutation.as_str()) {
            continue;
        }
        let mut may = Vec::new();
        for (scope, program) in &keys {
            // With an input that comes to nothing, whoever may.
            let missing = ids.missing().input(&mutation, "");
            let answer = one(program, shape, &mutation, missing).await;
            if !is_refused(&answer) {
                may.push(*scope);
            }
        }
        let never = ACCOUNTS.contains(&mutation.as_str())
            || ADMINS.contains(&mutation.as_str())
            || [
                "createApiKey",
                "limitApiKey",
                "revokeApiKey",
                "retryBatch",
                "retryJob",
                "setProjectBudget",
            ]
            .contains(&&*mutation);
        assert_eq!(may.len(), usize::from(!never), "{mutation} {may:?}");
        // Who may look at everything may let others look at one thing.
        let reads = mutation == "createJobToken";
        assert_eq!(may.contains(&"READ"), reads, "{mutation}");
    }
    for field in shape.fields("Subscription") {
        let query = match &*field {
            "jobEvents" => format!(
                "subscription {{ jobEvents(jobId: \"{}\") {{ seq }} }}",
                ids.film
            ),
            other => format!("subscription {{ {other} {{ seq }} }}"),
        };
        for (_, program) in keys.iter().filter(|(scope, _)| *scope != "READ") {
            let errors = refused(program, &query, json!({})).await;
            assert!(errors.to_string().contains("FORBIDDEN"), "{field} {errors}");
        }
    }
}

/// What belongs to an account with a password, from its beginning to its end.
pub(super) async fn account(
    nobody: &Client,
    shape: &Shape,
    ids: &Ids,
    own: &BTreeSet<String>,
    reached: &mut BTreeSet<String>,
) {
    let mut tell = |root: &str, asked: &str, answer: &Value| {
        assert_silent(answer, own, asked);
        assert!(answer.get("errors").is_none(), "{asked} {answer:#}");
        shape.walk(root, &answer["data"], reached);
    };
    for mutation in [
        "verifyEmail",
        "requestPasswordReset",
        "resetPassword",
        "refreshSession",
    ] {
        let answer = one(nobody, shape, mutation, ids.input(mutation, "")).await;
        tell("Mutation", mutation, &answer);
    }
    let made = one(nobody, shape, "register", ids.input("register", "")).await;
    tell("Mutation", "register", &made);
    let again = one(nobody, shape, "login", ids.input("login", "")).await;
    tell("Mutation", "login", &again);
    let inside = |answer: &Value, name: &str| {
        nobody.signed_in_as(text(answer, &format!("/data/{name}/accessToken")))
    };
    let first = inside(&made, "register");
    let answer = first
        .send(&shape.query("sessions", "(first: 3)"), json!({}))
        .await;
    tell("Query", "sessions", &answer);
    let other = text(&answer, "/data/sessions/edges/0/node/id").to_owned();
    for mutation in ["updateProfile", "requestEmailVerification", "changeEmail"] {
        let answer = one(&first, shape, mutation, ids.input(mutation, "")).await;
        tell("Mutation", mutation, &answer);
    }
    // Somebody else's session is none.
    let strange = one(
        &first,
        shape,
        "revokeSession",
        ids.input("revokeSession", ""),
    )
    .await;
    assert_eq!(strange["data"]["revokeSession"]["code"], "NOT_FOUND");
    let closed = one(&first, shape, "revokeSession", json!({"sessionId": other})).await;
    tell("Mutation", "revokeSession", &closed);
    let changed = one(
        &first,
        shape,
        "changePassword",
        ids.input("changePassword", ""),
    )
    .await;
    tell("Mutation", "changePassword", &changed);
    let inside = inside(&changed, "changePassword");
    let gone = one(
        &inside,
        shape,
        "deleteAccount",
        ids.input("deleteAccount", ""),
    )
    .await;
    tell("Mutation", "deleteAccount", &gone);
    for mutation in ["logout", "logoutEverywhere"] {
        let again = one(nobody, shape, "register", ids.input("register", "")).await;
        let token = text(&again, "/data/register/accessToken");
        let client = nobody.signed_in_as(token);
        let answer = one(&client, shape, mutation, ids.input(mutation, "")).await;
        tell("Mutation", mutation, &answer);
    }
}
