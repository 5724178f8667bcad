//! Buying credits, from the outside: whatever comes twice, late, in any order or never, what
//! was paid is in the books once.

use std::time::Duration;

use genvid_testkit::{
    Card, Fault, FaultKind, Press, Resend, StripeHandle, WebhookRule, WebhookTwist,
};
use rand::{SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};
use serde_json::{Value, json};

use crate::support::{client::Client, list, text, until, world::Setup, world::World};

const CHECKOUT: &str = "mutation($input: CreateCheckoutInput!) { createCheckout(input: $input) {
    __typename ... on Problem { code message path }
    ... on CreateCheckoutSuccess { sessionId url expiresAt } } }";
const PORTAL: &str = "mutation($input: CreatePortalSessionInput!) {
    createPortalSession(input: $input) { __typename ... on Problem { code message path }
    ... on CreatePortalSessionSuccess { url } } }";
const ME: &str = "{ me { id plan owedCredits credits { available held }
    subscription { plan status currentPeriodEnd cancelAtPeriodEnd } } }";
const LEDGER: &str = "{ creditLedger(first: 50) { nodes { kind amount balanceAfter reason } } }";
const OFFERS: &str = "{ creditOffers { currency available plans { name title priceMinor credits }
    packs { name priceMinor credits } } }";
const MONTH: Duration = Duration::from_secs(31 * 86_400);

/// A world whose user has no credits, and whose server is told what happens at Stripe.
async fn shop() -> World {
    let world = quiet_shop().await;
    listen(&world);
    world
}

/// The same, and the server is told nothing.
async fn quiet_shop() -> World {
    let mut world = Setup::default().set("development.credits", 0).start().await;
    // For commands beside the server, which is pointed at the simulators by a flag.
    let stripe = world.stripe();
    for (name, value) in [
        ("GENVID__PAYMENTS__STRIPE_URL", stripe.url()),
        ("STRIPE_SECRET_KEY", stripe.secret_key()),
    ] {
        world.launch.env.push((name.to_owned(), value.to_owned()));
    }
    world
}

fn door(world: &World) -> String {
    format!(
        "http://127.0.0.1:{}/api/payments/webhook",
        world.launch.port
    )
}

pub(crate) fn listen(world: &World) {
    world.stripe().listen(&door(world), &[]);
}

fn order(what: &Value, key: &str) -> Value {
    let mut order = json!({
        "successUrl": "https://app.test/paid/{CHECKOUT_SESSION_ID}?page={CHECKOUT_SESSION_ID}",
        "cancelUrl": "https://app.test/prices",
        "idempotencyKey": key,
    });
    for (name, value) in what.as_object().expect("fields") {
        order[name] = value.clone();
    }
    order
}

async fn checkout(client: &Client, what: Value, key: &str) -> Value {
    let input = order(&what, key);
    let answer = client.ask(CHECKOUT, json!({"input": input})).await;
    answer["createCheckout"].clone()
}

/// Opens a page and pays; the page's id.
pub(crate) async fn buy(world: &World, what: Value, press: Press) -> String {
    let page = checkout(&world.client(), what, &world.key()).await;
    let id = text(&page, "/sessionId").to_owned();
    world.stripe().press(&id, press).expect("it was paid");
    id
}

async fn me(client: &Client) -> Value {
    client.ask(ME, json!({})).await["me"].clone()
}

async fn available(client: &Client) -> i64 {
    let me = me(client).await;
    me["credits"]["available"].as_i64().expect("credits")
}

/// Waits until so many credits are there.
async fn credits(client: &Client, wanted: i64) {
    until(&format!("{wanted} credits"), || async {
        (available(client).await == wanted).then_some(())
    })
    .await;
}

/// Waits until everything that Stripe has told was worked off.
pub(crate) async fn settled(world: &World) {
    until("every event is worked off", || async {
        let found = admin(world, &["payments", "reconcile"]).await;
        (found["open"] == 0).then_some(())
    })
    .await;
}

async fn admin(world: &World, words: &[&str]) -> Value {
    let words = [&["admin"], words, &["--json"]].concat();
    let told = world.run_beside(&words).await;
    let error = String::from_utf8_lossy(&told.stderr);
    assert!(told.status.success(), "{words:?}: {error}");
    serde_json::from_slice(&told.stdout).expect("JSON")
}

