//! Vendors' credentials that are set through the API: used by every node, read by nobody.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::support::{
    client::Client,
    text, until,
    world::{Setup, World},
};

const SET: &str = "mutation($input: SetProviderSecretInput!) { result: setProviderSecret(input: $input) {
    __typename ... on Problem { code message path } ... on SetProviderSecretSuccess { provider name } } }";
const FORGET: &str =
    "mutation($input: ForgetProviderSecretInput!) { result: forgetProviderSecret(input: $input) {
    __typename ... on Problem { code path } ... on ForgetProviderSecretSuccess { provider name } } }";
const LIST: &str = "{ providerSecrets { provider name setAt } }";
const VOICES: &str = "{ voices(provider: \"elevenlabs\", first: 1) { nodes { id } } }";
const NAME: &str = "ELEVENLABS_API_KEY";
/// What the simulated vendor takes, and what it does not.
const GOOD: &str = "sim-elevenlabs-key";
const BAD: &str = "a-key-that-got-out-7f3a91c2";

async fn set(client: &Client, value: &str) -> Value {
    let input = json!({"provider": "elevenlabs", "name": NAME, "value": value});
    client.ask(SET, json!({"input": input})).await["result"].clone()
}

/// Waits until the vendor takes the key, or does not.
async fn taken(world: &World, wanted: bool) {
    let client = world.client();
    until(&format!("the vendor takes the key: {wanted}"), || async {
        let answer = client.send(VOICES, json!({})).await;
        (answer.get("errors").is_none() == wanted).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credential_is_set_used_and_never_read() {
    const KEY: &str = "GENVID__ENCRYPTION__KEY";
    const PREVIOUS: &str = "GENVID__ENCRYPTION__PREVIOUS_KEYS";
    let [old, new] = [7, 8].map(|byte| STANDARD.encode([byte; 32]));
    let mut world = Setup::default().set("encryption.key", &old).start().await;
    let me = world.client().ask("{ me { email } }", json!({})).await;
    let words = [
        "admin",
        "users",
        "role",
        "--user",
        text(&me, "/me/email"),
        "--role",
        "admin",
    ];
    assert!(world.run_beside(&words).await.status.success());
    let client = world.client();
    for (input, path) in [
        (
            json!({"provider": "nobody", "name": NAME, "value": "x"}),
            "provider",
        ),
        (
            json!({"provider": "elevenlabs", "name": "PATH", "value": "x"}),
            "name",
        ),
        (
            json!({"provider": "elevenlabs", "name": NAME, "value": " "}),
            "value",
        ),
        (
            json!({"provider": "elevenlabs", "name": NAME, "value": "a\nb"}),
            "value",
        ),
        (
            json!({"provider": "elevenlabs", "name": NAME, "value": "x".repeat(9_000)}),
            "value",
        ),
    ] {
        let refused = client.ask(SET, json!({"input": input})).await;
        assert_eq!(refused["result"]["path"], json!([path]), "{refused}");
    }
    let input = json!({"provider": "elevenlabs", "name": NAME});
    let none = client.ask(FORGET, json!({"input": input})).await;
    assert_eq!(none["result"]["code"], "NOT_FOUND", "{none}");

    // What is set here goes before what the node's own settings say, without a restart.
    taken(&world, true).await;
    set(&client, BAD).await;
    taken(&world, false).await;
    let listed = client.ask(LIST, json!({})).await;
    assert_eq!(listed["providerSecrets"][0]["name"], NAME, "{listed}");
    // It stays, also on a node that starts anew, and on one beside it.
    world.kill_and_start_again().await;
    taken(&world, false).await;
    let set_now = set(&world.client(), GOOD).await;
    assert_eq!(set_now["name"], NAME, "{set_now}");
    taken(&world, true).await;
    set(&world.client(), BAD).await;
    taken(&world, false).await;

    // Another key seals it anew; with the new one alone it is there all the same.
    world.launch.env.retain(|(name, _)| name != KEY);
    let both = [(KEY, new), (PREVIOUS, format!("[\"{old}\"]"))];
    (world.launch.env).extend(both.map(|(name, value)| (name.to_owned(), value)));
    world.kill_and_start_again().await;
    for changed in [1, 0] {
        let sealed = world.run_beside(&["admin", "reseal", "--json"]).await;
        assert!(sealed.status.success(), "{sealed:?}");
        let sealed: Value = serde_json::from_slice(&sealed.stdout).expect("JSON");
        assert_eq!(sealed["providerSecrets"], changed, "{sealed}");
    }
    world.launch.env.retain(|(name, _)| name != PREVIOUS);
    world.kill_and_start_again().await;
    taken(&world, false).await;

    // Forgotten on the command line: the node's own settings hold again.
    let command = ["admin", "provider", "secret", "elevenlabs"];
    let shown = world
        .run_beside(&[&command[..], &["--json"]].concat())
        .await;
    let shown: Value = serde_json::from_slice(&shown.stdout).expect("JSON");
    assert_eq!(shown["secrets"][0]["name"], NAME, "{shown}");
    let forget = [&command[..], &[NAME, "--forget"]].concat();
    assert!(world.run_beside(&forget).await.status.success());
    taken(&world, true).await;
    let again = world.run_beside(&forget).await;
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(
        !again.status.success() && said.contains("no such credential"),
        "{said}"
    );

    let acts =
        "{ administrativeActs(first: 50) { nodes { kind subject details { name value } } } }";
    let acts = world.client().ask(acts, json!({})).await;
    for kind in ["SET_PROVIDER_SECRET", "RESEAL"] {
        assert!(acts.to_string().contains(kind), "{acts}");
    }
    let places = [
        ("the log", world.server().log().into_bytes()),
        ("the database", world.database().dump().await),
        ("the acts", acts.to_string().into_bytes()),
        (
            "the answers",
            (listed.to_string() + &shown.to_string()).into_bytes(),
        ),
    ];
    for (place, bytes) in &places {
        for secret in [BAD, GOOD] {
            let found = bytes
                .windows(secret.len())
                .any(|part| part == secret.as_bytes());
            assert!(!found, "{secret} is in {place}");
        }
    }
    world.audit().await;
}
