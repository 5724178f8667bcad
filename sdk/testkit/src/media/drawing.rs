//! What is drawn over a film: a figure and words, as a subtitle script (ASS v4+) that
//! ffmpeg's `ass` filter paints.

use std::fmt::Write;

use super::{
    film::Figure,
    film::Film,
    timeline::{Phrase, is_wide, milliseconds},
};

/// Most events: a very long text is drawn only at its beginning.
const EVENTS: usize = 4_000;

fn time(seconds: f64) -> String {
    let ms = milliseconds(seconds);
    format!(
        "{}:{:02}:{:02}.{:02}",
        ms / 3_600_000,
        ms / 60_000 % 60,
        ms / 1_000 % 60,
        ms % 1_000 / 10
    )
}

/// Text without the script's own marks.
fn escaped(text: &str) -> String {
    text.chars()
        .map(|character| match character {
            '{' => '(',
            '}' => ')',
            '\\' => '/',
            character if character.is_control() => ' ',
            character => character,
        })
        .collect()
}

/// Breaks lines of wide characters, which have no blanks to break at: at most `width`
/// characters each, and no mark at the beginning of a line.
fn wrapped(text: &str, width: f64) -> String {
    if !text.chars().any(is_wide) {
        return text.to_owned();
    }
    let mut lines = String::new();
    let mut used = 0.0;
    for character in text.chars() {
        let size = if character.is_ascii() { 0.6 } else { 1.0 };
        if used + size > width && (is_wide(character) || character == ' ') {
            lines.push_str("\\N");
            used = 0.0;
        }
        lines.push(character);
        used += size;
    }
    lines
}

/// An ellipse as four curves.
fn ellipse(x: f64, y: f64, rx: f64, ry: f64) -> String {
    const ROUND: f64 = 0.5523;
    let (kx, ky) = (rx * ROUND, ry * ROUND);
    format!(
        "m {:.0} {:.0} b {:.0} {:.0} {:.0} {:.0} {:.0} {:.0} b {:.0} {:.0} {:.0} {:.0} {:.0} {:.0} \
         b {:.0} {:.0} {:.0} {:.0} {:.0} {:.0} b {:.0} {:.0} {:.0} {:.0} {:.0} {:.0}",
        x - rx,
        y,
        x - rx,
        y - ky,
        x - kx,
        y - ry,
        x,
        y - ry,
        x + kx,
        y - ry,
        x + rx,
        y - ky,
        x + rx,
        y,
        x + rx,
        y + ky,
        x + kx,
        y + ry,
        x,
        y + ry,
        x - kx,
        y + ry,
        x - rx,
        y + ky,
        x - rx,
        y,
    )
}

/// A script that grows event by event.
struct Script {
    text: String,
    events: usize,
}

impl Script {
    fn event(&mut self, layer: u8, start: f64, end: f64, style: &str, text: &str) {
        if self.events == EVENTS || end <= start {
            return;
        }
        self.events += 1;
        // Writing to a string cannot fail.
        let _ = writeln!(
            self.text,
            "Dialogue: {layer},{},{},{style},,0,0,0,,{text}",
            time(start),
            time(end)
        );
    }

    fn shape(&mut self, layer: u8, span: (f64, f64), colour: &str, motion: &str, path: &str) {
        let text = format!("{{\\an7{motion}\\bord0\\shad0\\1c&H{colour}&\\p1}}{path}{{\\p0}}");
        self.event(layer, span.0, span.1, "Shape", &text);
    }
}

const STILL: &str = "\\pos(0,0)";

/// The script of a film. Without a font for them, wide characters are left out.
pub(super) fn script(film: &Film, has_wide_font: bool) -> String {
    let (width, height) = (f64::from(film.width), f64::from(film.height));
    let small = width.min(height);
    let title = small / 13.0;
    let mut script = Script {
        text: format!(
            "[Script Info]\nScriptType: v4.00+\nPlayResX: {}\nPlayResY: {}\nWrapStyle: 0\n\n\
             [V4+ Styles]\nFormat: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, \
             OutlineColour, BackColour, Bold, Italic, Underline, StrikeOut, ScaleX, ScaleY, \
             Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV, \
             Encoding\n\
             Style: Words,sans-serif,{title:.0},&H00FFFFFF,&H00FFFFFF,&H90202020,&H00000000,1,0,0,\
             0,100,100,0,0,1,2,0,8,16,16,{:.0},1\n\
             Style: Caption,sans-serif,{:.0},&H0000F0FF,&H00FFFFFF,&H00101010,&H00000000,1,0,0,\
             0,100,100,0,0,1,2,0,2,16,16,{:.0},1\n\
             Style: Shape,sans-serif,20,&H00FFFFFF,&H00FFFFFF,&H00000000,&H00000000,0,0,0,\
             0,100,100,0,0,1,0,0,7,0,0,0,1\n\n\
             [Events]\nFormat: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, \
             Text\n",
            film.width,
            film.height,
            height / 14.0,
            title * 0.85,
            height / 16.0,
        ),
        events: 0,
    };
    match film.figure {
        Figure::Presenter => presenter(&mut script, film, width, height, small),
        Figure::Product => product(&mut script, film, width, height, small),
        Figure::Nothing => {}
    }
    for phrase in &film.words {
        let mut text = escaped(&phrase.text);
        if !has_wide_font {
            text.retain(|character| !is_wide(character));
            if !text.chars().any(char::is_alphanumeric) {
                continue;
            }
        }
        let text = wrapped(&text, (width - 40.0) / title);
        script.event(
            5,
            phrase.start,
            phrase.end.min(film.seconds),
            "Words",
            &text,
        );
        if film.burned_captions {
            script.event(
                6,
                phrase.start,
                phrase.end.min(film.seconds),
                "Caption",
                &text,
            );
        }
    }
    script.text
}

