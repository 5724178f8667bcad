//! What an answer cost. The vendor tells tokens, not money.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

/// Tokens of one answer. Cached ones are part of the prompt's, thinking is part of the
/// completion's.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Usage {
    pub(crate) prompt_tokens: u64,
    pub(crate) completion_tokens: u64,
    #[serde(default)]
    pub(crate) prompt_tokens_details: Option<PromptDetails>,
    #[serde(default)]
    pub(crate) completion_tokens_details: Option<CompletionDetails>,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct PromptDetails {
    #[serde(default)]
    cached_tokens: Option<u64>,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct CompletionDetails {
    #[serde(default)]
    reasoning_tokens: Option<u64>,
}

/// US dollars per million tokens, which is the same as micro-dollars per token.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct TokenPrice {
    input: f64,
    /// Like `input` when it is left out.
    cached_input: Option<f64>,
    output: f64,
}

/// Standard processing, by developers.openai.com/api/docs/pricing as quoted on 2026-06-21.
const PRICES: [(&str, TokenPrice); 3] = [
    ("gpt-5.4", price(2.5, 0.25, 15.0)),
    ("gpt-5.4-mini", price(0.75, 0.075, 4.5)),
    ("gpt-5.4-nano", price(0.2, 0.02, 1.25)),
];

/// Longer prompts have other prices.
const LONGEST_PROMPT: u64 = 270_000;

const fn price(input: f64, cached_input: f64, output: f64) -> TokenPrice {
    TokenPrice {
        input,
        cached_input: Some(cached_input),
        output,
    }
}

impl Usage {
    /// In millionths of a US dollar, rounded up; nothing when the price is not known.
    pub(crate) fn cost_micro_usd(
        &self,
        model: &str,
        given: &HashMap<String, TokenPrice>,
    ) -> Option<u64> {
        if self.prompt_tokens > LONGEST_PROMPT {
            return None;
        }
        let price = [model, without_date(model)].into_iter().find_map(|name| {
            let built_in = || PRICES.iter().find(|(known, _)| *known == name);
            given
                .get(name)
                .copied()
                .or_else(|| built_in().map(|(_, price)| *price))
        })?;
        let cached = self
            .prompt_tokens_details
            .as_ref()
            .and_then(|details| details.cached_tokens)
            .unwrap_or(0)
            .min(self.prompt_tokens);
        let fresh = self.prompt_tokens - cached;
        let cost = fresh as f64 * price.input
            + cached as f64 * price.cached_input.unwrap_or(price.input)
            + self.completion_tokens as f64 * price.output;
        // Sums of decimal fractions miss by a hair, which must not cost a whole micro-dollar.
        let cost = (cost - 1e-6).ceil().max(0.0);
        (cost < 1e15).then_some(cost as u64)
    }
}

/// `gpt-5.4-mini-2026-03-05` is a snapshot of `gpt-5.4-mini`, at the same price.
fn without_date(model: &str) -> &str {
    let Some(at) = model.len().checked_sub("-2026-03-05".len()) else {
        return model;
    };
    let Some((name, date)) = model.split_at_checked(at) else {
        return model;
    };
    let is_date = date.bytes().enumerate().all(|(index, byte)| match index {
        0 | 5 | 8 => byte == b'-',
        _ => byte.is_ascii_digit(),
    });
    if is_date { name } else { model }
}
