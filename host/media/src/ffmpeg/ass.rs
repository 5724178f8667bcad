//! Subtitles as part of the pictures: a document for ffmpeg's `ass` filter (libass).

use std::fmt::Write as _;

use crate::subtitles::{Cue, display_width};

/// A document for pictures of this size. The letters are as large as the longest line allows,
/// between 3 and 5.8 hundredths of the height, or of five quarters of the width if that is
/// less. Lines that are too long for the smallest letters are wrapped by libass.
pub(crate) fn document(cues: &[Cue], width: u32, height: u32, font: &str) -> String {
    let (w, h) = (f64::from(width), f64::from(height));
    let lines = cues.iter().flat_map(|cue| &cue.lines);
    // In ems: a wide character is one em, a Latin one a little over half of it.
    let longest = lines
        .map(|line| display_width(line) as f64 * 0.54)
        .fold(8.0, f64::max);
    let measure = h.min(w * 1.25);
    let size = (w * 0.9 / longest)
        .clamp(measure * 0.03, measure * 0.058)
        .max(8.0);
    let margin_sides = (w * 0.04).round();
    // Portrait players lay their own buttons over the lower edge.
    let margin_bottom = if height > width { h * 0.14 } else { h * 0.06 };
    let outline = (size * 0.07).max(1.0);
    let font: String = font
        .chars()
        .filter(|c| !c.is_control() && *c != ',')
        .collect();
    let mut document = format!(
        "[Script Info]\n\
         ScriptType: v4.00+\n\
         PlayResX: {width}\n\
         PlayResY: {height}\n\
         WrapStyle: 0\n\
         ScaledBorderAndShadow: yes\n\
         \n\
         [V4+ Styles]\n\
         Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, \
         BackColour, Bold, Italic, Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, \
         BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV, Encoding\n\
         Style: Default,{font},{size:.1},&H00FFFFFF,&H00FFFFFF,&H00101010,&H80000000,1,0,0,0,\
         100,100,0,0,1,{outline:.1},0,2,{margin_sides:.0},{margin_sides:.0},{margin_bottom:.0},1\n\
         \n\
         [Events]\n\
         Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\n"
    );
    for cue in cues {
        let lines: Vec<String> = cue.lines.iter().map(|line| escape(line)).collect();
        // Writing to a String cannot fail.
        let _ = writeln!(
            document,
            "Dialogue: 0,{},{},Default,,0,0,0,,{}",
            time(cue.start_ms),
            time(cue.end_ms),
            lines.join("\\N")
        );
    }
    document
}

/// Text without the characters that begin a command. A word joiner after a backslash keeps it
/// from meeting a letter; libass shows neither it nor the escape of a brace.
fn escape(line: &str) -> String {
    let mut escaped = String::with_capacity(line.len());
    for character in line.chars() {
        match character {
            '\\' => escaped.push_str("\\\u{2060}"),
            '{' => escaped.push_str("\\{"),
            '}' => escaped.push_str("\\}"),
            control if control.is_control() => escaped.push(' '),
            other => escaped.push(other),
        }
    }
    escaped
}

/// `H:MM:SS.cc`, cut to hundredths, which keeps cues in order and apart.
fn time(ms: u64) -> String {
    let (seconds, hundredths) = (ms / 1000, ms % 1000 / 10);
    format!(
        "{}:{:02}:{:02}.{hundredths:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

/// What libass complained about that a viewer would see.
pub(crate) fn warnings(stderr: &str) -> Vec<String> {
    let lacking = stderr.lines().any(|line| {
        line.contains("failed to find any fallback with glyph") || line.contains("no fonts")
    });
    if lacking {
        vec![
            "no installed font has all characters of the subtitles; some are shown as boxes \
             (Debian: install fonts-wqy-microhei for Chinese, Japanese and Korean)"
                .to_owned(),
        ]
    } else {
        Vec::new()
    }
}
