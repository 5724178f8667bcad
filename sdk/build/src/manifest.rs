//! The little that a build needs to know of `plugin.toml`.

use serde::Deserialize;

/// Longest `plugin.toml` that is embedded, in bytes. A manifest with a JSON Schema and
/// prices takes a few KiB; the limit only stops a wrong file from being embedded.
pub const MAX_MANIFEST_BYTES: usize = 256 * 1024;

/// Who the plugin is, as its manifest says.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Identity {
    /// `[a-z][a-z0-9-]{1,31}`; also the component's file name, without `.wasm`.
    pub id: String,
    /// The plugin's own version (semver, not checked here).
    pub version: String,
}

/// Why a manifest cannot be embedded.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ManifestError {
    /// Larger than [`MAX_MANIFEST_BYTES`].
    #[error("plugin.toml has {0} bytes, at most {MAX_MANIFEST_BYTES} are allowed")]
    TooLarge(usize),
    /// Not TOML, or `id` or `version` is missing or not a string; the text names line and key.
    #[error("plugin.toml: {0}")]
    Syntax(String),
    /// The id would not be a valid name (and file name).
    #[error(
        "plugin.toml: id {0:?} must be 2 to 32 characters, a-z, 0-9 and '-', and start with a letter"
    )]
    Id(String),
    /// The version is empty.
    #[error("plugin.toml: version must not be empty")]
    Version,
}

/// Reads the identity from the text of a `plugin.toml`; other keys are not looked at.
///
/// # Errors
/// See [`ManifestError`].
pub fn identity(text: &str) -> Result<Identity, ManifestError> {
    if text.len() > MAX_MANIFEST_BYTES {
        return Err(ManifestError::TooLarge(text.len()));
    }
    let identity: Identity =
        toml::from_str(text).map_err(|error| ManifestError::Syntax(error.to_string()))?;
    if !is_valid_id(&identity.id) {
        return Err(ManifestError::Id(identity.id));
    }
    if identity.version.trim().is_empty() {
        return Err(ManifestError::Version);
    }
    Ok(identity)
}

fn is_valid_id(id: &str) -> bool {
    (2..=32).contains(&id.len())
        && id.starts_with(|first: char| first.is_ascii_lowercase())
        && id
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}
