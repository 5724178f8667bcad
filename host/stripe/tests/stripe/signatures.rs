//! Signatures, ages, modes and shapes, with bytes made here.

use genvid_stripe::{MAX_EVENT, Receiver, Refusal, SecretError, TOLERANCE, WebhookSecrets};
use genvid_testkit::stripe_signature;
use proptest::prelude::*;

const NOW: u64 = 1_700_000_000;
const SECRET: &str = "whsec_test";
const OLD: &str = "whsec_old";
const EVENT: &str = r#"{"id":"evt_1","object":"event","api_version":"2099-01-01.new","type":"invoice.paid","created":1699999990,"livemode":false,"new":[1],"data":{"object":{"id":"in_1","amount_paid":2900},"previous_attributes":{}}}"#;

fn receiver() -> Receiver {
    let secrets = WebhookSecrets::new(SECRET.into(), Some(OLD.into())).expect("secrets");
    Receiver::new(secrets, false)
}

/// A header that Stripe would send, made by the simulator's signer.
fn signed(secret: &str, at: u64, body: &[u8]) -> String {
    stripe_signature(secret, i64::try_from(at).expect("a time"), body)
}

fn refused(header: impl AsRef<[u8]>, body: impl AsRef<[u8]>) -> Refusal {
    receiver()
        .receive(header.as_ref(), body.as_ref(), NOW)
        .expect_err("refused")
}

#[test]
fn the_known_answer_is_signed_and_yet_no_event() {
    let body = br#"{"id":"evt_1"}"#;
    let header = "t=1700000000,v1=c89214b5b5da833daed6f0b8c5bb6bd58cea9022bd80ccc78230f3942d632925";
    assert_eq!(refused(header, body), Refusal::NoEvent);
}

#[test]
fn an_event_is_read_with_what_nobody_knows_in_it() {
    let header = signed(SECRET, NOW, EVENT.as_bytes());
    let event = receiver()
        .receive(header.as_bytes(), EVENT.as_bytes(), NOW)
        .expect("an event");
    assert_eq!(
        (event.id.as_str(), event.kind.as_str()),
        ("evt_1", "invoice.paid")
    );
    assert_eq!((event.created, event.livemode), (1_699_999_990, false));
    let invoice = genvid_stripe::Subject::Invoice("in_1".to_owned());
    assert_eq!(event.subject, Some(invoice));
}

#[test]
fn both_secrets_count_and_no_other() {
    let body = EVENT.as_bytes();
    for secret in [SECRET, OLD] {
        let header = signed(secret, NOW, body);
        assert!(
            receiver().receive(header.as_bytes(), body, NOW).is_ok(),
            "{secret}"
        );
    }
    assert_eq!(
        refused(signed("whsec_other", NOW, body), body),
        Refusal::Signature
    );
    let alone = Receiver::new(
        WebhookSecrets::new(SECRET.into(), None).expect("one"),
        false,
    );
    let header = signed(OLD, NOW, body);
    assert_eq!(
        alone.receive(header.as_bytes(), body, NOW),
        Err(Refusal::Signature),
        "the old one is out after the rotation"
    );
}

#[test]
fn any_of_several_signatures_is_enough() {
    let body = EVENT.as_bytes();
    let good = signed(SECRET, NOW, body);
    let (time, v1) = good.split_once(',').expect("two parts");
    let zeros = "0".repeat(64);
    for header in [
        format!("{time},v1={zeros},{v1}"),
        format!("{time},v0={zeros},v1=no hex,{v1},v2=?"),
        format!("{v1},{time}"),
    ] {
        assert!(
            receiver().receive(header.as_bytes(), body, NOW).is_ok(),
            "{header}"
        );
    }
}

#[test]
fn headers_that_are_none() {
    let body = EVENT.as_bytes();
    let good = signed(SECRET, NOW, body);
    let (time, v1) = good.split_once(',').expect("two parts");
    let long = format!("{good},v0={}", "0".repeat(4_096));
    for header in [
        "",
        "t",
        v1,
        &format!("{time},{good}"),
        &format!("t=,{v1}"),
        &format!("t=-1,{v1}"),
        &format!("t=+1700000000,{v1}"),
        &format!("t=99999999999999999999,{v1}"),
        &long,
    ] {
        assert_eq!(refused(header, body), Refusal::Header, "{header}");
    }
    assert_eq!(refused([0xff, b'='], body), Refusal::Header);
    for header in [
        time.to_owned(),
        format!("{time},{}", v1.replace("v1", "v0")),
    ] {
        assert_eq!(refused(&header, body), Refusal::Signature, "{header}");
    }
}

