//! What the request builder writes and what answers can be asked.

use genvid_sdk::http::{self, Body, FormValue, Kept, Method, Part, Saved, Stream};
use genvid_sdk::testing::{Reply, Vendor};
use genvid_sdk::{Error, ErrorKind, report, serde_json};

#[test]
fn json_with_headers_and_a_query() {
    let call = http::post("https://api.acme.example/v1/clips")
        .query("a b", "x&y=1,ü")
        .query("token", "t")
        .header("X-Thing", "1")
        .timeout_ms(5_000)
        .json(&serde_json::json!({"a": 1}))
        .expect("JSON");
    let request = call.into_request();
    assert_eq!(request.method, Method::Post);
    assert_eq!(
        request.url,
        "https://api.acme.example/v1/clips?a%20b=x%26y%3D1%2C%C3%BC&token=t"
    );
    assert_eq!(request.timeout_ms, Some(5_000));
    assert_eq!(request.body, Body::Text(r#"{"a":1}"#.to_owned()));
    assert!(
        request
            .headers
            .contains(&("content-type".to_owned(), "application/json".to_owned()))
    );
}

#[test]
fn a_media_type_of_the_callers_own_stays() {
    let request = http::put("https://x.example/")
        .header("Content-Type", "application/vnd.acme+json")
        .json(&1)
        .expect("JSON")
        .into_request();
    assert_eq!(request.headers.len(), 1);
    assert_eq!(
        http::delete("https://x.example/").into_request().body,
        Body::Empty
    );
    assert_eq!(
        http::patch("https://x.example/").into_request().method,
        Method::Patch
    );
}

#[test]
fn forms_name_their_assets() {
    let form = http::Form::new().text("model", "m1").asset(
        "file",
        "asset_a",
        "voice.mp3",
        Some("audio/mpeg"),
    );
    let Body::Form(parts) = http::post("https://x.example/")
        .form(form)
        .into_request()
        .body
    else {
        panic!("no form");
    };
    assert_eq!(parts[0].value, FormValue::Text("m1".to_owned()));
    assert_eq!(parts[1].value, FormValue::Asset("asset_a".to_owned()));
    assert_eq!(parts[1].filename.as_deref(), Some("voice.mp3"));
}

#[test]
fn ids_become_one_segment() {
    assert_eq!(
        http::segment("a/b?c#d e%").as_deref(),
        Ok("a%2Fb%3Fc%23d%20e%25")
    );
    assert_eq!(http::segment("v1.2_x-y~z").as_deref(), Ok("v1.2_x-y~z"));
    for wrong in ["", ".", ".."] {
        let error = http::segment(wrong).expect_err("no id");
        assert_eq!(error.kind, ErrorKind::NotFound);
    }
}

#[test]
fn answers() {
    let _vendor = Vendor::new()
        .expect(
            "GET",
            "/",
            Reply::json(200, r#"{"n":7}"#).header("X-Request-Id", "r1"),
        )
        .expect(
            "GET",
            "/",
            Reply::bytes("application/json", br#"{"n":8}"#.to_vec()),
        )
        .expect("GET", "/", Reply::bytes("image/png", vec![0xff, 0xfe]));
    #[derive(serde::Deserialize)]
    struct N {
        n: u8,
    }
    let get = || http::get("https://x.example").send().expect("an answer");
    let first = get();
    assert_eq!(first.header("x-request-ID"), Some("r1"));
    assert_eq!(first.json::<N>().expect("n").n, 7);
    assert_eq!(get().json::<N>().expect("n").n, 8);
    let picture = get();
    assert_eq!(picture.text(), "");
    assert_eq!(
        picture.json::<N>().map(|n| n.n).expect_err("no JSON").kind,
        ErrorKind::Unexpected
    );
    let kind = picture
        .accepted_json::<N>()
        .map(|n| n.n)
        .expect_err("no JSON")
        .kind;
    assert_eq!(kind, ErrorKind::OutcomeUnknown);
}

#[test]
fn answers_are_kept_whole_or_cut_out_of_json() {
    let vendor = Vendor::new()
        .expect(
            "POST",
            "/speak",
            Reply::bytes("audio/mpeg", b"ID3".to_vec()),
        )
        .expect(
            "POST",
            "/timed",
            r#"{"audio":{"base64":"SUQz","rate":44100},"n":1}"#,
        )
        .expect("POST", "/speak", Reply::json(422, "{}"))
        .expect("POST", "/timed", r#"{"audio":{}}"#);
    let save = |path: &str, part: Part| http::post(format!("https://x.example{path}")).save(&part);
    let part = || Part::JsonBase64("/audio/base64".to_owned());
    let Ok(Saved::Kept(Kept {
        asset,
        mime,
        size,
        rest,
        ..
    })) = save("/speak", Part::Whole)
    else {
        panic!("not kept");
    };
    assert_eq!((mime.as_str(), size, rest), ("audio/mpeg", 3, None));
    assert_eq!(vendor.asset(&asset).as_deref(), Some(&b"ID3"[..]));
    let Ok(Saved::Kept(kept)) = save("/timed", part()) else {
        panic!("not kept");
    };
    assert_eq!(vendor.asset(&kept.asset).as_deref(), Some(&b"ID3"[..]));
    assert_eq!(
        kept.rest.as_deref(),
        Some(r#"{"audio":{"rate":44100},"n":1}"#)
    );
    assert!(matches!(save("/speak", Part::Whole), Ok(Saved::Refused(r)) if r.status == 422));
    let missing = save("/timed", part()).expect_err("no base64");
    assert_eq!(missing.kind, ErrorKind::OutcomeUnknown);
    assert_eq!(vendor.sent()[1].part, Some(part()));
}

#[test]
fn events_one_by_one_until_the_end_or_a_break() {
    let _vendor = Vendor::new()
        .expect("POST", "/s", Reply::events(["a", "b"]).named("last"))
        .expect(
            "POST",
            "/s",
            Reply::events(["a"]).broken_by(Error::outcome_unknown("cut")),
        )
        .expect("POST", "/s", Reply::json(429, "{}"));
    let open = || http::post("https://x.example/s").events();
    let Ok(Stream::Events(events)) = open() else {
        panic!("no stream");
    };
    let events: Vec<_> = events.map(|event| event.expect("whole")).collect();
    assert_eq!(events[0].data, "a");
    assert_eq!(events[1].name.as_deref(), Some("last"));
    let Ok(Stream::Events(mut broken)) = open() else {
        panic!("no stream");
    };
    assert!(matches!(broken.next(), Some(Ok(_))));
    assert!(matches!(broken.next(), Some(Err(error)) if error.kind == ErrorKind::OutcomeUnknown));
    assert!(broken.next().is_none(), "nothing after an error");
    assert!(matches!(open(), Ok(Stream::Refused(refused)) if refused.status == 429));
}

#[test]
fn logs_are_cut_between_characters() {
    let vendor = Vendor::new();
    report::warn("é".repeat(3_000));
    report::info("short");
    report::text("Hel");
    report::text("lo");
    let logs = vendor.logs();
    assert_eq!(logs[0].1.len(), 4_096);
    assert_eq!(logs[0].0, report::Level::Warn);
    assert_eq!(logs[1].1, "short");
    assert_eq!(vendor.text(), "Hello");
}
