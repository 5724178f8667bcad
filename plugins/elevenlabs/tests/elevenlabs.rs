//! The plugin against the vendor's true answers, on the scripted vendor of the SDK.

use genvid_plugin_elevenlabs::ElevenLabs;
use genvid_sdk::prelude::*;
use genvid_sdk::testing::{Reply, Vendor, context, voice_request};

/// 2026-11-22T15:00:00Z, five seconds before the history fixture was spoken.
const SUBMITTED_MS: u64 = 1_795_359_600_000;
const TEXT: &str = "Meet the bottle.\nCold for 24 hours!";
const VOICE: &str = "21m00Tcm4TlvDq8ikWAM";
const TIMED: &str = "/v1/text-to-speech/21m00Tcm4TlvDq8ikWAM/with-timestamps";
const PLAIN: &str = "/v1/text-to-speech/21m00Tcm4TlvDq8ikWAM";

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!("../fixtures/", $name))
    };
}

fn request(timing: bool) -> voice::Request {
    voice::Request {
        text: TEXT.to_owned(),
        voice: VOICE.to_owned(),
        timing,
        ..voice_request()
    }
}

fn submit(request: &voice::Request) -> Result<Done> {
    match <ElevenLabs as Voice>::submit(request, &context())? {
        Submission::Done(done) => Ok(done),
        Submission::Accepted(id) => panic!("ElevenLabs has no tasks, but answered {id}"),
    }
}

/// The error of a timed submission that the vendor refuses.
fn refusal(reply: Reply) -> Error {
    let _vendor = Vendor::new().expect("POST", TIMED, reply);
    submit(&request(true)).unwrap_err()
}

fn detail(code: &str, message: &str) -> String {
    json!({ "detail": { "type": "error", "code": code, "status": code, "message": message } })
        .to_string()
}

fn words(done: &Done) -> Value {
    let timing = done
        .outputs
        .iter()
        .find(|output| output.role == Role::Timing)
        .expect("there is a timing output");
    assert_eq!(timing.mime, "application/json");
    let Media::Text(text) = &timing.media else {
        panic!("timings are text: {timing:?}");
    };
    serde_json::from_str(text).expect("timings are JSON")
}

fn metadata(output: &Output) -> Value {
    serde_json::from_str(output.metadata.as_deref().expect("there is metadata")).unwrap()
}

mod speech {
    use super::*;

    #[test]
    fn sends_every_option_and_keeps_the_sound_out_of_the_plugin() {
        let vendor = Vendor::new().expect(
            "POST",
            &format!("https://api.elevenlabs.io{TIMED}?output_format=mp3_44100_192"),
            Reply::json(200, fixture!("speech-with-timestamps.json"))
                .header("character-cost", "35")
                .header("request-id", "req_1"),
        );
        let mut request = request(true);
        request.options = json!({
            "stability": 0.5, "similarity_boost": 0.75, "style": 0.0, "use_speaker_boost": true,
            "speed": 1.0, "seed": 42, "output_format": "mp3_44100_192",
        })
        .to_string();
        let done = submit(&request).unwrap();

        let sent = vendor.only();
        let expected: Value = serde_json::from_str(fixture!("speech-request.json")).unwrap();
        assert_eq!(sent.json(), expected);
        assert_eq!(
            sent.part,
            Some(http::Part::JsonBase64("/audio_base64".to_owned()))
        );

        let main = &done.outputs[0];
        assert_eq!(main.role, Role::Main);
        assert_eq!(main.mime, "audio/mpeg");
        let Media::Asset(asset) = &main.media else {
            panic!("the sound is an asset: {main:?}");
        };
        assert!(vendor.asset(asset).unwrap().starts_with(b"ID3"));
        assert_eq!(done.cost_micro_usd, Some(3_500));
        assert_eq!(metadata(main)["request_id"], "req_1");
        assert_eq!(metadata(main)["credits"], 35.0);
    }

    #[test]
    fn groups_characters_into_words() {
        let _vendor = Vendor::new().expect("POST", TIMED, fixture!("speech-with-timestamps.json"));
        let words = words(&submit(&request(true)).unwrap());
        let texts: Vec<&str> = words["words"]
            .as_array()
            .unwrap()
            .iter()
            .map(|word| word["text"].as_str().unwrap())
            .collect();
        assert_eq!(
            texts,
            ["Meet", "the", "bottle.", "Cold", "for", "24", "hours!"]
        );
        assert_eq!(
            words["words"][2],
            json!({ "text": "bottle.", "start": 0.54, "end": 0.96 })
        );
        // The line break between them belongs to neither word.
        assert_eq!(words["words"][3]["start"], 1.02);
    }

