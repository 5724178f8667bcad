//! Finds a cargo and rustc that can compile for `wasm32-unknown-unknown`.
//!
//! In this order:
//! 1. the active toolchain, when it has the target's standard library;
//! 2. the same after `rustup target add`, which gets [`RUSTUP_TIMEOUT`];
//! 3. Debian's `rustc-web`, `cargo-web` and `rust-web-src`: a compiler with the sources of
//!    its standard library, which is then built along (`-Z build-std`, which Debian's stable
//!    compiler takes with `RUSTC_BOOTSTRAP=1`), linked by the `rust-lld` of either toolchain;
//! 4. [`ToolchainError::Missing`], which says what was tried and what to run.

use crate::TARGET;
use crate::machine::{Call, Machine};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// How long `rustup target add` may take. It is a download of some 20 MB; a machine without
/// a way to the download server must not hold a build up for longer.
pub const RUSTUP_TIMEOUT: Duration = Duration::from_secs(10);

/// Oldest compiler that builds the SDK.
pub const MINIMUM_RUST: (u32, u32) = (1, 95);

/// Debian packages of the third way.
pub const DEBIAN_PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];

const PROBE_TIMEOUT: Duration = Duration::from_secs(60);
const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

/// Which of the ways may be taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Preference {
    /// The first that works, in the module's order.
    #[default]
    Any,
    /// Only the active toolchain, with or without `rustup target add`.
    Active,
    /// Only Debian's packages.
    Debian,
}

impl std::str::FromStr for Preference {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "any" => Ok(Self::Any),
            "active" => Ok(Self::Active),
            "debian" => Ok(Self::Debian),
            other => Err(format!(
                "unknown toolchain {other:?}: say any, active or debian"
            )),
        }
    }
}

/// A cargo and rustc that compile for [`TARGET`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Toolchain {
    /// The active toolchain has the target.
    Active {
        /// `rustc -V` without the program's name, such as `1.95.0 (59807616e 2026-04-14)`.
        version: String,
    },
    /// Debian's compiler builds the target's standard library along.
    Debian {
        /// As for `Active`.
        version: String,
        /// The linker: some `rust-lld` or `wasm-ld`.
        linker: PathBuf,
    },
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Active { version } => write!(f, "rustc {version}, target {TARGET} installed"),
            Self::Debian { version, .. } => {
                write!(f, "Debian's rustc {version}, builds the standard library")
            }
        }
    }
}

impl Toolchain {
    /// The cargo to call.
    #[must_use]
    pub fn cargo(&self) -> &'static str {
        match self {
            Self::Active { .. } => "cargo",
            Self::Debian { .. } => DEBIAN_CARGO,
        }
    }

    /// Arguments that `cargo build` needs besides the ordinary ones.
    #[must_use]
    pub fn arguments(&self) -> &'static [&'static str] {
        match self {
            Self::Active { .. } => &[],
            Self::Debian { .. } => &["-Z", "build-std=std,panic_abort"],
        }
    }

    /// Variables that `cargo build` needs, after [`foreign_variables`] were removed.
    #[must_use]
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Active { .. } => Vec::new(),
            Self::Debian { linker, .. } => vec![
                ("RUSTC", DEBIAN_RUSTC.to_owned()),
                ("RUSTC_BOOTSTRAP", "1".to_owned()),
                (
                    "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER",
                    linker.display().to_string(),
                ),
            ],
        }
    }

    /// Names the compiler for fingerprints: another text means another output.
    #[must_use]
    pub fn identity(&self) -> String {
        match self {
            Self::Active { version } => format!("active {version}"),
            Self::Debian { version, .. } => format!("debian {version}"),
        }
    }
}

/// No way to compile for the target was found.
#[derive(Debug, thiserror::Error)]
pub enum ToolchainError {
    /// Says what was tried, why it did not do, and the commands that help.
    #[error("{}", missing_message(.tried))]
    Missing {
        /// One line for each way that was tried.
        tried: Vec<String>,
    },
}

fn missing_message(tried: &[String]) -> String {
    let mut text = format!("no Rust toolchain here can compile for {TARGET}.\nTried:\n");
    for line in tried {
        text.push_str(&format!("  - {line}\n"));
    }
    text.push_str(&format!(
        "Do one of these, then run the build again:\n  \
         rustup target add {TARGET}\n  \
         sudo apt-get update && sudo apt-get install -y {}   (Debian 12 or later)",
        DEBIAN_PACKAGES.join(" ")
    ));
    text
}

/// Remembers between runs that `rustup target add` cannot work here, so that a machine
/// without a way to the download server waits for it once and not at each build.
pub trait Memory {
    /// Whether `rustup target add` failed lately for the compiler `version`.
    fn target_add_failed(&self, version: &str) -> bool;
    /// Remembers that it failed.
    fn remember_target_add_failed(&self, version: &str);
}

