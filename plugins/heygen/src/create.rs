//! `POST /v3/videos`, and the uploads before it.

use genvid_sdk::prelude::*;
use serde::{Deserialize, Serialize};

use crate::api::{self, BASE, Envelope};
use crate::errors;

/// The slowest 1 % of creations take 31 s and more; HeyGen's own client waits this long.
const CREATE_TIMEOUT_MS: u32 = 120_000;

/// What an operator may set; see `plugin.toml`.
#[derive(Deserialize)]
struct Settings {
    resolution: Option<String>,
}

/// What a request may choose; see `plugin.toml`.
#[derive(Deserialize)]
struct Options {
    resolution: Option<String>,
    fit: Option<String>,
    background_color: Option<String>,
    remove_background: Option<bool>,
    #[serde(default)]
    captions: Captions,
    motion_prompt: Option<String>,
    expressiveness: Option<String>,
    speed: Option<f64>,
    pitch: Option<f64>,
    volume: Option<f64>,
    locale: Option<String>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Captions {
    #[default]
    File,
    Burned,
    Off,
}

/// The body. A photo takes the same fields as an avatar, except for the engine.
#[derive(Serialize)]
struct Body<'a> {
    #[serde(flatten)]
    subject: Subject<'a>,
    #[serde(flatten)]
    sound: Sound<'a>,
    title: String,
    resolution: &'a str,
    aspect_ratio: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    fit: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    background: Option<Background<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remove_background: Option<bool>,
    output_format: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    caption: Option<Caption>,
    #[serde(skip_serializing_if = "Option::is_none")]
    voice_settings: Option<VoiceSettings<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    motion_prompt: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expressiveness: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    callback_url: Option<&'a str>,
    callback_id: &'a str,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Subject<'a> {
    Avatar { avatar_id: &'a str, engine: Engine },
    Image { image: Picture<'a> },
}

#[derive(Serialize)]
struct Engine {
    #[serde(rename = "type")]
    kind: &'static str,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Picture<'a> {
    Url { url: &'a str },
    AssetId { asset_id: String },
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Background<'a> {
    Color {
        value: &'a str,
    },
    Image {
        #[serde(skip_serializing_if = "Option::is_none")]
        url: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        asset_id: Option<String>,
    },
}

#[derive(Serialize)]
#[serde(untagged)]
enum Sound<'a> {
    Script {
        script: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        voice_id: Option<&'a str>,
    },
    Url {
        audio_url: &'a str,
    },
    Asset {
        audio_asset_id: String,
    },
}

#[derive(Serialize)]
struct Caption {
    file_format: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    style: Option<&'static str>,
}

#[derive(Serialize)]
struct VoiceSettings<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    speed: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pitch: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    volume: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    locale: Option<&'a str>,
}

#[derive(Deserialize)]
struct Created {
    video_id: String,
}

#[derive(Deserialize)]
struct Uploaded {
    asset_id: String,
}

/// The title under which a lost video is found again.
pub(crate) fn title(client_ref: &str) -> String {
    format!("Genvid {client_ref}")
}

/// Uploads what HeyGen cannot fetch, then creates the video.
pub(crate) fn submit(request: &video::Request, context: &Context) -> Result<Submission> {
    let settings: Settings = context.parse_settings()?;
    let options: Options = request.parse_options()?;
    let (engine, is_4k) = engine(request.model.as_deref())?;
    check(request)?;

    let sound = sound(request, context)?;
    let (subject, picture) = match (&request.avatar, request.images.first()) {
        (Some(avatar_id), picture) => (
            Subject::Avatar {
                avatar_id,
                engine: Engine { kind: engine },
            },
            picture,
        ),
        (None, Some(image)) => (
            Subject::Image {
                image: photo(image, context)?,
            },
            None,
        ),
        (None, None) => {
            return Err(Error::invalid(
                "avatar",
                "HeyGen needs an avatar, or a picture of somebody who speaks",
            ));
        }
    };
    let background = match picture {
        Some(picture) => Some(backdrop(picture, context)?),
        None => options
            .background_color
            .as_deref()
            .map(|value| Background::Color { value }),
    };
    let voice_settings = VoiceSettings {
        speed: options.speed,
        pitch: options.pitch,
        volume: options.volume,
        locale: options.locale.as_deref(),
    };
    let spoken_here = matches!(sound, Sound::Script { .. });
    let has_settings = options.speed.is_some()
        || options.pitch.is_some()
        || options.volume.is_some()
        || options.locale.is_some();
    let body = Body {
        subject,
        sound,
        title: title(&context.client_ref),
        resolution: if is_4k {
            "4k"
        } else {
            options
                .resolution
                .as_deref()
                .or(settings.resolution.as_deref())
                .unwrap_or("1080p")
        },
        aspect_ratio: match request.aspect {
            video::Aspect::Portrait => "9:16",
            video::Aspect::Square => "1:1",
            video::Aspect::Landscape => "16:9",
        },
        fit: options.fit.as_deref(),
        background,
        remove_background: options.remove_background,
        output_format: "mp4",
        caption: match options.captions {
            Captions::Off => None,
            Captions::File => Some(Caption {
                file_format: "srt",
                style: None,
            }),
            Captions::Burned => Some(Caption {
                file_format: "srt",
                style: Some("default"),
            }),
        },
        voice_settings: (spoken_here && has_settings).then_some(voice_settings),
        motion_prompt: options.motion_prompt.as_deref(),
        expressiveness: options.expressiveness.as_deref(),
        callback_url: context.callback_url.as_deref(),
        callback_id: &context.client_ref,
    };
    let response = http::post(format!("{BASE}/v3/videos"))
        .timeout_ms(CREATE_TIMEOUT_MS)
        .header("idempotency-key", context.client_ref.as_str())
        .json(&body)?
        .send()?;
    if !response.is_success() {
        return Err(errors::submit_refusal(&response));
    }
    let created: Envelope<Created> = response.accepted_json()?;
    Ok(Submission::Accepted(created.data.video_id))
}

/// What the vendor could only refuse.
fn check(request: &video::Request) -> Result<()> {
    if request.prompt.is_some() {
        return Err(Error::invalid(
            "prompt",
            "HeyGen films are not painted from words; see options.motion_prompt",
        ));
    }
    if request.images.len() > 1 {
        return Err(Error::invalid("images", "HeyGen takes one picture"));
    }
    Ok(())
}

/// A model is an engine and, with `_4k`, the resolution that has its own price.
fn engine(model: Option<&str>) -> Result<(&'static str, bool)> {
    Ok(match model.unwrap_or("avatar_iv") {
        "avatar_iv" => ("avatar_iv", false),
        "avatar_iv_4k" => ("avatar_iv", true),
        "avatar_v" => ("avatar_v", false),
        "avatar_v_4k" => ("avatar_v", true),
        "avatar_iii" => ("avatar_iii", false),
        "avatar_iii_4k" => ("avatar_iii", true),
        other => {
            return Err(Error::invalid(
                "model",
                format!("HeyGen has no model `{other}`"),
            ));
        }
    })
}

fn sound<'a>(request: &'a video::Request, context: &Context) -> Result<Sound<'a>> {
    match &request.speech {
        video::Speech::Script(script) => {
            if request.avatar.is_none() && request.voice.is_none() {
                return Err(Error::invalid(
                    "voice",
                    "a picture has no voice of its own: choose one",
                ));
            }
            Ok(Sound::Script {
                script,
                voice_id: request.voice.as_deref(),
            })
        }
        video::Speech::Audio(Media::Url(audio_url)) => Ok(Sound::Url { audio_url }),
        video::Speech::Audio(Media::Asset(asset)) => Ok(Sound::Asset {
            audio_asset_id: upload(asset, "audio", context)?,
        }),
        video::Speech::Audio(Media::Text(_)) => Err(Error::invalid(
            "speech.audio",
            "audio is a URL or an asset, not text",
        )),
        video::Speech::Silent => Err(Error::invalid(
            "speech",
            "HeyGen films speak: give a script or audio",
        )),
    }
}

fn photo<'a>(image: &'a Media, context: &Context) -> Result<Picture<'a>> {
    match image {
        Media::Url(url) => Ok(Picture::Url { url }),
        Media::Asset(asset) => Ok(Picture::AssetId {
            asset_id: upload(asset, "image", context)?,
        }),
        Media::Text(_) => Err(not_a_picture()),
    }
}

fn backdrop<'a>(image: &'a Media, context: &Context) -> Result<Background<'a>> {
    match image {
        Media::Url(url) => Ok(Background::Image {
            url: Some(url),
            asset_id: None,
        }),
        Media::Asset(asset) => Ok(Background::Image {
            url: None,
            asset_id: Some(upload(asset, "image", context)?),
        }),
        Media::Text(_) => Err(not_a_picture()),
    }
}

fn not_a_picture() -> Error {
    Error::invalid("images", "a picture is a URL or an asset, not text")
}

/// `POST /v3/assets`, at most 32 MB. Its own idempotency key, so that a repeated attempt
/// sends the video with the same asset.
fn upload(asset: &str, what: &str, context: &Context) -> Result<String> {
    let call = http::post(format!("{BASE}/v3/assets"))
        .header("idempotency-key", format!("{}:{what}", context.client_ref))
        .form(http::Form::new().asset("file", asset, what, None));
    let uploaded: Envelope<Uploaded> = api::ask(call).map_err(Error::before_submission)?;
    Ok(uploaded.data.asset_id)
}
