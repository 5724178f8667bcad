//! Every code of Kling's error table, on a submission.

use genvid_plugin_kling::Kling;
use genvid_sdk::testing::{self, Reply, Vendor};
use genvid_sdk::{Error, ErrorKind, Video};

use crate::{clip, fixture, speaking};

fn refused(reply: Reply) -> Error {
    let again = reply.clone();
    let vendor = Vendor::new().handle(move |_| again.clone());
    let legacy = Kling::submit(&speaking(), &testing::context()).expect_err("refused");
    drop(vendor);
    let _vendor = Vendor::new().handle(move |_| reply.clone());
    let error = Kling::submit(&clip(), &testing::context()).expect_err("refused");
    assert_eq!(legacy, error, "both dialects have one table");
    error
}

fn coded(status: u16, code: i64) -> Error {
    refused(Reply::json(
        status,
        format!(r#"{{"code":{code},"message":"words","request_id":"CjMT7W"}}"#),
    ))
}

#[test]
fn codes_decide_even_under_http_200() {
    let cases = [
        (401, 1000, ErrorKind::Unauthorized),
        (401, 1001, ErrorKind::Unauthorized),
        (401, 1002, ErrorKind::Unauthorized),
        (401, 1003, ErrorKind::Unauthorized),
        (401, 1004, ErrorKind::Unauthorized),
        (429, 1100, ErrorKind::Forbidden),
        (429, 1101, ErrorKind::QuotaExhausted),
        (429, 1102, ErrorKind::QuotaExhausted),
        (403, 1103, ErrorKind::Forbidden),
        (400, 1200, ErrorKind::InvalidInput(Vec::new())),
        (400, 1201, ErrorKind::InvalidInput(Vec::new())),
        (404, 1202, ErrorKind::NotFound),
        (404, 1203, ErrorKind::NotFound),
        (400, 1300, ErrorKind::ContentRejected),
        (400, 1301, ErrorKind::ContentRejected),
        (429, 1302, ErrorKind::RateLimited(None)),
        (429, 1303, ErrorKind::NoSlot(None)),
        (429, 1304, ErrorKind::Forbidden),
        (500, 5000, ErrorKind::Unavailable),
        (503, 5001, ErrorKind::Unavailable),
        (504, 5002, ErrorKind::OutcomeUnknown),
    ];
    for (status, code, kind) in cases {
        for status in [status, 200] {
            let error = coded(status, code);
            assert_eq!(error.kind, kind, "{status} {code}");
            assert_eq!(error.vendor_code, Some(code.to_string()));
            assert_eq!(error.message, "words (request CjMT7W)");
        }
    }
}

#[test]
fn the_status_decides_when_the_code_is_new_or_missing() {
    for (status, kind) in [
        (400, ErrorKind::InvalidInput(Vec::new())),
        (401, ErrorKind::Unauthorized),
        (403, ErrorKind::Forbidden),
        (404, ErrorKind::NotFound),
        (429, ErrorKind::RateLimited(None)),
        (503, ErrorKind::Unavailable),
        // From something in between, which may have passed the request on.
        (500, ErrorKind::OutcomeUnknown),
        (502, ErrorKind::OutcomeUnknown),
        (504, ErrorKind::OutcomeUnknown),
    ] {
        assert_eq!(coded(status, 9_999).kind, kind, "{status}");
        assert_eq!(
            refused(Reply::json(status, "<html>")).kind,
            kind,
            "{status}"
        );
    }
    assert_eq!(coded(200, 9_999).kind, ErrorKind::Unexpected);
}

#[test]
fn the_vendors_examples() {
    for (status, body, kind) in [
        (
            401,
            fixture!("error-1002.response.json"),
            ErrorKind::Unauthorized,
        ),
        (
            429,
            fixture!("error-1102.response.json"),
            ErrorKind::QuotaExhausted,
        ),
        (
            429,
            fixture!("error-1303.response.json"),
            ErrorKind::NoSlot(None),
        ),
        (
            400,
            fixture!("error-1301.response.json"),
            ErrorKind::ContentRejected,
        ),
    ] {
        assert_eq!(refused(Reply::json(status, body)).kind, kind);
    }
}

#[test]
fn a_wait_is_honoured_should_kling_ever_name_one() {
    let reply = Reply::json(429, fixture!("error-1303.response.json")).header("Retry-After", "12");
    assert_eq!(refused(reply).kind, ErrorKind::NoSlot(Some(12_000)));
}
