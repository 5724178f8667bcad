//! Parsed documents, kept so that a repeated query is neither parsed nor measured again.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use async_graphql::{
    Value,
    parser::{
        parse_query,
        types::{DocumentOperations, ExecutableDocument, OperationDefinition},
    },
};
use http::StatusCode;
use moka::sync::Cache;
use sha2::{Digest, Sha256};

use crate::{
    Options, codes,
    failure::{Failure, coded},
    limits,
};

/// A parsed document takes some thirty times its text: every name, position and list is an allocation.
const PARSED_BYTES_PER_TEXT_BYTE: usize = 32;

/// A document within the limits.
pub(crate) struct Document {
    pub(crate) text: Arc<str>,
    pub(crate) parsed: ExecutableDocument,
    /// It has run, so the schema's validation has nothing against it.
    validated: AtomicBool,
}

impl Document {
    pub(crate) fn is_validated(&self) -> bool {
        self.validated.load(Ordering::Relaxed)
    }

    pub(crate) fn set_validated(&self) {
        // Read first: writing would take the line from every other core at every request.
        if !self.is_validated() {
            self.validated.store(true, Ordering::Relaxed);
        }
    }

    /// The operation that a request names.
    pub(crate) fn operation(&self, name: Option<&str>) -> Result<&OperationDefinition, Failure> {
        match (&self.parsed.operations, name) {
            (DocumentOperations::Single(operation), None) => Ok(&operation.node),
            (DocumentOperations::Multiple(operations), Some(name))
                if operations.contains_key(name) =>
            {
                Ok(&operations[name].node)
            }
            (DocumentOperations::Multiple(operations), None) if operations.len() == 1 => operations
                .values()
                .next()
                .map(|operation| &operation.node)
                .ok_or_else(|| Failure::validation("The document has no operation", None)),
            (DocumentOperations::Multiple(_), None) => Err(Failure::validation(
                "operationName is required: the document has several operations",
                None,
            )),
            (_, Some(name)) => Err(Failure::validation(
                format!("The document has no operation named \"{name}\""),
                None,
            )),
        }
    }
}

/// Both caches: by text, and by the hash that a client registered.
pub(crate) struct Documents {
    by_text: Option<Cache<Arc<str>, Arc<Document>>>,
    by_hash: Option<Cache<[u8; 32], Arc<Document>>>,
    /// The only ones that are run, if there are such.
    stored: Option<HashMap<[u8; 32], Arc<Document>>>,
    max_query_bytes: usize,
    limits: crate::DocumentLimits,
}

impl Documents {
    pub(crate) fn new(options: &Options) -> Self {
        let by_text = (options.document_cache_bytes > 0).then(|| {
            Cache::builder()
                .max_capacity(options.document_cache_bytes)
                .weigher(|text: &Arc<str>, _| {
                    u32::try_from(
                        text.len()
                            .saturating_mul(PARSED_BYTES_PER_TEXT_BYTE)
                            .saturating_add(1024),
                    )
                    .unwrap_or(u32::MAX)
                })
                .build()
        });
        Self {
            by_text,
            by_hash: options
                .apq
                .map(|capacity| Cache::builder().max_capacity(capacity).build()),
            stored: options.stored.as_deref().map(|texts| {
                let documents = texts.iter().filter_map(|text| {
                    // Checked by `check_stored`, which says what is wrong.
                    let document = parse(text).ok()?;
                    Some((Sha256::digest(text.as_bytes()).into(), Arc::new(document)))
                });
                documents.collect()
            }),
            max_query_bytes: options.max_query_bytes,
            limits: options.limits.clone(),
        }
    }

