//! Every field of the schema, as nobody, as a stranger, as its owner and as an admin. A field that
//! comes without a case here fails the test.

mod accounts;
mod shape;
mod watcher;

use std::collections::BTreeSet;

use genvid_testkit::{Fault, FaultKind, Press, Vendor};
use serde_json::{Value, json};

use self::{
    accounts::{account, scopes},
    shape::Shape,
    watcher::watch,
};
use crate::{
    lost_answers::park,
    payments::{buy, listen, settled},
    support::{
        client::Client,
        live::Said,
        receiver::Receiver,
        text, until,
        world::{Setup, WORDS, World},
    },
    uploads::png,
};

const OTHER_TOKEN: &str = "gv_other00000000000000000000000000000000000000test";
/// Stands in everything of the owner's that has words.
const CANARY: &str = "canary of the owner";
/// What nobody has to be signed in for.
const PUBLIC: [&str; 4] = ["creditOffers", "me", "providers", "scriptTemplates"];
/// What only admins may.
const ADMINS: [&str; 11] = [
    "adjustCredits",
    "administrativeActs",
    "grantCredits",
    "openAttempts",
    "providerSecrets",
    "setProviderSecret",
    "forgetProviderSecret",
    "setUserPlan",
    "setUserRole",
    "settleAttempt",
    "users",
];
/// Mutations about accounts: they need somebody who signs in with a password.
const ACCOUNTS: [&str; 14] = [
    "changeEmail",
    "changePassword",
    "deleteAccount",
    "login",
    "logout",
    "logoutEverywhere",
    "refreshSession",
    "register",
    "requestEmailVerification",
    "requestPasswordReset",
    "resetPassword",
    "revokeSession",
    "updateProfile",
    "verifyEmail",
];
/// Those of them that nobody has to be signed in for.
const OPEN: [&str; 6] = [
    "login",
    "refreshSession",
    "register",
    "requestPasswordReset",
    "resetPassword",
    "verifyEmail",
];
const PASSWORD: &str = "correct horse battery";
const LEDGER: &str =
    "{ me { credits { available held } } creditLedger(first: 100) { nodes { id } } }";

/// Things of the owner's, by what they are called here.
#[derive(Clone)]
struct Ids {
    user: String,
    email: String,
    project: String,
    old_project: String,
    film: String,
    failed: String,
    batch: String,
    key: String,
    endpoint: String,
    delivery: String,
    upload: String,
    picture: String,
    attempt: String,
}

impl Ids {
    /// The same, of which there are none.
    fn missing(&self) -> Self {
        let none = |id: &String| {
            let (kind, _) = id.split_once('_').expect("an id");
            format!("{kind}_00000000000070008000000000000000")
        };
        Self {
            user: none(&self.user),
            email: "nobody@example.com".to_owned(),
            project: none(&self.project),
            old_project: none(&self.old_project),
            film: none(&self.film),
            failed: none(&self.failed),
            batch: none(&self.batch),
            key: none(&self.key),
            endpoint: none(&self.endpoint),
            delivery: none(&self.delivery),
            upload: none(&self.upload),
            picture: format!("upload:{}", none(&self.upload)),
            attempt: none(&self.attempt),
        }
    }

    /// Arguments of a root field, each way to ask.
    fn arguments(&self, field: &str) -> Vec<String> {
        let by_id = |id: &String| format!("(id: \"{id}\")");
        match field {
            "batch" => vec![by_id(&self.batch)],
            "job" => [&self.film, &self.failed].map(by_id).into(),
            "node" => [&self.film, &self.project, &self.user].map(by_id).into(),
            "project" => [&self.project, &self.old_project].map(by_id).into(),
            "webhookEndpoint" => vec![by_id(&self.endpoint)],
            "jobs" => vec![
                "(first: 3)".to_owned(),
                format!(
                    "(first: 3, filter: {{ projectId: \"{}\" }})",
                    self.old_project
                ),
            ],
            "administrativeActs" | "apiKeys" | "batches" | "sessions" | "creditLedger"
            | "openAttempts" | "projects" | "users" | "webhookEndpoints" | "avatars" | "voices" => {
                vec!["(first: 3)".to_owned()]
            }
            "creditOffers" | "jobWebhookSecret" | "me" | "providers" | "providerSecrets"
            | "scriptTemplates" => {
                vec![String::new()]
            }
            other => panic!("{other} has no case here"),
        }
    }

