//! Row 17: a large film, from the vendor to the store.

use std::{
    fs,
    io::{Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context as _;
use serde_json::json;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    client::{Connection, Watcher, find, question},
    process::local,
    rounds::{Amount, Figure, Measured, Plan, Row, Target, cpu_of, middle},
    server::{Backend, Server, memory_of},
    vendor::{FILM, Vendor},
};

pub(crate) const FETCH: Row = Row {
    number: 17,
    name: "2 GiB from a vendor",
    unit: "film",
    baseline: "a plain copy",
    // 0.8 times as fast.
    target: Target::Times(1.25),
};

const BYTES: u64 = 2 << 30;
/// Each writes so much twice.
const ROUNDS: usize = 3;
/// How often the server's memory is looked at.
const LOOK: Duration = Duration::from_millis(20);

const CREATE: &str = "mutation { createProject(input: {name: \"Bench\", productName: \"Lamp\", \
    productDescription: \"A lamp.\"}) { ... on CreateProjectSuccess { project { id } } } }";
const MAKE: &str = "mutation($input: GenerateVideoInput!) { generateVideo(input: $input) { \
    ... on GenerateVideoSuccess { job { id } } ... on Problem { code message } } }";

/// A film of a second that takes so many bytes: what players skip (ISO 14496-12, 8.1.2, `free`) fills it up.
fn film(folder: &Path, bytes: u64) -> anyhow::Result<PathBuf> {
    let path = folder.join("film.mp4");
    let made = Command::new("ffmpeg")
        .args([
            "-v",
            "error",
            "-f",
            "lavfi",
            "-i",
            "testsrc=s=360x640:d=1",
            "-f",
            "lavfi",
        ])
        .args([
            "-i", "sine=d=1", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-c:a", "aac",
        ])
        .args(["-movflags", "+faststart"])
        .arg(&path)
        .stdin(Stdio::null())
        .status()
        .context("ffmpeg does not run")?;
    anyhow::ensure!(made.success(), "ffmpeg makes no film");
    let mut file = fs::OpenOptions::new().write(true).open(&path)?;
    let length = file.seek(SeekFrom::End(0))?;
    if let Some(rest) = bytes.checked_sub(length).filter(|rest| *rest >= 8) {
        file.write_all(&u32::try_from(rest)?.to_be_bytes())?;
        file.write_all(b"free")?;
        file.set_len(bytes)?;
    }
    Ok(path)
}

/// Fetches the film into a file, as it comes.
async fn copy(port: u16, to: &Path) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(local(port)).await?;
    let request = format!("GET {FILM} HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut buffer = vec![0; 256 << 10];
    let mut filled = 0;
    let body = loop {
        let read = stream.read(&mut buffer[filled..]).await?;
        anyhow::ensure!(read > 0, "the vendor hangs up");
        filled += read;
        if let Some(end) = find(&buffer[..filled], b"\r\n\r\n") {
            break end + 4;
        }
    };
    let mut file = tokio::fs::File::create(to).await?;
    file.write_all(&buffer[body..filled]).await?;
    tokio::io::copy_buf(
        &mut tokio::io::BufReader::with_capacity(256 << 10, stream),
        &mut file,
    )
    .await?;
    // As the store does before it says that a file is there.
    file.sync_all().await?;
    Ok(())
}

async fn make(server: &Server, watcher: &Watcher, project: &str) -> anyhow::Result<()> {
    let mut connection = Connection::open(server.port).await?;
    let key = uuid::Uuid::new_v4().to_string();
    let input = json!({
        "projectId": project, "script": "A lamp.", "language": "en", "aspect": "PORTRAIT",
        "subtitles": "NONE", "provider": "test-guest", "reuse": false, "idempotencyKey": key,
        "options": { "film": format!("https://files.media.example{FILM}") },
    });
    let request = question(MAKE, &json!({ "input": input }), Some(server.token()));
    let data = connection.data(&request).await?;
    let job = data["generateVideo"]["job"]["id"].as_str();
    watcher
        .success(job.with_context(|| data.to_string())?)
        .await
}

pub(crate) async fn fetch(plan: &Plan, backend: Backend, guest: &Path) -> anyhow::Result<Measured> {
    let folder = TempDir::with_prefix("genvid-bench-")?;
    let bytes = plan.units(BYTES);
    let vendor = Arc::new(Vendor::start_with(Some(&film(folder.path(), bytes)?))?);
    let server = Server::start(backend, guest, Arc::clone(&vendor)).await?;
    let watcher = Watcher::open(server.port, server.token()).await?;
    let mut connection = Connection::open(server.port).await?;
    let request = question(CREATE, &json!({}), Some(server.token()));
    let data = connection.data(&request).await?;
    let project = data["createProject"]["project"]["id"].as_str();
    let project = project.with_context(|| data.to_string())?.to_owned();
    let target = folder.path().join("copy.mp4");
    let before = memory_of(server.pid())?;
    let (done, most) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let (pid, end, seen) = (server.pid(), Arc::clone(&done), Arc::clone(&most));
    let looking = std::thread::spawn(move || {
        while !end.load(Ordering::Relaxed) {
            seen.fetch_max(memory_of(pid).unwrap_or(0), Ordering::Relaxed);
            std::thread::sleep(LOOK);
        }
    });
    let (mut base, mut own, mut cpu) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let began = Instant::now();
        copy(vendor.port, &target).await?;
        base.push(began.elapsed().as_secs_f64());
        fs::remove_file(&target)?;
        let (began, computed) = (Instant::now(), cpu_of(pid));
        make(&server, &watcher, &project).await?;
        own.push(began.elapsed().as_secs_f64());
        cpu.extend(
            cpu_of(pid)
                .zip(computed)
                .map(|(now, then)| (now - then).as_secs_f64()),
        );
    }
    done.store(true, Ordering::Relaxed);
    let _ = looking.join();
    let (base, own, cpu) = (middle(base), middle(own), middle(cpu));
    let figure = |seconds, cpu| Figure {
        amount: Amount::Time(Duration::from_secs_f64(seconds)),
        cpu,
    };
    let grown = most.load(Ordering::Relaxed).saturating_sub(before) >> 20;
    Ok(Measured {
        row: FETCH,
        baseline: figure(base, None),
        subject: figure(own, Some(Duration::from_secs_f64(cpu))),
        times: own / base,
        notes: vec![format!(
            "{} MiB, with its digest, a look by ffprobe and a thumbnail; the server's memory grows by at most {grown} MiB \
             (target 64)",
            bytes >> 20
        )],
    })
}