    /// The document that a request means: its text, or what was registered under the hash in
    /// `extensions.persistedQuery` (Apollo's automatic persisted queries, version 1).
    pub(crate) fn find(
        &self,
        query: Option<&str>,
        persisted: Option<&Value>,
    ) -> Result<Arc<Document>, Failure> {
        if let Some(stored) = &self.stored {
            let persisted = persisted.filter(|value| !matches!(value, Value::Null));
            let hash = match (persisted, query) {
                (Some(persisted), _) => persisted_hash(persisted)?,
                (None, Some(query)) => Sha256::digest(query.as_bytes()).into(),
                (None, None) => {
                    return Err(Failure::bad_request("The parameter \"query\" is missing"));
                }
            };
            return stored.get(&hash).cloned().ok_or_else(|| {
                Failure::document(coded(
                    codes::OPERATION_NOT_STORED,
                    "This server runs only the operations that its operator has stored",
                    None,
                ))
            });
        }
        let Some(persisted) = persisted.filter(|value| !matches!(value, Value::Null)) else {
            let query =
                query.ok_or_else(|| Failure::bad_request("The parameter \"query\" is missing"))?;
            return self.by_text(query);
        };
        let hash = persisted_hash(persisted)?;
        let Some(by_hash) = &self.by_hash else {
            // Apollo's clients send the text at once and stop using hashes when they read this message.
            return match query {
                Some(query) => self.by_text(query),
                None => Err(Failure::document(coded(
                    codes::PERSISTED_QUERY_NOT_SUPPORTED,
                    "PersistedQueryNotSupported",
                    None,
                ))),
            };
        };
        match query {
            Some(query) => {
                if <[u8; 32]>::from(Sha256::digest(query.as_bytes())) != hash {
                    return Err(Failure::bad_request(
                        "extensions.persistedQuery.sha256Hash is not the query's hash",
                    ));
                }
                let document = self.by_text(query)?;
                by_hash.insert(hash, Arc::clone(&document));
                Ok(document)
            }
            None => by_hash.get(&hash).ok_or_else(|| {
                Failure::document(coded(
                    codes::PERSISTED_QUERY_NOT_FOUND,
                    "PersistedQueryNotFound",
                    None,
                ))
            }),
        }
    }

    fn by_text(&self, text: &str) -> Result<Arc<Document>, Failure> {
        if let Some(document) = self.by_text.as_ref().and_then(|cache| cache.get(text)) {
            return Ok(document);
        }
        limits::check_text(text, self.max_query_bytes, &self.limits).map_err(Failure::document)?;
        let document = parse(text)?;
        limits::check_document(&document.parsed, &self.limits).map_err(Failure::document)?;
        let text = Arc::clone(&document.text);
        let document = Arc::new(document);
        if let Some(cache) = &self.by_text {
            cache.insert(text, Arc::clone(&document));
        }
        Ok(document)
    }
}

fn parse(text: &str) -> Result<Document, Failure> {
    let parsed = parse_query(text).map_err(|error| {
        let mut failure = coded(codes::PARSE_FAILED, error.to_string(), None);
        failure.locations = error.positions().collect();
        Failure::document(failure)
    })?;
    Ok(Document {
        text: Arc::from(text),
        parsed,
        validated: AtomicBool::new(false),
    })
}

/// What is wrong with a document that is to be stored; nothing: it can be.
#[must_use]
pub fn check_stored(text: &str) -> Option<String> {
    parse_query(text).err().map(|error| error.to_string())
}

fn persisted_hash(value: &Value) -> Result<[u8; 32], Failure> {
    let refuse = || {
        Failure::http(
            StatusCode::BAD_REQUEST,
            codes::BAD_REQUEST,
            "extensions.persistedQuery needs version 1 and sha256Hash with 64 hexadecimal digits",
        )
    };
    let Value::Object(fields) = value else {
        return Err(refuse());
    };
    let version =
        matches!(fields.get("version"), Some(Value::Number(number)) if number.as_u64() == Some(1));
    let Some(Value::String(text)) = fields.get("sha256Hash") else {
        return Err(refuse());
    };
    let mut hash = [0; 32];
    if !version || hex::decode_to_slice(text, &mut hash).is_err() {
        return Err(refuse());
    }
    Ok(hash)
}
