//! Plain voices: `POST /audio/speech`. The vendor gives no times of words, no identity to
//! look a lost answer up by, and no usage.

use genvid_sdk::http::{Part, Saved};
use genvid_sdk::prelude::*;
use serde::Deserialize;

use crate::errors;
use crate::request::Settings;

/// The model when the request names none; the manifest's default too.
const DEFAULT_MODEL: &str = "gpt-4o-mini-tts";
/// Of the text, by the vendor's reference of this route.
const LONGEST_TEXT: usize = 4_096;

/// The request's options: `options.voice` of the manifest.
#[derive(Debug, Default, Deserialize)]
struct Options {
    instructions: Option<String>,
    speed: Option<f64>,
    #[serde(default)]
    response_format: Format,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Mp3,
    Opus,
    Aac,
    Flac,
    Wav,
}

impl Format {
    fn word(self) -> &'static str {
        match self {
            Self::Mp3 => "mp3",
            Self::Opus => "opus",
            Self::Aac => "aac",
            Self::Flac => "flac",
            Self::Wav => "wav",
        }
    }

    fn mime(self) -> &'static str {
        match self {
            Self::Mp3 => "audio/mpeg",
            Self::Opus => "audio/ogg",
            Self::Aac => "audio/aac",
            Self::Flac => "audio/flac",
            Self::Wav => "audio/wav",
        }
    }
}

pub(crate) fn submit(request: &voice::Request, context: &Context) -> Result<Submission> {
    let settings: Settings = context.parse_settings()?;
    let options: Options = request.parse_options()?;
    let call = settings
        .call(http::post(settings.url("/audio/speech")), context)
        .json(&body(request, &options)?)?;
    let kept = match call.save(&Part::Whole).map_err(errors::lost_answer)? {
        Saved::Kept(kept) => kept,
        Saved::Refused(refused) => return Err(errors::of_speech(&refused)),
    };
    if kept.size == 0 || kept.mime.starts_with("text/") || kept.mime.contains("json") {
        return Err(Error::outcome_unknown(format!(
            "the vendor answered {} bytes of {} instead of sound",
            kept.size, kept.mime
        )));
    }
    let main = Output {
        role: Role::Main,
        media: Media::Asset(kept.asset),
        mime: options.response_format.mime().to_owned(),
        duration_ms: None,
        metadata: Some(
            json!({
                "model": model(request),
                "voice": request.voice,
                "request_id": http::find_header(&kept.headers, "x-request-id"),
            })
            .to_string(),
        ),
    };
    Ok(Submission::Done(Done {
        outputs: vec![main],
        cost_micro_usd: None,
    }))
}

fn model(request: &voice::Request) -> &str {
    request.model.as_deref().unwrap_or(DEFAULT_MODEL)
}

fn body(request: &voice::Request, options: &Options) -> Result<Value> {
    let model = model(request);
    if request.text.trim().is_empty() {
        return Err(Error::invalid("text", "there is nothing to say"));
    }
    if request.text.chars().count() > LONGEST_TEXT {
        return Err(Error::invalid(
            "text",
            format!("the vendor takes at most {LONGEST_TEXT} characters"),
        ));
    }
    // The vendor's own voices go by name, those that an account made by id.
    let voice = if request.voice.starts_with("voice_") {
        json!({ "id": request.voice })
    } else {
        json!(request.voice)
    };
    let mut body = json!({
        "model": model,
        "input": request.text,
        "voice": voice,
        "response_format": options.response_format.word(),
    });
    if let Some(instructions) = &options.instructions {
        if model.starts_with("tts-1") {
            return Err(Error::invalid(
                "options.instructions",
                format!("{model} takes none"),
            ));
        }
        body["instructions"] = json!(instructions);
    }
    if let Some(speed) = options.speed {
        body["speed"] = json!(speed);
    }
    Ok(body)
}
