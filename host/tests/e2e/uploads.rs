//! Users' pictures: sent to the server, shown to vendors, removed with their projects.

use std::{
    process::Command,
    time::{Duration, SystemTime},
};

use genvid_testkit::Vendor;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{
    client::Client,
    text, until,
    world::{Setup, World},
};

/// A real PNG of 400 by 400 pixels.
pub(crate) fn png() -> Vec<u8> {
    let made = Command::new("ffmpeg")
        .args([
            "-v",
            "error",
            "-f",
            "lavfi",
            "-i",
            "testsrc=s=400x400",
            "-frames:v",
            "1",
        ])
        .args(["-f", "image2pipe", "-c:v", "png", "-"])
        .output()
        .expect("ffmpeg runs");
    assert!(made.status.success());
    made.stdout
}

async fn announce(client: &Client, bytes: &[u8]) -> Value {
    let input = json!({"contentType": "image/png", "size": bytes.len(), "fileName": "a.png"});
    client.change("CreateUpload", input).await["upload"].clone()
}

async fn complete(client: &Client, upload: &Value) -> Value {
    let input = json!({"uploadId": text(upload, "/id")});
    client.change("CompleteUpload", input).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_door_takes_what_was_announced_and_no_more() {
    // A bucket has a door of its own.
    let mut world = Setup::default()
        .embedded()
        .set("media.max_image_mib", 1)
        .start()
        .await;
    let client = world.client();
    let bytes = png();
    let upload = announce(&client, &bytes).await;
    let url = text(&upload, "/url").to_owned();
    let put = async |url: &str, mime: &str, body: Vec<u8>| client.put(url, mime, body).await;

    let longer = [bytes.clone(), vec![0]].concat();
    assert_eq!(
        put(&url, "image/png", longer).await,
        StatusCode::PAYLOAD_TOO_LARGE
    );
    assert_eq!(
        put(&url, "image/png", bytes[1..].to_vec()).await,
        StatusCode::BAD_REQUEST
    );
    assert_eq!(
        put(&url, "text/html", bytes.clone()).await,
        StatusCode::UNSUPPORTED_MEDIA_TYPE
    );
    for changed in [
        url.replace("size=", "size=9"),
        url.replace("incoming", "picture"),
        url.replace("exp=", "exp=9"),
    ] {
        assert_eq!(
            put(&changed, "image/png", bytes.clone()).await,
            StatusCode::FORBIDDEN
        );
    }
    assert_eq!(client.get(&url, &[]).await.status(), StatusCode::FORBIDDEN);
    let early = complete(&client, &upload).await;
    assert_eq!(early["code"], "CONFLICT", "{early:#}");

    assert_eq!(put(&url, "image/png", bytes.clone()).await, StatusCode::OK);
    assert_eq!(
        put(&url, "image/png", bytes.clone()).await,
        StatusCode::CONFLICT
    );
    // A new process knows nothing but the rows and the files.
    world.kill_and_start_again().await;
    let client = world.client();
    let done = complete(&client, &upload).await;
    let link = text(&done, "/image/url").to_owned();
    assert_eq!(client.download(&link).await, bytes);
    assert_eq!(
        complete(&client, &upload).await["image"]["id"],
        done["image"]["id"]
    );

    let large = json!({"contentType": "image/png", "size": (1 << 20) + 1});
    let refused = client.change("CreateUpload", large).await;
    assert_eq!(refused["path"], json!(["size"]));

    // A page that says it is a picture.
    let page = b"<html>not a picture at all, whatever it says</html>".to_vec();
    let upload = announce(&client, &page).await;
    let status = client.put(text(&upload, "/url"), "image/png", page).await;
    assert_eq!(status, StatusCode::OK);
    let refused = complete(&client, &upload).await;
    assert_eq!(refused["path"], json!(["contentType"]), "{refused:#}");
    assert_eq!(complete(&client, &upload).await, refused);
}

/// The vendor gets the bytes: this server's address is private, and needs no reaching.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vendor_gets_an_uploaded_picture_as_bytes() {
    let world = World::start().await;
    let client = world.client();
    let bytes = png();
    let upload = announce(&client, &bytes).await;
    client.put(text(&upload, "/url"), "image/png", bytes).await;
    let done = complete(&client, &upload).await;
    let reference = text(&done, "/image/reference");
    for wish in [
        json!({"provider": "kling", "images": [reference]}),
        json!({"provider": "heygen", "voiceProvider": "elevenlabs", "images": [reference]}),
    ] {
        let id = world.film(wish).await;
        client.ended(&id, "SUCCEEDED").await;
    }
    assert_eq!(
        (
            world.accepted(Vendor::Kling),
            world.accepted(Vendor::HeyGen)
        ),
        (1, 1)
    );
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_in_a_bucket_go_with_their_project() {
    let world = Setup::default()
        .on_servers()
        .set("media.sweep_seconds", 1)
        .set("media.keep_deleted_days", 0)
        .start()
        .await;
    let client = world.client();
    let project = client.project().await;
    let wish = world.wish(&project, json!({}));
    let id = client.start("GenerateVideo", wish).await;
    client.ended(&id, "SUCCEEDED").await;
    let kept = || {
        let objects = world.outside().store.objects();
        let of_job = objects
            .iter()
            .filter(|object| object.to_string_lossy().contains(&id));
        of_job.count()
    };
    assert!(kept() > 0, "a film is somewhere");
    client.change("DeleteProject", json!({"id": project})).await;
    until("the files are gone", || async {
        (kept() == 0).then_some(())
    })
    .await;
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_go_with_their_project() {
    let mut world = Setup::default()
        .embedded()
        .set("media.sweep_seconds", 1)
        .start()
        .await;
    let client = world.client();
    let project = client.project().await;
    let id = client
        .start("GenerateVideo", world.wish(&project, json!({})))
        .await;
    let job = client.ended(&id, "SUCCEEDED").await;
    let link = text(&job, "/videoUrl").to_owned();
    assert_eq!(client.get(&link, &[]).await.status(), StatusCode::OK);

    client.change("DeleteProject", json!({"id": project})).await;
    // Also the link that was given out before.
    assert_eq!(client.get(&link, &[]).await.status(), StatusCode::GONE);
    let job = client.job(&id).await;
    assert_eq!(job["videoUrl"], Value::Null);
    assert_eq!(job["filesWithdrawn"]["reason"], "PROJECT_DELETED");
    let folder = world.launch.data.join("media/jobs").join(&id);
    assert!(folder.is_dir());

    // Nothing is kept any more; and a file that a crash left long ago goes too.
    world.kill();
    let stray = world
        .launch
        .data
        .join("media/jobs")
        .join(id.replace(&id[8..12], "ffff"));
    let blob = stray.join("assets/asset_00000000000000000000000000000001+");
    std::fs::create_dir_all(&blob).expect("a folder");
    let content = blob.join("asset_00000000000000000000000000000001");
    let about = json!({"mime": "video/mp4", "size": 4, "sha256": "00"});
    std::fs::write(blob.join(".about.json"), about.to_string()).expect("a file");
    std::fs::write(&content, b"film").expect("a file");
    let file = std::fs::File::options()
        .write(true)
        .open(&content)
        .expect("the file");
    let old = SystemTime::now() - Duration::from_secs(90 * 86_400);
    file.set_modified(old).expect("an old file");
    let setting = (
        "GENVID__MEDIA__KEEP_DELETED_DAYS".to_owned(),
        "0".to_owned(),
    );
    world.launch.env.push(setting);
    world.database().forget_chores().await;
    world.start_again().await;
    until("the files are gone", || async {
        (!folder.exists()).then_some(())
    })
    .await;
    until("the stray file is gone", || async {
        (!stray.exists()).then_some(())
    })
    .await;
    let client = world.client();
    assert_eq!(
        client.job(&id).await["filesWithdrawn"]["reason"],
        "PROJECT_DELETED"
    );
}
