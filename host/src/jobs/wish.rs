//! What users ask for, as it comes from an edge: typed, not yet checked.

use serde::{Deserialize, Serialize};
use url::Url;

use super::{
    batch::Place,
    input::ProviderItem,
    model::{Aspect, SubtitleMode},
};
use crate::{
    ids::{ApiKeyId, ProjectId, QuoteId},
    time::Timestamp,
};

/// The program that asks for something, if it is one.
#[derive(Debug, Clone, Default)]
pub struct Program {
    /// Its API key.
    pub key: Option<ApiKeyId>,
    /// The only providers that the key may use; none: all.
    pub only: Option<Vec<String>>,
}

/// A script to write.
#[derive(Debug, Clone, Default)]
pub struct ScriptWish {
    /// For which project.
    pub project: Option<ProjectId>,
    /// What the writer should know besides the project's words.
    pub brief: Option<String>,
    /// BCP 47.
    pub language: String,
    /// Longest speaking time, 1 to 600 seconds.
    pub max_seconds: Option<u32>,
    /// One of the templates.
    pub template: Option<String>,
    /// Only this provider.
    pub provider: Option<String>,
    /// Never these.
    pub exclude: Vec<String>,
    /// The provider's own options.
    pub options: Option<serde_json::Value>,
    /// Buy everything, also what was bought before.
    pub buy_again: bool,
    /// The caller's key, 1 to 255 characters.
    pub idempotency_key: String,
    /// When it has to be done.
    pub deadline: Option<Timestamp>,
    /// Where its end is told.
    pub webhook_url: Option<Url>,
    /// Where its end is told by mail.
    pub notification_email: Option<String>,
    /// Refused when it may cost more credits.
    pub max_credits: Option<u32>,
    /// The quote that it is to cost no more than.
    pub quote: Option<QuoteId>,
    /// The only providers that the API key may use.
    pub only: Option<Vec<String>>,
    /// The API key that asks for it.
    pub by: Option<ApiKeyId>,
}

/// A text to speak.
#[derive(Debug, Clone, Default)]
pub struct VoiceWish {
    /// For which project.
    pub project: Option<ProjectId>,
    /// The text.
    pub text: String,
    /// BCP 47.
    pub language: String,
    /// Only this provider.
    pub provider: Option<String>,
    /// A voice of a catalogue.
    pub voice: Option<ProviderItem>,
    /// The provider's own options.
    pub options: Option<serde_json::Value>,
    /// Buy everything, also what was bought before.
    pub buy_again: bool,
    /// The caller's key.
    pub idempotency_key: String,
    /// When it has to be done.
    pub deadline: Option<Timestamp>,
    /// Where its end is told.
    pub webhook_url: Option<Url>,
    /// Where its end is told by mail.
    pub notification_email: Option<String>,
    /// Refused when it may cost more credits.
    pub max_credits: Option<u32>,
    /// The quote that it is to cost no more than.
    pub quote: Option<QuoteId>,
    /// The only providers that the API key may use.
    pub only: Option<Vec<String>>,
    /// The API key that asks for it.
    pub by: Option<ApiKeyId>,
}

/// A film to make.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct VideoWish {
    /// For which project.
    pub project: ProjectId,
    /// The text; none: one is written first.
    pub script: Option<String>,
    /// BCP 47.
    pub language: String,
    /// Shape of the picture.
    pub aspect: Aspect,
    /// Only this provider.
    pub provider: Option<String>,
    /// Never these.
    pub exclude: Vec<String>,
    /// An avatar of a catalogue.
    pub avatar: Option<ProviderItem>,
    /// Only this provider speaks.
    pub voice_provider: Option<String>,
    /// A voice of a catalogue.
    pub voice: Option<ProviderItem>,
    /// Pictures; none: the project's.
    pub images: Vec<Url>,
    /// Longest length, 1 to 600 seconds.
    pub max_seconds: Option<u32>,
    /// What becomes of the subtitles.
    pub subtitles: SubtitleMode,
    /// The video provider's own options.
    pub options: Option<serde_json::Value>,
    /// Buy everything, also what was bought before.
    pub buy_again: bool,
    /// The caller's key.
    pub idempotency_key: String,
    /// When it has to be done.
    pub deadline: Option<Timestamp>,
    /// Where its end is told.
    pub webhook_url: Option<Url>,
    /// Where its end is told by mail.
    pub notification_email: Option<String>,
    /// Refused when it may cost more credits.
    pub max_credits: Option<u32>,
    /// The quote that it is to cost no more than.
    pub quote: Option<QuoteId>,
    /// The only providers that the API key may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<Vec<String>>,
    /// The place in a batch that it comes from. Not part of what is asked for.
    #[serde(skip)]
    pub place: Option<Place>,
    /// The API key that asks for it. Not part of what is asked for.
    #[serde(skip)]
    pub by: Option<ApiKeyId>,
}
