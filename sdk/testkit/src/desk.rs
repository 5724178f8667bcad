//! What every vendor's simulator keeps: its pace, its ledger, its faults, its log.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde::{Deserialize, Serialize};

use crate::{
    courier::Courier,
    faults::{Fault, FaultError, Faults},
    ledger::{Invoice, InvoiceCall, Ledger},
    media::Studio,
    options::{Keys, Profile, Vendor},
};

/// Newest requests that are kept.
const KEPT_REQUESTS: usize = 1_000;
/// Errors of the simulator itself that are kept.
const KEPT_TROUBLES: usize = 100;

/// One request as the simulator saw it, without its credentials.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Seen {
    /// Counts up from 1 over the life of the simulator.
    pub number: u64,
    /// Milliseconds since 1970.
    pub at: i64,
    /// For example `POST`.
    pub method: String,
    /// Path and query as they were sent.
    pub path: String,
    /// The route it matched, or `unmatched`.
    pub route: String,
    /// `accepted`, `wrong`, `missing`, or `open` where none is needed.
    pub credential: String,
    /// Beginning of the SHA-256 of the credential header's value, in hex.
    pub credential_sha256: Option<String>,
    /// Headers, names in lower case; credentials are replaced.
    pub headers: BTreeMap<String, String>,
    /// Beginning of the body, at most 8 KiB; credentials are replaced.
    pub body: String,
    /// Size of the whole body.
    pub body_bytes: usize,
    /// Status that was answered; nothing while the work goes on or when the connection was
    /// closed instead.
    pub status: Option<u16>,
    /// The faults that struck it.
    pub faults: Vec<String>,
}

/// The parts that all vendors share.
pub(crate) struct Desk {
    pub(crate) keys: Keys,
    pub(crate) studio: Arc<Studio>,
    pub(crate) courier: Courier,
    /// For fetching the links that callers hand in.
    pub(crate) web: reqwest::Client,
    in_flight: AtomicUsize,
    /// When the requests that are being dealt with came in.
    under_way: Mutex<BTreeMap<u64, Instant>>,
    numbers: AtomicU64,
    /// Goes up with each reset, so that what was under way before it stays silent.
    epoch: AtomicU64,
    first_profile: Profile,
    first_limit: usize,
    inner: Mutex<Inner>,
}

struct Inner {
    profile: Profile,
    limit: usize,
    ledger: Ledger,
    faults: Faults,
    requests: VecDeque<Seen>,
    troubles: VecDeque<String>,
    random: StdRng,
}

/// A request that is being dealt with, whether or not its sender still waits.
pub(crate) struct UnderWay {
    desk: Arc<Desk>,
    number: u64,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.desk.under_way().remove(&self.number);
    }
}

