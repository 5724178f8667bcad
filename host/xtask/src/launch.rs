//! `cargo xtask demo` and `cargo xtask dev`: set-up, build, and then the real binary in this
//! program's place, so that signals and exit code are its own.

use crate::process::command;
use crate::setup::{self, Extent};
use anyhow::Context as _;
use clap::Args;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};

#[derive(Debug, Args, Default)]
pub(crate) struct DemoOptions {
    /// Print one JSON object as the last line of standard output and nothing else there.
    #[arg(long)]
    json: bool,
    /// Further arguments for `genvid demo` (see `cargo xtask demo -- --help`).
    #[arg(last = true)]
    arguments: Vec<String>,
}

#[derive(Debug, Args, Default)]
pub(crate) struct DevOptions {
    /// Further arguments for `genvid dev`, such as `-- --port 0 --data-dir DIR`.
    #[arg(last = true)]
    arguments: Vec<String>,
}

pub(crate) fn demo(root: &Path, options: &DemoOptions) -> anyhow::Result<ExitCode> {
    let mut arguments = vec!["demo".to_owned()];
    if options.json {
        arguments.push("--json".to_owned());
    }
    arguments.extend(options.arguments.iter().cloned());
    launch(root, &arguments)
}

pub(crate) fn dev(root: &Path, options: &DevOptions) -> anyhow::Result<ExitCode> {
    let mut arguments = vec!["dev".to_owned()];
    arguments.extend(options.arguments.iter().cloned());
    launch(root, &arguments)
}

fn launch(root: &Path, arguments: &[String]) -> anyhow::Result<ExitCode> {
    setup::run(root, Extent::Run)?;
    crate::plugins::ensure(root, false)?;
    let binary = build_binary(root, false)?;
    let mut genvid = command(root, &binary);
    // The binary reads its own settings from where the person is, not from the root.
    if let Ok(here) = std::env::current_dir() {
        genvid.current_dir(here);
    }
    let error = genvid.args(arguments).stdin(Stdio::inherit()).exec();
    Err(error).with_context(|| format!("cannot run {}", binary.display()))
}

/// Builds `genvid` and tells where it is. Always with `--workspace`: cargo unifies features
/// over the packages it is asked for, so any other selection would compile the dependencies
/// a second time with other features.
pub(crate) fn build_binary(root: &Path, locked: bool) -> anyhow::Result<PathBuf> {
    build(root, "genvid", locked)
}

/// The same for any program of the repository.
pub(crate) fn build(root: &Path, program: &str, locked: bool) -> anyhow::Result<PathBuf> {
    let mut cargo = command(root, "cargo");
    cargo.args([
        "build",
        "--workspace",
        "--bin",
        program,
        "--message-format",
        "json-render-diagnostics",
    ]);
    if locked {
        cargo.arg("--locked");
    }
    let messages = crate::process::captured(&mut cargo)?;
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == program)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .with_context(|| format!("cargo built no executable named {program}"))
}
