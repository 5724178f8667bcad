//! Set-up, plugins, demo, checks: everything that a clean clone needs, in Rust and in one
//! place. `cargo xtask --help` explains the commands.
//!
//! Depends on little, because it is the first thing that a fresh machine compiles.

mod bench;
mod check;
mod codegen;
mod conformance;
mod launch;
mod plugins;
mod process;
mod root;
mod setup;
pub mod tidy;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// What a newcomer needs to know first, below the list of commands.
const AFTER_HELP: &str = "\
A first day with the repository:
  cargo xtask demo             set everything up and make a video through the plugins
  cargo xtask dev              the server with simulated vendors, for GraphiQL and frontends
  cargo xtask test             everything that must hold before a change lands
  cargo xtask bench            how fast it is, beside what others need for the same
  cargo xtask test resume      only the tests whose name contains `resume`

Everything that builds also sets up what is missing; a second time that takes no time.";

/// Set up, run and check Genvid from a clean clone.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", after_help = AFTER_HELP)]
pub struct Command {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Install what is missing on this machine, saying what and why.
    ///
    /// Debian packages (ffmpeg, a font, and a compiler for wasm32 when the active toolchain
    /// has none and rustup cannot add it), the npm packages of GraphiQL and of the conformance
    /// suites, cargo-nextest, and servers for tests: PostgreSQL, Redis, and moto for S3. What is there is left alone. Debian packages need root.
    Setup,
    /// Build the provider plugins (and the sandbox tests' guest) into target/plugins.
    ///
    /// A plugin whose sources have not changed is skipped; one that fails does not stop the
    /// others, and the exit code is 1 then.
    Plugins(plugins::Options),
    /// Make a video from nothing: set up, build, and run `genvid demo`.
    ///
    /// Leaves video.mp4, thumbnail.jpg and subtitles.srt and says where. The exit code is
    /// that of `genvid demo`.
    Demo(launch::DemoOptions),
    /// Run the server with simulated vendors: set up, build, and run `genvid dev`.
    Dev(launch::DevOptions),
    /// Measure: every figure beside its baseline from the same run.
    ///
    /// Builds with optimisations first, which takes minutes the first time. `host/benches/README.md`
    /// says what the rows are and how to read them.
    Bench(bench::Options),
    /// Check everything: formatting, rules, plugins, lints, tests, examples, conformance.
    ///
    /// Runs every part even when one fails and closes with `N passed, N failed`.
    Test(check::Options),
    /// What CI runs: the same as `test`.
    Ci,
    /// Write the files that the program generates (the schema and the error codes in graphql/).
    Codegen(codegen::Options),
    /// Check the rules of the architecture and of the files' content.
    Tidy,
    /// Check licences, bans and sources of the dependencies with cargo-deny.
    Deny,
}

impl Command {
    /// Does what was asked for.
    ///
    /// # Errors
    /// When it cannot be done; the text says why and what helps.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let root = root::find()?;
        match self.task {
            Task::Setup => {
                setup::run(&root, setup::Extent::All)?;
                eprintln!("setup: everything is there");
                Ok(ExitCode::SUCCESS)
            }
            Task::Plugins(options) => plugins::run(&root, &options),
            Task::Demo(options) => launch::demo(&root, &options),
            Task::Dev(options) => launch::dev(&root, &options),
            Task::Bench(options) => bench::run(&root, &options),
            Task::Test(options) => check::run(&root, &options),
            Task::Ci => check::run(&root, &check::Options::default()),
            Task::Codegen(options) => codegen::run(&root, &options),
            Task::Tidy => tidy::run(&root),
            Task::Deny => {
                setup::deny(&root)?;
                let mut cargo = process::command(&root, "cargo");
                process::must_succeed(
                    cargo.args(["deny", "check", "bans", "licenses", "sources"]),
                )?;
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}
