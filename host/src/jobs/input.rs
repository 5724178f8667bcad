//! What a job was asked to do. Stored as JSON; yesterday's rows must still decode.

use serde::{Deserialize, Serialize};

use super::model::{Aspect, JobKind, StepKind, SubtitleMode};
use crate::{
    ids::{JobId, UploadId},
    uploads::all_referred,
};

/// What the project says about its product, as it was when the job was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ProductBrief {
    /// Name of the product.
    #[serde(default)]
    pub name: String,
    /// What it is.
    #[serde(default)]
    pub description: String,
    /// Pictures of it.
    #[serde(default)]
    pub images: Vec<String>,
}

/// Write a script.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScriptInput {
    /// The product.
    pub product: ProductBrief,
    /// What the writer should know besides.
    #[serde(default)]
    pub brief: String,
    /// BCP 47.
    pub language: String,
    /// Longest speaking time in seconds.
    pub max_seconds: Option<u32>,
    /// Which of the templates.
    #[serde(default)]
    pub template: Option<String>,
    /// Only this provider.
    pub provider: Option<String>,
    /// Never these providers.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// Whoever asks may use only these, whatever the step; none: all. Not written where there are
    /// none: the text is then as it was before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<Vec<String>>,
    /// The provider's own options.
    #[serde(default)]
    pub options: serde_json::Value,
    /// Whether results that were bought before may be taken over. Not written where they may:
    /// the text is then as it was before anybody could say otherwise.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub reuse: bool,
}

/// Speak a text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VoiceInput {
    /// The text.
    pub text: String,
    /// BCP 47.
    pub language: String,
    /// Only this provider.
    pub provider: Option<String>,
    /// Never these providers.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// Whoever asks may use only these, whatever the step; none: all. Not written where there are
    /// none: the text is then as it was before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<Vec<String>>,
    /// The provider's own id of the voice.
    pub voice: Option<String>,
    /// The provider's own options.
    #[serde(default)]
    pub options: serde_json::Value,
    /// Whether results that were bought before may be taken over. Not written where they may:
    /// the text is then as it was before anybody could say otherwise.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub reuse: bool,
}

/// Make a film.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VideoInput {
    /// The product.
    pub product: ProductBrief,
    /// The text; none: one is written first.
    pub script: Option<String>,
    /// BCP 47.
    pub language: String,
    /// Shape of the picture.
    pub aspect: Aspect,
    /// Only this provider.
    pub provider: Option<String>,
    /// Never these providers.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// Whoever asks may use only these, whatever the step; none: all. Not written where there are
    /// none: the text is then as it was before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<Vec<String>>,
    /// The provider whose avatar `avatar` is, and its id there.
    pub avatar: Option<ProviderItem>,
    /// Only this provider speaks.
    pub voice_provider: Option<String>,
    /// The provider whose voice `voice` is, and its id there.
    pub voice: Option<ProviderItem>,
    /// Pictures.
    #[serde(default)]
    pub images: Vec<String>,
    /// Longest length in seconds.
    pub max_seconds: Option<u32>,
    /// What becomes of the subtitles.
    pub subtitles: SubtitleMode,
    /// The video provider's own options.
    #[serde(default)]
    pub options: serde_json::Value,
    /// Whether results that were bought before may be taken over. Not written where they may:
    /// the text is then as it was before anybody could say otherwise.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub reuse: bool,
    /// The film that it changes; none: it makes a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edit: Option<Edit>,
}

/// A film that is there, with other captions. Nothing is bought for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Edit {
    /// The job that has made it.
    pub source: JobId,
    /// What is shown, in order; none: what its voice says.
    pub captions: Option<Vec<Caption>>,
}

/// Text that is shown for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caption {
    /// Milliseconds from the beginning of the film.
    pub start_ms: u32,
    /// Milliseconds from the beginning of the film, after `start_ms`.
    pub end_ms: u32,
    /// One line or two.
    pub text: String,
}

fn yes() -> bool {
    true
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands out references"
)]
fn is_yes(reuse: &bool) -> bool {
    *reuse
}

/// Something of a provider's catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ProviderItem {
    /// Whose.
    pub provider: String,
    /// Its id there.
    pub id: String,
}

/// What a job was asked to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum JobInput {
    /// Write a script.
    Script(ScriptInput),
    /// Speak a text.
    Voice(VoiceInput),
    /// Make a film.
    Video(VideoInput),
}

impl JobInput {
    /// What it makes.
    #[must_use]
    pub fn kind(&self) -> JobKind {
        match self {
            Self::Script(_) => JobKind::Script,
            Self::Voice(_) => JobKind::Voice,
            Self::Video(_) => JobKind::Video,
        }
    }

    /// BCP 47.
    #[must_use]
    pub fn language(&self) -> &str {
        match self {
            Self::Script(script) => &script.language,
            Self::Voice(voice) => &voice.language,
            Self::Video(video) => &video.language,
        }
    }