    #[test]
    fn falls_back_to_the_spoken_text() {
        let _vendor = Vendor::new().expect("POST", TIMED, fixture!("speech-normalized-only.json"));
        let words = words(&submit(&request(true)).unwrap());
        assert_eq!(words["words"][5]["text"], "twenty");
    }

    #[test]
    fn lives_without_an_alignment() {
        let _vendor =
            Vendor::new().expect("POST", TIMED, fixture!("speech-without-alignment.json"));
        let done = submit(&request(true)).unwrap();
        assert_eq!(done.outputs.len(), 1);
        assert_eq!(done.cost_micro_usd, None);
    }

    #[test]
    fn ignores_an_alignment_that_contradicts_itself() {
        for alignment in [
            json!({ "characters": ["a", "b"], "character_start_times_seconds": [0.0],
                    "character_end_times_seconds": [0.1, 0.2] }),
            json!({ "characters": "ab" }),
            json!(7),
        ] {
            let answer = json!({ "audio_base64": "SUQz", "alignment": alignment });
            let vendor = Vendor::new().expect("POST", TIMED, answer);
            let done = submit(&request(true)).unwrap();
            assert_eq!(done.outputs.len(), 1);
            assert_eq!(vendor.logs().len(), 1);
        }
    }

    #[test]
    fn gives_a_word_for_each_character_where_there_are_no_spaces() {
        let characters = ["「", "你", "好", "。", "」", "A", "B", " ", "水"];
        let starts: Vec<f64> = (0..characters.len()).map(|at| at as f64).collect();
        let ends: Vec<f64> = starts.iter().map(|start| start + 1.0).collect();
        let answer = json!({
            "audio_base64": "SUQz",
            "alignment": {
                "characters": characters,
                "character_start_times_seconds": starts,
                "character_end_times_seconds": ends,
            },
        });
        let _vendor = Vendor::new().expect("POST", TIMED, answer);
        let words = words(&submit(&request(true)).unwrap());
        assert_eq!(
            words["words"],
            json!([
                { "text": "「", "start": 0.0, "end": 1.0 },
                { "text": "你", "start": 1.0, "end": 2.0 },
                { "text": "好。」", "start": 2.0, "end": 5.0 },
                { "text": "AB", "start": 5.0, "end": 7.0 },
                { "text": "水", "start": 8.0, "end": 9.0 },
            ])
        );
    }

    #[test]
    fn takes_the_plain_route_without_timing() {
        let vendor = Vendor::new().expect(
            "POST",
            &format!("{PLAIN}?output_format=mp3_44100_128"),
            Reply::bytes("audio/mpeg", *b"ID3 sound").header("character-cost", "35"),
        );
        let done = submit(&request(false)).unwrap();
        assert_eq!(vendor.only().part, Some(http::Part::Whole));
        assert_eq!(
            vendor.only().json(),
            json!({ "text": TEXT, "model_id": "eleven_multilingual_v2" })
        );
        assert_eq!(done.outputs.len(), 1);
        assert_eq!(done.cost_micro_usd, Some(3_500));
    }

    #[test]
    fn names_the_language_only_to_models_that_take_one() {
        for (model, language, sent_code) in [
            ("eleven_flash_v2_5", "de-AT", Some("de")),
            ("eleven_flash_v2_5", "yue", None),
            ("eleven_flash_v2", "en", None),
            ("eleven_multilingual_v2", "de", None),
        ] {
            let vendor = Vendor::new().expect("POST", PLAIN, Reply::bytes("audio/mpeg", *b"ID3"));
            let mut request = request(false);
            request.model = Some(model.to_owned());
            request.language = language.to_owned();
            submit(&request).unwrap();
            let body = vendor.only().json();
            assert_eq!(body["model_id"], model);
            assert_eq!(body.get("language_code").and_then(Value::as_str), sent_code);
        }
    }

    #[test]
    fn obeys_the_settings() {
        let vendor = Vendor::new().expect(
            "POST",
            PLAIN,
            Reply::bytes("audio/mpeg", *b"ID3").header("character-cost", "10"),
        );
        let mut context = context();
        context.settings = json!({ "region": "eu", "micro_usd_per_credit": 42.05 }).to_string();
        let Submission::Done(done) =
            <ElevenLabs as Voice>::submit(&request(false), &context).unwrap()
        else {
            panic!("ElevenLabs answers at once");
        };
        assert!(
            vendor
                .only()
                .url
                .starts_with("https://api.eu.residency.elevenlabs.io/v1/"),
            "{}",
            vendor.only().url
        );
        assert_eq!(done.cost_micro_usd, Some(421));
    }

