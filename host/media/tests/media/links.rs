//! Signed links, and attempts to get more out of them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use genvid_media::links::{Disposition, Intake, LinkError, PREFIX, Signer};

use crate::contract::key;

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn signer() -> Signer {
    Signer::new(SECRET).unwrap()
}

fn split(link: &str) -> (&str, &str) {
    link.strip_prefix(PREFIX).unwrap().split_once('?').unwrap()
}

fn verify(link: &str, now: u64) -> Result<genvid_media::links::Grant, LinkError> {
    let (key, query) = split(link);
    signer().verify(key, query, at(now))
}

#[test]
fn a_link_opens_what_it_was_made_for_until_it_ends() {
    let key = key("projects/p1/film.mp4");
    let link = signer().sign(&key, at(1_000), &Disposition::Inline);
    assert!(
        link.starts_with("/media/projects/p1/film.mp4?exp=1000&sig="),
        "{link}"
    );
    let grant = verify(&link, 999).unwrap();
    assert_eq!((grant.key, grant.expires_at), (key, at(1_000)));
    assert_eq!(grant.disposition, Disposition::Inline);
    assert_eq!(verify(&link, 1_000), Err(LinkError::Expired));
    assert_eq!(verify(&link, u64::from(u32::MAX)), Err(LinkError::Expired));
}

#[test]
fn a_download_has_a_name_in_every_script() {
    let names = [
        (
            "film.mp4",
            "attachment; filename=\"film.mp4\"; filename*=UTF-8''film.mp4",
        ),
        (
            "产品 1.mp4",
            "attachment; filename=\"__ 1.mp4\"; filename*=UTF-8''%E4%BA%A7%E5%93%81%201.mp4",
        ),
        (
            "../\"x\"\r\nSet-Cookie: a",
            "attachment; filename=\"__x___Set-Cookie: a\"; filename*=UTF-8''__x___Set-Cookie%3A%20a",
        ),
        (
            "",
            "attachment; filename=\"download\"; filename*=UTF-8''download",
        ),
    ];
    for (name, header) in names {
        let wish = Disposition::Download(name.to_owned());
        let link = signer().sign(&key("a"), at(9), &wish);
        assert!(
            link.is_ascii() && !link.contains([' ', '"', '\n']),
            "{link}"
        );
        assert_eq!(verify(&link, 0).unwrap().disposition.header_value(), header);
    }
    assert_eq!(Disposition::Inline.header_value(), "inline");
}

#[test]
fn every_changed_byte_is_noticed() {
    let wish = Disposition::Download("a.mp4".to_owned());
    let link = signer().sign(&key("p1/a.mp4"), at(1_000), &wish);
    let mut refused = 0;
    for position in PREFIX.len()..link.len() {
        for replacement in [b'0', b'9', b'a', b'z', b'A', b'-', b'%', b'&', b'/'] {
            let mut bytes = link.clone().into_bytes();
            if bytes[position] == replacement {
                continue;
            }
            bytes[position] = replacement;
            let changed = String::from_utf8(bytes).unwrap();
            let Some((key, query)) = changed[PREFIX.len()..].split_once('?') else {
                continue;
            };
            let answer = signer().verify(key, query, at(1));
            assert!(
                matches!(answer, Err(LinkError::BadSignature | LinkError::Malformed)),
                "{changed}: {answer:?}"
            );
            refused += 1;
        }
    }
    assert!(refused > 500);
}

#[test]
fn a_signature_is_good_for_one_link_only() {
    let link = signer().sign(&key("p1/a.mp4"), at(1_000), &Disposition::Inline);
    let (_, query) = split(&link);
    let check = |key: &str, query: &str| signer().verify(key, query, at(1));
    assert!(check("p1/a.mp4", query).is_ok());
    assert_eq!(check("p2/a.mp4", query), Err(LinkError::BadSignature));
    // Longer life, another presentation.
    assert_eq!(
        check("p1/a.mp4", &query.replace("1000", "9000")),
        Err(LinkError::BadSignature)
    );
    assert_eq!(
        check("p1/a.mp4", &format!("{query}&name=x")),
        Err(LinkError::BadSignature)
    );
    // An expired and changed link must not say that it was good once.
    let old = query.replace("1000", "0");
    assert_eq!(
        signer().verify("p1/a.mp4", &old, at(5)),
        Err(LinkError::BadSignature)
    );
    // Another server's secret.
    let other = Signer::new(&[1; 32]).unwrap();
    assert_eq!(
        other.verify("p1/a.mp4", query, at(1)),
        Err(LinkError::BadSignature)
    );
}

