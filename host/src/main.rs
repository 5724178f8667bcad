//! The `genvid` binary. Everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    genvid::cli::main()
}
