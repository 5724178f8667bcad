//! For programs that start this one: where everything answers, written at once and whole.

use std::{collections::BTreeMap, io::Write, path::Path};

use anyhow::Context;
use serde::{Deserialize, Serialize};

/// What the ready file says; only what applies.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Ready {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) graphql: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ws: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) token: Option<String>,
    pub(super) pid: u32,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) simulators: BTreeMap<String, String>,
}

impl Ready {
    pub(super) fn of_server(url: &str, token: Option<String>) -> Self {
        Self {
            url: Some(url.to_owned()),
            graphql: Some(format!("{url}/graphql")),
            ws: Some(format!("{}/graphql", url.replacen("http", "ws", 1))),
            token,
            pid: std::process::id(),
            simulators: BTreeMap::new(),
        }
    }

    /// A reader sees the whole file or none. It may hold a token, so only its owner reads it.
    pub(super) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        let mut file = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))
            .with_context(|| format!("cannot write the ready file {}", path.display()))?;
        serde_json::to_writer(&mut file, self)?;
        file.write_all(b"\n")?;
        file.persist(path)
            .with_context(|| format!("cannot write the ready file {}", path.display()))?;
        Ok(())
    }

    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_str(&text)
            .with_context(|| format!("{} is not a ready file of genvid", path.display()))
    }
}
