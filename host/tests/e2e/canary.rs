//! Marked secrets are put everywhere, and looked for wherever they must not be: in the log, in rows, in answers, in
//! what commands print, in what receivers get.

use base64::{Engine as _, engine::general_purpose};
use genvid_testkit::{Fault, FaultKind, Google, Keys, Press, Vendor};
use serde_json::{Value, json};

use crate::{
    accounts::{PASSWORD, door, setup},
    google, payments,
    support::{
        client::Client,
        receiver::{Receiver, Reply},
        text, until,
        world::World,
    },
    webhooks::{CREATE, ROTATE, SECRET},
};

const KEY: &str = "mutation ($input: CreateApiKeyInput!) { result: createApiKey(input: $input) {
    ... on CreateApiKeySuccess { secret } ... on Problem { message } } }";
const WATCH: &str =
    "mutation ($input: CreateJobTokenInput!) { result: createJobToken(input: $input) {
    ... on CreateJobTokenSuccess { token } ... on Problem { message } } }";
const RESET: &str =
    "mutation ($input: RequestPasswordResetInput!) { result: requestPasswordReset(input: $input) }";
const ACCOUNT: &str = "{ me { id email } sessions { nodes { id agent address } }
    apiKeys { nodes { id name } } }";

/// A secret, and what it is.
type Mark = (String, String);

/// The forms in which a secret can be written by accident.
fn forms(secret: &str) -> Vec<String> {
    let encoded = [
        general_purpose::STANDARD.encode(secret),
        general_purpose::STANDARD_NO_PAD.encode(secret),
        general_purpose::URL_SAFE_NO_PAD.encode(secret),
        hex::encode(secret),
        url::form_urlencoded::byte_serialize(secret.as_bytes()).collect(),
        format!("{:?}", secret.as_bytes()),
    ];
    let mut forms = vec![secret.to_owned()];
    // Of a secret with a prefix the rest alone is enough.
    forms.extend(secret.split_once('_').map(|(_, rest)| rest.to_owned()));
    forms.extend(encoded);
    forms
}

/// What of `marks` is in `place`.
fn found(marks: &[Mark], place: &str, bytes: &[u8]) -> Vec<String> {
    let (text, mut leaks) = (String::from_utf8_lossy(bytes), Vec::new());
    for (name, secret) in marks {
        assert!(secret.len() >= 12, "{name} is too short to be looked for");
        for form in forms(secret) {
            let there = text.contains(&form);
            if there {
                leaks.push(format!("{name} in {place}, as {form}"));
            }
        }
    }
    leaks
}

/// Jobs that succeed, that fail, and whose vendor sends back what it was sent.
async fn jobs(world: &World, receiver: &Receiver) -> Vec<Value> {
    let client = world.client();
    let hooked = json!({"webhookUrl": receiver.at("/mine")});
    let good = world.voice(hooked).await;
    client.ended(&good, "SUCCEEDED").await;
    let mut seen = vec![client.job(&good).await];
    for (vendor, route) in [
        (Vendor::ElevenLabs, "POST /v1/text-to-speech/*"),
        (Vendor::HeyGen, "POST /v3/videos"),
        (Vendor::Kling, "POST /text-to-video/*"),
        (Vendor::OpenAi, "POST /v1/chat/completions"),
    ] {
        let echo = Fault::new(route, FaultKind::EchoCredential);
        world.fault(vendor, [echo.times(0)]);
    }
    let wishes = [
        world.voice(json!({"provider": "elevenlabs"})).await,
        world.film(json!({"provider": "heygen"})).await,
        world.film(json!({"provider": "kling"})).await,
        world.script(json!({})).await,
    ];
    for id in &wishes {
        seen.push(client.settled(id).await);
        seen.extend(client.log(id).await);
    }
    seen
}

