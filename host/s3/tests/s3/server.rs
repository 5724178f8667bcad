//! Private servers: each on a free port with a folder of its own, gone when it is dropped.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use genvid_s3::{Credentials, S3Options};
use genvid_testing::{BUCKET, KEY_ID, ObjectStore, SECRET};
use tempfile::TempDir;
use url::Url;

/// moto starts in a second or two; a busy machine takes its time.
const START: Duration = Duration::from_secs(90);

/// moto, in a process of its own. Keeps overwriting and checksums as AWS does; any key is good.
pub(crate) struct Moto {
    port: u16,
    process: Child,
    _folder: TempDir,
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Moto {
    pub(crate) async fn start() -> Self {
        let mut said = String::new();
        // Somebody else may take the port between the two looks at it.
        for _ in 0..3 {
            let folder = tempfile::tempdir().unwrap();
            let port = free_port();
            let log = folder.path().join("log");
            let output = File::create(&log).unwrap();
            let mut command = Command::new("python3");
            command
                .args(["-m", "moto.server", "-H", "127.0.0.1", "-p"])
                .arg(port.to_string())
                .env("TMPDIR", folder.path())
                .stdin(Stdio::null())
                .stdout(output.try_clone().unwrap())
                .stderr(output);
            let tools = root().join("target/tools/moto");
            if tools.is_dir() {
                command.env("PYTHONPATH", tools);
            }
            let process = command
                .spawn()
                .expect("python3, which `cargo xtask setup` asks for");
            let mut server = Self {
                port,
                process,
                _folder: folder,
            };
            if server.listens().await {
                server.make_bucket().await;
                return server;
            }
            said = std::fs::read_to_string(&log).unwrap_or_default();
        }
        panic!("moto did not start; `cargo xtask setup` installs it. It said:\n{said}");
    }

    async fn listens(&mut self) -> bool {
        let began = Instant::now();
        while began.elapsed() < START {
            if self.process.try_wait().unwrap().is_some() {
                return false;
            }
            let address = ("127.0.0.1", self.port);
            if tokio::net::TcpStream::connect(address).await.is_ok() {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        false
    }

    async fn make_bucket(&self) {
        let bucket = self.address().join(BUCKET).unwrap();
        let made = reqwest::Client::new().put(bucket).send().await.unwrap();
        assert!(made.status().is_success(), "{}", made.status());
    }
}

/// A server that is running.
pub(crate) trait Server {
    fn port(&self) -> u16;

    /// Its address.
    fn address(&self) -> Url {
        format!("http://127.0.0.1:{}", self.port()).parse().unwrap()
    }

    /// Settings for it.
    fn options(&self) -> S3Options {
        options(self.address())
    }
}

impl Server for Moto {
    fn port(&self) -> u16 {
        self.port
    }
}

impl Server for ObjectStore {
    fn port(&self) -> u16 {
        self.port()
    }
}

/// Settings for a server at an address, with its user's keys.
pub(crate) fn options(endpoint: Url) -> S3Options {
    let credentials = Credentials {
        access_key_id: KEY_ID.to_owned(),
        secret_access_key: SECRET.to_owned().into(),
        session_token: None,
    };
    S3Options {
        endpoint: Some(endpoint),
        path_style: true,
        prefix: "test/".to_owned(),
        ..S3Options::new(BUCKET, "us-east-1", credentials)
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