    /// The input of a mutation.
    fn input(&self, mutation: &str, key: &str) -> Value {
        let film = json!({"script": WORDS, "language": "en", "aspects": ["SQUARE"],
            "images": [self.picture]});
        let wish = json!({
            "projectId": self.project, "language": "en", "aspect": "SQUARE", "script": WORDS,
            "images": [self.picture], "idempotencyKey": key,
            // What openai speaks has no times of words, which a quote tells.
            "provider": "heygen", "voiceProvider": "openai", "subtitles": "SIDECAR",
        });
        let speech = json!({
            "projectId": self.project, "text": CANARY, "language": "en", "idempotencyKey": key,
        });
        let written = json!({
            "projectId": self.project, "brief": CANARY, "language": "en", "idempotencyKey": key,
        });
        let films = json!({
            "projectId": self.project, "name": CANARY, "items": [film], "idempotencyKey": key,
        });
        let credits = json!({
            "user": self.email, "credits": 5, "reason": CANARY, "idempotencyKey": key,
        });
        match mutation {
            "adjustCredits" | "grantCredits" => credits,
            "cancelBatch" => json!({"batchId": self.batch}),
            "cancelJob" => json!({"jobId": self.film}),
            "completeUpload" => json!({"uploadId": self.upload}),
            "createApiKey" => json!({"name": CANARY, "credits": 5}),
            "createCheckout" => json!({
                "pack": "small", "successUrl": "https://app.test/", "idempotencyKey": key,
            }),
            "createJobToken" => json!({"jobId": self.film, "minutes": 5}),
            "createPortalSession" => json!({"returnUrl": "https://app.test/"}),
            "createProject" => json!({"name": CANARY}),
            "createUpload" => json!({"contentType": "image/png", "size": 1_000}),
            "createWebhookEndpoint" => json!({"url": format!("https://example.com/{key}")}),
            "deleteProject" => json!({"id": self.project}),
            "deleteWebhookEndpoint" | "rotateWebhookSecret" | "sendTestWebhook" => {
                json!({"endpointId": self.endpoint})
            }
            "editCaptions" => json!({
                "jobId": self.film, "subtitles": "SIDECAR", "idempotencyKey": key,
                "captions": [{"startMs": 0, "endMs": 900, "text": CANARY}],
            }),
            "generateScript" | "quoteScript" => written,
            "generateVideo" | "quoteVideo" => wish,
            "generateVideos" | "quoteVideos" => films,
            "generateVoice" | "quoteVoice" => speech,
            "limitApiKey" => json!({"apiKeyId": self.key, "credits": 7}),
            "redeliverWebhook" => json!({"deliveryId": self.delivery}),
            "retryBatch" => json!({"batchId": self.batch, "idempotencyKey": key}),
            "retryJob" => json!({"jobId": self.failed}),
            "revokeApiKey" => json!({"apiKeyId": self.key}),
            "setProviderSecret" => json!({
                "provider": "heygen", "name": "HEYGEN_API_KEY", "value": CANARY,
            }),
            "forgetProviderSecret" => json!({"provider": "heygen", "name": "HEYGEN_API_KEY"}),
            "setUserPlan" => json!({"user": self.user, "plan": "pro"}),
            "setUserRole" => json!({"user": self.user, "role": "ADMIN"}),
            "setProjectBudget" => json!({"projectId": self.project, "credits": 100_000}),
            "settleAttempt" => json!({
                "attemptId": self.attempt, "found": "CHARGED", "reason": CANARY,
            }),
            "changeEmail" => json!({"password": PASSWORD, "newEmail": "new@example.com"}),
            "changePassword" => json!({"password": PASSWORD, "newPassword": PASSWORD}),
            "deleteAccount" => json!({"password": PASSWORD}),
            "login" | "register" => json!({"email": "walker@example.com", "password": PASSWORD}),
            "logout" | "logoutEverywhere" | "requestEmailVerification" => json!({}),
            "refreshSession" => json!({"refreshToken": "gv_rt_none"}),
            "requestPasswordReset" => json!({"email": "nobody@example.com"}),
            "resetPassword" => json!({"token": "gv_link_none", "password": PASSWORD}),
            "revokeSession" => json!({"sessionId": "ses_00000000000070008000000000000000"}),
            "updateProfile" => json!({"name": "Walker"}),
            "verifyEmail" => json!({"token": "gv_link_none"}),
            "updateProject" => json!({"id": self.project, "productDescription": CANARY}),
            "updateWebhookEndpoint" => json!({"endpointId": self.endpoint, "description": CANARY}),
            other => panic!("{other} has no case here"),
        }
    }
}

/// Mutations in an order in which each finds what it is about.
fn in_order(mut names: Vec<String>) -> Vec<String> {
    let last = |name: &String| {
        ["cancel", "revoke", "delete"]
            .iter()
            .any(|word| name.starts_with(word))
    };
    names.sort_by_key(|name| (name == "deleteProject", last(name)));
    names
}

