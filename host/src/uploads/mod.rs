//! Pictures that users send: announced, sent past the API, looked at, and only then taken.
//!
//! What is sent lands under a key of its own (`incoming`), which its sender may write to as
//! long as the link works. Completing an upload copies it, checked on the way, to a key that
//! nobody else can write to: what was looked at is what vendors get.

mod service;

use std::time::Duration;

pub(crate) use service::check_references;
pub use service::{Error, Service, Wish};

use crate::{
    ids::{UploadId, UserId},
    time::Timestamp,
};

/// Most uploads of one user that are announced and not complete.
pub const MOST_OPEN: u32 = 20;
/// Scheme of the addresses that stand for uploads where pictures are named.
const SCHEME: &str = "upload:";

/// The numbers by which uploads run. `config.default.toml` explains each.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Largest picture in bytes.
    pub max_bytes: u64,
    /// How long the link of an upload works.
    pub open_for: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_bytes: 20 << 20,
            open_for: Duration::from_secs(3_600),
        }
    }
}

/// Where an upload stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Announced.
    Open,
    /// Checked and kept.
    Ready,
    /// What arrived was not what was announced.
    Refused,
    /// Not completed in time.
    Expired,
    /// Nobody used it any more.
    Removed,
}

impl Status {
    const ALL: [Self; 5] = [
        Self::Open,
        Self::Ready,
        Self::Refused,
        Self::Expired,
        Self::Removed,
    ];

    /// The stored word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "OPEN",
            Self::Ready => "READY",
            Self::Refused => "REFUSED",
            Self::Expired => "EXPIRED",
            Self::Removed => "REMOVED",
        }
    }

    /// From the stored word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }
}

/// An upload's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// Its identifier.
    pub id: UploadId,
    /// Whose it is.
    pub owner: UserId,
    /// Where it stands.
    pub status: Status,
    /// Media type as announced; once it is ready, proved.
    pub mime: String,
    /// Size in bytes, likewise.
    pub size: u64,
    /// SHA-256 as announced, 64 lower-case hexadecimal digits.
    pub sha256: Option<String>,
    /// What its owner calls the file.
    pub file_name: Option<String>,
    /// Why it was refused: the field that does not fit, and how.
    pub refusal: Option<(String, String)>,
    /// SHA-256 of what arrived, once it is ready.
    pub found_sha256: Option<String>,
    /// When it was announced.
    pub created_at: Timestamp,
    /// When its link ends.
    pub expires_at: Timestamp,
    /// When it was ready.
    pub completed_at: Option<Timestamp>,
}

/// What stands for an upload where pictures are named: `upload:upl_…`.
#[must_use]
pub fn reference(id: UploadId) -> String {
    format!("{SCHEME}{id}")
}

/// Does this address claim to stand for an upload?
#[must_use]
pub fn is_reference(link: &str) -> bool {
    link.starts_with(SCHEME)
}

/// The upload that an address stands for.
#[must_use]
pub fn referred(link: &str) -> Option<UploadId> {
    link.strip_prefix(SCHEME)?.parse().ok()
}

/// The uploads that these addresses stand for, each once, in the order of their ids.
pub fn all_referred<'a>(links: impl IntoIterator<Item = &'a String>) -> Vec<UploadId> {
    let mut ids: Vec<_> = links
        .into_iter()
        .filter_map(|link| referred(link))
        .collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// Beginning of the keys of everything that belongs to an upload, with the last slash.
#[must_use]
pub fn folder(id: UploadId) -> String {
    format!("uploads/{id}/")
}

/// Key under which an upload arrives.
#[must_use]
pub fn incoming_key(id: UploadId) -> String {
    format!("uploads/{id}/incoming")
}

/// Key of the picture that was taken.
#[must_use]
pub fn picture_key(id: UploadId) -> String {
    format!("uploads/{id}/picture")
}
