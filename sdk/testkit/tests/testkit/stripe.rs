//! Stripe's wire format, the lives of payments and subscriptions, and signed webhooks.

use std::time::Duration;

use genvid_testkit::{
    Card, Fault, FaultKind, Keys, Press, Resend, Simulators, StripeHandle, WebhookRule,
    WebhookTwist,
};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::kit::{Received, Reply, next, receiver, send, start};

const SOON: Duration = Duration::from_secs(5);
const DAY: u64 = 86_400;

/// Names and values of a form.
type Form<'text> = &'text [(&'text str, &'text str)];

/// A client of the API, as an SDK is one.
struct Api {
    web: reqwest::Client,
    url: String,
    stripe: StripeHandle,
}

impl Api {
    fn new(simulators: &Simulators) -> Self {
        let web = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_secs(30))
            .build()
            .expect("a client");
        let stripe = simulators.stripe();
        Self {
            web,
            url: stripe.url().to_owned(),
            stripe,
        }
    }

    fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let method = method.parse().expect("a method");
        self.web
            .request(method, format!("{}{path}", self.url))
            .bearer_auth(self.stripe.secret_key())
            .header("stripe-version", "2026-07-29.dahlia")
    }

    async fn get(&self, path: &str) -> Value {
        let reply = send(self.request("GET", path)).await.expect("an answer");
        assert_eq!(reply.status, 200, "{path}: {}", reply.json());
        reply.json()
    }

    async fn try_post(&self, path: &str, form: &[(&str, &str)]) -> Reply {
        send(self.request("POST", path).form(form))
            .await
            .expect("an answer")
    }

    async fn post(&self, path: &str, form: &[(&str, &str)]) -> Value {
        let reply = self.try_post(path, form).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.json());
        reply.json()
    }

    async fn post_with_key(&self, key: &str, path: &str, form: &[(&str, &str)]) -> Reply {
        let request = self.request("POST", path).header("idempotency-key", key);
        send(request.form(form)).await.expect("an answer")
    }

    /// Presses a button of a page as a browser does, without any key.
    async fn press(&self, page: &str, form: &[(&str, &str)]) -> Reply {
        send(self.web.post(page).form(form))
            .await
            .expect("an answer")
    }

    async fn price(&self, amount: &str, interval: Option<&str>) -> String {
        let mut form = vec![
            ("currency", "usd"),
            ("unit_amount", amount),
            ("product_data[name]", "Credits <b>"),
        ];
        if let Some(interval) = interval {
            form.push(("recurring[interval]", interval));
        }
        id(&self.post("/v1/prices", &form).await)
    }

    async fn session(&self, mode: &str, price: &str, more: &[(&str, &str)]) -> Value {
        let mut form = vec![
            ("mode", mode),
            ("line_items[0][price]", price),
            ("line_items[0][quantity]", "1"),
            ("success_url", "https://app.test/ok?s={CHECKOUT_SESSION_ID}"),
            ("cancel_url", "https://app.test/billing"),
            ("client_reference_id", "org_42"),
        ];
        form.extend_from_slice(more);
        self.post("/v1/checkout/sessions", &form).await
    }

    async fn subscribed(&self, press: Press) -> (String, String) {
        let price = self.price("2900", Some("month")).await;
        let session = self
            .session(
                "subscription",
                &price,
                &[("subscription_data[metadata][org]", "o1")],
            )
            .await;
        self.stripe.press(&id(&session), press).expect("paid");
        let session = self
            .get(&format!("/v1/checkout/sessions/{}", id(&session)))
            .await;
        (
            text(&session, "subscription").to_owned(),
            text(&session, "customer").to_owned(),
        )
    }

    async fn paid_pack(&self) -> Value {
        let price = self.price("1900", None).await;
        let session = self.session("payment", &price, &[]).await;
        self.stripe.press(&id(&session), Press::Pay).expect("paid");
        self.get(&format!("/v1/checkout/sessions/{}", id(&session)))
            .await
    }

    fn kinds(&self) -> Vec<String> {
        let events = self.stripe.events();
        events
            .iter()
            .map(|event| text(event, "type").to_owned())
            .collect()
    }

    fn event(&self, kind: &str) -> Value {
        let events = self.stripe.events();
        let found = events.iter().rev().find(|event| event["type"] == kind);
        found.unwrap_or_else(|| panic!("no {kind}")).clone()
    }
}

fn text<'value>(object: &'value Value, field: &str) -> &'value str {
    object[field]
        .as_str()
        .unwrap_or_else(|| panic!("no {field} in {object}"))
}

fn id(object: &Value) -> String {
    text(object, "id").to_owned()
}

/// Whether a delivery is signed as Stripe's documents say; computed here, not by the kit.
fn is_signed(hook: &Received, secret: &str) -> bool {
    let (time, given) = stamp(hook);
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any key");
    mac.update(time.to_string().as_bytes());
    mac.update(b".");
    mac.update(&hook.body);
    hex::encode(mac.finalize().into_bytes()) == given
}

/// Time and signature of a delivery.
fn stamp(hook: &Received) -> (i64, String) {
    let header = hook.header("stripe-signature");
    let (time, mac) = header.split_once(',').expect("two parts");
    (
        time.strip_prefix("t=")
            .expect("a time")
            .parse()
            .expect("seconds"),
        mac.strip_prefix("v1=").expect("a signature").to_owned(),
    )
}

