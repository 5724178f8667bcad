//! Deliveries of the simulator, as they come over HTTP.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::{Router, body::Bytes, http::HeaderMap, http::StatusCode, routing::post};
use genvid_stripe::{Event, Receiver, Refusal, Subject, WebhookSecrets};
use genvid_testkit::{Options, Press, Profile, Resend, Simulators, StripeHandle};
use tokio::{
    net::TcpListener,
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
};

type Taken = Result<Event, Refusal>;

/// Listens as an endpoint of the simulator does with what comes of each delivery.
async fn listen(stripe: &StripeHandle) -> UnboundedReceiver<Taken> {
    let secrets = WebhookSecrets::new(stripe.webhook_secret().into(), None).expect("a secret");
    let receiver = Receiver::new(secrets, false);
    let (sender, taken) = unbounded_channel();
    let door = move |headers: HeaderMap, body: Bytes| async move {
        let header = headers.get("stripe-signature").expect("a signature");
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("a time");
        sender
            .send(receiver.receive(header.as_bytes(), &body, now.as_secs()))
            .expect("somebody waits");
        StatusCode::OK
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
    let router = Router::new().route("/hook", post(door));
    tokio::spawn(async move { axum::serve(listener, router).await });
    stripe.listen(&url, &["checkout.session.completed"]);
    taken
}

async fn next(taken: &mut UnboundedReceiver<Taken>) -> Taken {
    tokio::time::timeout(Duration::from_secs(30), taken.recv())
        .await
        .expect("in time")
        .expect("a delivery")
}

/// Buys a pack on the page and answers the session's id.
async fn buy(stripe: &StripeHandle) -> String {
    let form = [
        ("mode", "payment"),
        ("line_items[0][price_data][currency]", "usd"),
        ("line_items[0][price_data][unit_amount]", "1900"),
        ("line_items[0][price_data][product_data][name]", "Credits"),
        ("line_items[0][quantity]", "1"),
        ("success_url", "https://app.test/ok"),
    ];
    let reply = reqwest::Client::builder()
        .no_proxy()
        .build()
        .expect("a client")
        .post(format!("{}/v1/checkout/sessions", stripe.url()))
        .bearer_auth(stripe.secret_key())
        .form(&form)
        .send()
        .await
        .expect("an answer");
    let session: serde_json::Value = reply.json().await.expect("JSON");
    let id = session["id"].as_str().expect("a session").to_owned();
    stripe.press(&id, Press::Pay).expect("paid");
    id
}

#[tokio::test]
async fn deliveries_are_believed_and_forged_or_old_ones_are_not() {
    let options = Options {
        profile: Profile::instant(),
        ..Options::default()
    };
    let simulators = Simulators::start(options).await.expect("simulators");
    let stripe = simulators.stripe();
    let mut taken = listen(&stripe).await;
    let session = buy(&stripe).await;
    let event = next(&mut taken).await.expect("believed");
    assert_eq!(event.kind, "checkout.session.completed");
    assert_eq!(event.subject, Some(Subject::Session(session)));

    let send = |forged, age_seconds| {
        let how = Resend {
            event: event.id.clone(),
            copies: 1,
            forged,
            age_seconds,
        };
        stripe.resend(&how).expect("sent");
    };
    send(false, 0);
    assert_eq!(
        next(&mut taken).await,
        Ok(event.clone()),
        "the same, byte for byte"
    );
    send(true, 0);
    assert_eq!(next(&mut taken).await, Err(Refusal::Signature));
    // Not on the edge: seconds pass on the way.
    send(false, 400);
    assert_eq!(next(&mut taken).await, Err(Refusal::Time));
    send(false, -400);
    assert_eq!(next(&mut taken).await, Err(Refusal::Time));
}
