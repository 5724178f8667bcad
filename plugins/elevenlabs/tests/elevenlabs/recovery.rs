//! `tasks`: texts whose answer was lost.

use super::*;

fn lost(request: &voice::Request) -> tasks::Lost {
    tasks::Lost {
        context: context(),
        kind: "voice".to_owned(),
        request: serde_json::to_string(request).unwrap(),
        submitted_at_ms: SUBMITTED_MS,
    }
}

fn page(item: Value) -> Value {
    json!({ "history": [item], "has_more": false, "last_history_item_id": null })
}

fn item() -> Value {
    serde_json::from_str(fixture!("history-item.json")).unwrap()
}

fn poll(vendor: Vendor, id: &str) -> (Vendor, Result<Status>) {
    let task = tasks::Task {
        id: id.to_owned(),
        context: context(),
    };
    let mut answers = ElevenLabs::poll(std::slice::from_ref(&task));
    assert_eq!(answers.len(), 1);
    (vendor, answers.remove(0))
}

const ITEM: &str = "/v1/history/ja9xsmfGhxYcymxGcOGB";
const TASK: &str = "history:ja9xsmfGhxYcymxGcOGB";

#[test]
fn finds_the_same_text_by_the_same_voice_in_the_same_minutes() {
    let vendor = Vendor::new().expect("GET", "/v1/history", fixture!("history-page.json"));
    let found = ElevenLabs::find(&lost(&request(true))).unwrap();
    assert_eq!(found.as_deref(), Some(TASK));

    let sent = vendor.only();
    assert_eq!(sent.query("voice_id").as_deref(), Some(VOICE));
    assert_eq!(
        sent.query("model_id").as_deref(),
        Some("eleven_multilingual_v2")
    );
    assert_eq!(sent.query("source").as_deref(), Some("TTS"));
    assert_eq!(sent.query("date_after_unix").as_deref(), Some("1795359570"));
    assert_eq!(
        sent.query("date_before_unix").as_deref(),
        Some("1795360200")
    );
}

#[test]
fn turns_the_pages() {
    let vendor = Vendor::new()
        .expect("GET", "/v1/history", fixture!("history-page-first.json"))
        .expect("GET", "/v1/history", fixture!("history-page.json"));
    let found = ElevenLabs::find(&lost(&request(true))).unwrap();
    assert_eq!(found.as_deref(), Some(TASK));
    assert_eq!(
        vendor.sent()[1]
            .query("start_after_history_item_id")
            .as_deref(),
        Some("VW7YKqPnjY4h39yTbx2L")
    );
}

#[test]
fn does_not_take_another_sound_for_its_own() {
    for (field, value) in [
        ("text", json!("Meet the bottle.")),
        ("voice_id", json!("pNInz6obpgDQGcFmaJgB")),
        ("model_id", json!("eleven_v3")),
        ("date_unix", json!(1_795_359_569)),
        ("date_unix", json!(1_795_360_201)),
        ("source", json!("STS")),
        ("output_format", json!("mp3_22050_32")),
        ("state", json!("deleted")),
    ] {
        let mut other = item();
        other[field] = value;
        let _vendor =
            Vendor::new()
                .at_ms(SUBMITTED_MS + 60_000)
                .expect("GET", "/v1/history", page(other));
        assert_eq!(ElevenLabs::find(&lost(&request(true))), Ok(None), "{field}");
    }
}

#[test]
fn takes_the_nearest_of_several() {
    let (mut near, mut far) = (item(), item());
    near["history_item_id"] = json!("near");
    near["date_unix"] = json!(1_795_359_602);
    far["history_item_id"] = json!("far");
    far["date_unix"] = json!(1_795_359_900);
    let answer = json!({ "history": [far, near], "has_more": false });
    let _vendor = Vendor::new().expect("GET", "/v1/history", answer);
    let found = ElevenLabs::find(&lost(&request(true))).unwrap();
    assert_eq!(found.as_deref(), Some("history:near"));
}

#[test]
fn an_early_empty_answer_proves_nothing() {
    let mut request = request(true);
    request.text = "a".repeat(2_000);
    for (after_ms, kind) in [(69_999, Some(ErrorKind::Unavailable)), (70_000, None)] {
        let _vendor = Vendor::new().at_ms(SUBMITTED_MS + after_ms).expect(
            "GET",
            "/v1/history",
            fixture!("history-empty.json"),
        );
        let answer = ElevenLabs::find(&lost(&request));
        assert_eq!(answer.err().map(|error| error.kind), kind, "{after_ms}");
    }
}

