//! `cargo xtask bench`: builds the server and its measurements with optimisations, and measures.

use crate::check::Tally;
use crate::process::{captured, command, must_succeed};
use crate::setup::{self, Extent};
use anyhow::Context as _;
use clap::Args;
use std::path::Path;
use std::process::{ExitCode, Stdio};

/// The profile of the workspace's manifest, whose folder below `target` has its name.
const PROFILE: &str = "bench-suite";
/// Rows that the suite has: one that is lost is a failure.
const ROWS: usize = 14;

#[derive(Debug, Args, Default)]
pub(crate) struct Options {
    /// Only rows whose number is one of these, or whose name contains one.
    names: Vec<String>,
    /// JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// Where whole jobs keep their rows: sqlite or postgres.
    #[arg(long, value_name = "WHICH", default_value = "sqlite")]
    backend: String,
}

pub(crate) fn run(root: &Path, options: &Options) -> anyhow::Result<ExitCode> {
    // PostgreSQL and Redis come with what the tests need.
    setup::run(root, Extent::All)?;
    crate::plugins::ensure(root, false)?;
    eprintln!("bench: building with optimisations, which takes minutes the first time");
    let mut cargo = command(root, "cargo");
    cargo.args(["build", "--workspace", "--profile", PROFILE]);
    must_succeed(cargo.args(["--bin", "genvid", "--bin", "genvid-bench"]))?;
    let mut bench = command(root, root.join("target").join(PROFILE).join("genvid-bench"));
    bench.args(["--backend", &options.backend]);
    bench.args(&options.names).stdin(Stdio::null());
    if options.json {
        bench.arg("--json");
    }
    let status = bench.status().context("genvid-bench does not run")?;
    Ok(match status.success() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// That the whole suite runs, with a few units of each row and without optimisations. What it says is not
/// looked at.
pub(crate) fn smoke(root: &Path) -> anyhow::Result<Tally> {
    crate::launch::build_binary(root, true)?;
    let bench = crate::launch::build(root, "genvid-bench", true)?;
    let said = captured(command(root, bench).args(["--smoke", "--json"]))?;
    let said: serde_json::Value = serde_json::from_str(&said).context("no JSON")?;
    let rows = said["rows"].as_array().map_or(0, Vec::len);
    anyhow::ensure!(rows == ROWS, "{rows} rows instead of {ROWS}");
    Ok(Tally {
        passed: rows as u64,
        ..Tally::default()
    })
}
