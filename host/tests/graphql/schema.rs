//! What the schema says of itself, and the files that are written from it.

use std::{collections::BTreeSet, fs, path::PathBuf};

use futures::StreamExt;
use genvid::graphql::{
    self,
    codes::{ErrorCode, Place, errors_page},
};
use genvid::ids::UploadId;
use serde_json::{Value, json};

use crate::harness::Bench;

fn repository(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(path)
}

fn committed(path: &str) -> String {
    let path = repository(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn the_committed_schema_is_the_programs() {
    assert!(
        committed("graphql/schema.graphql") == graphql::sdl(),
        "graphql/schema.graphql is out of date: run `cargo xtask codegen`"
    );
}

#[test]
fn the_committed_list_of_errors_is_the_programs() {
    assert!(
        committed("graphql/ERRORS.md") == errors_page(),
        "graphql/ERRORS.md is out of date: run `cargo xtask codegen`"
    );
}

#[test]
fn the_schema_is_sorted_and_always_the_same() {
    let sdl = graphql::sdl();
    assert_eq!(sdl, graphql::sdl());
    let types: Vec<_> = sdl
        .lines()
        .filter_map(|line| {
            let (word, rest) = line.split_once(' ')?;
            ["type", "input", "enum", "scalar", "union", "interface"]
                .contains(&word)
                .then(|| rest.split([' ', '@']).next().unwrap_or_default())
        })
        .collect();
    assert!(types.len() > 50, "{types:?}");
    assert!(types.is_sorted(), "{types:?}");
}

/// Renaming or losing a code breaks clients: the list is read in every review.
#[test]
fn the_list_of_error_codes() {
    let list: Vec<_> = ErrorCode::ALL
        .iter()
        .map(|code| {
            let entry = code.entry();
            format!(
                "{} {:?} retryable={}",
                entry.code, entry.places, entry.retryable
            )
        })
        .collect();
    let unique: BTreeSet<_> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(unique.len(), ErrorCode::ALL.len());
    insta::assert_snapshot!(list.join("\n"));
}

#[test]
fn every_code_says_what_to_do() {
    for code in ErrorCode::ALL {
        let entry = code.entry();
        for text in [entry.happened, entry.remedy] {
            assert!(
                text.len() > 10 && text.ends_with('.'),
                "{}: {text}",
                entry.code
            );
        }
    }
}

/// The transport's own codes are on the list too, also those that it will get.
#[test]
fn codes_of_the_transport_are_in_the_list() {
    let source = committed("host/transport/src/codes.rs");
    let codes: Vec<_> = source
        .lines()
        .filter_map(|line| line.strip_prefix("pub const ")?.split('"').nth(1))
        .collect();
    assert!(codes.len() > 10, "{codes:?}");
    let listed: BTreeSet<_> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
    for code in codes {
        assert!(listed.contains(code), "{code}");
    }
}

const INTROSPECTION: &str = "{ __schema { types {
    kind name description specifiedByURL
    fields(includeDeprecated: true) {
        name description args { name description } type { ofType { name } }
    }
    inputFields { name description }
    enumValues(includeDeprecated: true) { name description }
    possibleTypes { name }
} } }";

async fn types() -> Vec<Value> {
    let bench = Bench::new().await;
    let mut data = bench.data(INTROSPECTION, json!({})).await;
    let types = data["__schema"]["types"].take();
    let Value::Array(types) = types else {
        panic!("types are a list")
    };
    types
        .into_iter()
        .filter(|kind| !kind["name"].as_str().unwrap_or_default().starts_with("__"))
        .collect()
}

fn list<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    value[field].as_array().into_iter().flatten()
}

#[tokio::test]
async fn everything_is_described() {
    const BUILT_IN: [&str; 5] = ["Boolean", "Float", "ID", "Int", "String"];
    let mut bare = Vec::new();
    let mut check = |thing: &Value, place: String| {
        let words = thing["description"].as_str().unwrap_or_default().trim();
        if words.is_empty() {
            bare.push(place);
        }
    };
    for kind in types().await {
        let name = kind["name"].as_str().expect("a name").to_owned();
        if BUILT_IN.contains(&name.as_str()) {
            continue;
        }
        check(&kind, name.clone());
        for group in ["fields", "inputFields", "enumValues"] {
            for field in list(&kind, group) {
                let place = format!("{name}.{}", field["name"]);
                check(field, place.clone());
                for argument in list(field, "args") {
                    check(argument, format!("{place}({})", argument["name"]));
                }
            }
        }
        if kind["kind"] == "SCALAR" {
            assert!(kind["specifiedByURL"].is_string(), "{name}");
        }
    }
    assert_eq!(bare, Vec::<String>::new());
}

