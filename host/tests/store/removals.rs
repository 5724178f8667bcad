//! Whose files are to be removed, and who removes them.

use std::time::Duration;

use genvid::{
    ids::{JobId, ProjectId},
    jobs::{
        model::{EventType, Failure, FailureCode, Job, JobStatus, NewEvent, StepStatus},
        store::{
            Claimed, JobChange, MediaRole, OwnerDecision, Withdrawal, WithdrawalReason, job_folder,
        },
    },
    time,
};

use crate::bench::{Bench, LEASE, change, file, job, later, project, unique};

const HOUR: Duration = Duration::from_secs(3_600);
const NOW: Duration = Duration::ZERO;

async fn shelf(bench: &Bench) -> ProjectId {
    let kept = bench.database.insert_project(project(bench.ann, "Shelf"));
    kept.await.expect("kept").id
}

/// A job of that project, its first step in hand.
async fn job_of(bench: &Bench, project: ProjectId) -> (Job, Claimed) {
    let mut new = job(bench.ann, &unique());
    new.job.project = Some(project);
    let job = bench.accept_as(new).await;
    let claimed = bench.claim(genvid::ids::NodeId::generate(), LEASE).await;
    let mine = claimed
        .into_iter()
        .find(|claimed| claimed.step.job == job.id);
    (job, mine.expect("it is due"))
}

/// Ends a job, with a file.
async fn end(bench: &Bench, claimed: &Claimed, status: JobStatus) {
    let mut write = change(claimed);
    write.keep_lease = false;
    write.step.due_at = None;
    write.step.status = match status {
        JobStatus::Succeeded => StepStatus::Succeeded,
        _ => StepStatus::Failed,
    };
    write.media = vec![(bench.ann, MediaRole::Voice, file())];
    let failed = status != JobStatus::Succeeded;
    write.job = Some(JobChange {
        status,
        error: failed.then(|| Failure::new(FailureCode::MediaFailed, "It is gone.")),
    });
    bench.done(write).await;
}

async fn withdrawal(bench: &Bench, job: JobId) -> Option<Withdrawal> {
    let found = bench
        .database
        .for_user(bench.ann)
        .withdrawals_of(&[job])
        .await;
    found.expect("read").pop().expect("there").1
}

async fn files(bench: &Bench, job: JobId) -> usize {
    let found = bench.database.for_user(bench.ann).media_of(&[job]).await;
    found.expect("read").len()
}

pub(crate) async fn files_of_deleted_projects_go_after_their_time(bench: Bench) {
    let database = &bench.database;
    let (gone, stays) = (shelf(&bench).await, shelf(&bench).await);
    let (done, claimed) = job_of(&bench, gone).await;
    end(&bench, &claimed, JobStatus::Succeeded).await;
    let (other, claimed) = job_of(&bench, stays).await;
    end(&bench, &claimed, JobStatus::Succeeded).await;
    let (running, claimed) = job_of(&bench, gone).await;
    assert_eq!(files(&bench, done.id).await, 1);

    let deleted = database.delete_project(bench.ann, gone, time::now());
    assert!(deleted.await.expect("written"));
    // Nobody gets at them from here on; they are kept for their time.
    for id in [done.id, running.id] {
        let found = withdrawal(&bench, id).await.expect("withdrawn");
        assert_eq!(found.reason, WithdrawalReason::ProjectDeleted);
        assert!(!found.removed);
        assert_eq!(files(&bench, id).await, 0);
    }
    assert_eq!(withdrawal(&bench, other.id).await, None);
    assert_eq!(files(&bench, other.id).await, 1);
    assert_eq!(database.retire_jobs(HOUR, HOUR, 10).await.expect("done"), 0);

    // The one that runs keeps what it works with.
    assert_eq!(database.retire_jobs(NOW, HOUR, 10).await.expect("done"), 1);
    assert!(
        withdrawal(&bench, done.id)
            .await
            .expect("withdrawn")
            .removed
    );
    assert!(
        !withdrawal(&bench, running.id)
            .await
            .expect("withdrawn")
            .removed
    );
    end(&bench, &claimed, JobStatus::Succeeded).await;
    assert_eq!(database.retire_jobs(NOW, HOUR, 10).await.expect("done"), 1);
    assert_eq!(database.retire_jobs(NOW, HOUR, 10).await.expect("done"), 0);
    let claimed = database.claim_removals(HOUR, 10).await.expect("claimed");
    let names: Vec<_> = claimed.iter().map(|removal| removal.name.clone()).collect();
    assert_eq!(names.len(), 2);
    assert!(names.contains(&job_folder(done.id)) && names.contains(&job_folder(running.id)));
}

