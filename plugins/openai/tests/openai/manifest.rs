//! `plugin.toml` says what the code does.

use super::*;

fn manifest() -> toml::Value {
    toml::from_str(include_str!("../../plugin.toml")).unwrap()
}

fn schema(table: &str, key: &str) -> Value {
    parsed(manifest()[table][key].as_str().unwrap())
}

/// Some value that the schema of an option allows.
fn sample(property: &Value) -> Value {
    match property["type"].as_str().unwrap() {
        "integer" => property["minimum"].clone(),
        "number" => json!(1.5),
        _ => property["enum"].get(0).cloned().unwrap_or(json!("Quick.")),
    }
}

#[test]
fn declares_what_the_code_does() {
    let manifest = manifest();
    assert_eq!(manifest["id"].as_str(), Some("openai"));
    assert_eq!(
        manifest["version"].as_str(),
        Some(env!("CARGO_PKG_VERSION"))
    );
    for kind in ["script", "voice"] {
        let models = manifest[kind]["models"].as_array().unwrap();
        let default: Vec<&str> = models
            .iter()
            .filter(|model| model.get("default").is_some())
            .map(|model| model["id"].as_str().unwrap())
            .collect();
        assert_eq!(default.len(), 1);
        for price in manifest[kind]["prices"].as_array().unwrap() {
            assert!(models.iter().any(|model| model["id"] == price["model"]));
        }
    }
    let batch = manifest["tasks"]["batch"].as_integer();
    assert!(batch <= manifest["limits"]["requests_per_call"].as_integer());
}

#[test]
fn the_default_models_are_those_of_the_code() {
    let manifest = manifest();
    let default = |kind: &str| {
        let models = manifest[kind]["models"].as_array().unwrap();
        let model = models.iter().find(|model| model.get("default").is_some());
        model.unwrap()["id"].as_str().unwrap().to_owned()
    };
    let vendor = Vendor::new()
        .expect("POST", CHAT, stream(fixture!("chat-stream.sse")))
        .expect("POST", SPEECH, Reply::bytes("audio/mpeg", *b"ID3"));
    write(&brief(), &reference()).unwrap();
    <OpenAi as Voice>::submit(&voice_request(), &reference()).unwrap();
    let sent = vendor.sent();
    assert_eq!(sent[0].json()["model"], default("script"));
    assert_eq!(sent[1].json()["model"], default("voice"));
}

#[test]
fn every_declared_option_reaches_the_vendor() {
    let script = schema("options", "script");
    for (name, property) in script["properties"].as_object().unwrap() {
        let vendor = Vendor::new().expect("POST", CHAT, stream(fixture!("chat-stream.sse")));
        let mut request = brief();
        request.options = json!({ name: sample(property) }).to_string();
        write(&request, &reference()).unwrap();
        assert_eq!(vendor.only().json()[name], sample(property), "{name}");
    }
    let voice = schema("options", "voice");
    for (name, property) in voice["properties"].as_object().unwrap() {
        let vendor = Vendor::new().expect("POST", SPEECH, Reply::bytes("audio/mpeg", *b"ID3"));
        let mut request = voice_request();
        request.options = json!({ name: sample(property) }).to_string();
        <OpenAi as Voice>::submit(&request, &reference()).unwrap();
        assert_eq!(vendor.only().json()[name], sample(property), "{name}");
    }
}

#[test]
fn every_route_has_a_network_rule() {
    let manifest = manifest();
    let rule = &manifest["network"]["api"][0];
    let allows = |path: &str| {
        rule["paths"].as_array().unwrap().iter().any(|allowed| {
            let allowed = allowed.as_str().unwrap();
            match allowed.strip_suffix('*') {
                Some(prefix) => path.starts_with(prefix),
                None => path == allowed,
            }
        })
    };
    for path in [
        CHAT,
        "/v1/chat/completions/chatcmpl-Bx1",
        SPEECH,
        "/v1/models",
    ] {
        assert!(allows(path), "{path}");
    }
    assert!(!allows("/v1/files"));
    assert_eq!(rule["host"].as_str(), Some("api.openai.com"));
}
