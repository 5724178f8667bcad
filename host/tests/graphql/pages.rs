//! Pages: walking forward gives the whole list, whatever the page's size.

use serde_json::{Value, json};

use crate::harness::Bench;

async fn walk(bench: &Bench, field: &str, first: u32) -> Vec<String> {
    let query = format!(
        "query ($first: Int, $after: String) {{ {field}(first: $first, after: $after) {{
            edges {{ cursor node {{ id }} }} nodes {{ id }}
            pageInfo {{ hasNextPage hasPreviousPage startCursor endCursor }} }} }}"
    );
    let (mut seen, mut after) = (Vec::new(), Value::Null);
    loop {
        let data = bench
            .data(&query, json!({ "first": first, "after": after }))
            .await;
        let page = &data[field];
        let edges = page["edges"].as_array().expect("edges");
        assert!(edges.len() <= first as usize);
        let nodes: Vec<_> = edges.iter().map(|edge| edge["node"].clone()).collect();
        assert_eq!(page["nodes"], json!(nodes));
        let info = &page["pageInfo"];
        let cursor = |edge: Option<&Value>| edge.map_or(Value::Null, |edge| edge["cursor"].clone());
        assert_eq!(info["startCursor"], cursor(edges.first()));
        assert_eq!(info["endCursor"], cursor(edges.last()));
        assert_eq!(info["hasPreviousPage"], json!(!after.is_null()));
        seen.extend(
            nodes
                .iter()
                .map(|node| node["id"].as_str().expect("an id").to_owned()),
        );
        if info["hasNextPage"] == json!(false) {
            return seen;
        }
        after = info["endCursor"].clone();
    }
}

#[tokio::test]
async fn walking_pages_gives_the_list_newest_first() {
    let bench = Bench::new().await;
    let (mut projects, mut jobs) = (Vec::new(), Vec::new());
    for number in 0..7 {
        let project = bench.create_project(&format!("Bottle {number}")).await;
        jobs.push(bench.accept_video(Some(&project)).await.to_string());
        projects.push(project);
    }
    projects.reverse();
    jobs.reverse();
    for first in [1, 2, 3, 6, 7, 8, 100] {
        assert_eq!(walk(&bench, "projects", first).await, projects, "{first}");
        assert_eq!(walk(&bench, "jobs", first).await, jobs, "{first}");
    }
    assert_eq!(walk(&bench, "avatars", 5).await, Vec::<String>::new());
    assert_eq!(walk(&bench, "voices", 5).await, Vec::<String>::new());
}

#[tokio::test]
async fn what_is_added_meanwhile_neither_repeats_nor_hides_anything() {
    let bench = Bench::new().await;
    for number in 0..4 {
        bench.create_project(&format!("Bottle {number}")).await;
    }
    let query = "query ($after: String) { projects(first: 2, after: $after) {
        nodes { name } pageInfo { endCursor } } }";
    let first = bench.data(query, json!({})).await;
    bench.create_project("Newer").await;
    let after = &first["projects"]["pageInfo"]["endCursor"];
    let second = bench.data(query, json!({ "after": after })).await;
    assert_eq!(
        second["projects"]["nodes"],
        json!([{ "name": "Bottle 1" }, { "name": "Bottle 0" }])
    );
}

#[tokio::test]
async fn wrong_pages_are_told_by_their_argument() {
    let bench = Bench::new().await;
    let project = bench.create_project("Bottle").await;
    let job = bench.accept_video(Some(&project)).await.to_string();
    let cursor = bench
        .data("{ projects { pageInfo { endCursor } } }", json!({}))
        .await["projects"]["pageInfo"]["endCursor"]
        .as_str()
        .expect("a cursor")
        .to_owned();
    for (query, field) in [
        (
            "{ projects(first: 0) { nodes { id } } }".to_owned(),
            "first",
        ),
        (
            "{ projects(first: 101) { nodes { id } } }".to_owned(),
            "first",
        ),
        ("{ jobs(first: -5) { nodes { id } } }".to_owned(), "first"),
        (
            "{ jobs(after: \"?\") { nodes { id } } }".to_owned(),
            "after",
        ),
        (
            "{ projects(after: \"\") { nodes { id } } }".to_owned(),
            "after",
        ),
        // A cursor of another list.
        (
            format!("{{ jobs(after: \"{cursor}\") {{ nodes {{ id }} }} }}"),
            "after",
        ),
        (
            "{ avatars(after: \"?\") { nodes { id } } }".to_owned(),
            "after",
        ),
        (
            "{ avatars(provider: \"nobody\") { nodes { id } } }".to_owned(),
            "provider",
        ),
        (
            "{ voices(language: \"english\") { nodes { id } } }".to_owned(),
            "language",
        ),
        (
            "{ jobs(filter: { projectId: \"x\" }) { nodes { id } } }".to_owned(),
            "filter.projectId",
        ),
        (
            format!("{{ job(id: \"{job}\") {{ events(after: -1) {{ nodes {{ seq }} }} }} }}"),
            "after",
        ),
        (
            format!("{{ job(id: \"{job}\") {{ events(first: 0) {{ nodes {{ seq }} }} }} }}"),
            "first",
        ),
    ] {
        let error = bench.error(&query, json!({})).await;
        assert_eq!(error["extensions"]["code"], "INVALID_INPUT", "{query}");
        assert_eq!(error["extensions"]["field"], field, "{query}");
        let message = error["message"].as_str().expect("a message");
        assert!(message.contains(field), "{message}");
    }
}