pub(crate) async fn files_of_fruitless_jobs_go_after_their_time(bench: Bench) {
    let database = &bench.database;
    let project = shelf(&bench).await;
    let (failed, claimed) = job_of(&bench, project).await;
    end(&bench, &claimed, JobStatus::Failed).await;
    let (_, done) = job_of(&bench, project).await;
    end(&bench, &done, JobStatus::Succeeded).await;
    let (settling, claimed) = job_of(&bench, project).await;
    let mut write = change(&claimed);
    // Its task at the vendor is still followed.
    write.step.status = StepStatus::Canceled;
    write.step.due_at = Some(later());
    write.job = Some(JobChange {
        status: JobStatus::Canceled,
        error: None,
    });
    bench.done(write).await;

    assert_eq!(database.retire_jobs(HOUR, HOUR, 10).await.expect("done"), 0);
    assert_eq!(files(&bench, failed.id).await, 1);
    assert_eq!(database.retire_jobs(HOUR, NOW, 10).await.expect("done"), 1);
    let found = withdrawal(&bench, failed.id).await.expect("withdrawn");
    assert_eq!(found.reason, WithdrawalReason::Retention);
    assert_eq!(files(&bench, failed.id).await, 0);
    assert_eq!(withdrawal(&bench, settling.id).await, None);

    // What it would go on with is gone.
    let step = bench.steps(failed.id).await[0].id;
    let retry = OwnerDecision::Retry {
        from: JobStatus::Failed,
        step,
        deadline: later(),
        plans: std::sync::Arc::default(),
        event: NewEvent::job(EventType::JobRetried),
    };
    let decided = database.for_user(bench.ann).decide(failed.id, retry).await;
    assert!(!decided.expect("decided").0);
    assert_eq!(bench.job(failed.id).await.status, JobStatus::Failed);
}

pub(crate) async fn a_job_that_is_accepted_while_its_project_goes_is_discarded(bench: Bench) {
    let database = &bench.database;
    for _ in 0..10 {
        let project = shelf(&bench).await;
        let mut new = job(bench.ann, &unique());
        new.job.project = Some(project);
        let id = new.job.id;
        let (accepted, deleted) = tokio::join!(
            database.accept_job(new),
            database.delete_project(bench.ann, project, time::now())
        );
        accepted.expect("accepted");
        assert!(deleted.expect("written"));
        assert!(withdrawal(&bench, id).await.is_some());
    }
}

pub(crate) async fn a_removal_belongs_to_one_node_and_is_repeated(bench: Bench) {
    let database = &bench.database;
    let names: Vec<_> = (0..40).map(|n| format!("jobs/{n}/")).collect();
    let requested = database.request_removals(names.clone()).await;
    requested.expect("written");
    let (one, two) = (&bench.another_node().await, &bench.another_node().await);
    let tries = [one, two, one, two].map(|node| node.claim_removals(HOUR, 10));
    let claimed = futures::future::try_join_all(tries).await.expect("claimed");
    let mut all: Vec<_> = claimed.into_iter().flatten().map(|r| r.name).collect();
    all.sort();
    let mut wanted = names;
    wanted.sort();
    assert_eq!(all, wanted);
    assert_eq!(
        database.claim_removals(HOUR, 10).await.expect("claimed"),
        []
    );

    // Done, tried again, and lost with its node.
    let settle = async |name: &str, again| {
        let settled = database.settle_removal(name.to_owned(), again).await;
        settled.expect("written");
    };
    settle("jobs/0/", None).await;
    settle("jobs/1/", Some(NOW)).await;
    settle("jobs/2/", Some(HOUR)).await;
    let again = database.claim_removals(NOW, 10).await.expect("claimed");
    assert_eq!(again.len(), 1);
    assert_eq!((again[0].name.as_str(), again[0].tries), ("jobs/1/", 2));
    let again = database.claim_removals(HOUR, 10).await.expect("claimed");
    assert_eq!((again.len(), again[0].tries), (1, 3));
    // Asked for once more, as when something was written behind it.
    let requested = database.request_removals(vec!["jobs/0/".to_owned()]).await;
    requested.expect("written");
    let again = database.claim_removals(HOUR, 10).await.expect("claimed");
    assert_eq!((again[0].name.as_str(), again[0].tries), ("jobs/0/", 1));
}

pub(crate) async fn a_chore_belongs_to_one_node(bench: Bench) {
    let node = bench.another_node().await;
    let (one, two) = tokio::join!(
        bench.database.claim_chore("orphans", HOUR),
        node.claim_chore("orphans", HOUR)
    );
    let mut got = [one.expect("asked"), two.expect("asked")];
    got.sort();
    assert_eq!(got, [None, Some(None)]);
    let place = Some("jobs/a".to_owned());
    let left = node.leave_chore("orphans", place.clone(), NOW).await;
    left.expect("written");
    let again = bench.database.claim_chore("orphans", NOW).await;
    assert_eq!(again.expect("asked"), Some(place));
}
