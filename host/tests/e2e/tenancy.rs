//! What belongs to somebody else answers exactly like what does not exist.

use serde_json::{Value, json};

use crate::support::{
    client::{Client, document},
    live::Said,
    text,
    world::World,
};

const OTHER_TOKEN: &str = "gv_other00000000000000000000000000000000000000test";
const NODE: &str = "query($id: ID!) { node(id: $id) { __typename id } }";

/// Everything that a user may ask about a job.
async fn about_job(client: &Client, job: &str) -> Vec<Value> {
    let mut answers = vec![
        client.send(document("Job"), json!({"id": job})).await,
        client.send(NODE, json!({"id": job})).await,
    ];
    for (name, input) in [
        ("CancelJob", json!({"jobId": job})),
        ("RetryJob", json!({"jobId": job})),
        (
            "RetryJob",
            json!({"jobId": job, "acceptDoubleCharge": true}),
        ),
    ] {
        answers.push(client.send(document(name), json!({"input": input})).await);
    }
    let mut live = client.live().await;
    live.follow(job, 0).await;
    let Said::Refused(errors) = live.next().await else {
        panic!("it can be followed")
    };
    answers.push(errors);
    answers
}

/// Everything that a user may ask about, or do with, a project.
async fn about_project(client: &Client, project: &str) -> Vec<Value> {
    const PROJECT: &str = "query($id: ID!) { project(id: $id) { id name } }";
    const UPDATE: &str = "mutation($input: UpdateProjectInput!) { updateProject(input: $input) {
        __typename ... on Problem { code message path } } }";
    const DELETE: &str = "mutation($input: DeleteProjectInput!) { deleteProject(input: $input) {
        __typename ... on Problem { code message path } } }";
    const JOBS: &str = "query($id: ID!) { jobs(filter: {projectId: $id}) { nodes { id } } }";
    let mut answers = vec![
        client.send(PROJECT, json!({"id": project})).await,
        client.send(NODE, json!({"id": project})).await,
        client.send(JOBS, json!({"id": project})).await,
        client
            .send(
                UPDATE,
                json!({"input": {"id": project, "name": "Mine now"}}),
            )
            .await,
        client.send(DELETE, json!({"input": {"id": project}})).await,
    ];
    for (name, wish) in [
        (
            "GenerateVideo",
            json!({"projectId": project, "language": "en", "aspect": "SQUARE", "idempotencyKey": "k"}),
        ),
        (
            "GenerateScript",
            json!({"projectId": project, "language": "en", "idempotencyKey": "k"}),
        ),
        (
            "GenerateVoice",
            json!({"projectId": project, "text": "Hi.", "language": "en", "idempotencyKey": "k"}),
        ),
    ] {
        answers.push(client.send(document(name), json!({"input": wish})).await);
    }
    answers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_elses_is_like_missing() {
    let mut world = World::start().await;
    let mine = world.client();
    let project = mine.project().await;
    let wish = world.wish(&project, json!({"provider": "heygen"}));
    let film = mine.start("GenerateVideo", wish.clone()).await;
    let me = text(&mine.ask("{ me { id email } }", json!({})).await, "/me/id").to_owned();
    mine.ended(&film, "SUCCEEDED").await;

    // A second user of the same data.
    world.kill();
    let (mail, token) = (world.launch.user.take(), world.launch.token.clone());
    world.launch.user = Some("other@localhost".to_owned());
    world.launch.token = OTHER_TOKEN.to_owned();
    world.start_again().await;
    (world.launch.user, world.launch.token) = (mail, token.clone());
    let other = world.client();
    let mine = other.signed_in_as(&token);
    assert_eq!(
        text(&mine.ask("{ me { id } }", json!({})).await, "/me/id"),
        me
    );
    let somebody = other.ask("{ me { id email } }", json!({})).await;
    assert_eq!(somebody["me"]["email"], "other@localhost");

    let missing_job = "job_00000000000070008000000000000000";
    let theirs = about_job(&other, &film).await;
    assert_eq!(theirs, about_job(&other, missing_job).await);
    assert_eq!(theirs[0], json!({"data": {"job": null}}));
    assert_eq!(theirs[2]["data"]["cancelJob"]["code"], "NOT_FOUND");
    assert_eq!(theirs[2]["data"]["cancelJob"]["path"], json!(["jobId"]));
    assert_eq!(theirs[5][0]["extensions"]["code"], "NOT_FOUND");

    let missing_project = "prj_00000000000070008000000000000000";
    let theirs = about_project(&other, &project).await;
    assert_eq!(theirs, about_project(&other, missing_project).await);
    for (place, field) in [
        (5, "generateVideo"),
        (6, "generateScript"),
        (7, "generateVoice"),
    ] {
        assert_eq!(
            theirs[place]["data"][field]["code"], "NOT_FOUND",
            "{}",
            theirs[place]
        );
        assert_eq!(theirs[place]["data"][field]["path"], json!(["projectId"]));
    }
    // Nor is another user to be seen, nor any of it in the lists.
    assert_eq!(
        other.send(NODE, json!({"id": me})).await,
        json!({"data": {"node": null}})
    );
    for list in ["{ jobs { nodes { id } } }", "{ projects { nodes { id } } }"] {
        let answer = other.ask(list, json!({})).await;
        assert!(!answer.to_string().contains('_'), "{answer}");
    }
    let mut all = other.live().await;
    all.follow_all(Some("ZXZ0XzA")).await;
    assert!(
        all.is_silent(std::time::Duration::from_millis(300)).await,
        "others' events are told"
    );

    // Keys are each user's own.
    let project_of_other = other.project().await;
    let mut same_key = wish;
    same_key["projectId"] = json!(project_of_other);
    let others_film = other.start("GenerateVideo", same_key).await;
    assert_ne!(others_film, film);
    other.ended(&others_film, "SUCCEEDED").await;
    // Nothing of what was tried had an effect.
    let project = mine
        .ask(
            "query($id: ID!) { project(id: $id) { name } }",
            json!({"id": project}),
        )
        .await;
    assert_eq!(project["project"]["name"], "Aurora");
    assert_eq!(mine.job(&film).await["status"], "SUCCEEDED");
    world.audit_as(&[mine, other]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_not_signed_in_sees_nothing() {
    let world = World::start().await;
    let job = world.script(json!({})).await;
    world.client().ended(&job, "SUCCEEDED").await;
    let nobody = Client::new(&world.server().url, None);
    assert_eq!(
        nobody.ask("{ me { id } }", json!({})).await,
        json!({"me": null})
    );
    for query in [
        "{ jobs { nodes { id } } }",
        "{ projects { nodes { id } } }",
        "query($id: ID!) { job(id: $id) { id } }",
        NODE,
        document("CancelJob"),
        document("CreateProject"),
    ] {
        let variables = json!({"id": job, "input": {"jobId": job, "name": "n"}});
        let answer = nobody.send(query, keep_declared(query, variables)).await;
        assert_eq!(
            answer["errors"][0]["extensions"]["code"], "UNAUTHENTICATED",
            "{query} {answer}"
        );
    }
    let mut live = nobody.live().await;
    live.follow(&job, 0).await;
    let Said::Refused(errors) = live.next().await else {
        panic!("anybody can follow")
    };
    assert_eq!(errors[0]["extensions"]["code"], "UNAUTHENTICATED");
    let stranger = nobody.signed_in_as("gv_stranger000000000000000000000000000000000test");
    let answer = stranger.send("{ me { id } }", json!({})).await;
    assert_eq!(
        answer["errors"][0]["extensions"]["code"], "UNAUTHENTICATED",
        "{answer}"
    );
    world.audit().await;
}

/// Only the variables that the document declares, with only the fields that its input has.
fn keep_declared(query: &str, mut variables: Value) -> Value {
    let all = variables.as_object_mut().expect("an object");
    all.retain(|name, _| query.contains(&format!("${name}:")));
    if let Some(input) = all.get_mut("input").and_then(Value::as_object_mut) {
        let wanted = if query.contains("CreateProject") {
            "name"
        } else {
            "jobId"
        };
        input.retain(|name, _| name == wanted);
    }
    variables
}
