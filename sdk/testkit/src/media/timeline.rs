//! When each character of a text is spoken.

use std::fmt::Write;

/// Characters a second of Latin text, before pauses.
const LATIN: f64 = 15.0;
/// Characters a second of Chinese, Japanese and Korean text, before pauses.
const WIDE: f64 = 4.8;
/// Widest phrase that is shown at one time; a wide character counts twice.
const PHRASE_WIDTH: usize = 36;

/// A piece of text that is spoken in one breath.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Phrase {
    pub(crate) text: String,
    pub(crate) start: f64,
    pub(crate) end: f64,
}

/// When each part of a text is spoken, in seconds. It follows from the text alone, so that
/// the length of a film is known before anything is encoded; the sound is then fitted to it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Timeline {
    /// Every character with its start and its end: no gap between neighbours.
    pub(crate) characters: Vec<(char, f64, f64)>,
    /// Words, or single wide characters, without the pauses around them.
    pub(crate) words: Vec<Phrase>,
    pub(crate) phrases: Vec<Phrase>,
    pub(crate) seconds: f64,
}

/// Chinese, Japanese and Korean characters, which stand for a syllable or a word each.
pub(crate) fn is_wide(character: char) -> bool {
    matches!(character,
        '\u{1100}'..='\u{11ff}' | '\u{2e80}'..='\u{303e}' | '\u{3041}'..='\u{33ff}'
        | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{ac00}'..='\u{d7af}'
        | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
        && !matches!(character, '\u{3000}'..='\u{3002}')
}

fn ends_sentence(character: char) -> bool {
    matches!(character, '.' | '!' | '?' | '。' | '！' | '？' | '…')
}

fn ends_clause(character: char) -> bool {
    matches!(
        character,
        ',' | ';' | ':' | '，' | '、' | '；' | '：' | '—' | '\n'
    )
}

impl Timeline {
    /// The timeline of a text that is spoken at a speed, 1.0 being usual.
    pub(crate) fn of(text: &str, speed: f64) -> Self {
        let speed = speed.clamp(0.25, 4.0);
        let mut characters = Vec::new();
        let mut at = 0.0;
        let all: Vec<char> = text.chars().collect();
        for (index, &character) in all.iter().enumerate() {
            let next_is_break = all
                .get(index + 1)
                .is_none_or(|next| next.is_whitespace() || is_wide(*next) || is_wide(character));
            let wide_mark = !character.is_ascii() && next_is_break;
            let mut length = if is_wide(character) {
                1.0 / WIDE
            } else {
                1.0 / LATIN
            };
            if (next_is_break || wide_mark) && ends_sentence(character) {
                length += 0.22;
            } else if (next_is_break || wide_mark) && ends_clause(character) {
                length += 0.1;
            }
            let end = at + length / speed;
            characters.push((character, at, end));
            at = end;
        }
        let words = words(&characters, speed);
        let phrases = phrases(&words);
        Self {
            seconds: at.max(0.5),
            characters,
            words,
            phrases,
        }
    }

    /// SubRip text: one entry for each phrase.
    pub(crate) fn srt(&self) -> String {
        let mut srt = String::new();
        for (index, phrase) in self.phrases.iter().enumerate() {
            // Writing to a string cannot fail.
            let _ = write!(
                srt,
                "{}\n{} --> {}\n{}\n\n",
                index + 1,
                srt_time(phrase.start),
                srt_time(phrase.end),
                phrase.text
            );
        }
        srt
    }
}

fn srt_time(seconds: f64) -> String {
    let ms = milliseconds(seconds);
    format!(
        "{:02}:{:02}:{:02},{:03}",
        ms / 3_600_000,
        ms / 60_000 % 60,
        ms / 1_000 % 60,
        ms % 1_000
    )
}

/// Whole milliseconds; never negative.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "lengths are far below 2^52 ms, and negative ones become 0"
)]
pub(super) fn milliseconds(seconds: f64) -> u64 {
    (seconds * 1_000.0).round().max(0.0) as u64
}

fn words(characters: &[(char, f64, f64)], speed: f64) -> Vec<Phrase> {
    let mut words: Vec<Phrase> = Vec::new();
    let mut open = false;
    for &(character, start, end) in characters {
        if character.is_whitespace() {
            open = false;
            continue;
        }
        // The pause after a mark belongs to no word.
        let end = end.min(start + 1.0 / WIDE / speed);
        let end = if is_wide(character) {
            end
        } else {
            end.min(start + 1.0 / LATIN / speed)
        };
        let joins = open && !is_wide(character);
        match words.last_mut() {
            Some(word) if joins => {
                word.text.push(character);
                word.end = end;
            }
            _ => words.push(Phrase {
                text: character.to_string(),
                start,
                end,
            }),
        }
        open = true;
    }
    words
}

fn phrases(words: &[Phrase]) -> Vec<Phrase> {
    let width = |text: &str| -> usize {
        text.chars()
            .map(|character| if is_wide(character) { 2 } else { 1 })
            .sum()
    };
    let mut phrases: Vec<Phrase> = Vec::new();
    let mut full = true;
    for word in words {
        let last = word.text.chars().last().unwrap_or(' ');
        match phrases.last_mut() {
            Some(phrase) if !full && width(&phrase.text) + width(&word.text) < PHRASE_WIDTH => {
                let glued = phrase.text.chars().last().is_some_and(is_wide)
                    || word.text.chars().next().is_some_and(is_wide);
                if !glued {
                    phrase.text.push(' ');
                }
                phrase.text.push_str(&word.text);
                phrase.end = word.end;
            }
            _ => phrases.push(word.clone()),
        }
        full = ends_sentence(last)
            || (ends_clause(last)
                && phrases
                    .last()
                    .is_some_and(|phrase| width(&phrase.text) > PHRASE_WIDTH / 2));
    }
    phrases
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_follow_the_text_without_gaps() {
        let timeline = Timeline::of("Meet the bottle. It keeps cold for 24 hours!", 1.0);
        assert_eq!(timeline.characters.len(), 44);
        for pair in timeline.characters.windows(2) {
            assert_eq!(pair[0].2.to_bits(), pair[1].1.to_bits());
        }
        assert_eq!(timeline.words.len(), 9);
        let texts: Vec<&str> = timeline.phrases.iter().map(|p| p.text.as_str()).collect();
        assert_eq!(texts, ["Meet the bottle.", "It keeps cold for 24 hours!"]);
        assert!(
            (2.9..3.6).contains(&timeline.seconds),
            "{}",
            timeline.seconds
        );
    }

    #[test]
    fn chinese_is_slower_and_needs_no_blanks() {
        let timeline = Timeline::of("认识一下这个水瓶，它能保冷二十四小时。", 1.0);
        assert!(
            (3.6..4.9).contains(&timeline.seconds),
            "{}",
            timeline.seconds
        );
        assert_eq!(timeline.phrases.len(), 2);
        assert!(timeline.srt().starts_with("1\n00:00:00,000 --> 00:00:0"));
    }
}
