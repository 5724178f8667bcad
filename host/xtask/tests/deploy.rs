//! What `host/deploy` and the documents say exists: settings, variables, flags, doors, files.
//! A deployment that names what is no longer there fails here, not on somebody's machine.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Variables of the programs beside genvid.
const OTHER_PROGRAMS: [&str; 1] = ["POSTGRES_PASSWORD_FILE"];
/// What a stop may take besides `server.drain_seconds`: the worker's last word, connections,
/// Redis, threads (`App::stop` and the end of `cli::main`).
const BESIDES_DRAIN: u64 = 15;

fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().expect("the repository")
}

fn read(path: &str) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every file below a folder whose name ends so, without what is built or installed.
fn files(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(folder).expect("a readable folder");
    for entry in entries.map(|entry| entry.expect("a readable entry")) {
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_folder = entry.file_type().expect("a type").is_dir();
        let skipped = ["target", "node_modules", "secrets", "demo-out"].contains(&&*name);
        if is_folder && !skipped && !name.starts_with('.') {
            files(&entry.path(), ending, found);
        } else if !is_folder && name.ends_with(ending) {
            found.push(entry.path());
        }
    }
}

/// What is checked: the path from the root, and the text.
fn texts() -> Vec<(String, String)> {
    let root = root();
    let mut paths = vec![root.join("README.md")];
    files(&root.join("host/deploy"), "", &mut paths);
    let mut texts: Vec<(String, String)> = paths
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).expect("text");
            let name = path.strip_prefix(&root).expect("below the root");
            (name.display().to_string(), text)
        })
        .collect();
    texts.sort();
    assert!(texts.len() > 10, "{} files", texts.len());
    texts
}

/// Sections and settings of `config.default.toml`, by path.
fn settings() -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut sections, mut settings) = (BTreeSet::new(), BTreeSet::new());
    let mut section = String::new();
    for line in read("host/config.default.toml").lines() {
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            section = name.to_owned();
            sections.insert(section.clone());
        } else if let Some((key, _)) = line.split_once(" = ")
            && !line.starts_with('#')
        {
            settings.insert(format!("{section}.{key}"));
        }
    }
    assert!(settings.contains("server.drain_seconds"), "{settings:?}");
    (sections, settings)
}

fn is_provider_setting(path: &str) -> bool {
    let keys = [
        "enabled",
        "concurrency",
        "settle_after_seconds",
        "settings",
        "secrets",
        "reroute",
    ];
    let parts: Vec<&str> = path.split('.').collect();
    // `[providers.ID]` is the table itself.
    matches!(&parts[..], ["providers", _, key, ..] if keys.contains(key))
        || parts == ["providers", "id"]
        || parts == ["providers", "ID"]
}

/// Words of these characters.
fn words(text: &str, belongs: impl Fn(char) -> bool) -> Vec<&str> {
    text.split(|character: char| !belongs(character))
        .filter(|word| !word.is_empty())
        .collect()
}

