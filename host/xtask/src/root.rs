//! Where the repository is.

use anyhow::Context as _;
use std::path::PathBuf;

/// The workspace's folder: the nearest one, from the current folder upwards, that has both
/// `Cargo.lock` and this package. cargo runs an alias in the folder where it was typed.
pub(crate) fn find() -> anyhow::Result<PathBuf> {
    let here = std::env::current_dir().context("the current folder is gone")?;
    here.ancestors()
        .find(|folder| {
            folder.join("Cargo.lock").is_file() && folder.join("host/xtask/Cargo.toml").is_file()
        })
        .map(|folder| folder.to_path_buf())
        .context("run this inside the repository: no folder above has Cargo.lock and host/xtask")
}
