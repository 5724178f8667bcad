//! From what a user asked to what a plugin is asked.

use genvid_runtime::{
    ContextArgs, ContractJson, Lost, Manifest, manifest::Speech as ManifestSpeech, script,
    types::Media, video, voice,
};
use serde::{Deserialize, Serialize};

use super::{
    input::{JobInput, ProductBrief, ScriptInput, VideoInput},
    model::{Aspect, Attempt, ScriptDocument, Step, StepKind, StepOutput, StoredFile},
};
use crate::{scripts, uploads};

/// Words that a speaker gets through in a second; for length limits before anything is
/// spoken. English narration runs at about 150 words a minute.
const CHARACTERS_PER_SECOND: usize = 14;
/// Longest prompt that is built from a script's visuals.
const VISUALS: usize = 2_400;

/// A request for money, as it was given to a plugin. Stored with its attempt, so that it
/// can be looked up or replayed word for word.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "request", rename_all = "snake_case")]
pub enum PaidRequest {
    /// A script.
    Script(script::Request),
    /// A voice track.
    Voice(voice::Request),
    /// A film.
    Video(video::Request),
}

impl PaidRequest {
    /// The contract's interface that takes it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Script(_) => <script::Request as ContractJson>::KIND,
            Self::Voice(_) => <voice::Request as ContractJson>::KIND,
            Self::Video(_) => <video::Request as ContractJson>::KIND,
        }
    }

    /// In the contract's JSON form, for look-ups.
    #[must_use]
    pub fn contract_json(&self) -> String {
        match self {
            Self::Script(request) => request.contract_json(),
            Self::Voice(request) => request.contract_json(),
            Self::Video(request) => request.contract_json(),
        }
        .to_string()
    }

    /// To look for the attempt that sent it.
    #[must_use]
    pub fn lost(&self, attempt: &Attempt) -> Lost {
        Lost {
            context: ContextArgs {
                client_ref: attempt.id.to_string(),
                callback_url: None,
            },
            kind: self.kind().to_owned(),
            request: self.contract_json(),
            submitted_at_ms: attempt.submitted_at.millis().unsigned_abs(),
        }
    }

    /// The model that was asked for.
    #[must_use]
    pub fn model(&self) -> Option<&str> {
        match self {
            Self::Script(request) => request.model.as_deref(),
            Self::Voice(request) => request.model.as_deref(),
            Self::Video(request) => request.model.as_deref(),
        }
    }

    /// Characters of text that are spoken.
    #[must_use]
    pub fn characters(&self) -> u64 {
        let text = match self {
            Self::Script(_) => return 0,
            Self::Voice(request) => &request.text,
            Self::Video(request) => match &request.speech {
                video::Speech::Script(text) => text,
                video::Speech::Audio(_) | video::Speech::Silent => return 0,
            },
        };
        text.chars().count() as u64
    }
}

/// A film as a provider made it.
#[derive(Debug, Clone, Copy)]
pub struct Film<'a> {
    /// The film.
    pub file: &'a StoredFile,
    /// Its subtitles, if the provider made any.
    pub subtitles: Option<&'a StoredFile>,
    /// Is the spoken text heard in it?
    pub voiced: bool,
    /// Does it play in browsers as it is?
    pub plays: bool,
}

/// What the earlier steps of a job left.
#[derive(Debug, Default)]
pub struct Materials<'a> {
    /// The script.
    pub script: Option<&'a ScriptDocument>,
    /// The voice track.
    pub voice: Option<&'a StoredFile>,
    /// When each word is spoken.
    pub words: Option<&'a [genvid_media::subtitles::Word]>,
    /// The film as the provider made it.
    pub film: Option<Film<'a>>,
    /// The film to publish, and its subtitles.
    pub composed: Option<(&'a StoredFile, Option<&'a StoredFile>)>,
    /// The still picture.
    pub picture: Option<&'a StoredFile>,
}

impl<'a> Materials<'a> {
    /// From a job's steps.
    #[must_use]
    pub fn of(steps: &'a [Step]) -> Self {
        Self::made(steps.iter().filter_map(|step| step.output.as_ref()))
    }