/// Remembers in a file of cargo's target folder, for a day.
#[derive(Debug, Clone)]
pub struct FileMemory {
    file: PathBuf,
}

const MEMORY_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

impl FileMemory {
    /// Remembers in `target_dir`, which is made when there is something to remember.
    #[must_use]
    pub fn new(target_dir: PathBuf) -> Self {
        Self {
            file: target_dir.join("target-add-failed"),
        }
    }
}

impl Memory for FileMemory {
    fn target_add_failed(&self, version: &str) -> bool {
        let written = std::fs::metadata(&self.file).and_then(|about| about.modified());
        let fresh = written.is_ok_and(|written| {
            SystemTime::now()
                .duration_since(written)
                .is_ok_and(|age| age < MEMORY_LIFETIME)
        });
        fresh && std::fs::read_to_string(&self.file).is_ok_and(|text| text == version)
    }

    fn remember_target_add_failed(&self, version: &str) {
        // Only saves time at the next build; a failure to remember costs 10 s then.
        if let Some(folder) = self.file.parent() {
            let _ = std::fs::create_dir_all(folder);
        }
        let _ = std::fs::write(&self.file, version);
    }
}

/// Finds a toolchain; see the module for the order. `say` is told before anything is
/// installed or waited for.
///
/// # Errors
/// [`ToolchainError::Missing`].
pub fn find(
    machine: &dyn Machine,
    memory: &dyn Memory,
    preference: Preference,
    say: &mut dyn FnMut(&str),
) -> Result<Toolchain, ToolchainError> {
    let mut tried = Vec::new();
    let active = Active::probe(machine);
    if preference != Preference::Debian {
        match &active {
            Err(reason) => tried.push(reason.clone()),
            Ok(active) => match active.with_target(machine, memory, say) {
                Ok(toolchain) => return Ok(toolchain),
                Err(reasons) => tried.extend(reasons),
            },
        }
    }
    if preference != Preference::Active {
        match debian(machine, active.as_ref().ok()) {
            Ok(toolchain) => return Ok(toolchain),
            Err(reason) => tried.push(reason),
        }
    }
    Err(ToolchainError::Missing { tried })
}

/// What the active rustc says of itself.
struct Active {
    version: String,
    sysroot: PathBuf,
    host: String,
}

impl Active {
    fn probe(machine: &dyn Machine) -> Result<Self, String> {
        let Probe {
            version,
            sysroot,
            host,
        } = probe(machine, Path::new("rustc"))
            .map_err(|reason| format!("the active rustc: {reason}"))?;
        require_minimum(&version).map_err(|reason| format!("the active rustc: {reason}"))?;
        Ok(Self {
            version,
            sysroot,
            host,
        })
    }

    fn has_target(&self, machine: &dyn Machine) -> bool {
        let folder = self.sysroot.join("lib/rustlib").join(TARGET).join("lib");
        machine
            .entries(&folder)
            .iter()
            .any(|name| name.starts_with("libstd-") && name.ends_with(".rlib"))
    }

    fn with_target(
        &self,
        machine: &dyn Machine,
        memory: &dyn Memory,
        say: &mut dyn FnMut(&str),
    ) -> Result<Toolchain, Vec<String>> {
        let found = || Toolchain::Active {
            version: self.version.clone(),
        };
        if self.has_target(machine) {
            return Ok(found());
        }
        let mut tried = vec![format!(
            "rustc {} has no standard library for {TARGET}",
            self.version
        )];
        if machine.which("rustup").is_none() {
            tried.push("rustup is not installed".to_owned());
            return Err(tried);
        }
        if memory.target_add_failed(&self.version) {
            tried.push(format!(
                "rustup target add {TARGET} failed less than a day ago and was not tried again"
            ));
            return Err(tried);
        }
        say(&format!(
            "the active rustc has no standard library for {TARGET}: trying `rustup target add {TARGET}` (at most {} s)",
            RUSTUP_TIMEOUT.as_secs()
        ));
        let result = machine.call(&Call {
            program: "rustup".into(),
            arguments: vec!["target".into(), "add".into(), TARGET.into()],
            timeout: RUSTUP_TIMEOUT,
        });
        let reason = match result {
            Ok(outcome) if outcome.success && self.has_target(machine) => return Ok(found()),
            // rustup's target goes to the toolchain that rustup thinks active, which is not
            // the compiler's when another rustc comes first in PATH.
            Ok(outcome) if outcome.success => {
                "it succeeded, but for another toolchain than the active rustc".to_owned()
            }
            Ok(outcome) => last_line(&outcome.stderr),
            Err(error) => error.to_string(),
        };
        memory.remember_target_add_failed(&self.version);
        tried.push(format!("rustup target add {TARGET}: {reason}"));
        Err(tried)
    }
}

