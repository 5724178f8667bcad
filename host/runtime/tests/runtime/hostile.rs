//! Guests that misbehave: only their own call fails, with a typed error, and in time.

use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use genvid_runtime::{ContextArgs, Failure, Options, SandboxErrorKind, types};
use serde_json::{Value, json};

use crate::support::{
    call, command, component, context, get as get_path, grant, guest, lonely, plugin, request,
    runtime, sandbox_error, serve, text_of,
};

async fn ends(command_json: Value, kind: SandboxErrorKind, within: Duration) -> String {
    let plugin = lonely().await;
    let started = Instant::now();
    let outcome = command(&plugin, command_json).await;
    let error = sandbox_error(&outcome).clone();
    assert_eq!(error.kind, kind, "{error}");
    assert_eq!(
        (error.plugin.as_str(), error.version.as_str()),
        ("test-guest", "0.1.0")
    );
    assert_eq!(error.function, "script.submit");
    assert!(started.elapsed() < within, "took {:?}", started.elapsed());
    assert!(!outcome.trace.sent && !outcome.trace.unanswered);
    // The plugin goes on as if nothing had happened.
    assert!(
        command(&plugin, json!({ "do": "echo" }))
            .await
            .result
            .is_ok()
    );
    error.message
}

#[tokio::test]
async fn an_endless_loop_is_stopped() {
    let message = ends(
        json!({ "do": "spin" }),
        SandboxErrorKind::Timeout,
        Duration::from_secs(5),
    )
    .await;
    assert!(
        message.contains("computed for more than 2000 ms"),
        "{message}"
    );
}

#[tokio::test]
async fn growing_memory_is_stopped() {
    let message = ends(
        json!({ "do": "grow" }),
        SandboxErrorKind::OutOfMemory,
        Duration::from_secs(5),
    )
    .await;
    assert!(message.contains("it may have 33554432"), "{message}");
}

#[tokio::test]
async fn endless_recursion_is_stopped() {
    ends(
        json!({ "do": "recurse" }),
        SandboxErrorKind::Trap,
        Duration::from_secs(5),
    )
    .await;
}

#[tokio::test]
async fn a_crash_is_typed() {
    let message = ends(
        json!({ "do": "trap" }),
        SandboxErrorKind::Trap,
        Duration::from_secs(5),
    )
    .await;
    assert!(message.contains("unreachable"), "{message}");
}

#[tokio::test]
async fn a_huge_text_is_refused() {
    for (bytes, part) in [
        (1_100_000, "a text output has 1100000 bytes"),
        (20_000_000, "fuel"),
    ] {
        let message = ends(
            json!({ "do": "big-text", "bytes": bytes }),
            SandboxErrorKind::BadOutput,
            Duration::from_secs(5),
        )
        .await;
        assert!(message.contains(part), "{message}");
    }
}

#[tokio::test]
async fn a_huge_list_is_refused() {
    for count in [17, 200_000] {
        ends(
            json!({ "do": "many-outputs", "count": count }),
            SandboxErrorKind::BadOutput,
            Duration::from_secs(5),
        )
        .await;
    }
}

#[tokio::test]
async fn other_output_limits_hold() {
    let within = Duration::from_secs(5);
    let bad = SandboxErrorKind::BadOutput;
    let message = ends(json!({ "do": "big-id", "bytes": 513 }), bad, within).await;
    assert_eq!(message, "the task id has 513 bytes; 512 are allowed");
    let message = ends(json!({ "do": "big-id", "bytes": 0 }), bad, within).await;
    assert_eq!(message, "the task id is empty or has a control character");
    let message = ends(json!({ "do": "many-outputs", "count": 3 }), bad, within).await;
    assert_eq!(message, "0 outputs are `main`; exactly one must be");
    let message = ends(json!({ "do": "bad-metadata" }), bad, within).await;
    assert!(
        message.starts_with("the metadata of an output is no JSON object"),
        "{message}"
    );
}

#[tokio::test]
async fn every_export_may_trap() {
    let mut trapping = grant("http://127.0.0.1:1");
    trapping.settings = json!({ "trap": true });
    let plugin = component()
        .await
        .configure(trapping)
        .expect("the grant fits");
    let task = || ContextArgs {
        client_ref: "r".to_owned(),
        callback_url: None,
    };
    let lost = genvid_runtime::Lost {
        context: context(),
        kind: "script".to_owned(),
        request: "{}".to_owned(),
        submitted_at_ms: 0,
    };
    let failures = [
        plugin
            .submit_script(call(), request(&json!({})), context())
            .await
            .result
            .err(),
        plugin.check(call()).await.result.err(),
        plugin
            .list(call(), genvid_runtime::catalog::Kind::Model, None)
            .await
            .result
            .err(),
        plugin
            .poll(call(), vec![("a".to_owned(), task())])
            .await
            .result
            .err(),
        plugin
            .cancel(call(), "a".to_owned(), task())
            .await
            .result
            .err(),
        plugin.find(call(), lost).await.result.err(),
        plugin
            .parse_webhook(call(), &http::HeaderMap::new(), b"trap")
            .await
            .result
            .err(),
    ];
    let functions: Vec<&str> = failures
        .iter()
        .map(|failure| match failure {
            Some(Failure::Sandbox(error)) if error.kind == SandboxErrorKind::Trap => error.function,
            other => panic!("no trap: {other:?}"),
        })
        .collect();
    assert_eq!(
        functions,
        [
            "script.submit",
            "account.check",
            "catalog.list",
            "tasks.poll",
            "tasks.cancel",
            "tasks.find",
            "webhook.parse",
        ]
    );
}

