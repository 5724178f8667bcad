//! Uploads: announced, settled once, ended when nobody needs them.

use std::time::Duration;

use genvid::{
    ids::{UploadId, UserId},
    jobs::{
        input::{JobInput, ProductBrief, VideoInput},
        model::{Aspect, SubtitleMode},
        store::NewJob,
    },
    time,
    uploads::{Status, Upload, folder, reference},
};
use serde_json::Value;

use crate::bench::{Bench, job, project, unique};

const HOUR: Duration = Duration::from_secs(3_600);

/// An upload that was announced just now.
pub(crate) fn upload(owner: UserId) -> Upload {
    let now = time::now();
    Upload {
        id: UploadId::generate(),
        owner,
        status: Status::Open,
        mime: "image/png".to_owned(),
        size: 1_234,
        sha256: Some("ab".repeat(32)),
        file_name: Some("bottle.png".to_owned()),
        refusal: None,
        found_sha256: None,
        created_at: now,
        expires_at: now.after(HOUR),
        completed_at: None,
    }
}

async fn announced(bench: &Bench, new: Upload) -> UploadId {
    let id = new.id;
    assert!(bench.database.insert_upload(new, 20).await.expect("kept"));
    id
}

async fn ready(bench: &Bench, owner: UserId) -> UploadId {
    let id = announced(bench, upload(owner)).await;
    let sum = "cd".repeat(32);
    let written = bench.database.complete_upload(owner, id, sum, time::now());
    assert!(written.await.expect("written"));
    id
}

async fn status(bench: &Bench, owner: UserId, id: UploadId) -> Status {
    let found = bench.database.find_upload(owner, id).await.expect("read");
    found.expect("there").status
}

/// What is to be removed now.
async fn removals(bench: &Bench) -> Vec<String> {
    let claimed = bench.database.claim_removals(HOUR, 100).await;
    let mut names: Vec<_> = claimed
        .expect("claimed")
        .into_iter()
        .map(|removal| removal.name)
        .collect();
    names.sort();
    names
}

pub(crate) async fn a_strangers_upload_is_as_good_as_missing(bench: Bench) {
    let new = upload(bench.ann);
    let id = announced(&bench, new.clone()).await;
    let database = &bench.database;
    let mut found = database.find_upload(bench.ann, id).await.expect("read");
    if let Some(found) = &mut found {
        // The database reckons it by its own clock.
        assert!(found.expires_at.millis().abs_diff(new.expires_at.millis()) < 5_000);
        found.expires_at = new.expires_at;
    }
    assert_eq!(found, Some(new));
    let (bob, now) = (bench.bob, time::now());
    assert_eq!(database.find_upload(bob, id).await.expect("read"), None);
    let completed = database.complete_upload(bob, id, String::new(), now).await;
    assert!(!completed.expect("refused"));
    let why = ("size".to_owned(), "is wrong".to_owned());
    let refused = database.refuse_upload(bob, id, why).await;
    assert!(!refused.expect("refused"));
    assert_eq!(status(&bench, bench.ann, id).await, Status::Open);
}

pub(crate) async fn of_many_at_once_so_many_are_open(bench: Bench) {
    let tries = (0..30).map(|_| bench.database.insert_upload(upload(bench.ann), 7));
    let kept = futures::future::try_join_all(tries).await.expect("answers");
    assert_eq!(kept.into_iter().filter(|kept| *kept).count(), 7);
    // Others are not concerned, and what has expired does not count.
    announced(&bench, upload(bench.bob)).await;
    let mut late = upload(bench.bob);
    late.expires_at = time::now();
    announced(&bench, late).await;
    let second = bench.database.insert_upload(upload(bench.bob), 2).await;
    assert!(second.expect("kept"));
}

pub(crate) async fn an_upload_is_settled_once(bench: Bench) {
    let database = &bench.database;
    let id = ready(&bench, bench.ann).await;
    let found = database.find_upload(bench.ann, id).await.expect("read");
    let found = found.expect("there");
    assert_eq!(found.status, Status::Ready);
    assert_eq!(found.found_sha256, Some("cd".repeat(32)));
    assert!(found.completed_at.is_some());
    let why = ("size".to_owned(), "is wrong".to_owned());
    let refused = database.refuse_upload(bench.ann, id, why.clone()).await;
    assert!(!refused.expect("refused"));

    let id = announced(&bench, upload(bench.ann)).await;
    let refused = database.refuse_upload(bench.ann, id, why.clone()).await;
    assert!(refused.expect("written"));
    let found = database.find_upload(bench.ann, id).await.expect("read");
    let found = found.expect("there");
    assert_eq!((found.status, found.refusal), (Status::Refused, Some(why)));
    let again = database.complete_upload(bench.ann, id, String::new(), time::now());
    assert!(!again.await.expect("refused"));
}

