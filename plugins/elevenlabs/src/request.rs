//! From Genvid's words to the vendor's.

use genvid_sdk::http::Call;
use genvid_sdk::prelude::*;
use serde::{Deserialize, Serialize};

/// The model when the request names none; the manifest's default too.
const DEFAULT_MODEL: &str = "eleven_multilingual_v2";
/// Characters that `eleven_v3` takes at once; the other models take the manifest's limit.
/// Source: the vendor's models page, "Character limits".
const V3_CHARACTERS: usize = 5_000;
/// Every `output_format` that the manifest offers is MP3.
pub(crate) const MIME: &str = "audio/mpeg";
/// 0.10 USD for 1,000 credits, pay as you go.
const MICRO_USD_PER_CREDIT: f64 = 100.0;

/// The operator's settings: `settings.schema` of the manifest.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Settings {
    #[serde(default)]
    region: Region,
    micro_usd_per_credit: Option<f64>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Region {
    #[default]
    Global,
    Us,
    Eu,
    In,
    Sg,
}

impl Settings {
    /// An absolute URL in the operator's region.
    pub(crate) fn url(&self, path: &str) -> String {
        let host = match self.region {
            Region::Global => "api.elevenlabs.io",
            Region::Us => "api.us.elevenlabs.io",
            Region::Eu => "api.eu.residency.elevenlabs.io",
            Region::In => "api.in.residency.elevenlabs.io",
            Region::Sg => "api.sg.residency.elevenlabs.io",
        };
        format!("https://{host}{path}")
    }

    /// What so many credits cost, rounded up; nothing for numbers that make no sense.
    pub(crate) fn cost_micro_usd(&self, credits: f64) -> Option<u64> {
        let price = self.micro_usd_per_credit.unwrap_or(MICRO_USD_PER_CREDIT);
        let cost = (credits * price).ceil();
        // 10^15 is a billion dollars: above it, a float no longer counts in ones.
        (cost.is_finite() && (0.0..1e15).contains(&cost)).then_some(cost as u64)
    }
}

/// The request's options: `options.voice` of the manifest.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Options {
    #[serde(flatten)]
    voice_settings: VoiceSettings,
    seed: Option<u32>,
    output_format: Option<String>,
}

/// What is left out stays as the voice's owner set it.
#[derive(Debug, Default, Deserialize, PartialEq, Serialize)]
struct VoiceSettings {
    #[serde(skip_serializing_if = "Option::is_none")]
    stability: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    similarity_boost: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    style: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    use_speaker_boost: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    speed: Option<f64>,
}

impl Options {
    pub(crate) fn output_format(&self) -> &str {
        self.output_format.as_deref().unwrap_or("mp3_44100_128")
    }
}

/// The model that serves this request.
pub(crate) fn model(request: &voice::Request) -> &str {
    request.model.as_deref().unwrap_or(DEFAULT_MODEL)
}

/// `POST /v1/text-to-speech/{voice}`, with timestamps when timing is wanted.
pub(crate) fn speech(
    request: &voice::Request,
    options: &Options,
    settings: &Settings,
) -> Result<Call> {
    let model = model(request);
    if request.text.trim().is_empty() {
        return Err(Error::invalid("text", "there is nothing to say"));
    }
    if model == "eleven_v3" && request.text.chars().count() > V3_CHARACTERS {
        return Err(Error::invalid(
            "text",
            format!("eleven_v3 takes at most {V3_CHARACTERS} characters at once"),
        ));
    }
    let voice = http::segment(&request.voice)
        .map_err(|_| Error::invalid("voice", "this cannot be the id of a voice"))?;
    let timestamps = if request.timing {
        "/with-timestamps"
    } else {
        ""
    };
    let url = settings.url(&format!("/v1/text-to-speech/{voice}{timestamps}"));
    http::post(url)
        .query("output_format", options.output_format())
        .json(&body(request, options))
}

fn body(request: &voice::Request, options: &Options) -> Value {
    let mut body = json!({ "text": request.text, "model_id": model(request) });
    if options.voice_settings != VoiceSettings::default() {
        body["voice_settings"] = json!(options.voice_settings);
    }
    if let Some(seed) = options.seed {
        body["seed"] = json!(seed);
    }
    if let Some(language) = language_code(request) {
        body["language_code"] = json!(language);
    }
    body
}

/// ISO 639-1 for the models that let a caller choose. The others hear the language from the
/// text and answer a code with an error.
fn language_code(request: &voice::Request) -> Option<String> {
    let primary = request.language.split('-').next()?;
    let known = model(request).ends_with("_v2_5") && primary.len() == 2;
    known.then(|| primary.to_ascii_lowercase())
}
