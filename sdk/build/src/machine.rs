//! What the search for a toolchain asks of the machine, behind a trait so that the search
//! can be tested on machines that do not exist.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A program call that only reads or installs: no standard input, output collected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Name (looked up in `PATH`) or path of the program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Killed after this long.
    pub timeout: Duration,
}

/// How a [`Call`] ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Whether the exit code was 0.
    pub success: bool,
    /// Standard output, lossily decoded.
    pub stdout: String,
    /// Standard error, lossily decoded.
    pub stderr: String,
}

/// The machine that builds.
pub trait Machine {
    /// Runs a program to its end.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] when there is no such program,
    /// [`io::ErrorKind::TimedOut`] when it was killed after [`Call::timeout`].
    fn call(&self, call: &Call) -> io::Result<Outcome>;

    /// Whether `path` is a file.
    fn is_file(&self, path: &Path) -> bool;

    /// Names of the entries of `folder`; empty when it cannot be read.
    fn entries(&self, folder: &Path) -> Vec<String>;

    /// Path of `program` in `PATH`.
    fn which(&self, program: &str) -> Option<PathBuf>;
}

/// The real machine. Compiler variables that an outer cargo left in the environment are not
/// passed on to the programs it runs (see [`crate::toolchain::foreign_variables`]).
#[derive(Debug, Clone)]
pub struct ThisMachine {
    /// Where programs run: the active toolchain is another one in a folder with a
    /// `rust-toolchain.toml`.
    pub folder: PathBuf,
}

impl Machine for ThisMachine {
    fn call(&self, call: &Call) -> io::Result<Outcome> {
        let mut command = Command::new(&call.program);
        command
            .args(&call.arguments)
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for name in crate::toolchain::foreign_variables() {
            command.env_remove(name);
        }
        let mut child = command.spawn()?;
        let stdout = read_aside(child.stdout.take());
        let stderr = read_aside(child.stderr.take());
        let deadline = Instant::now() + call.timeout;
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if Instant::now() >= deadline {
                child.kill()?;
                child.wait()?;
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("no answer within {} s", call.timeout.as_secs()),
                ));
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        Ok(Outcome {
            success: status.success(),
            stdout: stdout.join().unwrap_or_default(),
            stderr: stderr.join().unwrap_or_default(),
        })
    }

    fn is_file(&self, path: &Path) -> bool {
        path.is_file()
    }

    fn entries(&self, folder: &Path) -> Vec<String> {
        std::fs::read_dir(folder)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect()
    }

    fn which(&self, program: &str) -> Option<PathBuf> {
        std::env::split_paths(&std::env::var_os("PATH")?)
            .map(|folder| folder.join(program))
            .find(|path| path.is_file())
    }
}

/// Reads a pipe on a thread of its own, so that a full pipe cannot stop the child.
fn read_aside<R: Read + Send + 'static>(pipe: Option<R>) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // A pipe that breaks has said what it had to say.
            let _ = pipe.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
