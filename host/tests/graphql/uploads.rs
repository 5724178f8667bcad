//! Uploads of pictures, as their owners see them.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use genvid::{
    accounts::User,
    ids::UploadId,
    time,
    uploads::{self, Status, Upload, incoming_key, picture_key},
};
use genvid_media::Key;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::harness::{Bench, MAX_PICTURE};

const CREATE: &str = include_str!("../../../graphql/operations/CreateUpload.graphql");
const COMPLETE: &str = include_str!("../../../graphql/operations/CompleteUpload.graphql");
const PICTURES: &str = "mutation ($input: CreateProjectInput!) { createProject(input: $input) {
    ... on CreateProjectSuccess { project { id productImages pictures { reference url } } }
    ... on InvalidInputProblem { problems { path message } } } }";

/// Bytes that begin as a PNG does.
fn png(length: usize) -> Bytes {
    let mut bytes =
        b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\x01\x90\0\0\x01\x90\x08\x02\0\0\0".to_vec();
    bytes.resize(length, 7);
    bytes.into()
}

async fn create(bench: &Bench, input: Value) -> Value {
    bench.data(CREATE, json!({ "input": input })).await["createUpload"].take()
}

async fn announce(bench: &Bench, size: usize, more: Value) -> UploadId {
    let mut input = json!({ "contentType": "image/png", "size": size });
    for (name, value) in more.as_object().into_iter().flatten() {
        input[name] = value.clone();
    }
    let made = create(bench, input).await;
    made["upload"]["id"]
        .as_str()
        .expect("an id")
        .parse()
        .expect("an upload's id")
}

async fn complete_as(bench: &Bench, user: &Arc<User>, id: UploadId) -> Value {
    let variables = json!({ "input": { "uploadId": id.to_string() } });
    let mut answer = bench.answer(Some(user), COMPLETE, variables).await;
    assert_eq!(answer.get("errors"), None);
    answer["data"]["completeUpload"].take()
}

async fn complete(bench: &Bench, id: UploadId) -> Value {
    complete_as(bench, &bench.ann, id).await
}

async fn put(bench: &Bench, key: &str, content: Bytes) {
    let key = Key::parse(key).expect("a key");
    let writer = bench.blobs.create(&key, "image/png").await;
    let mut writer = writer.expect("room");
    writer.write(content).await.expect("written");
    writer.finish().await.expect("kept");
}

async fn is_there(bench: &Bench, key: &str) -> bool {
    let key = Key::parse(key).expect("a key");
    bench.blobs.stat(&key).await.expect("asked").is_some()
}

/// A picture that was taken.
async fn ready(bench: &Bench) -> UploadId {
    let id = announce(bench, 300, json!({})).await;
    put(bench, &incoming_key(id), png(300)).await;
    assert_eq!(complete(bench, id).await.get("code"), None);
    id
}

