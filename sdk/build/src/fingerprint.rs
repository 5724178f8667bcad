//! Tells whether a plugin must be built again, from what the last build read.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

/// Raised when the build itself changes what it makes from the same inputs.
const REVISION: u32 = 1;

/// What is remembered of a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stamp {
    /// Every file that the build read and that may change.
    pub(crate) inputs: BTreeSet<PathBuf>,
    /// Over the inputs, the toolchain and the profile.
    pub(crate) digest: String,
    /// SHA-256 of the component.
    pub(crate) output: String,
}

impl Stamp {
    /// Reads the stamp of the last build; `None` when there is none that can be read.
    pub(crate) fn read(path: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(path).ok()?).ok()
    }

    /// Writes the stamp.
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        write_atomically(path, serde_json::to_string_pretty(self)?.as_bytes())
    }
}

/// Digest over the content of `inputs` and the settings of the build. A file that cannot be
/// read counts as a content of its own, so a deleted input changes the digest.
pub(crate) fn digest(inputs: &BTreeSet<PathBuf>, toolchain: &str, profile: &str) -> String {
    let mut hasher = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hasher.update((bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    part(&REVISION.to_le_bytes());
    part(toolchain.as_bytes());
    part(profile.as_bytes());
    for path in inputs {
        part(path.as_os_str().as_encoded_bytes());
        match std::fs::read(path) {
            Ok(content) => part(&content),
            Err(_) => part(b"unreadable"),
        }
    }
    hex::encode(hasher.finalize())
}

/// Everything that a build of the package in `crate_dir` reads and that may change: what the
/// compiler wrote down in the `.d` file `noted`, the manifests above each of those files, the lock
/// file and cargo's settings. Sources of registries and of the standard library are fixed by
/// the lock file and the toolchain and are left out.
pub(crate) fn inputs(
    workspace: &Path,
    crate_dir: &Path,
    noted: &Path,
) -> io::Result<BTreeSet<PathBuf>> {
    let rule = std::fs::read_to_string(noted)?;
    let mut inputs = BTreeSet::from([
        crate_dir.join("plugin.toml"),
        crate_dir.join("Cargo.toml"),
        workspace.join("Cargo.toml"),
        workspace.join("Cargo.lock"),
        workspace.join(".cargo/config.toml"),
    ]);
    for path in dependencies(&rule) {
        if is_fixed(&path) {
            continue;
        }
        let manifest = path
            .ancestors()
            .skip(1)
            .map(|folder| folder.join("Cargo.toml"))
            .find(|manifest| manifest.is_file());
        inputs.extend(manifest);
        inputs.insert(path);
    }
    Ok(inputs)
}

fn is_fixed(path: &Path) -> bool {
    let text = path.to_string_lossy();
    text.contains("/registry/src/")
        || text.contains("/git/checkouts/")
        || text.contains("/rustlib/src/")
        || text.starts_with("/usr/src/rustc-")
}

/// The paths after the first colon of a make rule; a space in a path is written `\ `.
fn dependencies(rule: &str) -> Vec<PathBuf> {
    let Some((_, list)) = rule.lines().next().and_then(|line| line.split_once(": ")) else {
        return Vec::new();
    };
    let mut paths = Vec::new();
    let mut current = String::new();
    let mut characters = list.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' if characters.peek() == Some(&' ') => {
                current.push(' ');
                characters.next();
            }
            ' ' if !current.is_empty() => paths.push(PathBuf::from(std::mem::take(&mut current))),
            ' ' => {}
            other => current.push(other),
        }
    }
    if !current.is_empty() {
        paths.push(PathBuf::from(current));
    }
    paths
}

/// Hex SHA-256.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Writes a file so that a reader sees the old content or the new one, never a part.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.tmp", std::process::id()));
    let temporary = PathBuf::from(temporary);
    std::fs::write(&temporary, bytes)?;
    std::fs::rename(&temporary, path).inspect_err(|_| {
        // The rename's own error is the one to tell.
        let _ = std::fs::remove_file(&temporary);
    })
}
