//! Speed, measured: every figure beside its baseline from the same run. `cargo xtask bench` builds this
//! with optimisations and runs it; `host/benches/README.md` says what the rows are.

mod bare;
mod client;
mod crowd;
mod latency;
mod process;
mod query;
mod report;
mod rounds;
mod sandbox;
mod server;
mod start;
mod transfer;
mod vendor;
mod waiting;
mod whole;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use rounds::Plan;
use server::Backend;

/// Measure Genvid beside its baselines.
#[derive(Debug, Parser)]
#[command(name = "genvid-bench")]
struct Options {
    /// Only rows whose number is one of these, or whose name contains one.
    names: Vec<String>,
    /// JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// A few units of each, to see that the suite runs; the figures mean nothing.
    #[arg(long)]
    smoke: bool,
    /// The folder with the built plugins.
    #[arg(long, value_name = "DIR", default_value = "target/plugins")]
    plugins: PathBuf,
    /// The plugin that rows about the sandbox call.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "target/test-plugins/test-guest.wasm"
    )]
    guest: PathBuf,
    /// Where whole jobs keep their rows.
    #[arg(long, value_enum, default_value_t)]
    backend: Backend,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The baseline of row 18: a server that answers and does nothing else.
    #[command(hide = true)]
    EmptyServer {
        /// Where to listen.
        port: u16,
    },
    /// The baseline of row 15: async-graphql as it comes.
    #[command(hide = true)]
    StockServer {
        /// Where to listen.
        port: u16,
    },
    /// The baseline of rows 11 and 13: sockets that get frames and nothing else.
    #[command(hide = true)]
    BareSockets {
        /// Where to listen.
        port: u16,
    },
    /// The vendor of whole jobs.
    #[command(hide = true)]
    PlayVendor {
        /// Where to listen.
        port: u16,
        /// What may be fetched.
        film: Option<PathBuf>,
    },
}

fn main() -> anyhow::Result<ExitCode> {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        match options.command {
            Some(Command::EmptyServer { port }) => {
                start::empty_server(port).await?;
                return Ok(ExitCode::SUCCESS);
            }
            Some(Command::StockServer { port }) => {
                query::stock_server(port).await?;
                return Ok(ExitCode::SUCCESS);
            }
            Some(Command::BareSockets { port }) => {
                crowd::bare_sockets(port).await?;
                return Ok(ExitCode::SUCCESS);
            }
            Some(Command::PlayVendor { port, film }) => {
                vendor::play(port, film).await?;
                return Ok(ExitCode::SUCCESS);
            }
            None => {}
        }
        let plan = Plan::new(options.smoke);
        let mut rows = Vec::new();
        let wanted = |number: u32, name: &str| {
            let names = &options.names;
            names.is_empty()
                || names.iter().any(|wanted| match wanted.parse::<u32>() {
                    Ok(wanted) => wanted == number,
                    Err(_) => name.contains(&wanted.to_lowercase()),
                })
        };
        if wanted(sandbox::CALL.number, sandbox::CALL.name) {
            rows.push(sandbox::call(&plan, &options.guest).await?);
        }
        if wanted(sandbox::LOAD.number, sandbox::LOAD.name) {
            rows.push(sandbox::load(&plan, &options.guest).await?);
        }
        for (row, shape) in whole::ROWS {
            if wanted(row.number, row.name) {
                rows.push(whole::row(&plan, row, shape, options.backend, &options.guest).await?);
            }
        }
        if wanted(waiting::WAITING.number, waiting::WAITING.name) {
            rows.push(waiting::waiting(&plan, options.backend, &options.guest).await?);
        }
        if wanted(crowd::BURST.number, crowd::BURST.name) {
            rows.push(crowd::burst_row(&plan, options.backend, &options.guest).await?);
        }
        if wanted(latency::LOCAL.number, latency::LOCAL.name) {
            rows.push(latency::local(&plan, options.backend, &options.guest).await?);
        }
        if wanted(crowd::MEMORY.number, crowd::MEMORY.name) {
            rows.push(crowd::memory_row(&plan, options.backend, &options.guest).await?);
        }
        if wanted(latency::REMOTE.number, latency::REMOTE.name) {
            rows.push(latency::remote(&plan, &options.guest).await?);
        }
        if wanted(query::JOB.number, query::JOB.name) {
            rows.push(query::job(&plan, &options.plugins).await?);
        }
        if wanted(transfer::FETCH.number, transfer::FETCH.name) {
            rows.push(transfer::fetch(&plan, options.backend, &options.guest).await?);
        }
        if wanted(start::START.number, start::START.name) {
            rows.push(start::start(&plan, &options.plugins).await?);
        }
        anyhow::ensure!(!rows.is_empty(), "no row has such a name");
        report::print(&rows, options.json)?;
        Ok(ExitCode::SUCCESS)
    })
}
