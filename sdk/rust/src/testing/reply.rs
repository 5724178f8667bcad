//! What the scripted vendor answers.

use serde_json::Value;

use crate::Error;
use crate::http::{Content, Event, Response};

/// One scripted answer. Text and JSON convert into a 200 answer, an [`Error`] into a
/// failure of the transport.
#[derive(Clone, Debug)]
pub struct Reply {
    pub(super) kind: Kind,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    Response(Response),
    Events(Vec<Event>, Option<Error>),
    Error(Error),
}

impl Reply {
    /// A JSON answer.
    #[must_use]
    pub fn json(status: u16, body: impl Into<String>) -> Self {
        Self::response(status, "application/json", Content::Text(body.into()))
    }

    /// An answer without a body.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self::response(status, "text/plain", Content::Text(String::new()))
    }

    /// A 200 answer of bytes.
    #[must_use]
    pub fn bytes(mime: &str, bytes: impl Into<Vec<u8>>) -> Self {
        Self::response(200, mime, Content::Bytes(bytes.into()))
    }

    /// A 200 answer of server-sent events, each given as its data.
    #[must_use]
    pub fn events<S: Into<String>>(data: impl IntoIterator<Item = S>) -> Self {
        let events = data
            .into_iter()
            .map(|data| Event {
                name: None,
                data: data.into(),
                id: None,
            })
            .collect();
        Self {
            kind: Kind::Events(events, None),
        }
    }

    /// The failure in which a stream of events ends.
    ///
    /// # Panics
    /// When this is not a stream of events.
    #[must_use]
    pub fn broken_by(self, error: Error) -> Self {
        match self.kind {
            Kind::Events(events, _) => Self {
                kind: Kind::Events(events, Some(error)),
            },
            other => panic!("only a stream of events can break off: {other:?}"),
        }
    }

    /// Names the last event, as the `event:` line does.
    ///
    /// # Panics
    /// When this is not a stream with an event in it.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        match &mut self.kind {
            Kind::Events(events, _) if !events.is_empty() => {
                if let Some(event) = events.last_mut() {
                    event.name = Some(name.to_owned());
                }
            }
            other => panic!("only an event has a name: {other:?}"),
        }
        self
    }

    /// Adds a header.
    ///
    /// # Panics
    /// When this is not a plain answer.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        match &mut self.kind {
            Kind::Response(response) => response
                .headers
                .push((name.to_ascii_lowercase(), value.to_owned())),
            other => panic!("only a plain answer has headers: {other:?}"),
        }
        self
    }

    fn response(status: u16, mime: &str, body: Content) -> Self {
        Self {
            kind: Kind::Response(Response {
                status,
                headers: vec![("content-type".to_owned(), mime.to_owned())],
                body,
            }),
        }
    }
}

impl From<&str> for Reply {
    fn from(body: &str) -> Self {
        Self::json(200, body)
    }
}

impl From<Value> for Reply {
    fn from(body: Value) -> Self {
        Self::json(200, body.to_string())
    }
}

impl From<Error> for Reply {
    fn from(error: Error) -> Self {
        Self {
            kind: Kind::Error(error),
        }
    }
}
