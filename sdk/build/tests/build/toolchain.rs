use genvid_build::machine::{Call, Machine, Outcome, ThisMachine};
use genvid_build::toolchain::{FileMemory, Memory, RUSTUP_TIMEOUT, find, is_foreign};
use genvid_build::{Preference, Toolchain};
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What `rustup target add` does on a machine.
#[derive(Clone, Copy, PartialEq)]
enum Rustup {
    Absent,
    Adds,
    AddsElsewhere,
    Fails,
    Hangs,
}

/// A machine that is only described.
struct Described {
    active: Option<&'static str>,
    debian: Option<&'static str>,
    target: Cell<bool>,
    rustup: Rustup,
    files: HashSet<PathBuf>,
    calls: RefCell<Vec<String>>,
}

const ACTIVE_LLD: &str = "/toolchain/lib/rustlib/x86_64-unknown-linux-gnu/bin/rust-lld";
const DEBIAN_LLD: &str = "/usr/lib/rustlib/x86_64-unknown-linux-gnu/bin/rust-lld";
const DEBIAN_STD: &str = "/usr/lib/rustlib/src/rust/library/std/Cargo.toml";

impl Described {
    /// Rust 1.95 by rustup, without the target, on a machine that reaches nothing.
    fn bare() -> Self {
        Self {
            active: Some("1.95.0 (59807616e 2026-04-14)"),
            debian: None,
            target: Cell::new(false),
            rustup: Rustup::Fails,
            files: HashSet::from([ACTIVE_LLD.into()]),
            calls: RefCell::default(),
        }
    }

    /// The same with Debian's packages.
    fn with_debian() -> Self {
        let mut machine = Self::bare();
        machine.debian = Some("1.96.0 (ac68faa20 2026-05-25)");
        for file in ["/usr/bin/cargo", "/usr/bin/rustc", DEBIAN_STD] {
            machine.files.insert(file.into());
        }
        machine
    }

    fn find(&self, preference: Preference) -> Result<Toolchain, String> {
        let memory = Forgetful::default();
        find(self, &memory, preference, &mut |_| {}).map_err(|error| error.to_string())
    }
}

impl Machine for Described {
    fn call(&self, call: &Call) -> io::Result<Outcome> {
        let program = call.program.display().to_string();
        let line = format!("{program} {}", call.arguments.join(" "));
        self.calls.borrow_mut().push(line.clone());
        let answer = |stdout: String| {
            Ok(Outcome {
                success: true,
                stdout,
                stderr: String::new(),
            })
        };
        let absent = || Err(io::Error::from(io::ErrorKind::NotFound));
        match program.as_str() {
            "rustup" => {
                assert_eq!(call.timeout, RUSTUP_TIMEOUT);
                match self.rustup {
                    Rustup::Absent => absent(),
                    Rustup::Hangs => Err(io::Error::new(
                        io::ErrorKind::TimedOut,
                        "no answer within 10 s",
                    )),
                    Rustup::Fails => Ok(Outcome {
                        success: false,
                        stdout: String::new(),
                        stderr: "info: downloading\nerror: could not download file\n\nCaused by:\n    0: no route\n".to_owned(),
                    }),
                    Rustup::Adds | Rustup::AddsElsewhere => {
                        self.target.set(self.rustup == Rustup::Adds);
                        answer(String::new())
                    }
                }
            }
            "rustc" | "/usr/bin/rustc" => {
                let (version, sysroot) = match program.as_str() {
                    "rustc" => (self.active, "/toolchain"),
                    _ => (self.debian, "/usr"),
                };
                let Some(version) = version else {
                    return absent();
                };
                if line.ends_with("sysroot") {
                    answer(format!("{sysroot}\n"))
                } else {
                    answer(format!(
                        "rustc {version}\nbinary: rustc\nhost: x86_64-unknown-linux-gnu\n"
                    ))
                }
            }
            other => panic!("nobody should call {other}"),
        }
    }

    fn is_file(&self, path: &Path) -> bool {
        self.files.contains(path)
    }

    fn entries(&self, folder: &Path) -> Vec<String> {
        let there = folder == Path::new("/toolchain/lib/rustlib/wasm32-unknown-unknown/lib");
        if there && self.target.get() {
            vec!["libcore-1.rlib".to_owned(), "libstd-0a1b.rlib".to_owned()]
        } else {
            Vec::new()
        }
    }

