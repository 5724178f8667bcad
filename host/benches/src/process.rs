//! Servers as processes of their own.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// How long a start may take before it has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A process that is killed when nobody needs it any more.
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn start(command: &mut Command) -> anyhow::Result<Self> {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Ok(Self(command.spawn()?))
    }

    /// The same, with what it says of problems.
    pub(crate) fn start_heard(command: &mut Command) -> anyhow::Result<Self> {
        command.stdin(Stdio::null()).stdout(std::io::stderr());
        Ok(Self(command.spawn()?))
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Asks `/livez` until it answers.
    pub(crate) fn first_answer(&mut self, port: u16) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            if let Ok(mut stream) = TcpStream::connect(local(port)) {
                stream.write_all(
                    b"GET /livez HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n",
                )?;
                let mut answer = String::new();
                stream.read_to_string(&mut answer)?;
                anyhow::ensure!(answer.starts_with("HTTP/1.1 200"), "it answers {answer}");
                return Ok(());
            }
            if let Some(status) = self.0.try_wait()? {
                anyhow::bail!("the server ended with {status}");
            }
            anyhow::ensure!(began.elapsed() < PATIENCE, "the server does not answer");
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

pub(crate) fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}

/// This program, which plays baselines too.
pub(crate) fn own() -> anyhow::Result<PathBuf> {
    Ok(std::env::current_exe()?)
}

/// The server, built beside this program.
pub(crate) fn genvid() -> anyhow::Result<PathBuf> {
    let binary = own()?.with_file_name("genvid");
    anyhow::ensure!(
        binary.is_file(),
        "{} is not there: build it beside this one",
        binary.display()
    );
    Ok(binary)
}

/// A command that runs the server on these data.
pub(crate) fn serve(word: &str, port: u16, data: &Path, plugins: &Path) -> anyhow::Result<Command> {
    let mut command = Command::new(genvid()?);
    command
        .args([word, "--port", &port.to_string(), "--data-dir"])
        .arg(data)
        .arg("--plugins")
        .arg(plugins);
    Ok(command)
}
