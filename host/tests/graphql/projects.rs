//! Projects, and how problems name fields.

use serde_json::{Value, json};

use crate::harness::Bench;

const CREATE: &str = "mutation ($input: CreateProjectInput!) { createProject(input: $input) {
    __typename
    ... on CreateProjectSuccess { project { name productName productDescription productImages } }
    ... on InvalidInputProblem { problems { path message } }
    ... on Problem { code message path } } }";

const UPDATE: &str = "mutation ($input: UpdateProjectInput!) { updateProject(input: $input) {
    __typename
    ... on UpdateProjectSuccess { project { name productName productImages } }
    ... on InvalidInputProblem { problems { path message } }
    ... on Problem { code path } } }";

async fn create(bench: &Bench, input: Value) -> Value {
    bench.data(CREATE, json!({ "input": input })).await["createProject"].take()
}

async fn update(bench: &Bench, input: Value) -> Value {
    bench.data(UPDATE, json!({ "input": input })).await["updateProject"].take()
}

#[tokio::test]
async fn what_is_given_is_kept() {
    let bench = Bench::new().await;
    let made = create(
        &bench,
        json!({
            "name": " Bottle ", "productName": "Aurora", "productDescription": "Keeps cold.",
            "productImages": ["https://example.com/a.jpg"],
        }),
    )
    .await;
    assert_eq!(
        made["project"],
        json!({
            "name": "Bottle", "productName": "Aurora", "productDescription": "Keeps cold.",
            "productImages": ["https://example.com/a.jpg"],
        })
    );
    let bare = create(&bench, json!({ "name": "Cup" })).await;
    assert_eq!(
        bare["project"],
        json!({
            "name": "Cup", "productName": null, "productDescription": null, "productImages": [],
        })
    );
}

#[tokio::test]
async fn every_wrong_field_is_named_at_once() {
    let bench = Bench::new().await;
    let refused = create(
        &bench,
        json!({
            "name": "  ", "productName": "x".repeat(201),
            "productImages": ["https://example.com/a.jpg", "http://example.com/b.jpg"],
        }),
    )
    .await;
    assert_eq!(refused["__typename"], "InvalidInputProblem");
    assert_eq!(refused["code"], "INVALID_INPUT");
    assert_eq!(refused["path"], json!(["name"]));
    assert_eq!(refused["message"], "name: must not be empty");
    let paths: Vec<_> = refused["problems"]
        .as_array()
        .expect("problems")
        .iter()
        .map(|problem| problem["path"].clone())
        .collect();
    assert_eq!(
        paths,
        [
            json!(["name"]),
            json!(["productName"]),
            json!(["productImages", "1"])
        ]
    );
}