    fn which(&self, program: &str) -> Option<PathBuf> {
        match program {
            "rustup" => (self.rustup != Rustup::Absent).then(|| "/bin/rustup".into()),
            other => Some(PathBuf::from("/bin").join(other)).filter(|path| self.is_file(path)),
        }
    }
}

/// Remembers within one test.
#[derive(Default)]
struct Forgetful(RefCell<HashSet<String>>);

impl Memory for Forgetful {
    fn target_add_failed(&self, version: &str) -> bool {
        self.0.borrow().contains(version)
    }

    fn remember_target_add_failed(&self, version: &str) {
        self.0.borrow_mut().insert(version.to_owned());
    }
}

#[test]
fn an_installed_target_is_used_and_nothing_is_tried() {
    let machine = Described::with_debian();
    machine.target.set(true);
    let toolchain = machine.find(Preference::Any).expect("found");
    assert_eq!(
        toolchain,
        Toolchain::Active {
            version: "1.95.0 (59807616e 2026-04-14)".to_owned()
        }
    );
    assert_eq!(toolchain.cargo(), "cargo");
    assert!(toolchain.arguments().is_empty() && toolchain.variables().is_empty());
    let calls = machine.calls.borrow();
    assert!(
        !calls.iter().any(|call| call.starts_with("rustup")),
        "{calls:?}"
    );
}

#[test]
fn rustup_is_asked_before_debian() {
    let mut machine = Described::with_debian();
    machine.rustup = Rustup::Adds;
    let toolchain = machine.find(Preference::Any).expect("found");
    assert!(matches!(toolchain, Toolchain::Active { .. }), "{toolchain}");
    assert!(
        machine
            .calls
            .borrow()
            .contains(&"rustup target add wasm32-unknown-unknown".to_owned())
    );
}

#[test]
fn debian_serves_where_rustup_cannot() {
    for rustup in [
        Rustup::Absent,
        Rustup::Fails,
        Rustup::Hangs,
        Rustup::AddsElsewhere,
    ] {
        let mut machine = Described::with_debian();
        machine.rustup = rustup;
        let toolchain = machine.find(Preference::Any).expect("found");
        assert_eq!(
            toolchain,
            Toolchain::Debian {
                version: "1.96.0 (ac68faa20 2026-05-25)".to_owned(),
                linker: ACTIVE_LLD.into()
            }
        );
        assert_eq!(toolchain.cargo(), "/usr/bin/cargo");
        assert_eq!(toolchain.arguments(), ["-Z", "build-std=std,panic_abort"]);
        let variables = toolchain.variables();
        assert!(variables.contains(&("RUSTC", "/usr/bin/rustc".to_owned())));
        assert!(variables.contains(&("RUSTC_BOOTSTRAP", "1".to_owned())));
        assert!(variables.contains(&(
            "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER",
            ACTIVE_LLD.to_owned()
        )));
    }
}

#[test]
fn debian_alone_is_enough_with_any_linker() {
    let mut machine = Described::with_debian();
    machine.active = None;
    machine.files.remove(Path::new(ACTIVE_LLD));
    let missing = machine.find(Preference::Any).expect_err("no linker");
    assert!(missing.contains("apt-get install lld"), "{missing}");
    for linker in ["/bin/wasm-ld", "/bin/rust-lld", DEBIAN_LLD] {
        machine.files.insert(linker.into());
        match machine.find(Preference::Any).expect("found") {
            Toolchain::Debian { linker: found, .. } => assert_eq!(found, Path::new(linker)),
            other => panic!("{other}"),
        }
    }
}

#[test]
fn a_preference_is_kept() {
    let machine = Described::with_debian();
    machine.target.set(true);
    assert!(matches!(
        machine.find(Preference::Debian),
        Ok(Toolchain::Debian { .. })
    ));
    let machine = Described::with_debian();
    let missing = machine.find(Preference::Active).expect_err("no target");
    assert!(missing.contains("could not download file"), "{missing}");
    assert!(!missing.contains("Debian's packages"), "{missing}");
    assert_eq!("debian".parse(), Ok(Preference::Debian));
    assert!(
        "gcc"
            .parse::<Preference>()
            .expect_err("unknown")
            .contains("active")
    );
}