    /// What is spoken, when it is given and not written first.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Script(_) => None,
            Self::Voice(voice) => Some(&voice.text),
            Self::Video(video) => video.script.as_deref(),
        }
    }

    /// Whether results that were bought before may be taken over.
    #[must_use]
    pub fn reuse(&self) -> bool {
        match self {
            Self::Script(script) => script.reuse,
            Self::Voice(voice) => voice.reuse,
            Self::Video(video) => video.reuse,
        }
    }

    /// The only providers that whoever asks may use, if they are bounded.
    #[must_use]
    pub fn only(&self) -> Option<&[String]> {
        match self {
            Self::Script(script) => script.only.as_deref(),
            Self::Voice(voice) => voice.only.as_deref(),
            Self::Video(video) => video.only.as_deref(),
        }
    }

    /// Longest length in seconds, when somebody said so.
    #[must_use]
    pub fn max_seconds(&self) -> Option<u32> {
        match self {
            Self::Script(script) => script.max_seconds,
            Self::Voice(_) => None,
            Self::Video(video) => video.max_seconds,
        }
    }

    /// The model that is asked for at a provider, if one is chosen. Options are those of the
    /// provider that makes what the job is for.
    #[must_use]
    pub fn model(&self, step: StepKind, provider: &str) -> Option<&str> {
        let (kind, pin, options) = match self {
            Self::Script(own) => (StepKind::Script, &own.provider, &own.options),
            Self::Voice(own) => (StepKind::Voice, &own.provider, &own.options),
            Self::Video(own) => (StepKind::Video, &own.provider, &own.options),
        };
        if step != kind || pin.as_deref().is_some_and(|pin| pin != provider) {
            return None;
        }
        options.get("model").and_then(serde_json::Value::as_str)
    }

    /// The film that it changes.
    #[must_use]
    pub fn edit(&self) -> Option<&Edit> {
        match self {
            Self::Video(video) => video.edit.as_ref(),
            Self::Script(_) | Self::Voice(_) => None,
        }
    }

    /// The uploaded pictures that it may show, in the order of their ids.
    #[must_use]
    pub fn uploads(&self) -> Vec<UploadId> {
        match self {
            Self::Video(video) => all_referred(video.images.iter().chain(&video.product.images)),
            Self::Script(_) | Self::Voice(_) => Vec::new(),
        }
    }

    /// The steps that it takes, in order. `speaks_itself`: the pinned video provider voices
    /// the script, and no separate voice was asked for.
    #[must_use]
    pub fn plan(&self, speaks_itself: bool) -> Vec<StepKind> {
        match self {
            Self::Script(_) => vec![StepKind::Script, StepKind::Deliver],
            Self::Voice(_) => vec![StepKind::Voice, StepKind::Deliver],
            Self::Video(video) => {
                let mut steps = Vec::with_capacity(6);
                if video.script.is_none() {
                    steps.push(StepKind::Script);
                }
                if !speaks_itself {
                    steps.push(StepKind::Voice);
                }
                steps.extend([
                    StepKind::Video,
                    StepKind::Compose,
                    StepKind::Thumbnail,
                    StepKind::Deliver,
                ]);
                steps
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_given_script_is_not_written_again() {
        let mut input = VideoInput {
            product: ProductBrief::default(),
            script: Some("Hi".into()),
            language: "en".into(),
            aspect: Aspect::Portrait,
            provider: None,
            exclude: vec![],
            only: None,
            avatar: None,
            voice_provider: None,
            voice: None,
            images: vec![],
            max_seconds: None,
            subtitles: SubtitleMode::None,
            options: serde_json::Value::Null,
            reuse: true,
            edit: None,
        };
        assert!(
            !JobInput::Video(input.clone())
                .plan(false)
                .contains(&StepKind::Script)
        );
        input.script = None;
        assert_eq!(JobInput::Video(input.clone()).plan(false).len(), 6);
        assert!(!JobInput::Video(input).plan(true).contains(&StepKind::Voice));
    }

    /// The stored form is a promise: a row of an earlier version must decode.
    #[test]
    fn stored_form_of_version_1_decodes() {
        let stored = r#"{"kind":"video","product":{"name":"Bottle"},"script":null,"language":"en",
            "aspect":"PORTRAIT","provider":null,"avatar":{"provider":"heygen","id":"look_1"},
            "voice_provider":null,"voice":null,"max_seconds":20,"subtitles":"SIDECAR"}"#;
        let input: JobInput = serde_json::from_str(stored).expect("decodes");
        assert_eq!(input.kind(), JobKind::Video);
        assert!(input.reuse());
        let again = serde_json::to_value(&input).expect("a text");
        assert!(again.get("reuse").is_none(), "{again}");
        assert!(again.get("edit").is_none(), "{again}");
    }
}
