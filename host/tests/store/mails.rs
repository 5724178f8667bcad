//! Mail: written with its cause, taken by one node at a time, sent once.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use genvid::{
    adapters::sql::Database,
    dispatch::{Attempt, Outbox as _},
    ids::{EndpointId, MailId, UserId},
    jobs::{
        model::{EventType, Failure, FailureCode, JobStatus, NewEvent},
        store::{JobChange, MediaRole, NewJob, OwnerDecision},
    },
    mail::{
        Address, Content, FRESH, Kind, Language, Letter, Mail, NewMail, Postman, Reason, Receipt,
        Recipient, Row, Seal, SendError, Setback, Settings, Spent, Status, Told, Verdict,
    },
    time,
    webhooks::{Endpoint, Kind as Hook, Verdict as Outcome},
};

use crate::{
    bench::{Bench, LEASE, change, file, job, later, unique},
    ledger::{gift, priced},
};

const ALL: u32 = 100;

fn address(text: &str) -> Address {
    Address::parse(text).expect("an address")
}

/// A vendor that keeps keys, and does first what it is told.
#[derive(Default)]
struct Vendor {
    sent: Mutex<BTreeMap<String, Letter>>,
    calls: Mutex<u32>,
    script: Mutex<VecDeque<(bool, SendError)>>,
}

impl Vendor {
    /// The next call fails; `taken`: although the mail leaves.
    fn fail(&self, taken: bool, setback: Setback) {
        let error = SendError {
            setback,
            status: (!taken).then_some(500),
            words: "no".to_owned(),
        };
        self.script.lock().expect("sane").push_back((taken, error));
    }

    fn sent(&self) -> Vec<Letter> {
        self.sent.lock().expect("sane").values().cloned().collect()
    }
}

#[async_trait]
impl Mail for Vendor {
    async fn send(&self, letter: &Letter) -> Result<Option<String>, SendError> {
        *self.calls.lock().expect("sane") += 1;
        let next = self.script.lock().expect("sane").pop_front();
        if next.as_ref().is_none_or(|(taken, _)| *taken) {
            let mut sent = self.sent.lock().expect("sane");
            let first = sent
                .entry(letter.key.clone())
                .or_insert_with(|| letter.clone());
            assert_eq!(first, letter, "the same words under the same key");
        }
        match next {
            Some((_, error)) => Err(error),
            None => Ok(Some(format!("re_{}", letter.key))),
        }
    }
}

fn postman(database: &Database, vendor: &Arc<Vendor>) -> Postman {
    let settings = Settings {
        retries: vec![Duration::ZERO; 3],
        per_second: 1_000,
        ..Settings::default()
    };
    Postman {
        database: database.for_worker(),
        mail: Some(Arc::clone(vendor) as Arc<dyn Mail>),
        seal: Seal::new(&[7; 32]).expect("a seal"),
        base: "https://api.example.com".into(),
        settings: Arc::new(settings),
        turn: Arc::default(),
    }
}

async fn claimed(bench: &Bench, lease: Duration) -> Vec<Row> {
    bench
        .database
        .claim_mails(lease, ALL)
        .await
        .expect("claimed")
}

/// One round of a postman over everything that is due.
async fn round(postman: &Postman) -> usize {
    let taken = postman.claim(ALL).await.expect("claimed");
    let count = taken.len();
    for row in taken {
        postman.attempt(row).await.expect("settled");
    }
    count
}

async fn mails(bench: &Bench, owner: UserId) -> Vec<Row> {
    bench.database.mails_of(owner, ALL).await.expect("read")
}

fn receipt(user: UserId, key: &str) -> Receipt {
    Receipt {
        user,
        credits: 500,
        amount_minor: 1_999,
        currency: "usd".to_owned(),
        invoice_url: Some("https://pay.example.com/in_1".to_owned()),
        key: key.to_owned(),
    }
}

fn optional(owner: UserId, to: &str) -> NewMail {
    NewMail {
        owner,
        key: unique(),
        to: Recipient::Address(address(to), Language::English),
        content: Content::LowCredits {
            available: 1,
            threshold: 2,
        },
    }
}

async fn write(bench: &Bench, new: impl Into<NewMail>) -> bool {
    bench.database.write_mail(new).await.expect("written")
}