async fn hook(hooks: &mut UnboundedReceiver<Received>) -> Received {
    next(hooks, SOON).await.expect("a webhook")
}

async fn kinds_of(hooks: &mut UnboundedReceiver<Received>, count: usize) -> Vec<String> {
    let mut kinds = Vec::new();
    for _ in 0..count {
        kinds.push(text(&hook(hooks).await.json(), "type").to_owned());
    }
    kinds
}

#[tokio::test]
async fn keys_and_forms_are_checked() {
    let simulators = start().await;
    let api = Api::new(&simulators);
    let bare = api.web.get(format!("{}/v1/customers", api.url));
    let reply = send(bare.try_clone().expect("a copy")).await.expect("401");
    assert_eq!(reply.status, 401);
    assert_eq!(reply.json()["error"]["type"], "invalid_request_error");
    let wrong = bare.try_clone().expect("a copy").bearer_auth("sk_test_no");
    assert_eq!(send(wrong).await.expect("401").status, 401);
    let basic = bare.basic_auth(api.stripe.secret_key(), None::<&str>);
    let reply = send(basic).await.expect("200");
    assert_eq!(reply.status, 200);
    assert!(reply.header("request-id").starts_with("req_"));
    assert_eq!(reply.header("stripe-version"), "2026-07-29.dahlia");

    type Case<'text> = (&'text str, Form<'text>, &'text str, &'text str);
    let cases: [Case<'_>; 5] = [
        ("/v1/prices", &[], "parameter_missing", "currency"),
        (
            "/v1/prices",
            &[("currency", "usd"), ("unit_amount", "free")],
            "parameter_invalid_integer",
            "unit_amount",
        ),
        (
            "/v1/customers",
            &[("mail", "x")],
            "parameter_unknown",
            "mail",
        ),
        (
            "/v1/refunds",
            &[("charge", "ch_none")],
            "resource_missing",
            "charge",
        ),
        (
            "/v1/checkout/sessions",
            &[
                ("mode", "payment"),
                ("line_items[0][price]", "price_none"),
                ("line_items[0][quantity]", "1"),
            ],
            "resource_missing",
            "line_items[0][price]",
        ),
    ];
    for (path, form, code, param) in cases {
        let reply = api.try_post(path, form).await;
        let error = &reply.json()["error"];
        assert_eq!(
            (reply.status, &error["code"]),
            (400, &json!(code)),
            "{path}"
        );
        assert_eq!(error["param"], param, "{path}");
    }
    let reply = send(
        api.request("POST", "/v1/customers")
            .json(&json!({"email": "a@b.c"})),
    )
    .await;
    assert_eq!(reply.expect("400").status, 400, "JSON is no form");
    let reply = send(api.request("GET", "/v1/customers/cus_none")).await;
    let reply = reply.expect("404");
    assert_eq!(
        (reply.status, &reply.json()["error"]["code"]),
        (404, &json!("resource_missing"))
    );
    let reply = send(api.request("GET", "/v1/nothing")).await.expect("404");
    assert_eq!(
        (reply.status, &reply.json()["error"]["type"]),
        (404, &json!("invalid_request_error"))
    );
    assert!(
        simulators
            .stripe()
            .requests()
            .iter()
            .all(|seen| !format!("{seen:?}").contains(&Keys::default().stripe)),
        "the log keeps no key"
    );
}

#[tokio::test]
async fn a_pack_is_paid_on_the_page() {
    let simulators = start().await;
    let api = Api::new(&simulators);
    let price = api.price("1900", None).await;
    let more = [
        ("metadata[kind]", "credit_pack"),
        ("payment_intent_data[metadata][org]", "org_42"),
        ("customer_email", "anna@example.com"),
    ];
    let session = api.session("payment", &price, &more).await;
    assert_eq!(
        (&session["status"], &session["payment_status"]),
        (&json!("open"), &json!("unpaid"))
    );
    assert_eq!(session["amount_total"], 1_900);
    assert_eq!(session["payment_intent"], Value::Null);
    assert!(session.get("_lines").is_none() && session.get("line_items").is_none());

    let url = text(&session, "url");
    let page = send(api.web.get(url)).await.expect("a page");
    assert_eq!(page.status, 200);
    let page = String::from_utf8_lossy(&page.bytes).into_owned();
    assert!(
        page.contains("19.00 USD") && page.contains("Credits &lt;b&gt;"),
        "{page}"
    );
    let back = api.press(url, &[("action", "cancel")]).await;
    assert_eq!(
        (back.status, back.header("location")),
        (303, "https://app.test/billing")
    );
    let declined = api.press(url, &[("action", "decline")]).await;
    assert_eq!(declined.status, 402);
    assert!(String::from_utf8_lossy(&declined.bytes).contains("Your card was declined."));
    let failed = api.event("payment_intent.payment_failed");
    let paid = api.press(url, &[("action", "pay")]).await;
    let id = id(&session);
    assert_eq!(paid.status, 303);
    assert_eq!(
        paid.header("location"),
        format!("https://app.test/ok?s={id}")
    );
    let again = api.press(url, &[("action", "pay")]).await;
    assert_eq!(again.status, 410, "a session is paid once");

    let path = format!("/v1/checkout/sessions/{id}?expand[]=line_items&expand[]=payment_intent");
    let done = api.get(&path).await;
    assert_eq!(
        (&done["status"], &done["payment_status"], &done["url"]),
        (&json!("complete"), &json!("paid"), &Value::Null)
    );
    assert_eq!(done["metadata"]["kind"], "credit_pack");
    assert_eq!(done["line_items"]["data"][0]["price"]["id"], json!(price));
    let intent = &done["payment_intent"];
    assert_eq!(intent["status"], "succeeded");
    assert_eq!(intent["metadata"]["org"], "org_42");
    assert_eq!(
        intent["id"], failed["data"]["object"]["id"],
        "one payment, two tries"
    );
    let completed = api.event("checkout.session.completed");
    assert_eq!(completed["data"]["object"]["payment_status"], "paid");
    assert_eq!(
        completed["data"]["object"]["customer_details"]["email"],
        "anna@example.com"
    );
    assert_eq!(
        api.get("/v1/charges").await["data"]
            .as_array()
            .map(Vec::len),
        Some(2)
    );
}

