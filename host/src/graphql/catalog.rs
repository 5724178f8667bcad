//! `avatars` and `voices`: what providers have to choose from.

use async_graphql::{Context, Error, ID, Object};

use super::{
    connection::{Connection, Named, decode_cursor, encode_cursor, page_cost, page_size},
    context, error,
    scalars::{Json, Url},
};
use crate::{
    input::is_language_tag,
    providers::{CatalogItem, ItemKind},
};

/// Longest text to search for, in characters.
const MAX_SEARCH: usize = 200;

/// The id of a catalogue's entry, unique among all providers.
fn global_id(item: &CatalogItem) -> String {
    format!("{}:{}", item.provider, item.id)
}

pub(super) struct Avatar(CatalogItem);

/// A person, real or drawn, that speaks in videos.
#[Object]
impl Avatar {
    /// For `GenerateVideoInput.avatarId`: the provider's id, a colon, and its own id there.
    async fn id(&self) -> ID {
        global_id(&self.0).into()
    }

    /// The provider that has it.
    async fn provider(&self) -> ID {
        ID::from(&self.0.provider)
    }

    /// Its name.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// Where it can be seen; the provider's address, which may expire.
    async fn preview_url(&self) -> Option<Url> {
        Url::foreign(self.0.preview_url.as_deref()?)
    }

    /// Further facts, in the provider's own shape.
    async fn metadata(&self) -> Option<Json> {
        self.0.metadata.clone().map(Json)
    }
}

impl Named for Avatar {
    const NAME: &'static str = "Avatar";
}

pub(super) struct Voice(CatalogItem);

/// A voice.
#[Object]
impl Voice {
    /// For `voiceId` in inputs: the provider's id, a colon, and its own id there.
    async fn id(&self) -> ID {
        global_id(&self.0).into()
    }

    /// The provider that has it.
    async fn provider(&self) -> ID {
        ID::from(&self.0.provider)
    }

    /// Its name.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// The language that it is made for, as a BCP 47 tag; null when it speaks several.
    async fn language(&self) -> Option<&str> {
        self.0.language.as_deref()
    }

    /// Where it can be heard; the provider's address, which may expire.
    async fn preview_url(&self) -> Option<Url> {
        Url::foreign(self.0.preview_url.as_deref()?)
    }

    /// Further facts, in the provider's own shape.
    async fn metadata(&self) -> Option<Json> {
        self.0.metadata.clone().map(Json)
    }
}

impl Named for Voice {
    const NAME: &'static str = "Voice";
}

#[derive(Default)]
pub(super) struct CatalogQueries;

#[Object]
impl CatalogQueries {
    /// Avatars to choose from, in the providers' order. Read from the providers at most every
    /// ten minutes.
    #[graphql(complexity = "page_cost(first, child_complexity)")]
    async fn avatars(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Only this provider's; without it, those of all that answer.")]
        provider: Option<ID>,
        #[graphql(desc = "Only those whose name or id has this text, at most 200 characters.")]
        search: Option<String>,
        #[graphql(desc = "At most so many, 1 to 100; without it 20.")] first: Option<i32>,
        #[graphql(desc = "Only those behind this cursor.")] after: Option<String>,
    ) -> Result<Connection<Avatar>, Error> {
        let search = needle(search)?;
        let fits = |item: &CatalogItem| matches_text(item, &search);
        list(ctx, ItemKind::Avatar, provider, fits, first, after, Avatar).await
    }

    /// Voices to choose from, in the providers' order. Read from the providers at most every
    /// ten minutes.
    #[graphql(complexity = "page_cost(first, child_complexity)")]
    async fn voices(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Only this provider's; without it, those of all that answer.")]
        provider: Option<ID>,
        #[graphql(
            desc = "Only those that can speak this language, a BCP 47 tag: `en` finds `en-US` too."
        )]
        language: Option<String>,
        #[graphql(desc = "Only those whose name or id has this text, at most 200 characters.")]
        search: Option<String>,
        #[graphql(desc = "At most so many, 1 to 100; without it 20.")] first: Option<i32>,
        #[graphql(desc = "Only those behind this cursor.")] after: Option<String>,
    ) -> Result<Connection<Voice>, Error> {
        let search = needle(search)?;
        if language.as_deref().is_some_and(|tag| !is_language_tag(tag)) {
            let message = "must be a language tag such as en or zh-CN";
            return Err(error::invalid_argument("language", message));
        }
        let fits = |item: &CatalogItem| {
            matches_text(item, &search)
                && language
                    .as_deref()
                    .is_none_or(|wanted| speaks(item.language.as_deref(), wanted))
        };
        list(ctx, ItemKind::Voice, provider, fits, first, after, Voice).await
    }
}

