//! What the plugin sent.

use serde_json::Value;

use crate::http::{self, Body, FormPart, FormValue, Method, Part, Request};

/// One request of the plugin.
#[derive(Clone, Debug, PartialEq)]
pub struct Sent {
    /// In capitals, such as `POST`.
    pub method: &'static str,
    /// As sent, with the query.
    pub url: String,
    /// As sent.
    pub headers: Vec<(String, String)>,
    /// As sent.
    pub body: Body,
    /// As sent.
    pub timeout_ms: Option<u32>,
    /// What was to be kept of the answer, when the call was a `save`.
    pub part: Option<Part>,
}

impl Sent {
    pub(super) fn new(request: &Request, part: Option<&Part>) -> Self {
        Self {
            method: match request.method {
                Method::Get => "GET",
                Method::Head => "HEAD",
                Method::Post => "POST",
                Method::Put => "PUT",
                Method::Patch => "PATCH",
                Method::Delete => "DELETE",
            },
            url: request.url.clone(),
            headers: request.headers.clone(),
            body: request.body.clone(),
            timeout_ms: request.timeout_ms,
            part: part.cloned(),
        }
    }

    /// Path without host and query.
    #[must_use]
    pub fn path(&self) -> &str {
        let target = self.target();
        target.split_once('?').map_or(target, |(path, _)| path)
    }

    /// A query parameter, decoded.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<String> {
        let (_, query) = self.target().split_once('?')?;
        query.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(key) == name).then(|| decode(value))
        })
    }

    /// The first header of this name, in any case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        http::find_header(&self.headers, name)
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is something else.
    #[must_use]
    pub fn json(&self) -> Value {
        match &self.body {
            Body::Text(text) | Body::JsonWithAssets(text) => {
                serde_json::from_str(text).expect("the body is JSON")
            }
            other => panic!("the body is not JSON: {other:?}"),
        }
    }

    /// The parts of a form.
    ///
    /// # Panics
    /// When the body is no form.
    #[must_use]
    pub fn form(&self) -> &[FormPart] {
        match &self.body {
            Body::Form(parts) => parts,
            other => panic!("the body is not a form: {other:?}"),
        }
    }

    /// The text of one field of a form, or the name of its asset.
    ///
    /// # Panics
    /// When the body is no form.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        let part = self.form().iter().find(|part| part.name == name)?;
        Some(match &part.value {
            FormValue::Text(text) => text,
            FormValue::Asset(asset) => asset,
        })
    }

    pub(super) fn fits(&self, method: &str, path: &str) -> bool {
        let actual = if path.contains("://") {
            self.url.as_str()
        } else if path.contains('?') {
            self.target()
        } else {
            self.path()
        };
        self.method == method && actual == path
    }

    /// Path and query.
    fn target(&self) -> &str {
        let after_scheme = self
            .url
            .split_once("://")
            .map_or(self.url.as_str(), |x| x.1);
        after_scheme
            .find('/')
            .map_or("/", |start| &after_scheme[start..])
    }
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = tail
            .get(..2)
            .and_then(|pair| std::str::from_utf8(pair).ok())
            .and_then(|pair| u8::from_str_radix(pair, 16).ok());
        match (first, hex) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            (b'+', _) => {
                bytes.push(b' ');
                rest = tail;
            }
            (byte, _) => {
                bytes.push(*byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
