//! The one cargo call of a build.

use crate::TARGET;
use crate::toolchain::{self, Toolchain};
use serde::Deserialize;
use std::collections::HashMap;
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What cargo is asked for.
pub(crate) struct Order<'a> {
    pub(crate) workspace: &'a Path,
    pub(crate) target_dir: &'a Path,
    pub(crate) profile: &'a str,
    pub(crate) packages: Vec<&'a str>,
    pub(crate) locked: bool,
}

/// What cargo made.
pub(crate) struct Made {
    /// Whether cargo's exit code was 0.
    pub(crate) success: bool,
    /// Core modules by the `Cargo.toml` of their package.
    pub(crate) modules: HashMap<PathBuf, PathBuf>,
}

/// A line of `--message-format json`.
#[derive(Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    manifest_path: PathBuf,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

/// Compiles the packages, as many as compile; cargo's progress and the compiler's messages
/// go to standard error.
pub(crate) fn build(toolchain: &Toolchain, order: &Order<'_>) -> io::Result<Made> {
    let mut command = Command::new(toolchain.cargo());
    for name in toolchain::foreign_variables() {
        command.env_remove(name);
    }
    if matches!(toolchain, Toolchain::Debian { .. }) {
        command.env_remove("RUSTUP_TOOLCHAIN");
    }
    command
        .args(arguments(toolchain, order))
        .envs(toolchain.variables())
        .env("CARGO_ENCODED_RUSTFLAGS", encoded_flags())
        .current_dir(order.workspace)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut child = command.spawn()?;
    let mut modules = HashMap::new();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines() {
            // Lines that are no messages of cargo come from build scripts and macros.
            let Ok(message) = serde_json::from_str::<Message>(&line?) else {
                continue;
            };
            if message.reason != "compiler-artifact" {
                continue;
            }
            let module = message.filenames.into_iter().find(|path| {
                path.extension()
                    .is_some_and(|extension| extension == "wasm")
            });
            if let Some(module) = module {
                modules.insert(message.manifest_path, module);
            }
        }
    }
    Ok(Made {
        success: child.wait()?.success(),
        modules,
    })
}

/// The arguments of the cargo call.
pub(crate) fn arguments(toolchain: &Toolchain, order: &Order<'_>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = ["build", "--lib", "--keep-going", "--target", TARGET]
        .into_iter()
        .map(OsString::from)
        .collect();
    arguments.extend(["--message-format", "json-render-diagnostics"].map(OsString::from));
    arguments.extend(["--profile", order.profile].map(OsString::from));
    arguments.push("--target-dir".into());
    arguments.push(order.target_dir.into());
    if order.locked {
        arguments.push("--locked".into());
    }
    for package in &order.packages {
        arguments.extend(["--package", package].map(OsString::from));
    }
    arguments.extend(toolchain.arguments().iter().map(OsString::from));
    arguments
}

/// rustc flags that keep the build machine's paths out of the component: the place in the
/// source that a panic names would carry them, and the bytes would differ by machine.
///
/// cargo names the workspace's own sources relative to its root already. A flag with that
/// root in it would also make every workspace build the standard library for itself.
fn encoded_flags() -> String {
    // Where the standard library's sources are when it is built along.
    let mut flags: Vec<String> = ["/usr/lib/rustlib/src/rust", "/usr/src"]
        .into_iter()
        .map(|sources| format!("--remap-path-prefix={sources}=rust"))
        .collect();
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cargo")));
    if let Some(home) = home {
        flags.push(format!("--remap-path-prefix={}=cargo", home.display()));
    }
    flags.join("\u{1f}")
}