const SKIN: [&str; 4] = ["9DC3F0", "7FA6D8", "B4D5F7", "5E83B0"];
const CLOTH: [&str; 4] = ["7A4A2A", "4E3C8C", "3C6E3A", "30308E"];
const HAIR: [&str; 4] = ["1E2A3C", "20406E", "6EB0D8", "161616"];

fn pick<'colours>(colours: &[&'colours str; 4], seed: u64) -> &'colours str {
    colours[usize::try_from(seed % 4).unwrap_or(0)]
}

/// Head and shoulders; the mouth moves with the words and the eyes blink.
fn presenter(script: &mut Script, film: &Film, width: f64, height: f64, small: f64) {
    let (x, y) = (width / 2.0, height * 0.52);
    let head = small * 0.2;
    let all = (0.0, film.seconds);
    let shoulders = ellipse(x, y + head * 3.3, head * 2.1, head * 1.9);
    script.shape(0, all, pick(&CLOTH, film.seed), STILL, &shoulders);
    let neck = ellipse(x, y + head * 1.25, head * 0.4, head * 0.6);
    script.shape(1, all, pick(&SKIN, film.seed >> 2), STILL, &neck);
    let hair = ellipse(x, y - head * 0.18, head * 1.06, head * 1.2);
    script.shape(1, all, pick(&HAIR, film.seed >> 4), STILL, &hair);
    let face = ellipse(x, y + head * 0.1, head * 0.88, head * 1.08);
    script.shape(2, all, pick(&SKIN, film.seed >> 2), STILL, &face);
    let mut at = 0.0;
    while at < film.seconds {
        let open = (at, (at + 2.8).min(film.seconds));
        for side in [-1.0, 1.0] {
            let eye = ellipse(
                x + side * head * 0.36,
                y - head * 0.08,
                head * 0.09,
                head * 0.11,
            );
            script.shape(3, open, "202020", STILL, &eye);
        }
        at += 2.95;
    }
    let mouth = |opening: f64| ellipse(x, y + head * 0.6, head * 0.3, head * opening);
    script.shape(3, all, "4040A0", STILL, &mouth(0.04));
    for word in &film.beats {
        let length = word.end - word.start;
        let opening = 0.1 + 0.03 * f64::from(u8::try_from(word.text.len() % 4).unwrap_or(0));
        let span = (word.start, word.start + length * 0.7);
        script.shape(4, span, "30307A", STILL, &mouth(opening));
    }
}

/// A bottle that drifts through the picture.
fn product(script: &mut Script, film: &Film, width: f64, height: f64, small: f64) {
    let size = small * 0.14;
    let from = (width * 0.42, height * 0.58);
    let to = (width * 0.58, height * 0.5);
    let motion = format!(
        "\\move({:.0},{:.0},{:.0},{:.0})",
        from.0, from.1, to.0, to.1
    );
    let all = (0.0, film.seconds);
    let shadow = ellipse(0.0, size * 2.15, size * 1.2, size * 0.18);
    script.shape(0, all, "303030", &motion, &shadow);
    let body = format!(
        "m {a:.0} {b:.0} b {a:.0} {c:.0} {d:.0} {c:.0} {d:.0} {b:.0} l {d:.0} {e:.0} {a:.0} {e:.0}",
        a = -size,
        d = size,
        b = -size * 0.8,
        c = -size * 2.0,
        e = size * 2.1,
    );
    script.shape(1, all, pick(&CLOTH, film.seed), &motion, &body);
    let cap = format!(
        "m {a:.0} {b:.0} l {c:.0} {b:.0} {c:.0} {d:.0} {a:.0} {d:.0}",
        a = -size * 0.4,
        c = size * 0.4,
        b = -size * 2.3,
        d = -size * 1.6,
    );
    script.shape(2, all, "D8D8D8", &motion, &cap);
    let shine = ellipse(-size * 0.55, size * 0.4, size * 0.12, size * 1.2);
    script.shape(3, all, "F4E8E0", &motion, &shine);
}

/// Words for a film that nobody speaks in: the beginning of its description.
pub(super) fn excerpt(text: &str, seconds: f64) -> Vec<Phrase> {
    let mut excerpt: String = text.chars().take(90).collect();
    if text.chars().count() > 90 {
        excerpt.push('…');
    }
    if excerpt.trim().is_empty() {
        return Vec::new();
    }
    vec![Phrase {
        text: excerpt,
        start: 0.0,
        end: seconds,
    }]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_text_is_broken_and_marks_stay_at_the_end() {
        assert_eq!(wrapped("Meet the bottle", 4.0), "Meet the bottle");
        assert_eq!(
            wrapped("认识一下这个水瓶，它能保冷", 8.0),
            "认识一下这个水瓶，\\N它能保冷"
        );
    }

    #[test]
    fn words_cannot_change_the_script() {
        assert_eq!(escaped("{\\pos(0,0)}\n!"), "(/pos(0,0)) !");
    }
}