#[tokio::test]
async fn slow_money_comes_or_fails_later() {
    let simulators = start().await;
    let api = Api::new(&simulators);
    let price = api.price("500", None).await;
    for (paid, event) in [
        (true, "checkout.session.async_payment_succeeded"),
        (false, "checkout.session.async_payment_failed"),
    ] {
        let session = id(&api.session("payment", &price, &[]).await);
        api.stripe.press(&session, Press::PayLater).expect("left");
        let completed = api.event("checkout.session.completed");
        assert_eq!(completed["data"]["object"]["payment_status"], "unpaid");
        api.stripe.settle(&session, paid).expect("settled");
        assert_eq!(api.event(event)["data"]["object"]["id"], json!(session));
        assert!(api.stripe.settle(&session, paid).is_err() || !paid, "once");
    }
}

#[tokio::test]
async fn sessions_expire() {
    let simulators = start().await;
    let api = Api::new(&simulators);
    let price = api.price("500", None).await;
    let first = api.session("payment", &price, &[]).await;
    let path = format!("/v1/checkout/sessions/{}/expire", id(&first));
    assert_eq!(api.post(&path, &[]).await["status"], "expired");
    assert_eq!(api.try_post(&path, &[]).await.status, 400);
    let second = api.session("payment", &price, &[]).await;
    api.stripe
        .advance(Duration::from_secs(DAY + 1))
        .expect("a day");
    let now = api
        .get(&format!("/v1/checkout/sessions/{}", id(&second)))
        .await;
    assert_eq!(
        (&now["status"], &now["url"]),
        (&json!("expired"), &Value::Null)
    );
    let page = send(api.web.get(text(&second, "url")))
        .await
        .expect("a page");
    assert_eq!(page.status, 410);
    let expired = api.kinds();
    let count = expired
        .iter()
        .filter(|kind| *kind == "checkout.session.expired");
    assert_eq!(count.count(), 2);
}

#[tokio::test]
async fn a_subscription_lives_by_the_clock() {
    let simulators = start().await;
    let api = Api::new(&simulators);
    let (subscription, customer) = api.subscribed(Press::Pay).await;
    let path = format!("/v1/subscriptions/{subscription}");
    let agreed = api.get(&format!("{path}?expand[]=latest_invoice")).await;
    assert_eq!(agreed["status"], "active");
    assert!(
        agreed.get("current_period_end").is_none(),
        "it lies on the items"
    );
    let invoice = &agreed["latest_invoice"];
    assert_eq!(
        (
            &invoice["status"],
            &invoice["billing_reason"],
            &invoice["amount_paid"]
        ),
        (&json!("paid"), &json!("subscription_create"), &json!(2_900))
    );
    let parent = &invoice["parent"]["subscription_details"];
    assert_eq!(
        (&parent["subscription"], &parent["metadata"]["org"]),
        (&json!(subscription), &json!("o1"))
    );
    let first = agreed["items"]["data"][0].clone();

    // Three periods at once, each at its own moment.
    api.stripe
        .advance(Duration::from_secs(93 * DAY))
        .expect("months");
    let invoices = api
        .get(&format!("/v1/invoices?subscription={subscription}"))
        .await;
    let invoices = invoices["data"].as_array().expect("a list").clone();
    assert_eq!(invoices.len(), 4, "{invoices:?}");
    assert_eq!(invoices[0]["billing_reason"], "subscription_cycle");
    let created: Vec<i64> = invoices
        .iter()
        .map(|invoice| invoice["created"].as_i64().expect("a time"))
        .collect();
    assert!(
        created
            .windows(2)
            .all(|pair| pair[0] > pair[1] + 27 * 86_400)
    );
    assert_eq!(json!(created[2]), first["current_period_end"]);
    let next = &api.get(&path).await["items"]["data"][0];
    assert_eq!(next["current_period_start"], json!(created[0]));

    // A card that fails, and is good again before the last try.
    api.stripe.set_card(&customer, Card::Fails).expect("a card");
    api.stripe
        .advance(Duration::from_secs(32 * DAY))
        .expect("a month");
    assert_eq!(api.get(&path).await["status"], "past_due");
    let failed = api.event("invoice.payment_failed");
    assert!(failed["data"]["object"]["next_payment_attempt"].is_i64());
    let owed = text(&failed["data"]["object"], "id").to_owned();
    let refused = api.try_post(&format!("/v1/invoices/{owed}/pay"), &[]).await;
    assert_eq!(refused.status, 402);
    assert_eq!(refused.json()["error"]["type"], "card_error");
    assert_eq!(refused.json()["error"]["decline_code"], "generic_decline");
    api.stripe.set_card(&customer, Card::Good).expect("a card");
    api.stripe
        .advance(Duration::from_secs(9 * DAY))
        .expect("days");
    let revived = api.get(&path).await;
    assert_eq!(revived["status"], "active");
    assert_eq!(
        api.get(&format!("/v1/invoices/{owed}")).await["status"],
        "paid"
    );

    // Its end with the period.
    let ending = api.post(&path, &[("cancel_at_period_end", "true")]).await;
    assert_eq!(ending["status"], "active");
    assert_eq!(
        ending["cancel_at"],
        ending["items"]["data"][0]["current_period_end"]
    );
    api.stripe
        .advance(Duration::from_secs(32 * DAY))
        .expect("a month");
    let ended = api.get(&path).await;
    assert_eq!(
        (&ended["status"], &ended["ended_at"]),
        (&json!("canceled"), &ending["cancel_at"])
    );
    let told = api.event("customer.subscription.deleted");
    assert_eq!(told["created"], ended["ended_at"]);
    let live = api
        .get(&format!("/v1/subscriptions?customer={customer}"))
        .await;
    assert_eq!(live["data"], json!([]));
}

