//! The scalars beside GraphQL's own five. Texts are taken as they come: what is wrong with
//! one is told as a field problem of the mutation, not as a broken request.

use async_graphql::{InputValueError, InputValueResult, Number, Scalar, ScalarType, Value};

use crate::{time::Timestamp, uploads};

/// An instant, as text.
#[derive(Debug, Clone)]
pub(super) struct DateTime(String);

impl DateTime {
    /// The instant; nothing when the text is none.
    pub(super) fn timestamp(&self) -> Option<Timestamp> {
        chrono::DateTime::parse_from_rfc3339(&self.0)
            .ok()
            .map(|instant| instant.to_utc().into())
    }
}

impl From<Timestamp> for DateTime {
    fn from(instant: Timestamp) -> Self {
        Self(instant.to_string())
    }
}

/// An instant in the form of RFC 3339, for example `2026-11-22T15:04:05.678Z`. Answers are
/// always in UTC, with milliseconds; inputs may have any offset, but need one.
#[Scalar(
    name = "DateTime",
    specified_by_url = "https://www.rfc-editor.org/rfc/rfc3339"
)]
impl ScalarType for DateTime {
    fn parse(value: Value) -> InputValueResult<Self> {
        match value {
            Value::String(text) => Ok(Self(text)),
            other => Err(InputValueError::expected_type(other)),
        }
    }

    fn is_valid(value: &Value) -> bool {
        matches!(value, Value::String(_))
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.clone())
    }
}

/// An absolute address, as text.
#[derive(Debug, Clone)]
pub(super) struct Url(String);

impl Url {
    /// An address of this server's own making.
    pub(super) fn trusted(text: String) -> Self {
        Self(text)
    }

    /// An address that somebody else gave: only what a browser may open.
    pub(super) fn foreign(text: &str) -> Option<Self> {
        let url = url::Url::parse(text).ok()?;
        matches!(url.scheme(), "https" | "http").then(|| Self(url.into()))
    }

    /// A picture as somebody named it: an address that a browser may open, or an upload.
    pub(super) fn picture(text: &str) -> Option<Self> {
        match uploads::referred(text) {
            Some(upload) => Some(Self(uploads::reference(upload))),
            None => Self::foreign(text),
        }
    }

    /// The address in its parts; nothing when the text is none.
    pub(super) fn parsed(&self) -> Option<url::Url> {
        url::Url::parse(&self.0).ok()
    }
}

/// An absolute address by the URL standard, for example `https://example.com/bottle.jpg`.
#[Scalar(name = "URL", specified_by_url = "https://url.spec.whatwg.org/")]
impl ScalarType for Url {
    fn parse(value: Value) -> InputValueResult<Self> {
        match value {
            Value::String(text) => Ok(Self(text)),
            other => Err(InputValueError::expected_type(other)),
        }
    }

    fn is_valid(value: &Value) -> bool {
        matches!(value, Value::String(_))
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.clone())
    }
}

/// Any JSON value.
#[derive(Debug, Clone)]
pub(super) struct Json(pub(super) serde_json::Value);

/// Any JSON value: object, list, text, number, boolean or null. Stands only where the shape
/// belongs to a provider.
#[Scalar(
    name = "JSON",
    specified_by_url = "https://www.rfc-editor.org/rfc/rfc8259"
)]
impl ScalarType for Json {
    fn parse(value: Value) -> InputValueResult<Self> {
        Ok(Self(value.into_json()?))
    }

    fn to_value(&self) -> Value {
        // Every JSON value is a GraphQL value; the conversion fails only for types that
        // serialise themselves in other ways.
        Value::from_json(self.0.clone()).unwrap_or_default()
    }
}

/// Millionths of a US dollar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MicroUsd(pub(super) i64);

/// An amount of money in millionths of a US dollar, as a whole JSON number between -2^53 and
/// 2^53: 1000000 is one dollar. It does not fit GraphQL's 32-bit `Int`.
#[Scalar(
    name = "MicroUsd",
    specified_by_url = "https://www.rfc-editor.org/rfc/rfc8259#section-6"
)]
impl ScalarType for MicroUsd {
    fn parse(value: Value) -> InputValueResult<Self> {
        match &value {
            Value::Number(number) => match number.as_i64() {
                Some(amount) => Ok(Self(amount)),
                None => Err(InputValueError::expected_type(value)),
            },
            _ => Err(InputValueError::expected_type(value)),
        }
    }

    fn is_valid(value: &Value) -> bool {
        matches!(value, Value::Number(number) if number.as_i64().is_some())
    }

    fn to_value(&self) -> Value {
        Value::Number(Number::from(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_told_in_utc_and_taken_with_any_offset() {
        let instant = Timestamp::from_millis(1_795_359_845_678);
        assert_eq!(
            DateTime::from(instant).to_value(),
            Value::String("2026-11-22T15:04:05.678Z".to_owned())
        );
        let elsewhere = DateTime("2026-11-22T16:04:05.678+01:00".to_owned());
        assert_eq!(elsewhere.timestamp(), Some(instant));
        for bad in ["", "tomorrow", "2026-11-22", "2026-11-22T15:04:05"] {
            assert_eq!(DateTime(bad.to_owned()).timestamp(), None, "{bad}");
        }
    }

    #[test]
    fn only_web_addresses_of_others_are_passed_on() {
        assert!(Url::foreign("https://example.com/a.mp4").is_some());
        for bad in ["javascript:alert(1)", "file:///etc/passwd", "/a", ""] {
            assert!(Url::foreign(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn amounts_beyond_32_bits_survive() {
        let amount = MicroUsd(5_000_000_000);
        assert_eq!(MicroUsd::parse(amount.to_value()).ok(), Some(amount));
    }
}
