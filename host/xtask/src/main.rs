//! `cargo xtask <command>`: see `cargo xtask --help`.

use clap::Parser as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    match xtask::Command::parse().run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