fn told(mail: MailId, id: &str, status: Status, suppress: Option<Reason>) -> Told {
    Told {
        id: id.to_owned(),
        event: format!("email.{}", status.as_str().to_lowercase()),
        mail,
        vendor: Some("re_1".to_owned()),
        status,
        suppress,
    }
}

/// One mail that was tried, kept and told about; and what the job of `owner` asked for.
pub(crate) async fn filled(bench: &Bench, owner: UserId) {
    assert!(write(bench, receipt(owner, &unique())).await);
    let row = claimed(bench, LEASE).await.remove(0);
    let postman = postman(&bench.database, &Arc::default());
    let letter = postman.letter(&row).expect("a letter");
    let kept = bench.database.keep_mail(letter, time::now()).await;
    kept.expect("kept");
    postman.attempt(row.clone()).await.expect("settled");
    let bounced = told(row.id, &unique(), Status::Bounced, Some(Reason::Bounced));
    assert!(
        bench
            .database
            .note_mail_event(bounced)
            .await
            .expect("noted")
    );
}

fn wanted(owner: UserId, hold: i64) -> NewJob {
    let mut new = priced(owner, hold);
    new.notify = Some(address("ann@example.org"));
    new
}

/// Ends a job, and answers the number of that event.
async fn end(bench: &Bench, failure: Option<Failure>) -> i64 {
    let claimed = bench.claim(genvid::ids::NodeId::generate(), LEASE).await;
    let [one] = claimed.as_slice() else {
        panic!("not one: {claimed:?}")
    };
    let mut write = change(one);
    write.keep_lease = false;
    write.step.due_at = None;
    let (status, event) = match failure {
        Some(_) => (JobStatus::Failed, EventType::JobFailed),
        None => (JobStatus::Succeeded, EventType::JobSucceeded),
    };
    write.job = Some(JobChange {
        status,
        error: failure,
    });
    write.events = vec![NewEvent::job(event)];
    if status == JobStatus::Succeeded {
        write.media = vec![
            (one.owner, MediaRole::Video, file()),
            (one.owner, MediaRole::Thumbnail, file()),
        ];
    }
    let events = bench.done(write).await;
    events.last().expect("an event").seq
}

pub(crate) async fn a_jobs_end_is_told_once_with_what_it_cost(bench: Bench) {
    let books = bench.database.for_worker();
    books.grant(gift(bench.ann, 100)).await.expect("given");
    let first = wanted(bench.ann, 40);
    let accepted = bench.accept_as(first.clone()).await;
    bench.database.accept_job(first).await.expect("answered");
    assert!(
        mails(&bench, bench.ann).await.is_empty(),
        "nothing has ended"
    );
    let failure = Failure::new(FailureCode::ProviderUnavailable, "words of a vendor");
    let seq = end(&bench, Some(failure)).await;
    let all = mails(&bench, bench.ann).await;
    let [one] = all.as_slice() else {
        panic!("not one: {all:?}")
    };
    assert_eq!(one.address, "ann@example.org");
    assert_eq!((one.kind, one.status), (Kind::Failed, Status::Pending));
    let spent = |returned| Spent {
        charged: 0,
        returned,
        open: 0,
    };
    assert_eq!(
        one.content,
        Some(Content::Failed {
            job: accepted.id,
            what: accepted.kind,
            seq,
            code: FailureCode::ProviderUnavailable,
            retryable: true,
            spent: spent(40),
        })
    );

    // Tried again it ends again, which is told again.
    let step = bench.steps(accepted.id).await[0].id;
    let again = OwnerDecision::Retry {
        from: JobStatus::Failed,
        step,
        deadline: later(),
        plans: std::sync::Arc::default(),
        event: NewEvent::job(EventType::JobRetried),
    };
    let scoped = bench.database.for_user(bench.ann);
    assert!(scoped.decide(accepted.id, again).await.expect("decided").0);
    end(&bench, None).await;
    let all = mails(&bench, bench.ann).await;
    assert_eq!(all.len(), 2);
    let Some(Content::Completed {
        files, spent: cost, ..
    }) = &all[0].content
    else {
        panic!("not completed: {all:?}")
    };
    assert_eq!(files, &["thumbnail", "video"]);
    assert_eq!(cost.charged, 0);
    // Nobody is told of a job that named no address.
    bench.accept(bench.bob).await;
    end(&bench, None).await;
    assert!(mails(&bench, bench.bob).await.is_empty());

    let vendor = Arc::default();
    let postman = postman(&bench.database, &vendor);
    assert_eq!(round(&postman).await, 2);
    assert_eq!(round(&postman).await, 0);
    let sent = vendor.sent();
    assert_eq!(sent.len(), 2);
    let failed = sent
        .iter()
        .find(|one| one.kind == Kind::Failed)
        .expect("one");
    assert!(
        failed
            .text
            .contains("0 credits charged, 40 credits returned."),
        "{}",
        failed.text
    );
    assert!(
        !failed.text.contains("words of a vendor"),
        "{}",
        failed.text
    );
    assert!(
        failed
            .text
            .contains("https://api.example.com/mail/retry/mail_"),
        "{}",
        failed.text
    );
    let headers: BTreeMap<_, _> = failed.headers.iter().cloned().collect();
    assert!(headers["List-Unsubscribe"].starts_with("<https://api.example.com/mail/unsubscribe/"));
    assert_eq!(
        headers["List-Unsubscribe-Post"],
        "List-Unsubscribe=One-Click"
    );
}

