//! The contract's records in a line each.

use crate::{Done, Media, Output, Progress, Role, Status};

impl Status {
    /// Waiting at the vendor, of which nothing more is known.
    #[must_use]
    pub fn queued() -> Self {
        Self::Queued(Progress::unknown())
    }

    /// At work, in the vendor's word for the phase.
    #[must_use]
    pub fn running(word: impl Into<String>) -> Self {
        Self::Running(Progress {
            message: Some(word.into()),
            ..Progress::unknown()
        })
    }
}

impl Progress {
    /// Nothing is known.
    #[must_use]
    pub fn unknown() -> Self {
        Self {
            fraction: None,
            message: None,
            poll_after_ms: None,
        }
    }
}

impl Done {
    /// A result whose cost the vendor did not say.
    #[must_use]
    pub fn new(outputs: Vec<Output>) -> Self {
        Self {
            outputs,
            cost_micro_usd: None,
        }
    }
}

impl Output {
    /// Something that the host fetches.
    #[must_use]
    pub fn url(role: Role, url: impl Into<String>, mime: &str) -> Self {
        Self::new(role, Media::Url(url.into()), mime)
    }

    /// Something that the host holds already.
    #[must_use]
    pub fn asset(role: Role, asset: impl Into<String>, mime: &str) -> Self {
        Self::new(role, Media::Asset(asset.into()), mime)
    }

    /// The content itself, at most 1 MiB.
    #[must_use]
    pub fn text(role: Role, text: impl Into<String>, mime: &str) -> Self {
        Self::new(role, Media::Text(text.into()), mime)
    }

    /// With the playing time in seconds, as most vendors say it. What is no length of time
    /// is left out.
    #[must_use]
    pub fn lasting(mut self, seconds: Option<f64>) -> Self {
        self.duration_ms = seconds
            .filter(|seconds| seconds.is_finite() && *seconds >= 0.0)
            .map(|seconds| (seconds * 1000.0).round() as u64);
        self
    }

    fn new(role: Role, media: Media, mime: &str) -> Self {
        Self {
            role,
            media,
            mime: mime.to_owned(),
            duration_ms: None,
            metadata: None,
        }
    }
}
