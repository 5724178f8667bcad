//! `cargo xtask codegen`: files that the program itself writes and the repository keeps.

use crate::process::{captured, command};
use anyhow::Context as _;
use clap::Args;
use std::path::Path;
use std::process::ExitCode;

/// The schema as a client sees it, for reviews, code generators and editors.
const SCHEMA: &str = "graphql/schema.graphql";

#[derive(Debug, Args, Default)]
pub(crate) struct Options {
    /// Write nothing; fail when a file would change.
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(root: &Path, options: &Options) -> anyhow::Result<ExitCode> {
    if options.check {
        check(root, false)?;
        eprintln!("codegen: {SCHEMA} is what the program says");
        return Ok(ExitCode::SUCCESS);
    }
    let schema = generate(root, false)?;
    let path = root.join(SCHEMA);
    if std::fs::read_to_string(&path).is_ok_and(|old| old == schema) {
        eprintln!("codegen: {SCHEMA} is unchanged");
    } else {
        std::fs::write(&path, schema)
            .with_context(|| format!("cannot write {}", path.display()))?;
        eprintln!("codegen: wrote {SCHEMA}");
    }
    Ok(ExitCode::SUCCESS)
}

/// Fails when the committed files are not what the program says.
pub(crate) fn check(root: &Path, locked: bool) -> anyhow::Result<()> {
    let schema = generate(root, locked)?;
    let committed = std::fs::read_to_string(root.join(SCHEMA))
        .with_context(|| format!("cannot read {SCHEMA}; `cargo xtask codegen` writes it"))?;
    if let Some(difference) = first_difference(&committed, &schema) {
        anyhow::bail!(
            "{SCHEMA} is out of date ({difference}): run `cargo xtask codegen` and commit it"
        );
    }
    Ok(())
}

fn generate(root: &Path, locked: bool) -> anyhow::Result<String> {
    let binary = crate::launch::build_binary(root, locked)?;
    captured(command(root, &binary).arg("schema"))
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