/// Text between backticks; the content of fenced blocks is such text too.
fn spans(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

#[track_caller]
fn nothing(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn settings_exist() {
    let (sections, settings) = settings();
    let endings = [
        "md", "acl", "conf", "json", "toml", "rs", "com", "service", "yaml",
    ];
    let mut wrong = Vec::new();
    for (name, text) in texts() {
        for word in words(&text, |c| c.is_ascii_alphanumeric() || c == '_') {
            if let Some(rest) = word.strip_prefix("GENVID__") {
                let path = rest.to_lowercase().replace("__", ".");
                if !settings.contains(&path) && !is_provider_setting(&path) {
                    wrong.push(format!("{name}: {word}"));
                }
            }
        }
        for word in words(&text, |c| c.is_ascii_alphanumeric() || "_.".contains(c)) {
            let word = word.trim_matches('.');
            let Some((first, _)) = word.split_once('.') else {
                continue;
            };
            let last = word.rsplit('.').next().unwrap_or_default();
            if !sections.contains(first) || endings.contains(&last) {
                continue;
            }
            let known = settings.contains(word) || sections.contains(word);
            if !known && !is_provider_setting(word) {
                wrong.push(format!("{name}: {word}"));
            }
        }
    }
    nothing(&wrong);
}

#[test]
fn secrets_in_files_have_a_reader() {
    // Wherever `config::secret` and `config::vendor_secret` are called.
    let mut known = read("host/src/config/mod.rs");
    known.push_str(&read("host/src/app/post.rs"));
    known.push_str(&read("host/src/app/till.rs"));
    known.push_str(&read("host/src/app/identity.rs"));
    let mut manifests = Vec::new();
    files(&root().join("plugins"), "plugin.toml", &mut manifests);
    for manifest in manifests {
        known.push_str(&fs::read_to_string(manifest).expect("a manifest"));
    }
    let mut wrong = Vec::new();
    for (name, text) in texts() {
        for word in words(&text, |c| {
            c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'
        }) {
            if let Some(secret) = word.strip_suffix("_FILE")
                && !secret.is_empty()
                && !OTHER_PROGRAMS.contains(&word)
                && !known.contains(&format!("\"{secret}\""))
            {
                wrong.push(format!("{name}: nothing reads {word}"));
            }
        }
    }
    nothing(&wrong);
}

/// Subcommands and long flags, as the command line's source has them.
fn command_line() -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut commands, mut flags) = (BTreeSet::new(), BTreeSet::new());
    let source = read("host/src/cli/mod.rs");
    let (_, rest) = source.split_once("enum Command {").expect("the commands");
    let (variants, _) = rest.split_once("\n}").expect("their end");
    for line in variants.lines() {
        if let Some(line) = line.strip_prefix("    ")
            && line.starts_with(|first: char| first.is_ascii_uppercase())
        {
            let name = words(line, |c| c.is_ascii_alphanumeric())[0];
            commands.insert(name.to_lowercase());
        }
    }
    let mut sources = Vec::new();
    files(&root().join("host/src/cli"), ".rs", &mut sources);
    for source in sources {
        let source = fs::read_to_string(source).expect("a source");
        for (place, _) in source.match_indices("#[arg(") {
            let attribute = &source[place..];
            let (inside, after) = attribute.split_once(")]").expect("its end");
            if !inside.contains("long") {
                continue;
            }
            let named = inside
                .split_once("long = \"")
                .and_then(|(_, rest)| rest.split_once('"'))
                .map(|(name, _)| name.to_owned());
            let field = after.split_once(':').map_or("", |(field, _)| field.trim());
            flags.insert(named.unwrap_or_else(|| field.replace('_', "-")));
        }
    }
    for flag in ["role", "plugins", "config"] {
        assert!(flags.contains(flag), "{flag}: {flags:?}");
    }
    for command in ["serve", "migrate", "config", "plugin"] {
        assert!(commands.contains(command), "{command}: {commands:?}");
    }
    (commands, flags)
}

#[test]
fn commands_and_flags_exist() {
    let (commands, flags) = command_line();
    let is_binary = |word: &str| {
        word == "genvid"
            || ["bin/genvid", "debug/genvid", "release/genvid"]
                .iter()
                .any(|ending| word.ends_with(ending))
    };
    let mut wrong = Vec::new();
    for (name, text) in texts() {
        let is_document = name.ends_with(".md");
        for line in text.lines() {
            // A list in YAML or JSON, or a line for a shell.
            let plain = line.replace(['"', '[', ']', ',', '`', '(', ')'], " ");
            let words: Vec<&str> = plain.split_whitespace().collect();
            let begin = words.iter().enumerate().position(|(index, word)| {
                let before = index.checked_sub(1).map_or("", |before| words[before]);
                commands.contains(*word)
                    && (is_binary(before) || ["command:", "args:", "CMD"].contains(&before))
            });
            let arguments = &words[begin.unwrap_or(words.len())..];
            for word in arguments {
                if let Some(flag) = word.strip_prefix("--") {
                    let flag = flag.split(['=', '.', ';']).next().unwrap_or_default();
                    if !flag.is_empty() && !flags.contains(flag) {
                        wrong.push(format!("{name}: --{flag} in {line:?}"));
                    }
                }
            }
        }
        if !is_document {
            continue;
        }
        for span in spans(&text) {
            if let Some(flag) = span.strip_prefix("--") {
                let flag = flag.split([' ', '=']).next().unwrap_or_default();
                if !flags.contains(flag) {
                    wrong.push(format!("{name}: --{flag}"));
                }
            }
            let words: Vec<&str> = span.split_whitespace().collect();
            for pair in words.windows(2) {
                let is_word = pair[1].bytes().all(|byte| byte.is_ascii_lowercase());
                if is_binary(pair[0]) && is_word && !commands.contains(pair[1]) {
                    wrong.push(format!("{name}: {} {}", pair[0], pair[1]));
                }
            }
        }
    }
    nothing(&wrong);
}