pub(crate) async fn a_cause_is_told_once_whoever_repeats_it(bench: Bench) {
    let key = unique();
    let writers = (0..8).map(|_| {
        let database = bench.database.clone();
        let new = receipt(bench.ann, &key);
        tokio::spawn(async move { database.write_mail(new).await.expect("written") })
    });
    let written = futures::future::join_all(writers.collect::<Vec<_>>()).await;
    let written = written
        .into_iter()
        .filter(|one| *one.as_ref().expect("ended"));
    assert_eq!(written.count(), 1);
    let all = mails(&bench, bench.ann).await;
    assert_eq!(all.len(), 1);
    // The owner's own address; nothing to unsubscribe from.
    assert_eq!(all[0].address, "ann@example.com");
    let letter = postman(&bench.database, &Arc::default()).letter(&all[0]);
    let letter = letter.expect("a letter");
    assert_eq!(letter.subject, "Receipt: USD 19.99");
    assert!(
        !letter
            .headers
            .iter()
            .any(|(name, _)| name.starts_with("List-"))
    );
    assert!(mails(&bench, bench.bob).await.is_empty());
}

pub(crate) async fn a_mail_belongs_to_one_node_at_a_time(bench: Bench) {
    for _ in 0..12 {
        write(&bench, receipt(bench.ann, &unique())).await;
    }
    let vendor: Arc<Vendor> = Arc::default();
    let nodes = (0..4).map(|_| async {
        let node = bench.another_node().await;
        let postman = postman(&node, &vendor);
        while round(&postman).await > 0 {}
    });
    futures::future::join_all(nodes).await;
    assert_eq!(
        (vendor.sent().len(), *vendor.calls.lock().expect("sane")),
        (12, 12)
    );

    // Who lost it changes nothing.
    write(&bench, receipt(bench.bob, &unique())).await;
    let first = claimed(&bench, Duration::ZERO).await.remove(0);
    let second = claimed(&bench, LEASE).await.remove(0);
    assert_eq!((first.id, first.tries, second.tries), (second.id, 1, 2));
    let dropped = Verdict::Ended(Status::Failed, Reason::Refused);
    let lost = bench.database.settle_mail(first, None, dropped).await;
    lost.expect("settled");
    assert_eq!(mails(&bench, bench.bob).await[0].status, Status::Pending);
    let sent = Verdict::Sent(Some("re_2".to_owned()));
    let attempt = Attempt {
        at: time::now(),
        duration_ms: 12,
        status: Some(200),
        error: None,
        response: "re_2".to_owned(),
    };
    let done = bench
        .database
        .settle_mail(second, Some(attempt), sent)
        .await;
    done.expect("settled");
    let row = mails(&bench, bench.bob).await.remove(0);
    assert_eq!(
        (row.status, row.vendor.as_deref()),
        (Status::Sent, Some("re_2"))
    );
}

