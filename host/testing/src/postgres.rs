//! PostgreSQL.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{
    ServerError,
    process::{Account, Server, command, output},
};

/// Where Debian puts each version's programs.
const DEBIAN: &str = "/usr/lib/postgresql";
const BY_HAND: &str = "apt-get install -y --no-install-recommends postgresql";
/// Immediate shutdown: no checkpoint, nothing left behind.
const SIGNAL: &str = "QUIT";
const PATIENCE: Duration = Duration::from_secs(60);

/// A private server, or one that is there already.
///
/// It has two users beside the superuser: `genvid_owner`, who owns the databases that
/// [`Postgres::database`] makes, and `genvid_web`, who owns nothing.
#[derive(Debug)]
pub struct Postgres {
    // First, so that it ends before its folder goes.
    server: Option<Server>,
    programs: PathBuf,
    host: String,
    port: u16,
    folder: Option<TempDir>,
    account: Option<Account>,
    /// Each commit is flushed.
    durable: bool,
}

/// An empty database of a server.
#[derive(Debug, Clone)]
pub struct Database {
    /// Its name.
    pub name: String,
    /// For its owner.
    pub owner_url: String,
    /// For somebody who has no rights of his own.
    pub url: String,
    /// For the superuser.
    pub super_url: String,
}

impl Postgres {
    /// Starts a private server, on a free port, without any durability.
    ///
    /// # Errors
    /// When PostgreSQL is not installed or does not start.
    pub fn start() -> Result<Self, ServerError> {
        Self::start_with(false)
    }

    /// The same with PostgreSQL's own settings: what is committed is on the disk. For
    /// measurements.
    ///
    /// # Errors
    /// As for [`Postgres::start`].
    pub fn start_durable() -> Result<Self, ServerError> {
        Self::start_with(true)
    }

    fn start_with(durable: bool) -> Result<Self, ServerError> {
        let programs = programs().ok_or(ServerError::Missing {
            program: "PostgreSQL",
            by_hand: BY_HAND,
        })?;
        let account = Account::find("postgres");
        let folder =
            TempDir::with_prefix("genvid-postgres-").map_err(|source| run("mkdir", source))?;
        if let Some(account) = &account {
            account
                .own(folder.path())
                .map_err(|source| run("chown", source))?;
        }
        let data = folder.path().join("data");
        output(
            command(&programs.join("initdb"), account.as_ref())
                .args(["--no-sync", "--no-instructions", "--auth=trust"])
                .args(["--username=postgres", "--encoding=UTF8", "--locale=C.UTF-8"])
                .arg("--pgdata")
                .arg(&data),
        )?;
        let mut postgres = Self {
            server: None,
            programs,
            host: "127.0.0.1".to_owned(),
            port: 0,
            folder: Some(folder),
            account,
            durable,
        };
        postgres.launch()?;
        for role in [
            "genvid_owner LOGIN CREATEROLE",
            "genvid_web LOGIN NOINHERIT",
        ] {
            postgres.sql("postgres", &format!("CREATE ROLE {role}"))?;
        }
        Ok(postgres)
    }

    /// A server on this machine that somebody else started, with [`Postgres::start`].
    ///
    /// # Errors
    /// When the programs to talk to it are not installed.
    pub fn at(port: u16) -> Result<Self, ServerError> {
        let programs = programs().ok_or(ServerError::Missing {
            program: "PostgreSQL",
            by_hand: BY_HAND,
        })?;
        Ok(Self {
            server: None,
            programs,
            host: "127.0.0.1".to_owned(),
            port,
            folder: None,
            account: None,
            durable: false,
        })
    }

