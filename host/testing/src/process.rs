//! Processes that end with whoever started them.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Mutex, PoisonError, mpsc},
    thread::JoinHandle,
};

use crate::ServerError;

/// As whom servers run that refuse to run as root.
#[derive(Debug, Clone)]
pub(super) struct Account {
    name: String,
    user: u32,
    group: u32,
}

impl Account {
    /// The account of this name, when this process is root and may take it; nobody else may,
    /// and nobody else has to.
    pub(super) fn find(name: &str) -> Option<Self> {
        if std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").ok()?) != 0 {
            return None;
        }
        let accounts = std::fs::read_to_string("/etc/passwd").ok()?;
        accounts.lines().find_map(|line| {
            // passwd(5): name:password:UID:GID:…
            let mut fields = line.split(':');
            let found = fields.next()?;
            let user = fields.nth(1)?.parse().ok()?;
            let group = fields.next()?.parse().ok()?;
            (found == name).then(|| Self {
                name: name.to_owned(),
                user,
                group,
            })
        })
    }

    /// Gives it a file or folder.
    pub(super) fn own(&self, path: &Path) -> std::io::Result<()> {
        std::os::unix::fs::chown(path, Some(self.user), Some(self.group))
    }
}

/// A command that is run as `account`.
pub(super) fn command(program: &Path, account: Option<&Account>) -> Command {
    wrapped(program, account, &[])
}

fn wrapped(program: &Path, account: Option<&Account>, options: &[&str]) -> Command {
    let mut command = Command::new("setpriv");
    command.args(options);
    if let Some(account) = account {
        command.arg(format!("--reuid={}", account.name));
        command.arg(format!("--regid={}", account.group));
        command.arg("--init-groups");
    }
    command.arg("--").arg(program);
    command
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .current_dir("/");
    command
}

/// Runs a command to its end; what it printed.
pub(super) fn output(command: &mut Command) -> Result<String, ServerError> {
    let program = command
        .get_args()
        .find(|argument| argument.as_encoded_bytes().starts_with(b"/"));
    let program = program
        .unwrap_or(command.get_program())
        .to_string_lossy()
        .into_owned();
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().map_err(|source| ServerError::Run {
        program: program.clone(),
        source,
    })?;
    if status.success() {
        return Ok(String::from_utf8_lossy(&stdout).into_owned());
    }
    Err(ServerError::Failed {
        program,
        output: format!("{status}: {}", String::from_utf8_lossy(&stderr).trim()),
    })
}

/// A running server. Dropping it ends it, and so does the end of this process, however it
/// comes.
#[derive(Debug)]
pub(super) struct Server {
    stop: Option<mpsc::Sender<()>>,
    keeper: Option<JoinHandle<()>>,
    ended: Mutex<mpsc::Receiver<String>>,
}

impl Server {
    /// Starts `program`. `signal` is what ends it, by its short name.
    pub(super) fn start(
        program: &Path,
        arguments: Vec<String>,
        account: Option<Account>,
        log: PathBuf,
        signal: &'static str,
    ) -> Result<Self, ServerError> {
        let (stop, stopped) = mpsc::channel::<()>();
        let (started, outcome) = mpsc::channel();
        let (end, ended) = mpsc::channel();
        let program = program.to_owned();
        // The signal at the parent's death comes when the thread dies that started the child
        // (prctl(2), PR_SET_PDEATHSIG), so one thread does nothing else but keep it.
        let keeper = std::thread::spawn(move || {
            let failed = |source| ServerError::Run {
                program: program.display().to_string(),
                source,
            };
            let mut child = match spawn(&program, &arguments, account.as_ref(), &log, signal) {
                Ok(child) => child,
                Err(source) => {
                    // Whoever waits for the outcome is there: it is the caller below.
                    let _ = started.send(Err(failed(source)));
                    return;
                }
            };
            let _ = started.send(Ok(()));
            let look = std::time::Duration::from_millis(100);
            while let Err(mpsc::RecvTimeoutError::Timeout) = stopped.recv_timeout(look) {
                if let Ok(Some(status)) = child.try_wait() {
                    let _ = end.send(status.to_string());
                    return;
                }
            }
            kill(&mut child, signal);
        });
        match outcome.recv() {
            Ok(Ok(())) => Ok(Self {
                stop: Some(stop),
                keeper: Some(keeper),
                ended: Mutex::new(ended),
            }),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(ServerError::Failed {
                program: "the server".to_owned(),
                output: "its keeper ended".to_owned(),
            }),
        }
    }

    /// How it ended, if it did.
    pub(super) fn ended(&self) -> Option<String> {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.try_recv().ok()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(keeper) = self.keeper.take() {
            // It panics in no case; and if it did, the child would be gone with it.
            let _ = keeper.join();
        }
    }
}

fn spawn(
    program: &Path,
    arguments: &[String],
    account: Option<&Account>,
    log: &Path,
    signal: &'static str,
) -> std::io::Result<Child> {
    let log = std::fs::File::create(log)?;
    let death = format!("--pdeathsig={signal}");
    wrapped(program, account, &[&death])
        .args(arguments)
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
}

fn kill(child: &mut Child, signal: &'static str) {
    let sent = Command::new("kill")
        .args([format!("-{signal}"), child.id().to_string()])
        .stderr(Stdio::null())
        .status();
    for _ in 0..100 {
        if let Ok(Some(_)) = child.try_wait() {
            return;
        }
        if matches!(&sent, Err(error) if error.kind() == ErrorKind::NotFound) {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    // It had two seconds.
    let _ = child.kill();
    let _ = child.wait();
}
