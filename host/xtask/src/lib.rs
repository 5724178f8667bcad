//! Set-up, plugins, demo, checks: everything that a clean clone needs, in Rust and in one
//! place. `cargo xtask --help` explains the commands.
//!
//! Depends on little, because it is the first thing that a fresh machine compiles.

mod plugins;
mod root;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// What was asked for on the command line.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, about, long_about = None)]
pub struct Command {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Build the provider plugins (and the sandbox tests' guest) into target/plugins.
    Plugins(plugins::Options),
}

impl Command {
    /// Does what was asked for.
    ///
    /// # Errors
    /// When it cannot be done; the text says why and what helps.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let root = root::find()?;
        match self.task {
            Task::Plugins(options) => plugins::run(&root, &options),
        }
    }
}