pub(crate) async fn what_does_not_leave_is_tried_again_and_given_up_in_a_day(bench: Bench) {
    let vendor: Arc<Vendor> = Arc::default();
    let postman = postman(&bench.database, &vendor);
    let state = || async {
        let row = mails(&bench, bench.ann).await.remove(0);
        (row.status, row.reason, row.tries)
    };
    write(&bench, receipt(bench.ann, &unique())).await;
    vendor.fail(false, Setback::Later(None));
    round(&postman).await;
    assert_eq!(state().await, (Status::Pending, None, 1));
    round(&postman).await;
    assert_eq!(state().await, (Status::Sent, None, 2));

    // As many attempts as there are waits, and then it is the end.
    write(&bench, receipt(bench.ann, &unique())).await;
    for _ in 0..3 {
        vendor.fail(false, Setback::Later(None));
        assert_eq!(round(&postman).await, 1);
    }
    assert_eq!(state().await, (Status::Dropped, Some(Reason::Late), 3));
    assert_eq!(round(&postman).await, 0);

    // What is refused is not sent again; what may not be sent now is, later.
    write(&bench, receipt(bench.ann, &unique())).await;
    vendor.fail(false, Setback::Refused);
    round(&postman).await;
    assert_eq!(state().await, (Status::Failed, Some(Reason::Refused), 1));
    write(&bench, receipt(bench.ann, &unique())).await;
    vendor.fail(false, Setback::Misconfigured);
    round(&postman).await;
    assert_eq!(state().await, (Status::Pending, None, 1));
    assert_eq!(
        round(&postman).await,
        0,
        "not before somebody has put it right"
    );

    // Of a time before which nothing is sent any more.
    bench
        .run("UPDATE mails SET due_at = created_at WHERE status = 'PENDING'")
        .await;
    let mut row = claimed(&bench, LEASE).await.remove(0);
    row.created_at = genvid::time::Timestamp::from_millis(
        row.created_at.millis() - i64::try_from(FRESH.as_millis()).expect("short"),
    );
    let calls = *vendor.calls.lock().expect("sane");
    postman.attempt(row).await.expect("settled");
    assert_eq!(state().await, (Status::Dropped, Some(Reason::Late), 2));
    assert_eq!(*vendor.calls.lock().expect("sane"), calls);
}

pub(crate) async fn lost_answers_send_nothing_twice(bench: Bench) {
    let vendor: Arc<Vendor> = Arc::default();
    let postman = postman(&bench.database, &vendor);
    write(&bench, receipt(bench.ann, &unique())).await;
    vendor.fail(true, Setback::Later(None));
    vendor.fail(true, Setback::Later(None));
    for _ in 0..3 {
        assert_eq!(round(&postman).await, 1);
    }
    assert_eq!(
        (vendor.sent().len(), *vendor.calls.lock().expect("sane")),
        (1, 3)
    );
    assert_eq!(mails(&bench, bench.ann).await[0].status, Status::Sent);

    // A node that dies between the answer and the row is followed by one that asks again.
    write(&bench, receipt(bench.ann, &unique())).await;
    let row = claimed(&bench, Duration::ZERO).await.remove(0);
    let letter = postman.letter(&row).expect("a letter");
    vendor.send(&letter).await.expect("sent");
    assert_eq!(round(&postman).await, 1);
    assert_eq!(vendor.sent().len(), 2);

    // The vendor has it with other words, of a version before this one.
    write(&bench, receipt(bench.ann, &unique())).await;
    vendor.fail(false, Setback::AlreadyTaken);
    round(&postman).await;
    assert_eq!(mails(&bench, bench.ann).await[0].status, Status::Sent);
}

