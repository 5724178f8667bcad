//! From the times of characters to the times of words.

use genvid_sdk::prelude::*;
use serde::{Deserialize, Serialize};

/// Times of the characters, in seconds from the start of the sound. The three lists have
/// equal lengths, or the whole is ignored.
#[derive(Debug, Deserialize)]
pub(crate) struct Alignment {
    characters: Vec<String>,
    character_start_times_seconds: Vec<f64>,
    character_end_times_seconds: Vec<f64>,
}

/// The two alignments of an answer or of a history item; either may be missing.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Alignments {
    /// Follows the text as it was given.
    #[serde(default)]
    alignment: Option<Alignment>,
    /// Follows the text as it was spoken: `24` is `twenty four` here.
    #[serde(default)]
    normalized_alignment: Option<Alignment>,
}

/// One entry of a `timing` output.
#[derive(Debug, PartialEq, Serialize)]
struct Word {
    text: String,
    start: f64,
    end: f64,
}

/// The `timing` output of what is left of an answer once its sound is taken out. The sound
/// is there and paid, so an alignment that cannot be read is no reason to fail.
pub(crate) fn of_answer(rest: &str) -> Option<Output> {
    match serde_json::from_str::<Alignments>(rest) {
        Ok(alignments) => alignments.output(),
        Err(error) => {
            report::warn(format!("the word timings cannot be read: {error}"));
            None
        }
    }
}

impl Alignments {
    /// The `timing` output, from the text as given if possible, since subtitles show that.
    pub(crate) fn output(&self) -> Option<Output> {
        let words = [&self.alignment, &self.normalized_alignment]
            .into_iter()
            .flatten()
            .map(Alignment::words)
            .find(|words| !words.is_empty())?;
        Some(Output {
            role: Role::Timing,
            media: Media::Text(json!({ "words": words }).to_string()),
            mime: "application/json".to_owned(),
            duration_ms: None,
            metadata: None,
        })
    }
}

impl Alignment {
    /// Words end at whitespace. Scripts that are written without spaces give one word for
    /// each character, or a whole sentence would be one subtitle.
    fn words(&self) -> Vec<Word> {
        let count = self.characters.len();
        if self.character_start_times_seconds.len() != count
            || self.character_end_times_seconds.len() != count
        {
            report::warn("the vendor's word timings have lists of different lengths");
            return Vec::new();
        }
        let mut words: Vec<Word> = Vec::new();
        let mut open = false;
        for (index, text) in self.characters.iter().enumerate() {
            let Some(first) = text.chars().next() else {
                continue;
            };
            if first.is_whitespace() {
                open = false;
                continue;
            }
            let start = self.character_start_times_seconds[index].max(0.0);
            let end = self.character_end_times_seconds[index].max(start);
            match words.last_mut() {
                Some(word) if open && word.takes(first) => {
                    word.text.push_str(text);
                    word.end = end.max(word.end);
                }
                _ => words.push(Word {
                    text: text.clone(),
                    start,
                    end,
                }),
            }
            open = true;
        }
        words
    }
}

impl Word {
    /// Whether the next character belongs to this word. Punctuation does in every script.
    fn takes(&self, next: char) -> bool {
        let closed = self.text.chars().next().is_some_and(stands_alone);
        !stands_alone(next) && (!closed || !next.is_alphanumeric())
    }
}

/// Han and kana: written without spaces between words.
fn stands_alone(character: char) -> bool {
    matches!(character,
        '\u{3041}'..='\u{3096}'
        | '\u{30A1}'..='\u{30FA}'
        | '\u{3400}'..='\u{9FFF}'
        | '\u{F900}'..='\u{FAFF}'
        | '\u{20000}'..='\u{3FFFF}')
}