    /// What steps made, in their order.
    pub fn made(outputs: impl Iterator<Item = &'a StepOutput>) -> Self {
        let mut materials = Self::default();
        for output in outputs {
            match output {
                StepOutput::Script { script } => materials.script = Some(script),
                StepOutput::Voice { audio, words } => {
                    materials.voice = Some(audio);
                    materials.words = words.as_deref();
                }
                StepOutput::Video {
                    film,
                    subtitles,
                    voiced,
                    plays,
                } => {
                    materials.film = Some(Film {
                        file: film,
                        subtitles: subtitles.as_ref(),
                        voiced: *voiced,
                        plays: *plays,
                    });
                }
                StepOutput::Compose { film, subtitles } => {
                    materials.composed = Some((film, subtitles.as_ref()));
                }
                StepOutput::Thumbnail { picture } => materials.picture = Some(picture),
                StepOutput::Deliver => {}
            }
        }
        materials
    }
}

/// The text that is spoken: the given one, or the written one.
#[must_use]
pub fn spoken_text(input: &JobInput, materials: &Materials<'_>) -> String {
    match input {
        JobInput::Voice(voice) => voice.text.clone(),
        JobInput::Video(VideoInput {
            script: Some(text), ..
        }) => text.clone(),
        JobInput::Video(_) | JobInput::Script(_) => materials
            .script
            .map(|script| script.text.clone())
            .unwrap_or_default(),
    }
}

/// The request for a script.
#[must_use]
pub fn script_request(input: &JobInput, manifest: &Manifest) -> Option<PaidRequest> {
    let own = match input {
        JobInput::Script(script) => script.clone(),
        JobInput::Video(video) => ScriptInput {
            product: video.product.clone(),
            brief: String::new(),
            language: video.language.clone(),
            max_seconds: video.max_seconds,
            template: None,
            provider: None,
            exclude: Vec::new(),
            only: None,
            options: serde_json::Value::Null,
            reuse: video.reuse,
        },
        JobInput::Voice(_) => return None,
    };
    let template = scripts::template(own.template.as_deref()).unwrap_or(&scripts::TEMPLATES[0]);
    let abilities = manifest.script.as_ref()?;
    let schema = scripts::schema().to_string();
    let mut instructions = format!("{} {}", scripts::RULES, template.instructions);
    if !abilities.schema {
        instructions.push_str(" Answer only with JSON that satisfies this schema: ");
        instructions.push_str(&schema);
    }
    Some(PaidRequest::Script(script::Request {
        instructions,
        brief: brief(&own.product, &own.brief),
        language: own.language,
        max_seconds: own.max_seconds,
        schema: abilities.schema.then_some(schema),
        model: model_option(&own.options),
        options: options_text(&own.options),
    }))
}

fn brief(product: &ProductBrief, more: &str) -> String {
    let mut lines = Vec::new();
    for (label, text) in [
        ("Product", product.name.as_str()),
        ("About it", product.description.as_str()),
        ("Wishes", more),
    ] {
        if !text.trim().is_empty() {
            lines.push(format!("{label}: {}", text.trim()));
        }
    }
    lines.join("\n")
}

/// The request for a voice track.
#[must_use]
pub fn voice_request(
    input: &JobInput,
    materials: &Materials<'_>,
    manifest: &Manifest,
) -> Option<PaidRequest> {
    let abilities = manifest.voice.as_ref()?;
    let (language, chosen, options) = match input {
        JobInput::Voice(own) => (&own.language, own.voice.clone(), own.options.clone()),
        JobInput::Video(video) => (
            &video.language,
            // A voice of another vendor means nothing here.
            video
                .voice
                .as_ref()
                .filter(|voice| voice.provider == manifest.id)
                .map(|voice| voice.id.clone()),
            serde_json::Value::Null,
        ),
        JobInput::Script(_) => return None,
    };
    Some(PaidRequest::Voice(voice::Request {
        text: spoken_text(input, materials),
        language: language.clone(),
        voice: chosen.or_else(|| abilities.default_voice.clone())?,
        model: model_option(&options),
        timing: abilities.timing,
        options: options_text(&options),
    }))
}