#[tokio::test]
async fn unpaid_subscriptions_end_after_the_last_try() {
    let simulators = start().await;
    let api = Api::new(&simulators);
    let (subscription, _) = api.subscribed(Press::PayOnce).await;
    api.stripe
        .advance(Duration::from_secs(60 * DAY))
        .expect("months");
    let ended = api.get(&format!("/v1/subscriptions/{subscription}")).await;
    assert_eq!(ended["status"], "canceled");
    assert_eq!(ended["cancellation_details"]["reason"], "payment_failed");
    let kinds = api.kinds();
    let failed = kinds
        .iter()
        .filter(|kind| *kind == "invoice.payment_failed");
    assert_eq!(failed.count(), 4);
    let invoice = api
        .get(&format!("/v1/invoices/{}", text(&ended, "latest_invoice")))
        .await;
    assert_eq!(
        (
            &invoice["status"],
            &invoice["attempt_count"],
            &invoice["next_payment_attempt"]
        ),
        (&json!("open"), &json!(4), &Value::Null)
    );
}

#[tokio::test]
async fn trials_cost_nothing_until_they_end() {
    let simulators = start().await;
    let api = Api::new(&simulators);
    let price = api.price("2900", Some("month")).await;
    let trial = [("subscription_data[trial_period_days]", "7")];
    let session = api.session("subscription", &price, &trial).await;
    assert_eq!(
        (&session["amount_total"], &session["payment_status"]),
        (&json!(0), &json!("no_payment_required"))
    );
    api.stripe.press(&id(&session), Press::Pay).expect("taken");
    let completed = api.event("checkout.session.completed")["data"]["object"].clone();
    let path = format!("/v1/subscriptions/{}", text(&completed, "subscription"));
    assert_eq!(api.get(&path).await["status"], "trialing");
    assert_eq!(completed["payment_status"], "no_payment_required");
    api.stripe
        .advance(Duration::from_secs(5 * DAY))
        .expect("days");
    api.event("customer.subscription.trial_will_end");
    api.stripe
        .advance(Duration::from_secs(3 * DAY))
        .expect("days");
    assert_eq!(api.get(&path).await["status"], "active");
    let paid = api.event("invoice.paid")["data"]["object"].clone();
    assert_eq!(
        (&paid["billing_reason"], &paid["amount_paid"]),
        (&json!("subscription_cycle"), &json!(2_900))
    );
}

