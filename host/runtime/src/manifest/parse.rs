//! The top level of the manifest.

use toml::Table;

use super::reader::{Problems, Reader};
use super::{CONTRACT, Limits, Manifest, OptionSchemas, Problem, Recovery, Tasks, kinds, network};

/// The manifest, as far as it can be read, and everything that is wrong with it. With a problem
/// the manifest holds placeholders and is good for nothing but finding more problems.
pub(super) fn parse(text: &str) -> (Option<Manifest>, Vec<Problem>) {
    let table: Table = match text.parse() {
        Ok(table) => table,
        Err(error) => {
            let error: toml::de::Error = error;
            let line = error
                .span()
                .map_or(1, |span| 1 + text[..span.start].matches('\n').count());
            let message = format!("is not TOML, line {line}: {}", error.message());
            return (None, vec![Problem::new("manifest", message)]);
        }
    };
    let problems = Problems::default();
    let manifest = read(&Reader::new(&table, "", &problems));
    (Some(manifest), problems.into_vec())
}

fn read(root: &Reader<'_>) -> Manifest {
    let id = root.text("id", 100);
    if !id.is_empty() && !is_id(&id) {
        root.wrong("id", format!("`{id}` does not fit [a-z][a-z0-9-]{{1,31}}"));
    }
    let name = root.text("name", 100);
    let version = root.text("version", 64);
    if !version.is_empty() && !is_semver(&version) {
        root.wrong("version", format!("`{version}` is no version as `1.2.3`"));
    }
    let contract = root.text("contract", 20);
    if !contract.is_empty() && contract != CONTRACT {
        root.wrong(
            "contract",
            format!("`{contract}` is unknown; this host speaks {CONTRACT}"),
        );
    }
    let description = root.optional_text("description", 500).unwrap_or_default();
    let homepage = root.optional_text("homepage", 500);
    if let Some(page) = &homepage
        && !(page.starts_with("https://") || page.starts_with("http://"))
    {
        root.wrong("homepage", format!("`{page}` is no URL"));
    }
    let license = root.optional_text("license", 100);

    let video = root.table("video").map(kinds::video);
    let voice = root.table("voice").map(kinds::voice);
    let script = root.table("script").map(kinds::script);
    let tasks = root.table("tasks").map(tasks);
    let recovery = root.table("recovery").map(recovery).unwrap_or_default();
    if recovery.lookup && tasks.is_none() {
        root.wrong(
            "recovery.lookup",
            "needs `tasks.find`, but there is no [tasks]",
        );
    }
    let limits = root.table("limits").map(limits).unwrap_or_default();
    let settings = root.table("settings").and_then(|table| {
        if !table.has("schema") {
            table.wrong("schema", "is missing");
        }
        let schema = table.schema("schema");
        table.finish();
        schema
    });
    let options = root
        .table("options")
        .map(option_schemas)
        .unwrap_or_default();
    for (kind, there, schema) in [
        ("video", video.is_some(), &options.video),
        ("voice", voice.is_some(), &options.voice),
        ("script", script.is_some(), &options.script),
    ] {
        if schema.is_some() && !there {
            root.wrong(&format!("options.{kind}"), format!("there is no [{kind}]"));
        }
    }
    let credentials = network::credentials(root);
    let network = network::network(root.table("network"), &credentials, root);
    let webhook = root.table("webhook").and_then(network::webhook);

    let manifest = Manifest {
        id,
        name,
        version,
        contract,
        description,
        homepage,
        license,
        video,
        voice,
        script,
        tasks,
        recovery,
        limits,
        settings: settings.unwrap_or_else(|| {
            serde_json::json!({"type": "object", "additionalProperties": false, "properties": {}})
        }),
        options,
        network,
        credentials,
        webhook,
    };
    root.unknown();
    manifest
}

fn tasks(table: Reader<'_>) -> Tasks {
    let tasks = Tasks {
        poll_after_ms: table.u32("poll_after_ms", 10, 600_000),
        poll_max_ms: table.u32("poll_max_ms", 100, 3_600_000),
        batch: table.u32_or("batch", 1, 1, 500),
        cancel: table.flag("cancel"),
    };
    if table.has("poll_max_ms") && tasks.poll_after_ms > tasks.poll_max_ms {
        table.wrong("poll_after_ms", "is more than poll_max_ms");
    }
    table.finish();
    tasks
}

fn recovery(table: Reader<'_>) -> Recovery {
    let recovery = Recovery {
        replay_hours: table.optional_u32("replay_hours", 1, 8_760),
        lookup: table.flag("lookup"),
        settle_after_seconds: table.optional_u32("settle_after_seconds", 0, 86_400),
    };
    if recovery.settle_after_seconds.is_some() && !recovery.lookup {
        table.wrong(
            "settle_after_seconds",
            "means nothing without `lookup = true`",
        );
    }
    table.finish();
    recovery
}

fn limits(table: Reader<'_>) -> Limits {
    let default = Limits::default();
    let limits = Limits {
        concurrency: table.u32_or("concurrency", default.concurrency, 1, 10_000),
        requests_per_second: table.u32_or(
            "requests_per_second",
            default.requests_per_second,
            1,
            10_000,
        ),
        call_timeout_ms: table.u32_or("call_timeout_ms", default.call_timeout_ms, 1_000, 600_000),
        response_kib: table.u32_or("response_kib", default.response_kib, 1, 8_192),
        memory_mib: table.u32_or("memory_mib", default.memory_mib, 1, 256),
        requests_per_call: table.u32_or("requests_per_call", default.requests_per_call, 1, 64),
    };
    table.finish();
    limits
}

fn option_schemas(table: Reader<'_>) -> OptionSchemas {
    let options = OptionSchemas {
        video: table.schema("video"),
        voice: table.schema("voice"),
        script: table.schema("script"),
    };
    table.finish();
    options
}

fn is_id(id: &str) -> bool {
    (2..=32).contains(&id.len())
        && id.starts_with(|letter: char| letter.is_ascii_lowercase())
        && id
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// Semantic Versioning 2.0.0: three numbers without leading zeros, then optionally `-` and a
/// pre-release, `+` and build metadata.
fn is_semver(text: &str) -> bool {
    let (text, build) = text
        .split_once('+')
        .map_or((text, None), |(a, b)| (a, Some(b)));
    let (core, pre) = text
        .split_once('-')
        .map_or((text, None), |(a, b)| (a, Some(b)));
    let number = |part: &str| {
        !part.is_empty()
            && part.len() <= 9
            && part.bytes().all(|byte| byte.is_ascii_digit())
            && (part == "0" || !part.starts_with('0'))
    };
    let words = |part: &str| {
        part.split('.').all(|word| {
            !word.is_empty()
                && word
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        })
    };
    core.split('.').count() == 3
        && core.split('.').all(number)
        && pre.is_none_or(words)
        && build.is_none_or(words)
}