/// The request for a film. `avatar`: the one to use when the user chose none.
#[must_use]
pub fn video_request(
    input: &VideoInput,
    materials: &Materials<'_>,
    manifest: &Manifest,
    avatar: Option<String>,
) -> Option<PaidRequest> {
    let abilities = manifest.video.as_ref()?;
    let text = match &input.script {
        Some(text) => text.clone(),
        None => materials
            .script
            .map(|script| script.text.clone())
            .unwrap_or_default(),
    };
    let (speech, spoken_ms) = match materials.voice {
        Some(track) if follows_audio(abilities) => {
            let name = track
                .key
                .rsplit('/')
                .next()
                .unwrap_or(&track.key)
                .to_owned();
            (video::Speech::Audio(Media::Asset(name)), track.duration_ms)
        }
        Some(track) => (video::Speech::Silent, track.duration_ms),
        None => (video::Speech::Script(text.clone()), None),
    };
    let longest_ms = input.max_seconds.map(|seconds| u64::from(seconds) * 1_000);
    let wished_ms = spoken_ms
        .unwrap_or_else(|| (text.chars().count() / CHARACTERS_PER_SECOND) as u64 * 1_000)
        .min(longest_ms.unwrap_or(u64::MAX))
        .clamp(
            u64::from(abilities.min_seconds) * 1_000,
            u64::from(abilities.max_seconds) * 1_000,
        );
    let own =
        |item: &super::input::ProviderItem| (item.provider == manifest.id).then(|| item.id.clone());
    let prompt = (abilities.max_prompt_characters > 0)
        .then(|| visual_prompt(input, materials, abilities.max_prompt_characters as usize));
    let images = if input.images.is_empty() {
        &input.product.images
    } else {
        &input.images
    };
    let options = if input
        .provider
        .as_deref()
        .is_none_or(|pin| pin == manifest.id)
    {
        input.options.clone()
    } else {
        serde_json::Value::Null
    };
    Some(PaidRequest::Video(video::Request {
        speech,
        prompt,
        language: input.language.clone(),
        aspect: match input.aspect {
            Aspect::Portrait => video::Aspect::Portrait,
            Aspect::Square => video::Aspect::Square,
            Aspect::Landscape => video::Aspect::Landscape,
        },
        avatar: input.avatar.as_ref().and_then(own).or(avatar),
        voice: input.voice.as_ref().and_then(own),
        images: images
            .iter()
            .take(abilities.max_images as usize)
            .map(|link| match uploads::referred(link) {
                // The host puts its bytes into the request: nobody has to fetch it here.
                Some(upload) => Media::Asset(upload.to_string()),
                None => Media::Url(link.clone()),
            })
            .collect(),
        duration_ms: u32::try_from(wished_ms).ok(),
        model: model_option(&options),
        options: options_text(&options),
    }))
}

/// Is the film to follow the voice track? Yes where somebody in it speaks. A vendor of clips
/// without speakers gets a silent order, and the voice is laid over its film afterwards.
fn follows_audio(abilities: &genvid_runtime::manifest::Video) -> bool {
    let silent = abilities.speech.contains(&ManifestSpeech::Silent);
    abilities.speech.contains(&ManifestSpeech::Audio)
        && !(silent && abilities.avatar == genvid_runtime::manifest::Need::Unsupported)
}

fn visual_prompt(input: &VideoInput, materials: &Materials<'_>, longest: usize) -> String {
    let subject = if input.product.name.is_empty() {
        "the product"
    } else {
        &input.product.name
    };
    let mut prompt = format!("Product film of {subject}.");
    if let Some(visuals) = materials.script.and_then(ScriptDocument::visual_prompt) {
        prompt.push(' ');
        prompt.push_str(&visuals);
    } else if !input.product.description.is_empty() {
        prompt.push(' ');
        prompt.push_str(&input.product.description);
    }
    prompt.chars().take(longest.min(VISUALS)).collect()
}

/// `options.model` is lifted out: the contract names the model by itself.
fn model_option(options: &serde_json::Value) -> Option<String> {
    options
        .get("model")
        .and_then(serde_json::Value::as_str)
        .map(str::to_owned)
}

fn options_text(options: &serde_json::Value) -> String {
    match options {
        serde_json::Value::Object(map) => {
            let mut map = map.clone();
            map.remove("model");
            serde_json::Value::Object(map).to_string()
        }
        _ => "{}".to_owned(),
    }
}

/// Where a step of this kind is in the registry's terms.
#[must_use]
pub fn provider_kind(step: StepKind) -> Option<crate::providers::Kind> {
    match step {
        StepKind::Script => Some(crate::providers::Kind::Script),
        StepKind::Voice => Some(crate::providers::Kind::Voice),
        StepKind::Video => Some(crate::providers::Kind::Video),
        StepKind::Compose | StepKind::Thumbnail | StepKind::Deliver => None,
    }
}