pub(crate) async fn what_is_not_completed_ends(bench: Bench) {
    let database = &bench.database;
    let mut late = upload(bench.ann);
    late.expires_at = time::now();
    let late = announced(&bench, late).await;
    let mut wrong = upload(bench.bob);
    wrong.expires_at = time::now();
    let wrong = announced(&bench, wrong).await;
    let why = ("size".to_owned(), "is wrong".to_owned());
    assert!(
        database
            .refuse_upload(bench.bob, wrong, why)
            .await
            .expect("written")
    );
    let open = announced(&bench, upload(bench.ann)).await;
    let kept = ready(&bench, bench.ann).await;

    // Not as long as somebody may be completing it.
    assert_eq!(database.expire_uploads(HOUR, 10).await.expect("done"), 0);
    assert_eq!(
        database
            .expire_uploads(Duration::ZERO, 1)
            .await
            .expect("done"),
        1
    );
    assert_eq!(
        database
            .expire_uploads(Duration::ZERO, 10)
            .await
            .expect("done"),
        1
    );
    assert_eq!(
        database
            .expire_uploads(Duration::ZERO, 10)
            .await
            .expect("done"),
        0
    );
    assert_eq!(status(&bench, bench.ann, late).await, Status::Expired);
    assert_eq!(status(&bench, bench.bob, wrong).await, Status::Refused);
    assert_eq!(status(&bench, bench.ann, open).await, Status::Open);
    assert_eq!(status(&bench, bench.ann, kept).await, Status::Ready);
    let mut wanted = [folder(late), folder(wrong)];
    wanted.sort();
    assert_eq!(removals(&bench).await, wanted);
}

pub(crate) async fn what_nobody_uses_ends(bench: Bench) {
    let database = &bench.database;
    let retire = async || {
        let retired = database.retire_uploads(Duration::ZERO, 10).await;
        retired.expect("done")
    };
    let (named, given, unused) = (
        ready(&bench, bench.ann).await,
        ready(&bench, bench.ann).await,
        ready(&bench, bench.ann).await,
    );
    let mut shelf = project(bench.ann, "Shelf");
    shelf.product_images = vec![reference(named)];
    database.insert_project(shelf.clone()).await.expect("kept");
    let mut copy = project(bench.ann, "Copy");
    copy.product_images = vec![reference(named)];
    database.insert_project(copy.clone()).await.expect("kept");
    bench.accept_as(film(bench.ann, given)).await;
    // A project of somebody else cannot keep it, nor does naming it do anything to it.
    let mut strange = project(bench.bob, "Strange");
    strange.product_images = vec![reference(unused)];
    database.insert_project(strange).await.expect("kept");

    assert_eq!(database.retire_uploads(HOUR, 10).await.expect("done"), 0);
    assert_eq!(retire().await, 1);
    assert_eq!(retire().await, 0);
    assert_eq!(status(&bench, bench.ann, unused).await, Status::Removed);
    assert_eq!(status(&bench, bench.ann, given).await, Status::Ready);
    assert_eq!(removals(&bench).await, [folder(unused)]);

    // As long as one project names it.
    shelf.product_images = Vec::new();
    assert!(database.update_project(shelf).await.expect("written"));
    assert_eq!(retire().await, 0);
    let deleted = database.delete_project(bench.ann, copy.id, time::now());
    assert!(deleted.await.expect("written"));
    assert_eq!(retire().await, 1);
    assert_eq!(status(&bench, bench.ann, named).await, Status::Removed);
    assert_eq!(removals(&bench).await, [folder(named)]);
}

/// A film that shows an uploaded picture.
fn film(owner: UserId, picture: UploadId) -> NewJob {
    let mut new = job(owner, &unique());
    new.job.input = JobInput::Video(VideoInput {
        product: ProductBrief::default(),
        script: Some("Hello there.".to_owned()),
        language: "en".to_owned(),
        aspect: Aspect::Portrait,
        provider: None,
        exclude: Vec::new(),
        only: None,
        avatar: None,
        voice_provider: None,
        voice: None,
        images: vec![reference(picture)],
        max_seconds: None,
        subtitles: SubtitleMode::None,
        options: Value::Null,
        reuse: true,
        edit: None,
    });
    new.job.kind = new.job.input.kind();
    new
}
