//! From a JSON Schema to the part of it that the vendor enforces ("strict" mode).
//!
//! Strict mode wants every object closed and every property required; what may be missing
//! becomes "or null" instead. The nulls are taken out of the answer again, so that it fits
//! the schema as it was given. Constraints that strict mode does not know (such as
//! `maxLength`) are left to the host, which checks every answer against the given schema.
//!
//! Source: the vendor's guide on structured outputs, "Supported schemas".

use genvid_sdk::prelude::*;
use serde_json::Map;

/// Deeper schemas are passed on as they are. The vendor allows 10 levels of objects, each of
/// which can be a few keywords deep.
const DEPTH: usize = 64;

/// Keywords that mean the same in strict mode.
const KEPT: [&str; 12] = [
    "type",
    "description",
    "title",
    "enum",
    "const",
    "pattern",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "$ref",
];

/// Keywords that may be left out: remarks, or limits that the host checks itself.
const DROPPED: [&str; 15] = [
    "$schema",
    "$id",
    "$comment",
    "default",
    "examples",
    "deprecated",
    "readOnly",
    "writeOnly",
    "minLength",
    "maxLength",
    "uniqueItems",
    "minProperties",
    "maxProperties",
    "required",
    "additionalProperties",
];

/// Values of `format` that the vendor knows.
const FORMATS: [&str; 9] = [
    "date-time",
    "time",
    "date",
    "duration",
    "email",
    "hostname",
    "ipv4",
    "ipv6",
    "uuid",
];

/// What is sent.
pub(crate) struct Prepared {
    pub(crate) schema: Value,
    /// Otherwise the vendor takes the schema, unchanged, as a hint.
    pub(crate) strict: bool,
    /// The answer has nulls where it should have nothing.
    pub(crate) drop_nulls: bool,
}

/// The schema for strict mode, or as it is if strict mode cannot express it.
pub(crate) fn prepare(given: &Value) -> Prepared {
    let mut strict = Strict {
        // Where null has a meaning of its own, it cannot stand for "left out" as well.
        may_add_nulls: !mentions_null(given, 0),
        added_nulls: false,
    };
    let is_object = given.get("type").and_then(Value::as_str) == Some("object")
        && given.get("properties").is_some();
    match strict.convert(given, 0) {
        Some(schema) if is_object && schema.get("anyOf").is_none() => Prepared {
            schema,
            strict: true,
            drop_nulls: strict.added_nulls,
        },
        _ => Prepared {
            schema: given.clone(),
            strict: false,
            drop_nulls: false,
        },
    }
}

/// Takes every property away whose value is null.
pub(crate) fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

struct Strict {
    may_add_nulls: bool,
    added_nulls: bool,
}

impl Strict {
    /// Nothing when strict mode cannot express it.
    fn convert(&mut self, schema: &Value, depth: usize) -> Option<Value> {
        if depth > DEPTH {
            return None;
        }
        let given = schema.as_object()?;
        let mut converted = Map::new();
        for (keyword, value) in given {
            match keyword.as_str() {
                "properties" => self.properties(given, value, &mut converted, depth)?,
                "items" => {
                    converted.insert(keyword.clone(), self.convert(value, depth + 1)?);
                }
                "minItems" | "maxItems" => {
                    converted.insert(keyword.clone(), value.clone());
                }
                "anyOf" | "oneOf" => {
                    let choices = value.as_array()?;
                    let choices: Option<Vec<Value>> = choices
                        .iter()
                        .map(|choice| self.convert(choice, depth + 1))
                        .collect();
                    converted.insert("anyOf".to_owned(), Value::Array(choices?));
                }
                "$defs" | "definitions" => {
                    let mut definitions = Map::new();
                    for (name, definition) in value.as_object()? {
                        definitions.insert(name.clone(), self.convert(definition, depth + 1)?);
                    }
                    converted.insert(keyword.clone(), Value::Object(definitions));
                }
                "format" => {
                    if value.as_str().is_some_and(|name| FORMATS.contains(&name)) {
                        converted.insert(keyword.clone(), value.clone());
                    }
                }
                kept if KEPT.contains(&kept) => {
                    converted.insert(keyword.clone(), value.clone());
                }
                dropped if DROPPED.contains(&dropped) || dropped.starts_with("x-") => {}
                _ => return None,
            }
        }
        add_type(&mut converted)?;
        let of_type = |name: &str| converted.get("type").and_then(Value::as_str) == Some(name);
        // An object of any properties and a list of anything are beyond strict mode.
        let open = (of_type("object") && !converted.contains_key("properties"))
            || (of_type("array") && !converted.contains_key("items"));
        (!open).then_some(Value::Object(converted))
    }

