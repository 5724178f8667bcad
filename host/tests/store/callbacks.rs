//! Vendors' callbacks.

use genvid::{
    jobs::model::{Attempt, AttemptStatus},
    time,
};

use crate::bench::{Bench, attempt, change};

pub(crate) async fn a_delivery_is_kept_once(bench: Bench) {
    let other = bench.another_node().await;
    let tries = (0..10).map(|n| {
        let database = if n % 2 == 0 {
            bench.database.clone()
        } else {
            other.clone()
        };
        tokio::spawn(async move {
            database
                .keep_callback(
                    "heygen".to_owned(),
                    "evt-1".to_owned(),
                    b"{}".to_vec(),
                    time::now(),
                )
                .await
                .expect("answered")
        })
    });
    let news = futures::future::join_all(tries)
        .await
        .into_iter()
        .filter(|kept| *kept.as_ref().expect("it ran"))
        .count();
    assert_eq!(news, 1);
    let elsewhere = bench
        .database
        .keep_callback(
            "kling".to_owned(),
            "evt-1".to_owned(),
            Vec::new(),
            time::now(),
        )
        .await;
    assert!(
        elsewhere.expect("answered"),
        "another vendor has numbers of its own"
    );
}

pub(crate) async fn an_open_attempt_is_found_by_reference_or_task(bench: Bench) {
    let (_, claimed) = bench.accept_and_claim(bench.ann).await;
    let open = attempt(&claimed.step, 1);
    bench
        .done(crate::bench::with_attempt(change(&claimed), open.clone()))
        .await;
    let task = open.vendor_task.as_deref();
    let find = |provider: &'static str, reference, task| {
        let database = bench.database.clone();
        async move {
            let found: Option<Attempt> = database
                .find_open_attempt(provider, reference, task)
                .await
                .expect("read");
            found.map(|attempt| attempt.id)
        }
    };
    assert_eq!(find("elevenlabs", Some(open.id), None).await, Some(open.id));
    assert_eq!(find("elevenlabs", None, task).await, Some(open.id));
    assert_eq!(find("kling", Some(open.id), task).await, None);
    assert_eq!(find("elevenlabs", None, Some("another")).await, None);
    let closed = Attempt {
        status: AttemptStatus::Succeeded,
        finished_at: Some(time::now()),
        ..open.clone()
    };
    bench
        .done(crate::bench::with_attempt(change(&claimed), closed))
        .await;
    assert_eq!(find("elevenlabs", Some(open.id), task).await, None);
}
