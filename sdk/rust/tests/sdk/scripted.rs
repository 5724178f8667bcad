//! The scripted vendor is strict.

use std::panic::{AssertUnwindSafe, catch_unwind};

use genvid_sdk::http;
use genvid_sdk::testing::{Reply, Vendor};

fn get(path: &str) -> u16 {
    http::get(format!("https://x.example{path}"))
        .send()
        .expect("an answer")
        .status
}

fn complaint(test: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(test)).expect_err("it must complain");
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .expect("a text")
}

#[test]
fn other_calls_than_expected_fail() {
    let text = complaint(|| {
        let _vendor = Vendor::new().expect("GET", "/a", "{}");
        get("/b");
    });
    assert!(
        text.contains("expected GET /a, but the plugin sent GET https://x.example/b"),
        "{text}"
    );
    let text = complaint(|| {
        let _vendor = Vendor::new().expect("POST", "/a", "{}");
        get("/a");
    });
    assert!(text.contains("expected POST /a"), "{text}");
    let text = complaint(|| {
        let _vendor = Vendor::new();
        get("/a");
    });
    assert!(text.contains("not expected: GET"), "{text}");
}

#[test]
fn unused_expectations_fail() {
    let text = complaint(|| {
        let _vendor = Vendor::new().expect("GET", "/a", "{}");
    });
    assert!(text.contains("never sent: [\"GET /a\"]"), "{text}");
}

#[test]
fn a_thread_has_one_vendor_at_a_time() {
    let text = complaint(|| {
        let _first = Vendor::new();
        let _second = Vendor::new();
    });
    assert!(text.contains("already has a vendor"), "{text}");
    let _free_again = Vendor::new();
}

#[test]
fn paths_are_compared_with_the_query_when_they_have_one() {
    let _vendor = Vendor::new()
        .expect("GET", "/a", "{}")
        .expect("GET", "/a?x=1", "{}")
        .expect("GET", "https://x.example/a?x=1", "{}");
    for _ in 0..3 {
        get("/a?x=1");
    }
}

#[test]
fn a_handler_answers_what_comes_after() {
    let mut calls = 0;
    let vendor = Vendor::new()
        .expect("GET", "/first", Reply::status(201))
        .handle(move |sent| {
            calls += 1;
            assert_eq!(sent.query("q").as_deref(), Some("a b+c"));
            Reply::status(if calls == 1 { 202 } else { 203 })
        });
    assert_eq!(get("/first"), 201);
    assert_eq!(get("/more?q=a+b%2Bc"), 202);
    assert_eq!(get("/more?q=a%20b%2Bc"), 203);
    assert_eq!(vendor.sent().len(), 3);
    assert_eq!(vendor.sent()[1].path(), "/more");
}