async fn spend(world: &World, client: &Client, credits: i64) {
    let user = text(&me(client).await, "/id").to_owned();
    let credits = (-credits).to_string();
    let words = [
        "credits",
        "adjust",
        "--user",
        &user,
        "--credits",
        &credits,
        "--reason",
        "Spent",
    ];
    admin(world, &words).await;
}

/// What the books say: each line's kind and amount, the oldest first.
async fn lines(client: &Client) -> Vec<(String, i64)> {
    let data = client.ask(LEDGER, json!({})).await;
    let mut lines: Vec<_> = list(&data, "/creditLedger/nodes")
        .iter()
        .map(|line| {
            let amount = line["amount"].as_i64().expect("a number");
            (text(line, "/kind").to_owned(), amount)
        })
        .collect();
    lines.reverse();
    lines
}

fn line(kind: &str, amount: i64) -> (String, i64) {
    (kind.to_owned(), amount)
}

/// A request to Stripe's API, as from its dashboard.
async fn at_stripe(stripe: &StripeHandle, path: &str, form: &[(&str, &str)]) -> Value {
    let client = reqwest::Client::builder().no_proxy().build();
    let request = client
        .expect("a client")
        .post(format!("{}/v1/{path}", stripe.url()))
        .bearer_auth(stripe.secret_key())
        .form(form);
    let reply = request.send().await.expect("an answer");
    assert!(reply.status().is_success(), "{path}: {}", reply.status());
    reply.json().await.expect("JSON")
}