async fn one(client: &Client, shape: &Shape, mutation: &str, input: Value) -> Value {
    let query = shape.mutation(mutation);
    client.send(&query, json!({"input": input})).await
}

/// The id of the first thing that a mutation has made.
async fn made(client: &Client, shape: &Shape, mutation: &str, input: Value, at: &str) -> String {
    let answer = one(client, shape, mutation, input).await;
    let place = format!("/data/{mutation}/{at}");
    text(&answer, &place).to_owned()
}

/// Something of every kind, of whoever the client is.
async fn furnish(world: &World, shape: &Shape, receiver: &Receiver) -> Ids {
    let client = world.client();
    let me = client.ask("{ me { id email } }", json!({})).await;
    let png = png();
    let announce = json!({"contentType": "image/png", "size": png.len()});
    let announced = one(&client, shape, "createUpload", announce).await;
    let upload = announced["data"]["createUpload"]["upload"].clone();
    client.put(text(&upload, "/url"), "image/png", png).await;
    let upload = text(&upload, "/id").to_owned();
    let done = json!({"uploadId": upload});
    let picture = made(&client, shape, "completeUpload", done, "image/reference").await;

    let endpoint = json!({"url": receiver.at("/hook"), "description": CANARY});
    let endpoint = made(
        &client,
        shape,
        "createWebhookEndpoint",
        endpoint,
        "endpoint/id",
    )
    .await;
    let product = |name: &str| {
        json!({"name": name, "productName": CANARY, "productDescription": CANARY,
            "productImages": [picture]})
    };
    let project = made(
        &client,
        shape,
        "createProject",
        product(CANARY),
        "project/id",
    )
    .await;
    let old_project = made(
        &client,
        shape,
        "createProject",
        product("Old"),
        "project/id",
    )
    .await;
    let budget = json!({"projectId": project, "credits": 90_000, "period": "MONTH"});
    one(&client, shape, "setProjectBudget", budget).await;

    let wish = |project: &str, more: Value| {
        let mut wish = json!({
            "projectId": project, "language": "en", "aspect": "PORTRAIT", "provider": "heygen",
            "voiceProvider": "elevenlabs", "subtitles": "SIDECAR", "idempotencyKey": world.key(),
        });
        for (name, value) in more.as_object().expect("fields") {
            wish[name] = value.clone();
        }
        wish
    };
    let mut films = Vec::new();
    for (project, status) in [
        (&project, "SUCCEEDED"),
        (&project, "SUCCEEDED"),
        (&old_project, "SUCCEEDED"),
    ] {
        let film = client
            .start("GenerateVideo", wish(project, json!({})))
            .await;
        client.ended(&film, status).await;
        films.push(film);
    }
    one(&client, shape, "deleteProject", json!({"id": old_project})).await;
    let broken = Fault::new("POST /v3/videos", FaultKind::QuotaExhausted).times(1);
    world.fault(Vendor::HeyGen, [broken]);
    let failed = wish(&project, json!({"script": CANARY, "reuse": false}));
    let failed = client.start("GenerateVideo", failed).await;
    client.ended(&failed, "FAILED").await;

    let batch = json!({
        "projectId": project, "name": CANARY, "idempotencyKey": world.key(), "maxCredits": 9_000,
        "items": [{"script": WORDS, "language": "en", "aspects": ["PORTRAIT"], "provider": "heygen"},
            {"script": CANARY, "language": "nonsense!", "aspects": ["SQUARE"]}],
    });
    let batch = made(&client, shape, "generateVideos", batch, "batch/id").await;
    let key = json!({"name": CANARY, "credits": 5, "maxJobsInFlight": 3});
    let key = made(&client, shape, "createApiKey", key, "apiKey/id").await;
    buy(world, json!({"plan": "pro"}), Press::Pay).await;
    settled(world).await;
    park(world).await;
    let delivery = until("a webhook was delivered", || async {
        let query = "query($id: ID!) { webhookEndpoint(id: $id) { deliveries(first: 1) {
            nodes { id attempts { status } } } } }";
        let found = client.ask(query, json!({"id": endpoint})).await;
        let first = found["webhookEndpoint"]["deliveries"]["nodes"][0].clone();
        (first["attempts"][0]["status"] == 200).then(|| text(&first, "/id").to_owned())
    })
    .await;
    Ids {
        user: text(&me, "/me/id").to_owned(),
        email: text(&me, "/me/email").to_owned(),
        project,
        old_project,
        film: films[1].clone(),
        failed,
        batch,
        key,
        endpoint,
        delivery,
        upload,
        picture,
        attempt: "att_00000000000070008000000000000000".to_owned(),
    }
}

