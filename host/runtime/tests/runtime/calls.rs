//! Every function of the contract, and what a call may use beside the network.

use genvid_runtime::{
    Call, ContextArgs, ContractJson, Failure, Lost, SandboxErrorKind, catalog, types, video, voice,
};
use serde_json::json;

use crate::support::{call, command, component, context, grant, lonely, sandbox_error, text_of};

fn film() -> video::Request {
    video::Request {
        speech: video::Speech::Audio(types::Media::Asset("asset_1".to_owned())),
        prompt: Some("Silent".to_owned()),
        language: "en".to_owned(),
        aspect: video::Aspect::Landscape,
        avatar: None,
        voice: None,
        images: vec![types::Media::Url("https://shop.example/P.png".to_owned())],
        duration_ms: Some(5_000),
        model: None,
        options: "{}".to_owned(),
    }
}

#[tokio::test]
async fn a_film_crosses_into_the_guest_and_back() {
    let plugin = lonely().await;
    let outcome = plugin.submit_video(call(), film(), context()).await;
    let came = text_of(&outcome);
    assert_eq!(came, film().contract_json());
    assert_eq!(came["speech"], json!({ "audio": { "asset": "asset_1" } }));
    assert_eq!(
        came["images"],
        json!([{ "url": "https://shop.example/P.png" }])
    );
    assert_eq!(came["aspect"], "landscape");
    assert_eq!(came["prompt"], "Silent");
    assert_eq!(outcome.trace.requests, 0);
    assert!(!outcome.trace.sent && !outcome.trace.unanswered);
}

#[tokio::test]
async fn a_lost_film_reaches_find_as_it_was_submitted() {
    let mut request = film();
    request.speech = video::Speech::Silent;
    let lost = Lost {
        context: context(),
        kind: video::Request::KIND.to_owned(),
        request: request.contract_json().to_string(),
        submitted_at_ms: 1,
    };
    let outcome = lonely().await.find(call(), lost).await;
    assert_eq!(outcome.result, Ok(Some("Speech::Silent".to_owned())));
}

#[tokio::test]
async fn a_voice_is_accepted_with_a_task_id() {
    let request = voice::Request {
        text: "Hi".to_owned(),
        language: "en".to_owned(),
        voice: "v1".to_owned(),
        model: None,
        timing: false,
        options: "{}".to_owned(),
    };
    let outcome = lonely()
        .await
        .submit_voice(call(), request, context())
        .await;
    assert_eq!(
        outcome.result,
        Ok(types::Submission::Accepted("voice-v1".to_owned()))
    );
}

#[tokio::test]
async fn tasks_are_polled_together_and_answered_in_order() {
    let plugin = lonely().await;
    let task = |id: &str, client_ref: &str| {
        let context = ContextArgs {
            client_ref: client_ref.to_owned(),
            callback_url: None,
        };
        (id.to_owned(), context)
    };
    let tasks = vec![
        task("a", "ref_a"),
        task("gone", "ref_g"),
        task("wild", "ref_w"),
    ];
    let answers = plugin.poll(call(), tasks).await.result.expect("answers");
    assert_eq!(
        answers[0],
        Ok(types::Status::Running(types::Progress {
            fraction: Some(0.5),
            message: Some("ref_a".to_owned()),
            poll_after_ms: Some(1_000),
        }))
    );
    assert_eq!(
        answers[1].as_ref().expect_err("an error").kind,
        types::ErrorKind::NotFound
    );
    // A fraction that is no number is nothing, and a message is cut.
    let Ok(types::Status::Running(wild)) = &answers[2] else {
        panic!("{:?}", answers[2])
    };
    assert_eq!(wild.fraction, None);
    assert_eq!(wild.message.as_ref().map(String::len), Some(200));

    let outcome = plugin
        .poll(call(), vec![task("one-too-few", "ref_x")])
        .await;
    let Err(Failure::Sandbox(error)) = outcome.result else {
        panic!("{outcome:?}")
    };
    assert_eq!(error.kind, SandboxErrorKind::BadOutput);
    assert_eq!(error.function, "tasks.poll");
    assert_eq!(error.message, "0 answers for 1 tasks");

    assert_eq!(
        plugin
            .cancel(call(), "a".to_owned(), context())
            .await
            .result,
        Ok(())
    );
}

