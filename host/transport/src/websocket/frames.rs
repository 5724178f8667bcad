//! Messages of the protocol, in and out.

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes};
use serde::Serialize;
use serde_json::Value;

/// RFC 6455, section 5.5: a control frame holds 125 bytes, two of them are the code.
const MAX_REASON_BYTES: usize = 123;
/// Ids are echoed with every event; graphql-ws uses UUIDs.
const MAX_ID_BYTES: usize = 256;

/// A code and reason to close with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Closing {
    pub(crate) code: u16,
    pub(crate) reason: String,
}

impl Closing {
    /// The reason is cut to what a close frame can hold.
    pub(crate) fn new(code: u16, reason: impl Into<String>) -> Self {
        let mut reason = reason.into();
        if reason.len() > MAX_REASON_BYTES {
            let end = (0..=MAX_REASON_BYTES)
                .rev()
                .find(|end| reason.is_char_boundary(*end))
                .unwrap_or(0);
            reason.truncate(end);
        }
        Self { code, reason }
    }

    pub(crate) fn malformed(reason: &str) -> Self {
        Self::new(4400, reason)
    }

    pub(crate) fn frame(&self) -> Message {
        Message::Close(Some(CloseFrame {
            code: self.code,
            reason: Utf8Bytes::from(self.reason.as_str()),
        }))
    }
}

/// What a client may say.
#[derive(Debug)]
pub(crate) enum Incoming {
    Init(Value),
    Ping(Option<Value>),
    Pong,
    Subscribe { id: String, payload: Value },
    Complete { id: String },
}

impl Incoming {
    /// Reads one text message; anything the protocol does not know closes the socket with 4400.
    pub(crate) fn parse(text: &str) -> Result<Self, Closing> {
        let Ok(Value::Object(mut message)) = serde_json::from_str(text) else {
            return Err(Closing::malformed("Invalid message: not a JSON object"));
        };
        let payload = message
            .remove("payload")
            .filter(|payload| !payload.is_null());
        let object = |payload: Option<Value>| match payload {
            Some(payload) if !payload.is_object() => {
                Err(Closing::malformed("Invalid message: payload is no object"))
            }
            payload => Ok(payload),
        };
        let id = match message.remove("id") {
            Some(Value::String(id)) if !id.is_empty() && id.len() <= MAX_ID_BYTES => Some(id),
            None => None,
            Some(_) => {
                return Err(Closing::malformed(
                    "Invalid message: id is no string of 1 to 256 bytes",
                ));
            }
        };
        let needed = || Closing::malformed("Invalid message: id is missing");
        match message.get("type").and_then(Value::as_str) {
            Some("connection_init") => Ok(Self::Init(object(payload)?.unwrap_or_default())),
            Some("ping") => Ok(Self::Ping(object(payload)?)),
            Some("pong") => object(payload).map(|_| Self::Pong),
            Some("subscribe") => {
                let id = id.ok_or_else(needed)?;
                let payload = object(payload)?
                    .ok_or_else(|| Closing::malformed("Invalid message: payload is missing"))?;
                Ok(Self::Subscribe { id, payload })
            }
            Some("complete") => id.map(|id| Self::Complete { id }).ok_or_else(needed),
            _ => Err(Closing::malformed("Invalid message: unknown type")),
        }
    }
}

pub(crate) fn ack() -> Message {
    Message::Text(Utf8Bytes::from_static(r#"{"type":"connection_ack"}"#))
}

pub(crate) fn pong(payload: Option<&Value>) -> Message {
    match payload {
        None => Message::Text(Utf8Bytes::from_static(r#"{"type":"pong"}"#)),
        Some(payload) => Message::Text(Utf8Bytes::from(format!(
            r#"{{"type":"pong","payload":{payload}}}"#
        ))),
    }
}

pub(crate) fn next(id: &str, payload: &impl Serialize) -> Message {
    with_payload("next", id, payload)
}

/// `payload` is an array of errors.
pub(crate) fn error(id: &str, payload: &impl Serialize) -> Message {
    with_payload("error", id, payload)
}

pub(crate) fn complete(id: &str) -> Message {
    Message::Text(Utf8Bytes::from(format!(
        r#"{{"id":{},"type":"complete"}}"#,
        Value::from(id)
    )))
}

/// Serialises straight into the frame's own buffer.
fn with_payload(kind: &str, id: &str, payload: &impl Serialize) -> Message {
    let mut frame = Vec::with_capacity(256);
    frame.extend_from_slice(b"{\"id\":");
    // Strings and GraphQL values always encode; a failure leaves a frame that is not JSON, told apart below.
    let encoded = serde_json::to_writer(&mut frame, id).and_then(|()| {
        frame.extend_from_slice(format!(",\"type\":\"{kind}\",\"payload\":").as_bytes());
        serde_json::to_writer(&mut frame, payload)
    });
    frame.push(b'}');
    match (encoded, Utf8Bytes::try_from(frame)) {
        (Ok(()), Ok(text)) => Message::Text(text),
        _ => {
            tracing::error!("socket message cannot be encoded");
            complete(id)
        }
    }
}
