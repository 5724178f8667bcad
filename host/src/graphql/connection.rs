//! Pages in the Relay form: edges with opaque cursors, and where the page lies.

use std::{borrow::Cow, str::FromStr};

use async_graphql::{ComplexObject, Error, OutputType, SimpleObject, TypeName};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::error;

/// Entries of a page, when the caller does not say.
pub(super) const DEFAULT_FIRST: i32 = 20;
/// Most entries of a page.
pub(super) const MAX_FIRST: i32 = 100;

/// What a list may cost at most: its page's size times what one entry costs.
pub(super) fn page_cost(first: Option<i32>, entry: usize) -> usize {
    let first = first.unwrap_or(DEFAULT_FIRST).clamp(1, MAX_FIRST);
    usize::try_from(first).unwrap_or(1).saturating_mul(entry)
}

/// The size of a page.
///
/// # Errors
/// `INVALID_INPUT` when `first` is out of its range.
pub(super) fn page_size(first: Option<i32>) -> Result<u32, Error> {
    let first = first.unwrap_or(DEFAULT_FIRST);
    u32::try_from(first)
        .ok()
        .filter(|_| (1..=MAX_FIRST).contains(&first))
        .ok_or_else(|| error::invalid_argument("first", &format!("must be 1 to {MAX_FIRST}")))
}

/// A cursor for `place`, which is unique within its list.
pub(super) fn encode_cursor(place: impl std::fmt::Display) -> String {
    URL_SAFE_NO_PAD.encode(place.to_string())
}

/// The place that a cursor stands for.
///
/// # Errors
/// `INVALID_INPUT` when it is no cursor of such a list.
pub(super) fn decode_cursor<T: FromStr>(
    argument: &str,
    cursor: Option<&str>,
) -> Result<Option<T>, Error> {
    let Some(cursor) = cursor else {
        return Ok(None);
    };
    URL_SAFE_NO_PAD
        .decode(cursor)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .and_then(|place| place.parse().ok())
        .map(Some)
        .ok_or_else(|| {
            error::invalid_argument(argument, "must be a cursor that this list has given")
        })
}

/// Where a page lies in its list.
#[derive(Debug, Clone, SimpleObject)]
pub(super) struct PageInfo {
    /// Is there anything after this page? Then ask again with `after: endCursor`.
    has_next_page: bool,
    /// Does this page begin behind a cursor?
    has_previous_page: bool,
    /// The cursor of the first entry; null on an empty page.
    start_cursor: Option<String>,
    /// The cursor of the last entry; null on an empty page.
    end_cursor: Option<String>,
}

/// One entry of a page, with its place in the list.
#[derive(Debug, SimpleObject)]
#[graphql(name_type, serial)]
pub(super) struct Edge<T: OutputType + Named> {
    /// The entry's place. Opaque, and good for as long as the entry exists.
    pub(super) cursor: String,
    /// The entry.
    pub(super) node: T,
}

/// A page of a list.
#[derive(Debug, SimpleObject)]
#[graphql(name_type, complex, serial)]
pub(super) struct Connection<T: OutputType + Named> {
    /// The entries with their cursors.
    edges: Vec<Edge<T>>,
    /// Where the page lies in its list.
    page_info: PageInfo,
}

#[ComplexObject]
impl<T: OutputType + Named> Connection<T> {
    /// The entries without their cursors.
    async fn nodes(&self) -> Vec<&T> {
        self.edges.iter().map(|edge| &edge.node).collect()
    }
}

impl<T: OutputType + Named> Connection<T> {
    /// From entries with their cursors. `behind_cursor`: the caller gave an `after`.
    pub(super) fn new(
        entries: impl IntoIterator<Item = (String, T)>,
        behind_cursor: bool,
        more: bool,
    ) -> Self {
        let edges: Vec<_> = entries
            .into_iter()
            .map(|(cursor, node)| Edge { cursor, node })
            .collect();
        let page_info = PageInfo {
            has_next_page: more,
            has_previous_page: behind_cursor,
            start_cursor: edges.first().map(|edge| edge.cursor.clone()),
            end_cursor: edges.last().map(|edge| edge.cursor.clone()),
        };
        Self { edges, page_info }
    }
}

/// A type that is listed in pages.
pub(super) trait Named {
    /// Its name in the schema.
    const NAME: &'static str;
}

impl<T: OutputType + Named> TypeName for Edge<T> {
    fn type_name() -> Cow<'static, str> {
        format!("{}Edge", T::NAME).into()
    }
}

impl<T: OutputType + Named> TypeName for Connection<T> {
    fn type_name() -> Cow<'static, str> {
        format!("{}Connection", T::NAME).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{JobId, ProjectId};

    #[test]
    fn a_cursor_opens_only_its_own_list() {
        let job = JobId::generate();
        let cursor = encode_cursor(job);
        assert_eq!(
            decode_cursor::<JobId>("after", Some(&cursor)),
            Ok(Some(job))
        );
        assert_eq!(decode_cursor::<JobId>("after", None), Ok(None));
        let refused = decode_cursor::<ProjectId>("after", Some(&cursor))
            .expect_err("a job's cursor is none of projects");
        assert!(refused.message.contains("\"after\""));
        for bad in ["", "%%%", "am9i", "////"] {
            assert!(decode_cursor::<JobId>("after", Some(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn page_sizes_have_bounds() {
        assert_eq!(page_size(None), Ok(20));
        assert_eq!(page_size(Some(1)), Ok(1));
        assert_eq!(page_size(Some(100)), Ok(100));
        for bad in [0, -1, 101, i32::MAX, i32::MIN] {
            assert!(page_size(Some(bad)).is_err(), "{bad}");
            assert!(page_cost(Some(bad), 10) <= 1_000);
        }
        assert_eq!(page_cost(Some(5), usize::MAX), usize::MAX);
    }
}