#[tokio::test]
async fn addresses_that_are_none_are_field_problems_too() {
    let bench = Bench::new().await;
    let input = json!({ "name": "A", "productImages": ["not an address", "/a.jpg"] });
    let refused = create(&bench, input).await;
    assert_eq!(
        refused["problems"],
        json!([
            { "path": ["productImages", "0"], "message": "must be an absolute address" },
            { "path": ["productImages", "1"], "message": "must be an absolute address" },
        ])
    );
    let many: Vec<_> = (0..5_000).map(|_| "nonsense").collect();
    let refused = create(&bench, json!({ "name": "A", "productImages": many })).await;
    assert_eq!(refused["problems"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn an_update_leaves_what_is_left_out_and_empties_what_is_null() {
    let bench = Bench::new().await;
    let id = bench.create_project("Bottle").await;
    let images = json!(["https://example.com/a.jpg"]);
    let input = json!({ "id": id, "productName": "Aurora", "productImages": images });
    let full = update(&bench, input).await;
    assert_eq!(
        full["project"],
        json!({ "name": "Bottle", "productName": "Aurora", "productImages": images })
    );
    let same = update(&bench, json!({ "id": id })).await;
    assert_eq!(same["project"], full["project"]);
    let emptied = json!({ "id": id, "productName": null, "productImages": null });
    assert_eq!(
        update(&bench, emptied).await["project"],
        json!({ "name": "Bottle", "productName": null, "productImages": [] })
    );
    let nameless = update(&bench, json!({ "id": id, "name": null })).await;
    assert_eq!(nameless["problems"][0]["path"], json!(["name"]));
    let nowhere = update(&bench, json!({ "id": "bottle", "name": "B" })).await;
    assert_eq!(nowhere["problems"][0]["path"], json!(["id"]));
}

#[tokio::test]
async fn a_deleted_project_is_gone_and_its_jobs_stay() {
    let bench = Bench::new().await;
    let id = bench.create_project("Bottle").await;
    let job = bench.accept_video(Some(&id)).await.to_string();
    let delete = "mutation ($id: ID!) { deleteProject(input: { id: $id }) {
        ... on DeleteProjectSuccess { deletedProjectId } ... on Problem { code path } } }";
    let done = bench.data(delete, json!({ "id": id })).await;
    assert_eq!(done["deleteProject"]["deletedProjectId"], json!(id));
    let again = bench.data(delete, json!({ "id": id })).await;
    assert_eq!(
        again["deleteProject"],
        json!({ "code": "NOT_FOUND", "path": ["id"] })
    );
    let look = "query ($project: ID!, $job: ID!) {
        project(id: $project) { id } job(id: $job) { id project { id } } }";
    let left = bench.data(look, json!({ "project": id, "job": job })).await;
    assert_eq!(left["project"], json!(null));
    assert_eq!(left["job"], json!({ "id": job, "project": null }));
}

const BUDGET: &str = "mutation ($input: SetProjectBudgetInput!) { setProjectBudget(input: $input) {
    __typename
    ... on SetProjectBudgetSuccess { project { id budget {
        credits period spent held remaining resetsAt } } }
    ... on Problem { code path } } }";

async fn set_budget(bench: &Bench, input: Value) -> Value {
    bench.data(BUDGET, json!({ "input": input })).await["setProjectBudget"].take()
}

#[tokio::test]
async fn a_budget_is_set_shown_and_taken_back() {
    let bench = Bench::new().await;
    let made = "mutation { createProject(input: {name: \"Bottle\"}) {
        ... on CreateProjectSuccess { project { id budget { credits } } } } }";
    let made = bench.data(made, json!({})).await;
    let project = &made["createProject"]["project"];
    assert_eq!(project["budget"], Value::Null);
    let id = project["id"].clone();
    let set = set_budget(&bench, json!({"projectId": id, "credits": 50})).await;
    assert_eq!(
        set["project"]["budget"],
        json!({"credits": 50, "period": "TOTAL", "spent": 0, "held": 0, "remaining": 50,
            "resetsAt": null})
    );
    let monthly = json!({"projectId": id, "credits": 0, "period": "MONTH"});
    let set = set_budget(&bench, monthly).await;
    let budget = &set["project"]["budget"];
    assert_eq!(
        (&budget["period"], &budget["remaining"]),
        (&json!("MONTH"), &json!(0))
    );
    let resets = budget["resetsAt"].as_str().expect("a time");
    assert!(resets.contains("-01T00:00:00"), "{resets}");
    let shown = bench
        .data("{ projects { nodes { budget { credits } } } }", json!({}))
        .await;
    assert_eq!(shown["projects"]["nodes"][0]["budget"]["credits"], 0);
    let refused = set_budget(&bench, json!({"projectId": id, "credits": -1})).await;
    assert_eq!(
        refused,
        json!({"__typename": "InvalidInputProblem", "code": "INVALID_INPUT", "path": ["credits"]})
    );
    let gone = set_budget(&bench, json!({"projectId": id, "credits": null})).await;
    assert_eq!(gone["project"]["budget"], Value::Null);
    let unknown = genvid::ids::ProjectId::generate().to_string();
    let refused = set_budget(&bench, json!({"projectId": unknown, "credits": 1})).await;
    assert_eq!(
        refused,
        json!({"__typename": "NotFoundProblem", "code": "NOT_FOUND", "path": ["projectId"]})
    );
}