/// A page of what fits.
async fn list<T: async_graphql::OutputType + Named>(
    ctx: &Context<'_>,
    kind: ItemKind,
    provider: Option<ID>,
    fits: impl Fn(&CatalogItem) -> bool,
    first: Option<i32>,
    after: Option<String>,
    wrap: fn(CatalogItem) -> T,
) -> Result<Connection<T>, Error> {
    context::user(ctx)?;
    let services = context::services(ctx);
    let first = page_size(first)? as usize;
    let after: Option<String> = decode_cursor("after", after.as_deref())?;
    let provider = provider.as_ref().map(|id| id.as_str());
    if provider.is_some_and(|id| services.registry.find(id).is_none()) {
        let message = "must be the id of an installed provider";
        return Err(error::invalid_argument("provider", message));
    }
    let items = services
        .catalog
        .items(provider, kind)
        .await
        .map_err(|failed| error::catalog(ctx, &failed))?;
    let (page, more) = cut(&items, fits, after.as_deref(), first)?;
    let entries = page
        .into_iter()
        .map(|item| (encode_cursor(global_id(item)), wrap(item.clone())));
    Ok(Connection::new(entries, after.is_some(), more))
}

/// Those that fit behind the entry `after`, and whether there are more.
fn cut<'a>(
    items: &'a [CatalogItem],
    fits: impl Fn(&CatalogItem) -> bool,
    after: Option<&str>,
    first: usize,
) -> Result<(Vec<&'a CatalogItem>, bool), Error> {
    let start = match after {
        None => 0,
        Some(after) => {
            let place = items.iter().position(|item| global_id(item) == after);
            let message = "is behind an entry that is gone; begin again without it";
            1 + place.ok_or_else(|| error::invalid_argument("after", message))?
        }
    };
    let mut page: Vec<_> = items[start..]
        .iter()
        .filter(|item| fits(item))
        .take(first + 1)
        .collect();
    let more = page.len() > first;
    page.truncate(first);
    Ok((page, more))
}

fn needle(search: Option<String>) -> Result<String, Error> {
    let search = search.unwrap_or_default();
    if search.chars().count() > MAX_SEARCH {
        let message = format!("must have at most {MAX_SEARCH} characters");
        return Err(error::invalid_argument("search", &message));
    }
    Ok(search.trim().to_lowercase())
}

fn matches_text(item: &CatalogItem, needle: &str) -> bool {
    item.name.to_lowercase().contains(needle) || item.id.to_lowercase().contains(needle)
}

/// Does a voice of language `own` (none: it speaks several) speak the language `wanted`? One
/// tag has to begin with the other: `en` with `en-US`, both ways.
fn speaks(own: Option<&str>, wanted: &str) -> bool {
    let Some(own) = own else { return true };
    own.split('-')
        .zip(wanted.split('-'))
        .all(|(own, wanted)| own.eq_ignore_ascii_case(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(provider: &str, id: &str, name: &str) -> CatalogItem {
        CatalogItem {
            provider: provider.to_owned(),
            id: id.to_owned(),
            name: name.to_owned(),
            language: None,
            preview_url: None,
            metadata: None,
        }
    }

    fn names(page: &[&CatalogItem]) -> Vec<String> {
        page.iter().map(|item| item.name.clone()).collect()
    }

    #[test]
    fn pages_of_a_catalogue_join_without_a_gap() {
        let items: Vec<_> = (0..7)
            .map(|n| item("heygen", &format!("look_{n}"), &format!("Ann {n}")))
            .collect();
        let mut seen = Vec::new();
        let mut after = None;
        loop {
            let (page, more) = cut(&items, |_| true, after.as_deref(), 3).expect("a page");
            seen.extend(names(&page));
            after = page.last().map(|item| global_id(item));
            if !more {
                break;
            }
        }
        assert_eq!(seen.len(), 7);
        assert!(cut(&items, |_| true, Some("heygen:gone"), 3).is_err());
        let (last, more) = cut(&items, |_| true, Some("heygen:look_6"), 3).expect("a page");
        assert!(last.is_empty() && !more);
    }

    #[test]
    fn search_is_by_name_and_id_whatever_the_case() {
        let search = needle(Some(" ANN ".to_owned())).expect("short enough");
        assert!(matches_text(&item("heygen", "look_1", "Joanna"), &search));
        assert!(!matches_text(&item("heygen", "look_1", "Bo"), &search));
        assert!(needle(Some("x".repeat(201))).is_err());
    }

    #[test]
    fn languages_match_by_their_common_beginning() {
        for (own, wanted, fits) in [
            (None, "de", true),
            (Some("en-US"), "en", true),
            (Some("en"), "en-GB", true),
            (Some("en-US"), "en-GB", false),
            (Some("zh-CN"), "en", false),
            (Some("EN"), "en", true),
        ] {
            assert_eq!(speaks(own, wanted), fits, "{own:?} {wanted}");
        }
    }
}