#[tokio::test]
async fn plans_change_with_what_is_left_of_the_period() {
    let simulators = start().await;
    let api = Api::new(&simulators);
    let (subscription, customer) = api.subscribed(Press::Pay).await;
    let path = format!("/v1/subscriptions/{subscription}");
    let agreed = api.get(&path).await;
    let item = text(&agreed["items"]["data"][0], "id").to_owned();
    let dear = api.price("9900", Some("month")).await;
    let change = |price: &str| {
        vec![
            ("items[0][id]".to_owned(), item.clone()),
            ("items[0][price]".to_owned(), price.to_owned()),
            ("proration_behavior".to_owned(), "always_invoice".to_owned()),
        ]
    };
    let request = api.request("POST", &path).form(&change(&dear));
    assert_eq!(send(request).await.expect("an answer").status, 200);
    let updated = api.event("customer.subscription.updated");
    assert!(updated["data"]["previous_attributes"]["items"].is_object());
    let paid = api.event("invoice.paid")["data"]["object"].clone();
    assert_eq!(paid["billing_reason"], "subscription_update");
    let total = paid["total"].as_i64().expect("an amount");
    assert!(
        (6_990..=7_000).contains(&total),
        "nearly the whole difference: {total}"
    );
    let lines = paid["lines"]["data"].as_array().expect("lines");
    assert_eq!(lines.len(), 2);
    assert!(lines[0]["amount"].as_i64() < Some(0));

    // Down again in the portal: what is left is a credit for the next invoice.
    let cheap = text(&agreed["items"]["data"][0]["price"], "id").to_owned();
    let portal = api
        .post(
            "/v1/billing_portal/sessions",
            &[("customer", &customer), ("return_url", "https://app.test/")],
        )
        .await;
    let url = text(&portal, "url");
    let page = send(api.web.get(url)).await.expect("a page");
    assert!(String::from_utf8_lossy(&page.bytes).contains(&format!("change:{cheap}")));
    let action = format!("change:{cheap}");
    let form = [("action", action.as_str()), ("subscription", &subscription)];
    assert_eq!(api.press(url, &form).await.status, 303);
    let balance = api.get(&format!("/v1/customers/{customer}")).await["balance"].clone();
    assert!(
        (-7_000..=-6_990).contains(&balance.as_i64().expect("an amount")),
        "{balance}"
    );
    api.stripe
        .advance(Duration::from_secs(32 * DAY))
        .expect("a month");
    let paid = api.event("invoice.paid")["data"]["object"].clone();
    assert_eq!(
        (&paid["total"], &paid["amount_due"]),
        (&json!(2_900), &json!(0))
    );

    // Links of the portal run out; a foreign subscription is not there.
    assert_eq!(api.press(url, &form).await.status, 410);
    let (other, _) = api.subscribed(Press::Pay).await;
    let portal = api
        .post("/v1/billing_portal/sessions", &[("customer", &customer)])
        .await;
    let url = text(&portal, "url");
    let foreign = [("action", "cancel_now"), ("subscription", &other)];
    assert_eq!(api.press(url, &foreign).await.status, 400);
    let own = [("action", "cancel"), ("subscription", &subscription)];
    assert_eq!(api.press(url, &own).await.status, 303);
    assert_eq!(api.get(&path).await["cancel_at_period_end"], true);
    let own = [("action", "cancel_now"), ("subscription", &subscription)];
    assert_eq!(api.press(url, &own).await.status, 303);
    assert_eq!(api.get(&path).await["status"], "canceled");
    assert_eq!(
        send(api.request("DELETE", &path))
            .await
            .expect("404")
            .status,
        404
    );
}

#[tokio::test]
async fn refunds_stop_at_what_was_paid() {
    let simulators = start().await;
    let api = Api::new(&simulators);
    let session = api.paid_pack().await;
    let intent = text(&session, "payment_intent");
    let part = api
        .post(
            "/v1/refunds",
            &[("payment_intent", intent), ("amount", "400")],
        )
        .await;
    assert_eq!(
        (&part["status"], &part["amount"]),
        (&json!("succeeded"), &json!(400))
    );
    let told = api.event("charge.refunded");
    assert_eq!(
        (
            &told["data"]["object"]["amount_refunded"],
            &told["data"]["object"]["refunded"]
        ),
        (&json!(400), &json!(false))
    );
    assert_eq!(told["data"]["previous_attributes"]["amount_refunded"], 0);
    let over = [("payment_intent", intent), ("amount", "1501")];
    assert_eq!(api.try_post("/v1/refunds", &over).await.status, 400);
    api.post("/v1/refunds", &[("payment_intent", intent)]).await;
    assert_eq!(
        api.event("charge.refunded")["data"]["object"]["refunded"],
        true
    );
    let again = api
        .try_post("/v1/refunds", &[("payment_intent", intent)])
        .await;
    assert_eq!(again.json()["error"]["code"], "charge_already_refunded");
    let listed = api
        .get(&format!("/v1/refunds?payment_intent={intent}"))
        .await;
    assert_eq!(listed["data"].as_array().map(Vec::len), Some(2));
    let (subscription, _) = api.subscribed(Press::Pay).await;
    let agreed = api.get(&format!("/v1/subscriptions/{subscription}")).await;
    let invoice = text(&agreed, "latest_invoice");
    let payments = api
        .get(&format!("/v1/invoice_payments?invoice={invoice}"))
        .await;
    let payment = &payments["data"][0];
    assert_eq!(payment["amount_paid"], 2_900);
    let intent = text(&payment["payment"], "payment_intent");
    api.post("/v1/refunds", &[("payment_intent", intent)]).await;
}

#[tokio::test]
async fn disputes_are_opened_and_decided() {
    let simulators = start().await;
    let api = Api::new(&simulators);
    for (won, status) in [(true, "won"), (false, "lost")] {
        let session = api.paid_pack().await;
        let intent = text(&session, "payment_intent");
        let dispute = api.stripe.dispute(intent).expect("a dispute");
        let created = api.event("charge.dispute.created");
        let object = &created["data"]["object"];
        assert_eq!(
            (&object["id"], &object["payment_intent"], &object["amount"]),
            (&json!(dispute), &json!(intent), &json!(1_900))
        );
        assert!(api.stripe.dispute(intent).is_err(), "once");
        let refund = api
            .try_post("/v1/refunds", &[("payment_intent", intent)])
            .await;
        assert_eq!(refund.json()["error"]["code"], "charge_disputed");
        api.stripe.close_dispute(&dispute, won).expect("decided");
        let closed = api.event("charge.dispute.closed");
        assert_eq!(closed["data"]["object"]["status"], status);
        assert!(api.stripe.close_dispute(&dispute, won).is_err(), "once");
    }
    let kinds = api.kinds();
    let back = kinds
        .iter()
        .filter(|kind| *kind == "charge.dispute.funds_reinstated");
    assert_eq!(back.count(), 1);
}

