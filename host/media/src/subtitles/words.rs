//! Spoken words and when they are spoken.

use serde::{Deserialize, Serialize};

/// Longest timing document in bytes; what the provider contract allows for text.
pub const MAX_TIMING_BYTES: usize = 1024 * 1024;
/// Most words in a timing document: over two hours of fast speech.
pub const MAX_WORDS: usize = 50_000;
/// Latest time that is believed, in seconds.
const MAX_SECONDS: f64 = 24.0 * 3600.0;

/// One spoken word. In scripts without spaces a word may be a character, a phrase, or a whole
/// sentence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Word {
    /// As written, with its punctuation.
    pub text: String,
    /// Seconds from the beginning of the sound.
    pub start: f64,
    /// Seconds from the beginning of the sound, not before `start`.
    pub end: f64,
}

/// Why a timing document is of no use.
#[derive(Debug, thiserror::Error)]
pub enum TimingError {
    /// Over [`MAX_TIMING_BYTES`].
    #[error("{0} bytes of word timings, at most {MAX_TIMING_BYTES} are read")]
    TooLong(usize),
    /// Over [`MAX_WORDS`].
    #[error("{0} words, at most {MAX_WORDS} are read")]
    TooMany(usize),
    /// Not JSON, or not of the form that the provider contract gives.
    #[error("not word timings: {0}")]
    Form(#[from] serde_json::Error),
    /// A time is negative, over a day, or ends before it begins.
    #[error("word {index} lasts from {start} to {end} seconds")]
    Time {
        /// Which word, from 0.
        index: usize,
        /// Its beginning as given.
        start: f64,
        /// Its end as given.
        end: f64,
    },
}

/// Reads the `timing` output of the provider contract:
/// `{"words":[{"text":"Hi","start":0.0,"end":0.4}]}`, in seconds. Words without text are left
/// out; the rest is sorted by time.
pub fn words_from_timing(json: &str) -> Result<Vec<Word>, TimingError> {
    #[derive(Deserialize)]
    struct Timing {
        words: Vec<Word>,
    }
    if json.len() > MAX_TIMING_BYTES {
        return Err(TimingError::TooLong(json.len()));
    }
    let Timing { mut words } = serde_json::from_str(json)?;
    if words.len() > MAX_WORDS {
        return Err(TimingError::TooMany(words.len()));
    }
    for (index, &Word { start, end, .. }) in words.iter().enumerate() {
        // JSON has no NaN, so these comparisons cover every number.
        if start < 0.0 || end < start || end > MAX_SECONDS {
            return Err(TimingError::Time { index, start, end });
        }
    }
    words.retain(|word| !word.text.trim().is_empty());
    words.sort_by(|one, other| one.start.total_cmp(&other.start));
    Ok(words)
}
