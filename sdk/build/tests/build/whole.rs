use genvid_build::component::inspect;
use genvid_build::{Build, BuildError, FailureReason, Plugin, Preference};
use std::path::{Path, PathBuf};

/// A workspace with two crates, `<name>-one` and `<name>-two` in folders `one` and `two`,
/// each a plugin that needs nothing and exports nothing.
struct Workspace {
    name: &'static str,
    folder: tempfile::TempDir,
}

impl Workspace {
    /// `name` is of one test only: all tests share a target folder, so that the standard
    /// library is built once where it has to be built along.
    fn new(name: &'static str) -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let workspace = Self { name, folder };
        workspace.write(
            "Cargo.toml",
            "[workspace]\nresolver = \"3\"\nmembers = [\"one\", \"two\"]\n",
        );
        for part in ["one", "two"] {
            workspace.write(
                &format!("{part}/Cargo.toml"),
                &format!(
                    "[package]\nname = \"{name}-{part}\"\nedition = \"2024\"\n[lib]\ncrate-type = [\"cdylib\"]\n"
                ),
            );
            workspace.write(&format!("{part}/src/lib.rs"), "");
            workspace.write(
                &format!("{part}/plugin.toml"),
                &workspace.manifest(part, "0.1.0"),
            );
        }
        workspace
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.folder.path().join(path);
        let parent = path.parent().expect("a parent");
        std::fs::create_dir_all(parent).expect("a folder");
        std::fs::write(path, text).expect("written");
    }

    fn remove(&self, path: &str) {
        std::fs::remove_file(self.folder.path().join(path)).expect("removed");
    }

    fn manifest(&self, part: &str, version: &str) -> String {
        let name = self.name;
        format!("id = \"{name}-{part}\"\nversion = \"{version}\"\n")
    }

    fn build(&self, crates: &[&str]) -> Build {
        Build {
            crates: crates
                .iter()
                .map(|name| self.folder.path().join(name))
                .collect(),
            out_dir: self.folder.path().join("out"),
            target_dir: Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("wasm")),
            preference: Preference::Any,
            locked: false,
            force: false,
        }
    }
}

fn run(build: &Build) -> Vec<Result<Plugin, FailureReason>> {
    let report = build.run(&mut |_| {}).expect("a toolchain");
    report
        .plugins
        .into_iter()
        .map(|result| result.map_err(|failure| failure.reason))
        .collect()
}

fn only(results: Vec<Result<Plugin, FailureReason>>) -> Result<Plugin, FailureReason> {
    let [result] = <[_; 1]>::try_from(results).expect("one plugin");
    result
}

#[test]
fn a_plugin_is_written_when_it_changes_and_only_then() {
    let workspace = Workspace::new("changes");
    let build = workspace.build(&["one"]);
    let first = only(run(&build)).expect("built");
    assert!(first.changed);
    assert_eq!(first.path, build.out_dir.join("changes-one.wasm"));
    let bytes = std::fs::read(&first.path).expect("a file");
    assert_eq!(bytes.len(), first.bytes);
    assert_eq!(
        inspect(&bytes).expect("a component").manifest,
        Some(workspace.manifest("one", "0.1.0"))
    );
    assert!(workspace.folder.path().join("Cargo.lock").is_file());

    // Nothing is asked of cargo when nothing has changed.
    let mut said = Vec::new();
    let report = build
        .run(&mut |text| said.push(text.to_owned()))
        .expect("a toolchain");
    assert_eq!(said, Vec::<String>::new());
    let second = report
        .plugins
        .into_iter()
        .next()
        .expect("one")
        .expect("built");
    assert_eq!(
        second,
        Plugin {
            changed: false,
            ..first.clone()
        }
    );

    // A manifest counts as a source.
    workspace.write("one/plugin.toml", &workspace.manifest("one", "0.2.0"));
    let third = only(run(&build)).expect("built");
    assert!(third.changed && third.sha256 != first.sha256);
    assert_eq!(third.identity.version, "0.2.0");

    // So does code that changes nothing, but then the file stays as it is.
    workspace.write("one/src/lib.rs", "// nothing\n");
    let fourth = only(run(&build)).expect("built");
    assert!(!fourth.changed);

    // A component that somebody else changed is made again.
    std::fs::write(&fourth.path, b"broken").expect("written");
    let fifth = only(run(&build)).expect("built");
    assert!(fifth.changed);
    assert_eq!(fifth.sha256, third.sha256);
}

#[test]
fn one_that_fails_does_not_stop_the_others() {
    let workspace = Workspace::new("failures");
    let build = workspace.build(&["two", "one"]);
    workspace.write("two/src/lib.rs", "compile_error!(\"on purpose\");");
    let results = run(&build);
    assert!(
        matches!(results[0], Err(FailureReason::Compile)),
        "{results:?}"
    );
    assert!(results[1].is_ok(), "{results:?}");

    workspace.write("two/src/lib.rs", "");
    workspace.write("two/plugin.toml", &workspace.manifest("one", "0.1.0"));
    let results = run(&build);
    assert!(
        matches!(&results[1], Err(FailureReason::DuplicateId(id)) if id == "failures-one"),
        "{results:?}"
    );

    workspace.write("two/plugin.toml", "version = 1");
    let results = run(&build);
    assert!(
        matches!(results[0], Err(FailureReason::Manifest(_))),
        "{results:?}"
    );
    assert!(results[1].is_ok(), "{results:?}");

    workspace.remove("two/plugin.toml");
    let results = run(&build);
    match &results[0] {
        Err(FailureReason::Read { path, .. }) => assert!(path.ends_with("two/plugin.toml")),
        other => panic!("{other:?}"),
    }

    workspace.write("two/plugin.toml", &workspace.manifest("two", "0.1.0"));
    workspace.write(
        "two/Cargo.toml",
        "[package]\nname = \"failures-two\"\nedition = \"2024\"\n",
    );
    let results = run(&build);
    assert!(
        matches!(results[0], Err(FailureReason::NoModule)),
        "{results:?}"
    );
}

#[test]
fn the_lock_file_is_respected_on_demand() {
    let workspace = Workspace::new("lock");
    let mut build = workspace.build(&["one"]);
    // Without a lock file there is nothing to respect yet.
    build.locked = true;
    only(run(&build)).expect("built");
    let lock = workspace.folder.path().join("Cargo.lock");
    std::fs::write(&lock, "version = 4\n").expect("written");
    build.force = true;
    assert!(matches!(only(run(&build)), Err(FailureReason::Compile)));
    build.locked = false;
    only(run(&build)).expect("built");
}

#[test]
fn crates_of_two_workspaces_and_no_crates_are_refused() {
    let (first, second) = (Workspace::new("first"), Workspace::new("second"));
    let mut build = first.build(&["one"]);
    build.crates.push(second.folder.path().join("two"));
    assert!(matches!(
        build.run(&mut |_| {}),
        Err(BuildError::OtherWorkspace { .. })
    ));
    build.crates.clear();
    assert!(matches!(build.run(&mut |_| {}), Err(BuildError::Empty)));
    build.crates.push(PathBuf::from("/genvid-no-such-folder"));
    assert!(matches!(
        build.run(&mut |_| {}),
        Err(BuildError::Folder { .. })
    ));
}