/// The words of problems and of jobs' errors are those of the one list, and all of them.
#[tokio::test]
async fn words_of_problems_and_failures_are_in_the_list() {
    let types = types().await;
    for (name, place) in [("ProblemCode", Place::Problem), ("FailureCode", Place::Job)] {
        let kind = types
            .iter()
            .find(|kind| kind["name"] == name)
            .expect("the type");
        let words: BTreeSet<_> = list(kind, "enumValues")
            .map(|word| word["name"].as_str().expect("a word"))
            .collect();
        let listed: BTreeSet<_> = ErrorCode::ALL
            .iter()
            .map(|code| code.entry())
            .filter(|entry| entry.places.contains(&place))
            .map(|entry| entry.code)
            .collect();
        assert_eq!(words, listed, "{name}");
    }
}

/// Mutations about whoever asks.
const WITHOUT_INPUT: [&str; 3] = ["logout", "logoutEverywhere", "requestEmailVerification"];
/// Mutations whose outcome must not say more, or has nothing to say.
const YES_OR_NO: [&str; 4] = [
    "logout",
    "logoutEverywhere",
    "requestPasswordReset",
    "verifyEmail",
];
/// Mutations that end in a session.
const SIGNS_IN: [&str; 5] = [
    "changePassword",
    "login",
    "refreshSession",
    "register",
    "resetPassword",
];

#[tokio::test]
async fn every_mutation_takes_one_input_and_answers_a_union_with_problems() {
    let types = types().await;
    let find = |name: &str| {
        types
            .iter()
            .find(|kind| kind["name"] == name)
            .unwrap_or_else(|| panic!("{name}"))
    };
    let problems: BTreeSet<_> = list(find("Problem"), "possibleTypes")
        .map(|kind| kind["name"].as_str().expect("a name"))
        .collect();
    for mutation in list(find("Mutation"), "fields") {
        let name = mutation["name"].as_str().expect("a name");
        let arguments: Vec<_> = list(mutation, "args").map(|arg| &arg["name"]).collect();
        if !WITHOUT_INPUT.contains(&name) {
            assert_eq!(arguments, ["input"], "{name}");
        }
        if YES_OR_NO.contains(&name) {
            assert_eq!(mutation["type"]["ofType"]["name"], "Boolean", "{name}");
            continue;
        }
        let stem = match SIGNS_IN.contains(&name) {
            true => "Auth".to_owned(),
            false => format!("{}{}", name[..1].to_uppercase(), &name[1..]),
        };
        let members: Vec<_> = list(find(&format!("{stem}Result")), "possibleTypes")
            .map(|kind| kind["name"].as_str().expect("a name"))
            .collect();
        let success = format!("{stem}Success");
        assert!(members.contains(&success.as_str()), "{name}: {members:?}");
        for member in members.into_iter().filter(|member| *member != success) {
            assert!(problems.contains(member), "{member} is no Problem");
        }
    }
}

