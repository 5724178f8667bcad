//! From the vendor's words to Genvid's.

use genvid_sdk::http::find_header;
use genvid_sdk::prelude::*;
use serde::Deserialize;

use crate::timing::Alignments;

/// One finished or running generation in the vendor's history.
#[derive(Debug, Deserialize)]
pub(crate) struct HistoryItem {
    pub(crate) history_item_id: String,
    #[serde(default)]
    pub(crate) request_id: Option<String>,
    #[serde(default)]
    pub(crate) voice_id: Option<String>,
    #[serde(default)]
    pub(crate) model_id: Option<String>,
    #[serde(default)]
    pub(crate) text: Option<String>,
    /// Seconds since 1970.
    pub(crate) date_unix: u64,
    #[serde(default)]
    pub(crate) character_count_change_from: Option<f64>,
    #[serde(default)]
    pub(crate) character_count_change_to: Option<f64>,
    #[serde(default)]
    pub(crate) content_type: Option<String>,
    #[serde(default)]
    pub(crate) state: Option<String>,
    #[serde(default)]
    pub(crate) source: Option<String>,
    #[serde(default)]
    pub(crate) output_format: Option<String>,
    #[serde(default)]
    pub(crate) alignments: Option<Alignments>,
}

impl HistoryItem {
    /// Credits that this generation used up.
    pub(crate) fn credits(&self) -> Option<f64> {
        let used = self.character_count_change_to? - self.character_count_change_from?;
        (used >= 0.0).then_some(used)
    }
}

/// A page of the history, newest first.
#[derive(Debug, Deserialize)]
pub(crate) struct HistoryPage {
    pub(crate) history: Vec<HistoryItem>,
    #[serde(default)]
    pub(crate) has_more: bool,
    #[serde(default)]
    pub(crate) last_history_item_id: Option<String>,
}

/// The account's plan.
#[derive(Debug, Deserialize)]
pub(crate) struct Subscription {
    tier: String,
    character_count: i64,
    character_limit: i64,
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    next_character_count_reset_unix: Option<i64>,
    /// A number, or `"unlimited"`.
    #[serde(default)]
    max_credit_limit_extension: Value,
}

impl Subscription {
    pub(crate) fn info(&self) -> account::Info {
        let status = self.status.as_deref().unwrap_or("status unknown");
        account::Info {
            label: format!("ElevenLabs {} ({status})", self.tier),
            remaining: Some(
                json!({
                    "credits": (self.character_limit - self.character_count).max(0),
                    "credit_limit": self.character_limit,
                    "resets_at_unix": self.next_character_count_reset_unix,
                    "may_exceed_by": self.max_credit_limit_extension,
                })
                .to_string(),
            ),
        }
    }
}

/// Header `character-cost`: what the answer cost, in credits.
pub(crate) fn character_cost(headers: &[(String, String)]) -> Option<f64> {
    let cost: f64 = find_header(headers, "character-cost")?
        .trim()
        .parse()
        .ok()?;
    (cost.is_finite() && cost >= 0.0).then_some(cost)
}

/// The vendor's facts about a sound, for support requests.
pub(crate) fn metadata(
    model: &str,
    voice: &str,
    output_format: &str,
    credits: Option<f64>,
    headers: &[(String, String)],
) -> String {
    json!({
        "model": model,
        "voice": voice,
        "output_format": output_format,
        "credits": credits,
        "request_id": find_header(headers, "request-id"),
        "history_item_id": find_header(headers, "history-item-id"),
    })
    .to_string()
}
