//! One run of a program, under limits.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};

use super::Error;

/// How much of what a program says on its standard error is kept.
const TAIL: usize = 4 * 1024;
/// What a program may say on its standard output, for example a probe's JSON.
const MAX_STDOUT: usize = 1024 * 1024;
/// Media work gives way to the server that waits for it.
const NICENESS: i32 = 10;

/// What a run may use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) time: Duration,
    /// Address space.
    pub(crate) memory_mib: u64,
    /// Each file that it writes.
    pub(crate) output_mib: u64,
    /// Multiplies the processor time that fits into `time`.
    pub(crate) threads: u32,
}

pub(crate) struct Run<'a> {
    /// For messages.
    pub(crate) name: &'static str,
    pub(crate) program: &'a Path,
    pub(crate) arguments: Vec<OsString>,
    pub(crate) folder: &'a Path,
    pub(crate) limits: Limits,
}

/// What a run that ended well said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) stdout: Vec<u8>,
    /// The end of the standard error.
    pub(crate) stderr: String,
}

impl Run<'_> {
    /// Runs the program to its end. `on_stdout` sees each piece of its standard output at
    /// once. Dropping the future, like passing the time limit, kills the program and all that
    /// it started.
    pub(crate) async fn finish(
        self,
        on_stdout: &mut (dyn FnMut(&[u8]) + Send),
    ) -> Result<Said, Error> {
        let mut child = self.spawn()?;
        let group = Group::of(&child);
        let stdout = child.stdout.take();
        let stderr = child.stderr.take();
        let mut said = Said {
            stdout: Vec::new(),
            stderr: String::new(),
        };
        let mut tail = Vec::new();
        let everything = async {
            let (read, heard, status) = tokio::join!(
                collect(stdout, &mut said.stdout, on_stdout),
                keep_tail(stderr, &mut tail),
                child.wait(),
            );
            read.and(heard)?;
            status
        };
        let outcome = tokio::time::timeout(self.limits.time, everything).await;
        let ended = outcome.is_ok();
        let result = match outcome {
            Ok(status) => {
                said.stderr = String::from_utf8_lossy(&tail).trim().to_owned();
                self.judge(status?, &said.stderr).map(|()| said)
            }
            Err(_) => Err(Error::TimedOut(self.limits.time)),
        };
        if ended {
            group.disarm();
        } else {
            drop(group);
            // Reaped here, so that no zombie stays when this future goes on to its end.
            child.wait().await?;
        }
        result
    }

    fn spawn(&self) -> Result<Child, Error> {
        let child = Command::new(self.program)
            .args(&self.arguments)
            .current_dir(self.folder)
            // The server's secrets are none of the program's business.
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("LC_ALL", "C.UTF-8")
            .env("AV_LOG_FORCE_NOCOLOR", "1")
            // Where fontconfig may keep its cache.
            .env("HOME", self.folder)
            // glibc reserves address space for each thread's arena, which the memory limit
            // counts although nothing uses it.
            .env("MALLOC_ARENA_MAX", "2")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::NotFound => Error::Missing {
                    program: self.program.into(),
                },
                _ => error.into(),
            })?;
        if let Some(pid) = pid_of(&child) {
            restrict(pid, self.limits);
        }
        Ok(child)
    }

    fn judge(&self, status: ExitStatus, stderr: &str) -> Result<(), Error> {
        let Limits {
            time,
            memory_mib,
            output_mib,
            ..
        } = self.limits;
        if status.success() {
            return Ok(());
        }
        if status.signal() == Some(Signal::XFSZ.as_raw()) || stderr.contains("File too large") {
            return Err(Error::OutputTooLarge {
                limit_mib: output_mib,
            });
        }
        if status.signal() == Some(Signal::XCPU.as_raw()) {
            return Err(Error::TimedOut(time));
        }
        let memory = [
            "Cannot allocate memory",
            "malloc of size",
            "Error while allocating",
        ];
        if memory.iter().any(|words| stderr.contains(words)) {
            return Err(Error::OutOfMemory {
                limit_mib: memory_mib,
                detail: stderr.to_owned(),
            });
        }
        Err(Error::Failed {
            program: self.name,
            status: status.to_string(),
            detail: stderr.to_owned(),
        })
    }
}

fn pid_of(child: &Child) -> Option<Pid> {
    child
        .id()
        .and_then(|id| i32::try_from(id).ok())
        .and_then(Pid::from_raw)
}

/// Sets limits on a program that has just been started. It runs its first instructions without
/// them, long before it has opened a file that a stranger made.
#[cfg(target_os = "linux")]
fn restrict(pid: Pid, limits: Limits) {
    use rustix::process::{Resource, Rlimit, prlimit, setpriority_process};
    let processor = limits.time.as_secs().saturating_add(1) * u64::from(limits.threads.max(1));
    let ceilings = [
        (Resource::As, limits.memory_mib.saturating_mul(1024 * 1024)),
        (
            Resource::Fsize,
            limits.output_mib.saturating_mul(1024 * 1024),
        ),
        (Resource::Cpu, processor),
        (Resource::Core, 0),
        (Resource::Nofile, 256),
    ];
    for (resource, ceiling) in ceilings {
        let ceiling = Rlimit {
            current: Some(ceiling),
            maximum: Some(ceiling),
        };
        if let Err(error) = prlimit(Some(pid), resource, ceiling) {
            // ESRCH: it has ended already, which is no reason to fail.
            tracing::debug!(?resource, %error, "limit not set");
        }
    }
    if let Err(error) = setpriority_process(Some(pid), NICENESS) {
        tracing::debug!(%error, "priority not set");
    }
}

/// Other systems have no way to limit another process; time, formats and sizes still are.
#[cfg(not(target_os = "linux"))]
fn restrict(pid: Pid, _limits: Limits) {
    if let Err(error) = rustix::process::setpriority_process(Some(pid), NICENESS) {
        tracing::debug!(%error, "priority not set");
    }
}

/// Kills a process group on drop.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        Self(pid_of(child))
    }

    /// The leader has been waited for: its number may soon belong to somebody else.
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.0
            && let Err(error) = kill_process_group(pid, Signal::KILL)
        {
            tracing::debug!(%error, "process group not killed");
        }
    }
}

async fn collect(
    from: Option<impl AsyncRead + Unpin>,
    into: &mut Vec<u8>,
    on_stdout: &mut (dyn FnMut(&[u8]) + Send),
) -> std::io::Result<()> {
    let Some(mut from) = from else { return Ok(()) };
    let mut piece = vec![0; 16 * 1024];
    loop {
        let count = from.read(&mut piece).await?;
        if count == 0 {
            return Ok(());
        }
        on_stdout(&piece[..count]);
        let room = MAX_STDOUT - into.len();
        into.extend_from_slice(&piece[..count.min(room)]);
    }
}

async fn keep_tail(
    from: Option<impl AsyncRead + Unpin>,
    tail: &mut Vec<u8>,
) -> std::io::Result<()> {
    let Some(mut from) = from else { return Ok(()) };
    let mut piece = vec![0; 4 * 1024];
    loop {
        let count = from.read(&mut piece).await?;
        if count == 0 {
            return Ok(());
        }
        tail.extend_from_slice(&piece[..count]);
        if tail.len() > TAIL {
            tail.drain(..tail.len() - TAIL);
        }
    }
}
