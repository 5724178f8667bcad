//! Redis.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{
    ServerError,
    process::{Account, Server},
};

const PROGRAM: &str = "redis-server";
/// The same program, which goes by its name; Debian's `redis-tools` has it, without the
/// service that `redis-server` would start.
const TWIN: &str = "redis-check-rdb";
const FOLDERS: [&str; 3] = ["/usr/bin", "/usr/local/bin", "/opt/redis/bin"];
const BY_HAND: &str = "apt-get install -y --no-install-recommends redis-tools";
/// Ends it at once; nothing of it is to be kept.
const SIGKILL: &str = "KILL";
const PATIENCE: Duration = Duration::from_secs(20);

/// A private server that keeps everything in memory only.
#[derive(Debug)]
pub struct Redis {
    // First, so that it ends before its folder goes.
    server: Option<Server>,
    program: PathBuf,
    port: u16,
    folder: TempDir,
    account: Option<Account>,
}

impl Redis {
    /// Starts a private server on a free port.
    ///
    /// # Errors
    /// When Redis is not installed or does not start.
    pub fn start() -> Result<Self, ServerError> {
        let failed = |source| ServerError::Run {
            program: PROGRAM.to_owned(),
            source,
        };
        let folder = TempDir::with_prefix("genvid-redis-").map_err(failed)?;
        let program = match (find(PROGRAM), find(TWIN)) {
            (Some(program), _) => program,
            (None, Some(twin)) => {
                let program = folder.path().join(PROGRAM);
                std::os::unix::fs::symlink(twin, &program).map_err(failed)?;
                program
            }
            (None, None) => {
                return Err(ServerError::Missing {
                    program: "Redis",
                    by_hand: BY_HAND,
                });
            }
        };
        let account = Account::find("nobody");
        if let Some(account) = &account {
            account.own(folder.path()).map_err(failed)?;
        }
        let mut redis = Self {
            server: None,
            program,
            port: 0,
            folder,
            account,
        };
        // Somebody may take the port between choosing and listening.
        let mut outcome = Ok(());
        for _ in 0..3 {
            redis.port = TcpListener::bind("127.0.0.1:0")
                .and_then(|listener| listener.local_addr())
                .map_err(failed)?
                .port();
            outcome = redis.start_again();
            if outcome.is_ok() {
                break;
            }
        }
        outcome.map(|()| redis)
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// Ends it at once, as a crash does. Whatever it held is gone.
    pub fn stop(&mut self) {
        self.server = None;
    }

    /// Starts it again on the same port, empty.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_again(&mut self) -> Result<(), ServerError> {
        self.stop();
        let folder = self.folder.path().display().to_string();
        let arguments = [
            ("--port", self.port.to_string()),
            ("--bind", "127.0.0.1".to_owned()),
            ("--dir", folder),
            ("--save", String::new()),
            ("--appendonly", "no".to_owned()),
            ("--maxclients", "500".to_owned()),
        ]
        .into_iter()
        .flat_map(|(name, value)| [name.to_owned(), value])
        .collect();
        let log = self.folder.path().join("redis.log");
        let server = Server::start(
            &self.program,
            arguments,
            self.account.clone(),
            log.clone(),
            SIGKILL,
        )?;
        let began = Instant::now();
        while self.ask("PING").is_err() {
            let ended = server.ended();
            if ended.is_some() || began.elapsed() > PATIENCE {
                let said = std::fs::read_to_string(&log).unwrap_or_default();
                return Err(ServerError::Failed {
                    program: PROGRAM.to_owned(),
                    output: format!("{}: {said}", ended.unwrap_or_else(|| "silent".to_owned())),
                });
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        self.server = Some(server);
        Ok(())
    }

    /// Sends one command over a connection of its own; the answer as text. Words are parted
    /// by spaces. Blocks for an instant.
    ///
    /// # Errors
    /// When it does not answer, or answers with an error.
    pub fn ask(&self, command: &str) -> Result<String, ServerError> {
        let failed = |source| ServerError::Run {
            program: PROGRAM.to_owned(),
            source,
        };
        let answer = self.exchange(command).map_err(failed)?;
        match answer.strip_prefix('-') {
            Some(error) => Err(ServerError::Failed {
                program: PROGRAM.to_owned(),
                output: error.to_owned(),
            }),
            None => Ok(answer),
        }
    }

    /// Connections of others that are open now.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn connections(&self) -> Result<usize, ServerError> {
        // One of them is this one.
        Ok(self.ask("CLIENT LIST")?.lines().count().saturating_sub(1))
    }

    /// Cuts every connection, as a failing network does.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn cut(&self) -> Result<(), ServerError> {
        for kind in ["normal", "pubsub"] {
            self.ask(&format!("CLIENT KILL TYPE {kind} SKIPME yes"))?;
        }
        Ok(())
    }

    /// The inline form of the protocol, and of answers simple and bulk strings and numbers
    /// (<https://redis.io/docs/latest/develop/reference/protocol-spec/>).
    fn exchange(&self, command: &str) -> std::io::Result<String> {
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], self.port));
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(format!("{command}\r\n").as_bytes())?;
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim_end();
        if line.is_empty() {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(length) = line.strip_prefix('$') {
            let length = length.parse().unwrap_or(0);
            let mut text = vec![0; length];
            reader.read_exact(&mut text)?;
            return Ok(String::from_utf8_lossy(&text).into_owned());
        }
        Ok(line.trim_start_matches(['+', ':']).to_owned())
    }
}

fn find(program: &str) -> Option<PathBuf> {
    FOLDERS
        .map(|folder| Path::new(folder).join(program))
        .into_iter()
        .find(|path| path.is_file())
}
