//! `cargo xtask test`: everything that must hold before a change lands, counted.

use crate::process::{command, followed, succeeds};
use crate::setup::{self, Extent};
use crate::{bench, codegen, conformance, launch, plugins, tidy};
use anyhow::Context as _;
use clap::{Args, ValueEnum};
use std::fmt;
use std::io::{BufRead as _, BufReader};
use std::ops::AddAssign;
use std::path::Path;
use std::process::{Child, ExitCode, Stdio};
use std::time::Instant;

#[derive(Debug, Args, Default)]
pub(crate) struct Options {
    /// Run only the tests whose name contains one of these (no other part then).
    filters: Vec<String>,
    /// Run only these parts, in the order of the whole; comma-separated.
    #[arg(long, value_enum, value_delimiter = ',', conflicts_with = "filters")]
    only: Vec<Part>,
}

/// A part of the whole, in the order in which they run: what fails soonest comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum Part {
    /// Formatting: cargo fmt --check.
    Fmt,
    /// The rules of the architecture: cargo xtask tidy.
    Tidy,
    /// The plugins build.
    Plugins,
    /// Lints: cargo clippy, warnings are errors.
    Clippy,
    /// The tests: cargo nextest run.
    Tests,
    /// What is the same on PostgreSQL, Redis and S3: the suites of the whole server once more.
    Servers,
    /// The examples in doc comments: cargo test --doc.
    Doc,
    /// Generated files are up to date: cargo xtask codegen --check.
    Codegen,
    /// GraphQL conformance suites against the real binary.
    Conformance,
    /// The suite of cargo xtask bench runs; its figures are not looked at.
    Bench,
}

const ALL: [Part; 10] = [
    Part::Fmt,
    Part::Tidy,
    Part::Plugins,
    Part::Clippy,
    Part::Tests,
    Part::Servers,
    Part::Doc,
    Part::Codegen,
    Part::Conformance,
    Part::Bench,
];

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::Fmt => "fmt",
            Self::Tidy => "tidy",
            Self::Plugins => "plugins",
            Self::Clippy => "clippy",
            Self::Tests => "tests",
            Self::Servers => "servers",
            Self::Doc => "doc",
            Self::Codegen => "codegen",
            Self::Conformance => "conformance",
            Self::Bench => "bench",
        }
    }

    /// Whether the part runs what a bare machine lacks.
    fn needs_setup(self) -> bool {
        !matches!(self, Self::Fmt | Self::Tidy)
    }
}

/// How many checks came out how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl Tally {
    /// One check that passed or failed.
    pub(crate) fn of(passed: bool) -> Self {
        Self {
            passed: u64::from(passed),
            failed: u64::from(!passed),
            skipped: 0,
        }
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        if self.skipped > 0 {
            write!(f, ", {} skipped", self.skipped)?;
        }
        Ok(())
    }
}

