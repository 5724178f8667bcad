//! What the vendor accepted and billed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::options::Vendor;

/// Most calls an invoice lists; older ones stay in its totals.
const KEPT_CALLS: usize = 100_000;

/// The vendor's invoice: what `GET /_control/invoice` answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Invoice {
    /// Whose invoice it is.
    pub vendor: Vendor,
    /// Calls that started new work.
    pub accepted: u64,
    /// Calls that are on the bill. A failed task that the vendor does not charge is taken
    /// off again.
    pub billed: u64,
    /// Sum of the bill, millionths of a US dollar, from the list prices in the vendor's
    /// documents.
    pub micro_usd: u64,
    /// Every call to a route that can cost money, refused ones and replays included; the
    /// newest 100,000.
    pub calls: Vec<InvoiceCall>,
    /// How often each route was called, also those that cost nothing.
    pub requests: BTreeMap<String, u64>,
}

/// One call to a route that can cost money.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InvoiceCall {
    /// For example `POST /v3/videos`.
    pub route: String,
    /// What the caller named it: HeyGen's idempotency key, callback id or title, Kling's
    /// external id, OpenAI's `metadata.client_ref` or `X-Client-Request-Id`; ElevenLabs
    /// takes none.
    pub client_ref: Option<String>,
    /// The vendor's id of the work.
    pub task_id: Option<String>,
    /// New work was started.
    pub accepted: bool,
    /// It is on the bill.
    pub billed: bool,
    /// The same answer was given again for the same idempotency key: nothing new was done.
    pub replayed: bool,
    /// It was on the bill, and was taken off because the task failed.
    pub refunded: bool,
    /// What is billed: `video`, `speech` or `text`.
    pub what: String,
    /// How many of the vendor's units: seconds, characters or tokens.
    pub units: f64,
    /// Price, millionths of a US dollar.
    pub micro_usd: u64,
    /// When, milliseconds since 1970.
    pub at: i64,
}

impl InvoiceCall {
    /// A call that was refused.
    pub(crate) fn refused(route: &str) -> Self {
        Self {
            route: route.to_owned(),
            client_ref: None,
            task_id: None,
            accepted: false,
            billed: false,
            replayed: false,
            refunded: false,
            what: String::new(),
            units: 0.0,
            micro_usd: 0,
            at: crate::run::now_ms(),
        }
    }

    /// A call that started work which is billed.
    pub(crate) fn billed(route: &str, task: &str, what: &str, units: f64, micro_usd: u64) -> Self {
        Self {
            task_id: Some(task.to_owned()),
            accepted: true,
            billed: true,
            what: what.to_owned(),
            units,
            micro_usd,
            ..Self::refused(route)
        }
    }

    pub(crate) fn client_ref(mut self, client_ref: Option<String>) -> Self {
        self.client_ref = client_ref;
        self
    }
}

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    accepted: u64,
    billed: u64,
    micro_usd: u64,
    calls: std::collections::VecDeque<InvoiceCall>,
    requests: BTreeMap<String, u64>,
}

impl Ledger {
    pub(crate) fn count(&mut self, route: &str) {
        if let Some(count) = self.requests.get_mut(route) {
            *count += 1;
        } else {
            self.requests.insert(route.to_owned(), 1);
        }
    }

    pub(crate) fn book(&mut self, call: InvoiceCall) {
        self.accepted += u64::from(call.accepted);
        if call.billed {
            self.billed += 1;
            self.micro_usd += call.micro_usd;
        }
        if self.calls.len() == KEPT_CALLS {
            self.calls.pop_front();
        }
        self.calls.push_back(call);
    }

    /// Takes a failed task off the bill; a second time changes nothing.
    pub(crate) fn refund(&mut self, task: &str) {
        let entry = self
            .calls
            .iter_mut()
            .rev()
            .find(|call| call.billed && call.task_id.as_deref() == Some(task));
        if let Some(call) = entry {
            call.billed = false;
            call.refunded = true;
            self.billed -= 1;
            self.micro_usd -= call.micro_usd;
        }
    }

    pub(crate) fn invoice(&self, vendor: Vendor) -> Invoice {
        Invoice {
            vendor,
            accepted: self.accepted,
            billed: self.billed,
            micro_usd: self.micro_usd,
            calls: self.calls.iter().cloned().collect(),
            requests: self.requests.clone(),
        }
    }
}
