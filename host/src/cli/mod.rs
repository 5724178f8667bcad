//! The command line: an edge like the others.

mod admin;
mod batch;
mod demo;
mod files;
mod plugin;
mod ready;
mod serve;
mod simulators;

use std::{io::IsTerminal, path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::{
    config::{self, LogFormat, Settings},
    graphql,
};

/// Short product and avatar videos through other companies' AI services.
///
/// Start with `genvid dev`: it needs no account and no set-up, makes videos with simulated
/// vendors, and prints where to look. `genvid serve` is the real server.
#[derive(Parser)]
#[command(
    name = "genvid",
    version,
    arg_required_else_help = true,
    max_term_width = 100
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server: API and worker in one process, or one of them.
    ///
    /// Vendors' keys come from the environment, for example HEYGEN_API_KEY, KLING_API_KEY,
    /// ELEVENLABS_API_KEY, OPENAI_API_KEY. A provider without its key is listed as not available.
    #[command(
        after_help = "Examples:\n  HEYGEN_API_KEY=… genvid serve --port 8080 --data-dir /var/lib/genvid\n  genvid serve --simulators simulators.json   # vendors that `genvid simulate` plays elsewhere"
    )]
    Serve(Serve),
    /// Run the server with simulated vendors and a local user, and print where to look.
    #[command(
        after_help = "Example:\n  genvid dev --port 8080\n  then open the printed GraphiQL link."
    )]
    Dev(Dev),
    /// Make one video from script to file with simulated vendors, as a client of the public API.
    #[command(
        after_help = "Example:\n  genvid demo --out my-video\n  genvid demo --json | tail -n 1"
    )]
    Demo(demo::Options),
    /// Run only the vendors' simulators, for servers that run elsewhere.
    #[command(
        after_help = "Example:\n  genvid simulate --ready-file simulators.json &\n  genvid serve --simulators simulators.json"
    )]
    Simulate(Simulate),
    /// Print the GraphQL schema.
    Schema {
        /// Print the page of error codes instead.
        #[arg(long)]
        errors: bool,
    },
    /// Bring the database up to date and stop.
    Migrate(Common),
    /// Look at and try out provider plugins.
    Plugin(plugin::Plugin),
    /// Ask a server for many films at once, from a table.
    Batch(batch::Batch),
    /// Change what holds on every node: installed plugins, settings of providers.
    ///
    /// Ends with 0 when it is done, 1 when it was refused or failed and nothing was changed, 2
    /// when the command line is wrong.
    Admin(admin::Admin),
    /// Print every setting with its default and meaning.
    Config,
}

/// Flags that several commands share.
#[derive(Args, Clone, Default)]
struct Common {
    /// Settings file; otherwise the one that GENVID_CONFIG names, or genvid.toml in the working
    /// folder, if it is there.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder for the database, media and compiled plugins.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Folder with plugins (*.wasm); may be given several times.
    #[arg(long = "plugins", value_name = "DIR")]
    plugins: Vec<PathBuf>,
    /// How log lines look.
    #[arg(long, value_name = "FORMAT", value_parser = ["auto", "pretty", "json"])]
    log_format: Option<String>,
    /// What is logged, for example info,genvid=debug.
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
}

#[derive(Args)]
struct Serve {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    listen: Listen,
    /// What this node does; several nodes share a PostgreSQL and a Redis server.
    #[arg(long, value_name = "ROLE", value_parser = ["all", "api", "worker"])]
    role: Option<String>,
    /// Reroute the vendors to simulators that run elsewhere: the ready file of `genvid
    /// simulate` or `genvid dev`.
    #[arg(long, value_name = "FILE")]
    simulators: Option<PathBuf>,
    /// Make a local user with this mail address and print a token for it.
    #[arg(long, value_name = "EMAIL")]
    local_user: Option<String>,
    /// That user's token, so that it stays the same over restarts; better given as
    /// GENVID__DEVELOPMENT__TOKEN, which other users of the machine do not see.
    #[arg(long, value_name = "TOKEN")]
    local_token: Option<String>,
}

