//! `POST /text-to-video`, `/image-to-video` and `/omni-video`.

use genvid_sdk::prelude::*;
use serde::{Deserialize, Serialize};

use crate::model::{self, Model, Route, Sound};
use crate::{api, speaking};

/// A submission is answered within seconds; this bounds how long one can be on its way.
pub(crate) const TIMEOUT_MS: u32 = 60_000;

/// What a request may choose; see `plugin.toml`.
#[derive(Deserialize)]
pub(crate) struct Options {
    #[serde(default)]
    pub(crate) resolution: Resolution,
    #[serde(default)]
    audio: Audio,
    #[serde(default)]
    multi_shot: bool,
    #[serde(default)]
    watermark: bool,
}

#[derive(Clone, Copy, Default, Deserialize, PartialEq, Eq)]
pub(crate) enum Resolution {
    #[serde(rename = "720p")]
    P720,
    #[default]
    #[serde(rename = "1080p")]
    P1080,
}

#[derive(Clone, Copy, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Audio {
    #[default]
    Off,
    Native,
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(flatten)]
    subject: Subject<'a>,
    settings: Settings,
    options: Delivery<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Subject<'a> {
    Prompt(&'a str),
    Contents(Vec<Content<'a>>),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Content<'a> {
    Prompt { text: &'a str },
    FirstFrame { url: String },
    ReferImage { url: String },
}

#[derive(Serialize)]
struct Settings {
    resolution: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    aspect_ratio: Option<&'static str>,
    duration: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    audio: Option<Audio>,
    #[serde(skip_serializing_if = "Option::is_none")]
    multi_shot: Option<bool>,
}

#[derive(Serialize)]
struct Delivery<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    callback_url: Option<&'a str>,
    external_task_id: &'a str,
    watermark_info: Watermark,
}

#[derive(Serialize)]
struct Watermark {
    enabled: bool,
}

#[derive(Deserialize)]
struct Created {
    id: String,
}

/// Hands the clip to Kling.
pub(crate) fn submit(request: &video::Request, context: &Context) -> Result<Submission> {
    let model = model::of(request)?;
    let options: Options = request.parse_options()?;
    match (&request.speech, model.route) {
        (video::Speech::Audio(audio), Route::Speaking) => {
            return speaking::submit(request, audio, &options, context);
        }
        (video::Speech::Silent, Route::Clip | Route::Omni) => {}
        (video::Speech::Silent, Route::Speaking) => {
            return Err(Error::invalid("speech", "the model `avatar` needs audio"));
        }
        (video::Speech::Audio(_), _) => {
            return Err(Error::invalid(
                "model",
                format!("`{}` takes no audio; `avatar` does", model.id),
            ));
        }
        (video::Speech::Script(_), _) => {
            return Err(Error::invalid("speech", "Kling speaks no scripts"));
        }
    }

    let (route, subject) = subject(request, &model)?;
    let first_frame = route == "image-to-video";
    let body = Body {
        subject,
        settings: Settings {
            resolution: match (model.is_4k, options.resolution) {
                (true, _) => "4k",
                (false, Resolution::P720) => "720p",
                (false, Resolution::P1080) => "1080p",
            },
            // A clip that starts with a picture has the picture's shape.
            aspect_ratio: (!first_frame).then_some(match request.aspect {
                video::Aspect::Portrait => "9:16",
                video::Aspect::Square => "1:1",
                video::Aspect::Landscape => "16:9",
            }),
            duration: model.nearest_seconds(request.duration_ms),
            audio: audio(&model, &options)?,
            multi_shot: shots(&model, &options)?,
        },
        options: Delivery {
            callback_url: context.callback_url.as_deref(),
            external_task_id: &context.client_ref,
            watermark_info: Watermark {
                enabled: options.watermark,
            },
        },
    };
    let base = api::base(context)?;
    let call = http::post(format!("{base}/{route}/{}", model.path))
        .timeout_ms(TIMEOUT_MS)
        .json_with_assets(&body)?;
    let created: Created = api::submit(call)?;
    Ok(Submission::Accepted(created.id))
}

/// The route and what is seen.
fn subject<'a>(request: &'a video::Request, model: &Model) -> Result<(&'static str, Subject<'a>)> {
    let prompt = request.prompt.as_deref();
    let needs_prompt = || Error::invalid("prompt", "Kling paints from words: say what is seen");
    if model.route == Route::Omni {
        let mut contents = vec![Content::Prompt {
            text: prompt.ok_or_else(needs_prompt)?,
        }];
        for image in &request.images {
            contents.push(Content::ReferImage {
                url: picture(image)?,
            });
        }
        return Ok(("omni-video", Subject::Contents(contents)));
    }
    let Some(image) = request.images.first() else {
        return Ok((
            "text-to-video",
            Subject::Prompt(prompt.ok_or_else(needs_prompt)?),
        ));
    };
    if request.images.len() > 1 {
        report::info(format!(
            "{} starts with one picture; the other {} were left out",
            model.id,
            request.images.len() - 1
        ));
    }
    let mut contents = Vec::with_capacity(2);
    if let Some(text) = prompt {
        contents.push(Content::Prompt { text });
    }
    contents.push(Content::FirstFrame {
        url: picture(image)?,
    });
    Ok(("image-to-video", Subject::Contents(contents)))
}

/// A URL, or the bytes as base64 without a `data:` prefix, which the host writes.
pub(crate) fn picture(image: &Media) -> Result<String> {
    match image {
        Media::Url(url) => Ok(url.clone()),
        Media::Asset(asset) => Ok(http::base64(asset)),
        Media::Text(_) => Err(Error::invalid(
            "images",
            "a picture is a URL or an asset, not text",
        )),
    }
}

fn audio(model: &Model, options: &Options) -> Result<Option<Audio>> {
    let refuse = |why: String| Err(Error::invalid("options.audio", why));
    match (model.sound, options.audio) {
        (Sound::Chosen, audio) => Ok(Some(audio)),
        (Sound::ChosenIn1080p, Audio::Native) if options.resolution != Resolution::P1080 => {
            refuse(format!("`{}` makes sound in 1080p only", model.id))
        }
        (Sound::ChosenIn1080p, audio) => Ok(Some(audio)),
        (Sound::Off | Sound::Never, Audio::Native) => {
            refuse(format!("`{}` makes no sound", model.id))
        }
        (Sound::Off, Audio::Off) => Ok(Some(Audio::Off)),
        (Sound::Never, Audio::Off) | (Sound::Always, _) => Ok(None),
    }
}

/// Kling cuts between shots unless told not to, so the field is always sent to the models
/// that know it.
fn shots(model: &Model, options: &Options) -> Result<Option<bool>> {
    if options.multi_shot && !model.multi_shot {
        return Err(Error::invalid(
            "options.multi_shot",
            format!("`{}` makes one shot", model.id),
        ));
    }
    Ok(model.multi_shot.then_some(options.multi_shot))
}
