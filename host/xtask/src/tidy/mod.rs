//! `cargo xtask tidy`: rules of the repository that no compiler checks.
//!
//! Each rule looks at one file and says what breaks it; [`check`] applies them to every file
//! that git tracks or would track.

mod architecture;
mod content;

use crate::check::Tally;
use crate::process::{captured, command};
use std::fmt;
use std::path::Path;
use std::process::ExitCode;

/// A place that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The file, from the repository's root.
    pub path: String,
    /// Line, from 1; 0 when the whole file is meant.
    pub line: usize,
    /// What is wrong and what to do instead.
    pub message: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            write!(f, "{}: {}", self.path, self.message)
        } else {
            write!(f, "{}:{}: {}", self.path, self.line, self.message)
        }
    }
}

/// Applies every rule to every file of the repository at `root`.
///
/// # Errors
/// When git cannot list the files, or a file cannot be read.
pub fn check(root: &Path) -> anyhow::Result<Vec<Violation>> {
    let mut git = command(root, "git");
    git.args([
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
        "-z",
    ]);
    let list = captured(&mut git)?;
    let mut violations = Vec::new();
    let mut looked_at = 0_usize;
    for path in list.split('\0').filter(|path| !path.is_empty()) {
        // Listed, but deleted in the work tree or a link to a folder.
        let Ok(bytes) = std::fs::read(root.join(path)) else {
            continue;
        };
        looked_at += 1;
        // Pictures, sound and film are not text.
        let Ok(text) = String::from_utf8(bytes) else {
            continue;
        };
        violations.extend(check_file(path, &text));
    }
    anyhow::ensure!(looked_at > 0, "git lists no files in {}", root.display());
    Ok(violations)
}

/// Applies every rule to one file; `path` is from the repository's root.
#[must_use]
pub fn check_file(path: &str, text: &str) -> Vec<Violation> {
    let mut violations = architecture::check(path, text);
    violations.extend(content::check(path, text));
    violations
}

pub(crate) fn run(root: &Path) -> anyhow::Result<ExitCode> {
    let tally = tally(root)?;
    Ok(if tally.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Prints what breaks a rule and counts the check as one.
pub(crate) fn tally(root: &Path) -> anyhow::Result<Tally> {
    let violations = check(root)?;
    for violation in &violations {
        eprintln!("tidy: {violation}");
    }
    if violations.is_empty() {
        eprintln!("tidy: every rule holds");
    } else {
        eprintln!("tidy: {} places break a rule", violations.len());
    }
    Ok(Tally::of(violations.is_empty()))
}

/// The lines of a text with their numbers from 1.
fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line))
}
