//! Form bodies and queries with names in brackets: `line_items[0][price]=price_1`.

use serde_json::{Map, Value, json};

use super::refusals::{invalid, missing};
use crate::refusal::Refusal;

/// Brackets within brackets that are followed.
const DEPTH: usize = 8;
/// Fields of one request.
const FIELDS: usize = 1_000;

/// The fields as a tree: names are objects, numbers and empty brackets are lists, leaves are text.
pub(super) fn parse(encoded: &[u8]) -> Result<Value, Refusal> {
    let mut tree = Map::new();
    for (count, (name, value)) in url::form_urlencoded::parse(encoded).enumerate() {
        let path = path(&name);
        if count >= FIELDS || path.len() > DEPTH {
            return Err(invalid(&name, "Too many parameters."));
        }
        set(&mut tree, &path, &value).map_err(|()| invalid(&name, "Invalid parameter name."))?;
    }
    Ok(listed(Value::Object(tree)))
}

fn path(name: &str) -> Vec<&str> {
    let (first, rest) = name.split_once('[').unwrap_or((name, ""));
    let mut path = vec![first];
    if !rest.is_empty() {
        let inner = rest.strip_suffix(']').unwrap_or(rest);
        path.extend(inner.split("]["));
    }
    path
}

fn set(tree: &mut Map<String, Value>, path: &[&str], value: &str) -> Result<(), ()> {
    let (first, rest) = path.split_first().ok_or(())?;
    let key = if first.is_empty() {
        tree.len().to_string()
    } else {
        (*first).to_owned()
    };
    if rest.is_empty() {
        tree.insert(key, json!(value));
        return Ok(());
    }
    let child = tree.entry(key).or_insert_with(|| json!({}));
    set(child.as_object_mut().ok_or(())?, rest, value)
}

/// Turns objects whose names are all numbers into lists, in the order of the numbers.
fn listed(value: Value) -> Value {
    let Value::Object(fields) = value else {
        return value;
    };
    let numbers: Option<Vec<usize>> = fields.keys().map(|key| key.parse().ok()).collect();
    match numbers {
        Some(numbers) if !numbers.is_empty() => {
            let mut items: Vec<(usize, Value)> = numbers
                .into_iter()
                .zip(fields.into_iter().map(|(_, value)| listed(value)))
                .collect();
            items.sort_by_key(|(number, _)| *number);
            items.into_iter().map(|(_, value)| value).collect()
        }
        _ => fields
            .into_iter()
            .map(|(key, value)| (key, listed(value)))
            .collect(),
    }
}

/// A part of the fields, with its name for messages.
#[derive(Clone)]
pub(super) struct Params<'tree> {
    tree: &'tree Value,
    name: String,
}

impl<'tree> Params<'tree> {
    pub(super) fn new(tree: &'tree Value) -> Self {
        Self {
            tree,
            name: String::new(),
        }
    }

    /// The whole name of a field in this part.
    pub(super) fn name(&self, field: &str) -> String {
        if self.name.is_empty() {
            field.to_owned()
        } else {
            format!("{}[{field}]", self.name)
        }
    }

    pub(super) fn has(&self, field: &str) -> bool {
        self.tree.get(field).is_some()
    }

