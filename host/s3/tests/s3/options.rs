//! Settings that cannot be used are told before anything is asked of a store.

use genvid_s3::{Credentials, OptionsError, PART_BYTES, S3Options};

fn good() -> S3Options {
    let credentials = Credentials {
        access_key_id: "key".to_owned(),
        secret_access_key: "secret".to_owned().into(),
        session_token: None,
    };
    S3Options::new("films", "eu-central-1", credentials)
}

#[test]
fn a_prefix_ends_with_a_slash() {
    for (given, kept) in [("", ""), ("genvid", "genvid/"), ("a/B_1.x/", "a/B_1.x/")] {
        let options = S3Options {
            prefix: given.to_owned(),
            ..good()
        };
        assert_eq!(options.checked().unwrap().prefix, kept);
    }
    for bad in ["/", "/a", "a//b", "../a", "a/./b", "a b", "ä", "a?b", "a+b"] {
        let options = S3Options {
            prefix: bad.to_owned(),
            ..good()
        };
        let error = options.checked().unwrap_err();
        assert!(matches!(error, OptionsError::Prefix(_)), "{bad}: {error}");
    }
}

#[test]
fn what_cannot_work_is_refused() {
    for bad in ["", "ab", "Films", "films/x", &"a".repeat(64)] {
        let options = S3Options {
            bucket: bad.to_owned(),
            ..good()
        };
        let error = options.checked().unwrap_err();
        assert!(matches!(error, OptionsError::Bucket(_)), "{bad}: {error}");
    }
    let mut options = good();
    options.region.clear();
    assert!(matches!(options.checked(), Err(OptionsError::Region(_))));
    let mut options = good();
    options.credentials.secret_access_key = String::new().into();
    assert!(matches!(options.checked(), Err(OptionsError::Credentials)));
    for bad in ["ftp://store", "http://store/?a=b", "http://store/#a"] {
        let mut options = good();
        options.endpoint = Some(bad.parse().unwrap());
        assert!(matches!(options.checked(), Err(OptionsError::Address(_))));
    }
    let mut options = good();
    options.max_bytes = 10_000 * PART_BYTES as u64;
    assert!(options.clone().checked().is_ok());
    options.max_bytes += 1;
    assert!(matches!(options.checked(), Err(OptionsError::TooLarge(_))));
}

#[test]
fn secrets_are_not_printed() {
    let text = format!("{:?}", good());
    assert!(!text.contains("\"secret\""), "{text}");
}
