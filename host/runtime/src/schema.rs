//! JSON Schema with the limits that untrusted schemas need.

use std::sync::Arc;

use jsonschema::{PatternOptions, Validator};
use serde_json::Value;

use crate::manifest::Problem;

/// Compiles a schema. References stay inside it (nothing is fetched), and patterns run on an
/// engine without backtracking, because a plugin's author wrote them.
pub(crate) fn compile(schema: &Value) -> Result<Arc<Validator>, String> {
    jsonschema::options()
        .with_draft(jsonschema::Draft::Draft202012)
        .with_pattern_options(PatternOptions::regex())
        .build(schema)
        .map(Arc::new)
        .map_err(|error| match error.instance_path().to_string() {
            path if path.is_empty() => error.to_string(),
            path => format!("{error}, at {path}"),
        })
}

/// Everything in `value` that breaks the schema, at most 50 problems, with keys below `key`.
pub(crate) fn problems(validator: &Validator, value: &Value, key: &str) -> Vec<Problem> {
    validator
        .iter_errors(value)
        .take(50)
        .map(|error| {
            let path = error.instance_path().to_string().replace('/', ".");
            // The masked form leaves the value itself out: an operator may have pasted a
            // secret into the wrong field.
            Problem::new(format!("{key}{path}"), error.masked().to_string())
        })
        .collect()
}
