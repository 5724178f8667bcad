//! Cues from words and from text, and the two formats.

use genvid_media::ffmpeg::Aspect;
use genvid_media::subtitles::{
    Cue, CueOptions, ParseError, TimingError, Word, cues, cues_from_text, display_width, parse_srt,
    to_srt, to_vtt, words_from_timing,
};
use proptest::prelude::*;

/// Words with a steady pace: so many seconds for each letter, a pause after punctuation.
fn spoken(text: &str) -> Vec<Word> {
    let mut now = 0.25;
    text.split_whitespace()
        .map(|token| {
            let start = now;
            let end = start + 0.06 * display_width(token) as f64 + 0.08;
            now = if token.ends_with(['.', '!', '?', '。', '！', '？']) {
                end + 0.35
            } else {
                end
            };
            Word {
                text: token.to_owned(),
                start,
                end,
            }
        })
        .collect()
}

const ENGLISH: &str = "Meet Lumen, the desk lamp that follows the sun. It wakes you with warm \
    light, keeps you sharp through the afternoon, and fades gently when the day is done. No app. \
    No setup. Just plug it in, tap once, and let it learn the rhythm of your home. Order today, \
    and get 20% off!";

const CHINESE: &str = "认识一下Lumen，一盏会跟随太阳的台灯。清晨，它用温暖的光唤醒你，让你整个下午保持专注；\
    夜幕降临时，它又会慢慢变暗。 无需应用程序，无需设置，插上电源轻轻一按，它就会学习你家的节奏。现在下单，立享八折优惠！";

#[test]
fn english() {
    insta::assert_snapshot!(to_srt(&cues(&spoken(ENGLISH), CueOptions::default())));
}

/// Chinese has no spaces: a vendor's "words" are whole sentences.
#[test]
fn chinese() {
    insta::assert_snapshot!(to_srt(&cues(&spoken(CHINESE), CueOptions::default())));
}

#[test]
fn chinese_by_character_in_portrait() {
    let mut words: Vec<Word> = Vec::new();
    let mut now = 0.0;
    for character in CHINESE.chars().filter(|c| !c.is_whitespace()) {
        let end = now + 0.2;
        match words.last_mut() {
            Some(word) if character.is_ascii() && word.text.is_ascii() => {
                word.text.push(character);
                word.end = end;
            }
            _ => words.push(Word {
                text: character.to_string(),
                start: now,
                end,
            }),
        }
        now = end;
    }
    let options = CueOptions::for_aspect(Aspect::Portrait);
    insta::assert_snapshot!(to_srt(&cues(&words, options)));
}

#[test]
fn vtt() {
    let cues = cues_from_text(
        "Fish & chips <b>cost</b> 1 --> 2 pounds. 好吃！",
        4_000,
        CueOptions::default(),
    );
    insta::assert_snapshot!(to_vtt(&cues));
}

#[test]
fn text_without_timing_fills_the_whole_time() {
    let cues = cues_from_text(ENGLISH, 20_000, CueOptions::default());
    assert_eq!(cues[0].start_ms, 0);
    assert_eq!(cues.last().unwrap().end_ms, 20_000);
    assert!(cues.len() >= 5);
    assert!(cues_from_text("  \n ", 1_000, CueOptions::default()).is_empty());
    assert!(cues_from_text("text", 0, CueOptions::default()).is_empty());
}

#[test]
fn a_silence_ends_a_cue_and_nothing_is_shown_in_it() {
    let word = |text: &str, start, end| Word {
        text: text.to_owned(),
        start,
        end,
    };
    let words = [
        word("One", 0.0, 1.0),
        word("two", 1.0, 2.0),
        word("three", 5.0, 6.0),
    ];
    let expected = [
        Cue {
            start_ms: 0,
            end_ms: 2_000,
            lines: vec!["One two".to_owned()],
        },
        Cue {
            start_ms: 5_000,
            end_ms: 6_000,
            lines: vec!["three".to_owned()],
        },
    ];
    assert_eq!(cues(&words, CueOptions::default()), expected);
}