/// First parts of the paths that the server answers.
fn doors() -> BTreeSet<String> {
    let mut sources = Vec::new();
    files(&root().join("host/src/http"), ".rs", &mut sources);
    let mut doors = BTreeSet::new();
    for source in sources {
        let source = fs::read_to_string(source).expect("a source");
        for beginning in [".route(", ".nest("] {
            for part in source.split(beginning).skip(1) {
                // Long calls are broken before their first argument.
                if let Some(path) = part.trim_start().strip_prefix("\"/") {
                    doors.insert(first_part(path).to_owned());
                }
            }
        }
    }
    assert!(
        doors.contains("readyz") && doors.contains("graphql"),
        "{doors:?}"
    );
    doors
}

fn first_part(path: &str) -> &str {
    path.split(|character: char| !character.is_ascii_alphanumeric())
        .next()
        .unwrap_or_default()
}

#[test]
fn doors_exist() {
    let doors = doors();
    let mut wrong = Vec::new();
    for (name, text) in texts() {
        let mut named: Vec<&str> = Vec::new();
        // Of the server's own port, of probes and ingresses, of a proxy.
        for beginning in [
            ":8080/",
            ":-8080}/",
            "{path: /",
            "- path: /",
            "location = /",
            "location /",
        ] {
            named.extend(text.split(beginning).skip(1).map(first_part));
        }
        if name.ends_with(".md") {
            let single = spans(&text)
                .into_iter()
                .filter_map(|span| span.strip_prefix('/'))
                .filter(|rest| !rest.is_empty() && *rest != "tmp")
                .filter(|rest| rest.bytes().all(|byte| byte.is_ascii_lowercase()));
            named.extend(single);
        }
        for door in named {
            // Nothing: the path is `/`.
            if !door.is_empty() && !doors.contains(door) {
                wrong.push(format!("{name}: /{door}"));
            }
        }
    }
    nothing(&wrong);
}

#[test]
fn links_lead_somewhere() {
    let root = root();
    let mut documents = Vec::new();
    files(&root, ".md", &mut documents);
    let mut wrong = Vec::new();
    for document in documents {
        let text = fs::read_to_string(&document).expect("text");
        // Every other part is a block of code.
        let prose: String = text.split("```").step_by(2).collect();
        for target in prose.split("](").skip(1) {
            let target = target.split([')', '#', ' ']).next().unwrap_or_default();
            let elsewhere = target.contains("://") || target.starts_with("mailto:");
            let folder = document.parent().expect("a folder");
            if !target.is_empty() && !elsewhere && !folder.join(target).exists() {
                wrong.push(format!("{}: {target}", document.display()));
            }
        }
    }
    nothing(&wrong);
}

