//! Avatars, voices and models that vendors offer: asked of the plugins, kept for a while.

use std::{sync::Arc, time::Duration};

use genvid_runtime::{Call, Failure, NoAssets, catalog as contract};
use moka::future::Cache;

use super::{Provider, Registry};

/// How long an answer of a vendor's catalogue is good enough.
const FRESH: Duration = Duration::from_secs(600);
/// Most entries that are read of one catalogue.
const MOST: usize = 2_000;

/// What a catalogue lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ItemKind {
    /// People that speak.
    Avatar,
    /// Voices.
    Voice,
    /// Models.
    Model,
}

/// One entry.
#[derive(Debug, Clone, PartialEq)]
pub struct CatalogItem {
    /// Whose.
    pub provider: String,
    /// Its id there.
    pub id: String,
    /// Its name.
    pub name: String,
    /// BCP 47, when it is tied to one.
    pub language: Option<String>,
    /// Where it can be seen or heard.
    pub preview_url: Option<String>,
    /// The vendor's own facts.
    pub metadata: Option<serde_json::Value>,
}

/// Why a catalogue could not be read.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the catalogue of {provider} cannot be read: {reason}")]
pub struct CatalogError {
    /// Whose.
    pub provider: String,
    /// Why, for the log.
    pub reason: String,
}

/// The vendors' catalogues.
#[derive(Clone)]
pub struct Catalog {
    registry: Registry,
    /// By the provider's id and grant: another version or setting may list other things.
    cache: Cache<(String, u64, ItemKind), Arc<Vec<CatalogItem>>>,
}

impl Catalog {
    /// Of these providers.
    #[must_use]
    pub fn new(registry: Registry) -> Self {
        let cache = Cache::builder()
            .max_capacity(1_000)
            .time_to_live(FRESH)
            .build();
        Self { registry, cache }
    }

    /// Everything of a kind that one provider offers, or all of them (`None`). With all, a
    /// provider that does not answer is left out and logged.
    ///
    /// # Errors
    /// When the one provider that was asked for does not answer.
    pub async fn items(
        &self,
        provider: Option<&str>,
        kind: ItemKind,
    ) -> Result<Vec<CatalogItem>, CatalogError> {
        let mut all = Vec::new();
        for candidate in &self.registry.snapshot().providers {
            if provider.is_some_and(|id| id != candidate.id())
                || candidate.disabled.is_some()
                || !candidate.plugin.exports().catalog
            {
                continue;
            }
            match self.of(candidate, kind).await {
                Ok(items) => all.extend(items.iter().cloned()),
                Err(error) if provider.is_some() => return Err(error),
                Err(error) => tracing::warn!(%error, "a catalogue is left out"),
            }
        }
        Ok(all)
    }

    async fn of(
        &self,
        provider: &Provider,
        kind: ItemKind,
    ) -> Result<Arc<Vec<CatalogItem>>, CatalogError> {
        self.cache
            .try_get_with(
                (provider.id().to_owned(), provider.grant, kind),
                read(provider, kind),
            )
            .await
            .map_err(|error: Arc<CatalogError>| (*error).clone())
    }
}

async fn read(provider: &Provider, kind: ItemKind) -> Result<Arc<Vec<CatalogItem>>, CatalogError> {
    let wanted = match kind {
        ItemKind::Avatar => contract::Kind::Avatar,
        ItemKind::Voice => contract::Kind::Voice,
        ItemKind::Model => contract::Kind::Model,
    };
    let mut items = Vec::new();
    let mut cursor = None;
    loop {
        let call = Call {
            assets: Arc::new(NoAssets),
            text: None,
            permission: None,
            label: format!("catalog {}", provider.id()),
        };
        let page = match provider
            .plugin
            .list(call, wanted, cursor.take())
            .await
            .result
        {
            Ok(page) => page,
            Err(Failure::Plugin(error))
                if matches!(error.kind, genvid_runtime::types::ErrorKind::Unsupported) =>
            {
                break;
            }
            Err(error) => {
                return Err(CatalogError {
                    provider: provider.id().to_owned(),
                    reason: error.to_string(),
                });
            }
        };
        let empty = page.items.is_empty();
        items.extend(
            page.items
                .into_iter()
                .filter(|item| item.kind == wanted)
                .map(|item| CatalogItem {
                    provider: provider.id().to_owned(),
                    id: item.id,
                    name: item.name,
                    language: item.language,
                    preview_url: item.preview_url,
                    metadata: item
                        .metadata
                        .and_then(|text| serde_json::from_str(&text).ok()),
                }),
        );
        cursor = page.next;
        // A vendor that sends empty pages for ever must not hold the caller.
        if cursor.is_none() || empty || items.len() >= MOST {
            break;
        }
    }
    items.truncate(MOST);
    Ok(Arc::new(items))
}
