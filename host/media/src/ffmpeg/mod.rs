//! ffmpeg and ffprobe, run under limits.
//!
//! What comes in is hostile until it has been looked at: every run has a time limit, limits on
//! memory, processor time and file size, a list of file formats and decoders it may use, no
//! network but the one door to a stored blob, no environment of the server's, and a working
//! folder that is removed whatever happens. Programs get their arguments as an array; no shell
//! is involved.

mod ass;
mod compose;
mod plan;
mod probe;
mod process;
mod source;
mod studio;
mod thumbnail;
mod tools;

pub use compose::{Composed, Composition, Subtitles};
pub use plan::{Aspect, Fit};
pub use probe::{Audio, Container, MAX_DURATION, MAX_PIXELS, MAX_SIDE, Probe, Video};
pub use source::Source;
pub use studio::{Made, Studio, StudioOptions};
pub use thumbnail::Thumbnail;
pub use tools::Tools;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why a tool did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program is not installed.
    #[error(
        "{program} was not found: install ffmpeg 5 or later (Debian: `apt-get install ffmpeg`) \
         or give the path to the program"
    )]
    Missing {
        /// The name or path that was looked for.
        program: PathBuf,
    },
    /// A program is installed but cannot be used.
    #[error("{} cannot be used: {reason}", .program.display())]
    Unusable {
        /// Path of the program.
        program: PathBuf,
        /// What it lacks, and what to install instead.
        reason: String,
    },
    /// The file is not media that can be read, is cut short, or cannot be decoded.
    #[error("not playable: {0}")]
    NotPlayable(String),
    /// The file is media, but of another kind than its media type says.
    #[error("claims to be {claimed} but is {found}")]
    NotAsClaimed {
        /// The media type that was promised.
        claimed: String,
        /// What was found instead.
        found: String,
    },
    /// Readable, but not good for what it is wanted for, for example a film without pictures.
    #[error("unsuitable: {0}")]
    Unsuitable(String),
    /// More pixels or playing time than is worked on.
    #[error("over the limits: {0}")]
    OverLimits(String),
    /// The run took longer than its time limit and was stopped.
    #[error("stopped after {0:?}")]
    TimedOut(Duration),
    /// The run needed more memory than its limit.
    #[error("needs more than {limit_mib} MiB of memory: {detail}")]
    OutOfMemory {
        /// The limit, in MiB.
        limit_mib: u64,
        /// End of what the program said.
        detail: String,
    },
    /// The result would be larger than its limit.
    #[error("the result is larger than {limit_mib} MiB")]
    OutputTooLarge {
        /// The limit, in MiB.
        limit_mib: u64,
    },
    /// The program failed for another reason.
    #[error("{program} failed ({status}): {detail}")]
    Failed {
        /// `ffmpeg` or `ffprobe`.
        program: &'static str,
        /// How it ended.
        status: String,
        /// End of what it said, at most 4 KiB.
        detail: String,
    },
    /// The disk failed, or a file is not there.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Error {
    /// True when the same input can never succeed; false when the machine, its set-up or its
    /// load is at fault and another try may help.
    pub fn is_final(&self) -> bool {
        match self {
            Self::NotPlayable(_)
            | Self::NotAsClaimed { .. }
            | Self::Unsuitable(_)
            | Self::OverLimits(_)
            | Self::OutputTooLarge { .. } => true,
            Self::Missing { .. }
            | Self::Unusable { .. }
            | Self::TimedOut(_)
            | Self::OutOfMemory { .. }
            | Self::Failed { .. }
            | Self::Io(_) => false,
        }
    }
}
