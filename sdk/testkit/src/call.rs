//! One request on its way through the gate.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::http::HeaderMap;
use bytes::Bytes;
use serde_json::Value;

use crate::{desk::Desk, ledger::InvoiceCall, twists::Twists};

/// What the gate knows of a request; every handler gets it as an extension.
#[derive(Clone)]
pub(crate) struct Call {
    /// For example `POST /v3/videos`.
    pub(crate) route: Arc<str>,
    pub(crate) query: Arc<str>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) twists: Arc<Twists>,
    pub(crate) request_id: Arc<str>,
    booked: Arc<AtomicBool>,
}

impl Call {
    pub(crate) fn new(
        route: &str,
        query: &str,
        headers: HeaderMap,
        body: Bytes,
        twists: Twists,
        request_id: &str,
    ) -> Self {
        Self {
            route: route.into(),
            query: query.into(),
            headers,
            body,
            twists: Arc::new(twists),
            request_id: request_id.into(),
            booked: Arc::new(AtomicBool::new(false)),
        }
    }

    /// Books what this call did.
    pub(crate) fn book(&self, desk: &Desk, call: InvoiceCall) {
        self.booked.store(true, Ordering::SeqCst);
        desk.book(call);
    }

    pub(crate) fn is_booked(&self) -> bool {
        self.booked.load(Ordering::SeqCst)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Query parameters; of a repeated one the last.
    pub(crate) fn query(&self) -> BTreeMap<String, String> {
        url::form_urlencoded::parse(self.query.as_bytes())
            .into_owned()
            .collect()
    }

    /// The body as a JSON object.
    pub(crate) fn json(&self) -> Option<Value> {
        serde_json::from_slice::<Value>(&self.body)
            .ok()
            .filter(Value::is_object)
    }
}

/// A text field of a JSON object, when it is one and not empty.
pub(crate) fn text<'value>(object: &'value Value, name: &str) -> Option<&'value str> {
    object
        .get(name)
        .and_then(Value::as_str)
        .filter(|text| !text.is_empty())
}