    /// Refuses fields that are not on the list.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), Refusal> {
        let fields = self.tree.as_object().into_iter().flatten();
        for (field, _) in fields {
            if !known.contains(&field.as_str()) {
                let name = self.name(field);
                return Err(Refusal::new(
                    400,
                    "parameter_unknown",
                    format!("Received unknown parameter, or one that is not simulated: {name}"),
                )
                .param(name));
            }
        }
        Ok(())
    }

    pub(super) fn text(&self, field: &str) -> Result<Option<&'tree str>, Refusal> {
        match self.tree.get(field) {
            None => Ok(None),
            Some(Value::String(text)) if text.is_empty() => Err(Refusal::new(
                400,
                "parameter_invalid_empty",
                format!("You passed an empty string for '{}'.", self.name(field)),
            )
            .param(self.name(field))),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(invalid(&self.name(field), "Invalid string.")),
        }
    }

    pub(super) fn required(&self, field: &str) -> Result<&'tree str, Refusal> {
        self.text(field)?.ok_or_else(|| missing(&self.name(field)))
    }

    pub(super) fn integer(&self, field: &str) -> Result<Option<i64>, Refusal> {
        let Some(text) = self.text(field)? else {
            return Ok(None);
        };
        let number = text.parse().map_err(|_| {
            let message = format!("Invalid integer: {text}");
            Refusal::new(400, "parameter_invalid_integer", message).param(self.name(field))
        })?;
        Ok(Some(number))
    }

    /// A whole number within bounds.
    pub(super) fn within(
        &self,
        field: &str,
        bounds: std::ops::RangeInclusive<i64>,
    ) -> Result<Option<i64>, Refusal> {
        let number = self.integer(field)?;
        match number {
            Some(number) if !bounds.contains(&number) => Err(Refusal::new(
                400,
                "parameter_invalid_integer",
                format!("{} is not within {bounds:?}", self.name(field)),
            )
            .param(self.name(field))),
            other => Ok(other),
        }
    }

    pub(super) fn flag(&self, field: &str) -> Result<Option<bool>, Refusal> {
        match self.text(field)? {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(other) => Err(invalid(
                &self.name(field),
                &format!("Invalid boolean: {other}"),
            )),
        }
    }

    /// One of the words.
    pub(super) fn word(
        &self,
        field: &str,
        words: &[&'static str],
    ) -> Result<Option<&'static str>, Refusal> {
        let Some(text) = self.text(field)? else {
            return Ok(None);
        };
        let word = words.iter().find(|word| **word == text).ok_or_else(|| {
            let words = words.join(", ");
            let message = format!("Invalid {field}: must be one of {words}");
            invalid(&self.name(field), &message)
        })?;
        Ok(Some(word))
    }

    pub(super) fn child(&self, field: &str) -> Result<Option<Params<'tree>>, Refusal> {
        match self.tree.get(field) {
            None => Ok(None),
            Some(tree @ Value::Object(_)) => Ok(Some(Params {
                tree,
                name: self.name(field),
            })),
            Some(_) => Err(invalid(&self.name(field), "Invalid object")),
        }
    }

    /// The items of a list of objects.
    pub(super) fn items(&self, field: &str) -> Result<Vec<Params<'tree>>, Refusal> {
        let list = self.list(field)?;
        let item = |(index, tree): (usize, &'tree Value)| {
            let name = format!("{}[{index}]", self.name(field));
            if tree.is_object() {
                Ok(Params { tree, name })
            } else {
                Err(invalid(&name, "Invalid object"))
            }
        };
        list.iter().enumerate().map(item).collect()
    }

    /// The items of a list of texts.
    pub(super) fn texts(&self, field: &str) -> Result<Vec<String>, Refusal> {
        let list = self.list(field)?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let texts: Option<Vec<String>> = list.iter().map(text).collect();
        texts.ok_or_else(|| invalid(&self.name(field), "Invalid array"))
    }

    fn list(&self, field: &str) -> Result<&'tree [Value], Refusal> {
        match self.tree.get(field) {
            None => Ok(&[]),
            Some(Value::Array(list)) => Ok(list),
            Some(_) => Err(invalid(&self.name(field), "Invalid array")),
        }
    }

    /// Metadata written over what there was; an empty value takes its key away.
    pub(super) fn metadata(&self, before: &Value) -> Result<Value, Refusal> {
        let mut metadata = before.as_object().cloned().unwrap_or_default();
        if self.tree.get("metadata") == Some(&json!("")) {
            return Ok(json!({}));
        }
        let Some(given) = self.child("metadata")? else {
            return Ok(Value::Object(metadata));
        };
        for (key, value) in given.tree.as_object().into_iter().flatten() {
            let name = given.name(key);
            let value = value
                .as_str()
                .ok_or_else(|| invalid(&name, "Metadata values must be strings."))?;
            if key.chars().count() > 40 || value.chars().count() > 500 {
                let message = "Metadata keys have up to 40 characters, values up to 500.";
                return Err(invalid(&name, message));
            }
            if value.is_empty() {
                metadata.remove(key);
            } else {
                metadata.insert(key.clone(), json!(value));
            }
        }
        if metadata.len() > 50 {
            let message = "Metadata have up to 50 keys.";
            return Err(invalid(&self.name("metadata"), message));
        }
        Ok(Value::Object(metadata))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_become_objects_and_lists() {
        let tree =
            parse(b"a=1&b[c][d]=x%5B&l[1][p]=two&l[0][p]=one&expand[]=m&expand[]=n").expect("tree");
        assert_eq!(
            tree,
            json!({
                "a": "1", "b": {"c": {"d": "x["}},
                "l": [{"p": "one"}, {"p": "two"}], "expand": ["m", "n"],
            })
        );
        assert!(parse(b"a=1&a[b]=2").is_err(), "text and object at once");
        let deep = format!("a{}=1", "[b]".repeat(20));
        assert!(parse(deep.as_bytes()).is_err());
    }

    #[test]
    fn wrong_fields_are_named_in_full() {
        let tree = parse(b"items[0][quantity]=many").expect("tree");
        let items = Params::new(&tree).items("items").expect("a list");
        let refusal = items[0].integer("quantity").expect_err("no number");
        assert_eq!(refusal.param.as_deref(), Some("items[0][quantity]"));
        assert_eq!(refusal.code, "parameter_invalid_integer");
    }
}