    #[test]
    fn refuses_what_the_vendor_cannot_speak_without_asking_it() {
        let mut silent = request(false);
        silent.text = " \n".to_owned();
        let mut long = request(false);
        long.model = Some("eleven_v3".to_owned());
        long.text = "a".repeat(5_001);
        let mut elsewhere = request(false);
        elsewhere.voice = "..".to_owned();
        for (request, field) in [(silent, "text"), (long, "text"), (elsewhere, "voice")] {
            let vendor = Vendor::new();
            let error = submit(&request).unwrap_err();
            let ErrorKind::InvalidInput(problems) = error.kind else {
                panic!("{error:?}");
            };
            assert_eq!(problems[0].field, field);
            assert!(vendor.sent().is_empty());
        }
    }

    #[test]
    fn a_voice_cannot_name_another_route() {
        let vendor = Vendor::new().expect(
            "POST",
            "/v1/text-to-speech/..%2F..%2Fv1%2Fuser%3Fa",
            Reply::bytes("audio/mpeg", *b"ID3"),
        );
        let mut request = request(false);
        request.voice = "../../v1/user?a".to_owned();
        submit(&request).unwrap();
        assert_eq!(vendor.sent().len(), 1);
    }
}

mod refusals {
    use super::*;

    #[test]
    fn every_code_of_the_vendor_has_its_kind() {
        use ErrorKind as Kind;
        let cases = [
            (401, "invalid_api_key", Kind::Unauthorized),
            (401, "needs_authorization", Kind::Unauthorized),
            (401, "missing_permissions", Kind::Forbidden),
            (401, "detected_unusual_activity", Kind::Forbidden),
            (401, "quota_exceeded", Kind::QuotaExhausted),
            (402, "quota_exceeded", Kind::QuotaExhausted),
            (402, "paid_plan_required", Kind::Forbidden),
            (403, "only_for_creator+", Kind::Forbidden),
            (
                400,
                "max_character_limit_exceeded",
                Kind::InvalidInput(Vec::new()),
            ),
            (400, "voice_not_found", Kind::NotFound),
            (404, "voice_not_found", Kind::NotFound),
            (400, "voice_limit_reached", Kind::InvalidInput(Vec::new())),
            (400, "model_not_found", Kind::NotFound),
            (400, "invalid_output_format", Kind::InvalidInput(Vec::new())),
            (
                400,
                "language_not_supported",
                Kind::InvalidInput(Vec::new()),
            ),
            (400, "invalid_parameters", Kind::InvalidInput(Vec::new())),
            (429, "rate_limit_exceeded", Kind::RateLimited(None)),
            (429, "concurrent_limit_exceeded", Kind::NoSlot(None)),
            (429, "too_many_concurrent_requests", Kind::NoSlot(None)),
            (429, "system_busy", Kind::Unavailable),
            (500, "internal_server_error", Kind::Unavailable),
        ];
        for (status, code, kind) in cases {
            let error = refusal(Reply::json(status, detail(code, "As said.")));
            assert_eq!(error.kind, kind, "{status} {code}");
            assert_eq!(error.vendor_code.as_deref(), Some(code));
            // The older form has the code under `status` alone.
            let older = json!({ "detail": { "status": code, "message": "As said." } });
            let error = refusal(Reply::json(status, older.to_string()));
            assert_eq!(error.kind, kind, "{status} {code}, older form");
            assert_eq!(error.vendor_code.as_deref(), Some(code));
        }
    }

    #[test]
    fn the_status_decides_where_no_code_is_known() {
        use ErrorKind as Kind;
        for (status, kind) in [
            (400, Kind::InvalidInput(Vec::new())),
            (401, Kind::Unauthorized),
            (402, Kind::QuotaExhausted),
            (403, Kind::Forbidden),
            (404, Kind::NotFound),
            (408, Kind::Unavailable),
            (422, Kind::InvalidInput(Vec::new())),
            (429, Kind::RateLimited(None)),
            (500, Kind::OutcomeUnknown),
            (502, Kind::OutcomeUnknown),
            (503, Kind::Unavailable),
            (504, Kind::OutcomeUnknown),
        ] {
            for body in [
                String::new(),
                "<html>Oops</html>".to_owned(),
                r#"{"detail":"Oops"}"#.to_owned(),
                r#"{"detail":{"status":"never_heard_of","message":"Oops"#.to_owned(),
                detail("never_heard_of", "Oops"),
            ] {
                let error = refusal(Reply::json(status, body.clone()));
                assert_eq!(error.kind, kind, "{status} {body}");
                assert!(!error.message.is_empty());
            }
        }
    }

