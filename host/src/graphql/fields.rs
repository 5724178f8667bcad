//! Reading what comes from outside: ids, links and times, each problem with its field.

use std::str::FromStr;

use async_graphql::{Error, ID};

use super::{
    error::{self, Refusal},
    scalars::{DateTime, Url},
};
use crate::{ids::InvalidId, input::Problems, jobs::input::ProviderItem, time::Timestamp};

/// Longest id of a provider; longer text is nobody's, and is not worth repeating.
const MAX_PROVIDER: usize = 32;
/// Longest id in a provider's catalogue.
const MAX_ITEM: usize = 300;
/// Most entries of a list of providers.
const MAX_PROVIDERS: usize = 50;
/// Most links in one list that are looked at; the services allow fewer.
const MAX_LINKS: usize = 50;

/// An id that is a query's argument.
///
/// # Errors
/// `INVALID_INPUT` when the text is no id of this kind.
pub(super) fn argument<T: FromStr<Err = InvalidId>>(name: &str, id: &ID) -> Result<T, Error> {
    id.parse().map_err(|InvalidId { prefix }| {
        error::invalid_argument(name, &format!("must be an id that begins with {prefix}"))
    })
}

/// Reads the fields of an input and collects what is wrong with them.
#[derive(Debug, Default)]
pub(super) struct Fields(Problems);

impl Fields {
    /// A typed id.
    pub(super) fn id<T: FromStr<Err = InvalidId>>(&mut self, field: &str, id: &ID) -> Option<T> {
        id.parse()
            .map_err(|InvalidId { prefix }| {
                self.0
                    .add(field, format!("must be an id that begins with {prefix}"));
            })
            .ok()
    }

    /// A typed id that may be left out.
    pub(super) fn optional_id<T: FromStr<Err = InvalidId>>(
        &mut self,
        field: &str,
        id: Option<ID>,
    ) -> Option<T> {
        id.and_then(|id| self.id(field, &id))
    }

    /// The id of a provider. Whether it is installed is for the services to say.
    pub(super) fn provider(&mut self, field: &str, id: Option<ID>) -> Option<String> {
        let id = id?.0;
        if id.len() > MAX_PROVIDER {
            self.0.add(field, "is not an installed provider");
            return None;
        }
        Some(id)
    }

    /// Ids of providers.
    pub(super) fn providers(&mut self, field: &str, ids: Option<Vec<ID>>) -> Vec<String> {
        let ids = ids.unwrap_or_default();
        if ids.len() > MAX_PROVIDERS {
            self.0
                .add(field, format!("must have at most {MAX_PROVIDERS} entries"));
            return Vec::new();
        }
        ids.into_iter()
            .enumerate()
            .filter_map(|(index, id)| self.provider(&format!("{field}.{index}"), Some(id)))
            .collect()
    }

    /// An avatar or a voice: the provider's id, a colon, and its own id there.
    pub(super) fn item(&mut self, field: &str, id: Option<ID>) -> Option<ProviderItem> {
        let id = id?.0;
        match id.split_once(':') {
            Some((provider, item))
                if (1..=MAX_PROVIDER).contains(&provider.len())
                    && (1..=MAX_ITEM).contains(&item.len()) =>
            {
                Some(ProviderItem {
                    provider: provider.to_owned(),
                    id: item.to_owned(),
                })
            }
            _ => {
                self.0.add(
                    field,
                    "must be an id of the catalogue, such as heygen:look_1",
                );
                None
            }
        }
    }

    /// Addresses.
    pub(super) fn links(&mut self, field: &str, links: Vec<Url>) -> Vec<url::Url> {
        if links.len() > MAX_LINKS {
            self.0
                .add(field, format!("must have at most {MAX_LINKS} entries"));
            return Vec::new();
        }
        let mut parsed = Vec::with_capacity(links.len());
        for (index, link) in links.into_iter().enumerate() {
            match link.parsed() {
                Some(link) => parsed.push(link),
                None => self
                    .0
                    .add(format!("{field}.{index}"), "must be an absolute address"),
            }
        }
        parsed
    }

    /// An address that may be left out.
    pub(super) fn link(&mut self, field: &str, link: Option<Url>) -> Option<url::Url> {
        let parsed = link?.parsed();
        if parsed.is_none() {
            self.0.add(field, "must be an absolute address");
        }
        parsed
    }

    /// An instant.
    pub(super) fn instant(&mut self, field: &str, instant: Option<DateTime>) -> Option<Timestamp> {
        let instant = instant?;
        let parsed = instant.timestamp();
        if parsed.is_none() {
            self.0.add(
                field,
                "must be a time of RFC 3339 with an offset, such as 2026-11-22T15:04:05Z",
            );
        }
        parsed
    }

    /// A count. Below zero is out of every range that the services check.
    pub(super) fn count(value: Option<i32>) -> Option<u32> {
        value.map(|value| u32::try_from(value).unwrap_or(0))
    }

    /// Something is wrong with a field.
    pub(super) fn add(&mut self, field: &str, why: &str) {
        self.0.add(field, why);
    }

    /// Goes on when nothing was wrong.
    pub(super) fn finish(self) -> Result<(), Refusal> {
        self.finish_with(Some(()))
    }

    /// What was wrong.
    pub(super) fn problems(self) -> Option<Problems> {
        self.0.into_result().err()
    }

    /// Goes on with `value`, which is there when nothing was wrong.
    pub(super) fn finish_with<T>(self, value: Option<T>) -> Result<T, Refusal> {
        match (self.0.into_result(), value) {
            (Ok(()), Some(value)) => Ok(value),
            (Ok(()), None) => Err(Refusal::InvalidInput((&Problems::default()).into())),
            (Err(problems), _) => Err(Refusal::InvalidInput((&problems).into())),
        }
    }
}