#[tokio::test]
async fn one_idempotency_key_does_one_thing() {
    let simulators = start().await;
    let api = Api::new(&simulators);
    let form = [("email", "anna@example.com")];
    let first = api.post_with_key("key-1", "/v1/customers", &form).await;
    let second = api.post_with_key("key-1", "/v1/customers", &form).await;
    assert!(first.headers.get("idempotent-replayed").is_none());
    assert_eq!(second.header("idempotent-replayed"), "true");
    assert_eq!(first.bytes, second.bytes);
    let event = api.event("customer.created");
    assert_eq!(event["request"]["idempotency_key"], "key-1");
    let other = [("email", "bert@example.com")];
    let other = api.post_with_key("key-1", "/v1/customers", &other).await;
    assert_eq!(
        (other.status, &other.json()["error"]["type"]),
        (400, &json!("idempotency_error"))
    );
    let other = api
        .post_with_key("key-1", "/v1/products", &[("name", "x")])
        .await;
    assert_eq!(other.json()["error"]["type"], "idempotency_error");
    assert_eq!(
        api.get("/v1/customers").await["data"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );

    // A wrong request is not kept; one whose answer was lost is.
    assert_eq!(
        api.post_with_key("key-2", "/v1/products", &[]).await.status,
        400
    );
    let right = api
        .post_with_key("key-2", "/v1/products", &[("name", "x")])
        .await;
    assert_eq!(right.status, 200);
    let lost = Fault::new("POST /v1/products", FaultKind::AcceptThenDrop);
    api.stripe.add_faults(vec![lost]).expect("a fault");
    let request = api.request("POST", "/v1/products");
    let request = request
        .header("idempotency-key", "key-3")
        .form(&[("name", "y")]);
    assert!(send(request).await.is_err(), "the answer is lost");
    let again = api
        .post_with_key("key-3", "/v1/products", &[("name", "y")])
        .await;
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(
        api.get("/v1/products").await["data"]
            .as_array()
            .map(Vec::len),
        Some(2)
    );

    // Many at once are one.
    let all = (0..20).map(|_| api.post_with_key("key-4", "/v1/customers", &[("name", "z")]));
    let all = futures::future::join_all(all).await;
    assert!(all.iter().all(|reply| reply.bytes == all[0].bytes));
    api.stripe
        .advance(Duration::from_secs(DAY + 1))
        .expect("a day");
    let late = api
        .post_with_key("key-4", "/v1/customers", &[("name", "z")])
        .await;
    assert_ne!(late.bytes, all[0].bytes, "keys run out");
}

#[tokio::test]
async fn a_declined_payment_is_replayed_as_declined() {
    let simulators = start().await;
    let api = Api::new(&simulators);
    api.subscribed(Press::PayOnce).await;
    api.stripe
        .advance(Duration::from_secs(32 * DAY))
        .expect("a month");
    let owed = api.event("invoice.payment_failed")["data"]["object"].clone();
    let path = format!("/v1/invoices/{}/pay", id(&owed));
    let first = api.post_with_key("pay-1", &path, &[]).await;
    let second = api.post_with_key("pay-1", &path, &[]).await;
    assert_eq!((first.status, second.status), (402, 402));
    assert_eq!(second.header("idempotent-replayed"), "true");
    assert_eq!(first.bytes, second.bytes);
    let failed = api.kinds();
    let failed = failed
        .iter()
        .filter(|kind| *kind == "invoice.payment_failed");
    assert_eq!(failed.count(), 2, "the renewal and one try, not two");
}

#[tokio::test]
async fn lists_come_in_pages_newest_first() {
    let simulators = start().await;
    let api = Api::new(&simulators);
    for number in 0..25 {
        let name = format!("n{number}");
        api.post("/v1/customers", &[("name", &name)]).await;
    }
    let mut seen = Vec::new();
    let mut after = String::new();
    loop {
        let page = api
            .get(&format!("/v1/events?type=customer.created&limit=10{after}"))
            .await;
        assert_eq!(
            (&page["object"], &page["url"]),
            (&json!("list"), &json!("/v1/events"))
        );
        let data = page["data"].as_array().expect("a list").clone();
        after = format!("&starting_after={}", id(data.last().expect("one")));
        seen.extend(data);
        if page["has_more"] == false {
            break;
        }
    }
    let names: Vec<&str> = seen
        .iter()
        .map(|event| text(&event["data"]["object"], "name"))
        .collect();
    let wanted: Vec<String> = (0..25).rev().map(|number| format!("n{number}")).collect();
    assert_eq!(names, wanted);
    let before = id(&seen[20]);
    let page = api
        .get(&format!("/v1/events?limit=3&ending_before={before}"))
        .await;
    let ids: Vec<String> = page["data"]
        .as_array()
        .expect("a list")
        .iter()
        .map(id)
        .collect();
    assert_eq!(ids, [id(&seen[17]), id(&seen[18]), id(&seen[19])]);
    assert_eq!(page["has_more"], true);
    assert_eq!(api.get(&format!("/v1/events/{before}")).await, seen[20]);
    for query in [
        "limit=0",
        "limit=101",
        "starting_after=evt_none",
        "created[gte]=x",
    ] {
        let reply = send(api.request("GET", &format!("/v1/events?{query}"))).await;
        assert_eq!(reply.expect("an answer").status, 400, "{query}");
    }
    let later = api.stripe.now() + 60;
    let none = api.get(&format!("/v1/events?created[gte]={later}")).await;
    assert_eq!(none["data"], json!([]));
}

#[tokio::test]
async fn webhooks_are_signed_and_come_in_order() {
    let simulators = start().await;
    let api = Api::new(&simulators);
    let (url, mut hooks) = receiver().await;
    api.stripe
        .listen(&url, &["checkout.session.*", "invoice.paid"]);
    let (other_url, mut others) = receiver().await;
    let form = [("url", other_url.as_str()), ("enabled_events[]", "*")];
    let endpoint = api.post("/v1/webhook_endpoints", &form).await;
    let secret = text(&endpoint, "secret").to_owned();
    assert!(secret.starts_with("whsec_") && secret != api.stripe.webhook_secret());
    let shown = api
        .get(&format!("/v1/webhook_endpoints/{}", id(&endpoint)))
        .await;
    assert!(shown.get("secret").is_none(), "a secret is shown once");

    api.subscribed(Press::Pay).await;
    let paid = hook(&mut hooks).await;
    assert_eq!(paid.json()["type"], "invoice.paid");
    assert!(is_signed(&paid, api.stripe.webhook_secret()));
    assert!(!is_signed(&paid, &secret));
    let (time, _) = stamp(&paid);
    assert!((chrono_now() - time).abs() < 60, "the time of the try");
    assert_eq!(
        hook(&mut hooks).await.json()["type"],
        "checkout.session.completed"
    );
    let all = kinds_of(&mut others, api.kinds().len()).await;
    assert_eq!(all, api.kinds(), "all of them, as they happened");

    // The clock moves, signatures stay in the present.
    api.stripe
        .advance(Duration::from_secs(32 * DAY))
        .expect("a month");
    let renewed = hook(&mut hooks).await;
    assert_eq!(
        renewed.json()["data"]["object"]["billing_reason"],
        "subscription_cycle"
    );
    assert!(renewed.json()["created"].as_i64() > Some(chrono_now() + 86_400));
    assert!((chrono_now() - stamp(&renewed).0).abs() < 60);
    let tried = api.stripe.deliveries();
    assert!(tried.iter().all(|delivery| delivery.status == Some(200)));

    let path = format!("/v1/webhook_endpoints/{}", id(&endpoint));
    let gone = send(api.request("DELETE", &path)).await.expect("an answer");
    assert_eq!(gone.json()["deleted"], true);
}

fn chrono_now() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    i64::try_from(now.expect("after 1970").as_secs()).expect("seconds")
}

