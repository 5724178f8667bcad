//! `voice.submit`.

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
    let _vendor = Vendor::new().expect("POST", TIMED, fixture!("speech-without-alignment.json"));
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
    let Submission::Done(done) = <ElevenLabs as Voice>::submit(&request(false), &context).unwrap()
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
