//! Subtitles: from word timings, or from a text alone, to cues, SRT and WebVTT.

mod cues;
mod formats;
mod units;
mod words;

pub use cues::{Cue, CueOptions, cues, cues_from_text};
pub use formats::{ParseError, parse_srt, to_srt, to_vtt};
pub use units::display_width;
pub use words::{MAX_TIMING_BYTES, MAX_WORDS, TimingError, Word, words_from_timing};