#[tokio::test]
async fn a_flood_of_log_lines_does_no_harm() {
    let plugin = lonely().await;
    let outcome = command(
        &plugin,
        json!({ "do": "log", "lines": 20_000, "bytes": 5_000 }),
    )
    .await;
    assert_eq!(
        outcome.result,
        Ok(types::Submission::Accepted("logged".to_owned()))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_go_on_while_many_compute_for_ever() {
    let plugin = lonely().await;
    let spinning: Vec<_> = (0..6)
        .map(|_| {
            let plugin = plugin.clone();
            tokio::spawn(async move { command(&plugin, json!({ "do": "spin" })).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(50)).await;
    for _ in 0..10 {
        let started = Instant::now();
        assert!(
            command(&plugin, json!({ "do": "echo" }))
                .await
                .result
                .is_ok()
        );
        assert!(
            started.elapsed() < Duration::from_secs(1),
            "waited {:?}",
            started.elapsed()
        );
    }
    for spinner in spinning {
        let outcome = spinner.await.expect("no panic");
        assert_eq!(sandbox_error(&outcome).kind, SandboxErrorKind::Timeout);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_hundred_calls_wait_at_once_and_leave_nothing_behind() {
    // Nobody gets an answer before all have asked.
    let all = std::sync::Arc::new(tokio::sync::Barrier::new(400));
    let slow = get(|| async move {
        all.wait().await;
        "done"
    });
    let vendor = serve(Router::new().route("/v1/slow", slow)).await;
    let runtime = runtime(Options {
        max_instances: 600,
        ..Options::default()
    });
    let component = runtime.load(guest()).await.expect("the guest loads");
    let plugin = component.configure(grant(&vendor)).expect("the grant fits");
    let calls: Vec<_> = (0..400)
        .map(|_| {
            let plugin = plugin.clone();
            let exchanges = json!([get_path("/v1/slow")]);
            tokio::spawn(async move {
                command(&plugin, json!({ "do": "http", "exchanges": exchanges })).await
            })
        })
        .collect();
    for call in calls {
        let outcome = call.await.expect("no panic");
        assert_eq!(text_of(&outcome)[0]["body"], "done");
    }
    assert_eq!(runtime.live_instances(), 0);
}

#[tokio::test]
async fn a_full_house_is_busy_and_not_broken() {
    let vendor = serve(Router::new().route(
        "/v1/slow",
        get(|| async {
            tokio::time::sleep(Duration::from_secs(60)).await;
        }),
    ))
    .await;
    let runtime = runtime(Options {
        max_instances: 1,
        ..Options::default()
    });
    let component = runtime.load(guest()).await.expect("the guest loads");
    let plugin = component.configure(grant(&vendor)).expect("the grant fits");
    let first = tokio::spawn({
        let plugin = plugin.clone();
        let exchanges = json!([get_path("/v1/slow")]);
        async move { command(&plugin, json!({ "do": "http", "exchanges": exchanges })).await }
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    let waiting = tokio::spawn({
        let plugin = plugin.clone();
        async move { command(&plugin, json!({ "do": "echo" })).await }
    });
    // The first call gives up before the end of its time, and the second one gets its turn.
    let first = first.await.expect("no panic");
    assert_eq!(text_of(&first)[0]["kind"], "ErrorKind::Unavailable");
    assert!(waiting.await.expect("no panic").result.is_ok());
    assert_eq!(runtime.live_instances(), 0);
}

#[tokio::test]
async fn a_dropped_call_leaves_nothing_behind() {
    let vendor = serve(Router::new().route("/v1/slow", get(std::future::pending::<()>))).await;
    let runtime = runtime(Options {
        max_instances: 4,
        ..Options::default()
    });
    let component = runtime.load(guest()).await.expect("the guest loads");
    let plugin = component.configure(grant(&vendor)).expect("the grant fits");
    let exchanges = json!([get_path("/v1/slow")]);
    let work = command(&plugin, json!({ "do": "http", "exchanges": exchanges }));
    assert!(
        tokio::time::timeout(Duration::from_millis(300), work)
            .await
            .is_err()
    );
    assert_eq!(runtime.live_instances(), 0);
}

#[tokio::test]
async fn the_clock_stops_a_call_that_waits_too_long() {
    // Many short waits, each fine for itself, together longer than the call may take.
    let vendor = serve(Router::new().route(
        "/v1/slow",
        get(|| async {
            tokio::time::sleep(Duration::from_millis(1_500)).await;
            "done"
        }),
    ))
    .await;
    let plugin = plugin(&vendor).await;
    let exchanges: Vec<Value> = (0..10).map(|_| get_path("/v1/slow")).collect();
    let started = Instant::now();
    let outcome = command(
        &plugin,
        json!({ "do": "http", "exchanges": exchanges, "then": { "do": "spin" } }),
    )
    .await;
    let error = sandbox_error(&outcome);
    assert_eq!(error.kind, SandboxErrorKind::Timeout);
    assert_eq!(error.message, "the call took longer than 6000 ms");
    assert!(
        started.elapsed() < Duration::from_secs(7),
        "took {:?}",
        started.elapsed()
    );
    assert!(outcome.trace.requests >= 3, "{:?}", outcome.trace);
}