#[test]
fn a_signature_lives_five_minutes_in_both_directions() {
    let body = EVENT.as_bytes();
    for (at, taken) in [
        (NOW - TOLERANCE, true),
        (NOW - TOLERANCE - 1, false),
        (NOW + TOLERANCE, true),
        (NOW + TOLERANCE + 1, false),
        (0, false),
    ] {
        let header = signed(SECRET, at, body);
        let got = receiver().receive(header.as_bytes(), body, NOW);
        assert_eq!(got.is_ok(), taken, "{at}");
        if !taken {
            assert_eq!(got, Err(Refusal::Time), "{at}");
        }
    }
}

#[test]
fn the_same_event_in_other_bytes_is_refused() {
    let header = signed(SECRET, NOW, EVENT.as_bytes());
    let value: serde_json::Value = serde_json::from_str(EVENT).expect("JSON");
    let again = serde_json::to_string_pretty(&value).expect("JSON");
    assert_eq!(refused(&header, again), Refusal::Signature);
    assert_eq!(refused(&header, format!("{EVENT}\n")), Refusal::Signature);
    let later = header.replace("1700000000", "1700000001");
    assert_eq!(
        refused(later, EVENT),
        Refusal::Signature,
        "the time is signed, too"
    );
}

#[test]
fn another_mode_is_refused_in_both_directions() {
    let live = EVENT.replace("\"livemode\":false", "\"livemode\":true");
    assert_eq!(
        refused(signed(SECRET, NOW, live.as_bytes()), &live),
        Refusal::Mode
    );
    let secrets = WebhookSecrets::new(SECRET.into(), None).expect("one");
    let real = Receiver::new(secrets, true);
    let header = signed(SECRET, NOW, EVENT.as_bytes());
    assert_eq!(
        real.receive(header.as_bytes(), EVENT.as_bytes(), NOW),
        Err(Refusal::Mode)
    );
    let header = signed(SECRET, NOW, live.as_bytes());
    assert!(
        real.receive(header.as_bytes(), live.as_bytes(), NOW)
            .is_ok()
    );
}

#[test]
fn size_is_looked_at_before_anything_else() {
    let padding = " ".repeat(MAX_EVENT - EVENT.len());
    let largest = format!("{EVENT}{padding}");
    let header = signed(SECRET, NOW, largest.as_bytes());
    assert!(
        receiver()
            .receive(header.as_bytes(), largest.as_bytes(), NOW)
            .is_ok()
    );
    let larger = format!("{largest} ");
    let header = signed(SECRET, NOW, larger.as_bytes());
    assert_eq!(refused(header, larger), Refusal::TooLarge);
}

#[test]
fn what_is_signed_and_no_event() {
    let deep = EVENT.replace("2900", &format!("{}{}", "[".repeat(200), "]".repeat(200)));
    let long = EVENT.replace("evt_1", &"e".repeat(256));
    for body in [
        String::new(),
        "[]".to_owned(),
        EVENT.replace("\"object\":\"event\"", "\"object\":\"charge\""),
        EVENT.replace("evt_1", ""),
        EVENT.replace("evt_1", "evt 1"),
        EVENT.replace("invoice.paid", "invoice\\npaid"),
        EVENT.replace("\"livemode\":false,", ""),
        EVENT.replace("1699999990", "\"now\""),
        EVENT.replace("\"livemode\":false", "\"livemode\":true,\"livemode\":false"),
        format!("{EVENT}{EVENT}"),
        deep,
        long,
    ] {
        let header = signed(SECRET, NOW, body.as_bytes());
        assert_eq!(refused(header, &body), Refusal::NoEvent, "{body}");
    }
}

#[test]
fn secrets_are_checked_and_never_printed() {
    let make = |present: &str, previous: Option<&str>| {
        WebhookSecrets::new(present.into(), previous.map(Into::into))
    };
    let long = format!("whsec_{}", "a".repeat(250));
    for wrong in ["", "whsec_", "test", "whsec_a b", "whsec_ä", &long] {
        assert_eq!(
            make(wrong, None).err(),
            Some(SecretError::Malformed),
            "{wrong}"
        );
        assert_eq!(
            make(SECRET, Some(wrong)).err(),
            Some(SecretError::Malformed),
            "{wrong}"
        );
    }
    assert_eq!(make(SECRET, Some(SECRET)).err(), Some(SecretError::Same));
    let printed = format!("{:?}", receiver());
    assert!(
        !printed.contains("_test") && !printed.contains("_old"),
        "{printed}"
    );
}

proptest! {
    /// Whatever a stranger sends: an answer, never a panic, and never an event.
    #[test]
    fn strangers_get_nowhere(header: Vec<u8>, body: Vec<u8>, now: u64) {
        prop_assert!(receiver().receive(&header, &body, now).is_err());
    }

    /// One changed bit of what was signed, anywhere.
    #[test]
    fn one_bit_is_enough(place in 0..EVENT.len(), bit in 0..8_u8) {
        let header = signed(SECRET, NOW, EVENT.as_bytes());
        let mut body = EVENT.as_bytes().to_vec();
        body[place] ^= 1 << bit;
        prop_assert_eq!(refused(header, body), Refusal::Signature);
    }
}
