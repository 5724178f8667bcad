//! Mail, as its readers and its vendor see it.

use std::time::Duration;

use genvid_testkit::{Email, Fate, Fault, FaultKind, Vendor};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{
    text, until,
    world::{Setup, World},
};

const TO: &str = "ann@example.org";
const SEND: &str = "POST /emails";
const WRITE: &str = "POST /v1/chat/completions";

/// A world whose mail goes to the simulated vendor.
async fn with_resend(setup: Setup) -> World {
    setup
        .set("mail.retry_seconds", "[0, 0, 0, 0, 0, 0, 0, 0]")
        .set("mail.timeout_seconds", 2)
        .start_with_mail()
        .await
}

/// A world whose mail stays in its mailbox.
async fn with_mailbox() -> World {
    Setup::default()
        .set("mail.delivery", "mailbox")
        .set("development.mailbox", true)
        .start()
        .await
}

fn web() -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_secs(30))
        .build()
        .expect("a client")
}

async fn get(url: &str) -> (StatusCode, String) {
    let answer = web().get(url).send().await.expect("an answer");
    (answer.status(), answer.text().await.expect("a body"))
}

async fn post(url: &str) -> (StatusCode, String) {
    let answer = web().post(url).send().await.expect("an answer");
    (answer.status(), answer.text().await.expect("a body"))
}

/// A link of this server in a text.
fn link(text: &str, door: &str) -> String {
    let door = format!("/mail/{door}/");
    let found = text.split_whitespace().find(|word| word.contains(&door));
    let found = found.unwrap_or_else(|| panic!("no {door} in {text}"));
    found.trim_matches(['<', '>']).to_owned()
}

/// The mails that the vendor has accepted, once there are so many.
async fn accepted(world: &World, count: usize) -> Vec<Email> {
    until(&format!("{count} mails"), || async {
        let all = world.resend().emails();
        (all.len() >= count).then_some(all)
    })
    .await
}

