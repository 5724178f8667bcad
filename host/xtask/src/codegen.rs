//! `cargo xtask codegen`: files that the program itself writes and the repository keeps.

use crate::check::Tally;
use crate::process::{captured, command};
use anyhow::Context as _;
use clap::Args;
use std::path::Path;
use std::process::ExitCode;

/// The files, and the arguments with which `genvid` prints each.
const FILES: [(&str, &[&str]); 2] = [
    // The schema as a client sees it, for reviews, code generators and editors.
    ("graphql/schema.graphql", &["schema"]),
    // Every error code, with what it means and what helps.
    ("graphql/ERRORS.md", &["schema", "--errors"]),
];

#[derive(Debug, Args, Default)]
pub(crate) struct Options {
    /// Write nothing; fail when a file would change.
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(root: &Path, options: &Options) -> anyhow::Result<ExitCode> {
    if options.check {
        let tally = check(root, false)?;
        return Ok(if tally.failed == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        });
    }
    let binary = crate::launch::build_binary(root, false)?;
    for (file, arguments) in FILES {
        let text = captured(command(root, &binary).args(arguments))?;
        let path = root.join(file);
        if std::fs::read_to_string(&path).is_ok_and(|old| old == text) {
            eprintln!("codegen: {file} is unchanged");
        } else {
            std::fs::write(&path, text)
                .with_context(|| format!("cannot write {}", path.display()))?;
            eprintln!("codegen: wrote {file}");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Counts each committed file that is what the program says as passed.
pub(crate) fn check(root: &Path, locked: bool) -> anyhow::Result<Tally> {
    let binary = crate::launch::build_binary(root, locked)?;
    let mut tally = Tally::default();
    for (file, arguments) in FILES {
        let result = check_file(root, &binary, file, arguments);
        match &result {
            Ok(()) => eprintln!("codegen: {file} is what the program says"),
            Err(error) => eprintln!("codegen: {error:#}"),
        }
        tally += Tally::of(result.is_ok());
    }
    Ok(tally)
}

fn check_file(root: &Path, binary: &Path, file: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let text = captured(command(root, binary).args(arguments))?;
    let committed = std::fs::read_to_string(root.join(file))
        .with_context(|| format!("cannot read {file}; `cargo xtask codegen` writes it"))?;
    if let Some(difference) = first_difference(&committed, &text) {
        anyhow::bail!(
            "{file} is out of date ({difference}): run `cargo xtask codegen` and commit it"
        );
    }
    Ok(())
}

fn first_difference(committed: &str, generated: &str) -> Option<String> {
    if committed == generated {
        return None;
    }
    let mut lines = committed.lines().zip(generated.lines()).enumerate();
    Some(match lines.find(|(_, (old, new))| old != new) {
        Some((index, (old, new))) => format!("line {}: {old:?} would be {new:?}", index + 1),
        None => "one ends before the other".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::first_difference;

    #[test]
    fn a_difference_is_told_with_its_line() {
        assert_eq!(first_difference("a\nb\n", "a\nb\n"), None);
        assert_eq!(
            first_difference("a\nb\n", "a\nc\n").as_deref(),
            Some("line 2: \"b\" would be \"c\"")
        );
        assert_eq!(
            first_difference("a\n", "a\nc\n").as_deref(),
            Some("one ends before the other")
        );
    }
}
