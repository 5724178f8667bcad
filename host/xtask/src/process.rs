//! Running other programs.

use anyhow::Context as _;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Path of a program in `PATH`, or in one of the folders where the set-up puts tools.
pub(crate) fn which(root: &Path, program: &str) -> Option<PathBuf> {
    let mut folders: Vec<PathBuf> = std::env::var_os("PATH")
        .map(|path| std::env::split_paths(&path).collect())
        .unwrap_or_default();
    folders.extend(crate::setup::tool_folders(root));
    folders
        .into_iter()
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

/// A command that runs in the repository's root, finds the tools that the set-up put into
/// `target/tools`, and sees none of the variables that the cargo around this program set:
/// they would make an inner cargo build other artefacts than the same command in a shell.
pub(crate) fn command(root: &Path, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(is_of_outer_cargo) {
            command.env_remove(name);
        }
    }
    let mut path: Vec<PathBuf> = std::env::var_os("PATH")
        .map(|path| std::env::split_paths(&path).collect())
        .unwrap_or_default();
    path.extend(crate::setup::tool_folders(root));
    if let Ok(joined) = std::env::join_paths(path) {
        command.env("PATH", joined);
    }
    command
}

/// Whether `cargo run` sets the variable for the program it starts.
fn is_of_outer_cargo(name: &str) -> bool {
    const NAMES: [&str; 9] = [
        "CARGO",
        "CARGO_CRATE_NAME",
        "CARGO_MANIFEST_DIR",
        "CARGO_MANIFEST_PATH",
        "CARGO_PRIMARY_PACKAGE",
        "CARGO_RUSTC_CURRENT_DIR",
        "LD_LIBRARY_PATH",
        "OUT_DIR",
        "RUST_RECURSION_COUNT",
    ];
    NAMES.contains(&name) || name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_BIN_")
}

/// Shows a command as one would type it, for messages.
pub(crate) fn shown(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|part| {
            let part = part.to_string_lossy();
            if part.contains(' ') {
                format!("'{part}'")
            } else {
                part.into_owned()
            }
        })
        .collect::<Vec<_>>()
        .join(" ")
}

/// Runs a command with its output on standard error (standard output stays ours) and tells
/// whether it ended with 0.
pub(crate) fn succeeds(command: &mut Command) -> anyhow::Result<bool> {
    let status = command
        .stdout(std::io::stderr())
        .status()
        .with_context(|| format!("cannot run `{}`", shown(command)))?;
    Ok(status.success())
}

/// As [`succeeds`], but anything but 0 is an error.
pub(crate) fn must_succeed(command: &mut Command) -> anyhow::Result<()> {
    anyhow::ensure!(
        succeeds(command)?,
        "`{}` failed (its output is above)",
        shown(command)
    );
    Ok(())
}

/// Standard output of a command that must succeed; standard error passes through.
pub(crate) fn captured(command: &mut Command) -> anyhow::Result<String> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot run `{}`", shown(command)))?;
    anyhow::ensure!(
        output.status.success(),
        "`{}` failed: {}",
        shown(command),
        output.status
    );
    String::from_utf8(output.stdout)
        .with_context(|| format!("`{}` printed something that is not UTF-8", shown(command)))
}

/// Runs a command, copies both of its outputs to standard error as they come, and hands
/// them back with whether it ended with 0.
pub(crate) fn followed(command: &mut Command) -> anyhow::Result<(bool, String)> {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run `{}`", shown(command)))?;
    let stdout = child.stdout.take().context("no standard output")?;
    let stderr = child.stderr.take().context("no standard error")?;
    let other = std::thread::spawn(move || copy_lines(stdout));
    let mut text = copy_lines(stderr);
    text.push_str(&other.join().unwrap_or_default());
    Ok((child.wait()?.success(), text))
}

fn copy_lines(pipe: impl Read) -> String {
    let mut reader = BufReader::new(pipe);
    let mut text = String::new();
    let mut line = Vec::new();
    while reader
        .read_until(b'\n', &mut line)
        .is_ok_and(|read| read > 0)
    {
        // Nobody is left to tell when standard error is closed.
        let _ = std::io::stderr().write_all(&line);
        text.push_str(&String::from_utf8_lossy(&line));
        line.clear();
    }
    text
}
