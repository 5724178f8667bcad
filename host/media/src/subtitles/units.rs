//! The smallest pieces of text that a line may be broken between, and how wide they are.
//!
//! A unit is a word in scripts with spaces and a single character in scripts without. Closing
//! punctuation belongs to the unit before it and opening punctuation to the one after, so no
//! line begins with a comma or ends with an opening bracket.

use super::words::Word;

/// A piece of text that stays together.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Unit {
    pub(crate) text: String,
    pub(crate) start_ms: u64,
    pub(crate) end_ms: u64,
    /// Whether a space stands before it, unless it begins a line.
    pub(crate) spaced: bool,
}

/// Letters of scripts that are written without spaces between words.
pub(crate) fn is_unspaced(character: char) -> bool {
    matches!(character,
        '\u{2E80}'..='\u{303F}'     // radicals, CJK punctuation
        | '\u{3040}'..='\u{30FF}'   // kana
        | '\u{3100}'..='\u{312F}'   // bopomofo
        | '\u{31A0}'..='\u{31FF}'
        | '\u{3400}'..='\u{4DBF}'   // Han
        | '\u{4E00}'..='\u{9FFF}'
        | '\u{F900}'..='\u{FAFF}'
        | '\u{FE30}'..='\u{FE4F}'
        | '\u{FF00}'..='\u{FF60}'   // full-width forms
        | '\u{20000}'..='\u{3FFFF}')
}

/// Characters that take two columns: those of the unspaced scripts, Hangul, and pictures.
fn is_wide(character: char) -> bool {
    is_unspaced(character)
        || matches!(character,
            '\u{1100}'..='\u{115F}' | '\u{AC00}'..='\u{D7A3}' | '\u{1F300}'..='\u{1FAFF}')
}

pub(crate) fn is_closing(character: char) -> bool {
    matches!(
        character,
        ',' | '.'
            | ';'
            | ':'
            | '!'
            | '?'
            | ')'
            | ']'
            | '}'
            | '%'
            | '…'
            | '’'
            | '”'
            | '»'
            | '。'
            | '，'
            | '、'
            | '；'
            | '：'
            | '！'
            | '？'
            | '）'
            | '】'
            | '》'
            | '〉'
            | '」'
            | '』'
            | '〕'
            | '～'
            | 'ー'
            | '·'
    )
}

fn is_opening(character: char) -> bool {
    matches!(
        character,
        '(' | '['
            | '{'
            | '‘'
            | '“'
            | '«'
            | '（'
            | '【'
            | '《'
            | '〈'
            | '「'
            | '『'
            | '〔'
            | '¿'
            | '¡'
    )
}

/// Characters that only dress another one and take no room.
fn is_mark(character: char) -> bool {
    matches!(character,
        '\u{0300}'..='\u{036F}' | '\u{200B}'..='\u{200F}' | '\u{2060}' | '\u{20D0}'..='\u{20FF}'
        | '\u{FE00}'..='\u{FE0F}' | '\u{FE20}'..='\u{FE2F}' | '\u{1F3FB}'..='\u{1F3FF}')
}

/// Width in columns: a Latin letter has 1, a Chinese one 2.
pub fn display_width(text: &str) -> usize {
    text.chars().map(columns).sum()
}

fn columns(character: char) -> usize {
    if is_mark(character) {
        0
    } else if is_wide(character) {
        2
    } else {
        1
    }
}

/// Splits words into units. Each unit gets its share of the word's time by width. A unit wider
/// than `longest` columns, such as an address, is cut.
pub(crate) fn units(words: &[Word], longest: usize) -> Vec<Unit> {
    let mut units: Vec<Unit> = Vec::new();
    let mut last_end = 0;
    for (index, word) in words.iter().enumerate() {
        // Times of different words may overlap; from here on they only grow. A word gives way
        // to the next one, so that one end that is far off does not push all others back.
        let start = milliseconds(word.start).max(last_end);
        let next = words.get(index + 1).map(|next| milliseconds(next.start));
        let end = milliseconds(word.end);
        let end = next
            .filter(|next| *next >= start)
            .map_or(end, |next| end.min(next))
            .max(start);
        let pieces: Vec<(String, bool)> = word
            .text
            .split_whitespace()
            .flat_map(|token| {
                pieces(token, longest)
                    .into_iter()
                    .enumerate()
                    .map(|(i, piece)| (piece, i == 0))
            })
            .collect();
        let whole = pieces
            .iter()
            .map(|(text, _)| weight(text))
            .sum::<u64>()
            .max(1);
        let mut done = 0;
        for (text, begins_token) in pieces {
            let from = start + (end - start) * done / whole;
            done += weight(&text);
            let to = start + (end - start) * done / whole;
            let spaced = begins_token && needs_space(units.last(), &text);
            let joins = text.chars().all(is_closing) && !text.is_empty();
            match units.last_mut() {
                Some(last) if joins => {
                    last.text.push_str(&text);
                    last.end_ms = to;
                }
                _ => units.push(Unit {
                    text,
                    start_ms: from,
                    end_ms: to,
                    spaced,
                }),
            }
        }
        last_end = end;
    }
    units
}

fn milliseconds(seconds: f64) -> u64 {
    // A float-to-integer cast saturates: nothing negative, no NaN, no overflow.
    (seconds * 1000.0).round() as u64
}

/// Share of the time: letters by width, and a pause for punctuation.
pub(crate) fn weight(text: &str) -> u64 {
    text.chars()
        .map(|c| {
            if is_closing(c) {
                3
            } else {
                columns(c).max(1) as u64
            }
        })
        .sum()
}

fn needs_space(before: Option<&Unit>, text: &str) -> bool {
    let (Some(before), Some(next)) = (
        before.and_then(|unit| unit.text.chars().next_back()),
        text.chars().next(),
    ) else {
        return false;
    };
    !(is_unspaced(before) && (is_unspaced(next) || is_closing(before)))
}

/// Cuts one token, which has no spaces, where a line may be broken.
fn pieces(token: &str, longest: usize) -> Vec<String> {
    let mut pieces: Vec<String> = Vec::new();
    let mut current = String::new();
    let mut width = 0;
    let mut before: Option<char> = None;
    for character in token.chars() {
        let may_break = before.is_some_and(|before| {
            (is_unspaced(before) || is_unspaced(character))
                && !is_closing(character)
                && !is_opening(before)
                && !is_mark(character)
        });
        let too_wide = width + columns(character) > longest.max(2) && !current.is_empty();
        if may_break || too_wide {
            pieces.push(std::mem::take(&mut current));
            width = 0;
        }
        current.push(character);
        width += columns(character);
        before = Some(character);
    }
    if !current.is_empty() {
        pieces.push(current);
    }
    pieces
}