pub(crate) async fn addresses_that_want_nothing_get_nothing(bench: Bench) {
    let vendor: Arc<Vendor> = Arc::default();
    let postman = postman(&bench.database, &vendor);
    let database = &bench.database;
    for (reason, to) in [
        (Reason::Unsubscribed, "quiet@example.com"),
        (Reason::Bounced, "gone@example.com"),
        (Reason::Complained, "cross@example.com"),
    ] {
        for _ in 0..2 {
            database
                .suppress(to.to_owned(), reason)
                .await
                .expect("kept");
        }
        // However it is written.
        write(&bench, optional(bench.ann, &to.to_uppercase())).await;
        round(&postman).await;
        let row = mails(&bench, bench.ann).await.remove(0);
        assert_eq!((row.status, row.reason), (Status::Suppressed, Some(reason)));
    }
    assert!(vendor.sent().is_empty());
    // What cannot be done without still comes to who wants nothing else.
    for (to, comes) in [("quiet@example.com", true), ("gone@example.com", false)] {
        let link = "https://app.example.com/verify?token=t".to_owned();
        let new = NewMail::verification(
            bench.ann,
            address(to),
            Language::Chinese,
            link,
            30,
            &unique(),
        );
        write(&bench, new).await;
        let before = vendor.sent().len();
        round(&postman).await;
        assert_eq!(vendor.sent().len() > before, comes, "{to}");
    }
}

pub(crate) async fn what_the_vendor_tells_counts_once_in_any_order(bench: Bench) {
    let vendor: Arc<Vendor> = Arc::default();
    let postman = postman(&bench.database, &vendor);
    let database = &bench.database;
    write(&bench, optional(bench.ann, "Ann@example.org")).await;
    let taken = claimed(&bench, Duration::ZERO).await.remove(0);
    let note = |event: Told| async { database.note_mail_event(event).await.expect("noted") };
    // Before the answer of the call that sent it is written down.
    assert!(note(told(taken.id, "e2", Status::Delivered, None)).await);
    assert!(
        !note(told(taken.id, "e2", Status::Delivered, None)).await,
        "told before"
    );
    assert_eq!(round(&postman).await, 0, "nothing is sent again");
    let sent = Verdict::Again(Duration::ZERO);
    database
        .settle_mail(taken.clone(), None, sent)
        .await
        .expect("settled");
    let state = || async { mails(&bench, bench.ann).await.remove(0).status };
    assert_eq!(state().await, Status::Delivered);
    assert!(note(told(taken.id, "e1", Status::Sent, None)).await);
    assert_eq!(state().await, Status::Delivered);
    assert_eq!(
        database
            .suppression_of("ann@example.org".to_owned(), true)
            .await
            .expect("read"),
        None
    );
    let complaint = told(taken.id, "e3", Status::Complained, Some(Reason::Complained));
    assert!(note(complaint).await);
    assert!(note(told(taken.id, "e4", Status::Bounced, Some(Reason::Bounced))).await);
    assert_eq!(state().await, Status::Complained);
    let found = database
        .suppression_of("ann@example.org".to_owned(), false)
        .await;
    assert!(found.expect("read").is_some());
    // Of a mail of some other installation.
    assert!(!note(told(MailId::generate(), "e5", Status::Sent, None)).await);
    assert_eq!(round(&postman).await, 0);

    // Many tell the same at once.
    write(&bench, optional(bench.bob, "bob@example.org")).await;
    let mail = mails(&bench, bench.bob).await[0].id;
    let tellers = (0..8).map(|_| note(told(mail, "same", Status::Delivered, None)));
    let news = futures::future::join_all(tellers).await;
    assert_eq!(news.into_iter().filter(|new| *new).count(), 1);
}

pub(crate) async fn low_credits_are_told_once_for_each_crossing(bench: Bench) {
    let database = bench.database.clone().with_low_credits(50);
    let books = database.for_worker();
    books.grant(gift(bench.ann, 100)).await.expect("given");
    let accept = |most: i64| {
        let database = database.clone();
        let new = priced(bench.ann, most);
        async move { database.accept_job(new).await.expect("accepted") }
    };
    accept(50).await;
    assert!(mails(&bench, bench.ann).await.is_empty(), "50 are enough");
    // Of many at once, one crosses it.
    let crossing = (0..5).map(|_| tokio::spawn(accept(5)));
    for done in futures::future::join_all(crossing.collect::<Vec<_>>()).await {
        done.expect("accepted");
    }
    let all = mails(&bench, bench.ann).await;
    let [one] = all.as_slice() else {
        panic!("not one: {all:?}")
    };
    assert_eq!(one.address, "ann@example.com");
    let content = Content::LowCredits {
        available: 45,
        threshold: 50,
    };
    assert_eq!(one.content, Some(content));
    // Too few more do not begin it anew, and enough do.
    books.grant(gift(bench.ann, 20)).await.expect("given");
    accept(5).await;
    assert_eq!(mails(&bench, bench.ann).await.len(), 1);
    books.grant(gift(bench.ann, 100)).await.expect("given");
    accept(100).await;
    assert_eq!(mails(&bench, bench.ann).await.len(), 2);
    // Without a limit nothing is told.
    bench
        .database
        .for_worker()
        .grant(gift(bench.bob, 10))
        .await
        .expect("given");
    bench.accept_as(priced(bench.bob, 10)).await;
    assert!(mails(&bench, bench.bob).await.is_empty());
}