/// Nothing of the owner's stands in an answer to somebody else.
fn assert_silent(answer: &Value, own: &BTreeSet<String>, asked: &str) {
    let answer = answer.to_string();
    assert!(!answer.contains(CANARY), "{asked}: {answer}");
    for id in own {
        assert!(
            !answer.contains(id.as_str()),
            "{asked} tells {id}: {answer}"
        );
    }
}

/// Everything in an answer that looks like an id.
fn ids_in(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => {
            let is_id = text.split_once('_').is_some_and(|(kind, rest)| {
                (3..=4).contains(&kind.len()) && rest.len() == 32 && hex::decode(rest).is_ok()
            });
            if is_id {
                found.insert(text.clone());
            }
        }
        Value::Array(all) => all.iter().for_each(|one| ids_in(one, found)),
        Value::Object(all) => all.values().for_each(|one| ids_in(one, found)),
        _ => {}
    }
}

async fn refused(client: &Client, query: &str, variables: Value) -> Value {
    let mut live = client.live().await;
    live.subscribe(query, variables).await;
    match live.next().await {
        Said::Refused(errors) => errors,
        _ => panic!("{query} can be followed"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_field_is_its_owners() {
    let mut world = Setup::default()
        .set("graphql.max_depth", 50)
        .set("graphql.max_aliases", 1_000)
        .set("graphql.max_complexity", 100_000)
        .set("development.lenient_links", true)
        .set("mail.delivery", "mailbox")
        .set("limits.register", "off")
        .start()
        .await;
    let stripe = world.stripe();
    for (name, value) in [
        ("GENVID__PAYMENTS__STRIPE_URL", stripe.url()),
        ("STRIPE_SECRET_KEY", stripe.secret_key()),
    ] {
        world.launch.env.push((name.to_owned(), value.to_owned()));
    }
    listen(&world);
    let receiver = Receiver::start().await;
    let shape = Shape::of(&world.client()).await;
    let ids = furnish(&world, &shape, &receiver).await;
    let missing = ids.missing();

    // A second user of the same data.
    world.kill();
    let (mail, token) = (world.launch.user.take(), world.launch.token.clone());
    world.launch.user = Some("other@localhost".to_owned());
    world.launch.token = OTHER_TOKEN.to_owned();
    world.start_again().await;
    (world.launch.user, world.launch.token) = (mail, token.clone());
    let stranger = world.client();
    let owner = stranger.signed_in_as(&token);
    let nobody = Client::new(&world.server().url, None);

    let mut own = BTreeSet::new();
    let mut reached = BTreeSet::new();
    for field in shape.fields("Query") {
        for arguments in ids.arguments(&field) {
            let query = shape.query(&field, &arguments);
            let answer = owner.send(&query, json!({})).await;
            if ADMINS.contains(&field.as_str()) {
                let code = &answer["errors"][0]["extensions"]["code"];
                assert_eq!(code, "FORBIDDEN", "{field}");
                continue;
            }
            assert!(answer.get("errors").is_none(), "{query} {answer:#}");
            shape.walk("Query", &answer["data"], &mut reached);
            ids_in(&answer, &mut own);
            let answer = nobody.send(&query, json!({})).await;
            let code = &answer["errors"][0]["extensions"]["code"];
            if !PUBLIC.contains(&field.as_str()) {
                assert_eq!(code, "UNAUTHENTICATED", "{field} {answer}");
            }
        }
    }
    assert!(own.len() > 20, "{own:?}");
    for field in shape.fields("Query") {
        let of_none = missing.arguments(&field);
        for (arguments, of_none) in ids.arguments(&field).iter().zip(&of_none) {
            let answer = stranger
                .send(&shape.query(&field, arguments), json!({}))
                .await;
            assert_silent(&answer, &own, &field);
            if !ADMINS.contains(&field.as_str()) {
                assert!(
                    answer.get("errors").is_none(),
                    "{field}{arguments} {answer}"
                );
            }
            let alike = stranger
                .send(&shape.query(&field, of_none), json!({}))
                .await;
            if arguments != of_none {
                assert_eq!(answer, alike, "{field}{arguments}");
            }
            let answer = nobody
                .send(&shape.query(&field, arguments), json!({}))
                .await;
            assert_silent(&answer, &own, &field);
        }
    }

    scopes(&owner, &shape, &ids).await;
    watch(&owner, &shape, &ids, &own).await;
    let all = in_order(shape.fields("Mutation"));
    for mutation in ACCOUNTS {
        assert!(
            all.iter().any(|name| name == mutation),
            "{mutation} is gone"
        );
        if !OPEN.contains(&mutation) {
            let answer = one(&nobody, &shape, mutation, ids.input(mutation, "")).await;
            let code = &answer["errors"][0]["extensions"]["code"];
            assert_eq!(code, "UNAUTHENTICATED", "{mutation} {answer}");
        }
    }
    account(&nobody, &shape, &ids, &own, &mut reached).await;
    let mutations: Vec<String> = all
        .into_iter()
        .filter(|name| !ACCOUNTS.contains(&name.as_str()))
        .collect();
    let before = owner.send(LEDGER, json!({})).await;
    for mutation in &mutations {
        let key = world.key();
        let answer = one(&nobody, &shape, mutation, ids.input(mutation, &key)).await;
        let code = &answer["errors"][0]["extensions"]["code"];
        assert_eq!(code, "UNAUTHENTICATED", "{mutation} {answer}");
        let answer = one(&stranger, &shape, mutation, ids.input(mutation, &key)).await;
        if ADMINS.contains(&mutation.as_str()) {
            let code = &answer["errors"][0]["extensions"]["code"];
            assert_eq!(code, "FORBIDDEN", "{mutation} {answer}");
            continue;
        }
        let input = ids.input(mutation, &key);
        let of_none = missing.input(mutation, &key);
        if input == of_none {
            // It names nothing of anybody's.
            continue;
        }
        let alike = one(&stranger, &shape, mutation, of_none).await;
        assert_eq!(answer, alike, "{mutation}");
        let code = &answer["data"][mutation]["code"];
        assert!(
            ["NOT_FOUND", "INVALID_INPUT"]
                .map(Value::from)
                .contains(code),
            "{mutation} {answer}"
        );
    }
    assert_eq!(
        owner.send(LEDGER, json!({})).await,
        before,
        "nothing had an effect"
    );

    let follow = "subscription($id: ID!) { jobEvents(jobId: $id, after: 0) { seq message } }";
    let answer = refused(&stranger, follow, json!({"id": ids.film})).await;
    let alike = refused(&stranger, follow, json!({"id": missing.film})).await;
    assert_eq!(answer, alike);
    refused(&nobody, follow, json!({"id": ids.film})).await;
    refused(&nobody, "subscription { myJobEvents { seq } }", json!({})).await;
    assert_eq!(
        shape.fields("Subscription"),
        ["jobEvents", "myJobEvents"],
        "a new one has no case"
    );

    for mutation in &mutations {
        if ADMINS.contains(&mutation.as_str()) {
            continue;
        }
        let answer = one(&owner, &shape, mutation, ids.input(mutation, &world.key())).await;
        assert!(answer.get("errors").is_none(), "{mutation} {answer:#}");
        shape.walk("Mutation", &answer["data"], &mut reached);
    }
    let words = [
        "admin", "users", "role", "--user", &ids.email, "--role", "admin",
    ];
    assert!(world.run_beside(&words).await.status.success());
    let open = shape.query("openAttempts", "(first: 3)");
    let open = owner.send(&open, json!({})).await;
    shape.walk("Query", &open["data"], &mut reached);
    let attempt = text(&open, "/data/openAttempts/edges/0/node/id").to_owned();
    let ids = Ids { attempt, ..ids };
    for mutation in ADMINS
        .iter()
        .filter(|name| mutations.iter().any(|own| own == *name))
    {
        let answer = one(&owner, &shape, mutation, ids.input(mutation, &world.key())).await;
        assert!(answer.get("errors").is_none(), "{mutation} {answer:#}");
        shape.walk("Mutation", &answer["data"], &mut reached);
    }
    let set = ids.input("setProviderSecret", "");
    one(&owner, &shape, "setProviderSecret", set).await;
    let secrets = shape.query("providerSecrets", "");
    let secrets = owner.send(&secrets, json!({})).await;
    assert!(!secrets.to_string().contains(CANARY), "{secrets}");
    shape.walk("Query", &secrets["data"], &mut reached);
    let users = shape.query("users", "(first: 100)");
    let users = owner.send(&users, json!({})).await;
    shape.walk("Query", &users["data"], &mut reached);
    let acts = shape.query("administrativeActs", "(first: 100)");
    let acts = owner.send(&acts, json!({})).await;
    shape.walk("Query", &acts["data"], &mut reached);
    let never: Vec<_> = shape.all_fields().difference(&reached).cloned().collect();
    assert!(never.is_empty(), "no case reaches {never:#?}");
}
