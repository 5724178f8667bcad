//! What no file may contain: paths and addresses of one machine, secrets; and what a
//! decision record must.

use super::{Violation, numbered};

/// Text that belongs to one machine or one network. Written in two halves so that this file
/// does not break its own rule.
const MACHINE_WORDS: [(&str, &str); 9] = [
    (concat!("/ro", "ot/"), "a path of one machine"),
    (concat!("/wo", "rk/"), "a path of one machine"),
    (concat!("/ho", "me/"), "a path of one machine"),
    (
        concat!("registry.npm", "js.org"),
        "the address of a package registry",
    ),
    (
        concat!("registry.yarn", "pkg.com"),
        "the address of a package registry",
    ),
    (
        concat!("files.python", "hosted.org"),
        "the address of a package registry",
    ),
    (concat!("pypi", ".org"), "the address of a package registry"),
    (
        concat!("static.crates", ".io"),
        "the address of a package registry",
    ),
    (
        concat!("deb.debian", ".org"),
        "the address of a package registry",
    ),
];

/// Beginnings of secrets as the services give them out, with the least number of characters
/// that follow in a live one.
const SECRET_BEGINNINGS: [(&str, usize); 13] = [
    ("sk_live_", 16),
    ("rk_live_", 16),
    ("sk-proj-", 32),
    ("sk-ant-", 32),
    ("sk-", 40),
    ("sk_", 40),
    ("whsec_", 32),
    ("ghp_", 36),
    ("github_pat_", 40),
    ("xoxb-", 20),
    ("AKIA", 16),
    ("AIza", 35),
    ("re_", 30),
];

/// What every decision record has a heading for, by a word of it.
const DECISION_SECTIONS: [&str; 5] = [
    "context",
    "decision",
    "alternatives",
    "consequences",
    "wrong",
];

pub(super) fn check(path: &str, text: &str) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (line, content) in numbered(text) {
        let mut report = |message: String| {
            violations.push(Violation {
                path: path.to_owned(),
                line,
                message,
            });
        };
        for (word, what) in MACHINE_WORDS {
            if names(content, word) {
                report(format!("{what} ({word})"));
            }
        }
        // A token that was recorded with an answer; in sources it is a known-answer test.
        let recorded = path.contains("/fixtures/") && is_signed_token(content);
        if let Some(beginning) = secret(content).or(recorded.then_some("eyJ")) {
            report(format!(
                "looks like a live secret ({beginning}…): use one that says `test` or `example`"
            ));
        }
    }
    if path.starts_with("host/decisions/") && path.ends_with(".md") && !path.ends_with("README.md")
    {
        decision(path, text, &mut violations);
    }
    violations
}

/// Whether the line has the word, and not as the end of a longer path or name.
fn names(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(start, _)| {
        !line[..start]
            .chars()
            .next_back()
            .is_some_and(|before| before.is_alphanumeric() || "._-}".contains(before))
    })
}

/// The beginning of what looks like a live secret in the line, if anything does.
fn secret(line: &str) -> Option<&'static str> {
    // Also in two halves.
    let key_block = concat!("PRIVATE KEY", "-----");
    if line.contains("-----BEGIN") && line.contains(key_block) {
        return Some("-----BEGIN");
    }
    SECRET_BEGINNINGS
        .into_iter()
        .find_map(|(beginning, least)| {
            line.match_indices(beginning)
                .any(|(start, _)| {
                    let continues_a_name =
                        line[..start].chars().next_back().is_some_and(|before| {
                            before.is_ascii_alphanumeric() || before == '_' || before == '-'
                        });
                    let token: String = line[start + beginning.len()..]
                        .chars()
                        .take_while(|character| {
                            character.is_ascii_alphanumeric() || "-_.".contains(*character)
                        })
                        .collect();
                    !continues_a_name
                        && token.len() >= least
                        && looks_random(&token)
                        && !(beginning == "whsec_" && is_encoded_text(&token))
                })
                .then_some(beginning)
        })
}

/// Whether the line has a JSON Web Token.
fn is_signed_token(line: &str) -> bool {
    let is_part = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
    line.split(|character| !is_part(character)).any(|token| {
        token.len() > 100 && token.starts_with("eyJ") && token.matches('.').count() == 2
    })
}

/// Whether a token could have come from a random source: letters and digits mixed, many
/// different ones, and no word that marks it as made up.
fn looks_random(token: &str) -> bool {
    let lower = token.to_ascii_lowercase();
    let made_up = [
        "test",
        "example",
        "fake",
        "simulat",
        "dummy",
        "0123456789",
        "abcdef",
    ];
    if made_up.iter().any(|word| lower.contains(word)) {
        return false;
    }
    let mut different: Vec<char> = token.chars().collect();
    different.sort_unstable();
    different.dedup();
    different.len() >= 10
        && token.bytes().any(|byte| byte.is_ascii_digit())
        && token.bytes().any(|byte| byte.is_ascii_alphabetic())
}

/// Whether base64 hides plain ASCII text: a random secret of 24 bytes does so once in ten
/// million times.
fn is_encoded_text(token: &str) -> bool {
    let mut bits = 0_u32;
    let mut count = 0_u32;
    for byte in token.bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return false,
        };
        bits = (bits << 6) | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            let decoded = (bits >> count) & 0xff;
            if !(0x20..0x7f).contains(&decoded) {
                return false;
            }
        }
    }
    true
}

fn decision(path: &str, text: &str, violations: &mut Vec<Violation>) {
    let headings: Vec<String> = text
        .lines()
        .filter(|line| line.starts_with("## "))
        .map(str::to_lowercase)
        .collect();
    for section in DECISION_SECTIONS {
        if !headings.iter().any(|heading| heading.contains(section)) {
            violations.push(Violation {
                path: path.to_owned(),
                line: 0,
                message: format!("a decision record needs a `## …{section}…` heading"),
            });
        }
    }
    let name = path.rsplit('/').next().unwrap_or(path);
    let numbered = name.len() > 5
        && name.as_bytes()[..4].iter().all(u8::is_ascii_digit)
        && name.as_bytes()[4] == b'-';
    if !numbered {
        violations.push(Violation {
            path: path.to_owned(),
            line: 0,
            message: "a decision record is named NNNN-short-title.md".to_owned(),
        });
    }
}