#[derive(Args)]
struct Listen {
    /// Port to listen on; 0 takes any free one.
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// Address to listen on.
    #[arg(long, value_name = "ADDRESS")]
    bind: Option<String>,
    /// Written once everything answers: a JSON object with the URLs, the token and the
    /// process id.
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
}

#[derive(Args)]
struct Dev {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    listen: Listen,
    /// How quick the simulated vendors are.
    #[arg(long, value_name = "SPEED", default_value = "demo", value_parser = ["instant", "demo", "realistic"])]
    speed: String,
}

#[derive(Args)]
struct Simulate {
    /// First of four ports, for HeyGen, Kling, ElevenLabs and OpenAI; 0 takes free ones.
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    port: u16,
    /// Written once all of them answer.
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
    /// Folder for made media.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// How quick they are.
    #[arg(long, value_name = "SPEED", default_value = "demo", value_parser = ["instant", "demo", "realistic"])]
    speed: String,
}

/// Runs the command line.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    files::open_as_many_as_allowed();
    // Only one provider is compiled in; naming it keeps that a choice.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("genvid: cannot start threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(run(cli.command));
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("genvid: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve(options) => serve::serve(options).await,
        Command::Dev(options) => serve::dev(options).await,
        Command::Demo(options) => demo::run(options).await,
        Command::Simulate(options) => simulators::simulate(options).await,
        Command::Schema { errors } => {
            let text = if errors {
                graphql::codes::errors_page()
            } else {
                graphql::sdl()
            };
            print!("{text}");
            Ok(ExitCode::SUCCESS)
        }
        Command::Migrate(common) => {
            let settings = common.settings(&[])?;
            start_log(&settings);
            let place = crate::app::migrate(&settings).await?;
            println!("The database {place} is up to date.");
            Ok(ExitCode::SUCCESS)
        }
        Command::Plugin(command) => plugin::run(command).await,
        Command::Batch(command) => batch::run(command).await,
        Command::Admin(command) => admin::run(command).await,
        Command::Config => {
            print!("{}", config::DEFAULTS);
            Ok(ExitCode::SUCCESS)
        }
    }
}

impl Common {
    /// The settings, with flags (these and `more`) on top.
    fn settings(&self, more: &[(&str, String)]) -> anyhow::Result<Settings> {
        let mut flags: Vec<(&str, String)> = more.to_vec();
        let text = |path: &PathBuf| path.display().to_string();
        flags.extend(self.data_dir.iter().map(|dir| ("data.dir", text(dir))));
        flags.extend(
            self.log_format
                .iter()
                .map(|format| ("log.format", format.clone())),
        );
        flags.extend(self.log.iter().map(|filter| ("log.filter", filter.clone())));
        let mut settings = config::load(self.config.as_deref(), &flags)?;
        if !self.plugins.is_empty() {
            settings.plugins.dirs.clone_from(&self.plugins);
        }
        Ok(settings)
    }
}

impl Listen {
    fn flags(&self) -> Vec<(&'static str, String)> {
        let mut flags = Vec::new();
        flags.extend(self.port.map(|port| ("server.port", port.to_string())));
        flags.extend(self.bind.iter().map(|bind| ("server.bind", bind.clone())));
        flags
    }
}

/// Log lines go to standard error, so that standard output stays for results.
fn start_log(settings: &Settings) {
    let filter =
        EnvFilter::try_new(&settings.log.filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let pretty = match settings.log.format {
        LogFormat::Pretty => true,
        LogFormat::Json => false,
        LogFormat::Auto => std::io::stderr().is_terminal(),
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    // A second start in one process (tests) keeps the first log.
    let _ = if pretty {
        builder.compact().try_init()
    } else {
        builder.json().try_init()
    };
}