#[test]
fn the_image_has_what_the_set_up_installs() {
    let container = read("host/deploy/Containerfile");
    let setup = read("host/xtask/src/setup.rs");
    let fonts: Vec<&str> = setup
        .split('"')
        .filter(|text| text.starts_with("fonts-") && !text.contains(' '))
        .collect();
    assert!(!fonts.is_empty());
    for package in fonts.into_iter().chain(["ffmpeg"]) {
        assert!(container.contains(package), "{package} is not in the image");
    }
    for line in container.lines() {
        let Some(rest) = line.strip_prefix("COPY ") else {
            continue;
        };
        let mut sources: Vec<&str> = rest.split_whitespace().collect();
        sources.pop();
        if !rest.starts_with("--from") {
            for source in sources {
                assert!(root().join(source).exists(), "{line}");
            }
        }
    }
    assert_eq!(
        read(".containerignore"),
        read("host/deploy/Containerfile.dockerignore"),
        "two names of one file"
    );
}

#[test]
fn nothing_is_killed_before_it_has_drained() {
    let defaults = read("host/config.default.toml");
    let drain = number_after(&defaults, "drain_seconds = ").expect("a default");
    let mut checked = 0;
    for (name, text) in texts() {
        for line in text.lines() {
            let line = line.trim();
            let Some(grace) = [
                "TimeoutStopSec=",
                "stop_grace_period: ",
                "terminationGracePeriodSeconds: ",
            ]
            .into_iter()
            .find(|key| line.starts_with(key))
            .and_then(|key| number_after(line, key)) else {
                continue;
            };
            // PostgreSQL's own is told in minutes.
            if line.ends_with('m') {
                continue;
            }
            checked += 1;
            // `preStop` waits within the same time.
            let before = number_after(&text, "\"sleep\", \"").unwrap_or(0);
            assert!(
                grace > drain + BESIDES_DRAIN + before,
                "{name}: {line} with a drain of {drain} s"
            );
        }
    }
    assert!(checked >= 5, "{checked} found");
}

fn number_after(text: &str, key: &str) -> Option<u64> {
    let (_, rest) = text.split_once(key)?;
    let digits: String = rest
        .chars()
        .take_while(|character| character.is_ascii_digit())
        .collect();
    digits.parse().ok()
}

/// Each command of the scripts is allowed, and none that nobody sends.
#[test]
fn rights_in_redis_are_the_least() {
    let sent = [
        "ping",
        "publish",
        "subscribe",
        "evalsha",
        "script|load",
        "zrem",
    ];
    let mut needed: BTreeSet<String> = sent.into_iter().map(str::to_owned).collect();
    let mut scripts = Vec::new();
    files(
        &root().join("host/src/adapters/redis/scripts"),
        ".lua",
        &mut scripts,
    );
    for script in scripts {
        let script = fs::read_to_string(script).expect("a script");
        for call in script.split("redis.call('").skip(1) {
            let (command, _) = call.split_once('\'').expect("a name");
            needed.insert(command.to_lowercase());
        }
    }
    let rules = read("host/deploy/redis.acl");
    let user = rules
        .lines()
        .find(|line| line.starts_with("user genvid "))
        .expect("the server's user");
    let allowed: BTreeSet<String> = user
        .split_whitespace()
        .filter_map(|word| word.strip_prefix('+'))
        .map(str::to_owned)
        .collect();
    assert_eq!(allowed, needed);
}

/// No parser of YAML is at hand; these are the mistakes that hands make.
#[test]
fn yaml_has_no_tabs_and_every_alias_its_anchor() {
    let mut checked = 0;
    for (name, text) in texts() {
        if !name.ends_with(".yaml") {
            continue;
        }
        checked += 1;
        assert!(!text.contains('\t'), "{name} has a tab");
        // Anchors belong to one document of the file.
        for document in text.split("\n---\n") {
            let mut anchors = BTreeSet::new();
            for line in document.lines() {
                if line.trim_start().starts_with('#') {
                    continue;
                }
                for word in line.split_whitespace() {
                    if let Some(anchor) = word.strip_prefix('&') {
                        anchors.insert(anchor);
                    } else if let Some(alias) = word.strip_prefix('*') {
                        assert!(anchors.contains(alias), "{name}: *{alias} in {line:?}");
                    }
                }
            }
        }
    }
    assert!(checked >= 8, "{checked} files");
}
