//! Starts a PostgreSQL server that many test processes share, says where it is in one line of
//! JSON, and ends it when standard input ends.

use std::io::{Read, Write};

use genvid_testing::Postgres;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let postgres = Postgres::start()?;
    let mut out = std::io::stdout();
    writeln!(out, "{{\"postgresPort\":{}}}", postgres.port())?;
    out.flush()?;
    // Whoever started this holds the other end; its death closes it too.
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
