//! Quotes: what something may cost is known before it is started, and holds.

use genvid_testkit::Vendor;
use serde_json::{Value, json};

use crate::support::{
    client::Client,
    list, text,
    world::{Setup, World},
};

const QUOTE: &str = "mutation($input: GenerateVideoInput!) { quoteVideo(input: $input) {
    __typename ... on Problem { code message path }
    ... on QuoteVideoSuccess { quote { id kind minCredits maxCredits expiresAt
      expectedSeconds { p50 p95 measured }
      steps { kind minCredits maxCredits route { provider minCredits maxCredits }
        ruledOut { provider model code message triedLater } warnings { field message } } } } } }";
const GENERATE: &str = "mutation($input: GenerateVideoInput!) { generateVideo(input: $input) {
    __typename ... on Problem { code message path }
    ... on GenerateVideoSuccess { job { id credits { held captured } } } } }";
const CREDITS: &str = "query($id: ID!) { job(id: $id) { credits { held captured } } }";

async fn quote(client: &Client, wish: &Value) -> Value {
    let answer = client.ask(QUOTE, json!({"input": wish})).await;
    let quote = answer["quoteVideo"]["quote"].clone();
    assert!(quote.is_object(), "{answer:#}");
    quote
}

async fn generate(client: &Client, wish: &Value) -> Value {
    let answer = client.ask(GENERATE, json!({"input": wish})).await;
    answer["generateVideo"].clone()
}

fn number(value: &Value, path: &str) -> i64 {
    let number = value.pointer(path).and_then(Value::as_i64);
    number.unwrap_or_else(|| panic!("no number at {path}: {value:#}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quote_holds_whatever_prices_do() {
    let mut world = World::start().await;
    let client = world.client();
    let project = client.project().await;
    let mut wish = world.wish(&project, json!({"excludeProviders": ["kling"]}));
    let quoted = quote(&client, &wish).await;
    let most = number(&quoted, "/maxCredits");
    assert!(number(&quoted, "/minCredits") > 0 && number(&quoted, "/minCredits") <= most);
    assert_eq!(quoted["kind"], "VIDEO");
    let expected = &quoted["expectedSeconds"];
    assert_eq!(
        expected["measured"], false,
        "the plugins say so: {expected}"
    );
    let film = list(&quoted, "/steps").last().expect("a film").clone();
    assert_eq!(film["kind"], "VIDEO");
    assert_eq!(film["route"][0]["provider"], "heygen");
    let out = list(&film, "/ruledOut");
    let kling = out.iter().find(|out| out["provider"] == "kling");
    assert_eq!(kling.expect("it says why")["code"], "EXCLUDED");
    assert_eq!(kling.expect("it says why")["triedLater"], false);
    assert!(!text(kling.expect("it says why"), "/message").is_empty());
    let sum: i64 = list(&quoted, "/steps")
        .iter()
        .map(|step| number(step, "/maxCredits"))
        .sum();
    assert_eq!(sum, most);
    // Nothing was bought or put aside for it.
    for vendor in Vendor::ALL {
        assert_eq!(world.accepted(vendor), 0, "{vendor}");
    }
    let mine = client.ask("{ me { credits { held } } }", json!({})).await;
    assert_eq!(number(&mine, "/me/credits/held"), 0);

    // Prices go up, and the job that is started with the quote costs no more than it says.
    let margin = ("GENVID__BILLING__MARGIN_PERCENT", "900");
    world
        .launch
        .env
        .push((margin.0.to_owned(), margin.1.to_owned()));
    world.kill_and_start_again().await;
    let client = world.client();
    assert!(number(&quote(&client, &wish).await, "/maxCredits") > 2 * most);
    wish["quoteId"] = quoted["id"].clone();
    let started = generate(&client, &wish).await;
    assert_eq!(number(&started, "/job/credits/held"), most, "{started:#}");
    let job = text(&started, "/job/id").to_owned();
    client.ended(&job, "SUCCEEDED").await;
    let credits = client.ask(CREDITS, json!({"id": job})).await;
    let captured = number(&credits, "/job/credits/captured");
    assert!(captured > 0 && captured <= most, "{credits}");
    assert_eq!(number(&credits, "/job/credits/held"), 0);
    // Now there is something to go by.
    let again = quote(
        &client,
        &world.wish(&project, json!({"provider": "heygen"})),
    )
    .await;
    let took = &again["expectedSeconds"];
    assert!(took["p50"].as_f64() > Some(0.0), "{again:#}");
    assert!(took["p95"].as_f64() >= took["p50"].as_f64(), "{again:#}");

    // A repeat is answered although the quote has expired meanwhile; another job is refused.
    world
        .database()
        .run("UPDATE quotes SET expires_at = created_at".to_owned())
        .await;
    assert_eq!(text(&generate(&client, &wish).await, "/job/id"), job);
    wish["idempotencyKey"] = json!(world.key());
    let refused = generate(&client, &wish).await;
    assert_eq!(refused["path"], json!(["quoteId"]), "{refused:#}");
    assert!(text(&refused, "/message").contains("expired"));
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quote_is_for_its_request_and_its_owner() {
    let mut world = World::start().await;
    let client = world.client();
    let project = client.project().await;
    let mut wish = world.wish(&project, json!({}));
    let quoted = quote(&client, &wish).await;
    wish["quoteId"] = quoted["id"].clone();
    for (field, value) in [
        ("script", json!("Something much longer than it was before.")),
        ("aspect", json!("SQUARE")),
        ("quoteId", json!("quo_00000000000070008000000000000000")),
        ("quoteId", json!("job_00000000000070008000000000000000")),
        ("quoteId", json!("nonsense")),
    ] {
        let mut other = wish.clone();
        other[field] = value;
        let refused = generate(&client, &other).await;
        assert_eq!(refused["code"], "INVALID_INPUT", "{field}: {refused:#}");
        assert_eq!(refused["path"], json!(["quoteId"]), "{field}: {refused:#}");
    }
    // A request that cannot be granted has no price.
    let mut bad = wish.clone();
    bad["language"] = json!("not a language");
    let refused = client.ask(QUOTE, json!({"input": bad})).await;
    assert_eq!(refused["quoteVideo"]["path"], json!(["language"]));
    for (document, name) in [
        (
            "mutation($input: GenerateVoiceInput!) { quoteVoice(input: $input) {
            ... on QuoteVoiceSuccess { quote { maxCredits steps { kind } } } } }",
            "quoteVoice",
        ),
        (
            "mutation($input: GenerateScriptInput!) { quoteScript(input: $input) {
            ... on QuoteScriptSuccess { quote { maxCredits steps { kind } } } } }",
            "quoteScript",
        ),
    ] {
        let wish = match name {
            "quoteVoice" => json!({"text": "Hello.", "language": "en", "idempotencyKey": "q"}),
            _ => json!({"brief": "A bottle.", "language": "en", "idempotencyKey": "q"}),
        };
        let answer = client.ask(document, json!({"input": wish})).await;
        assert!(number(&answer, &format!("/{name}/quote/maxCredits")) > 0);
        assert_eq!(list(&answer, &format!("/{name}/quote/steps")).len(), 1);
    }

    // Somebody else's quote is as good as none.
    world.kill();
    world.launch.user = Some("other@localhost".to_owned());
    world.launch.token = "gv_other00000000000000000000000000000000000000test".to_owned();
    world.start_again().await;
    let other = world.client();
    let project = other.project().await;
    wish["projectId"] = json!(project);
    let refused = generate(&other, &wish).await;
    assert_eq!(refused["path"], json!(["quoteId"]), "{refused:#}");
    assert!(text(&refused, "/message").contains("no quote of yours"));
}

