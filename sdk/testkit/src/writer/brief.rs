//! What a conversation asks for.

use crate::media::is_wide;

/// Languages that the writer has words for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    English,
    Chinese,
}

/// What is to be written about.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Brief {
    pub(super) language: Language,
    /// A name, or the first words.
    pub(super) product: String,
    /// What is good about it.
    pub(super) points: Vec<String>,
    /// Longest speaking time.
    pub(super) seconds: u32,
}

/// Speaking time when nobody says.
const DEFAULT_SECONDS: u32 = 20;
/// Longest name of a product, in characters.
const LONGEST_NAME: usize = 48;

impl Brief {
    /// Reads instructions (of the system or developer) and the user's words.
    pub(crate) fn read(instructions: &str, user: &str) -> Self {
        let user = plain(user);
        let everything = format!("{instructions}\n{user}");
        let (product, points) = subject(&user);
        Self {
            language: language(&everything, &user),
            product,
            points,
            seconds: seconds(&everything).unwrap_or(DEFAULT_SECONDS),
        }
    }
}

/// The text without the marks of JSON and Markdown around it.
fn plain(text: &str) -> String {
    text.chars()
        .filter(|character| {
            !matches!(
                character,
                '{' | '}' | '[' | ']' | '"' | '#' | '*' | '`' | '<' | '>'
            )
        })
        .collect()
}

fn word_language(word: &str) -> Option<Language> {
    let word = word.trim_matches(|c: char| !c.is_alphanumeric());
    if word.starts_with("zh") || word.starts_with("chinese") || word.starts_with("mandarin") {
        Some(Language::Chinese)
    } else if word == "en" || word.starts_with("en-") || word.starts_with("english") {
        Some(Language::English)
    } else {
        None
    }
}

/// A language that is named after the word `language` or `in`, otherwise the one the user
/// writes in.
fn language(everything: &str, user: &str) -> Language {
    let lower = everything.to_lowercase();
    if lower.contains("中文") || lower.contains("简体") || lower.contains("汉语") {
        return Language::Chinese;
    }
    for (at, mark) in lower.match_indices("language") {
        let after = &lower[at + mark.len()..];
        let named = after.split_whitespace().take(6).find_map(word_language);
        if let Some(language) = named {
            return language;
        }
    }
    let words: Vec<&str> = lower.split_whitespace().collect();
    for pair in words.windows(2) {
        if matches!(pair[0], "in" | "speak" | "write")
            && let Some(language) = word_language(pair[1])
        {
            return language;
        }
    }
    let wide = user.chars().filter(|&character| is_wide(character)).count();
    if wide * 4 > user.chars().count() {
        Language::Chinese
    } else {
        Language::English
    }
}

/// The first number of 3 to 600 that stands before a word for seconds.
fn seconds(text: &str) -> Option<u32> {
    let characters: Vec<char> = text.chars().collect();
    let mut at = 0;
    while at < characters.len() {
        if !characters[at].is_ascii_digit() {
            at += 1;
            continue;
        }
        let digits: String = characters[at..]
            .iter()
            .take_while(|character| character.is_ascii_digit())
            .take(6)
            .collect();
        at += digits.len();
        let after: String = characters[at..]
            .iter()
            .take(12)
            .collect::<String>()
            .to_lowercase();
        let after = after.trim_start_matches([' ', '-']);
        let is_time = after.starts_with("sec")
            || after.starts_with('秒')
            || after == "s"
            || after.starts_with("s ")
            || after.starts_with("s.");
        if let Ok(number) = digits.parse::<u32>()
            && is_time
            && (3..=600).contains(&number)
        {
            return Some(number);
        }
    }
    None
}

/// Words in front of the name of a thing that say nothing about it.
const LEADS: [&str; 14] = [
    "write a script for",
    "write a video script about",
    "write a script about",
    "make a video about",
    "make a short video about",
    "create a video about",
    "create a video for",
    "a short video about",
    "a video about",
    "brief:",
    "product:",
    "topic:",
    "about",
    "for",
];

