//! How values are stored: one Rust type, two column types.

use chrono::{DateTime, Utc};
use serde::{Serialize, de::DeserializeOwned};
use sqlx::{
    Decode, Encode, Postgres, Sqlite, Type,
    encode::IsNull,
    error::BoxDynError,
    postgres::{PgArgumentBuffer, PgTypeInfo, PgValueFormat, PgValueRef},
    sqlite::{SqliteArgumentsBuffer, SqliteTypeInfo, SqliteValueRef},
};
use uuid::Uuid;

use super::Error;
use crate::time::Timestamp;

impl Type<Sqlite> for Timestamp {
    fn type_info() -> SqliteTypeInfo {
        <i64 as Type<Sqlite>>::type_info()
    }

    fn compatible(found: &SqliteTypeInfo) -> bool {
        <i64 as Type<Sqlite>>::compatible(found)
    }
}

impl Encode<'_, Sqlite> for Timestamp {
    fn encode_by_ref(&self, buffer: &mut SqliteArgumentsBuffer) -> Result<IsNull, BoxDynError> {
        Encode::<Sqlite>::encode(self.millis(), buffer)
    }
}

impl<'r> Decode<'r, Sqlite> for Timestamp {
    fn decode(value: SqliteValueRef<'r>) -> Result<Self, BoxDynError> {
        <i64 as Decode<Sqlite>>::decode(value).map(Self::from_millis)
    }
}

impl Type<Postgres> for Timestamp {
    fn type_info() -> PgTypeInfo {
        <DateTime<Utc> as Type<Postgres>>::type_info()
    }
}

impl Encode<'_, Postgres> for Timestamp {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let time = DateTime::from_timestamp_millis(self.millis())
            .ok_or_else(|| format!("{} ms is no calendar time", self.millis()))?;
        Encode::<Postgres>::encode(time, buffer)
    }
}

impl<'r> Decode<'r, Postgres> for Timestamp {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        <DateTime<Utc> as Decode<Postgres>>::decode(value).map(Self::from)
    }
}

/// A document, as its JSON text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Json(String);

impl Json {
    pub(super) fn read<T: DeserializeOwned>(&self, what: &'static str) -> Result<T, Error> {
        serde_json::from_str(&self.0).map_err(|source| Error::decode(what, source))
    }
}

/// The document of `value`. PostgreSQL stores no NUL character, so it is replaced: in both
/// databases, because what one takes the other must take too.
pub(super) fn to_json<T: Serialize>(value: &T) -> Result<Json, Error> {
    let failed = |source| Error::decode("value", source);
    let text = serde_json::to_string(value).map_err(failed)?;
    if !text.contains("\\u0000") {
        return Ok(Json(text));
    }
    let mut value = serde_json::from_str(&text).map_err(failed)?;
    replace_nul(&mut value);
    serde_json::to_string(&value).map(Json).map_err(failed)
}

fn replace_nul(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::String(text) => *text = storable(std::mem::take(text)),
        serde_json::Value::Array(items) => items.iter_mut().for_each(replace_nul),
        serde_json::Value::Object(members) => {
            *members = std::mem::take(members)
                .into_iter()
                .map(|(name, mut value)| {
                    replace_nul(&mut value);
                    (storable(name), value)
                })
                .collect();
        }
        _ => {}
    }
}

/// `text` without the one character that PostgreSQL cannot store.
fn storable(text: String) -> String {
    if text.contains('\0') {
        text.replace('\0', "\u{FFFD}")
    } else {
        text
    }
}

impl Type<Sqlite> for Json {
    fn type_info() -> SqliteTypeInfo {
        <String as Type<Sqlite>>::type_info()
    }

    fn compatible(found: &SqliteTypeInfo) -> bool {
        <String as Type<Sqlite>>::compatible(found)
    }
}

impl Encode<'_, Sqlite> for Json {
    fn encode_by_ref(&self, buffer: &mut SqliteArgumentsBuffer) -> Result<IsNull, BoxDynError> {
        Encode::<Sqlite>::encode(self.0.clone(), buffer)
    }
}