#[test]
fn what_no_signer_makes_is_malformed() {
    let link = signer().sign(&key("p1/a.mp4"), at(1_000), &Disposition::Inline);
    let (_, query) = split(&link);
    let signature = query.split_once("sig=").unwrap().1;
    let check = |key: &str, query: &str| signer().verify(key, query, at(1));
    for path in [
        "../p1/a.mp4",
        "p1/../p1/a.mp4",
        "/p1/a.mp4",
        "p1/a.mp4/",
        "p1%2fa.mp4",
        "",
        "P1/a.mp4",
    ] {
        assert_eq!(check(path, query), Err(LinkError::Malformed), "{path:?}");
    }
    for query in [
        String::new(),
        format!("sig={signature}"),
        "exp=1000".to_owned(),
        format!("exp=1000&exp=1000&sig={signature}"),
        format!("exp=+1000&sig={signature}"),
        format!("exp=01000&sig={signature}"),
        format!("exp=-1&sig={signature}"),
        format!("exp=99999999999999999999999&sig={signature}"),
        format!("exp=1000&sig={signature}="),
        format!("exp=1000&sig={signature}&extra=1"),
        format!("exp=1000&sig={signature}&name=%"),
        format!("exp=1000&sig={signature}&name=%ff"),
        format!("exp=1000&sig={signature}&{}", "a".repeat(5_000)),
    ] {
        assert_eq!(
            check("p1/a.mp4", &query),
            Err(LinkError::Malformed),
            "{query:?}"
        );
    }
    assert_eq!(
        check("p1/a.mp4", "exp=1000&sig="),
        Err(LinkError::BadSignature)
    );
    assert_eq!(
        check("p1/a.mp4", "exp=1000&sig=AAAA"),
        Err(LinkError::BadSignature)
    );
}

#[test]
fn secrets_are_changed_without_breaking_links() {
    let link = signer().sign(&key("a"), at(1_000), &Disposition::Inline);
    let (path, query) = split(&link);
    let next = Signer::new(&[7; 32]).unwrap();
    assert_eq!(
        next.verify(path, query, at(1)),
        Err(LinkError::BadSignature)
    );
    let next = next.accepting(SECRET).unwrap();
    assert!(next.verify(path, query, at(1)).is_ok());
    let fresh = next.sign(&key("a"), at(1_000), &Disposition::Inline);
    assert_eq!(verify(&fresh, 1), Err(LinkError::BadSignature));
    assert!(Signer::new(&[0; 31]).is_err());
    assert!(!format!("{next:?}").contains('7'));
}

#[test]
fn a_link_takes_in_what_it_was_made_for_until_it_ends() {
    let intake = Intake {
        key: key("uploads/u1/incoming"),
        expires_at: at(1_000),
        mime: "image/png".to_owned(),
        size: 12_345,
    };
    let link = signer().sign_intake(&intake);
    let start = "/media/uploads/u1/incoming?exp=1000&size=12345&type=image%2Fpng&sig=";
    assert!(link.starts_with(start), "{link}");
    let check = |link: &str, now| {
        let (key, query) = split(link);
        signer().verify_intake(key, query, at(now))
    };
    assert_eq!(check(&link, 999), Ok(intake.clone()));
    assert_eq!(check(&link, 1_000), Err(LinkError::Expired));
    for (from, to) in [
        ("u1", "u2"),
        ("exp=1000", "exp=9000"),
        ("size=12345", "size=99999"),
        ("image%2Fpng", "text%2Fhtml"),
    ] {
        let changed = link.replace(from, to);
        assert_eq!(
            check(&changed, 1),
            Err(LinkError::BadSignature),
            "{changed}"
        );
    }
    for changed in [
        link.replace("&size=12345", ""),
        link.replace("size=12345", "size=012345"),
        format!("{link}&size=1"),
        format!("{link}&more=1"),
        "/media/uploads/u1/incoming?exp=1000".to_owned(),
    ] {
        assert_eq!(check(&changed, 1), Err(LinkError::Malformed), "{changed}");
    }

    // Neither kind of link does what the other does.
    let reading = signer().sign(&intake.key, at(1_000), &Disposition::Inline);
    assert_eq!(check(&reading, 1), Err(LinkError::Malformed));
    assert!(verify(&link, 1).is_err());
    let (_, query) = split(&reading);
    let disguised = format!("{start}{}", query.split_once("sig=").unwrap().1);
    assert_eq!(check(&disguised, 1), Err(LinkError::BadSignature));
}