#[test]
fn timing_documents() {
    let words = words_from_timing(
        r#"{"words":[{"text":"there","start":0.5,"end":0.9},{"text":" ","start":0.4,"end":0.5},
            {"text":"Hi","start":0,"end":0.4,"confidence":1}],"more":true}"#,
    )
    .unwrap();
    let texts: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
    assert_eq!(texts, ["Hi", "there"]);

    let time = |json: &str| {
        matches!(
            words_from_timing(json),
            Err(TimingError::Time { index: 0, .. })
        )
    };
    assert!(time(r#"{"words":[{"text":"a","start":-1,"end":0}]}"#));
    assert!(time(r#"{"words":[{"text":"a","start":2,"end":1}]}"#));
    assert!(time(r#"{"words":[{"text":"a","start":0,"end":1e300}]}"#));
    for json in [
        "",
        "[]",
        "{}",
        r#"{"words":[{"text":"a"}]}"#,
        r#"{"words":[{"text":1,"start":0,"end":0}]}"#,
    ] {
        assert!(
            matches!(words_from_timing(json), Err(TimingError::Form(_))),
            "{json}"
        );
    }
    assert!(matches!(
        words_from_timing(&" ".repeat(1 << 21)),
        Err(TimingError::TooLong(_))
    ));
    let many = format!(
        r#"{{"words":[{}]}}"#,
        vec![r#"{"text":"","start":0,"end":0}"#; 20_001].join(",")
    );
    assert!(words_from_timing(&many).unwrap().is_empty());
}

#[test]
fn vendors_write_srt_in_many_ways() {
    let text = "\u{feff}1\r\n00:00:01,000 --> 00:00:02,500\r\n<i>Hi</i> {\\an8}there\r\n\r\n\
        00:02.5 --> 00:00:03.25 line:90%\n2 < 3 & 4 > 1\nsecond line\n\n\
        3\n00:00:09,000 --> 00:00:08,000\nbackwards\n\n\
        4\n00:00:04,000 --> 00:00:09,000\nlong\n\n\n5\n00:00:05,000 --> 00:00:06,000\ncuts it\n";
    let cue = |start_ms, end_ms, lines: &[&str]| Cue {
        start_ms,
        end_ms,
        lines: lines.iter().map(|line| (*line).to_owned()).collect(),
    };
    let expected = [
        cue(1_000, 2_500, &["Hi there"]),
        cue(2_500, 3_250, &["2 < 3 & 4 > 1", "second line"]),
        cue(4_000, 5_000, &["long"]),
        cue(5_000, 6_000, &["cuts it"]),
    ];
    assert_eq!(parse_srt(text).unwrap(), expected);
    let vtt = "WEBVTT\n\nNOTE a comment\n\nintro\n00:01.000 --> 00:02.000\nA &amp; B\n";
    assert_eq!(parse_srt(vtt).unwrap(), [cue(1_000, 2_000, &["A & B"])]);

    for nothing in [
        "",
        "hello",
        "1\n00:00:00,000 --> 00:00:00,000\nx",
        "99:99:99,9 --> 1:2:3,4\nx",
    ] {
        assert_eq!(parse_srt(nothing), Err(ParseError::Empty), "{nothing:?}");
    }
    assert_eq!(
        parse_srt(&"x".repeat(2 << 20)),
        Err(ParseError::TooLong(2 << 20))
    );
    let many = "0:01 --> 0:02\nx\n\n".repeat(20_001);
    assert_eq!(parse_srt(&many), Err(ParseError::TooMany));
}

fn options() -> impl Strategy<Value = CueOptions> {
    (
        8..60_usize,
        4..30_usize,
        1..4_usize,
        300..8_000_u64,
        0..1_500_u64,
        0..200_u64,
        100..2_000_u64,
    )
        .prop_map(
            |(latin, cjk, lines, max_ms, min_ms, min_gap_ms, pause_ms)| CueOptions {
                max_chars_per_line: latin,
                max_cjk_chars_per_line: cjk,
                max_lines: lines,
                max_ms,
                min_ms,
                min_gap_ms,
                pause_ms,
            },
        )
}

fn words() -> impl Strategy<Value = Vec<Word>> {
    let text = prop_oneof![
        4 => "[a-zA-Z]{1,9}[,.!?;]?",
        2 => "[一-龥]{1,40}[，。！？、]?",
        1 => "[a-z一-龥ぁ-ん가-힣0-9,.。（）「」]{1,30}",
        1 => "[a-z]{1,200}",
        1 => "\\PC{1,8}",
    ];
    // Gaps may be negative: vendors' words overlap.
    prop::collection::vec((text, -0.2..1.5_f64, 0.0..2.0_f64), 0..80).prop_map(|parts| {
        let mut now: f64 = 0.0;
        parts
            .into_iter()
            .map(|(text, gap, length)| {
                let start = (now + gap).max(0.0);
                now = start + length;
                Word {
                    text,
                    start,
                    end: now,
                }
            })
            .collect()
    })
}

fn letters(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn cues_are_in_order_apart_and_complete(words in words(), options in options()) {
        let cues = cues(&words, options);
        for cue in &cues {
            prop_assert!(cue.start_ms < cue.end_ms, "{cue:?}");
            prop_assert!(!cue.lines.is_empty() && cue.lines.iter().all(|l| !l.trim().is_empty()));
            prop_assert!(cue.lines.len() <= options.max_lines, "{cue:?}");
            prop_assert!(cue.end_ms - cue.start_ms <= options.max_ms.max(1), "{cue:?}");
        }
        for pair in cues.windows(2) {
            prop_assert!(pair[0].end_ms <= pair[1].start_ms, "{pair:?}");
        }
        let said: String = words.iter().map(|word| letters(&word.text)).collect();
        let shown: String = cues.iter().flat_map(|cue| &cue.lines).map(|l| letters(l)).collect();
        prop_assert_eq!(said, shown);
    }

    #[test]
    fn latin_lines_are_not_too_long(text in "([a-z]{1,12}[,.]? ){1,60}", options in options()) {
        for cue in cues_from_text(&text, 60_000, options) {
            for line in &cue.lines {
                // Closing punctuation may hang over, as in print.
                prop_assert!(line.len() <= options.max_chars_per_line.max(12) + 2, "{line:?}");
            }
        }
    }

    #[test]
    fn both_formats_are_read_back(text in "([a-zA-Z一-龥]{1,12}[,.!，。？]? ){1,60}") {
        let cues = cues_from_text(&text, 60_000, CueOptions::default());
        prop_assert_eq!(&parse_srt(&to_srt(&cues)).unwrap(), &cues);
        prop_assert_eq!(&parse_srt(&to_vtt(&cues)).unwrap(), &cues);
    }

    #[test]
    fn no_text_breaks_the_reader(text in "(\\PC|\n|-->|[0-9:,. ]){0,400}") {
        if let Ok(cues) = parse_srt(&text) {
            for pair in cues.windows(2) {
                prop_assert!(pair[0].end_ms <= pair[1].start_ms);
            }
        }
    }
}