/// Every answer of the API that tells of what there is.
async fn answers(client: &Client) -> Vec<Value> {
    let mut all = Vec::new();
    for query in [
        include_str!("../../../graphql/operations/Jobs.graphql"),
        include_str!("../../../graphql/operations/WebhookEndpoints.graphql"),
        include_str!("../../../graphql/operations/Providers.graphql"),
    ] {
        all.push(client.ask(query, json!({})).await);
    }
    all.push(client.ask(ACCOUNT, json!({})).await);
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_found_where_it_must_not_be() {
    let sealing = general_purpose::STANDARD.encode(*b"canary: the key that seals them!");
    let google = Google::start().await.expect("Google");
    let world = google::with(&google, setup())
        .set("log.filter", "genvid=trace,debug")
        .set("encryption.key", &sealing)
        .set("webhooks.retry_seconds", "[0, 0]")
        .start_with_mail()
        .await;
    let mut marks: Vec<Mark> = vec![("the sealing key".to_owned(), sealing)];
    marks.extend(Keys::default().secrets());
    for (name, value) in [
        ("RESEND_API_KEY", world.resend().api_key().to_owned()),
        (
            "RESEND_WEBHOOK_SECRET",
            world.resend().webhook_secret().to_owned(),
        ),
        ("STRIPE_SECRET_KEY", world.stripe().secret_key().to_owned()),
        (
            "STRIPE_WEBHOOK_SECRET",
            world.stripe().webhook_secret().to_owned(),
        ),
        ("GOOGLE_CLIENT_SECRET", google.client_secret().to_owned()),
        ("the local token", world.launch.token.clone()),
    ] {
        marks.push((name.to_owned(), value));
    }
    // Of the store, where there is one.
    let store = world.launch.env.iter();
    let store = store.filter(|(name, _)| name == "AWS_SECRET_ACCESS_KEY");
    marks.extend(store.cloned());

    // Whatever is shown once.
    let (client, receiver) = (world.client(), Receiver::start().await);
    receiver.answer([Reply::Status(500)]);
    let input = json!({"url": receiver.at("/all"), "eventTypes": ["JOB_SUCCEEDED", "JOB_FAILED"]});
    let made = client.ask(CREATE, json!({ "input": input })).await;
    let endpoint = text(&made, "/result/endpoint/id");
    let input = json!({ "endpointId": endpoint });
    let turned = client.ask(ROTATE, json!({ "input": input })).await;
    let own = client.ask(SECRET, json!({})).await;
    let key = client.ask(KEY, json!({"input": {"name": "Shop"}})).await;
    let open = door(&world);
    let ann = open.register("ann@example.com", PASSWORD).await;
    let fresh = open.refresh(&ann["refreshToken"]).await.result().clone();
    open.login("ann@example.com", "wrong canary password").await;
    open.one(RESET, json!({"email": "ann@example.com"})).await;
    payments::listen(&world);
    payments::buy(&world, json!({"pack": "small"}), Press::Pay).await;
    let good = world.voice(json!({})).await;
    let watch = client.ask(WATCH, json!({"input": {"jobId": good}})).await;
    let browser = google::signed_in(&world).await;
    marks.extend(browser);
    for (name, value) in [
        ("a webhook secret", &made["result"]["secret"]),
        ("a rotated webhook secret", &turned["result"]["secret"]),
        (
            "the secret of jobs' webhooks",
            &own["jobWebhookSecret"]["secret"],
        ),
        ("an API key", &key["result"]["secret"]),
        ("a token for a job", &watch["result"]["token"]),
        ("a password", &json!(PASSWORD)),
        ("a wrong password", &json!("wrong canary password")),
        ("an access token", &ann["accessToken"]),
        ("a used refresh token", &ann["refreshToken"]),
        ("a refresh token", &fresh["refreshToken"]),
    ] {
        let secret = value.as_str().unwrap_or_else(|| panic!("{name}: {value}"));
        marks.push((name.to_owned(), secret.to_owned()));
    }
    let links = until("two mails with links", || async {
        let mails = world.resend().emails();
        let links = mails.iter().flat_map(|mail| tokens(&json!(mail)));
        let mut links: Vec<_> = links.collect();
        links.sort();
        links.dedup();
        (links.len() >= 2).then_some(links)
    })
    .await;
    marks.extend(
        links
            .into_iter()
            .map(|link| ("a link's token".to_owned(), link)),
    );

    let shop = client.signed_in_as(text(&key, "/result/secret"));
    shop.ask("{ me { id } }", json!({})).await;
    let told = jobs(&world, &receiver).await;
    // The failed first attempts are in the log by then, and no mail waits any more.
    receiver.wait(3).await;
    let mut leaks = found(&marks, "jobs", json!(told).to_string().as_bytes());
    let shown = json!(answers(&client).await).to_string();
    leaks.extend(found(&marks, "answers", shown.as_bytes()));
    let mail: &[_] = &["RESEND", "a link"];
    let not_mail: Vec<_> = (marks.iter())
        .filter(|(name, _)| !mail.iter().any(|word| name.starts_with(word)))
        .cloned()
        .collect();
    let mails = json!(world.resend().emails()).to_string();
    leaks.extend(found(&not_mail, "mails", mails.as_bytes()));
    for got in receiver.got() {
        leaks.extend(found(&marks, "a webhook", format!("{got:?}").as_bytes()));
        leaks.extend(found(&marks, "a webhook", &got.body));
    }
    for words in [
        &["admin", "provider", "list", "--json"][..],
        &["admin", "log", "--json"],
        &["admin", "attempts", "list", "--json"],
        &["admin", "signing-keys", "list", "--json"],
    ] {
        let output = world.run_beside(words).await;
        let place = words.join(" ");
        assert!(output.status.success(), "{place}: {output:?}");
        leaks.extend(found(&marks, &place, &output.stdout));
        leaks.extend(found(&marks, &place, &output.stderr));
    }
    until("rows without the links of mails", || async {
        let links: Vec<_> = marks
            .iter()
            .filter(|(name, _)| name.starts_with("a link"))
            .cloned()
            .collect();
        let rows = world.database().dump().await;
        found(&links, "rows", &rows).is_empty().then_some(())
    })
    .await;
    let rows = world.database().dump().await;
    // It looks at what is there.
    assert!(String::from_utf8_lossy(&rows).contains("ann@example.com"));
    leaks.extend(found(&marks, "rows", &rows));
    // What is told at the start, in words, tells a developer the local token.
    let log = world.server().log();
    let log: Vec<_> = log.lines().filter(|line| line.starts_with('{')).collect();
    let log = log.join("\n");
    assert!(log.contains("\"level\":\"TRACE\"") || log.contains("\"level\":\"DEBUG\""));
    leaks.extend(found(&marks, "the log", log.as_bytes()));
    assert!(leaks.is_empty(), "{leaks:#?}");
}

/// The tokens of links in a mail.
fn tokens(mail: &Value) -> Vec<String> {
    let text = mail.to_string();
    let parts = text.split("token=").skip(1);
    let token = |part: &str| {
        let end = part.find(|letter: char| !(letter.is_alphanumeric() || "-_.".contains(letter)));
        part[..end.unwrap_or(part.len())].to_owned()
    };
    parts.map(token).collect()
}
