//! Requests to the vendor: `http::post(url).json(&body)?.send()?`.
//!
//! The host checks each against the manifest's rules and adds the credential.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::host;
use crate::{Asset, Error, ErrorKind, Result};

pub use crate::bindings::imports::genvid::provider::http::{
    Body, Content, Event, FormPart, FormValue, Kept, Method, Opened, Part, Request, Response, Saved,
};

/// Asks.
pub fn get(url: impl Into<String>) -> Call {
    Call::new(Method::Get, url)
}

/// Sends something new.
pub fn post(url: impl Into<String>) -> Call {
    Call::new(Method::Post, url)
}

/// Puts something in place.
pub fn put(url: impl Into<String>) -> Call {
    Call::new(Method::Put, url)
}

/// Changes something.
pub fn patch(url: impl Into<String>) -> Call {
    Call::new(Method::Patch, url)
}

/// Removes something.
pub fn delete(url: impl Into<String>) -> Call {
    Call::new(Method::Delete, url)
}

/// A request that is being written.
#[derive(Clone, Debug)]
#[must_use = "nothing is sent before send, save or events"]
pub struct Call {
    request: Request,
}

impl Call {
    /// A request without headers or body.
    pub fn new(method: Method, url: impl Into<String>) -> Self {
        Self {
            request: Request {
                method,
                url: url.into(),
                headers: Vec::new(),
                body: Body::Empty,
                timeout_ms: None,
            },
        }
    }

    /// Adds a header. Credential headers are the host's alone and are refused by it.
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.request.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Adds a query parameter; both sides are percent-encoded here.
    pub fn query(mut self, name: &str, value: &str) -> Self {
        let mark = if self.request.url.contains('?') {
            '&'
        } else {
            '?'
        };
        self.request.url.push(mark);
        encode_into(name, &mut self.request.url);
        self.request.url.push('=');
        encode_into(value, &mut self.request.url);
        self
    }

    /// Gives up after so long: 100 to 600,000 milliseconds.
    pub fn timeout_ms(mut self, timeout_ms: u32) -> Self {
        self.request.timeout_ms = Some(timeout_ms);
        self
    }

    /// A JSON body.
    pub fn json<T: Serialize + ?Sized>(mut self, value: &T) -> Result<Self> {
        self.request.body = Body::Text(to_json(value)?);
        Ok(self.with_json_type())
    }

    /// A JSON body in which the host replaces the strings of [`base64`] and [`data_url`].
    pub fn json_with_assets<T: Serialize + ?Sized>(mut self, value: &T) -> Result<Self> {
        self.request.body = Body::JsonWithAssets(to_json(value)?);
        Ok(self.with_json_type())
    }

    /// A body as it is; name its media type with [`Call::header`].
    pub fn body(mut self, body: Body) -> Self {
        self.request.body = body;
        self
    }

    /// A `multipart/form-data` body.
    pub fn form(mut self, form: Form) -> Self {
        self.request.body = Body::Form(form.parts);
        self
    }

    /// The request as the host gets it.
    #[must_use]
    pub fn into_request(self) -> Request {
        self.request
    }

    /// Sends and waits. Any HTTP status is an answer.
    pub fn send(self) -> Result<Response> {
        host::send(&self.request)
    }

    /// Sends, and keeps a part of the 2xx answer as an asset.
    pub fn save(self, part: &Part) -> Result<Saved> {
        host::save(&self.request, part)
    }

    /// Sends, and reads the answer as server-sent events.
    pub fn events(self) -> Result<Stream> {
        Ok(match host::open_events(&self.request)? {
            Opened::Events(handle) => Stream::Events(Events {
                handle,
                ended: false,
            }),
            Opened::Refused(response) => Stream::Refused(response),
        })
    }

    fn with_json_type(mut self) -> Self {
        let named = |(name, _): &(String, String)| name.eq_ignore_ascii_case("content-type");
        if !self.request.headers.iter().any(named) {
            self = self.header("content-type", "application/json");
        }
        self
    }
}

/// What [`Call::events`] brought.
#[derive(Debug)]
pub enum Stream {
    /// A 2xx answer, event by event.
    Events(Events),
    /// Another status.
    Refused(Response),
}

/// The events of an answer. Ends after the first error.
#[derive(Debug)]
pub struct Events {
    handle: u32,
    ended: bool,
}

impl Iterator for Events {
    type Item = Result<Event>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = host::next_event(self.handle).transpose();
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}

/// A `multipart/form-data` body that is being written.
#[derive(Clone, Debug, Default)]
pub struct Form {
    parts: Vec<FormPart>,
}

impl Form {
    /// An empty form.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a field.
    #[must_use]
    pub fn text(mut self, name: &str, value: impl Into<String>) -> Self {
        self.parts.push(FormPart {
            name: name.to_owned(),
            value: FormValue::Text(value.into()),
            filename: None,
            mime: None,
        });
        self
    }

    /// Adds a file that the host streams. Without `mime` the host names its own.
    #[must_use]
    pub fn asset(mut self, name: &str, asset: &str, filename: &str, mime: Option<&str>) -> Self {
        self.parts.push(FormPart {
            name: name.to_owned(),
            value: FormValue::Asset(asset.to_owned()),
            filename: Some(filename.to_owned()),
            mime: mime.map(str::to_owned),
        });
        self
    }
}

impl Response {
    /// 200 to 299.
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The first header of this name, in any case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        find_header(&self.headers, name)
    }

    /// The body as text; empty when it is not UTF-8.
    #[must_use]
    pub fn text(&self) -> &str {
        match &self.body {
            Content::Text(text) => text,
            Content::Bytes(bytes) => std::str::from_utf8(bytes).unwrap_or_default(),
        }
    }

    /// The body as JSON; anything else is `unexpected`.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_str(self.text()).map_err(|error| {
            Error::unexpected(format!(
                "the vendor's answer (HTTP {}) cannot be read: {error}",
                self.status
            ))
        })
    }

    /// The body of a 2xx answer to a submission as JSON. One that cannot be read is
    /// `outcome-unknown`, because the vendor has most likely accepted.
    pub fn accepted_json<T: DeserializeOwned>(&self) -> Result<T> {
        self.json()
            .map_err(|error| error.with_kind(ErrorKind::OutcomeUnknown))
    }
}

/// The first header of this name, in any case.
#[must_use]
pub fn find_header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.as_str())
}

/// For [`Call::json_with_assets`]: the host writes the bytes as base64 here.
#[must_use]
pub fn base64(asset: &Asset) -> String {
    format!("asset:base64:{asset}")
}

/// For [`Call::json_with_assets`]: the host writes a `data:` URL here.
#[must_use]
pub fn data_url(asset: &Asset) -> String {
    format!("asset:data-url:{asset}")
}

/// One segment of a path, percent-encoded. Ids come from vendors and users: an empty one or
/// one of dots would name another resource, so these are `not-found`.
pub fn segment(id: &str) -> Result<String> {
    if matches!(id, "" | "." | "..") {
        return Err(Error::not_found(format!("`{id}` cannot be an id")));
    }
    let mut encoded = String::with_capacity(id.len());
    encode_into(id, &mut encoded);
    Ok(encoded)
}

/// Percent-encodes everything but the unreserved characters (RFC 3986, 2.3).
fn encode_into(text: &str, out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

fn to_json<T: Serialize + ?Sized>(value: &T) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|error| Error::unexpected(format!("the request cannot be written: {error}")))
}