    #[test]
    fn the_documented_examples_are_read() {
        let error = refusal(Reply::json(401, fixture!("error-status-only.json")));
        assert_eq!(error.kind, ErrorKind::QuotaExhausted);
        assert!(error.message.contains("12 credits"), "{error:?}");

        let error = refusal(Reply::json(429, fixture!("error-concurrent.json")));
        assert_eq!(error.kind, ErrorKind::NoSlot(None));
        assert!(error.message.contains("request 3c80aa5d2f"), "{error:?}");

        let error = refusal(Reply::json(400, fixture!("error-current.json")));
        let ErrorKind::InvalidInput(problems) = error.kind else {
            panic!("{error:?}");
        };
        assert_eq!(problems[0].field, "options.speed");

        let error = refusal(Reply::json(422, fixture!("error-validation.json")));
        let ErrorKind::InvalidInput(problems) = error.kind else {
            panic!("{error:?}");
        };
        assert_eq!(problems[0].field, "text");
        assert_eq!(problems[0].message, "field required");
    }

    #[test]
    fn each_schema_problem_is_named() {
        let body = json!({ "detail": [
            { "loc": ["body", "voice_settings", "stability"], "msg": "too big", "type": "v" },
            { "loc": ["body", "model_id"], "msg": "unknown", "type": "v" },
            { "loc": ["query", "output_format"], "msg": "unknown", "type": "v" },
            { "loc": ["body", "pronunciation_dictionary_locators", 0], "msg": "odd", "type": "v" },
        ] });
        let error = refusal(Reply::json(422, body.to_string()));
        let ErrorKind::InvalidInput(problems) = error.kind else {
            panic!("{error:?}");
        };
        let fields: Vec<&str> = problems
            .iter()
            .map(|problem| problem.field.as_str())
            .collect();
        assert_eq!(
            fields,
            [
                "options.stability",
                "model",
                "options.output_format",
                "pronunciation_dictionary_locators.0"
            ]
        );
        assert!(error.message.contains("options.stability: too big"));
    }

    #[test]
    fn moderation_is_told_from_mistakes() {
        for (status, code, message) in [
            (
                400,
                "input_blocked",
                "This text violates our Terms of Service.",
            ),
            (403, "voice_blocked", "Blocked for safety reasons."),
            (400, "text_moderation_failed", "Please change the text."),
        ] {
            let error = refusal(Reply::json(status, detail(code, message)));
            assert_eq!(error.kind, ErrorKind::ContentRejected, "{code}");
            assert_eq!(error.vendor_code.as_deref(), Some(code));
        }
        // A code that is known means what it means, and a 401 is about the key.
        let known = refusal(Reply::json(
            400,
            detail("invalid_parameters", "This violates the schema."),
        ));
        assert!(matches!(known.kind, ErrorKind::InvalidInput(_)));
        let key = refusal(Reply::json(401, detail("odd", "Accept the terms first.")));
        assert_eq!(key.kind, ErrorKind::Unauthorized);
    }

    #[test]
    fn the_wait_is_passed_on() {
        let limited = || Reply::json(429, detail("rate_limit_exceeded", "Slow down."));
        assert_eq!(
            refusal(limited().header("retry-after", "3")).kind,
            ErrorKind::RateLimited(Some(3_000))
        );
        assert_eq!(
            refusal(
                limited()
                    .header("retry-after-ms", "250")
                    .header("retry-after", "3")
            )
            .kind,
            ErrorKind::RateLimited(Some(250))
        );
        let busy = Reply::json(429, detail("concurrent_limit_exceeded", "Wait."));
        assert_eq!(
            refusal(busy.header("retry-after", "2")).kind,
            ErrorKind::NoSlot(Some(2_000))
        );
    }

