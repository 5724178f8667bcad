//! Groups words into cues that can be read.

use serde::{Deserialize, Serialize};

use super::units::{Unit, display_width, is_closing, is_unspaced, units, weight};
use super::words::Word;
use crate::ffmpeg::Aspect;

/// Columns of one line per character of an unspaced script.
const WIDE: usize = 2;

/// Text that is shown for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cue {
    /// Milliseconds from the beginning of the film.
    pub start_ms: u64,
    /// Milliseconds from the beginning of the film, after `start_ms`.
    pub end_ms: u64,
    /// From top to bottom, at least one, none empty.
    pub lines: Vec<String>,
}

/// How much text is shown at once, and for how long. 42 characters in each of two lines is
/// the limit of Netflix's "Timed Text Style Guide" for English; the other defaults are this
/// project's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CueOptions {
    /// Characters in a line of a script with spaces, at least 8.
    pub max_chars_per_line: usize,
    /// Characters in a line of Chinese or Japanese, at least 4.
    pub max_cjk_chars_per_line: usize,
    /// Lines shown at once, at least 1.
    pub max_lines: usize,
    /// Longest time that a cue is shown, in milliseconds.
    pub max_ms: u64,
    /// Shortest time that a cue is shown when the next one leaves room, in milliseconds.
    pub min_ms: u64,
    /// Time without any text between two cues, in milliseconds, where the words leave room.
    pub min_gap_ms: u64,
    /// A silence of this many milliseconds ends a cue.
    pub pause_ms: u64,
}

impl Default for CueOptions {
    fn default() -> Self {
        Self {
            max_chars_per_line: 42,
            max_cjk_chars_per_line: 20,
            max_lines: 2,
            max_ms: 6_000,
            min_ms: 800,
            min_gap_ms: 40,
            pause_ms: 700,
        }
    }
}

impl CueOptions {
    /// Shorter lines for narrower pictures, so that burned-in letters stay large enough.
    pub fn for_aspect(aspect: Aspect) -> Self {
        let (latin, cjk) = match aspect {
            Aspect::Landscape => (42, 20),
            Aspect::Square => (32, 15),
            Aspect::Portrait => (24, 11),
        };
        Self {
            max_chars_per_line: latin,
            max_cjk_chars_per_line: cjk,
            ..Self::default()
        }
    }
}

/// Groups words into cues: in order, without overlap, every word kept. Cues end at sentence
/// ends and silences; where a sentence is too long, at a comma if there is one in its second
/// half. Two lines are made about equally long.
pub fn cues(words: &[Word], options: CueOptions) -> Vec<Cue> {
    let ruler = Ruler::new(options);
    let units = units(words, ruler.longest_unit());
    timed(group(&units, &ruler), &ruler)
}

/// Cues for a text of which only the whole length is known, `duration_ms`: each word gets its
/// share by its letters, with pauses at punctuation.
pub fn cues_from_text(text: &str, duration_ms: u64, options: CueOptions) -> Vec<Cue> {
    let tokens: Vec<&str> = text.split_whitespace().collect();
    let whole: u64 = tokens.iter().map(|token| weight(token)).sum();
    let seconds = |done: u64| duration_ms as f64 / 1000.0 * done as f64 / whole.max(1) as f64;
    let mut done = 0;
    let words: Vec<Word> = tokens
        .into_iter()
        .map(|token| {
            let start = seconds(done);
            done += weight(token);
            Word {
                text: token.to_owned(),
                start,
                end: seconds(done),
            }
        })
        .collect();
    let mut cues = cues(&words, options);
    // Of more cues than there are milliseconds the last ones would come after the end.
    cues.retain(|cue| cue.start_ms < duration_ms);
    cues
}

/// Measures lines in parts of a line, so that mixed scripts share one limit.
struct Ruler {
    options: CueOptions,
    latin: usize,
    cjk: usize,
}

impl Ruler {
    fn new(options: CueOptions) -> Self {
        let options = CueOptions {
            max_lines: options.max_lines.max(1),
            max_ms: options.max_ms.max(100),
            ..options
        };
        Self {
            options,
            latin: options.max_chars_per_line.max(8),
            cjk: options.max_cjk_chars_per_line.max(4),
        }
    }

    /// A line holds `latin` letters of `cjk` parts each, or `cjk` letters of `latin` parts.
    fn line(&self) -> usize {
        self.latin * self.cjk
    }

    fn width(&self, text: &str) -> usize {
        let unspaced = text.chars().filter(|c| is_unspaced(*c)).count();
        let rest = display_width(text) - (unspaced * WIDE).min(display_width(text));
        unspaced * self.latin + rest * self.cjk
    }

    /// Columns of a unit that fits into a line in every script.
    fn longest_unit(&self) -> usize {
        self.latin.min(self.cjk * WIDE)
    }

    fn space(&self) -> usize {
        self.cjk
    }

    /// Fills lines one after the other; answers where each begins.
    fn wrap(&self, units: &[Unit]) -> Vec<usize> {
        let mut begins = Vec::new();
        let mut used = 0;
        for (index, unit) in units.iter().enumerate() {
            let width = self.width(&unit.text);
            let space = if unit.spaced { self.space() } else { 0 };
            if begins.is_empty() || used + space + self.body(&unit.text) > self.line() {
                begins.push(index);
                used = width;
            } else {
                used += space + width;
            }
        }
        begins
    }

    /// Width without a full-width comma or full stop at the end, which may hang over the edge
    /// as it does in print.
    fn body(&self, text: &str) -> usize {
        self.width(text.trim_end_matches(|c| is_unspaced(c) && is_closing(c)))
    }