#[tokio::test]
async fn the_catalog_has_pages_of_at_most_200() {
    let plugin = lonely().await;
    let page = plugin
        .list(call(), catalog::Kind::Voice, None)
        .await
        .result
        .expect("a page");
    assert_eq!(page.items.len(), 2);
    assert_eq!(page.items[0].kind, catalog::Kind::Voice);
    let cursor = Some("too-many".to_owned());
    let outcome = plugin.list(call(), catalog::Kind::Voice, cursor).await;
    let Err(Failure::Sandbox(error)) = outcome.result else {
        panic!("{outcome:?}")
    };
    assert_eq!(error.message, "the page has 201 entries; 200 are allowed");
}

#[tokio::test]
async fn settings_come_from_the_grant() {
    let mut grant = grant("http://127.0.0.1:1");
    grant.settings = json!({ "region": "there" });
    let plugin = component().await.configure(grant).expect("the grant fits");
    let info = plugin.check(call()).await.result.expect("an account");
    assert_eq!(info.label, r#"{"region":"there"}"#);
}

#[tokio::test]
async fn a_context_carries_the_reference_and_the_callback() {
    let plugin = lonely().await;
    let context = ContextArgs {
        client_ref: "attempt_7-b".to_owned(),
        callback_url: Some("https://genvid.example/hooks/1".to_owned()),
    };
    let request = crate::support::request(&json!({ "do": "echo" }));
    let outcome = plugin.submit_script(call(), request.clone(), context).await;
    assert_eq!(
        text_of(&outcome),
        json!({
            "client_ref": "attempt_7-b",
            "callback_url": "https://genvid.example/hooks/1",
            "settings": "{}",
        })
    );

    let wrong = ContextArgs {
        client_ref: "no blanks".to_owned(),
        callback_url: None,
    };
    let outcome = plugin.submit_script(call(), request, wrong).await;
    assert_eq!(sandbox_error(&outcome).kind, SandboxErrorKind::BadInput);
}

#[tokio::test]
async fn the_guest_reads_the_hosts_clock() {
    let before = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("after 1970")
        .as_millis();
    let outcome = command(&lonely().await, json!({ "do": "now" })).await;
    let now = u128::from(text_of(&outcome).as_u64().expect("a number"));
    assert!(
        (before..before + 10_000).contains(&now),
        "{now} is not soon after {before}"
    );
}

#[tokio::test]
async fn live_text_comes_in_order_while_the_guest_writes() {
    let plugin = lonely().await;
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    let call = Call {
        text: Some(sender),
        ..call()
    };
    let request = crate::support::request(&json!({ "do": "tell", "deltas": ["one ", "two"] }));
    let outcome = plugin.submit_script(call, request, context()).await;
    assert!(outcome.result.is_ok(), "{outcome:?}");
    assert_eq!(receiver.recv().await.as_deref(), Some("one "));
    assert_eq!(receiver.recv().await.as_deref(), Some("two"));
    assert_eq!(receiver.recv().await, None);
}

#[tokio::test]
async fn an_error_of_the_guest_is_cut_to_its_limits() {
    let outcome = command(&lonely().await, json!({ "do": "fail", "bytes": 10_000 })).await;
    let Err(Failure::Plugin(error)) = &outcome.result else {
        panic!("{outcome:?}")
    };
    assert_eq!(error.kind, types::ErrorKind::RateLimited(Some(3_600_000)));
    assert_eq!(error.message.len(), 2_000);
    assert_eq!(
        outcome.result.as_ref().err().map(ToString::to_string),
        Some(error.message.clone())
    );
}

#[tokio::test]
async fn options_that_the_guest_does_not_know_are_its_own_error() {
    let outcome = command(&lonely().await, json!({ "do": "unheard-of" })).await;
    let Err(Failure::Plugin(error)) = &outcome.result else {
        panic!("{outcome:?}")
    };
    assert!(
        matches!(error.kind, types::ErrorKind::InvalidInput(_)),
        "{error:?}"
    );
}
