//! `voice.submit`.

use super::*;

fn speak(request: &voice::Request) -> Result<Done> {
    match <OpenAi as Voice>::submit(request, &reference())? {
        Submission::Done(done) => Ok(done),
        Submission::Accepted(id) => panic!("OpenAI answers at once, but accepted {id}"),
    }
}

fn request() -> voice::Request {
    voice::Request {
        text: "Meet the bottle.".to_owned(),
        voice: "alloy".to_owned(),
        timing: true,
        ..voice_request()
    }
}

#[test]
fn sends_every_option_and_keeps_the_sound() {
    let vendor = Vendor::new().expect("POST", SPEECH, Reply::bytes("audio/mpeg", *b"ID3 sound"));
    let mut request = request();
    request.options = json!({
        "instructions": "Cheerful and quick.", "speed": 1.1, "response_format": "mp3",
    })
    .to_string();
    let done = speak(&request).unwrap();
    let sent = vendor.only();
    assert_eq!(sent.json(), parsed(fixture!("speech-request.json")));
    assert_eq!(sent.part, Some(http::Part::Whole));
    assert_eq!(sent.header("x-client-request-id"), Some("att_01j9zq3v7e"));
    // Timing was wished for, but the manifest says that there is none.
    assert_eq!(done.outputs.len(), 1);
    assert_eq!(done.outputs[0].role, Role::Main);
    assert_eq!(done.outputs[0].mime, "audio/mpeg");
    assert_eq!(done.outputs[0].media, Media::Asset("asset_1".to_owned()));
    assert_eq!(vendor.asset("asset_1").unwrap(), b"ID3 sound");
    assert_eq!(done.cost_micro_usd, None);
}

#[test]
fn names_the_media_type_of_each_format() {
    for (format, mime) in [
        ("mp3", "audio/mpeg"),
        ("opus", "audio/ogg"),
        ("aac", "audio/aac"),
        ("flac", "audio/flac"),
        ("wav", "audio/wav"),
    ] {
        let vendor = Vendor::new().expect("POST", SPEECH, Reply::bytes(mime, *b"sound"));
        let mut request = request();
        request.options = json!({ "response_format": format }).to_string();
        assert_eq!(speak(&request).unwrap().outputs[0].mime, mime);
        assert_eq!(vendor.only().json()["response_format"], format);
    }
}

#[test]
fn custom_voices_go_by_id() {
    let vendor = Vendor::new().expect("POST", SPEECH, Reply::bytes("audio/mpeg", *b"ID3"));
    let mut request = request();
    request.voice = "voice_1234".to_owned();
    request.model = Some("tts-1-hd".to_owned());
    speak(&request).unwrap();
    assert_eq!(
        vendor.only().json(),
        json!({
            "model": "tts-1-hd", "input": "Meet the bottle.", "voice": { "id": "voice_1234" },
            "response_format": "mp3",
        })
    );
}

#[test]
fn refuses_what_the_vendor_cannot_speak_without_asking_it() {
    let vendor = Vendor::new();
    let silent = voice::Request {
        text: " ".to_owned(),
        ..request()
    };
    let long = voice::Request {
        text: "a".repeat(4_097),
        ..request()
    };
    let told = voice::Request {
        model: Some("tts-1".to_owned()),
        options: json!({ "instructions": "Quick." }).to_string(),
        ..request()
    };
    for (request, field) in [
        (silent, "text"),
        (long, "text"),
        (told, "options.instructions"),
    ] {
        let error = speak(&request).unwrap_err();
        let ErrorKind::InvalidInput(problems) = error.kind else {
            panic!("{error:?}");
        };
        assert_eq!(problems[0].field, field);
    }
    assert!(vendor.sent().is_empty());
}

#[test]
fn refusals_follow_the_table() {
    for (reply, kind) in [
        (
            Reply::json(429, fixture!("error-quota.json")),
            ErrorKind::QuotaExhausted,
        ),
        (
            Reply::json(429, fixture!("error-rate-limit.json")),
            ErrorKind::RateLimited(None),
        ),
        (
            Reply::json(
                400,
                envelope(Some("content_policy_violation"), "any", "No."),
            ),
            ErrorKind::ContentRejected,
        ),
        (Reply::status(502), ErrorKind::OutcomeUnknown),
        (Reply::status(503), ErrorKind::Unavailable),
    ] {
        let _vendor = Vendor::new().expect("POST", SPEECH, reply);
        assert_eq!(speak(&request()).unwrap_err().kind, kind);
    }
    for (param, field) in [
        ("response_format", "options.response_format"),
        ("input", "text"),
    ] {
        let body = json!({ "error": {
            "message": "No.", "type": "invalid_request_error", "param": param, "code": null,
        } });
        let _vendor = Vendor::new().expect("POST", SPEECH, Reply::json(400, body.to_string()));
        let error = speak(&request()).unwrap_err();
        let ErrorKind::InvalidInput(problems) = error.kind else {
            panic!("{error:?}");
        };
        assert_eq!(problems[0].field, field);
    }
}

#[test]
fn an_answer_without_sound_is_unknown() {
    for reply in [
        Reply::json(200, "{}"),
        Reply::bytes("text/html", *b"<html>"),
        Reply::bytes("audio/mpeg", *b""),
        Error::unexpected("odd").into(),
        Error::outcome_unknown("cut off").into(),
    ] {
        let _vendor = Vendor::new().expect("POST", SPEECH, reply);
        assert_eq!(
            speak(&request()).unwrap_err().kind,
            ErrorKind::OutcomeUnknown
        );
    }
}
