//! Takes echoes of secrets out of what comes back, before a guest sees it.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};

const REPLACEMENT: &str = "[redacted]";

/// Shorter values stand in any text by chance; replacing them would only do damage.
const SHORTEST: usize = 4;

/// The forms in which a secret may come back, the longest first.
#[derive(Clone, Default)]
pub(crate) struct Scrubber {
    forms: Vec<String>,
}

impl Scrubber {
    /// Adds a secret in its own form and in the forms that servers wrap what they echo into:
    /// base64 in four dialects, URL escapes, and JSON escapes in two.
    pub(crate) fn add(&mut self, secret: &str) {
        self.add_form(secret.to_owned());
        for engine in [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE, &URL_SAFE_NO_PAD] {
            self.add_form(engine.encode(secret));
        }
        self.add_form(url::form_urlencoded::byte_serialize(secret.as_bytes()).collect());
        self.add_form(percent_encode(secret, false));
        self.add_form(percent_encode(secret, true));
        let json = serde_json::Value::from(secret).to_string();
        let json = json.trim_matches('"').to_owned();
        self.add_form(json.replace('/', "\\/"));
        self.add_form(json);
        self.forms
            .sort_by(|left, right| right.len().cmp(&left.len()).then_with(|| left.cmp(right)));
        self.forms.dedup();
    }

    fn add_form(&mut self, form: String) {
        if form.len() >= SHORTEST {
            self.forms.push(form);
        }
    }

    /// A scrubber for one request more, some of whose secrets were made just now.
    pub(crate) fn with(self: &Arc<Self>, made: &[String]) -> Arc<Self> {
        if made.is_empty() {
            return Arc::clone(self);
        }
        let mut scrubber = Self::clone(self);
        for secret in made {
            scrubber.add(secret);
        }
        Arc::new(scrubber)
    }

    /// Length of the longest form: how much of a cut text's end may hide a part of one.
    pub(crate) fn longest(&self) -> usize {
        self.forms.first().map_or(0, String::len)
    }

    pub(crate) fn text(&self, text: String) -> String {
        let mut text = text;
        for form in &self.forms {
            if text.contains(form.as_str()) {
                text = text.replace(form.as_str(), REPLACEMENT);
            }
        }
        text
    }

    pub(crate) fn bytes(&self, bytes: Vec<u8>) -> Vec<u8> {
        let mut bytes = bytes;
        for form in &self.forms {
            let form = form.as_bytes();
            if let Some(first) = find(&bytes, form) {
                bytes = replace(&bytes, first, form);
            }
        }
        bytes
    }

    pub(crate) fn headers(&self, headers: Vec<(String, String)>) -> Vec<(String, String)> {
        headers
            .into_iter()
            .map(|(name, value)| (self.text(name), self.text(value)))
            .collect()
    }
}

impl std::fmt::Debug for Scrubber {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Scrubber({} forms)", self.forms.len())
    }
}

fn percent_encode(text: &str, lower: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        // The unreserved characters of RFC 3986, section 2.3.
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else if lower {
            out.push_str(&format!("%{byte:02x}"));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}

fn replace(bytes: &[u8], first: usize, form: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    let mut at = Some(first);
    while let Some(position) = at {
        out.extend_from_slice(&rest[..position]);
        out.extend_from_slice(REPLACEMENT.as_bytes());
        rest = &rest[position + form.len()..];
        at = find(rest, form);
    }
    out.extend_from_slice(rest);
    out
}