fn payment_of(stripe: &StripeHandle, session: &str) -> String {
    let session = stripe.object(session).expect("a session");
    text(&session, "/payment_intent").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pack_is_credited_once_whatever_comes_twice() {
    let world = shop().await;
    let (client, stripe) = (world.client(), world.stripe());
    let twice = WebhookRule::new("*", WebhookTwist::Duplicate)
        .count(3)
        .times(0);
    stripe.add_webhook_rules(vec![twice]);
    let offers = client.ask(OFFERS, json!({})).await["creditOffers"].clone();
    assert_eq!(offers["available"], true, "{offers}");
    let small = json!({"name": "small", "priceMinor": 1_200, "credits": 1_000});
    assert_eq!(offers["packs"][0], small, "{offers}");

    let page = checkout(&client, json!({"pack": "small"}), "one").await;
    assert_eq!(page["__typename"], "CreateCheckoutSuccess", "{page}");
    let again = checkout(&client, json!({"pack": "small"}), "one").await;
    assert_eq!(page, again, "one key, one page");
    let session = text(&page, "/sessionId");
    let shown = stripe.object(session).expect("a session");
    assert_eq!(shown["amount_total"], 1_200, "{shown}");
    // Declined, and then paid.
    assert_eq!(stripe.press(session, Press::Decline).expect("a page"), None);
    assert_eq!(available(&client).await, 0);
    let back = stripe.press(session, Press::Pay).expect("a page");
    let back = back.expect("the buyer goes back");
    assert_eq!(
        back,
        format!("https://app.test/paid/{session}?page={session}")
    );
    credits(&client, 1_000).await;
    for event in stripe.events() {
        let event = text(&event, "/id").to_owned();
        let how = Resend {
            event,
            copies: 4,
            ..Resend::default()
        };
        stripe.resend(&how).expect("it is sent");
    }
    settled(&world).await;
    assert_eq!(lines(&client).await, [line("PURCHASE", 1_000)]);
    let mine = me(&client).await;
    assert_eq!(mine["plan"], "free");
    assert!(mine["subscription"].is_null(), "{mine}");
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_lives_and_ends() {
    let world = shop().await;
    let (client, stripe) = (world.client(), world.stripe());
    buy(&world, json!({"plan": "pro"}), Press::Pay).await;
    credits(&client, 3_000).await;
    let mine = until("a plan", || async {
        let mine = me(&client).await;
        (mine["plan"] == "pro").then_some(mine)
    })
    .await;
    assert_eq!(mine["subscription"]["status"], "ACTIVE", "{mine}");
    assert_eq!(mine["subscription"]["cancelAtPeriodEnd"], false);
    assert!(mine["subscription"]["currentPeriodEnd"].is_string());

    // A second one would be paid for twice.
    let refused = checkout(&client, json!({"plan": "business"}), "second").await;
    assert_eq!(refused["code"], "CONFLICT", "{refused}");
    // The month after is credited; one that is not paid is not, and the plan holds meanwhile.
    stripe.advance(MONTH).expect("a month");
    credits(&client, 6_000).await;
    let customers = stripe.events();
    let customer = customers
        .iter()
        .find(|event| event["type"] == "customer.created");
    let customer = text(customer.expect("a customer"), "/data/object/id").to_owned();
    stripe.set_card(&customer, Card::Fails).expect("a card");
    stripe.advance(MONTH).expect("a month");
    until("a payment failed", || async {
        (me(&client).await["subscription"]["status"] == "PAST_DUE").then_some(())
    })
    .await;
    assert_eq!(me(&client).await["plan"], "pro");
    assert_eq!(available(&client).await, 6_000);

    // The page to change and cancel is Stripe's.
    let input = json!({"returnUrl": "https://app.test/account"});
    let portal = client.ask(PORTAL, json!({"input": input})).await;
    let url = text(&portal, "/createPortalSession/url");
    assert!(url.starts_with(stripe.url()), "{portal}");
    let subscriptions = stripe.events();
    let subscription = (subscriptions.iter())
        .find(|event| event["type"] == "customer.subscription.created")
        .expect("a subscription");
    let id = text(subscription, "/data/object/id");
    let delete = reqwest::Client::builder()
        .no_proxy()
        .build()
        .expect("a client");
    let delete = delete
        .delete(format!("{}/v1/subscriptions/{id}", stripe.url()))
        .bearer_auth(stripe.secret_key());
    assert!(
        delete
            .send()
            .await
            .expect("an answer")
            .status()
            .is_success()
    );
    until("the end", || async {
        (me(&client).await["plan"] == "free").then_some(())
    })
    .await;
    let mine = me(&client).await;
    assert_eq!(mine["subscription"]["status"], "CANCELED", "{mine}");
    assert_eq!(available(&client).await, 6_000, "what was paid stays");
    world.audit().await;
}

/// Everything that can happen to money: two months of a plan, one of them refunded, and a pack
/// whose dispute is lost.
async fn a_life(world: &World) {
    let (client, stripe) = (world.client(), world.stripe());
    let session = buy(world, json!({"plan": "pro"}), Press::Pay).await;
    let pack = buy(world, json!({"pack": "small"}), Press::Pay).await;
    stripe.advance(MONTH).expect("a month");
    let first = stripe.object(&session).expect("a session");
    let payments = stripe.events();
    let renewal = (payments.iter())
        .filter(|event| event["type"] == "payment_intent.succeeded")
        .map(|event| text(event, "/data/object/id").to_owned())
        .next_back()
        .expect("a payment");
    assert_ne!(renewal, payment_of(&stripe, &pack), "{first}");
    at_stripe(&stripe, "refunds", &[("payment_intent", &renewal)]).await;
    let dispute = stripe
        .dispute(&payment_of(&stripe, &pack))
        .expect("a dispute");
    stripe.close_dispute(&dispute, false).expect("it is lost");
    assert_eq!(available(&client).await, 0, "nothing was told yet");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_order_of_events_ends_the_same() {
    for seed in 0..3_u64 {
        let world = quiet_shop().await;
        let (client, stripe) = (world.client(), world.stripe());
        a_life(&world).await;
        let mut events = stripe.events();
        assert!(events.len() > 20, "{} events", events.len());
        listen(&world);
        match seed {
            0 => events.reverse(),
            seed => events.shuffle(&mut StdRng::seed_from_u64(seed)),
        }
        for event in &events {
            let event = text(event, "/id").to_owned();
            let how = Resend {
                event,
                copies: 2,
                ..Resend::default()
            };
            stripe.resend(&how).expect("it is sent");
        }
        let wanted = 3_000;
        until("every event came", || async {
            let done = stripe.deliveries().len() >= 2 * events.len();
            done.then_some(())
        })
        .await;
        settled(&world).await;
        credits(&client, wanted).await;
        let mut moved = lines(&client).await;
        moved.sort();
        let sum: i64 = moved.iter().map(|(_, amount)| amount).sum();
        assert_eq!(sum, wanted, "seed {seed}: {moved:?}");
        let bought: Vec<_> = moved
            .iter()
            .filter(|(kind, _)| kind == "PURCHASE")
            .collect();
        let all = [
            line("PURCHASE", 1_000),
            line("PURCHASE", 3_000),
            line("PURCHASE", 3_000),
        ];
        assert_eq!(bought, all.iter().collect::<Vec<_>>(), "seed {seed}");
        assert_eq!(me(&client).await["plan"], "pro");
        world.audit().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_never_told_is_asked_for() {
    let world = quiet_shop().await;
    let client = world.client();
    buy(&world, json!({"pack": "small"}), Press::Pay).await;
    buy(&world, json!({"plan": "business"}), Press::Pay).await;
    // A time that somebody chooses passes nothing over for later.
    let found = admin(&world, &["payments", "reconcile", "--since", "2100-01-01"]).await;
    assert_eq!(found["seen"], 0, "{found}");
    // A vendor that says once that there is no such page is not believed.
    let lie = Fault::new("GET /v1/checkout/sessions/{id}", FaultKind::NotFound).times(2);
    world.stripe().add_faults(vec![lie]).expect("armed");
    let found = admin(&world, &["payments", "reconcile"]).await;
    assert!(found["missed"].as_i64() > Some(5), "{found}");
    settled(&world).await;
    credits(&client, 12_000).await;
    assert!(world.stripe().faults().is_empty(), "it has lied");
    assert_eq!(me(&client).await["plan"], "business");
    let found = admin(&world, &["payments", "reconcile", "--since", "2020-01-01"]).await;
    assert_eq!(found["missed"], 0, "{found}");
    assert_eq!(lines(&client).await.len(), 2);
    // Told at last.
    listen(&world);
    for event in world.stripe().events() {
        let event = text(&event, "/id").to_owned();
        let how = Resend {
            event,
            ..Resend::default()
        };
        world.stripe().resend(&how).expect("it is sent");
    }
    settled(&world).await;
    assert_eq!(lines(&client).await.len(), 2);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refund_takes_what_is_there_and_notes_the_rest() {
    let world = shop().await;
    let (client, stripe) = (world.client(), world.stripe());
    let pack = buy(&world, json!({"pack": "small"}), Press::Pay).await;
    credits(&client, 1_000).await;
    spend(&world, &client, 600).await;
    let payment = payment_of(&stripe, &pack);
    // A quarter, for which there is enough.
    let form = [("payment_intent", &*payment), ("amount", "300")];
    at_stripe(&stripe, "refunds", &form).await;
    credits(&client, 150).await;
    assert_eq!(me(&client).await["owedCredits"], 0);
    // The rest, for which there is not.
    at_stripe(&stripe, "refunds", &[("payment_intent", &payment)]).await;
    credits(&client, 0).await;
    settled(&world).await;
    assert_eq!(me(&client).await["owedCredits"], 600);

    // A dispute takes credits while it is open, and brings them back when it is won.
    let other = buy(&world, json!({"pack": "small"}), Press::Pay).await;
    credits(&client, 1_000).await;
    let dispute = stripe
        .dispute(&payment_of(&stripe, &other))
        .expect("a dispute");
    credits(&client, 0).await;
    stripe.close_dispute(&dispute, true).expect("it is won");
    credits(&client, 1_000).await;
    settled(&world).await;
    assert_eq!(me(&client).await["owedCredits"], 600);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_and_old_events_change_nothing() {
    let world = shop().await;
    let (client, stripe) = (world.client(), world.stripe());
    for how in [WebhookTwist::Forged, WebhookTwist::Stale] {
        let mut rule = WebhookRule::new("*", how).times(0);
        rule.age_seconds = Some(1_000);
        stripe.clear_webhook_rules();
        stripe.add_webhook_rules(vec![rule]);
        let before = stripe.deliveries().len();
        buy(&world, json!({"pack": "small"}), Press::Pay).await;
        until("deliveries", || async {
            (stripe.deliveries().len() > before).then_some(())
        })
        .await;
    }
    let refused = stripe.deliveries();
    assert!(
        refused.iter().all(|delivery| delivery.status != Some(200)),
        "{refused:?}"
    );
    let send = |body: &'static str, signature: Option<&'static str>| {
        let mut request = reqwest::Client::builder()
            .no_proxy()
            .build()
            .expect("a client")
            .post(door(&world))
            .body(body);
        if let Some(signature) = signature {
            request = request.header("stripe-signature", signature);
        }
        async move { request.send().await.expect("an answer").status().as_u16() }
    };
    assert_eq!(send("{}", None).await, 400);
    assert_eq!(send("{}", Some("t=1,v1=00")).await, 400);
    assert_eq!(send("", Some("")).await, 400);
    assert_eq!(available(&client).await, 0);
    // They were real, however: asking finds them.
    settled(&world).await;
    credits(&client, 2_000).await;
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_told_survives_a_kill() {
    let mut world = shop().await;
    let stripe = world.stripe();
    for round in 0..4 {
        buy(&world, json!({"pack": "small"}), Press::Pay).await;
        tokio::time::sleep(Duration::from_millis(150 * round)).await;
        world.kill_and_start_again().await;
    }
    settled(&world).await;
    credits(&world.client(), 4_000).await;
    assert_eq!(
        lines(&world.client()).await,
        vec![line("PURCHASE", 1_000); 4]
    );
    // Sixteen at once, also at the moment of a kill.
    for event in stripe.events() {
        let event = text(&event, "/id").to_owned();
        let how = Resend {
            event,
            copies: 16,
            ..Resend::default()
        };
        stripe.resend(&how).expect("it is sent");
    }
    world.kill_and_start_again().await;
    settled(&world).await;
    assert_eq!(available(&world.client()).await, 4_000);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_that_cannot_be_taken() {
    let world = shop().await;
    let (client, stripe) = (world.client(), world.stripe());
    for (what, path, words) in [
        (json!({}), "plan", "either"),
        (json!({"plan": "pro", "pack": "small"}), "plan", "either"),
        (json!({"pack": "huge"}), "pack", "small, large"),
        (json!({"plan": "free"}), "plan", "pro, business"),
        (
            json!({"pack": "small", "successUrl": "ftp://app.test"}),
            "successUrl",
            "http",
        ),
        (
            json!({"pack": "small", "cancelUrl": "nowhere"}),
            "cancelUrl",
            "absolute",
        ),
        (
            json!({"pack": "small", "successUrl": "https://a:b@app.test"}),
            "successUrl",
            "password",
        ),
        (
            json!({"pack": "small", "idempotencyKey": ""}),
            "idempotencyKey",
            "empty",
        ),
    ] {
        let refused = checkout(&client, what.clone(), "key").await;
        assert_eq!(refused["code"], "INVALID_INPUT", "{what}: {refused}");
        assert_eq!(refused["path"], json!([path]), "{what}: {refused}");
        assert!(
            text(&refused, "/message").contains(words),
            "{what}: {refused}"
        );
    }
    let input = json!({"input": {"returnUrl": "https://app.test"}});
    let refused = client.ask(PORTAL, input).await["createPortalSession"].clone();
    assert_eq!(refused["code"], "CONFLICT", "nothing was bought: {refused}");
    assert!(
        stripe.events().is_empty(),
        "nobody asked Stripe for anything"
    );

    checkout(&client, json!({"pack": "small"}), "one").await;
    let refused = checkout(&client, json!({"pack": "large"}), "one").await;
    assert_eq!(refused["code"], "IDEMPOTENCY_KEY_REUSED", "{refused}");
    let nobody = Client::new(&world.server().url, None);
    let refused = nobody
        .send(
            CHECKOUT,
            json!({"input": order(&json!({"pack": "small"}), "x")}),
        )
        .await;
    assert_eq!(
        refused["errors"][0]["extensions"]["code"],
        "UNAUTHENTICATED"
    );
    let offers = nobody.ask(OFFERS, json!({})).await;
    assert_eq!(list(&offers, "/creditOffers/plans").len(), 2);
    world.audit().await;
}
