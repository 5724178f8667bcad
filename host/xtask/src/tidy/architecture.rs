//! Who may know what: the libraries and the environment each have one place.

use super::{Violation, numbered};

/// Longest source file, in lines. A longer one has more than one subject.
const MAX_LINES: usize = 700;

/// The checks themselves and their tests, which have to name what they forbid.
const TIDY: &str = "host/xtask/";

/// A word that may stand only in some folders.
struct Rule {
    /// What the code must not contain elsewhere.
    words: &'static [&'static str],
    /// Folders (or files) that may.
    allowed: &'static [&'static str],
    /// Why, and what to do instead.
    message: &'static str,
}

/// Rules for Rust sources.
const CODE_RULES: [Rule; 6] = [
    Rule {
        words: &["env::var(", "env::vars", "env::var_os(", "env = \""],
        allowed: &[
            "host/src/config/",
            // Programs of the build, which have no settings.
            TIDY,
            "host/transport/build.rs",
            "sdk/build/",
        ],
        message: "only host/src/config reads the environment: take the value as a parameter",
    },
    Rule {
        words: &["wasmtime::", "wasmtime;"],
        allowed: &["host/runtime/", TIDY],
        message: "only host/runtime knows wasmtime: use genvid-runtime's own types",
    },
    Rule {
        words: &["sqlx::", "sqlx;"],
        allowed: &["host/src/adapters/sql/", TIDY],
        message: "only host/src/adapters/sql knows sqlx: use the port in front of it",
    },
    Rule {
        words: &["use redis::"],
        allowed: &["host/src/adapters/redis/", "host/testing/", TIDY],
        message: "only host/src/adapters/redis knows redis: use the port in front of it",
    },
    Rule {
        words: &["aws_sdk_s3::", "aws_sdk_s3;"],
        allowed: &["host/s3/", TIDY],
        message: "only host/s3 knows the S3 SDK: use the BlobStore port",
    },
    Rule {
        words: &["async_graphql::", "async_graphql;"],
        allowed: &["host/src/graphql/", "host/transport/", TIDY],
        message: "only host/src/graphql and host/transport know async-graphql: translate at the edge",
    },
];

/// Measurements name what they stand beside.
const BENCHES: &str = "host/benches/Cargo.toml";

/// Rules for the dependencies that a `Cargo.toml` names.
const DEPENDENCY_RULES: [Rule; 5] = [
    Rule {
        words: &["wasmtime"],
        allowed: &["Cargo.toml", "host/runtime/Cargo.toml", BENCHES],
        message: "only host/runtime depends on wasmtime",
    },
    Rule {
        words: &["sqlx"],
        allowed: &["Cargo.toml", "host/Cargo.toml"],
        message: "only host depends on sqlx",
    },
    Rule {
        words: &["redis"],
        allowed: &["Cargo.toml", "host/Cargo.toml", BENCHES],
        message: "only host depends on redis",
    },
    Rule {
        words: &["aws-sdk", "aws-config", "aws-smithy"],
        allowed: &["Cargo.toml", "host/s3/Cargo.toml"],
        message: "only host/s3 depends on the S3 SDK",
    },
    Rule {
        words: &["async-graphql"],
        allowed: &[
            "Cargo.toml",
            "host/Cargo.toml",
            "host/transport/Cargo.toml",
            BENCHES,
        ],
        message: "only host and host/transport depend on async-graphql",
    },
];

pub(super) fn check(path: &str, text: &str) -> Vec<Violation> {
    let mut violations = Vec::new();
    if path.ends_with(".rs") {
        code(path, text, &mut violations);
        length(path, text, &mut violations);
    }
    if path == "Cargo.toml" || path.ends_with("/Cargo.toml") {
        dependencies(path, text, &mut violations);
    }
    violations
}

fn is_allowed(path: &str, allowed: &[&str]) -> bool {
    allowed
        .iter()
        .any(|place| path == *place || (place.ends_with('/') && path.starts_with(place)))
}

fn code(path: &str, text: &str, violations: &mut Vec<Violation>) {
    // Tests look behind the walls: into the database, at the process, at what is told to them
    // by the environment. The walls are those of what ships.
    if path.contains("/tests/") || path.contains("/benches/") {
        return;
    }
    for rule in CODE_RULES
        .iter()
        .filter(|rule| !is_allowed(path, rule.allowed))
    {
        for (line, content) in numbered(text) {
            let code = content.trim_start();
            if code.starts_with("//") {
                continue;
            }
            if rule.words.iter().any(|word| has_word(code, word)) {
                violations.push(Violation {
                    path: path.to_owned(),
                    line,
                    message: rule.message.to_owned(),
                });
            }
        }
    }
}

/// Whether `word` stands in `code` and does not continue a longer name to its left.
fn has_word(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(start, _)| {
        !code[..start]
            .chars()
            .next_back()
            .is_some_and(|before| before.is_alphanumeric() || before == '_')
    })
}

fn dependencies(path: &str, text: &str, violations: &mut Vec<Violation>) {
    for rule in DEPENDENCY_RULES
        .iter()
        .filter(|rule| !is_allowed(path, rule.allowed))
    {
        for (line, content) in numbered(text) {
            let name = content
                .split(['=', '.', ' '])
                .next()
                .unwrap_or_default()
                .trim_matches('"');
            let is_one = rule.words.iter().any(|word| {
                name == *word
                    || name
                        .strip_prefix(word)
                        .is_some_and(|rest| rest.starts_with('-'))
            });
            if is_one {
                violations.push(Violation {
                    path: path.to_owned(),
                    line,
                    message: rule.message.to_owned(),
                });
            }
        }
    }
}

fn length(path: &str, text: &str, violations: &mut Vec<Violation>) {
    let lines = text.lines().count();
    if lines > MAX_LINES && (path.starts_with("src/") || path.contains("/src/")) {
        violations.push(Violation {
            path: path.to_owned(),
            line: 0,
            message: format!("{lines} lines, at most {MAX_LINES}: split it by subject"),
        });
    }
}