fn debian(machine: &dyn Machine, active: Option<&Active>) -> Result<Toolchain, String> {
    let packages = DEBIAN_PACKAGES.join(" ");
    for program in [DEBIAN_RUSTC, DEBIAN_CARGO] {
        if !machine.is_file(Path::new(program)) {
            return Err(format!(
                "Debian's packages {packages}: there is no {program}"
            ));
        }
    }
    let Probe {
        version,
        sysroot,
        host,
    } = probe(machine, Path::new(DEBIAN_RUSTC))
        .map_err(|reason| format!("{DEBIAN_RUSTC}: {reason}"))?;
    require_minimum(&version).map_err(|reason| format!("{DEBIAN_RUSTC}: {reason}"))?;
    let library = sysroot.join("lib/rustlib/src/rust/library/std/Cargo.toml");
    if !machine.is_file(&library) {
        return Err(format!(
            "Debian's packages {packages}: the library's sources (rust-web-src) are not installed"
        ));
    }
    let bundled = |sysroot: &Path, host: &str| {
        let path = sysroot.join("lib/rustlib").join(host).join("bin/rust-lld");
        machine.is_file(&path).then_some(path)
    };
    let linker = active
        .and_then(|active| bundled(&active.sysroot, &active.host))
        .or_else(|| bundled(&sysroot, &host))
        .or_else(|| machine.which("rust-lld"))
        .or_else(|| machine.which("wasm-ld"))
        .ok_or_else(|| {
            "Debian's compiler is there, but no linker for wasm: apt-get install lld".to_owned()
        })?;
    Ok(Toolchain::Debian { version, linker })
}

struct Probe {
    version: String,
    sysroot: PathBuf,
    host: String,
}

/// Asks a rustc for version, host and sysroot.
fn probe(machine: &dyn Machine, rustc: &Path) -> Result<Probe, String> {
    let ask = |argument: &[&str]| {
        let outcome = machine
            .call(&Call {
                program: rustc.to_path_buf(),
                arguments: argument.iter().map(|&text| text.to_owned()).collect(),
                timeout: PROBE_TIMEOUT,
            })
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::NotFound => "not installed".to_owned(),
                _ => error.to_string(),
            })?;
        if outcome.success {
            Ok(outcome.stdout)
        } else {
            Err(last_line(&outcome.stderr))
        }
    };
    let about = ask(&["-vV"])?;
    let field = |name: &str| {
        about
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .map(|value| value.trim().to_owned())
            .ok_or_else(|| format!("`rustc -vV` does not say {name:?}"))
    };
    Ok(Probe {
        version: field("rustc ")?,
        host: field("host: ")?,
        sysroot: PathBuf::from(ask(&["--print", "sysroot"])?.trim()),
    })
}

fn require_minimum(version: &str) -> Result<(), String> {
    let mut parts = version.split(['.', '-', ' ']);
    let mut number = || parts.next().and_then(|part| part.parse::<u32>().ok());
    let (Some(major), Some(minor)) = (number(), number()) else {
        return Err(format!("cannot read the version {version:?}"));
    };
    if (major, minor) < MINIMUM_RUST {
        let (need_major, need_minor) = MINIMUM_RUST;
        return Err(format!(
            "version {version} is older than {need_major}.{need_minor}"
        ));
    }
    Ok(())
}

/// What a program said last about its failure: the last line that begins with `error`,
/// because causes and a stack backtrace may follow it, or else the last line.
fn last_line(text: &str) -> String {
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines()
        .rfind(|line| line.starts_with("error"))
        .or_else(|| lines().next_back())
        .unwrap_or("it failed without a message")
        .to_owned()
}

/// Variables of this process that would change how a plugin is compiled, mostly left by an
/// outer `cargo run`: a build must come out the same from a shell, from `cargo xtask` and
/// from an editor. Settings of cargo's home, registries and network stay.
#[must_use]
pub fn foreign_variables() -> Vec<String> {
    std::env::vars_os()
        .filter_map(|(name, _)| name.into_string().ok())
        .filter(|name| is_foreign(name))
        .collect()
}

/// Whether [`foreign_variables`] would name this variable.
#[must_use]
pub fn is_foreign(name: &str) -> bool {
    const KEPT: [&str; 7] = [
        "CARGO_HOME",
        "CARGO_HTTP_",
        "CARGO_NET_",
        "CARGO_REGISTRIES_",
        "CARGO_REGISTRY_",
        "CARGO_SOURCE_",
        "CARGO_TERM_",
    ];
    let compiler = [
        "RUSTC",
        "RUSTC_BOOTSTRAP",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTDOC",
        "RUSTDOCFLAGS",
        "RUSTFLAGS",
        "RUST_RECURSION_COUNT",
        "LD_LIBRARY_PATH",
        "DYLD_FALLBACK_LIBRARY_PATH",
    ];
    compiler.contains(&name)
        || ((name == "CARGO" || name.starts_with("CARGO_"))
            && !KEPT.iter().any(|kept| name.starts_with(kept)))
}
