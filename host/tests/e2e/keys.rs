//! API keys: what a program may do with one, and never more, whoever dies.

use genvid_testkit::{Fault, FaultKind, Vendor};
use serde_json::{Value, json};

use crate::support::{
    client::Client,
    list, seed, text, until,
    world::{WORDS, World},
};

const CREATE: &str = "mutation($input: CreateApiKeyInput!) { createApiKey(input: $input) {
    __typename ... on Problem { code message path }
    ... on CreateApiKeySuccess { secret apiKey { id hint budget { credits } maxJobsInFlight } } } }";
const LIMIT: &str = "mutation($input: LimitApiKeyInput!) { limitApiKey(input: $input) {
    __typename ... on Problem { code message path }
    ... on LimitApiKeySuccess { apiKey { budget { credits spent held } maxJobsInFlight } } } }";
const REVOKE: &str = "mutation($input: RevokeApiKeyInput!) { revokeApiKey(input: $input) {
    __typename ... on Problem { code message path }
    ... on RevokeApiKeySuccess { apiKey { revokedAt } } } }";
const KEYS: &str = "{ apiKeys(first: 10) { nodes { id name hint revokedAt lastUsedAt
    budget { credits spent held remaining } } } }";
const SPEAK: &str = "mutation($input: GenerateVoiceInput!) { generateVoice(input: $input) {
    ... on Problem { code message path } ... on GenerateVoiceSuccess { job { id } } } }";
const BATCH: &str = "mutation($input: GenerateVideosInput!) { generateVideos(input: $input) {
    ... on Problem { code message path } ... on GenerateVideosSuccess { batch { id } } } }";
const STANDING: &str =
    "query($id: ID!) { batch(id: $id) { counts { waiting underWay succeeded refused }
    items(first: 100) { nodes { job { credits { captured } } refusal { code } } } } }";

async fn one(client: &Client, query: &str, input: Value) -> Value {
    let data = client.ask(query, json!({"input": input})).await;
    let mut fields = data.as_object().expect("data").values();
    fields.next().expect("one result").clone()
}

/// A new key: its id, and a client that signs in with it.
async fn key(client: &Client, more: Value) -> (String, Client) {
    let mut input = json!({"name": "Shop"});
    for (name, value) in more.as_object().expect("fields") {
        input[name] = value.clone();
    }
    let made = one(client, CREATE, input).await;
    let secret = text(&made, "/secret");
    assert!(secret.starts_with("gv_key_"), "{made}");
    assert!(secret.ends_with(text(&made, "/apiKey/hint")), "{made}");
    let program = client.signed_in_as(secret);
    (text(&made, "/apiKey/id").to_owned(), program)
}

