//! Names of blobs.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest key in bytes.
pub const MAX_KEY: usize = 512;
/// Longest part between two slashes in bytes. File systems stop at 255; the rest is left for
/// what an adapter adds.
pub const MAX_SEGMENT: usize = 200;

/// Name of one blob, for example `projects/01h5/video/01h6.mp4`.
///
/// 1 to 512 characters of `[a-z0-9._/-]`. No part between slashes is empty, starts with a
/// dot, or is longer than 200 characters, so a key can neither leave its folder nor meet the
/// hidden files that an adapter keeps.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Key(String);

/// Why a text is not a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Empty, or longer than 512 characters.
    #[error("a key has 1 to {MAX_KEY} characters, not {0}")]
    Length(usize),
    /// A character outside `[a-z0-9._/-]`.
    #[error("a key holds a-z, 0-9, '.', '_', '-' and '/', not {0:?}")]
    Character(char),
    /// A part between slashes that is empty, too long, or starts with a dot.
    #[error("part {0:?} of the key is empty, starts with a dot, or is longer than {MAX_SEGMENT}")]
    Segment(String),
}

impl Key {
    /// Checks a text against the rules of [`Key`].
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        if text.is_empty() || text.len() > MAX_KEY {
            return Err(KeyError::Length(text.chars().count()));
        }
        let allowed = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '.' | '_' | '-' | '/');
        if let Some(other) = text.chars().find(|c| !allowed(*c)) {
            return Err(KeyError::Character(other));
        }
        for segment in text.split('/') {
            if segment.is_empty() || segment.starts_with('.') || segment.len() > MAX_SEGMENT {
                return Err(KeyError::Segment(segment.to_owned()));
            }
        }
        Ok(Self(text.to_owned()))
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part after the last slash.
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for Key {
    type Err = KeyError;
    fn from_str(text: &str) -> Result<Self, KeyError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Key {
    type Error = KeyError;
    fn try_from(text: String) -> Result<Self, KeyError> {
        Self::parse(&text)
    }
}

impl From<Key> for String {
    fn from(key: Key) -> Self {
        key.0
    }
}
