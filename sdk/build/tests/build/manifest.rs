use genvid_build::manifest::{MAX_MANIFEST_BYTES, ManifestError, identity};

#[test]
fn id_and_version_are_read_and_other_keys_left_alone() {
    let text = "id = \"heygen\"\nversion = \"1.2.3\"\n[video]\naspects = [\"square\"]\n";
    let identity = identity(text).expect("a valid manifest");
    assert_eq!(identity.id, "heygen");
    assert_eq!(identity.version, "1.2.3");
}

#[test]
fn what_is_missing_is_named_with_its_place() {
    for (text, word) in [
        ("version = \"1.0.0\"", "id"),
        ("id = \"heygen\"", "version"),
        ("id = 3\nversion = \"1.0.0\"", "id"),
        ("id = \"heygen\nversion", "line 1"),
    ] {
        match identity(text) {
            Err(ManifestError::Syntax(message)) => {
                assert!(message.contains(word), "{text:?} says {message:?}");
            }
            other => panic!("{text:?} gave {other:?}"),
        }
    }
}

#[test]
fn ids_that_are_no_file_names_are_refused() {
    let long = "a".repeat(33);
    for id in [
        "", "a", "A1", "1a", "-a", "a_b", "a/b", "../x", "a b", "é1", &long,
    ] {
        let text = format!("id = {id:?}\nversion = \"1.0.0\"");
        assert_eq!(
            identity(&text),
            Err(ManifestError::Id(id.to_owned())),
            "{id:?}"
        );
    }
    let longest = "a".repeat(32);
    for id in ["ab", "a1", "a-b", &longest] {
        let text = format!("id = {id:?}\nversion = \"1.0.0\"");
        assert_eq!(identity(&text).expect("valid").id, id);
    }
}

#[test]
fn an_empty_version_and_a_huge_file_are_refused() {
    assert_eq!(
        identity("id = \"heygen\"\nversion = \" \""),
        Err(ManifestError::Version)
    );
    let huge = format!(
        "id = \"heygen\"\nversion = \"1.0.0\"\n# {}",
        "x".repeat(MAX_MANIFEST_BYTES)
    );
    assert_eq!(identity(&huge), Err(ManifestError::TooLarge(huge.len())));
}