async fn failing_script(world: &World) -> String {
    let fault = Fault::new(WRITE, FaultKind::QuotaExhausted);
    world.fault(Vendor::OpenAi, [fault]);
    let job = world.script(json!({"notificationEmail": TO})).await;
    world.client().ended(&job, "FAILED").await;
    job
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_is_shown_and_its_links_work() {
    let world = with_mailbox().await;
    let (client, url) = (world.client(), world.server().url.clone());
    let job = world
        .film(json!({"notificationEmail": TO, "language": "zh-CN"}))
        .await;
    client.ended(&job, "SUCCEEDED").await;
    let page = until("a mail in the mailbox", || async {
        let (status, list) = get(&format!("{url}/dev/mail")).await;
        assert_eq!(status, StatusCode::OK);
        let at = list.find("/dev/mail/mail_")?;
        Some(format!("{url}{}", list[at..].split('"').next()?))
    })
    .await;
    let (_, shown) = get(&page).await;
    assert!(
        shown.contains("您的视频已完成") && shown.contains(TO),
        "{shown}"
    );
    assert!(shown.contains("List-Unsubscribe-Post: List-Unsubscribe=One-Click"));
    let markup = web()
        .get(format!("{page}/html"))
        .send()
        .await
        .expect("an answer");
    let policy = markup.headers()["content-security-policy"]
        .to_str()
        .expect("text");
    assert!(
        policy.contains("sandbox") && policy.contains("default-src 'none'"),
        "{policy}"
    );
    let html = markup.text().await.expect("a body");
    assert!(html.contains("/mail/picture/"), "{html}");

    // The film itself, although the mail was written before its reader asked for it.
    let film = link(&shown.replace("&gt;", " "), "open");
    let answer = web().get(&film).send().await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::TEMPORARY_REDIRECT);
    let to = answer.headers()["location"]
        .to_str()
        .expect("text")
        .to_owned();
    assert!(!client.download(&to).await.is_empty());
    let (status, _) = get(&format!("{film}x")).await;
    assert_eq!(status, StatusCode::NOT_FOUND);

    // Which address is at fault is told before anything starts.
    let wish = json!({"text": "Hello", "language": "en", "idempotencyKey": world.key(),
        "notificationEmail": "a@example.org\r\nBcc: b@example.org"});
    let refused = client.change("GenerateVoice", wish).await;
    assert_eq!(refused["code"], "INVALID_INPUT");
    assert_eq!(refused["path"], json!(["notificationEmail"]));
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_job_is_tried_again_from_its_mail_once() {
    let world = with_mailbox().await;
    let client = world.client();
    let job = failing_script(&world).await;
    let url = world.server().url.clone();
    let shown = until("the mail of the failure", || async {
        let (_, list) = get(&format!("{url}/dev/mail")).await;
        let at = list.find("/dev/mail/mail_")?;
        let page = format!("{url}{}", list[at..].split('"').next()?);
        Some(get(&page).await.1)
    })
    .await;
    assert!(shown.contains("Your script could not be made"), "{shown}");
    let retry = link(&shown, "retry");
    // Whoever looks at it starts nothing.
    for _ in 0..3 {
        let (status, page) = get(&retry).await;
        assert_eq!(status, StatusCode::OK);
        assert!(page.contains("<form method=\"post\">"), "{page}");
    }
    let state = client.ended(&job, "FAILED").await;
    assert_eq!(state["status"], "FAILED");
    // Of many at once, one does it.
    let many = futures::future::join_all((0..5).map(|_| post(&retry))).await;
    let done = many.iter().filter(|(status, _)| *status == StatusCode::OK);
    assert_eq!(done.count(), 1, "{many:?}");
    client.ended(&job, "SUCCEEDED").await;
    let (status, _) = post(&retry).await;
    assert_eq!(status, StatusCode::GONE);
    let (status, _) = get(&retry).await;
    assert_eq!(status, StatusCode::GONE);
    let log = client.log(&job).await;
    let retried = log.iter().filter(|event| event["type"] == "JOB_RETRIED");
    assert_eq!(retried.count(), 1);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_and_deaths_send_each_mail_once() {
    let mut world = with_resend(Setup::default()).await;
    let resend = world.resend();
    // Nothing is told of it: only answers say that it was taken.
    resend.set_fate(TO, Fate::Silent);
    let faults = [
        Fault::new(SEND, FaultKind::InternalError),
        Fault::new(SEND, FaultKind::RateLimited).after(1),
        Fault::new(SEND, FaultKind::AcceptThenDrop).after(2),
        Fault::new(SEND, FaultKind::AcceptThenHang).after(3),
    ];
    resend.add_faults(faults.to_vec()).expect("armed");
    let job = world.voice(json!({"notificationEmail": TO})).await;
    world.client().ended(&job, "SUCCEEDED").await;
    until("every fault has struck", || async {
        resend.faults().is_empty().then_some(())
    })
    .await;
    accepted(&world, 1).await;

    // Killed while the vendor takes it, again and again.
    resend.set_accept(Duration::from_millis(1_500));
    let job = world.voice(json!({"notificationEmail": TO})).await;
    world.client().ended(&job, "SUCCEEDED").await;
    for _ in 0..2 {
        let before = resend.requests().len();
        until("a mail is on its way", || async {
            (resend.requests().len() > before).then_some(())
        })
        .await;
        world.kill_and_start_again().await;
    }
    resend.set_accept(Duration::ZERO);
    let all = accepted(&world, 2).await;
    let second = &all[1];
    let key = second.idempotency_key.clone().expect("a key");
    until("the second mail is settled", || async {
        let calls = resend.requests().into_iter();
        let mut ok = calls.filter(|seen| seen.headers.get("idempotency-key") == Some(&key));
        (ok.next_back()?.status == Some(200)).then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let all = resend.emails();
    assert_eq!(all.len(), 2, "one for each job: {all:?}");
    assert_eq!(text(&all[0].body, "/from"), "Aurora <no-reply@example.com>");
    assert_eq!(all[0].body["to"], json!([TO]));
    let bodies: Vec<Value> = (resend.requests().iter())
        .filter(|seen| seen.headers.get("idempotency-key") == all[0].idempotency_key.as_ref())
        .map(|seen| serde_json::from_str(&seen.body).expect("JSON"))
        .collect();
    assert!(bodies.len() >= 4 && bodies.iter().all(|body| *body == all[0].body));
    let agent = &resend.requests()[0].headers["user-agent"];
    assert!(agent.starts_with("Genvid/"), "{agent}");
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_bounces_or_is_unsubscribed_gets_no_more() {
    let world = with_resend(Setup::default()).await;
    let (client, resend) = (world.client(), world.resend());
    let voice = async |to: &str| {
        let job = world.voice(json!({"notificationEmail": to})).await;
        client.ended(&job, "SUCCEEDED").await;
    };
    resend.set_fate("gone@example.org", Fate::Bounced);
    resend.set_fate("quiet@example.org", Fate::Silent);
    let hook = format!("{}/hooks/mail/resend", world.server().url);

    // Forged ones are refused, and change nothing.
    let forged = json!({"type": "email.bounced", "data": {"bounce": {"type": "Permanent"}}});
    for headers in [
        vec![],
        vec![
            ("svix-id", "msg_1"),
            ("svix-timestamp", "1"),
            ("svix-signature", "v1,AAAA"),
        ],
    ] {
        let mut request = web().post(&hook).json(&forged);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    }
    let fault = Fault::new(SEND, FaultKind::WebhookForged);
    resend.add_faults(vec![fault]).expect("armed");
    voice("gone@example.org").await;
    accepted(&world, 1).await;
    until("the forged events are refused", || async {
        let refused = resend.deliveries().into_iter();
        let refused = refused.filter(|one| one.status == Some(401));
        (refused.count() >= 2).then_some(())
    })
    .await;
    // So that one is still sent; it bounces, told twice.
    let fault = Fault::new(SEND, FaultKind::WebhookDuplicate);
    resend.add_faults(vec![fault]).expect("armed");
    voice("Gone@example.org").await;
    accepted(&world, 2).await;
    until("the bounce is told", || async {
        let told = resend.deliveries().into_iter();
        let told = told.filter(|one| one.status == Some(204) && one.body.contains("bounced"));
        (told.count() >= 2).then_some(())
    })
    .await;
    voice("gone@example.org").await;

    voice("quiet@example.org").await;
    let all = accepted(&world, 3).await;
    assert_eq!(
        all[2].body["to"],
        json!(["quiet@example.org"]),
        "the one before was not sent"
    );
    let header = text(&all[2].body, "/headers/List-Unsubscribe");
    let unsubscribe = header.trim_matches(['<', '>']).to_owned();
    assert_eq!(
        unsubscribe,
        link(text(&all[2].body, "/text"), "unsubscribe")
    );
    // Looking changes nothing; one click does, also by a program.
    let (status, page) = get(&unsubscribe).await;
    assert_eq!(status, StatusCode::OK);
    assert!(page.contains("<form method=\"post\">"));
    voice("quiet@example.org").await;
    accepted(&world, 4).await;
    for _ in 0..2 {
        let request = web()
            .post(&unsubscribe)
            .form(&[("List-Unsubscribe", "One-Click")]);
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::OK);
    }
    voice("quiet@example.org").await;
    voice(TO).await;
    let all = accepted(&world, 5).await;
    assert_eq!(all[4].body["to"], json!([TO]));
    let (status, _) = post(&format!("{unsubscribe}x")).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_mail_an_address_is_refused_and_nothing_is_shown() {
    let world = World::start().await;
    let wish = json!({"text": "Hello", "language": "en", "idempotencyKey": world.key(),
        "notificationEmail": TO});
    let refused = world.client().change("GenerateVoice", wish).await;
    assert_eq!(refused["path"], json!(["notificationEmail"]));
    assert!(text(&refused, "/message").len() > 10);
    let url = &world.server().url;
    assert_eq!(
        get(&format!("{url}/dev/mail")).await.0,
        StatusCode::NOT_FOUND
    );
    let told = post(&format!("{url}/hooks/mail/resend")).await.0;
    assert_eq!(told, StatusCode::NOT_FOUND);
    world.audit().await;
}
