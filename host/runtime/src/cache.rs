//! Compiled plugins on disk. The engine trusts compiled code blindly, so only what this host
//! wrote itself is read back: from a folder that nobody else may write to, and only when the
//! checksum in front of it fits.

use std::fs;
use std::hash::{Hash, Hasher};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::error::Error;

const CHECKSUM: usize = 32;

/// The folder, and the part of each file's name that stands for the engine.
#[derive(Debug)]
pub(crate) struct Cache {
    folder: PathBuf,
    engine: String,
    serial: AtomicU64,
}

impl Cache {
    /// Uses `folder`, making it when it is missing.
    pub(crate) fn open(folder: PathBuf, engine: &Engine) -> Result<Self, Error> {
        let wrong = |why: String| Error::Cache(format!("{}: {why}", folder.display()));
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .map_err(|error| wrong(error.to_string()))?;
        let mode = fs::metadata(&folder)
            .map_err(|error| wrong(error.to_string()))?
            .permissions();
        if mode.mode() & 0o022 != 0 {
            return Err(wrong(
                "others may write to it; only this host may".to_owned(),
            ));
        }
        let mut hasher = Sha(Sha256::new());
        engine.precompile_compatibility_hash().hash(&mut hasher);
        let engine = hex::encode(&hasher.0.finalize()[..8]);
        Ok(Self {
            folder,
            engine,
            serial: AtomicU64::new(0),
        })
    }

    fn path(&self, digest: &str) -> PathBuf {
        self.folder.join(format!("{digest}-{}.cwasm", self.engine))
    }

    /// The compiled form of the component with this digest, unless it is missing or damaged.
    pub(crate) fn get(&self, engine: &Engine, digest: &str) -> Option<Component> {
        let path = self.path(digest);
        let file = match fs::read(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "a compiled plugin is unreadable");
                return None;
            }
        };
        let code = match file.split_at_checked(CHECKSUM) {
            Some((checksum, code)) if Sha256::digest(code).as_slice() == checksum => code,
            Some(_) | None => {
                tracing::warn!(path = %path.display(), "a compiled plugin is damaged");
                return None;
            }
        };
        #[expect(unsafe_code, reason = "the only way to take compiled code back")]
        // SAFETY: the bytes are what `put` wrote: the checksum fits, and the folder is writable
        // for this host's user alone. The engine itself refuses what another version or
        // another configuration of it has compiled.
        let component = unsafe { Component::deserialize(engine, code) };
        component
            .inspect_err(|error| {
                tracing::warn!(path = %path.display(), error = format!("{error:#}"),
                    "a compiled plugin is refused");
            })
            .ok()
    }

    /// Keeps a compiled component. A failure costs time at the next start and nothing else.
    pub(crate) fn put(&self, digest: &str, component: &Component) {
        let path = self.path(digest);
        let kept = component
            .serialize()
            .map_err(io::Error::other)
            .and_then(|code| self.write(&path, &code));
        if let Err(error) = kept {
            tracing::warn!(path = %path.display(), %error, "a compiled plugin is not kept");
        }
    }

    /// Writes beside the target and renames, so that a reader never sees a part.
    fn write(&self, path: &Path, code: &[u8]) -> io::Result<()> {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let beside = path.with_extension(format!("{}-{serial}.part", std::process::id()));
        let written = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&beside)
            .and_then(|mut file| {
                file.write_all(&Sha256::digest(code))?;
                file.write_all(code)?;
                file.sync_all()
            })
            .and_then(|()| fs::rename(&beside, path));
        if written.is_err()
            && let Err(error) = fs::remove_file(&beside)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::debug!(path = %beside.display(), %error, "a leftover stays");
        }
        written
    }
}

/// Feeds what would be hashed for a hash map into SHA-256, whose result is the same in every
/// process.
struct Sha(Sha256);

impl Hasher for Sha {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        0
    }
}
