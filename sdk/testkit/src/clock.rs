//! The vendor's pace, changeable while it runs.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::options::Profile;

/// How long one vendor takes, in milliseconds. In `POST /_control/clock` every field is
/// optional, and one that is left out keeps its value. Tasks that were accepted before keep
/// the pace they were accepted with.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Clock {
    /// How long the call that creates a film task takes to answer.
    #[serde(default, alias = "accept_ms", skip_serializing_if = "Option::is_none")]
    pub accept_ms: Option<u64>,
    /// How long a film task waits before the vendor starts on it.
    #[serde(default, alias = "queue_ms", skip_serializing_if = "Option::is_none")]
    pub queue_ms: Option<u64>,
    /// How long the vendor works on a film.
    #[serde(default, alias = "render_ms", skip_serializing_if = "Option::is_none")]
    pub render_ms: Option<u64>,
    /// How long speech takes before its first byte.
    #[serde(default, alias = "speak_ms", skip_serializing_if = "Option::is_none")]
    pub speak_ms: Option<u64>,
    /// How long a script takes.
    #[serde(default, alias = "write_ms", skip_serializing_if = "Option::is_none")]
    pub write_ms: Option<u64>,
    /// How long a result link works.
    #[serde(
        default,
        alias = "media_ttl_ms",
        skip_serializing_if = "Option::is_none"
    )]
    pub media_ttl_ms: Option<u64>,
}

impl Clock {
    /// Everything that the profile says.
    pub(crate) fn of(profile: &Profile) -> Self {
        let ms = |duration: Duration| Some(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
        Self {
            accept_ms: ms(profile.accept),
            queue_ms: ms(profile.queue),
            render_ms: ms(profile.render),
            speak_ms: ms(profile.speak),
            write_ms: ms(profile.write),
            media_ttl_ms: ms(profile.media_ttl),
        }
    }

    /// Writes the fields that are there over the profile.
    pub(crate) fn apply(&self, profile: &mut Profile) {
        let set = |value: Option<u64>, target: &mut Duration| {
            if let Some(ms) = value {
                *target = Duration::from_millis(ms);
            }
        };
        set(self.accept_ms, &mut profile.accept);
        set(self.queue_ms, &mut profile.queue);
        set(self.render_ms, &mut profile.render);
        set(self.speak_ms, &mut profile.speak);
        set(self.write_ms, &mut profile.write);
        set(self.media_ttl_ms, &mut profile.media_ttl);
    }
}