#[tokio::test]
async fn webhooks_misbehave_as_told() {
    let simulators = start().await;
    let api = Api::new(&simulators);
    let (url, mut hooks) = receiver().await;
    let secret = api.stripe.webhook_secret().to_owned();
    api.stripe.listen(&url, &["customer.created"]);
    let make = async || api.post("/v1/customers", &[("name", "x")]).await;
    let rule = |how| WebhookRule::new("customer.*", how);

    api.stripe
        .add_webhook_rules(vec![rule(WebhookTwist::Duplicate).count(2)]);
    make().await;
    let first = hook(&mut hooks).await;
    assert_eq!(hook(&mut hooks).await.body, first.body);
    assert_eq!(hook(&mut hooks).await.body, first.body);

    api.stripe
        .add_webhook_rules(vec![rule(WebhookTwist::Forged)]);
    make().await;
    assert!(!is_signed(&hook(&mut hooks).await, &secret));
    api.stripe
        .add_webhook_rules(vec![rule(WebhookTwist::Stale).age(301)]);
    make().await;
    let stale = hook(&mut hooks).await;
    assert!(is_signed(&stale, &secret), "right, but old");
    assert!((300..360).contains(&(chrono_now() - stamp(&stale).0)));

    api.stripe.add_webhook_rules(vec![rule(WebhookTwist::Lost)]);
    let lost = make().await;
    api.stripe.add_webhook_rules(vec![
        rule(WebhookTwist::Late).delay(Duration::from_millis(400)),
    ]);
    let late = make().await;
    let on_time = make().await;
    assert_eq!(
        hook(&mut hooks).await.json()["data"]["object"]["id"],
        on_time["id"]
    );
    assert_eq!(
        hook(&mut hooks).await.json()["data"]["object"]["id"],
        late["id"]
    );

    api.stripe
        .add_webhook_rules(vec![rule(WebhookTwist::Hold).times(2)]);
    let (one, two) = (make().await, make().await);
    assert_eq!(api.stripe.held().len(), 2);
    assert_eq!(api.stripe.release(true), 2);
    assert_eq!(
        hook(&mut hooks).await.json()["data"]["object"]["id"],
        two["id"]
    );
    assert_eq!(
        hook(&mut hooks).await.json()["data"]["object"]["id"],
        one["id"]
    );
    assert!(api.stripe.webhook_rules().is_empty());

    // What was lost can be sent again.
    let events = api.stripe.events();
    let event = events
        .iter()
        .find(|event| event["data"]["object"]["id"] == lost["id"]);
    let how = Resend {
        event: id(event.expect("the event")),
        copies: 2,
        ..Resend::default()
    };
    api.stripe.resend(&how).expect("sent");
    for _ in 0..2 {
        let again = hook(&mut hooks).await;
        assert_eq!(again.json()["data"]["object"]["id"], lost["id"]);
        assert!(is_signed(&again, &secret));
    }
    // By a fault on the request itself.
    let fault = Fault::new("POST /v1/customers", FaultKind::WebhookForged);
    api.stripe.add_faults(vec![fault]).expect("a fault");
    make().await;
    assert!(!is_signed(&hook(&mut hooks).await, &secret));
}