#[test]
fn the_message_says_what_was_tried_and_what_to_run() {
    let message = Described::bare()
        .find(Preference::Any)
        .expect_err("nothing");
    for text in [
        "rustc 1.95.0 (59807616e 2026-04-14) has no standard library",
        "rustup target add wasm32-unknown-unknown: error: could not download file",
        "there is no /usr/bin/rustc",
        "sudo apt-get update && sudo apt-get install -y rustc-web cargo-web rust-web-src",
    ] {
        assert!(message.contains(text), "{text:?} is not in\n{message}");
    }

    let mut machine = Described::with_debian();
    machine.files.remove(Path::new(DEBIAN_STD));
    let message = machine.find(Preference::Any).expect_err("no sources");
    assert!(
        message.contains("rust-web-src) are not installed"),
        "{message}"
    );

    let mut machine = Described::with_debian();
    machine.active = Some("1.80.1 (3f5fd8dd4 2024-08-06)");
    machine.debian = Some("1.63.0");
    machine.target.set(true);
    let message = machine.find(Preference::Any).expect_err("too old");
    assert!(
        message.contains("the active rustc: version 1.80.1"),
        "{message}"
    );
    assert!(
        message.contains("/usr/bin/rustc: version 1.63.0 is older than 1.95"),
        "{message}"
    );
}

#[test]
fn a_failed_download_is_waited_for_once() {
    let machine = Described::with_debian();
    let memory = Forgetful::default();
    let mut said = Vec::new();
    for _ in 0..3 {
        find(&machine, &memory, Preference::Any, &mut |text| {
            said.push(text.to_owned());
        })
        .expect("found");
    }
    let calls = machine.calls.borrow();
    let tries = calls
        .iter()
        .filter(|call| call.starts_with("rustup"))
        .count();
    assert_eq!(tries, 1, "{calls:?}");
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("at most 10 s"), "{said:?}");
}

#[test]
fn the_memory_is_of_one_compiler_and_lasts_in_a_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let target_dir = folder.path().join("target/wasm");
    let memory = FileMemory::new(target_dir.clone());
    assert!(!memory.target_add_failed("1.95.0"));
    memory.remember_target_add_failed("1.95.0");
    let again = FileMemory::new(target_dir);
    assert!(again.target_add_failed("1.95.0"));
    assert!(!again.target_add_failed("1.96.0"));
}

#[test]
fn variables_of_an_outer_build_are_foreign_and_those_of_the_network_are_not() {
    for name in [
        "CARGO",
        "CARGO_BUILD_TARGET",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_MANIFEST_DIR",
        "CARGO_PROFILE_RELEASE_LTO",
        "CARGO_TARGET_DIR",
        "RUSTC",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTFLAGS",
    ] {
        assert!(is_foreign(name), "{name}");
    }
    for name in [
        "CARGO_HOME",
        "CARGO_HTTP_CAINFO",
        "CARGO_NET_OFFLINE",
        "CARGO_REGISTRIES_MINE_INDEX",
        "CARGO_TERM_COLOR",
        "CARGOES",
        "HTTPS_PROXY",
        "PATH",
        "RUSTUP_HOME",
    ] {
        assert!(!is_foreign(name), "{name}");
    }
}

#[test]
fn a_call_of_this_machine_is_stopped_in_time() {
    let call = |program: &str, argument: &str, timeout| {
        let machine = ThisMachine {
            folder: std::env::temp_dir(),
        };
        machine.call(&Call {
            program: program.into(),
            arguments: vec![argument.to_owned()],
            timeout,
        })
    };
    let started = Instant::now();
    let error = call("sleep", "20", Duration::from_millis(100)).expect_err("stopped");
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert!(started.elapsed() < Duration::from_secs(10));

    let outcome = call("echo", "hello", Duration::from_secs(10)).expect("runs");
    assert_eq!(
        (outcome.success, outcome.stdout.as_str()),
        (true, "hello\n")
    );
    let error = call("genvid-no-such-program", "", Duration::from_secs(10)).expect_err("absent");
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
}
