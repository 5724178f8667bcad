//! From a finished answer to a result.

use genvid_sdk::prelude::*;

use crate::request::Settings;
use crate::schema;
use crate::usage::Usage;

/// How an answer is to be read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Form {
    Text,
    Json {
        /// See [`schema::drop_nulls`].
        drop_nulls: bool,
    },
}

impl Form {
    /// As it is stored with the completion, for whoever finds it again without the request.
    pub(crate) fn metadata(self) -> Value {
        match self {
            Self::Text => json!({ "genvid_form": "text" }),
            Self::Json { drop_nulls: false } => json!({ "genvid_form": "json" }),
            Self::Json { drop_nulls: true } => json!({ "genvid_form": "json-drop-nulls" }),
        }
    }

    pub(crate) fn from_metadata(word: Option<&str>) -> Option<Self> {
        match word? {
            "text" => Some(Self::Text),
            "json" => Some(Self::Json { drop_nulls: false }),
            "json-drop-nulls" => Some(Self::Json { drop_nulls: true }),
            _ => None,
        }
    }
}

/// What the vendor wrote.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) id: Option<String>,
    pub(crate) model: Option<String>,
    pub(crate) content: String,
    pub(crate) refusal: String,
    pub(crate) finish_reason: Option<String>,
    pub(crate) service_tier: Option<String>,
    pub(crate) usage: Option<Usage>,
}

impl Answer {
    /// The result, or why there is none. Every answer here is charged, so none of the errors
    /// may be one that is tried again.
    pub(crate) fn done(self, form: &Form, settings: &Settings) -> Result<Done> {
        self.check()?;
        let (text, mime) = match form {
            Form::Text => (self.content.trim().to_owned(), "text/plain"),
            Form::Json { drop_nulls } => (self.json(*drop_nulls)?, "application/json"),
        };
        let main = Output {
            role: Role::Main,
            media: Media::Text(text),
            mime: mime.to_owned(),
            duration_ms: None,
            metadata: Some(
                json!({
                    "id": self.id,
                    "model": self.model,
                    "finish_reason": self.finish_reason,
                    "service_tier": self.service_tier,
                    "usage": self.usage,
                })
                .to_string(),
            ),
        };
        Ok(Done {
            outputs: vec![main],
            cost_micro_usd: self.cost_micro_usd(settings),
        })
    }

    fn check(&self) -> Result<()> {
        if !self.refusal.is_empty() {
            let message = format!("the model refused: {}", self.refusal);
            return Err(Error::new(ErrorKind::ContentRejected, message).with_code("refusal"));
        }
        match self.finish_reason.as_deref() {
            Some("content_filter") => Err(Error::new(
                ErrorKind::ContentRejected,
                "the vendor's filter cut the answer off",
            )
            .with_code("content_filter")),
            // The same request would be cut, and charged, again: only its sender can help.
            Some("length") => Err(Error::invalid(
                "options.max_completion_tokens",
                format!(
                    "the answer was cut off at the limit of tokens{}; allow more, or ask for less",
                    self.written()
                ),
            )
            .with_code("length")),
            _ if self.content.trim().is_empty() => Err(Error::unexpected(format!(
                "the vendor wrote nothing (finish reason {})",
                self.finish_reason.as_deref().unwrap_or("missing")
            ))),
            _ => Ok(()),
        }
    }

    fn json(&self, drop_nulls: bool) -> Result<String> {
        let mut value: Value = serde_json::from_str(&self.content)
            .map_err(|error| Error::unexpected(format!("the vendor wrote no JSON: {error}")))?;
        if drop_nulls {
            schema::drop_nulls(&mut value);
        }
        Ok(value.to_string())
    }

    fn written(&self) -> String {
        self.usage.as_ref().map_or_else(String::new, |usage| {
            format!(", after {}", usage.completion_tokens)
        })
    }

    fn cost_micro_usd(&self, settings: &Settings) -> Option<u64> {
        // Other tiers have other prices.
        if !matches!(
            self.service_tier.as_deref(),
            None | Some("default" | "auto")
        ) {
            return None;
        }
        self.usage
            .as_ref()?
            .cost_micro_usd(self.model.as_deref()?, &settings.token_prices)
    }
}