/// Every document of `graphql/operations` runs, with variables that make sense for it.
#[tokio::test]
async fn the_operations_of_the_documents_run() {
    let bench = Bench::new().await;
    let project = bench.create_project("Bottle").await;
    let job = bench.accept_video(Some(&project)).await.to_string();
    let gone = bench.create_project("Old").await;
    let upload = UploadId::generate().to_string();
    let films = |project: &str| {
        json!({ "input": { "projectId": project, "idempotencyKey": "films", "items": [
            { "language": "en", "aspects": ["PORTRAIT", "SQUARE"] },
        ] } })
    };
    let many = fs::read_to_string(repository("graphql/operations/GenerateVideos.graphql"));
    let many = many.expect("a document");
    let batch = bench.answer(Some(&bench.ann), &many, films(&project)).await;
    let batch = batch["data"]["generateVideos"]["batch"]["id"].clone();
    assert!(batch.is_string(), "there is a batch");
    let variables = |name: &str| match name {
        "CreditOffers" | "Me" | "Credits" | "ScriptTemplates" | "Avatars" | "Voices"
        | "Providers" | "Projects" => {
            json!({})
        }
        "WatchMyJobs" => json!({ "after": "ZXZ0XzA" }),
        "CreateProject" => json!({ "input": { "name": "Cup" } }),
        "CreateApiKey" => json!({ "input": { "name": "Shop", "credits": 500 } }),
        "CreateJobToken" => json!({ "input": { "jobId": job, "minutes": 30 } }),
        "CreateUpload" => json!({ "input": { "contentType": "image/png", "size": 1_000 } }),
        "CompleteUpload" => json!({ "input": { "uploadId": upload } }),
        "CreateWebhookEndpoint" => json!({ "input": { "url": "https://example.com/hook" } }),
        "WebhookEndpoints" => json!({ "first": 5 }),
        "CreateCheckout" => json!({ "input": {
            "pack": "small", "successUrl": "https://app.test/paid", "idempotencyKey": "page",
        } }),
        "CreatePortalSession" => json!({ "input": { "returnUrl": "https://app.test" } }),
        "UpdateProject" => json!({ "input": { "id": project, "productName": "Aurora" } }),
        "DeleteProject" => json!({ "input": { "id": gone } }),
        "Project" | "Node" => json!({ "id": project }),
        "Job" => json!({ "id": job }),
        "JobLog" => json!({ "id": job, "after": 0, "first": 10 }),
        "Jobs" => json!({ "first": 10, "filter": { "projectId": project, "status": "QUEUED" } }),
        "WatchJob" => json!({ "jobId": job, "after": 0 }),
        "ProviderOptions" => json!({ "kind": "VIDEO" }),
        "GenerateScript" => json!({ "input": {
            "projectId": project, "language": "en", "idempotencyKey": "script",
        } }),
        "GenerateVoice" => json!({ "input": {
            "text": "Hi.", "language": "en", "idempotencyKey": "voice",
        } }),
        "GenerateVideo" => json!({ "input": {
            "projectId": project, "language": "en", "aspect": "PORTRAIT",
            "idempotencyKey": "video",
        } }),
        "EditCaptions" => json!({ "input": {
            "jobId": job, "captions": [{ "startMs": 0, "endMs": 900, "text": "Hi." }],
            "idempotencyKey": "captions",
        } }),
        "Login" => json!({ "input": { "email": "ann@example.com", "password": "a guess" } }),
        "RefreshSession" => json!({ "input": { "refreshToken": "gv_rt_none", "attempt": "1" } }),
        "CancelJob" | "RetryJob" => json!({ "input": { "jobId": job } }),
        "GenerateVideos" => films(&project),
        "Batch" => json!({ "id": batch }),
        other => panic!("{other} has no variables here"),
    };
    let mut documents = Vec::new();
    for entry in fs::read_dir(repository("graphql/operations")).expect("the folder") {
        let path = entry.expect("an entry").path();
        assert_eq!(path.extension().and_then(|e| e.to_str()), Some("graphql"));
        let name = path.file_stem().and_then(|s| s.to_str()).expect("a name");
        let document = fs::read_to_string(&path).expect("a document");
        let heads = ["query", "mutation", "subscription"]
            .iter()
            .any(|kind| document.contains(&format!("\n{kind} {name}")));
        assert!(heads, "{name} is named after its file");
        documents.push((name.to_owned(), document));
    }
    // What the front page and the page of webhooks show runs too.
    let page = |path| fs::read_to_string(repository(path)).expect("a page");
    let pages = page("README.md") + &page("graphql/WEBHOOKS.md");
    for block in pages.split("```graphql\n").skip(1) {
        let document = block.split("```").next().expect("an end");
        let name = document
            .split(|c: char| !c.is_ascii_alphanumeric())
            .nth(1)
            .expect("a name");
        documents.push((name.to_owned(), format!("\n{document}")));
    }
    assert!(documents.len() >= 24, "{}", documents.len());
    for (name, document) in &documents {
        let answer = if document.contains("\nsubscription ") {
            let mut events = bench.follow(document, variables(name));
            events.next().await.expect("an event")
        } else {
            bench
                .answer(Some(&bench.ann), document, variables(name))
                .await
        };
        assert_eq!(answer.get("errors"), None, "{name}");
    }
}
