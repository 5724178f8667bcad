//! `plugin.toml` says what the code does.

use super::*;

#[test]
fn declares_what_the_code_does() {
    let manifest: toml::Value = toml::from_str(include_str!("../../plugin.toml")).unwrap();
    assert_eq!(manifest["id"].as_str(), Some("elevenlabs"));
    assert_eq!(
        manifest["version"].as_str(),
        Some(env!("CARGO_PKG_VERSION"))
    );
    let defaults = manifest["voice"]["models"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|model| model.get("default").is_some())
        .count();
    assert_eq!(defaults, 1);
    let batch = manifest["tasks"]["batch"].as_integer().unwrap();
    let requests = manifest["limits"]["requests_per_call"]
        .as_integer()
        .unwrap();
    assert!(
        batch * 2 <= requests,
        "a poll of one task takes two requests"
    );
}

#[test]
fn every_declared_option_reaches_the_vendor() {
    let manifest: toml::Value = toml::from_str(include_str!("../../plugin.toml")).unwrap();
    let schema: Value =
        serde_json::from_str(manifest["options"]["voice"].as_str().unwrap()).unwrap();
    for (name, property) in schema["properties"].as_object().unwrap() {
        let value = match property["type"].as_str().unwrap() {
            "boolean" => json!(false),
            "string" => property["enum"][0].clone(),
            "integer" => json!(7),
            _ => json!(0.9),
        };
        let vendor = Vendor::new().expect("POST", PLAIN, Reply::bytes("audio/mpeg", *b"ID3"));
        let mut request = request(false);
        request.options = json!({ name: value }).to_string();
        submit(&request).unwrap();
        let sent = vendor.only();
        let body = sent.json();
        let arrived = body["voice_settings"].get(name).or(body.get(name)).cloned();
        let arrived = arrived.or_else(|| sent.query(name).map(Value::from));
        assert_eq!(arrived, Some(value), "{name}");
    }
}

#[test]
fn every_region_of_the_settings_has_a_network_rule() {
    let manifest: toml::Value = toml::from_str(include_str!("../../plugin.toml")).unwrap();
    let schema: Value =
        serde_json::from_str(manifest["settings"]["schema"].as_str().unwrap()).unwrap();
    let hosts: Vec<&str> = manifest["network"]["api"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| rule["host"].as_str().unwrap())
        .collect();
    for region in schema["properties"]["region"]["enum"].as_array().unwrap() {
        let vendor = Vendor::new().expect("GET", "/v1/models", fixture!("models.json"));
        let mut context = context();
        context.settings = json!({ "region": region }).to_string();
        ElevenLabs::list(catalog::Kind::Model, None, &context).unwrap();
        let url = vendor.only().url;
        let host = url.split('/').nth(2).unwrap();
        assert!(hosts.contains(&host), "{host}");
    }
}
