//! What the mail vendor tells of mails on their way: signed as Svix does, told at least once and
//! in any order.

use subtle::ConstantTimeEq as _;

use serde_json::Value;

use super::{Reason, Status};
use crate::{ids::MailId, time::Timestamp, webhooks::Secret};

/// How far the sender's clock may be away, in seconds.
const TOLERANCE: i64 = 300;
/// Most signatures that are looked at.
const SIGNATURES: usize = 8;
/// Longest id of an event.
const LONGEST_ID: usize = 128;
/// The tag by which a mail's events name it.
pub const TAG: &str = "genvid_mail";

/// It was not signed by who has the secret, or not now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Forged(pub &'static str);

/// What was told of a mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The event's own id: it is told once.
    pub id: String,
    /// What it is called.
    pub event: String,
    /// Which mail.
    pub mail: MailId,
    /// What the vendor calls it.
    pub vendor: Option<String>,
    /// Where the mail stands.
    pub status: Status,
    /// Its address gets no more.
    pub suppress: Option<Reason>,
}

/// Checks the signature over the bytes as they came.
///
/// # Errors
/// With what is wrong, for the log.
pub fn verify(
    secret: &Secret,
    id: Option<&str>,
    timestamp: Option<&str>,
    signatures: Option<&str>,
    body: &[u8],
    now: Timestamp,
) -> Result<(), Forged> {
    let id = id.filter(|id| (1..=LONGEST_ID).contains(&id.len()));
    let id = id.ok_or(Forged("there is no id"))?;
    let seconds = timestamp.and_then(|text| text.parse::<i64>().ok());
    let seconds = seconds.ok_or(Forged("there is no time"))?;
    if seconds.abs_diff(now.millis() / 1_000) > TOLERANCE.unsigned_abs() {
        return Err(Forged("the time is not now"));
    }
    let at = Timestamp::from_millis(seconds.saturating_mul(1_000));
    let good = secret.sign(id, at, body);
    let good = good.ok_or(Forged("mail.webhook_secret is no secret"))?;
    let matches = (signatures.unwrap_or_default().split(' '))
        .take(SIGNATURES)
        .any(|one| bool::from(one.as_bytes().ct_eq(good.as_bytes())));
    matches
        .then_some(())
        .ok_or(Forged("the signature is wrong"))
}

/// What a verified body tells; nothing when it is about no mail of this installation, or nothing
/// that matters here.
#[must_use]
pub fn read(id: &str, body: &[u8]) -> Option<Told> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let event = body.get("type")?.as_str()?;
    let data = body.get("data")?;
    let for_good = || {
        let word = data.pointer("/bounce/type").and_then(Value::as_str);
        word.is_some_and(|word| word.eq_ignore_ascii_case("Permanent"))
    };
    let (status, suppress) = match event {
        "email.sent" => (Status::Sent, None),
        "email.delivered" => (Status::Delivered, None),
        "email.bounced" => (Status::Bounced, for_good().then_some(Reason::Bounced)),
        "email.complained" => (Status::Complained, Some(Reason::Complained)),
        // The vendor's own list has the address: it came back before.
        "email.suppressed" => (Status::Bounced, Some(Reason::Bounced)),
        "email.failed" => (Status::Failed, None),
        _ => return None,
    };
    Some(Told {
        id: id.to_owned(),
        event: event.to_owned(),
        mail: data.get("tags")?.get(TAG)?.as_str()?.parse().ok()?,
        vendor: (data.get("email_id").and_then(Value::as_str)).map(str::to_owned),
        status,
        suppress,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    #[test]
    fn only_what_is_signed_now_is_taken() {
        let secret = Secret::from_text("whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQ=".to_owned());
        let sign = |at: i64| {
            let at = Timestamp::from_millis(at * 1_000);
            secret.sign("msg_1", at, b"{}").expect("signed")
        };
        let now = 1_800_000_000_i64;
        let check = |id: &str, at: i64, signature: &str, body: &[u8]| {
            verify(
                &secret,
                Some(id),
                Some(&at.to_string()),
                Some(signature),
                body,
                NOW,
            )
        };
        let good = sign(now);
        assert_eq!(check("msg_1", now, &good, b"{}"), Ok(()));
        // Beside the signature of another secret, and of another scheme.
        assert_eq!(
            check("msg_1", now, &format!("v1a,x v1,AAAA {good}"), b"{}"),
            Ok(())
        );
        for (id, at, signature, body) in [
            ("msg_2", now, good.clone(), b"{}".as_slice()),
            ("msg_1", now + 1, good.clone(), b"{}"),
            ("msg_1", now, good.clone(), b"{ }"),
            ("msg_1", now, good.replace("v1,", "v0,"), b"{}"),
            ("msg_1", now, String::new(), b"{}"),
            ("", now, good.clone(), b"{}"),
            ("msg_1", now - 301, sign(now - 301), b"{}"),
            ("msg_1", now + 301, sign(now + 301), b"{}"),
            ("msg_1", i64::MIN, good.clone(), b"{}"),
        ] {
            assert!(
                check(id, at, &signature, body).is_err(),
                "{id} {at} {signature}"
            );
        }
        assert_eq!(check("msg_1", now - 300, &sign(now - 300), b"{}"), Ok(()));
        assert!(verify(&secret, None, None, None, b"{}", NOW).is_err());
    }

    #[test]
    fn what_is_told_is_read_and_the_rest_is_left() {
        let mail = MailId::generate();
        let body = |event: &str, more: Value| {
            let mut data = json!({"email_id": "re_1", "tags": {TAG: mail.to_string()}});
            if let (Some(data), Some(more)) = (data.as_object_mut(), more.as_object()) {
                data.extend(more.clone());
            }
            json!({"type": event, "data": data})
                .to_string()
                .into_bytes()
        };
        let told = |event: &str, more: Value| {
            read("msg_1", &body(event, more)).map(|told| (told.mail, told.status, told.suppress))
        };
        let gone = Some(Reason::Bounced);
        let bounce = |kind: &str| json!({"bounce": {"type": kind}});
        assert_eq!(
            told("email.delivered", json!({})),
            Some((mail, Status::Delivered, None))
        );
        assert_eq!(
            told("email.bounced", bounce("Permanent")),
            Some((mail, Status::Bounced, gone))
        );
        assert_eq!(
            told("email.bounced", bounce("Transient")),
            Some((mail, Status::Bounced, None))
        );
        let complained = told("email.complained", json!({}));
        assert_eq!(
            complained,
            Some((mail, Status::Complained, Some(Reason::Complained)))
        );
        assert_eq!(told("email.opened", json!({})), None);
        assert_eq!(told("email.sent", json!({"tags": {"other": "x"}})), None);
        assert_eq!(told("email.sent", json!({"tags": []})), None);
        for bad in [b"".as_slice(), b"[]", b"{\"type\":1}", b"\xff"] {
            assert_eq!(read("msg_1", bad), None);
        }
    }
}