    /// Its port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Makes an empty database, whose name nobody else has.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn database(&self) -> Result<Database, ServerError> {
        let name = format!("genvid_{}", uuid::Uuid::new_v4().simple());
        self.sql(
            "postgres",
            &format!("CREATE DATABASE {name} OWNER genvid_owner"),
        )?;
        let url = |user: &str| format!("postgres://{user}@{}:{}/{name}", self.host, self.port);
        Ok(Database {
            owner_url: url("genvid_owner"),
            url: url("genvid_web"),
            super_url: url("postgres"),
            name,
        })
    }

    /// Runs statements as the superuser; the rows, a line each, columns parted by `|`.
    ///
    /// # Errors
    /// With what the server said.
    pub fn sql(&self, database: &str, statements: &str) -> Result<String, ServerError> {
        output(
            command(&self.programs.join("psql"), None)
                .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"])
                .args(["-h", &self.host, "-p", &self.port.to_string()])
                .args(["-U", "postgres", "-d", database, "-c", statements]),
        )
    }

    /// Cuts every connection to a database, as a failing network does.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn cut(&self, database: &str) -> Result<(), ServerError> {
        self.sql(
            "postgres",
            &format!(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'"
            ),
        )?;
        Ok(())
    }

    /// Ends the server at once, as a crash does. Its data stay.
    pub fn stop(&mut self) {
        self.server = None;
    }

    /// Starts it again on the same port.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_again(&mut self) -> Result<(), ServerError> {
        self.stop();
        self.listen(self.port)
    }

    fn launch(&mut self) -> Result<(), ServerError> {
        // Somebody may take the port between choosing and listening.
        for _ in 0..3 {
            let port = TcpListener::bind("127.0.0.1:0")
                .and_then(|listener| listener.local_addr())
                .map_err(|source| run("bind", source))?
                .port();
            match self.listen(port) {
                Err(ServerError::Failed { output, .. })
                    if output.contains("Address already in use") => {}
                outcome => return outcome,
            }
        }
        Err(ServerError::Failed {
            program: "postgres".to_owned(),
            output: "no port is free".to_owned(),
        })
    }

    fn listen(&mut self, port: u16) -> Result<(), ServerError> {
        let Some(folder) = &self.folder else {
            return Err(ServerError::Failed {
                program: "postgres".to_owned(),
                output: "somebody else started this server".to_owned(),
            });
        };
        let folder = folder.path();
        let data = folder.join("data");
        let log = folder.join("postgres.log");
        let mut arguments = vec![
            "-D".to_owned(),
            data.display().to_string(),
            "-p".to_owned(),
            port.to_string(),
            "-k".to_owned(),
            folder.display().to_string(),
        ];
        let without_durability = [
            "fsync=off",
            "synchronous_commit=off",
            "full_page_writes=off",
        ];
        for setting in [
            "listen_addresses=127.0.0.1",
            "max_connections=300",
            "shared_buffers=64MB",
        ]
        .into_iter()
        .chain(without_durability.into_iter().filter(|_| !self.durable))
        {
            arguments.extend(["-c".to_owned(), setting.to_owned()]);
        }
        let server = Server::start(
            &self.programs.join("postgres"),
            arguments,
            self.account.clone(),
            log.clone(),
            SIGNAL,
        )?;
        self.port = port;
        let began = Instant::now();
        while !is_ready(&data) {
            if let Some(status) = server.ended() {
                let said = std::fs::read_to_string(&log).unwrap_or_default();
                return Err(ServerError::Failed {
                    program: "postgres".to_owned(),
                    output: format!("{status}: {said}"),
                });
            }
            if began.elapsed() > PATIENCE {
                return Err(ServerError::Failed {
                    program: "postgres".to_owned(),
                    output: "it does not come up".to_owned(),
                });
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        self.server = Some(server);
        Ok(())
    }
}

/// The newest installed version's programs: Debian's place, or where `postgres` is in PATH.
fn programs() -> Option<PathBuf> {
    let version = |path: &Path| -> Option<u32> { path.file_name()?.to_str()?.parse().ok() };
    let debian = std::fs::read_dir(DEBIAN)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join("bin/postgres").is_file())
        .max_by_key(|path| version(path))
        .map(|path| path.join("bin"));
    debian.or_else(|| {
        ["/usr/local/bin", "/usr/bin", "/usr/local/pgsql/bin"]
            .map(PathBuf::from)
            .into_iter()
            .find(|folder| folder.join("postgres").is_file() && folder.join("initdb").is_file())
    })
}

/// The last line of `postmaster.pid` is the server's state (PostgreSQL's `pidfile.h`,
/// `LOCK_FILE_LINE_PM_STATUS`).
fn is_ready(data: &Path) -> bool {
    std::fs::read_to_string(data.join("postmaster.pid")).is_ok_and(|text| {
        text.lines()
            .nth(7)
            .is_some_and(|state| state.trim() == "ready")
    })
}

fn run(program: &str, source: std::io::Error) -> ServerError {
    ServerError::Run {
        program: program.to_owned(),
        source,
    }
}
