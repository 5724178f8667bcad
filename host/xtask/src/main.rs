//! `cargo xtask <command>`: see `cargo xtask --help`.

use clap::Parser as _;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::process::ExitCode;

/// Open files of tests and what they start.
const FILES: u64 = 65_536;

fn main() -> ExitCode {
    open_as_many_as_allowed();
    match xtask::Command::parse().run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Tests play vendors, hundreds of clients and their watchers in one process: more than the
/// usual soft limit of 1,024 open files. What is started here inherits it.
fn open_as_many_as_allowed() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(FILES, |maximum| maximum.min(FILES));
    if limit.current.is_some_and(|current| current < wanted) {
        let raised = Rlimit {
            current: Some(wanted),
            ..limit
        };
        // Where it is refused, the tests that need it say so.
        let _ = setrlimit(Resource::Nofile, raised);
    }
}