fn voice(world: &World) -> Value {
    json!({
        "text": WORDS, "language": "en", "provider": "elevenlabs", "reuse": false,
        "idempotencyKey": world.key(),
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_signs_in_until_it_is_revoked() {
    let world = World::start().await;
    let client = world.client();
    let (id, program) = key(&client, json!({})).await;
    let who = "{ me { id } }";
    assert_eq!(
        program.ask(who, json!({})).await,
        client.ask(who, json!({})).await,
        "it speaks for its user"
    );
    let job = one(&program, SPEAK, voice(&world)).await;
    client.ended(text(&job, "/job/id"), "SUCCEEDED").await;

    // A program cannot give itself another key, nor see them.
    let input = json!({"name": "Another"});
    let retry = "mutation($id: ID!) { retryJob(input: {jobId: $id}) { __typename } }";
    let again = "mutation($id: ID!) { retryBatch(input: {batchId: $id}) { __typename } }";
    let raise = "mutation($id: ID!) { setProjectBudget(input: {projectId: $id}) { __typename } }";
    for (query, variables) in [
        // Nor spend what is not counted for it, nor give itself more.
        (retry, json!({"id": "job_00000000000070008000000000000000"})),
        (again, json!({"id": "bat_00000000000070008000000000000000"})),
        (raise, json!({"id": "prj_00000000000070008000000000000000"})),
        (CREATE, json!({"input": input})),
        (LIMIT, json!({"input": {"apiKeyId": id}})),
        (REVOKE, json!({"input": {"apiKeyId": id}})),
        (KEYS, json!({})),
    ] {
        let answer = program.send(query, variables).await;
        let code = &answer["errors"][0]["extensions"]["code"];
        assert_eq!(code, "FORBIDDEN", "{answer}");
    }
    for (bad, path) in [
        (json!({"name": " "}), "name"),
        (json!({"name": "x", "credits": -1}), "credits"),
        (
            json!({"name": "x", "maxJobsInFlight": 0}),
            "maxJobsInFlight",
        ),
        (
            json!({"name": "x", "expiresAt": "2020-01-01T00:00:00Z"}),
            "expiresAt",
        ),
    ] {
        let refused = one(&client, CREATE, bad).await;
        assert_eq!(refused["path"], json!([path]), "{refused}");
    }
    let keys = client.ask(KEYS, json!({})).await;
    let keys = list(&keys, "/apiKeys/nodes");
    assert_eq!(keys.len(), 1);
    assert!(keys[0]["lastUsedAt"].is_string(), "{keys:?}");

    let mut live = program.live().await;
    live.follow_all(None).await;
    let revoked = one(&client, REVOKE, json!({"apiKeyId": id})).await;
    assert!(revoked["apiKey"]["revokedAt"].is_string(), "{revoked}");
    let answer = program.send(who, json!({})).await;
    let code = &answer["errors"][0]["extensions"]["code"];
    assert_eq!(code, "UNAUTHENTICATED", "{answer}");
    let missing = json!({"apiKeyId": "key_00000000000070008000000000000000"});
    let missing = one(&client, REVOKE, missing).await;
    assert_eq!(missing["code"], "NOT_FOUND", "{missing}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_never_spends_more_than_its_budget() {
    let mut random = seed::random();
    let mut world = World::start().await;
    let client = world.client();
    let project = client.project().await;
    let (_, free) = key(&client, json!({})).await;
    let film = json!({
        "script": WORDS, "language": "en", "aspects": ["PORTRAIT"], "provider": "heygen",
        "reuse": false,
    });
    let films = |count: usize, key: String| json!({"projectId": project, "items": vec![film.clone(); count], "idempotencyKey": key});
    let over = async |client: &Client, id: &str| {
        until("the batch is over", || async {
            let batch = client.ask(STANDING, json!({"id": id})).await["batch"].clone();
            let counts = &batch["counts"];
            (counts["waiting"] == 0 && counts["underWay"] == 0).then_some(batch)
        })
        .await
    };
    let first = one(&free, BATCH, films(1, world.key())).await;
    let first = over(&free, text(&first, "/batch/id")).await;
    let price = first["items"]["nodes"][0]["job"]["credits"]["captured"].as_i64();
    let price = price.expect("credits");

    // Room for three of eight, by a batch and through kills.
    let budget = price * 3 + price / 2;
    let (id, program) = key(&client, json!({"credits": budget, "period": "MONTH"})).await;
    let batch = one(&program, BATCH, films(8, world.key())).await;
    let batch = text(&batch, "/batch/id").to_owned();
    for _ in 0..3 {
        seed::pause(&mut random, 0..600).await;
        world.kill_and_start_again().await;
    }
    let client = world.client();
    let batch = over(&client, &batch).await;
    let refused = list(&batch, "/items/nodes").iter();
    let refused = refused.filter(|item| item["refusal"]["code"] == "BUDGET_EXCEEDED");
    assert_eq!(
        refused.count(),
        8 - batch["counts"]["succeeded"].as_u64().expect("n") as usize
    );
    let keys = client.ask(KEYS, json!({})).await;
    let own = list(&keys, "/apiKeys/nodes")
        .iter()
        .find(|key| key["id"] == id.as_str());
    let own = own.expect("it is there")["budget"].clone();
    let spent = own["spent"].as_i64().expect("credits");
    assert!(spent > 0 && spent <= budget, "{own}");
    assert_eq!(own["held"], 0, "{own}");
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_has_so_many_jobs_under_way() {
    let world = World::start().await;
    let client = world.client();
    let (id, program) = key(&client, json!({"maxJobsInFlight": 2})).await;
    world.vendor(Vendor::ElevenLabs).set_concurrency(1);
    let wishes = (0..12).map(|_| one(&program, SPEAK, voice(&world)));
    let answers = futures::future::join_all(wishes).await;
    let refused = answers
        .iter()
        .filter(|answer| answer["code"] == "RATE_LIMITED");
    let refused: Vec<_> = refused.collect();
    assert!(!refused.is_empty(), "{answers:?}");
    for answer in refused {
        assert!(
            text(answer, "/message").contains("2 jobs of this API key"),
            "{answer}"
        );
    }
    // Its user may all the same.
    let own = one(&client, SPEAK, voice(&world)).await;
    let limits = one(
        &client,
        LIMIT,
        json!({"apiKeyId": id, "maxJobsInFlight": 100}),
    )
    .await;
    assert_eq!(limits["apiKey"]["maxJobsInFlight"], 100, "{limits}");
    let more = one(&program, SPEAK, voice(&world)).await;
    for job in [own, more] {
        client.ended(text(&job, "/job/id"), "SUCCEEDED").await;
    }
    world.audit().await;
}

/// A key that is bound to some providers buys nothing of others: not where the server chooses, not
/// in a batch, not when one fails, and not when its owner tries again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_uses_its_providers_and_no_others() {
    const QUOTE: &str = "mutation($input: GenerateVideoInput!) { quoteVideo(input: $input) {
        ... on Problem { code message path }
        ... on QuoteVideoSuccess { quote { steps { kind route { provider }
            ruledOut { provider code } } } } } }";
    const FILM: &str = "mutation($input: GenerateVideoInput!) { generateVideo(input: $input) {
        ... on Problem { code message path } ... on GenerateVideoSuccess { job { id } } } }";
    let world = World::start().await;
    let client = world.client();
    for bad in [json!([]), json!(["kling", "nobody"]), json!([""])] {
        let input = json!({"name": "x", "providers": bad});
        let refused = one(&client, CREATE, input).await;
        assert!(
            text(&refused, "/path/0").starts_with("providers"),
            "{refused}"
        );
    }
    let bound = json!({"providers": ["openai", "elevenlabs", "kling", "kling"]});
    let (_, program) = key(&client, bound).await;
    let project = client.project().await;
    let pinned = world.wish(&project, json!({"provider": "heygen"}));
    let refused = one(&program, FILM, pinned).await;
    assert_eq!(refused["code"], "INVALID_INPUT");
    assert_eq!(refused["path"], json!(["provider"]), "{refused}");

    let quote = one(&program, QUOTE, world.wish(&project, json!({}))).await;
    let film = (list(&quote, "/quote/steps").iter()).find(|step| step["kind"] == "VIDEO");
    let film = film.expect("a step");
    assert_eq!(film["route"], json!([{"provider": "kling"}]));
    let out = json!({"provider": "heygen", "code": "NOT_ALLOWED"});
    assert!(list(film, "/ruledOut").contains(&out), "{film}");

    // The server chooses: what its key may, although another one could.
    let job = one(&program, FILM, world.wish(&project, json!({}))).await;
    let job = client.ended(text(&job, "/job/id"), "SUCCEEDED").await;
    assert_eq!(job["provider"], "kling");
    // Nobody else steps in, and the owner's retry keeps to it.
    let broken = Fault::new(
        "POST /text-to-video/kling-3.0-turbo",
        FaultKind::QuotaExhausted,
    );
    world.fault(Vendor::Kling, [broken]);
    let job = one(&program, FILM, world.wish(&project, json!({}))).await;
    let id = text(&job, "/job/id").to_owned();
    client.ended(&id, "FAILED").await;
    world.vendor(Vendor::Kling).clear_faults();
    client.change("RetryJob", json!({"jobId": id})).await;
    let job = client.ended(&id, "SUCCEEDED").await;
    assert_eq!(job["provider"], "kling");
    let films = json!({
        "projectId": project, "idempotencyKey": world.key(),
        "items": [{"script": WORDS, "language": "en", "aspects": ["SQUARE"], "reuse": false}],
    });
    let batch = one(&program, BATCH, films).await;
    let id = text(&batch, "/batch/id").to_owned();
    until("the film of the batch is made", || async {
        let data = client.ask(STANDING, json!({"id": id})).await;
        (data["batch"]["counts"]["succeeded"] == 1).then_some(())
    })
    .await;
    assert_eq!(world.vendor(Vendor::HeyGen).invoice().billed, 0);

    // With nobody who speaks there is no film.
    let (_, mute) = key(&client, json!({"providers": ["kling"]})).await;
    let refused = one(&mute, FILM, world.wish(&project, json!({}))).await;
    assert_eq!(refused["code"], "PROVIDER_UNAVAILABLE", "{refused}");
    assert!(text(&refused, "/message").contains("API key"), "{refused}");
    world.audit().await;
}