    #[test]
    fn a_broken_answer_after_acceptance_is_unknown() {
        for body in [
            "",
            "{",
            "<html>",
            "{}",
            r#"{"audio_base64":7}"#,
            r#"{"audio_base64":"%%%"}"#,
            r#"{"audio_base64":""}"#,
        ] {
            let error = refusal(Reply::json(200, body));
            assert_eq!(error.kind, ErrorKind::OutcomeUnknown, "{body}");
        }
        let mut answer = fixture!("speech-with-timestamps.json").to_owned();
        answer.truncate(answer.len() / 2);
        assert_eq!(
            refusal(Reply::json(200, answer)).kind,
            ErrorKind::OutcomeUnknown
        );
        for reply in [
            Reply::json(200, "{}"),
            Reply::bytes("text/html", *b"<html>"),
            Reply::bytes("audio/mpeg", *b""),
        ] {
            let _vendor = Vendor::new().expect("POST", PLAIN, reply);
            let error = submit(&request(false)).unwrap_err();
            assert_eq!(error.kind, ErrorKind::OutcomeUnknown);
        }
    }

    #[test]
    fn what_the_host_says_of_the_call_stands() {
        for kind in [
            ErrorKind::OutcomeUnknown,
            ErrorKind::Unavailable,
            ErrorKind::NotPermitted,
        ] {
            let error = refusal(Error::new(kind.clone(), "said the host").into());
            assert_eq!(error.kind, kind);
        }
        // Only a 2xx answer can be unexpected to the host, so it was accepted.
        assert_eq!(
            refusal(Error::unexpected("odd").into()).kind,
            ErrorKind::OutcomeUnknown
        );
    }
}

mod recovery {
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
            let _vendor = Vendor::new().at_ms(SUBMITTED_MS + 60_000).expect(
                "GET",
                "/v1/history",
                page(other),
            );
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
}

mod choices {
    use super::*;

    fn list(kind: catalog::Kind, cursor: Option<&str>) -> Result<catalog::Page> {
        ElevenLabs::list(kind, cursor, &context())
    }

    #[test]
    fn voices_come_in_pages() {
        let vendor = Vendor::new()
            .expect(
                "GET",
                "/v2/voices?page_size=100",
                fixture!("voices-page.json"),
            )
            .expect(
                "GET",
                "/v2/voices?page_size=100&next_page_token=pNInz6obpgDQGcFmaJgB",
                json!({ "voices": [], "has_more": false, "next_page_token": null }),
            );
        let first = list(catalog::Kind::Voice, None).unwrap();
        assert_eq!(first.next.as_deref(), Some("pNInz6obpgDQGcFmaJgB"));
        let rachel = &first.items[0];
        assert_eq!(
            (rachel.id.as_str(), rachel.name.as_str()),
            (VOICE, "Rachel")
        );
        assert_eq!(rachel.language.as_deref(), Some("en-US"));
        assert!(rachel.preview_url.as_deref().unwrap().ends_with(".mp3"));
        let facts: Value = serde_json::from_str(rachel.metadata.as_deref().unwrap()).unwrap();
        assert_eq!(facts["labels"]["gender"], "female");
        assert_eq!(first.items[1].language, None);

        let last = list(catalog::Kind::Voice, first.next.as_deref()).unwrap();
        assert_eq!((last.items.len(), last.next), (0, None));
        assert_eq!(vendor.sent().len(), 2);
    }

    #[test]
    fn models_that_do_not_speak_are_left_out() {
        let _vendor = Vendor::new().expect("GET", "/v1/models", fixture!("models.json"));
        let page = list(catalog::Kind::Model, None).unwrap();
        let ids: Vec<&str> = page.items.iter().map(|item| item.id.as_str()).collect();
        assert_eq!(ids, ["eleven_multilingual_v2", "eleven_flash_v2"]);
        assert_eq!(page.items[0].language, None);
        assert_eq!(page.items[1].language.as_deref(), Some("en"));
        let facts: Value =
            serde_json::from_str(page.items[0].metadata.as_deref().unwrap()).unwrap();
        assert_eq!(facts["max_characters"], 10_000);
    }

    #[test]
    fn there_are_no_avatars() {
        let vendor = Vendor::new();
        let page = list(catalog::Kind::Avatar, None).unwrap();
        assert!(page.items.is_empty() && page.next.is_none());
        assert!(vendor.sent().is_empty());
    }

    #[test]
    fn trouble_is_told() {
        for (kind, path) in [
            (catalog::Kind::Voice, "/v2/voices"),
            (catalog::Kind::Model, "/v1/models"),
        ] {
            for (reply, expected) in [
                (Reply::status(502), ErrorKind::Unavailable),
                (Reply::json(200, "[{"), ErrorKind::Unexpected),
                (
                    Reply::json(401, detail("invalid_api_key", "No.")),
                    ErrorKind::Unauthorized,
                ),
            ] {
                let _vendor = Vendor::new().expect("GET", path, reply);
                assert_eq!(list(kind, None).unwrap_err().kind, expected);
            }
        }
    }
}