    fn properties(
        &mut self,
        given: &Map<String, Value>,
        properties: &Value,
        converted: &mut Map<String, Value>,
        depth: usize,
    ) -> Option<()> {
        if given
            .get("additionalProperties")
            .is_some_and(Value::is_object)
        {
            return None;
        }
        let required: Vec<&str> = match given.get("required") {
            Some(names) => names.as_array()?.iter().filter_map(Value::as_str).collect(),
            None => Vec::new(),
        };
        let mut closed = Map::new();
        for (name, property) in properties.as_object()? {
            let mut property = self.convert(property, depth + 1)?;
            if !required.contains(&name.as_str()) {
                if !self.may_add_nulls {
                    return None;
                }
                self.added_nulls = true;
                property = or_null(property);
            }
            closed.insert(name.clone(), property);
        }
        // A name that is required but not described could not be answered.
        if required.iter().any(|name| !closed.contains_key(*name)) {
            return None;
        }
        let names: Vec<&String> = closed.keys().collect();
        converted.insert("required".to_owned(), json!(names));
        converted.insert("additionalProperties".to_owned(), json!(false));
        converted.insert("properties".to_owned(), Value::Object(closed));
        Some(())
    }
}

/// Strict mode wants a type in every schema that is not a reference or a choice.
fn add_type(schema: &mut Map<String, Value>) -> Option<()> {
    if ["type", "$ref", "anyOf"]
        .iter()
        .any(|key| schema.contains_key(*key))
    {
        return Some(());
    }
    let of_strings = |values: &Value| match values {
        Value::Array(values) => values.iter().all(Value::is_string),
        value => value.is_string(),
    };
    let name = if schema.contains_key("properties") {
        "object"
    } else if schema.contains_key("items") {
        "array"
    } else if schema
        .get("enum")
        .or(schema.get("const"))
        .is_some_and(of_strings)
    {
        "string"
    } else {
        return None;
    };
    schema.insert("type".to_owned(), json!(name));
    Some(())
}

fn or_null(schema: Value) -> Value {
    let plain = ["enum", "const", "properties", "items", "anyOf", "$ref"]
        .iter()
        .all(|keyword| schema.get(keyword).is_none());
    match schema.get("type") {
        Some(Value::String(name)) if plain => {
            let types = json!([name, "null"]);
            let mut schema = schema;
            schema["type"] = types;
            schema
        }
        _ => json!({ "anyOf": [schema, { "type": "null" }] }),
    }
}

/// Whether null is a value somewhere in the schema.
fn mentions_null(schema: &Value, depth: usize) -> bool {
    if depth > DEPTH {
        return true;
    }
    match schema {
        Value::Object(keywords) => keywords.iter().any(|(keyword, value)| {
            let named = keyword == "type"
                && (value == "null"
                    || value
                        .as_array()
                        .is_some_and(|types| types.contains(&json!("null"))));
            let listed = keyword == "enum"
                && value
                    .as_array()
                    .is_some_and(|values| values.contains(&Value::Null));
            let is = keyword == "const" && value.is_null();
            named || listed || is || mentions_null(value, depth + 1)
        }),
        Value::Array(items) => items.iter().any(|item| mentions_null(item, depth + 1)),
        _ => false,
    }
}