#[tokio::test]
async fn a_picture_is_announced_sent_and_taken() {
    let bench = Bench::new().await;
    let content = png(50_000);
    let sum = hex::encode(Sha256::digest(&content));
    let made = create(
        &bench,
        json!({
            "contentType": "image/PNG", "size": 50_000, "sha256": sum.to_uppercase(),
            "fileName": "Flasche.png",
        }),
    )
    .await;
    let upload = &made["upload"];
    assert_eq!(upload["method"], "PUT");
    assert_eq!(
        upload["headers"],
        json!([{ "name": "content-type", "value": "image/png" }])
    );
    let id: UploadId = upload["id"]
        .as_str()
        .expect("an id")
        .parse()
        .expect("its id");
    let url = upload["url"].as_str().expect("an address");
    let start = format!("https://genvid.test/media/uploads/{id}/incoming?exp=");
    assert!(url.starts_with(&start), "{url}");

    let early = complete(&bench, id).await;
    assert_eq!(early["code"], "CONFLICT", "{early}");
    put(&bench, &incoming_key(id), content).await;
    let done = complete(&bench, id).await;
    let image = &done["image"];
    assert_eq!(image["id"], json!(id.to_string()));
    assert_eq!(image["reference"], json!(format!("upload:{id}")));
    assert_eq!(image["contentType"], "image/png");
    assert_eq!(
        (&image["size"], &image["sha256"]),
        (&json!(50_000), &json!(sum))
    );
    assert_eq!(image["fileName"], "Flasche.png");
    assert!(is_there(&bench, &picture_key(id)).await);
    assert!(!is_there(&bench, &incoming_key(id)).await);

    // Once more, also when somebody sends something else meanwhile.
    put(&bench, &incoming_key(id), png(50_001)).await;
    let mut again = complete(&bench, id).await;
    again["image"]["url"] = image["url"].clone();
    assert_eq!(again, done);

    // The project names it, and shows it under a fresh link.
    let input = json!({
        "name": "A", "productImages": [format!("upload:{id}"), "https://example.com/a.jpg"],
    });
    let project = bench.data(PICTURES, json!({ "input": input })).await;
    let project = &project["createProject"]["project"];
    assert_eq!(project["productImages"], input["productImages"]);
    let shown = project["pictures"][0]["url"].as_str().expect("a link");
    let start = format!("https://genvid.test/media/uploads/{id}/picture?exp=");
    assert!(shown.starts_with(&start), "{shown}");
    assert_eq!(project["pictures"][1]["url"], "https://example.com/a.jpg");
}

#[tokio::test]
async fn wrong_announcements_name_every_field() {
    let bench = Bench::new().await;
    let refused = create(
        &bench,
        json!({
            "contentType": "image/svg+xml", "size": MAX_PICTURE + 1, "sha256": "abc",
            "fileName": "x".repeat(201),
        }),
    )
    .await;
    let paths: Vec<_> = refused["problems"]
        .as_array()
        .expect("problems")
        .iter()
        .map(|problem| problem["path"][0].as_str().expect("a field"))
        .collect();
    assert_eq!(paths, ["contentType", "size", "sha256", "fileName"]);
    for size in [0, -1] {
        let refused = create(&bench, json!({ "contentType": "image/png", "size": size })).await;
        assert_eq!(refused["path"], json!(["size"]));
    }
}

