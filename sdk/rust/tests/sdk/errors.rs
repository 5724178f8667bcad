//! From a vendor's words to error kinds, and how long to wait.

use genvid_sdk::http::{Content, Response};
use genvid_sdk::testing::Vendor;
use genvid_sdk::{Class, Error, ErrorKind, ErrorTable, Problem, VendorError, retry};

const TABLE: ErrorTable = ErrorTable(&[
    ("bad_field", Class::Invalid),
    ("slow_down", Class::RateLimited),
    ("full", Class::NoSlot),
    ("gateway", Class::OutcomeUnknown),
]);

fn response(status: u16, headers: &[(&str, &str)]) -> Response {
    Response {
        status,
        headers: headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        body: Content::Text(String::new()),
    }
}

fn vendor(code: &str) -> VendorError {
    VendorError {
        code: Some(code.to_owned()),
        message: "words".to_owned(),
        field: None,
    }
}

#[test]
fn the_code_goes_before_the_status() {
    let error = TABLE.submit_refusal(&response(401, &[("retry-after", "3")]), vendor("SLOW_DOWN"));
    assert_eq!(error.kind, ErrorKind::RateLimited(Some(3_000)));
    assert_eq!(error.vendor_code.as_deref(), Some("SLOW_DOWN"));
    assert_eq!(error.message, "words");
    let error = TABLE.submit_refusal(&response(429, &[]), vendor("full"));
    assert_eq!(error.kind, ErrorKind::NoSlot(None));
}

#[test]
fn the_status_speaks_when_the_code_is_unknown() {
    for (status, submission, question) in [
        (
            400,
            ErrorKind::InvalidInput(Vec::new()),
            ErrorKind::InvalidInput(Vec::new()),
        ),
        (401, ErrorKind::Unauthorized, ErrorKind::Unauthorized),
        (402, ErrorKind::QuotaExhausted, ErrorKind::QuotaExhausted),
        (403, ErrorKind::Forbidden, ErrorKind::Forbidden),
        (404, ErrorKind::NotFound, ErrorKind::NotFound),
        (408, ErrorKind::Unavailable, ErrorKind::Unavailable),
        (410, ErrorKind::NotFound, ErrorKind::NotFound),
        (
            422,
            ErrorKind::InvalidInput(Vec::new()),
            ErrorKind::InvalidInput(Vec::new()),
        ),
        (
            429,
            ErrorKind::RateLimited(None),
            ErrorKind::RateLimited(None),
        ),
        (451, ErrorKind::ContentRejected, ErrorKind::ContentRejected),
        (500, ErrorKind::OutcomeUnknown, ErrorKind::Unavailable),
        (502, ErrorKind::OutcomeUnknown, ErrorKind::Unavailable),
        (503, ErrorKind::Unavailable, ErrorKind::Unavailable),
        (504, ErrorKind::OutcomeUnknown, ErrorKind::Unavailable),
        (302, ErrorKind::Unexpected, ErrorKind::Unexpected),
        (409, ErrorKind::Unexpected, ErrorKind::Unexpected),
    ] {
        let refused = TABLE.submit_refusal(&response(status, &[]), vendor("new"));
        assert_eq!(refused.kind, submission, "{status} on a submission");
        let refused = TABLE.refusal(&response(status, &[]), vendor("new"));
        assert_eq!(refused.kind, question, "{status} on a question");
    }
    let bare = TABLE.refusal(&response(418, &[]), VendorError::default());
    assert_eq!(bare.message, "the vendor answered HTTP 418");
}

#[test]
fn a_question_leaves_no_outcome_unknown() {
    let answer = response(504, &[]);
    let submitted = TABLE.submit_refusal(&answer, vendor("gateway"));
    assert_eq!(submitted.kind, ErrorKind::OutcomeUnknown);
    assert_eq!(
        TABLE.refusal(&answer, vendor("gateway")).kind,
        ErrorKind::Unavailable
    );
}

#[test]
fn failures_of_tasks_and_fields() {
    assert_eq!(TABLE.failure(vendor("new")).kind, ErrorKind::Unexpected);
    let named = VendorError {
        field: Some("voice".to_owned()),
        ..vendor("bad_field")
    };
    let problem = Problem {
        field: "voice".to_owned(),
        message: "words".to_owned(),
    };
    assert_eq!(
        TABLE.failure(named).kind,
        ErrorKind::InvalidInput(vec![problem])
    );
}

#[test]
fn shorthands() {
    let error = Error::invalid("options.seed", "too big").with_code("E1");
    assert_eq!(error.message, "too big");
    assert_eq!(error.vendor_code.as_deref(), Some("E1"));
    assert!(
        matches!(error.kind, ErrorKind::InvalidInput(problems) if problems[0].field == "options.seed")
    );
    let upload = Error::outcome_unknown("cut off").before_submission();
    assert_eq!(upload.kind, ErrorKind::Unavailable);
    let refused = Error::not_found("gone").before_submission();
    assert_eq!(refused.kind, ErrorKind::NotFound);
}

#[test]
fn waits_in_seconds_in_milliseconds_and_until_a_date() {
    // 2026-11-22T00:00:00Z
    let _vendor = Vendor::new().at_ms(1_795_305_600_000);
    for (headers, wait) in [
        (vec![("retry-after", "30")], Some(30_000)),
        (vec![("retry-after", " 0 ")], Some(0)),
        (vec![("retry-after", "0.25")], Some(250)),
        (vec![("retry-after", "999999999")], Some(retry::LONGEST_MS)),
        (vec![("retry-after", "-1")], None),
        (vec![("retry-after", "inf")], None),
        (vec![("retry-after", "soon")], None),
        (
            vec![("retry-after-ms", "1500"), ("retry-after", "9")],
            Some(1_500),
        ),
        (
            vec![("retry-after-ms", "x"), ("retry-after", "9")],
            Some(9_000),
        ),
        (
            vec![("retry-after", "Sun, 22 Nov 2026 00:00:45 GMT")],
            Some(45_000),
        ),
        (
            vec![("retry-after", "Sat, 21 Nov 2026 23:59:59 GMT")],
            Some(0),
        ),
        (
            vec![("retry-after", "Mon, 23 Nov 2026 00:00:00 GMT")],
            Some(retry::LONGEST_MS),
        ),
        (vec![], None),
    ] {
        assert_eq!(
            retry::after_ms(&response(429, &headers)),
            wait,
            "{headers:?}"
        );
    }
}

#[test]
fn dates_of_http() {
    // The example of RFC 9110, 5.6.7.
    assert_eq!(
        retry::date_ms("Sun, 06 Nov 1994 08:49:37 GMT"),
        Some(784_111_777_000)
    );
    assert_eq!(retry::date_ms("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
    assert_eq!(
        retry::date_ms("Thu, 29 Feb 2024 12:00:00 GMT"),
        Some(1_709_208_000_000)
    );
    assert_eq!(
        retry::date_ms("Fri, 31 Dec 9999 23:59:59 GMT"),
        Some(253_402_300_799_000)
    );
    for wrong in [
        "",
        "1994-11-06T08:49:37Z",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 CET",
        "Sun, 06 Nov 1994 24:00:00 GMT",
        "Sun, 32 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1969 08:49:37 GMT",
        "Sun, 06 Nov 99999 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 GMT extra",
    ] {
        assert_eq!(retry::date_ms(wrong), None, "{wrong}");
    }
}
