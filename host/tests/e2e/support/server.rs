//! The real binary as a child process.

use std::{
    fs::{File, OpenOptions},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{PATIENCE, client::Client, world::compiled_plugins};

/// Last lines of a log that are shown when a test fails.
const SHOWN_LINES: usize = 150;

/// Everything that is needed to start a server, also a second time.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
    /// The world's folder: ready file, log and scratch go there.
    pub(crate) folder: PathBuf,
    /// Data of the server.
    pub(crate) data: PathBuf,
    /// Plugins.
    pub(crate) plugins: PathBuf,
    /// Settings file.
    pub(crate) config: PathBuf,
    /// Ready file of the simulators.
    pub(crate) simulators: PathBuf,
    /// Settings by environment.
    pub(crate) env: Vec<(String, String)>,
    /// Where to listen.
    pub(crate) port: u16,
    /// The local user, if not the usual one.
    pub(crate) user: Option<String>,
    /// That user's token.
    pub(crate) token: String,
}

impl Launch {
    fn arguments(&self, ready: &Path) -> Vec<String> {
        let path = |path: &Path| path.display().to_string();
        let mut arguments = vec![
            "serve".to_owned(),
            "--config".to_owned(),
            path(&self.config),
            "--simulators".to_owned(),
            path(&self.simulators),
            "--data-dir".to_owned(),
            path(&self.data),
            "--plugins".to_owned(),
            path(&self.plugins),
            "--port".to_owned(),
            self.port.to_string(),
            "--ready-file".to_owned(),
            path(ready),
            "--local-token".to_owned(),
            self.token.clone(),
            "--log-format".to_owned(),
            "json".to_owned(),
        ];
        if let Some(user) = &self.user {
            arguments.extend(["--local-user".to_owned(), user.clone()]);
        }
        arguments
    }
}

/// A running server. Dropping it kills it; when the test fails, its log is shown.
#[derive(Debug)]
pub(crate) struct Server {
    child: Option<Child>,
    log: PathBuf,
    /// Where it answers, for example `http://127.0.0.1:34567`.
    pub(crate) url: String,
    /// Token of its local user.
    pub(crate) token: String,
}

impl Server {
    /// Starts it and waits until it answers.
    pub(crate) async fn start(launch: &Launch) -> Self {
        Self::try_start(launch)
            .await
            .unwrap_or_else(|why| panic!("the server does not start: {why}"))
    }

    /// Starts it; an error carries what it said before it ended.
    pub(crate) async fn try_start(launch: &Launch) -> Result<Self, String> {
        let log = launch.folder.join("server.log");
        let ready = launch.folder.join("ready.json");
        // A file of an earlier start would tell of a dead server.
        let _ = std::fs::remove_file(&ready);
        let output = open_log(&log);
        let child = command(&launch.folder)
            .args(launch.arguments(&ready))
            .envs(launch.env.iter().map(|(name, value)| (name, value)))
            .stdout(output.try_clone().expect("the log twice"))
            .stderr(output)
            .spawn()
            .expect("the binary runs");
        let mut server = Self {
            child: Some(child),
            log,
            url: String::new(),
            token: String::new(),
        };
        let began = Instant::now();
        loop {
            if let Ok(text) = std::fs::read_to_string(&ready) {
                let told: Value = serde_json::from_str(&text).expect("the ready file is whole");
                server.url = super::text(&told, "/url").to_owned();
                // A node that only works has nobody to sign in.
                server.token = told["token"].as_str().unwrap_or_default().to_owned();
                return Ok(server);
            }
            if let Some(status) = server.child_status() {
                let said = std::mem::take(&mut server.log);
                return Err(format!("it ended with {status}: {}", tail(&said)));
            }
            assert!(began.elapsed() < PATIENCE, "the server is not ready");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// A client that is signed in.
    pub(crate) fn client(&self) -> Client {
        Client::new(&self.url, Some(&self.token))
    }

    /// The process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// SIGKILL: no handler runs, nothing is written any more.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("it can be killed");
            child.wait().expect("it is gone");
        }
    }

    /// SIGSTOP: the process stands still in the middle of whatever it does, until `wake`.
    pub(crate) fn freeze(&self) {
        signal(self.pid(), "STOP");
    }

    /// SIGCONT.
    pub(crate) fn wake(&self) {
        signal(self.pid(), "CONT");
    }

    /// SIGTERM, and how it ended.
    pub(crate) async fn terminate(&mut self) -> ExitStatus {
        signal(self.pid(), "TERM");
        let began = Instant::now();
        loop {
            if let Some(status) = self.child_status() {
                self.child = None;
                return status;
            }
            assert!(began.elapsed() < PATIENCE, "the server does not stop");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// What it logged so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Resident memory in bytes (`proc_pid_status(5)`, VmRSS).
    pub(crate) fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()))
            .expect("the process has a status");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .expect("VmRSS");
        let kib: u64 = line
            .trim()
            .trim_end_matches(" kB")
            .parse()
            .expect("a number");
        kib * 1_024
    }

    fn child_status(&mut self) -> Option<ExitStatus> {
        self.child
            .as_mut()
            .and_then(|child| child.try_wait().expect("the child can be asked"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Already gone is as good.
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() && self.log.is_file() {
            eprintln!("--- end of the server's log ---\n{}", tail(&self.log));
        }
    }
}

/// The binary with a clean environment: no settings and no proxies of this machine.
pub(crate) fn command(folder: &Path) -> Command {
    let scratch = folder.join("tmp");
    std::fs::create_dir_all(&scratch).expect("a scratch folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_genvid"));
    command
        .current_dir(folder)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", folder)
        .env("TMPDIR", &scratch)
        .env("RUST_BACKTRACE", "1")
        .env("GENVID__PLUGINS__CACHE_DIR", compiled_plugins())
        .stdin(Stdio::null());
    command
}

/// Runs the binary to its end.
pub(crate) async fn run(folder: &Path, arguments: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = command(folder);
    command.args(arguments).envs(env.iter().copied());
    tokio::task::spawn_blocking(move || command.output().expect("the binary runs"))
        .await
        .expect("it was waited for")
}

/// Sends a signal by its short name.
pub(crate) fn signal(pid: u32, name: &str) {
    let sent = Command::new("sh")
        .args(["-c", &format!("kill -{name} {pid}")])
        .status()
        .expect("a shell runs");
    assert!(sent.success(), "the signal was sent");
}

/// A port that is free now. Nothing keeps it free; but the kernel gives none of these to outgoing
/// connections (it begins at 32,768), and nobody else in the tests names ports.
pub(crate) fn free_port() -> u16 {
    (0..1_000)
        .map(|_| rand::random_range(20_000..32_000))
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a free port")
}

fn open_log(path: &Path) -> File {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .expect("a log file")
}

fn tail(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n")
}