pub(crate) async fn an_endpoint_that_is_disabled_is_told(bench: Bench) {
    let url = "https://example.com/hook?a=<b>".to_owned();
    let hook = Endpoint::new(
        bench.ann,
        Some(url.clone()),
        vec![Hook::JobQueued],
        time::now(),
    );
    assert_ne!(hook.id, EndpointId::generate());
    assert!(
        bench
            .database
            .insert_endpoint(hook, 10)
            .await
            .expect("kept")
    );
    for _ in 0..2 {
        bench.accept_as(job(bench.ann, &unique())).await;
    }
    let taken = bench
        .database
        .claim_deliveries(LEASE, ALL, ALL)
        .await
        .expect("claimed");
    assert_eq!(taken.len(), 2);
    for one in taken {
        let attempt = Attempt {
            at: time::now(),
            duration_ms: 1,
            status: Some(410),
            error: None,
            response: String::new(),
        };
        let gone = bench
            .database
            .settle_delivery(one, attempt, Outcome::Gone, LEASE);
        gone.await.expect("settled");
    }
    let all = mails(&bench, bench.ann).await;
    let [one] = all.as_slice() else {
        panic!("not one: {all:?}")
    };
    assert_eq!(
        one.content,
        Some(Content::EndpointDisabled { url, gone: true })
    );
    assert_eq!(one.address, "ann@example.com");
}

pub(crate) async fn secrets_are_forgotten_once_they_are_sent(bench: Bench) {
    let vendor: Arc<Vendor> = Arc::default();
    let postman = postman(&bench.database, &vendor);
    let link = "https://app.example.com/reset?token=secret".to_owned();
    let to = address("ann@example.com");
    let new = NewMail::reset(bench.ann, to, Language::English, link, 30, "token-1");
    assert!(write(&bench, new.clone()).await);
    assert!(!write(&bench, new).await);
    vendor.fail(false, Setback::Later(None));
    round(&postman).await;
    assert!(mails(&bench, bench.ann).await[0].content.is_some());
    round(&postman).await;
    assert!(vendor.sent()[0].text.contains("token=secret"));
    let row = mails(&bench, bench.ann).await.remove(0);
    assert_eq!((row.status, row.content), (Status::Sent, None));
}

pub(crate) async fn nobody_gets_more_than_a_days_worth(bench: Bench) {
    let vendor: Arc<Vendor> = Arc::default();
    let mut postman = postman(&bench.database, &vendor);
    postman.settings = Arc::new(Settings {
        daily: 2,
        ..(*postman.settings).clone()
    });
    for _ in 0..3 {
        write(&bench, optional(bench.ann, "ann@example.org")).await;
    }
    write(&bench, receipt(bench.ann, &unique())).await;
    write(&bench, optional(bench.bob, "bob@example.org")).await;
    assert_eq!(round(&postman).await, 5);
    let of = |owner| {
        vendor
            .sent()
            .into_iter()
            .filter(|one| one.owner == owner)
            .count()
    };
    assert_eq!((of(bench.ann), of(bench.bob)), (3, 1));
    let dropped = mails(&bench, bench.ann).await;
    let dropped = dropped
        .iter()
        .filter(|one| one.reason == Some(Reason::Limit));
    assert_eq!(dropped.count(), 1);
    // An installation that sends nothing keeps nothing to be sent later.
    postman.mail = None;
    write(&bench, receipt(bench.bob, &unique())).await;
    round(&postman).await;
    let row = mails(&bench, bench.bob).await.remove(0);
    assert_eq!(
        (row.status, row.reason),
        (Status::Dropped, Some(Reason::Off))
    );
}