/// Gives the place of a request in flight back.
pub(crate) struct Place<'desk>(&'desk AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Desk {
    pub(crate) fn new(
        keys: Keys,
        profile: Profile,
        limit: usize,
        seed: u64,
        studio: Arc<Studio>,
        web: reqwest::Client,
    ) -> Self {
        Self {
            keys,
            studio,
            courier: Courier::new(web.clone()),
            web,
            in_flight: AtomicUsize::new(0),
            under_way: Mutex::default(),
            numbers: AtomicU64::new(0),
            epoch: AtomicU64::new(0),
            first_profile: profile.clone(),
            first_limit: limit,
            inner: Mutex::new(Inner {
                profile,
                limit,
                ledger: Ledger::default(),
                faults: Faults::default(),
                requests: VecDeque::new(),
                troubles: VecDeque::new(),
                random: StdRng::seed_from_u64(seed),
            }),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn profile(&self) -> Profile {
        self.inner().profile.clone()
    }

    pub(crate) fn change_profile(&self, change: impl FnOnce(&mut Profile)) {
        change(&mut self.inner().profile);
    }

    pub(crate) fn limit(&self) -> usize {
        self.inner().limit
    }

    pub(crate) fn set_limit(&self, limit: usize) {
        self.inner().limit = limit;
    }

    /// A place among the requests in flight; nothing when all are taken.
    pub(crate) fn place(&self) -> Option<Place<'_>> {
        let limit = self.limit();
        let taken = self.in_flight.fetch_add(1, Ordering::SeqCst);
        let place = Place(&self.in_flight);
        (limit == 0 || taken < limit).then_some(place)
    }

    fn under_way(&self) -> MutexGuard<'_, BTreeMap<u64, Instant>> {
        self.under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The request of that number is dealt with until this is dropped.
    pub(crate) fn deal_with(self: &Arc<Self>, number: u64) -> UnderWay {
        self.under_way().insert(number, Instant::now());
        UnderWay {
            desk: Arc::clone(self),
            number,
        }
    }

    /// How long the oldest request that is being dealt with has taken so far.
    pub(crate) fn oldest_under_way(&self) -> Duration {
        let under_way = self.under_way();
        under_way
            .values()
            .min()
            .map_or(Duration::ZERO, Instant::elapsed)
    }

    /// Writes down what this simulator itself could not do, for whoever wonders why it
    /// answered with an error that nobody asked for.
    pub(crate) fn trouble(&self, what: &str, why: &dyn std::fmt::Display) {
        tracing::error!(%why, "{what}");
        let mut inner = self.inner();
        inner.troubles.push_back(format!("{what}: {why:#}"));
        if inner.troubles.len() > KEPT_TROUBLES {
            inner.troubles.pop_front();
        }
    }

    pub(crate) fn troubles(&self) -> Vec<String> {
        self.inner().troubles.iter().cloned().collect()
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::SeqCst)
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::SeqCst)
    }

    pub(crate) fn count(&self, route: &str) {
        self.inner().ledger.count(route);
    }

    pub(crate) fn book(&self, call: InvoiceCall) {
        self.inner().ledger.book(call);
    }

    pub(crate) fn refund(&self, task: &str) {
        self.inner().ledger.refund(task);
    }

    pub(crate) fn invoice(&self, vendor: Vendor) -> Invoice {
        self.inner().ledger.invoice(vendor)
    }

    pub(crate) fn add_faults(
        &self,
        faults: Vec<Fault>,
        routes: &[String],
    ) -> Result<(), FaultError> {
        // All or none: they are tried on an empty list first.
        let mut trial = Faults::default();
        for fault in &faults {
            trial.add(fault.clone(), routes)?;
        }
        let mut inner = self.inner();
        faults
            .into_iter()
            .try_for_each(|fault| inner.faults.add(fault, routes))
    }

    pub(crate) fn clear_faults(&self) {
        self.inner().faults.clear();
    }

    pub(crate) fn faults(&self) -> Vec<Fault> {
        self.inner().faults.list()
    }

    pub(crate) fn strike(&self, method: &str, route: &str, path: &str) -> Vec<Fault> {
        let inner = &mut *self.inner();
        inner.faults.strike(method, route, path, &mut inner.random)
    }

    /// Writes a request into the log and numbers it.
    pub(crate) fn log(&self, mut seen: Seen) -> u64 {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed) + 1;
        seen.number = number;
        let mut inner = self.inner();
        if inner.requests.len() == KEPT_REQUESTS {
            inner.requests.pop_front();
        }
        inner.requests.push_back(seen);
        number
    }

    pub(crate) fn log_status(&self, number: u64, status: u16) {
        let mut inner = self.inner();
        let entry = inner
            .requests
            .iter_mut()
            .rev()
            .find(|seen| seen.number == number);
        if let Some(seen) = entry {
            seen.status = Some(status);
        }
    }

    pub(crate) fn requests(&self) -> Vec<Seen> {
        self.inner().requests.iter().cloned().collect()
    }

    /// Random hex of so many digits: the same for the same seed and course of calls.
    pub(crate) fn token(&self, digits: usize) -> String {
        let mut inner = self.inner();
        (0..digits)
            .map(|_| char::from_digit(inner.random.random_range(0..16), 16).unwrap_or('0'))
            .collect()
    }

    /// Random decimal of so many digits.
    pub(crate) fn digits(&self, digits: usize) -> String {
        let mut inner = self.inner();
        (0..digits)
            .map(|_| char::from_digit(inner.random.random_range(1..10), 10).unwrap_or('1'))
            .collect()
    }

    /// Webhooks that are still to come stay away.
    pub(crate) fn silence(&self) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
    }

    /// Everything as at the start.
    pub(crate) fn reset(&self) {
        self.silence();
        self.courier.clear();
        let mut inner = self.inner();
        inner.profile = self.first_profile.clone();
        inner.limit = self.first_limit;
        inner.ledger = Ledger::default();
        inner.faults.clear();
        inner.requests.clear();
        inner.troubles.clear();
    }
}
