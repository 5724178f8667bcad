//! The conformance scripts against the real binary, as a client would meet it.

use crate::check::{Tally, judged, plain_result};
use crate::process::{captured, command, followed, succeeds};
use anyhow::Context as _;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

/// Where the scripts are. Its `package.json` lists them under `scripts`, each as
/// `node FILE`; each is told where the server is by the environment (`GENVID_URL`,
/// `GENVID_TOKEN`, `GENVID_DOCUMENTS`) and closes with a line `N passed, N failed`.
const FOLDER: &str = "host/tests/conformance";

/// Makes what the operations speak of, such as a job that runs, on the server of the ready
/// file `GENVID_READY_FILE`, and prints the operations that the scripts send as one JSON
/// object with the keys of the folder's `documents.json`.
const DOCUMENTS: &str = "documents.mjs";

/// The first start compiles the components, on a slow machine for a while.
const START_TIMEOUT: Duration = Duration::from_secs(180);

/// How long the server may take to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);

/// Starts `genvid dev`, runs every script and stops the server.
pub(crate) fn run(root: &Path, binary: &Path) -> anyhow::Result<Tally> {
    let folder = root.join(FOLDER);
    let package = std::fs::read_to_string(folder.join("package.json"))
        .with_context(|| format!("cannot read {FOLDER}/package.json"))?;
    let scripts = scripts(&package)?;
    let server = Server::start(root, binary)?;
    let documents = server.folder.join("documents.json");
    let made = captured(
        command(root, "node")
            .arg(DOCUMENTS)
            .current_dir(&folder)
            .env("GENVID_READY_FILE", &server.ready_file),
    )?;
    std::fs::write(&documents, made)?;
    let verifiers = std::env::join_paths(
        ["standardwebhooks", "pyjwt"].map(|folder| root.join("target/tools").join(folder)),
    )?;
    let mut sum = Tally::default();
    for (name, file) in scripts {
        eprintln!("-- {name}");
        let mut node = command(root, "node");
        node.arg(&file)
            .current_dir(&folder)
            .env("GENVID_URL", &server.ready.graphql)
            .env("GENVID_TOKEN", &server.ready.token)
            .env("GENVID_DOCUMENTS", &documents)
            // Where the set-up puts the verifiers from PyPI.
            .env("PYTHONPATH", &verifiers);
        let (success, output) = followed(&mut node)?;
        let counted = plain_result(&output);
        if counted.is_none() {
            eprintln!("{file} did not close with a line `N passed, N failed`");
        }
        let tally = judged(success && counted.is_some(), counted);
        eprintln!("-- {name}: {tally}");
        sum += tally;
    }
    server.stop()?;
    Ok(sum)
}

/// Names and files of the scripts that a `package.json` lists.
fn scripts(package: &str) -> anyhow::Result<Vec<(String, String)>> {
    let package: serde_json::Value = serde_json::from_str(package)
        .with_context(|| format!("{FOLDER}/package.json is not JSON"))?;
    let mut scripts = Vec::new();
    for (name, line) in package["scripts"].as_object().into_iter().flatten() {
        let file = line
            .as_str()
            .and_then(|line| line.strip_prefix("node "))
            .with_context(|| format!("{FOLDER}/package.json: {name} is not `node FILE`"))?;
        scripts.push((name.clone(), file.to_owned()));
    }
    anyhow::ensure!(
        !scripts.is_empty(),
        "{FOLDER}/package.json lists no scripts"
    );
    Ok(scripts)
}

/// What of the ready file the scripts need.
#[derive(Debug, PartialEq, Eq)]
struct Ready {
    graphql: String,
    token: String,
}

impl Ready {
    fn parse(text: &str) -> anyhow::Result<Self> {
        let value: serde_json::Value =
            serde_json::from_str(text).context("the ready file is not JSON")?;
        let field = |name: &str| {
            value[name]
                .as_str()
                .map(str::to_owned)
                .with_context(|| format!("the ready file has no {name}"))
        };
        Ok(Self {
            graphql: field("graphql")?,
            token: field("token")?,
        })
    }
}

/// A server of this run's own; killed when dropped.
struct Server {
    child: Child,
    root: PathBuf,
    folder: PathBuf,
    ready_file: PathBuf,
    ready: Ready,
}

impl Server {
    fn start(root: &Path, binary: &Path) -> anyhow::Result<Self> {
        let folder = root.join(format!("target/conformance/{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let ready_file = folder.join("ready.json");
        let log = std::fs::File::create(folder.join("server.log"))?;
        let child = command(root, binary)
            .args(["dev", "--port", "0", "--data-dir"])
            .arg(folder.join("data"))
            .arg("--ready-file")
            .arg(&ready_file)
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot run {}", binary.display()))?;
        let mut server = Self {
            child,
            root: root.to_path_buf(),
            folder,
            ready_file,
            ready: Ready {
                graphql: String::new(),
                token: String::new(),
            },
        };
        let deadline = Instant::now() + START_TIMEOUT;
        while !server.ready_file.is_file() {
            let ended = server.child.try_wait()?;
            if let Some(status) = ended {
                anyhow::bail!(
                    "genvid dev ended with {status} before it was ready:\n{}",
                    server.log()
                );
            }
            anyhow::ensure!(
                Instant::now() < deadline,
                "genvid dev was not ready within {} s:\n{}",
                START_TIMEOUT.as_secs(),
                server.log()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        server.ready = Ready::parse(&std::fs::read_to_string(&server.ready_file)?)?;
        Ok(server)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("server.log")).unwrap_or_default()
    }

    /// Asks the server to stop, as an operator's init system would, and expects it to.
    fn stop(mut self) -> anyhow::Result<()> {
        let early = self.child.try_wait()?;
        if let Some(status) = early {
            anyhow::bail!(
                "genvid dev ended with {status} during the scripts:\n{}",
                self.log()
            );
        }
        let process = self.child.id().to_string();
        succeeds(command(&self.root, "kill").args(["-TERM", &process]))?;
        let deadline = Instant::now() + STOP_TIMEOUT;
        loop {
            if let Some(status) = self.child.try_wait()? {
                anyhow::ensure!(
                    status.success(),
                    "genvid dev stopped with {status}:\n{}",
                    self.log()
                );
                break;
            }
            anyhow::ensure!(
                Instant::now() < deadline,
                "genvid dev did not stop within {} s:\n{}",
                STOP_TIMEOUT.as_secs(),
                self.log()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        // A folder that stays is only untidy.
        let _ = std::fs::remove_dir_all(&self.folder);
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Ready, scripts};

    #[test]
    fn scripts_are_those_of_the_package() {
        let package = r#"{"scripts":{"audit":"node audit.mjs","clients":"node clients.mjs"}}"#;
        let expected = [("audit", "audit.mjs"), ("clients", "clients.mjs")]
            .map(|(name, file)| (name.to_owned(), file.to_owned()));
        assert_eq!(scripts(package).expect("scripts"), expected);
        for wrong in [
            "{",
            "{}",
            r#"{"scripts":{}}"#,
            r#"{"scripts":{"x":"rm x"}}"#,
        ] {
            assert!(scripts(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_ready_file_says_where_and_with_what() {
        let ready = Ready::parse(r#"{"url":"http://h","graphql":"http://h/graphql","token":"t"}"#);
        assert_eq!(
            ready.expect("ready"),
            Ready {
                graphql: "http://h/graphql".to_owned(),
                token: "t".to_owned()
            }
        );
        let missing = Ready::parse(r#"{"graphql":"x"}"#).expect_err("no token");
        assert!(missing.to_string().contains("token"), "{missing}");
    }
}