#[tokio::test]
async fn faults_strike_with_stripes_own_errors() {
    let simulators = start().await;
    let api = Api::new(&simulators);
    let strike = async |kind: FaultKind| {
        let fault = Fault::new("GET /v1/events", kind);
        api.stripe.add_faults(vec![fault]).expect("a fault");
        send(api.request("GET", "/v1/events")).await
    };
    let limited = strike(FaultKind::RateLimited).await.expect("429");
    assert_eq!(
        (limited.status, limited.header("stripe-rate-limited-reason")),
        (429, "global-rate")
    );
    assert!(limited.headers.get("retry-after").is_none());
    let locked = strike(FaultKind::NoSlot).await.expect("429");
    assert_eq!(locked.json()["error"]["code"], "lock_timeout");
    assert!(locked.headers.get("stripe-rate-limited-reason").is_none());
    let conflict = strike(FaultKind::Conflict).await.expect("409");
    assert_eq!(
        (conflict.status, &conflict.json()["error"]["code"]),
        (409, &json!("idempotency_key_in_use"))
    );
    let down = strike(FaultKind::Unavailable).await.expect("503");
    assert_eq!(
        (down.status, &down.json()["error"]["type"]),
        (503, &json!("api_error"))
    );
    assert!(strike(FaultKind::DropBefore).await.is_err());
    let unknown = Fault::new("POST /v1/events", FaultKind::DropBefore);
    assert!(api.stripe.add_faults(vec![unknown]).is_err());
}

#[tokio::test]
async fn the_controls_work_over_http() {
    let simulators = start().await;
    let api = Api::new(&simulators);
    let (url, mut hooks) = receiver().await;
    let control = async |path: &str, body: Value| {
        let request = api.web.post(format!("{}/_control/{path}", api.url));
        send(request.json(&body)).await.expect("an answer")
    };
    let listening = control("listen", json!({"url": url})).await.json();
    assert_eq!(listening["secret"], api.stripe.webhook_secret());
    let rules = json!([{"event": "payment_intent.*", "how": "lost", "times": 0},
        {"event": "c*", "how": "duplicate"}]);
    assert_eq!(control("webhooks", rules).await.status, 200);
    let session = id(&api
        .session("payment", &api.price("700", None).await, &[])
        .await);
    let pressed = control("press", json!({"session": session, "button": "pay"})).await;
    assert_eq!(
        pressed.json()["to"],
        json!(format!("https://app.test/ok?s={session}"))
    );
    let kinds = kinds_of(&mut hooks, 4).await;
    let wanted = [
        "price.created",
        "charge.succeeded",
        "charge.succeeded",
        "checkout.session.completed",
    ];
    assert_eq!(kinds, wanted);
    let event = id(&api.event("checkout.session.completed"));
    let again = control("resend", json!({"event": event, "forged": true})).await;
    assert_eq!(again.status, 200);
    assert!(!is_signed(
        &hook(&mut hooks).await,
        api.stripe.webhook_secret()
    ));
    let before = api.stripe.now();
    let moved = control("time", json!({"advanceSeconds": 3_600}))
        .await
        .json();
    assert!(moved["now"].as_i64() >= Some(before + 3_600));
    for (path, body) in [
        ("time", json!({"advanceSeconds": -1})),
        ("press", json!({"session": "cs_test_none", "button": "pay"})),
        ("press", json!({"session": session, "button": "smash"})),
        ("resend", json!({"event": "evt_none"})),
        ("listen", json!({"url": "nowhere"})),
        ("webhooks", json!([{"event": "*", "how": "eaten"}])),
        ("card", json!({"customer": "cus_none", "card": "good"})),
        ("faults", json!({"route": "GET /nowhere", "fault": "hang"})),
    ] {
        assert_eq!(
            control(path, body.clone()).await.status,
            400,
            "{path} {body}"
        );
    }
    assert_eq!(control("reset", json!({})).await.status, 200);
    assert!(api.stripe.events().is_empty());
    assert!(api.stripe.now() < before + 3_000, "back in the present");
}