/// The lines that say what it is about: those after `Brief:` when there is such a line, and
/// never those that only say how to write.
fn about(user: &str) -> String {
    const HOW: [&str; 10] = [
        "language", "longest", "duration", "length", "tone", "audience", "style", "format", "语言",
        "时长",
    ];
    let starts = |line: &str, word: &str| line.trim().to_lowercase().starts_with(word);
    let start = user
        .lines()
        .position(|line| starts(line, "brief:") || starts(line, "简介"))
        .unwrap_or(0);
    let lines: Vec<&str> = user
        .lines()
        .skip(start)
        .filter(|line| !HOW.iter().any(|word| starts(line, word)))
        .collect();
    lines.join("\n")
}

/// The product and what is good about it.
fn subject(user: &str) -> (String, Vec<String>) {
    let user = &about(user);
    let mut parts: Vec<String> = user
        .split([
            '\n', '.', ',', ';', '。', '，', '；', '！', '!', '?', '？', '、',
        ])
        .flat_map(|part| match part.split_once([':', '：']) {
            // Of `label: value` only the value counts; a longer beginning is a thought of
            // its own.
            Some((label, value)) if label.trim().chars().count() <= 24 => vec![value],
            Some((start, rest)) => vec![start, rest],
            None => vec![part],
        })
        .map(|part| part.trim().to_owned())
        .filter(|part| part.chars().any(char::is_alphanumeric))
        .take(40)
        .collect();
    if parts.is_empty() {
        return (String::new(), Vec::new());
    }
    let mut product = parts.remove(0);
    for lead in LEADS {
        let matches = product
            .get(..lead.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(lead));
        if matches {
            product = product[lead.len()..].trim().to_owned();
        }
    }
    for (split, glue) in [
        (" - ", ""),
        (" is an ", "an "),
        (" is a ", "a "),
        (" is the ", "the "),
        (" that ", ""),
        (" which ", ""),
        (" with ", "with "),
    ] {
        if let Some((name, rest)) = product.clone().split_once(split) {
            if rest.trim().len() > 3 {
                parts.insert(0, format!("{glue}{}", rest.trim()));
            }
            product = name.trim().to_owned();
        }
    }
    let cut: String = product.chars().take(LONGEST_NAME).collect();
    if cut.len() < product.len() && cut.contains(' ') {
        // Whole words only.
        product = cut
            .rsplit_once(' ')
            .map_or(cut.clone(), |(start, _)| start.to_owned());
    } else {
        product = cut;
    }
    let points = parts
        .into_iter()
        .filter(|part| (4..=90).contains(&part.chars().count()) || part.chars().any(is_wide))
        .map(|part| part.chars().take(90).collect())
        .take(4)
        .collect();
    (product, points)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wish_is_read_from_the_words() {
        let brief = Brief::read(
            "You write scripts. Language: en. At most 15 seconds of speech.",
            "A steel water bottle that keeps drinks cold for 24 hours, leakproof lid, dishwasher safe",
        );
        assert_eq!(brief.language, Language::English);
        assert_eq!(brief.seconds, 15);
        assert_eq!(brief.product, "A steel water bottle");
        assert_eq!(
            brief.points,
            [
                "keeps drinks cold for 24 hours",
                "leakproof lid",
                "dishwasher safe"
            ]
        );
        let brief = Brief::read(
            "You write adverts.",
            "Language: zh-CN\nLongest speaking time: 12 seconds, which is about 48 characters. \
             Do not go over it.\n\nBrief:\nA desk lamp",
        );
        assert_eq!((brief.product.as_str(), brief.seconds), ("A desk lamp", 12));
        assert_eq!(brief.language, Language::Chinese);
        let brief = Brief::read(
            "",
            "HydroPeak is an insulated bottle for hikers: cold for a day",
        );
        assert_eq!(brief.product, "HydroPeak");
        assert_eq!(
            brief.points,
            ["an insulated bottle for hikers", "cold for a day"]
        );
        let brief = Brief::read("Write in zh-CN", "a bottle");
        assert_eq!(brief.language, Language::Chinese);
        let brief = Brief::read("", "一款保冷水瓶，保冷二十四小时");
        assert_eq!(brief.language, Language::Chinese);
        assert_eq!(brief.product, "一款保冷水瓶");
    }
}
