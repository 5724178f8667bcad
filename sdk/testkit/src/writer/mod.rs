//! Writes short scripts for product films: what a language model would answer, from rules.

mod brief;
mod prose;
mod schema;

use serde_json::Value;

pub(crate) use brief::Brief;
pub(crate) use schema::strict_problem;

/// The text of an answer: JSON that satisfies the schema, or plain prose.
pub(crate) fn answer(brief: &Brief, schema: Option<&Value>) -> String {
    match schema {
        Some(schema) => schema::fill(schema, brief).to_string(),
        None => prose::narration(brief, brief.seconds),
    }
}

/// About as many tokens as a text has.
pub(crate) fn tokens(text: &str) -> u64 {
    let (wide, narrow) = text
        .chars()
        .fold((0_u64, 0_u64), |(wide, narrow), character| {
            if crate::media::is_wide(character) {
                (wide + 1, narrow)
            } else {
                (wide, narrow + 1)
            }
        });
    wide + narrow.div_ceil(4)
}
