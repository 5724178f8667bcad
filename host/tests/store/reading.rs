//! Reading: pages, filters, and whose rows they are.

use genvid::{
    adapters::sql::Error,
    ids::{JobId, ProjectId},
    jobs::{
        model::{JobKind, JobStatus},
        store::{JobChange, JobFilter},
    },
    projects::Project,
    time,
};

use crate::bench::{Bench, change, job, project, unique};

pub(crate) async fn pages_are_stable_while_jobs_come(bench: Bench) {
    let mut wanted: Vec<JobId> = Vec::new();
    for _ in 0..25 {
        wanted.push(bench.accept(bench.ann).await.id);
    }
    bench.accept(bench.bob).await;
    wanted.reverse();
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = bench
            .database
            .list_jobs(bench.ann, JobFilter::default(), after, 4)
            .await
            .expect("read");
        assert!(page.items.len() <= 4);
        seen.extend(page.items.iter().map(|job| job.id));
        after = seen.last().copied();
        // Newer ones are before the first page, so they move nothing.
        bench.accept(bench.ann).await;
        if !page.more {
            break;
        }
    }
    assert_eq!(seen, wanted);
}

pub(crate) async fn filters_narrow_a_list(bench: Bench) {
    let shelf = bench
        .database
        .insert_project(project(bench.ann, "Shelf"))
        .await
        .expect("kept");
    let mut new = job(bench.ann, &unique());
    new.job.project = Some(shelf.id);
    let in_project = bench.accept_as(new).await;
    let (done, claimed) = bench.accept_and_claim(bench.ann).await;
    let mut ended = change(&claimed);
    ended.job = Some(JobChange {
        status: JobStatus::Failed,
        error: None,
    });
    let held = bench.claim(claimed.fence.node, crate::bench::LEASE).await;
    assert!(held.is_empty(), "both were claimed together");
    bench.done(ended).await;
    let list = |filter| {
        let (database, ann) = (bench.database.clone(), bench.ann);
        async move {
            let page = database
                .list_jobs(ann, filter, None, 10)
                .await
                .expect("read");
            page.items.into_iter().map(|job| job.id).collect::<Vec<_>>()
        }
    };
    let all = JobFilter::default();
    assert_eq!(list(all).await, [done.id, in_project.id]);
    assert_eq!(
        list(JobFilter {
            project: Some(shelf.id),
            ..all
        })
        .await,
        [in_project.id]
    );
    assert_eq!(
        list(JobFilter {
            status: Some(JobStatus::Failed),
            ..all
        })
        .await,
        [done.id]
    );
    assert_eq!(
        list(JobFilter {
            kind: Some(JobKind::Voice),
            ..all
        })
        .await
        .len(),
        2
    );
    assert!(
        list(JobFilter {
            kind: Some(JobKind::Video),
            ..all
        })
        .await
        .is_empty()
    );
    let both = JobFilter {
        project: Some(shelf.id),
        status: Some(JobStatus::Queued),
        kind: Some(JobKind::Voice),
    };
    assert_eq!(list(both).await, [in_project.id]);
}

pub(crate) async fn a_strangers_job_is_as_good_as_missing(bench: Bench) {
    let job = bench.accept(bench.ann).await;
    let found = bench.database.find_job(bench.bob, job.id).await;
    assert_eq!(found.expect("read"), None);
    let missing = bench.database.find_job(bench.ann, JobId::generate()).await;
    assert_eq!(missing.expect("read"), None);
    let mine = bench.database.find_job(bench.ann, job.id).await;
    assert_eq!(mine.expect("read").map(|job| job.id), Some(job.id));
}

pub(crate) async fn projects_are_kept_changed_and_hidden(bench: Bench) {
    let database = &bench.database;
    let mut ids: Vec<ProjectId> = Vec::new();
    for name in ["one", "two", "three"] {
        let kept = database.insert_project(project(bench.ann, name)).await;
        ids.push(kept.expect("kept").id);
    }
    let read: Option<Project> = database
        .find_project(bench.ann, ids[0])
        .await
        .expect("read");
    let mut one = read.expect("there");
    one.name = "first".to_owned();
    assert!(database.update_project(one.clone()).await.expect("written"));
    assert_eq!(
        database
            .find_project(bench.ann, ids[0])
            .await
            .expect("read"),
        Some(one.clone())
    );
    one.owner = bench.bob;
    assert!(!database.update_project(one).await.expect("refused"));
    assert!(
        !database
            .delete_project(bench.bob, ids[1], time::now())
            .await
            .expect("refused")
    );
    let page = database
        .list_projects(bench.ann, None, 2)
        .await
        .expect("read");
    assert!(page.more);
    assert_eq!(
        page.items.iter().map(|p| p.id).collect::<Vec<_>>(),
        [ids[2], ids[1]]
    );
    assert!(
        database
            .delete_project(bench.ann, ids[1], time::now())
            .await
            .expect("written")
    );
    assert!(
        !database
            .delete_project(bench.ann, ids[1], time::now())
            .await
            .expect("refused")
    );
    let page = database
        .list_projects(bench.ann, Some(ids[2]), 2)
        .await
        .expect("read");
    assert_eq!(
        page.items.iter().map(|p| p.id).collect::<Vec<_>>(),
        [ids[0]]
    );
    let some = database.find_projects(bench.ann, &ids).await.expect("read");
    assert_eq!(some.len(), 2);
    assert!(
        database
            .find_projects(bench.bob, &ids)
            .await
            .expect("read")
            .is_empty()
    );
    assert!(
        database
            .list_projects(bench.bob, None, 2)
            .await
            .expect("read")
            .items
            .is_empty()
    );
}

/// On both databases, so that it is not found out on the second one only.
pub(crate) async fn a_handle_for_nobody_is_refused(bench: Bench) {
    let job = bench.accept(bench.ann).await;
    let database = &bench.database;
    assert!(matches!(
        database.get_job(job.id).await,
        Err(Error::Unscoped)
    ));
    assert!(matches!(
        database.steps_of(&[job.id]).await,
        Err(Error::Unscoped)
    ));
    assert!(matches!(
        database.attempts_of(&[job.id]).await,
        Err(Error::Unscoped)
    ));
    assert!(matches!(
        database.media_of(&[job.id]).await,
        Err(Error::Unscoped)
    ));
    assert!(matches!(
        database.job_events(job.id, 0, 1).await,
        Err(Error::Unscoped)
    ));
}
