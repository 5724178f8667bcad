//! Reads TOML tables key by key and collects every problem instead of stopping at the first.

use std::cell::RefCell;
use std::collections::HashSet;

use serde_json::Value as Json;
use toml::{Table, Value};

use super::Problem;

/// All problems of one manifest.
#[derive(Default)]
pub(super) struct Problems(RefCell<Vec<Problem>>);

impl Problems {
    pub(super) fn add(&self, key: impl Into<String>, message: impl Into<String>) {
        self.0.borrow_mut().push(Problem::new(key, message));
    }

    pub(super) fn into_vec(self) -> Vec<Problem> {
        self.0.into_inner()
    }
}

/// One table; remembers which keys were asked for, so that the others are unknown.
pub(super) struct Reader<'a> {
    table: &'a Table,
    path: String,
    problems: &'a Problems,
    asked: RefCell<HashSet<&'static str>>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(table: &'a Table, path: impl Into<String>, problems: &'a Problems) -> Self {
        Self {
            table,
            path: path.into(),
            problems,
            asked: RefCell::default(),
        }
    }

    pub(super) fn key(&self, name: &str) -> String {
        if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.path)
        }
    }

    pub(super) fn wrong(&self, name: &str, message: impl Into<String>) {
        self.problems.add(self.key(name), message);
    }

    fn get(&self, name: &'static str) -> Option<&'a Value> {
        self.asked.borrow_mut().insert(name);
        self.table.get(name)
    }

    /// Reports the keys that nobody asked for. Call it last.
    pub(super) fn finish(self) {
        self.unknown();
    }

    /// As [`Reader::finish`], for the root that the caller keeps.
    pub(super) fn unknown(&self) {
        let asked = self.asked.borrow();
        for name in self.table.keys() {
            if !asked.contains(name.as_str()) {
                self.wrong(name, "unknown key");
            }
        }
    }

    pub(super) fn has(&self, name: &'static str) -> bool {
        self.get(name).is_some()
    }

    /// Text of 1 to `longest` characters.
    pub(super) fn optional_text(&self, name: &'static str, longest: usize) -> Option<String> {
        match self.get(name)? {
            Value::String(text) => {
                let length = text.chars().count();
                if length == 0 || length > longest {
                    self.wrong(
                        name,
                        format!("must have 1 to {longest} characters, has {length}"),
                    );
                    return None;
                }
                Some(text.clone())
            }
            other => {
                self.wrong(name, format!("must be text, is {}", kind_of(other)));
                None
            }
        }
    }

    pub(super) fn text(&self, name: &'static str, longest: usize) -> String {
        self.missing(name);
        self.optional_text(name, longest).unwrap_or_default()
    }

    pub(super) fn optional_number(&self, name: &'static str, least: u64, most: u64) -> Option<u64> {
        match self.get(name)? {
            Value::Integer(number) => match u64::try_from(*number) {
                Ok(value) if (least..=most).contains(&value) => Some(value),
                Ok(_) | Err(_) => {
                    self.wrong(name, format!("must be {least} to {most}, is {number}"));
                    None
                }
            },
            other => {
                self.wrong(
                    name,
                    format!("must be a whole number, is {}", kind_of(other)),
                );
                None
            }
        }
    }

    pub(super) fn optional_u32(&self, name: &'static str, least: u32, most: u32) -> Option<u32> {
        let number = self.optional_number(name, least.into(), most.into())?;
        u32::try_from(number).ok()
    }

    pub(super) fn u32(&self, name: &'static str, least: u32, most: u32) -> u32 {
        self.missing(name);
        self.optional_u32(name, least, most).unwrap_or(least)
    }

    pub(super) fn u32_or(&self, name: &'static str, default: u32, least: u32, most: u32) -> u32 {
        self.optional_u32(name, least, most).unwrap_or(default)
    }

    pub(super) fn flag(&self, name: &'static str) -> bool {
        match self.get(name) {
            None => false,
            Some(Value::Boolean(flag)) => *flag,
            Some(other) => {
                self.wrong(
                    name,
                    format!("must be true or false, is {}", kind_of(other)),
                );
                false
            }
        }
    }

    /// A list of 1 to `most` texts, each 1 to 200 characters and none twice.
    pub(super) fn texts(&self, name: &'static str, most: usize) -> Vec<String> {
        self.missing(name);
        let Some(value) = self.get(name) else {
            return Vec::new();
        };
        let Value::Array(items) = value else {
            self.wrong(
                name,
                format!("must be a list of texts, is {}", kind_of(value)),
            );
            return Vec::new();
        };
        if items.is_empty() || items.len() > most {
            self.wrong(
                name,
                format!("must have 1 to {most} entries, has {}", items.len()),
            );
        }
        let mut texts: Vec<String> = Vec::new();
        for (index, item) in items.iter().take(most).enumerate() {
            let key = format!("{name}[{index}]");
            match item {
                Value::String(text) if text.is_empty() || text.chars().count() > 200 => {
                    self.wrong(&key, "must have 1 to 200 characters");
                }
                Value::String(text) if texts.contains(text) => {
                    self.wrong(&key, format!("`{text}` stands there twice"));
                }
                Value::String(text) => texts.push(text.clone()),
                other => self.wrong(&key, format!("must be text, is {}", kind_of(other))),
            }
        }
        texts
    }

    /// One of some words.
    pub(super) fn choice<T: Copy>(
        &self,
        name: &'static str,
        words: &[(&'static str, T)],
    ) -> Option<T> {
        self.missing(name);
        let text = self.optional_text(name, 100)?;
        self.pick(name, &text, words)
    }

    /// A list of some words.
    pub(super) fn choices<T: Copy>(
        &self,
        name: &'static str,
        words: &[(&'static str, T)],
    ) -> Vec<T> {
        self.texts(name, words.len())
            .iter()
            .enumerate()
            .filter_map(|(index, text)| self.pick(&format!("{name}[{index}]"), text, words))
            .collect()
    }

    fn pick<T: Copy>(&self, name: &str, text: &str, words: &[(&'static str, T)]) -> Option<T> {
        let found = words
            .iter()
            .find(|(word, _)| *word == text)
            .map(|(_, value)| *value);
        if found.is_none() {
            let list: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.wrong(name, format!("`{text}` is none of: {}", list.join(", ")));
        }
        found
    }

    pub(super) fn table(&self, name: &'static str) -> Option<Reader<'a>> {
        match self.get(name)? {
            Value::Table(table) => Some(Reader::new(table, self.key(name), self.problems)),
            other => {
                self.wrong(name, format!("must be a table, is {}", kind_of(other)));
                None
            }
        }
    }

    /// A table whose keys are names of the author's choice.
    pub(super) fn named_tables(&self, name: &'static str) -> Vec<(String, Reader<'a>)> {
        let table = match self.get(name) {
            None => return Vec::new(),
            Some(Value::Table(table)) => table,
            Some(other) => {
                self.wrong(name, format!("must be a table, is {}", kind_of(other)));
                return Vec::new();
            }
        };
        let mut tables = Vec::new();
        for (entry, value) in table {
            let key = format!("{name}.{entry}");
            match value {
                Value::Table(table) => {
                    tables.push((
                        entry.clone(),
                        Reader::new(table, self.key(&key), self.problems),
                    ));
                }
                other => self.wrong(&key, format!("must be a table, is {}", kind_of(other))),
            }
        }
        tables
    }

    /// A list of at most `most` tables; nothing there is an empty list.
    pub(super) fn tables(&self, name: &'static str, most: usize) -> Vec<Reader<'a>> {
        let items = match self.get(name) {
            None => return Vec::new(),
            Some(Value::Array(items)) => items,
            Some(other) => {
                self.wrong(
                    name,
                    format!("must be a list of tables, is {}", kind_of(other)),
                );
                return Vec::new();
            }
        };
        if items.len() > most {
            self.wrong(
                name,
                format!("must have at most {most} entries, has {}", items.len()),
            );
        }
        let mut tables = Vec::new();
        for (index, item) in items.iter().take(most).enumerate() {
            let key = format!("{name}[{index}]");
            match item {
                Value::Table(table) => {
                    tables.push(Reader::new(table, self.key(&key), self.problems));
                }
                other => self.wrong(&key, format!("must be a table, is {}", kind_of(other))),
            }
        }
        tables
    }

    /// A JSON Schema of an object, as text.
    pub(super) fn schema(&self, name: &'static str) -> Option<Json> {
        let text = self.optional_text(name, 64 * 1024)?;
        let schema: Json = match serde_json::from_str(&text) {
            Ok(schema) => schema,
            Err(error) => {
                self.wrong(name, format!("is not JSON: {error}"));
                return None;
            }
        };
        if schema.get("type").and_then(Json::as_str) != Some("object") {
            self.wrong(name, "must be a schema of type `object`");
            return None;
        }
        if let Err(error) = crate::schema::compile(&schema) {
            self.wrong(name, format!("is not a usable JSON Schema: {error}"));
            return None;
        }
        Some(schema)
    }

    fn missing(&self, name: &'static str) {
        if !self.has(name) {
            self.wrong(name, "is missing");
        }
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "text",
        Value::Integer(_) => "a whole number",
        Value::Float(_) => "a fraction",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "a list",
        Value::Table(_) => "a table",
    }
}
