//! Folders for what is not finished, which do not outlive the process that made them.
//!
//! A crash cannot clean up after itself, so every owner holds a lock on a file inside its own
//! folder for as long as it lives. The kernel lets the lock go with the process, however it
//! ends; whoever starts next removes each sibling folder whose lock is free. Several processes
//! may therefore share one parent, which a plain "remove everything at start" would not allow.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use std::{fs, io};

const LIVE: &str = "live-";
const NEW: &str = "new-";
const LOCK: &str = "lock";

/// How old a folder is before it counts as one whose maker died before it could lock it.
const HALF_MADE: Duration = Duration::from_secs(3600);

/// A folder of this process, removed on drop or by the next [`Scratch::open`] after a crash.
#[derive(Debug)]
pub(crate) struct Scratch {
    path: PathBuf,
    // Held, never read: see the module documentation.
    _lock: File,
}

impl Scratch {
    /// Makes a folder inside `parent` and removes those that dead processes left there.
    pub(crate) fn open(parent: &Path) -> io::Result<Self> {
        fs::create_dir_all(parent)?;
        let parent = parent.canonicalize()?;
        sweep(&parent)?;
        let id = uuid::Uuid::new_v4().simple();
        // Locked before it gets the name that a sweep looks for.
        let unlocked = parent.join(format!("{NEW}{id}"));
        fs::create_dir(&unlocked)?;
        let lock = File::create_new(unlocked.join(LOCK))?;
        lock.lock()?;
        let path = parent.join(format!("{LIVE}{id}"));
        fs::rename(&unlocked, &path)?;
        Ok(Self { path, _lock: lock })
    }

    /// A fresh folder inside, removed when the answer is dropped.
    pub(crate) fn folder(&self) -> io::Result<tempfile::TempDir> {
        tempfile::Builder::new()
            .prefix("run-")
            .tempdir_in(&self.path)
    }
}

/// A fresh folder for one piece of work, removed on drop.
#[derive(Debug)]
pub(crate) struct WorkFolder(Option<tempfile::TempDir>);

impl WorkFolder {
    pub(crate) fn new(folder: tempfile::TempDir) -> Self {
        Self(Some(folder))
    }

    pub(crate) fn path(&self) -> &Path {
        // Only `drop` takes the folder out.
        self.0
            .as_ref()
            .map_or(Path::new(""), tempfile::TempDir::path)
    }
}

impl Drop for WorkFolder {
    fn drop(&mut self) {
        remove_aside(self.0.take());
    }
}

/// Drops what owns files, where an async thread need not wait for it: removing a large file
/// takes a while.
pub(crate) fn remove_aside<T: Send + 'static>(owner: T) {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => drop(runtime.spawn_blocking(move || drop(owner))),
        Err(_) => drop(owner),
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "scratch folder not removed");
        }
    }
}

fn sweep(parent: &Path) -> io::Result<()> {
    for entry in fs::read_dir(parent)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let dead = if name.starts_with(LIVE) {
            owner_is_dead(&entry.path())
        } else {
            name.starts_with(NEW) && is_old(&entry)
        };
        if dead {
            kill_inhabitants(&entry.path());
            tracing::info!(path = %entry.path().display(), "removing what a crash left");
            if let Err(error) = fs::remove_dir_all(entry.path())
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!(path = %entry.path().display(), %error, "not removed");
            }
        }
    }
    Ok(())
}

fn owner_is_dead(folder: &Path) -> bool {
    match File::open(folder.join(LOCK)) {
        Ok(lock) => match lock.try_lock() {
            Ok(()) => true,
            Err(TryLockError::WouldBlock) => false,
            Err(TryLockError::Error(error)) => {
                tracing::warn!(path = %folder.display(), %error, "cannot tell who owns this");
                false
            }
        },
        // A removal was cut short after the lock file had gone.
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

fn is_old(entry: &fs::DirEntry) -> bool {
    entry
        .metadata()
        .and_then(|metadata| metadata.modified())
        .ok()
        .and_then(|modified| SystemTime::now().duration_since(modified).ok())
        .is_some_and(|age| age > HALF_MADE)
}

/// A tool that outlived a killed server still burns its processor time for nobody. It is
/// recognised by its working folder, which lies inside the dead server's scratch folder, so
/// no other process can be meant.
#[cfg(target_os = "linux")]
fn kill_inhabitants(folder: &Path) {
    let Ok(processes) = fs::read_dir("/proc") else {
        return;
    };
    for process in processes.flatten() {
        let Some(id) = process
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<i32>().ok())
        else {
            continue;
        };
        let lives_here =
            fs::read_link(process.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(folder));
        if lives_here && let Some(pid) = rustix::process::Pid::from_raw(id) {
            tracing::info!(pid = id, "stopping a tool that outlived its server");
            // It may have ended meanwhile.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn kill_inhabitants(_folder: &Path) {}
