//! Accepting jobs: all or nothing, and once for each key.

use genvid::{
    ids::{JobId, ProjectId},
    jobs::{
        input::JobInput,
        model::{EventType, StepStatus},
        store::Accepted,
    },
    projects::Project,
};
use serde_json::json;

use crate::bench::{Bench, job, project};

pub(crate) async fn a_job_its_plan_and_its_first_event_come_together(bench: Bench) {
    let new = job(bench.ann, "first");
    let (accepted, events) = bench
        .database
        .accept_job(new.clone())
        .await
        .expect("accepted");
    let Accepted::Created(created) = accepted else {
        panic!("it is new: {accepted:?}");
    };
    assert_eq!(created.last_seq, 1);
    assert_eq!(bench.job(created.id).await, created);
    let steps = bench.steps(created.id).await;
    assert_eq!(steps.len(), 2);
    assert_eq!((steps[0].position, steps[1].position), (0, 1));
    assert!(steps.iter().all(|step| step.status == StepStatus::Pending));
    assert!(steps[0].due_at.is_some() && steps[1].due_at.is_none());
    let log = bench.log(created.id).await;
    assert_eq!(log, events);
    assert_eq!((log[0].seq, log[0].position), (1, 1));
    assert_eq!(log[0].body.event, EventType::JobQueued);
}

pub(crate) async fn the_same_request_answers_the_first_job(bench: Bench) {
    let first = bench.accept_as(job(bench.ann, "key")).await;
    let again = bench.database.accept_job(job(bench.ann, "key")).await;
    let (again, events) = again.expect("answered");
    assert!(matches!(again, Accepted::Repeated(job) if job.id == first.id));
    assert!(events.is_empty());
    let mut other = job(bench.ann, "key");
    other.request_hash = b"another request".to_vec();
    let (reused, events) = bench.database.accept_job(other).await.expect("answered");
    assert!(matches!(reused, Accepted::KeyReused));
    assert!(events.is_empty());
    // Keys are the caller's own.
    let bobs = bench.accept_as(job(bench.bob, "key")).await;
    assert_ne!(bobs.id, first.id);
    assert_eq!(bench.log(first.id).await.len(), 1);
}

pub(crate) async fn of_many_at_once_with_one_key_one_is_accepted(bench: Bench) {
    let other = bench.another_node().await;
    let tries = (0..16).map(|n| {
        let database = if n % 2 == 0 {
            bench.database.clone()
        } else {
            other.clone()
        };
        let new = job(bench.ann, "key");
        tokio::spawn(async move { database.accept_job(new).await.expect("answered").0 })
    });
    let (mut created, mut repeated): (Vec<JobId>, Vec<JobId>) = (Vec::new(), Vec::new());
    for answer in futures::future::join_all(tries).await {
        match answer.expect("it ran") {
            Accepted::Created(job) => created.push(job.id),
            Accepted::Repeated(job) => repeated.push(job.id),
            Accepted::KeyReused => panic!("the requests are the same"),
        }
    }
    assert_eq!((created.len(), repeated.len()), (1, 15));
    assert!(repeated.iter().all(|id| *id == created[0]));
    assert_eq!(bench.log(created[0]).await.len(), 1);
    assert_eq!(bench.steps(created[0]).await.len(), 2);
}

pub(crate) async fn what_is_stored_comes_back(bench: Bench) {
    let project: Project = bench
        .database
        .insert_project(project(bench.ann, "日本語 \u{202e} 'quoted' \\ \n"))
        .await
        .expect("kept");
    let mut new = job(bench.ann, "values");
    new.job.project = Some(project.id);
    if let JobInput::Voice(voice) = &mut new.job.input {
        voice.text = "a\u{0}b \u{1} \"\\u0000\" 😀".to_owned();
        voice.options =
            json!({"big": 9_007_199_254_740_993_i64, "small": 0.1, "list": [null, true]});
    }
    let id = new.job.id;
    let mut wanted = new.job.clone();
    bench.accept_as(new).await;
    wanted.last_seq = 1;
    if let JobInput::Voice(voice) = &mut wanted.input {
        // The one character that PostgreSQL cannot store.
        voice.text = voice.text.replace('\u{0}', "\u{FFFD}");
    }
    assert_eq!(bench.job(id).await, wanted);
    let found: Option<Project> = bench
        .database
        .find_project(bench.ann, project.id)
        .await
        .expect("read");
    assert_eq!(
        found.map(|found| (found.id, found.name)),
        Some((project.id, project.name))
    );
    assert_ne!(project.id, ProjectId::generate());
}