/// The film's step of a quote.
fn film_of(quoted: &Value) -> Value {
    let steps = list(quoted, "/steps");
    let film = steps.iter().find(|step| step["kind"] == "VIDEO");
    film.expect("a film").clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operator_says_who_is_tried_first() {
    for (prefer, code) in [("order", "ORDER"), ("price", "DEARER"), ("speed", "SLOWER")] {
        let world = Setup::default().set("routing.prefer", prefer).start().await;
        let client = world.client();
        let project = client.project().await;
        let wish = world.wish(&project, json!({}));
        let film = film_of(&quote(&client, &wish).await);
        let route = list(&film, "/route");
        assert_eq!(route.len(), 2, "{prefer}: {film:#}");
        let first = text(&route[0], "/provider");
        if prefer == "order" {
            assert_eq!(first, "heygen", "as the plugins are named");
        }
        if prefer == "price" {
            let [dear, dearer] = [&route[0], &route[1]].map(|one| number(one, "/maxCredits"));
            assert!(dear <= dearer, "{film:#}");
        }
        let later = list(&film, "/ruledOut").iter();
        let later: Vec<_> = later.filter(|one| one["triedLater"] == true).collect();
        assert_eq!(later.len(), 1, "{prefer}: {film:#}");
        assert_eq!(later[0]["provider"], route[1]["provider"]);
        assert_eq!(later[0]["code"], code, "{prefer}: {film:#}");
        let job = text(&generate(&client, &wish).await, "/job/id").to_owned();
        let job = client.ended(&job, "SUCCEEDED").await;
        let tried = crate::support::attempts(&job, "VIDEO");
        assert_eq!(tried, [format!("{first} SUCCEEDED CHARGED")], "{prefer}");
        world.audit().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quote_says_what_has_no_effect() {
    let world = World::start().await;
    let client = world.client();
    let project = client.project().await;
    let pictures = json!(["https://img.test/a.jpg", "https://img.test/b.jpg"]);
    let wish = json!({
        "provider": "heygen", "voiceProvider": "openai", "images": pictures,
        "subtitles": "SIDECAR",
    });
    let quoted = quote(&client, &world.wish(&project, wish)).await;
    let warnings: Vec<_> = list(&quoted, "/steps")
        .iter()
        .flat_map(|step| list(step, "/warnings"))
        .map(|warning| (text(warning, "/field"), text(warning, "/message")))
        .collect();
    let said = |field: &str, words: &str| {
        let found = warnings.iter().find(|(named, _)| *named == field);
        let (_, message) = found.unwrap_or_else(|| panic!("nothing of {field}: {quoted:#}"));
        assert!(message.contains(words), "{message}");
    };
    said("images", "the first 1 pictures");
    said("subtitles", "timed by length");
    let plain = quote(&client, &world.wish(&project, json!({}))).await;
    let film = film_of(&plain);
    assert!(list(&film, "/warnings").is_empty(), "{film:#}");
    world.audit().await;
}
