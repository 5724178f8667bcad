//! SRT and WebVTT.

use std::fmt::Write as _;

use super::cues::Cue;

/// Longest subtitle document that is read, in bytes.
const MAX_BYTES: usize = 1024 * 1024;
/// Most cues that are read.
const MAX_CUES: usize = 20_000;
/// Most lines of one cue that are kept.
const MAX_LINES: usize = 8;
/// Most characters of one line that are kept.
const MAX_LINE: usize = 500;
/// Latest time that is believed, in hours.
const MAX_HOURS: u64 = 24;

/// Why a text holds no subtitles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// More than a mebibyte.
    #[error("{0} bytes of subtitles, at most {MAX_BYTES} are read")]
    TooLong(usize),
    /// More than 20,000 cues.
    #[error("more than {MAX_CUES} cues")]
    TooMany,
    /// Not one line with times and a text below it.
    #[error("no cue was found")]
    Empty,
}

/// SubRip: numbers from 1, `HH:MM:SS,mmm`, lines of text, an empty line. UTF-8 without a byte
/// order mark.
pub fn to_srt(cues: &[Cue]) -> String {
    let mut srt = String::new();
    for (index, cue) in cues.iter().enumerate() {
        let (start, end) = (time(cue.start_ms, ','), time(cue.end_ms, ','));
        // Writing to a String cannot fail.
        let _ = writeln!(srt, "{}\n{start} --> {end}", index + 1);
        for line in lines(cue) {
            srt.push_str(&line);
            srt.push('\n');
        }
        srt.push('\n');
    }
    srt
}

/// WebVTT (W3C, "WebVTT: The Web Video Text Tracks Format"), with `&`, `<` and `>` escaped.
pub fn to_vtt(cues: &[Cue]) -> String {
    let mut vtt = String::from("WEBVTT\n\n");
    for cue in cues {
        let (start, end) = (time(cue.start_ms, '.'), time(cue.end_ms, '.'));
        // Writing to a String cannot fail.
        let _ = writeln!(vtt, "{start} --> {end}");
        for line in lines(cue) {
            let line = line
                .replace('&', "&amp;")
                .replace('<', "&lt;")
                .replace('>', "&gt;");
            vtt.push_str(&line);
            vtt.push('\n');
        }
        vtt.push('\n');
    }
    vtt
}

/// Lines that can neither end a cue nor be taken for times.
fn lines(cue: &Cue) -> impl Iterator<Item = String> {
    cue.lines
        .iter()
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            words.join(" ").replace("-->", "→")
        })
        .filter(|line| !line.is_empty())
}

fn time(ms: u64, separator: char) -> String {
    let seconds = ms / 1000;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!(
        "{hours:02}:{minutes:02}:{seconds:02}{separator}{:03}",
        ms % 1000
    )
}

/// Reads SubRip or WebVTT as vendors write it: with or without numbers, hours, byte order
/// mark or carriage returns, comma or dot before the milliseconds. Markup is left out. Cues
/// come back in order; a cue that begins before the one before it has ended cuts that one
/// short; cues without text or with impossible times are left out.
pub fn parse_srt(text: &str) -> Result<Vec<Cue>, ParseError> {
    if text.len() > MAX_BYTES {
        return Err(ParseError::TooLong(text.len()));
    }
    let text = text
        .trim_start_matches('\u{feff}')
        .replace("\r\n", "\n")
        .replace('\r', "\n");
    let mut cues: Vec<Cue> = Vec::new();
    let mut current: Option<Cue> = None;
    for line in text.lines() {
        if let Some((start_ms, end_ms)) = times(line) {
            keep(&mut cues, current.take())?;
            current = Some(Cue {
                start_ms,
                end_ms,
                lines: Vec::new(),
            });
        } else if line.trim().is_empty() {
            keep(&mut cues, current.take())?;
        } else if let Some(cue) = &mut current
            && cue.lines.len() < MAX_LINES
        {
            let line = plain(line);
            if !line.is_empty() {
                cue.lines.push(line);
            }
        }
    }
    keep(&mut cues, current)?;
    cues.sort_by_key(|cue| cue.start_ms);
    for index in 1..cues.len() {
        let next = cues[index].start_ms;
        cues[index - 1].end_ms = cues[index - 1].end_ms.min(next);
    }
    cues.retain(|cue| cue.end_ms > cue.start_ms);
    if cues.is_empty() {
        Err(ParseError::Empty)
    } else {
        Ok(cues)
    }
}

fn keep(cues: &mut Vec<Cue>, cue: Option<Cue>) -> Result<(), ParseError> {
    let Some(cue) = cue else { return Ok(()) };
    if cue.lines.is_empty() || cue.end_ms <= cue.start_ms {
        return Ok(());
    }
    if cues.len() == MAX_CUES {
        return Err(ParseError::TooMany);
    }
    cues.push(cue);
    Ok(())
}

fn times(line: &str) -> Option<(u64, u64)> {
    let (start, rest) = line.split_once("-->")?;
    // WebVTT may say after the times where the cue stands.
    let end = rest.split_whitespace().next()?;
    Some((moment(start.trim())?, moment(end)?))
}

/// `[HH:]MM:SS[,.]mmm`, the milliseconds with one to three digits or left out.
fn moment(text: &str) -> Option<u64> {
    let (clock, fraction) = text.split_once([',', '.']).unwrap_or((text, "0"));
    let number = |digits: &str| -> Option<u64> {
        let good = (1..=3).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
        good.then(|| digits.parse().ok()).flatten()
    };
    let parts: Vec<u64> = clock.split(':').map(number).collect::<Option<_>>()?;
    let (hours, minutes, seconds) = match parts[..] {
        [hours, minutes, seconds] => (hours, minutes, seconds),
        [minutes, seconds] => (0, minutes, seconds),
        _ => return None,
    };
    if hours > MAX_HOURS || minutes > 59 || seconds > 59 {
        return None;
    }
    let scale = [100, 10, 1].get(fraction.len().checked_sub(1)?)?;
    Some(((hours * 60 + minutes) * 60 + seconds) * 1000 + number(fraction)? * scale)
}

/// A line without `<i>`, `{\an8}` and the like, and without WebVTT's escapes.
fn plain(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find(['<', '{']) {
        plain.push_str(&rest[..at]);
        let tail = &rest[at..];
        let (close, is_markup) = match tail.strip_prefix('<') {
            Some(inside) => (
                '>',
                inside.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/'),
            ),
            None => ('}', tail[1..].starts_with('\\')),
        };
        match tail.find(close).filter(|_| is_markup) {
            Some(end) => rest = &tail[end + 1..],
            None => {
                plain.push_str(&tail[..1]);
                rest = &tail[1..];
            }
        }
    }
    plain.push_str(rest);
    let unescaped = plain
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&nbsp;", " ")
        .replace("&amp;", "&");
    let printable: String = unescaped
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(MAX_LINE)
        .collect();
    printable.trim().to_owned()
}