    /// Width of all that a line shows.
    fn measure(&self, units: &[Unit]) -> usize {
        let spaces = units.iter().skip(1).filter(|unit| unit.spaced).count() * self.space();
        spaces
            + units
                .iter()
                .map(|unit| self.width(&unit.text))
                .sum::<usize>()
    }

    fn fits(&self, units: &[Unit]) -> bool {
        let hanging = units
            .last()
            .map_or(0, |last| self.width(&last.text) - self.body(&last.text));
        self.measure(units) - hanging <= self.line()
    }

    fn lines(&self, units: &[Unit]) -> Vec<String> {
        let mut begins = self.wrap(units);
        if begins.len() == 2 {
            begins[1] = self.middle(units).unwrap_or(begins[1]);
        }
        begins.push(units.len());
        begins
            .windows(2)
            .map(|range| text(&units[range[0]..range[1]]))
            .collect()
    }

    /// How much more unequal two lines may be to be parted at a comma. In scripts without
    /// spaces every other place may be the middle of a word.
    fn clause_bonus(&self, units: &[Unit]) -> usize {
        let unspaced = units
            .iter()
            .filter(|unit| unit.text.starts_with(is_unspaced))
            .count();
        if unspaced * 2 > units.len() {
            self.line() * 2 / 3
        } else {
            self.line() / 3
        }
    }

    /// Where two lines become about equally long; after a comma or a full stop rather than
    /// between two words that belong together.
    fn middle(&self, units: &[Unit]) -> Option<usize> {
        (1..units.len())
            .filter_map(|at| {
                let (above, below) = (self.measure(&units[..at]), self.measure(&units[at..]));
                let fits = self.fits(&units[..at]) && self.fits(&units[at..]);
                let bonus = if ends_clause(&units[at - 1]) {
                    self.clause_bonus(units)
                } else {
                    0
                };
                fits.then(|| (above.abs_diff(below).saturating_sub(bonus), at))
            })
            .min()
            .map(|(_, at)| at)
    }
}

fn text(units: &[Unit]) -> String {
    let mut text = String::new();
    for (index, unit) in units.iter().enumerate() {
        if index > 0 && unit.spaced {
            text.push(' ');
        }
        text.push_str(&unit.text);
    }
    text
}

fn last_letter(unit: &Unit) -> Option<char> {
    unit.text
        .chars()
        .rev()
        .find(|c| !matches!(c, '"' | '\'' | '”' | '’' | '»' | ')' | '）' | '」' | '』'))
}

fn ends_sentence(unit: &Unit) -> bool {
    last_letter(unit).is_some_and(|c| matches!(c, '.' | '!' | '?' | '…' | '。' | '！' | '？'))
}

fn ends_clause(unit: &Unit) -> bool {
    ends_sentence(unit)
        || last_letter(unit)
            .is_some_and(|c| matches!(c, ',' | ';' | ':' | '—' | '，' | '、' | '；' | '：'))
}

/// Cuts units into groups, one for each cue.
fn group<'a>(units: &'a [Unit], ruler: &Ruler) -> Vec<&'a [Unit]> {
    let options = &ruler.options;
    let mut groups = Vec::new();
    let mut begin = 0;
    let mut at = 0;
    while at < units.len() {
        if at > begin {
            let (first, last, next) = (&units[begin], &units[at - 1], &units[at]);
            let silence = next.start_ms.saturating_sub(last.end_ms) >= options.pause_ms;
            // "No. 7" and "Yes." are too short to stand alone when speech goes on at once.
            let long_enough = last.end_ms - first.start_ms >= options.min_ms;
            if silence || (ends_sentence(last) && long_enough) {
                groups.push(&units[begin..at]);
                begin = at;
            } else {
                let full = ruler.wrap(&units[begin..=at]).len() > options.max_lines
                    || next.end_ms - first.start_ms > options.max_ms;
                if full {
                    let end = natural_end(&units[begin..at]) + begin;
                    groups.push(&units[begin..end]);
                    begin = end;
                    // What is left over starts the next cue and is looked at again.
                    at = begin;
                }
            }
        }
        at += 1;
    }
    if begin < units.len() {
        groups.push(&units[begin..]);
    }
    groups
}

/// After the last clause in the second half, or at the end.
fn natural_end(units: &[Unit]) -> usize {
    let half = units.len() / 2;
    (half..units.len())
        .rev()
        .find(|at| ends_clause(&units[*at]))
        .map_or(units.len(), |at| at + 1)
}

fn timed(groups: Vec<&[Unit]>, ruler: &Ruler) -> Vec<Cue> {
    let options = &ruler.options;
    let mut cues: Vec<Cue> = Vec::with_capacity(groups.len());
    for (index, group) in groups.iter().enumerate() {
        let (Some(first), Some(last)) = (group.first(), group.last()) else {
            continue;
        };
        let earliest = cues.last().map_or(0, |cue| cue.end_ms);
        let start_ms = first.start_ms.max(earliest);
        let wished = last
            .end_ms
            .max(start_ms + options.min_ms)
            .min(start_ms + options.max_ms);
        let next = groups.get(index + 1).and_then(|group| group.first());
        let latest = next.map_or(u64::MAX, |next| {
            let apart = next.start_ms.saturating_sub(options.min_gap_ms);
            // No room for a gap: touch instead.
            if apart > start_ms {
                apart
            } else {
                next.start_ms
            }
        });
        let end_ms = wished.min(latest).max(start_ms + 1);
        cues.push(Cue {
            start_ms,
            end_ms,
            lines: ruler.lines(group),
        });
    }
    cues
}
