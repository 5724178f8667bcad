//! Media for Genvid: where films, voices and pictures are kept, how they are handed out, and
//! how they are put together.
//!
//! - [`blob`] is the port to storage; [`folder`] is its adapter for a local folder.
//! - [`links`] signs and checks links that hand out, or take in, one blob until a given time.
//! - [`picture`] tells by the first bytes which kind of picture a blob is.
//! - [`ffmpeg`] runs ffmpeg and ffprobe under limits: probe, verify, compose, thumbnail.
//! - [`subtitles`] turns word timings into cues, SRT and WebVTT.
//!
//! Architecture invariant: this package knows nothing of jobs, users, the server's HTTP or
//! databases. The one port that it opens is for the programs that it runs itself. Every byte that it reads may come from a stranger.

pub mod blob;
mod door;
pub mod ffmpeg;
pub mod folder;
pub mod key;
pub mod links;
pub mod picture;
mod scratch;
pub mod subtitles;

pub use blob::{Blob, BlobStore, BlobWriter, ByteRange, Listed, Stat, Stored};
pub use folder::{FolderOptions, FolderStore};
pub use key::Key;
pub use links::Signer;
