//! The manifest: what a full one says, and every problem of a wrong one at once.

use genvid_runtime::Manifest;
use genvid_runtime::manifest::{Aspect, Credential, Need, Speech, Unit, Verify};

const MINIMAL: &str = r#"
id = "acme"
name = "Acme"
version = "1.0.0-rc.1+build.5"
contract = "0.1"
[script]
languages = ["en", "de"]
typical_seconds = 1
"#;

/// The example of `wit/MANIFEST.md`, which therefore can never be wrong itself.
fn documented() -> String {
    let text = include_str!("../../../../wit/MANIFEST.md");
    let start = text.find("```toml\n").expect("an example") + 8;
    let end = text[start..].find("```").expect("an end") + start;
    text[start..end].to_owned()
}

fn problems(text: &str) -> Vec<String> {
    Manifest::parse(text)
        .expect_err("a wrong manifest")
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn the_documented_manifest_is_read() {
    let manifest = Manifest::parse(&documented()).expect("a good manifest");
    let video = manifest.video.expect("video");
    assert_eq!(
        video.aspects,
        [Aspect::Portrait, Aspect::Square, Aspect::Landscape]
    );
    assert_eq!(video.speech, [Speech::Script, Speech::Audio]);
    assert_eq!((video.max_characters, video.max_seconds), (5_000, 600));
    assert_eq!(video.avatar, Need::Required);
    assert_eq!(video.models[0].id, "avatar_iv");
    assert_eq!(
        (video.prices[0].unit, video.prices[0].micro_usd),
        (Unit::Second, 50_000)
    );
    let voice = manifest.voice.expect("voice");
    assert_eq!(voice.default_voice.as_deref(), Some("21m00Tcm4TlvDq8ikWAM"));
    assert!(
        manifest
            .script
            .is_some_and(|script| script.schema && script.streaming)
    );
    assert_eq!(manifest.tasks.map(|tasks| tasks.batch), Some(100));
    assert_eq!(manifest.recovery.replay_hours, Some(24));
    assert_eq!(manifest.recovery.settle_after_seconds, Some(60));
    assert_eq!(manifest.limits.requests_per_call, 8);
    assert_eq!(
        manifest.network.api[0].credential.as_deref(),
        Some("api_key")
    );
    assert_eq!(manifest.network.media[0].host, "*.heygen.ai");
    let key = Credential::Header {
        name: "X-Api-Key".to_owned(),
        secret: "HEYGEN_API_KEY".to_owned(),
    };
    assert_eq!(manifest.credentials["api_key"], key);
    let verify = Verify::HmacSha256Hex {
        header: "Heygen-Signature".to_owned(),
        timestamp_header: Some("Heygen-Timestamp".to_owned()),
        secret: "HEYGEN_WEBHOOK_SECRET".to_owned(),
    };
    assert_eq!(manifest.webhook.map(|webhook| webhook.verify), Some(verify));
}

#[test]
fn the_manifests_of_the_plugins_are_good() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins");
    let mut read = 0;
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path().join("plugin.toml");
        if let Ok(text) = std::fs::read_to_string(&path) {
            let manifest = Manifest::parse(&text);
            assert!(manifest.is_ok(), "{}: {manifest:?}", path.display());
            read += 1;
        }
    }
    assert!(read >= 4, "{read} manifests");
}

#[test]
fn what_is_left_out_has_its_default() {
    let manifest = Manifest::parse(MINIMAL).expect("a good manifest");
    assert_eq!(manifest.limits.call_timeout_ms, 120_000);
    assert_eq!(manifest.limits.memory_mib, 64);
    assert_eq!(manifest.settings["additionalProperties"], false);
    assert!(manifest.credentials.is_empty() && manifest.network.api.is_empty());
    assert!(!manifest.recovery.lookup);
    assert!(
        manifest
            .script
            .is_some_and(|script| script.models.is_empty())
    );
}

#[test]
fn an_empty_manifest_lacks_everything_it_must_have() {
    assert_eq!(
        problems(""),
        [
            "id: is missing",
            "name: is missing",
            "version: is missing",
            "contract: is missing",
        ]
    );
}

#[test]
fn every_problem_comes_at_once_and_names_its_key() {
    let text = r#"
id = "Acme!"
name = ""
version = "1.0"
contract = "0.2"
homepage = "acme"
colour = "red"

[video]
aspects = ["portrait", "round"]
speech = []
languages = ["*", "English"]
max_characters = 0
max_seconds = 700
max_images = "many"
avatar = "maybe"
size = 3
[[video.models]]
id = "a"
[[video.models]]
id = "a"
extra = 1
[[video.prices]]
model = "b"
unit = "metre"
micro_usd = -1
read = "22.11.2026"
source = "https://acme.example"

[voice]
languages = "en"

[tasks]
poll_after_ms = 5000
poll_max_ms = 1000
batch = 501

[recovery]
settle_after_seconds = 5

[limits]
concurrency = 10.5
memory_mib = 257
response_kib = 8193
requests_per_call = 65

[settings]
schema = '{"type":"object","properties":{"a":{"type":"colour"}}}'

[options]
video = '{"type":"array"}'
script = '{"type":"object"}'

[[network.api]]
host = "API.acme.example"
methods = ["FETCH"]
paths = ["v1", "/v1/*/x", "/a/../b"]
credential = "key"
[[network.api]]
host = "127.0.0.1"
methods = ["GET"]
paths = ["/*"]
credential = "absent"
[[network.media]]
host = "localhost"
[[network.media]]
host = "cdn.*.example"

[credentials.key]
kind = "header"
name = "Host"
secret = "acme key"
[credentials.unused]
kind = "magic"
[credentials.spare]
kind = "bearer"
secret = "SPARE"
name = "X"

[webhook]
verify = { kind = "standard-webhooks", prefix = "hook", header = "X" }
"#;
    assert_eq!(problems(text), EXPECTED);
}

