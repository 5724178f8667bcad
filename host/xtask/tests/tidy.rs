//! The repository keeps its own rules, and each rule finds what it forbids.

use std::path::Path;
use xtask::tidy::{check, check_file};

fn messages(path: &str, text: &str) -> Vec<String> {
    check_file(path, text)
        .into_iter()
        .map(|violation| format!("{}: {}", violation.line, violation.message))
        .collect()
}

#[track_caller]
fn clean(path: &str, text: &str) {
    assert_eq!(messages(path, text), Vec::<String>::new(), "{path}");
}

#[track_caller]
fn found(path: &str, text: &str, line: usize, words: &str) {
    let messages = messages(path, text);
    assert!(
        matches!(&messages[..], [one] if one.starts_with(&format!("{line}: ")) && one.contains(words)),
        "{path}: {messages:?}"
    );
}

#[test]
fn the_repository_is_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let root = root.canonicalize().expect("the repository");
    let violations = check(&root).expect("readable files");
    let list: Vec<String> = violations.iter().map(ToString::to_string).collect();
    assert!(list.is_empty(), "\n{}", list.join("\n"));
}

#[test]
fn only_config_reads_the_environment() {
    let code = "fn f() {\n    let home = std::env::var(\"HOME\");\n}\n";
    found("host/src/jobs/store.rs", code, 2, "host/src/config");
    found("plugins/kling/src/lib.rs", code, 2, "host/src/config");
    found(
        "host/src/cli/mod.rs",
        "#[arg(long, env = \"GENVID_PORT\")]\n",
        1,
        "host/src/config",
    );
    clean("host/src/config/mod.rs", code);
    clean("sdk/build/src/toolchain.rs", code);
    clean("host/tests/it/support.rs", code);
    clean(
        "host/src/jobs/store.rs",
        "// std::env::var(\"HOME\") is for config\n",
    );
    clean(
        "host/src/jobs/store.rs",
        "let here = std::env::current_dir();\nlet x = my_env::var(1);\n",
    );
}

#[test]
fn libraries_have_one_place() {
    found(
        "host/src/providers/mod.rs",
        "use wasmtime::Store;\n",
        1,
        "host/runtime",
    );
    clean("host/runtime/src/engine.rs", "use wasmtime::Store;\n");
    found(
        "host/src/jobs/mod.rs",
        "let row: sqlx::Row = x;\n",
        1,
        "adapters/sql",
    );
    clean("host/src/adapters/sql/jobs.rs", "use sqlx::Row;\n");
    found(
        "host/src/adapters/mail.rs",
        "use sqlx::Row;\n",
        1,
        "adapters/sql",
    );
    clean("host/tests/e2e/database.rs", "use sqlx::Row;\n");
    found(
        "host/src/http/mod.rs",
        "use async_graphql::Schema;\n",
        1,
        "translate at the edge",
    );
    clean("host/src/graphql/mod.rs", "use async_graphql::Schema;\n");
    clean("host/transport/src/lib.rs", "use async_graphql::Schema;\n");
}

#[test]
fn dependencies_have_one_place() {
    found(
        "sdk/rust/Cargo.toml",
        "[dependencies]\nwasmtime.workspace = true\n",
        2,
        "host/runtime",
    );
    found(
        "sdk/testkit/Cargo.toml",
        "wasmtime-wasi = \"48\"\n",
        1,
        "host/runtime",
    );
    found(
        "sdk/testkit/Cargo.toml",
        "sqlx = { version = \"1\" }\n",
        1,
        "sqlx",
    );
    found(
        "host/media/Cargo.toml",
        "async-graphql.workspace = true\n",
        1,
        "async-graphql",
    );
    clean("host/runtime/Cargo.toml", "wasmtime.workspace = true\n");
    clean("sdk/build/Cargo.toml", "wasmparser.workspace = true\n");
}

#[test]
fn source_files_stay_short() {
    found("host/src/jobs/mod.rs", &"\n".repeat(701), 0, "701 lines");
    clean("host/src/jobs/mod.rs", &"\n".repeat(700));
    clean("host/tests/it/jobs.rs", &"\n".repeat(900));
}

#[test]
fn nothing_names_a_machine() {
    for word in [
        concat!("/ro", "ot/.cache"),
        concat!("/wo", "rk/main"),
        concat!("https://registry.npm", "js.org/x.tgz"),
    ] {
        found("README.md", &format!("one\nsee {word}\n"), 2, "(");
    }
    clean(
        "README.md",
        "see docs/root/ and ./work and the crates registry\n",
    );
}

#[test]
fn nothing_looks_like_a_live_secret() {
    let random = "Zx8Qv2Lm9Rt4Wb7Ky1Np6Hd3Jf5Gs0Ca";
    for secret in [
        concat!("sk_li", "ve_"),
        concat!("sk-pr", "oj-"),
        concat!("gh", "p_a1b2c3d4"),
        concat!("whs", "ec_"),
    ] {
        let text = format!("{{\"key\": \"{secret}{random}{random}\"}}\n");
        found("plugins/openai/fixtures/x.json", &text, 1, "live secret");
    }
    let key = concat!("-----BEGIN PRIVATE", " KEY-----\n");
    found("host/tests/key.pem", key, 1, "live secret");
    for harmless in [
        "sk-test-key",
        "sk_0123456789abcdefghijklmnopqrstuvwxyz0123456789",
        "whsec_dGVzdHNlY3JldHRlc3RzZWNyZXR0ZXN0c2VjcmV0MTI=",
        "the task-of-a-long-name-with-very-many-words-in-it-1234567890",
        "sha256 = 2c30e8a61001aa0123456789",
    ] {
        clean("plugins/openai/fixtures/x.json", harmless);
    }
}

#[test]
fn decisions_have_their_sections() {
    let whole = "# One\n## Context\n## Decision\n## Alternatives\n## Consequences\n## How we will know it was wrong\n";
    clean("host/decisions/0001-one.md", whole);
    found(
        "host/decisions/0001-one.md",
        &whole.replace("## Alternatives\n", ""),
        0,
        "alternatives",
    );
    found("host/decisions/one.md", whole, 0, "NNNN-short-title.md");
}