mod account {
    use super::*;

    #[test]
    fn tells_the_plan_and_what_is_left() {
        let _vendor = Vendor::new().expect(
            "GET",
            "/v1/user/subscription",
            fixture!("subscription.json"),
        );
        let info = ElevenLabs::check(&context()).unwrap();
        assert_eq!(info.label, "ElevenLabs creator (active)");
        let remaining: Value = serde_json::from_str(&info.remaining.unwrap()).unwrap();
        assert_eq!(
            remaining,
            json!({
                "credits": 81_769, "credit_limit": 100_000,
                "resets_at_unix": 1_796_083_200, "may_exceed_by": "unlimited",
            })
        );
    }

    #[test]
    fn a_key_for_speech_alone_is_a_good_key() {
        let _vendor = Vendor::new()
            .expect(
                "GET",
                "/v1/user/subscription",
                Reply::json(401, detail("missing_permissions", "user_read is missing.")),
            )
            .expect("GET", "/v1/models", fixture!("models.json"));
        let info = ElevenLabs::check(&context()).unwrap();
        assert_eq!(info.remaining, None);
    }

    #[test]
    fn a_bad_key_is_told() {
        let _vendor = Vendor::new().expect(
            "GET",
            "/v1/user/subscription",
            Reply::json(401, detail("invalid_api_key", "Invalid API key")),
        );
        let error = ElevenLabs::check(&context()).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unauthorized);
        assert_eq!(error.vendor_code.as_deref(), Some("invalid_api_key"));
    }
}

mod manifest {
    use super::*;

    #[test]
    fn declares_what_the_code_does() {
        let manifest: toml::Value = toml::from_str(include_str!("../plugin.toml")).unwrap();
        assert_eq!(manifest["id"].as_str(), Some("elevenlabs"));
        assert_eq!(
            manifest["version"].as_str(),
            Some(env!("CARGO_PKG_VERSION"))
        );
        let defaults = manifest["voice"]["models"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|model| model.get("default").is_some())
            .count();
        assert_eq!(defaults, 1);
        let batch = manifest["tasks"]["batch"].as_integer().unwrap();
        let requests = manifest["limits"]["requests_per_call"]
            .as_integer()
            .unwrap();
        assert!(
            batch * 2 <= requests,
            "a poll of one task takes two requests"
        );
    }

    #[test]
    fn every_declared_option_reaches_the_vendor() {
        let manifest: toml::Value = toml::from_str(include_str!("../plugin.toml")).unwrap();
        let schema: Value =
            serde_json::from_str(manifest["options"]["voice"].as_str().unwrap()).unwrap();
        for (name, property) in schema["properties"].as_object().unwrap() {
            let value = match property["type"].as_str().unwrap() {
                "boolean" => json!(false),
                "string" => property["enum"][0].clone(),
                "integer" => json!(7),
                _ => json!(0.9),
            };
            let vendor = Vendor::new().expect("POST", PLAIN, Reply::bytes("audio/mpeg", *b"ID3"));
            let mut request = request(false);
            request.options = json!({ name: value }).to_string();
            submit(&request).unwrap();
            let sent = vendor.only();
            let body = sent.json();
            let arrived = body["voice_settings"].get(name).or(body.get(name)).cloned();
            let arrived = arrived.or_else(|| sent.query(name).map(Value::from));
            assert_eq!(arrived, Some(value), "{name}");
        }
    }

    #[test]
    fn every_region_of_the_settings_has_a_network_rule() {
        let manifest: toml::Value = toml::from_str(include_str!("../plugin.toml")).unwrap();
        let schema: Value =
            serde_json::from_str(manifest["settings"]["schema"].as_str().unwrap()).unwrap();
        let hosts: Vec<&str> = manifest["network"]["api"]
            .as_array()
            .unwrap()
            .iter()
            .map(|rule| rule["host"].as_str().unwrap())
            .collect();
        for region in schema["properties"]["region"]["enum"].as_array().unwrap() {
            let vendor = Vendor::new().expect("GET", "/v1/models", fixture!("models.json"));
            let mut context = context();
            context.settings = json!({ "region": region }).to_string();
            ElevenLabs::list(catalog::Kind::Model, None, &context).unwrap();
            let url = vendor.only().url;
            let host = url.split('/').nth(2).unwrap();
            assert!(hosts.contains(&host), "{host}");
        }
    }
}