/// Runs the parts, all of them even when one fails, and closes with the sum.
pub(crate) fn run(root: &Path, options: &Options) -> anyhow::Result<ExitCode> {
    let parts = parts(options);
    let mut sum = Tally::default();
    if std::env::var_os("CI").is_some_and(|value| value == "true") {
        sum += lock_file_is_committed(root)?;
    }
    if parts.iter().any(|part| part.needs_setup()) {
        setup::run(root, Extent::All)?;
    }
    if !parts.contains(&Part::Plugins) && parts.iter().any(|part| *part >= Part::Tests) {
        plugins::ensure(root, true)?;
    }
    let mut report = Vec::new();
    for part in parts {
        eprintln!("\n== {} ==", part.name());
        let started = Instant::now();
        let tally = match part_tally(root, part, options) {
            Ok(tally) => tally,
            Err(error) => {
                eprintln!("{}: {error:#}", part.name());
                Tally::of(false)
            }
        };
        let seconds = started.elapsed().as_secs_f64();
        report.push(format!("{:<12} {tally}  ({seconds:.1} s)", part.name()));
        sum += tally;
    }
    println!();
    for line in report {
        println!("{line}");
    }
    println!("{sum}");
    Ok(if sum.failed == 0 && sum.passed > 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn parts(options: &Options) -> Vec<Part> {
    if !options.filters.is_empty() {
        return vec![Part::Tests];
    }
    if options.only.is_empty() {
        return ALL.to_vec();
    }
    ALL.into_iter()
        .filter(|part| options.only.contains(part))
        .collect()
}

fn part_tally(root: &Path, part: Part, options: &Options) -> anyhow::Result<Tally> {
    match part {
        Part::Fmt => {
            let mut cargo = command(root, "cargo");
            Ok(Tally::of(succeeds(
                cargo.args(["fmt", "--all", "--check"]),
            )?))
        }
        Part::Tidy => tidy::tally(root),
        Part::Plugins => plugins::tally(root),
        Part::Clippy => {
            let mut cargo = command(root, "cargo");
            cargo.args(["clippy", "--workspace", "--all-targets", "--locked"]);
            Ok(Tally::of(succeeds(cargo.args(["--", "-D", "warnings"]))?))
        }
        Part::Tests => tests(root, Backend::Embedded, &options.filters),
        Part::Servers => tests(root, Backend::Servers, &options.filters),
        Part::Doc => doc(root),
        Part::Codegen => codegen::check(root, true),
        Part::Conformance => {
            let binary = launch::build_binary(root, true)?;
            conformance::run(root, &binary)
        }
        Part::Bench => bench::smoke(root),
    }
}

/// `cargo xtask` itself may bring a stale lock file up to date, which would hide from
/// `--locked` that the committed one is stale.
fn lock_file_is_committed(root: &Path) -> anyhow::Result<Tally> {
    let mut git = command(root, "git");
    let same = succeeds(git.args(["diff", "--quiet", "HEAD", "--", "Cargo.lock"]))?;
    if !same {
        eprintln!("Cargo.lock is not what the manifests need: run `cargo check` and commit it");
    }
    Ok(Tally::of(same))
}

/// Suites of the whole server, which run on either set of backends.
const WHOLE_SERVER: &str = "binary(e2e) + binary(graphql)";
/// Tests of several nodes, which are on servers whatever is asked for: once is enough.
const CLUSTERS: &str = "binary(e2e) & test(/^cluster::/)";
/// Tests that are there for either set of backends, whatever is asked for: once is enough, too.
const FOR_EITHER: &str = "binary(e2e) & test(/^pass_through::/)";

/// What the whole server runs on in its tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Backend {
    /// Files, and one process.
    Embedded,
    /// PostgreSQL, Redis and S3.
    Servers,
}

fn tests(root: &Path, backend: Backend, filters: &[String]) -> anyhow::Result<Tally> {
    let servers = Servers::start(root)?;
    let mut cargo = command(root, "cargo");
    cargo.args([
        "nextest",
        "run",
        "--workspace",
        "--locked",
        "--no-fail-fast",
    ]);
    cargo.env("GENVID_TEST_POSTGRES_PORT", servers.postgres.to_string());
    match backend {
        Backend::Embedded => cargo.env("GENVID_TEST_BACKEND", "embedded"),
        Backend::Servers => cargo.env("GENVID_TEST_BACKEND", "servers"),
    };
    if filters.is_empty() {
        let wanted = match backend {
            Backend::Embedded => format!("not ({CLUSTERS})"),
            Backend::Servers => format!("({WHOLE_SERVER}) - ({FOR_EITHER})"),
        };
        cargo.args(["--filterset", &wanted]);
    }
    cargo.args(filters);
    let (success, output) = followed(&mut cargo)?;
    Ok(judged(success, nextest_summary(&output)))
}

/// A PostgreSQL server that all test processes share: each starting its own would take longer
/// than most tests do. It ends with this program.
struct Servers {
    child: Child,
    postgres: u64,
}

impl Servers {
    fn start(root: &Path) -> anyhow::Result<Self> {
        let binary = launch::build(root, "genvid-test-servers", true)?;
        let mut child = command(root, &binary)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {}", binary.display()))?;
        let mut line = String::new();
        let pipe = child.stdout.take().context("no standard output")?;
        BufReader::new(pipe).read_line(&mut line)?;
        let told: serde_json::Value = serde_json::from_str(&line)
            .context("the servers of the tests did not start; what they said is above")?;
        let postgres = told["postgresPort"]
            .as_u64()
            .context("no port of PostgreSQL")?;
        Ok(Self { child, postgres })
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        // The end of its input is what it waits for.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

fn doc(root: &Path) -> anyhow::Result<Tally> {
    let mut cargo = command(root, "cargo");
    cargo.args(["test", "--doc", "--workspace", "--locked", "--no-fail-fast"]);
    let (success, output) = followed(&mut cargo)?;
    Ok(judged(success, libtest_results(&output)))
}

/// The numbers that a runner printed, and one failure more when it failed for something that
/// it did not count, such as code that does not compile.
pub(crate) fn judged(success: bool, counted: Option<Tally>) -> Tally {
    let mut tally = counted.unwrap_or_else(|| Tally::of(success));
    if !success && tally.failed == 0 {
        tally.failed = 1;
    }
    tally
}

/// Reads `Summary [ 1.2s] 10 tests run: 9 passed (1 slow), 1 failed, 2 skipped`.
fn nextest_summary(output: &str) -> Option<Tally> {
    let line = output
        .lines()
        .rfind(|line| line.trim_start().starts_with("Summary ["))?;
    let (_, counts) = line.split_once(" run: ")?;
    let mut tally = Tally::default();
    // Words in parentheses qualify the number before them and would be read as numbers.
    let mut plain = String::new();
    let mut depth = 0_u32;
    for character in counts.chars() {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            other if depth == 0 => plain.push(other),
            _ => {}
        }
    }
    for part in plain.split(',') {
        let mut words = part.split_whitespace();
        let (Some(number), Some(what)) = (words.next(), words.next()) else {
            continue;
        };
        let Ok(number) = number.parse::<u64>() else {
            continue;
        };
        match what {
            "passed" => tally.passed += number,
            "skipped" => tally.skipped += number,
            // failed, timed out, exec failed, …: whatever else a test can come to.
            _ => tally.failed += number,
        }
    }
    Some(tally)
}

/// Adds up the lines `test result: ok. 3 passed; 0 failed; 1 ignored; …`.
fn libtest_results(output: &str) -> Option<Tally> {
    let mut sum = None;
    for line in output
        .lines()
        .filter(|line| line.starts_with("test result: "))
    {
        let mut tally = Tally::default();
        for part in line.split([';', '.']) {
            let mut words = part.split_whitespace();
            let (Some(number), Some(what)) = (words.next(), words.next()) else {
                continue;
            };
            let Ok(number) = number.parse::<u64>() else {
                continue;
            };
            match what {
                "passed" => tally.passed += number,
                "failed" => tally.failed += number,
                "ignored" => tally.skipped += number,
                _ => {}
            }
        }
        *sum.get_or_insert_with(Tally::default) += tally;
    }
    sum
}

/// Reads the last line `N passed, N failed[, N skipped]` of a script's output.
pub(crate) fn plain_result(output: &str) -> Option<Tally> {
    output.lines().rev().find_map(|line| {
        let mut tally = Tally::default();
        let mut seen = (false, false);
        for part in line.trim().split(", ") {
            let (number, what) = part.split_once(' ')?;
            let number: u64 = number.parse().ok()?;
            match what {
                "passed" => (tally.passed, seen.0) = (number, true),
                "failed" => (tally.failed, seen.1) = (number, true),
                "skipped" => tally.skipped = number,
                _ => return None,
            }
        }
        (seen == (true, true)).then_some(tally)
    })
}

#[cfg(test)]
mod tests {
    use super::{
        Options, Part, Tally, judged, libtest_results, nextest_summary, parts, plain_result,
    };

    fn tally(passed: u64, failed: u64, skipped: u64) -> Tally {
        Tally {
            passed,
            failed,
            skipped,
        }
    }

    #[test]
    fn nextest_summaries_are_read() {
        let line = "     Summary [  12.345s] 10 tests run: 8 passed (2 slow, 1 flaky), 1 failed, 1 timed out, 3 skipped";
        assert_eq!(nextest_summary(line), Some(tally(8, 2, 3)));
        let cut = "     Summary [   1.0s] 4/9 tests run: 3 passed, 1 failed, 0 skipped";
        assert_eq!(nextest_summary(cut), Some(tally(3, 1, 0)));
        assert_eq!(nextest_summary("error: could not compile `x`"), None);
    }

    #[test]
    fn doc_test_results_are_added_up() {
        let output = "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.10s\n\
                      running 2 tests\n\
                      test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 2.00s";
        assert_eq!(libtest_results(output), Some(tally(4, 1, 1)));
        assert_eq!(libtest_results(""), None);
    }

    #[test]
    fn the_last_plain_line_of_a_script_counts() {
        assert_eq!(
            plain_result("1 passed, 1 failed\nx\n61 passed, 0 failed\n"),
            Some(tally(61, 0, 0))
        );
        assert_eq!(
            plain_result("2 passed, 0 failed, 4 skipped"),
            Some(tally(2, 0, 4))
        );
        assert_eq!(plain_result("all 3 passed, 0 failed"), None);
        assert_eq!(plain_result("3 passed"), None);
    }

    #[test]
    fn a_runner_that_fails_uncounted_is_a_failure() {
        assert_eq!(judged(false, None), tally(0, 1, 0));
        assert_eq!(judged(false, Some(tally(5, 0, 0))), tally(5, 1, 0));
        assert_eq!(judged(false, Some(tally(5, 2, 0))), tally(5, 2, 0));
        assert_eq!(judged(true, Some(tally(5, 0, 1))), tally(5, 0, 1));
    }

    #[test]
    fn filters_mean_tests_only_and_parts_keep_their_order() {
        let filtered = Options {
            filters: vec!["jobs".to_owned()],
            only: Vec::new(),
        };
        assert_eq!(parts(&filtered), [Part::Tests]);
        let chosen = Options {
            filters: Vec::new(),
            only: vec![Part::Conformance, Part::Fmt],
        };
        assert_eq!(parts(&chosen), [Part::Fmt, Part::Conformance]);
        assert_eq!(parts(&Options::default()).len(), 10);
    }
}