#[test]
fn an_endless_history_proves_nothing() {
    let vendor = Vendor::new()
        .at_ms(SUBMITTED_MS + 3_600_000)
        .handle(|_| fixture!("history-page-first.json").into());
    let error = ElevenLabs::find(&lost(&request(true))).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert_eq!(vendor.sent().len(), 7);
}

#[test]
fn a_refused_search_proves_nothing() {
    for (reply, kind) in [
        (Reply::status(500), ErrorKind::Unavailable),
        (Reply::json(200, "{"), ErrorKind::Unexpected),
        (
            Reply::json(401, detail("invalid_api_key", "No.")),
            ErrorKind::Unauthorized,
        ),
        (
            Error::unavailable("no network").into(),
            ErrorKind::Unavailable,
        ),
    ] {
        let _vendor = Vendor::new().expect("GET", "/v1/history", reply);
        let error = ElevenLabs::find(&lost(&request(true))).unwrap_err();
        assert_eq!(error.kind, kind);
    }
    let mut film = lost(&request(true));
    film.kind = "video".to_owned();
    let error = ElevenLabs::find(&film).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsupported);
}

#[test]
fn fetches_what_was_found() {
    let vendor = Vendor::new()
        .expect("GET", ITEM, fixture!("history-item.json"))
        .expect(
            "GET",
            &format!("{ITEM}/audio"),
            Reply::bytes("audio/mpeg", *b"ID3 sound"),
        );
    let (vendor, status) = poll(vendor, TASK);
    let Ok(Status::Done(done)) = status else {
        panic!("{status:?}");
    };
    assert_eq!(vendor.asset("asset_1").unwrap(), b"ID3 sound");
    assert_eq!(done.outputs[0].media, Media::Asset("asset_1".to_owned()));
    assert_eq!(done.outputs[0].mime, "audio/mpeg");
    assert_eq!(words(&done)["words"][5]["text"], "24");
    assert_eq!(done.cost_micro_usd, Some(3_500));
    assert_eq!(
        metadata(&done.outputs[0])["history_item_id"],
        "ja9xsmfGhxYcymxGcOGB"
    );
}

#[test]
fn waits_for_an_item_in_the_making() {
    let vendor = Vendor::new().expect("GET", ITEM, fixture!("history-item-processing.json"));
    let (_vendor, status) = poll(vendor, TASK);
    assert_eq!(status, Ok(Status::running("processing")));
}

#[test]
fn a_deleted_item_is_a_failure() {
    let vendor = Vendor::new().expect("GET", ITEM, fixture!("history-item-deleted.json"));
    let (_vendor, status) = poll(vendor, TASK);
    let Ok(Status::Failed(error)) = status else {
        panic!("{status:?}");
    };
    assert_eq!(error.kind, ErrorKind::NotFound);
}

#[test]
fn polling_tells_trouble_from_an_end() {
    for (reply, kind) in [
        (Reply::status(404), ErrorKind::NotFound),
        (Reply::status(500), ErrorKind::Unavailable),
        (Reply::status(429), ErrorKind::RateLimited(None)),
        (Reply::json(200, "{"), ErrorKind::Unexpected),
    ] {
        let (_vendor, status) = poll(Vendor::new().expect("GET", ITEM, reply), TASK);
        assert_eq!(status.unwrap_err().kind, kind);
    }
    for (reply, kind) in [
        (Reply::status(503), ErrorKind::Unavailable),
        (Reply::bytes("audio/mpeg", *b""), ErrorKind::Unexpected),
    ] {
        let vendor = Vendor::new()
            .expect("GET", ITEM, fixture!("history-item.json"))
            .expect("GET", &format!("{ITEM}/audio"), reply);
        let (_vendor, status) = poll(vendor, TASK);
        assert_eq!(status.unwrap_err().kind, kind);
    }
    let (vendor, status) = poll(Vendor::new(), "ja9xsmfGhxYcymxGcOGB");
    assert_eq!(status.unwrap_err().kind, ErrorKind::NotFound);
    assert!(vendor.sent().is_empty());
}

#[test]
fn nothing_can_be_stopped() {
    let task = tasks::Task {
        id: TASK.to_owned(),
        context: context(),
    };
    let error = ElevenLabs::cancel(&task).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsupported);
}
