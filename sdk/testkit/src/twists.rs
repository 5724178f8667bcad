//! What faults do to the work itself.

use std::time::Duration;

use crate::faults::{Fault, FaultKind};

/// What the struck faults do to the handler's own work.
#[derive(Debug, Default)]
pub(crate) struct Twists {
    /// Failure code and message of the task.
    pub(crate) failure: Option<(Option<String>, Option<String>)>,
    pub(crate) render: Option<Duration>,
    pub(crate) stuck: bool,
    pub(crate) links_missing: u32,
    pub(crate) status_word: Option<String>,
    pub(crate) hook_copies: u32,
    pub(crate) hook_early: bool,
    pub(crate) hook_late: Duration,
    pub(crate) hook_forged: bool,
    pub(crate) hook_lost: bool,
    pub(crate) refusal: bool,
    pub(crate) length_cut: bool,
    pub(crate) stream_error: bool,
    /// Characters of text after which the stream ends; `u64::MAX` is half of it.
    pub(crate) stream_breaks: Option<u64>,
}

impl Twists {
    pub(crate) fn of(faults: &[Fault]) -> Self {
        let mut twists = Self::default();
        for fault in faults {
            let delay = |default| Duration::from_millis(fault.delay_ms.unwrap_or(default));
            match fault.fault {
                FaultKind::TaskFails => {
                    twists.failure = Some((fault.code.clone(), fault.message.clone()));
                }
                FaultKind::RenderTime => twists.render = Some(delay(0)),
                FaultKind::Stuck => twists.stuck = true,
                FaultKind::LinksMissing => twists.links_missing = fault.count.unwrap_or(2),
                FaultKind::UnknownStatus => {
                    let word = fault.code.clone();
                    twists.status_word = Some(word.unwrap_or_else(|| "reticulating".into()));
                }
                FaultKind::WebhookDuplicate => twists.hook_copies = fault.count.unwrap_or(1),
                FaultKind::WebhookEarly => twists.hook_early = true,
                FaultKind::WebhookLate => twists.hook_late = delay(5_000),
                FaultKind::WebhookForged => twists.hook_forged = true,
                FaultKind::WebhookLost => twists.hook_lost = true,
                FaultKind::Refusal => twists.refusal = true,
                FaultKind::LengthCut => twists.length_cut = true,
                FaultKind::StreamBreaks => {
                    twists.stream_breaks = Some(fault.bytes.unwrap_or(u64::MAX));
                }
                FaultKind::StreamError => twists.stream_error = true,
                _ => {}
            }
        }
        twists
    }
}