#[tokio::test]
async fn what_is_not_the_announced_picture_is_refused_and_removed() {
    let bench = Bench::new().await;
    let page = Bytes::from_static(b"<html><script>alert('I am a png')</script></html>");
    let jpeg =
        Bytes::from_static(b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0........");
    let (size, other) = (json!({}), json!({ "sha256": "00".repeat(32) }));
    let cases = [
        (page.clone(), page.len(), &size, "contentType"),
        (jpeg.clone(), jpeg.len(), &size, "contentType"),
        (png(20), 20, &size, "contentType"),
        (png(3), 3, &size, "contentType"),
        (png(2_000), 1_000, &size, "size"),
        (png(1_000), 2_000, &size, "size"),
        (png(1_000), 1_000, &other, "sha256"),
    ];
    for (content, announced, more, field) in cases {
        let id = announce(&bench, announced, more.clone()).await;
        put(&bench, &incoming_key(id), content.clone()).await;
        let refused = complete(&bench, id).await;
        if field == "contentType" && content.len() == 20 {
            // A head that is cut off may still be one.
            assert_eq!(refused.get("code"), None, "{refused}");
            continue;
        }
        assert_eq!(refused["code"], "INVALID_INPUT", "{field}: {refused}");
        assert_eq!(refused["path"], json!([field]), "{refused}");
        assert!(!is_there(&bench, &incoming_key(id)).await);
        assert!(!is_there(&bench, &picture_key(id)).await);
        // The good bytes come too late.
        put(&bench, &incoming_key(id), png(announced)).await;
        assert_eq!(complete(&bench, id).await, refused);
        assert!(!is_there(&bench, &picture_key(id)).await);
    }
}

/// The process died after the copy, before the row said so.
#[tokio::test]
async fn a_completion_that_was_cut_off_goes_on() {
    let bench = Bench::new().await;
    let id = announce(&bench, 300, json!({})).await;
    put(&bench, &incoming_key(id), png(300)).await;
    put(&bench, &picture_key(id), png(300)).await;
    let done = complete(&bench, id).await;
    let sum = hex::encode(Sha256::digest(png(300)));
    assert_eq!(done["image"]["sha256"], json!(sum), "{done}");
    assert!(!is_there(&bench, &incoming_key(id)).await);
}

#[tokio::test]
async fn many_completions_at_once_agree() {
    let bench = Bench::new().await;
    let id = announce(&bench, 90_000, json!({})).await;
    put(&bench, &incoming_key(id), png(90_000)).await;
    let sum = json!(hex::encode(Sha256::digest(png(90_000))));
    let all = futures::future::join_all((0..8).map(|_| complete(&bench, id))).await;
    for done in all {
        assert_eq!(done["image"]["sha256"], sum, "{done}");
    }
}

#[tokio::test]
async fn a_strangers_upload_answers_as_a_missing_one() {
    let bench = Bench::new().await;
    let (open, done) = (announce(&bench, 300, json!({})).await, ready(&bench).await);
    let missing = UploadId::generate();
    let wanted = complete_as(&bench, &bench.bob, missing).await;
    assert_eq!(wanted["code"], "NOT_FOUND");
    assert_eq!(wanted["path"], json!(["uploadId"]));
    for id in [open, done] {
        assert_eq!(complete_as(&bench, &bench.bob, id).await, wanted);
    }
    let name = async |user: &Arc<User>, id: UploadId| {
        let input = json!({ "name": "A", "productImages": [uploads::reference(id)] });
        let answer = bench
            .answer(Some(user), PICTURES, json!({ "input": input }))
            .await;
        answer["data"]["createProject"].clone()
    };
    let wanted = name(&bench.bob, missing).await;
    assert_eq!(wanted["problems"][0]["path"], json!(["productImages", "0"]));
    for id in [open, done] {
        assert_eq!(name(&bench.bob, id).await, wanted);
    }
    // The owner is told more.
    let early = name(&bench.ann, open).await;
    assert_ne!(early, wanted);
    assert_eq!(early["problems"][0]["path"], json!(["productImages", "0"]));
    assert!(name(&bench.ann, done).await["project"]["id"].is_string());

    // Nobody is nobody.
    let answer = bench.answer(
        None,
        CREATE,
        json!({ "input": { "contentType": "image/png", "size": 1 } }),
    );
    assert_eq!(
        answer.await["errors"][0]["extensions"]["code"],
        "UNAUTHENTICATED"
    );
}

#[tokio::test]
async fn what_has_expired_is_taken_no_more() {
    let bench = Bench::new().await;
    let now = time::now();
    let late = Upload {
        id: UploadId::generate(),
        owner: bench.ann.id,
        status: Status::Open,
        mime: "image/png".to_owned(),
        size: 300,
        sha256: None,
        file_name: None,
        refusal: None,
        found_sha256: None,
        created_at: now,
        expires_at: now,
        completed_at: None,
    };
    assert!(
        bench
            .database
            .insert_upload(late.clone(), 20)
            .await
            .expect("kept")
    );
    put(&bench, &incoming_key(late.id), png(300)).await;
    let refused = complete(&bench, late.id).await;
    assert_eq!(refused["code"], "CONFLICT", "{refused}");
    let ended = bench.database.expire_uploads(Duration::ZERO, 10).await;
    assert_eq!(ended.expect("done"), 1);
    assert_eq!(complete(&bench, late.id).await, refused);
}

#[tokio::test]
async fn so_many_are_open_at_a_time() {
    let bench = Bench::new().await;
    let input = json!({ "contentType": "image/webp", "size": 10 });
    for _ in 0..uploads::MOST_OPEN {
        assert_eq!(create(&bench, input.clone()).await.get("code"), None);
    }
    assert_eq!(create(&bench, input.clone()).await["code"], "CONFLICT");
    let other = bench
        .answer(Some(&bench.bob), CREATE, json!({ "input": input }))
        .await;
    assert!(other["data"]["createUpload"]["upload"]["id"].is_string());
}