const EXPECTED: &[&str] = &[
    "id: `Acme!` does not fit [a-z][a-z0-9-]{1,31}",
    "name: must have 1 to 100 characters, has 0",
    "version: `1.0` is no version as `1.2.3`",
    "contract: `0.2` is unknown; this host speaks 0.1",
    "homepage: `acme` is no URL",
    "video.models[1].id: `a` stands there twice",
    "video.models[1].extra: unknown key",
    "video.models: exactly one must be the default, 0 are",
    "video.prices[0].unit: `metre` is none of: second, character, call, token",
    "video.prices[0].micro_usd: must be 0 to 1000000000000, is -1",
    "video.prices[0].model: `b` is none of the models",
    "video.prices[0].read: `22.11.2026` is no date as `2026-11-22`",
    "video.aspects[1]: `round` is none of: portrait, square, landscape",
    "video.speech: must have 1 to 3 entries, has 0",
    "video.languages[1]: `English` is neither a primary tag of BCP 47, as `en`, nor `*`",
    "video.languages: `*` stands alone",
    "video.max_characters: must be 1 to 1000000, is 0",
    "video.max_seconds: must be 1 to 600, is 700",
    "video.max_images: must be a whole number, is text",
    "video.avatar: `maybe` is none of: required, optional, unsupported",
    "video.typical_seconds: is missing",
    "video.size: unknown key",
    "voice.languages: must be a list of texts, is text",
    "voice.max_characters: is missing",
    "voice.typical_seconds: is missing",
    "tasks.batch: must be 1 to 500, is 501",
    "tasks.poll_after_ms: is more than poll_max_ms",
    "recovery.settle_after_seconds: means nothing without `lookup = true`",
    "limits.concurrency: must be a whole number, is a fraction",
    "limits.response_kib: must be 1 to 8192, is 8193",
    "limits.memory_mib: must be 1 to 256, is 257",
    "limits.requests_per_call: must be 1 to 64, is 65",
    "settings.schema: is not a usable JSON Schema: \"colour\" is not valid under any of the schemas listed in the 'anyOf' keyword, at /properties/a/type",
    "options.video: must be a schema of type `object`",
    "options.script: there is no [script]",
    "credentials.key.secret: `acme key` is no name as `VENDOR_API_KEY`",
    "credentials.key.name: `Host` is a header that the host itself writes",
    "credentials.spare.name: unknown key",
    "credentials.unused.kind: `magic` is none of: header, bearer, basic, query, jwt-hs256, hmac",
    "credentials.unused.secret: is missing",
    "network.api[0].host: `API.acme.example` is no host name in lower case",
    "network.api[0].methods[0]: `FETCH` is none of: GET, HEAD, POST, PUT, PATCH, DELETE",
    "network.api[0].paths[0]: `v1` is neither a path nor a prefix ending in `*`",
    "network.api[0].paths[1]: `/v1/*/x` is neither a path nor a prefix ending in `*`",
    "network.api[0].paths[2]: `/a/../b` is neither a path nor a prefix ending in `*`",
    "network.api[1].host: `127.0.0.1` is an address; only names are allowed",
    "network.api[1].credential: `absent` is none of the credentials",
    "network.media[0].host: `localhost` needs a domain, as `api.example.com`",
    "network.media[1].host: `cdn.*.example` may have `*.` only at its beginning",
    "credentials.spare: no rule of network.api uses it",
    "webhook.verify.secret: is missing",
    "webhook.verify.prefix: `hook` is none of: webhook, svix",
    "webhook.verify.header: unknown key",
    "colour: unknown key",
];

#[test]
fn wrong_kinds_of_values_are_told() {
    let text = format!("{MINIMAL}\n[tasks]\npoll_after_ms = 100\npoll_max_ms = 100\ncancel = 1\n");
    assert_eq!(
        problems(&text),
        ["tasks.cancel: must be true or false, is a whole number"]
    );
    let text = MINIMAL.replace("[script]", "voice = 1\n[script]");
    assert_eq!(
        problems(&text),
        ["voice: must be a table, is a whole number"]
    );
    let text = format!("{MINIMAL}\n[network]\napi = [1]\n");
    assert_eq!(
        problems(&text),
        ["network.api[0]: must be a table, is a whole number"]
    );
    let text = MINIMAL.replace("\"de\"", "5, \"en\"");
    assert_eq!(
        problems(&text),
        [
            "script.languages[1]: must be text, is a whole number",
            "script.languages[2]: `en` stands there twice",
        ]
    );
}