impl<'r> Decode<'r, Sqlite> for Json {
    fn decode(value: SqliteValueRef<'r>) -> Result<Self, BoxDynError> {
        <String as Decode<Sqlite>>::decode(value).map(Self)
    }
}

/// First byte of `jsonb` on the wire (`jsonb_recv` in PostgreSQL's `utils/adt/jsonb.c`).
const JSONB_VERSION: u8 = 1;

impl Type<Postgres> for Json {
    fn type_info() -> PgTypeInfo {
        <serde_json::Value as Type<Postgres>>::type_info()
    }
}

impl Encode<'_, Postgres> for Json {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        buffer.push(JSONB_VERSION);
        buffer.extend_from_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }
}

impl<'r> Decode<'r, Postgres> for Json {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        let bytes = match value.format() {
            PgValueFormat::Text => value.as_bytes()?,
            PgValueFormat::Binary => match value.as_bytes()?.split_first() {
                Some((&JSONB_VERSION, text)) => text,
                _ => return Err("not a version of jsonb that is known".into()),
            },
        };
        Ok(Self(std::str::from_utf8(bytes)?.to_owned()))
    }
}

/// A value to bind, or the absence of one of its type.
pub(super) trait Bind {
    /// No value.
    const NULL: Value;

    /// The value.
    fn value(self) -> Value;
}

impl<T: Bind> Bind for Option<T> {
    const NULL: Value = T::NULL;

    fn value(self) -> Value {
        self.map_or(T::NULL, T::value)
    }
}

macro_rules! stored {
    ($($case:ident($type:ty) $(through $change:ident)?),+ $(,)?) => {
        /// What can be bound.
        #[derive(Debug)]
        pub(super) enum Value {
            $($case(Option<$type>)),+
        }

        $(impl Bind for $type {
            const NULL: Value = Value::$case(None);

            fn value(self) -> Value {
                let value = self;
                $(let value = $change(value);)?
                Value::$case(Some(value))
            }
        })+

        impl Value {
            /// Binds it to a statement of SQLite.
            pub(super) fn into_sqlite(
                self,
                query: sqlx::query::Query<'_, Sqlite, sqlx::sqlite::SqliteArguments>,
            ) -> sqlx::query::Query<'_, Sqlite, sqlx::sqlite::SqliteArguments> {
                match self {
                    $(Self::$case(value) => query.bind(value)),+
                }
            }

            /// Binds it to a statement of PostgreSQL.
            pub(super) fn into_postgres(
                self,
                query: sqlx::query::Query<'_, Postgres, sqlx::postgres::PgArguments>,
            ) -> sqlx::query::Query<'_, Postgres, sqlx::postgres::PgArguments> {
                match self {
                    $(Self::$case(value) => query.bind(value)),+
                }
            }
        }
    };
}

stored!(
    Id(Uuid),
    Time(Timestamp),
    Document(Json),
    Text(String) through storable,
    Integer(i64),
    Real(f64),
    Truth(bool),
    Bytes(Vec<u8>),
);

impl Bind for &str {
    const NULL: Value = Value::Text(None);

    fn value(self) -> Value {
        self.to_owned().value()
    }
}

impl Bind for &String {
    const NULL: Value = Value::Text(None);

    fn value(self) -> Value {
        self.as_str().value()
    }
}

impl Bind for &[u8] {
    const NULL: Value = Value::Bytes(None);

    fn value(self) -> Value {
        self.to_vec().value()
    }
}

impl Bind for u32 {
    const NULL: Value = Value::Integer(None);

    fn value(self) -> Value {
        i64::from(self).value()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_the_nul_character_is_replaced() {
        let stored = to_json(&json!({"a\u{0}": ["\u{0}x", "\\u0000", "\u{1}"]})).expect("JSON");
        let value: serde_json::Value = stored.read("test").expect("JSON");
        assert_eq!(
            value,
            json!({"a\u{FFFD}": ["\u{FFFD}x", "\\u0000", "\u{1}"]})
        );
    }
}
