//! Delivers webhooks.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{desk::Desk, run::now_ms, twists::Twists};

/// Newest deliveries that are kept.
const KEPT_DELIVERIES: usize = 1_000;
/// The vendor waits so long for an answer (HeyGen: 10 s).
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Waits between tries. The vendor goes on for up to a day; a simulator gives up sooner.
pub(crate) const RETRY_AFTER_MS: [u64; 6] = [500, 1_000, 2_000, 4_000, 8_000, 16_000];

/// One try to deliver a webhook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    /// Milliseconds since 1970.
    pub at: i64,
    /// Where to.
    pub url: String,
    /// The vendor's id of the event: the same for each try and each duplicate.
    pub event_id: String,
    /// The body.
    pub body: String,
    /// Status of the answer; nothing when there was none.
    pub status: Option<u16>,
}

/// A webhook that is ready to go.
pub(crate) struct Letter {
    pub(crate) url: String,
    pub(crate) event_id: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
}

pub(crate) struct Courier {
    web: reqwest::Client,
    log: Mutex<VecDeque<Delivery>>,
}

impl Courier {
    pub(crate) fn new(web: reqwest::Client) -> Self {
        Self {
            web,
            log: Mutex::default(),
        }
    }

    pub(crate) fn clear(&self) {
        self.log
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    pub(crate) fn deliveries(&self) -> Vec<Delivery> {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.iter().cloned().collect()
    }

    fn write(&self, delivery: Delivery) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        if log.len() == KEPT_DELIVERIES {
            log.pop_front();
        }
        log.push_back(delivery);
    }

    /// One try; true when the receiver answered 2xx.
    pub(crate) async fn try_once(&self, letter: &Letter) -> bool {
        let mut request = self
            .web
            .post(&letter.url)
            .timeout(ANSWER_WITHIN)
            .header("content-type", "application/json")
            .body(letter.body.clone());
        for (name, value) in &letter.headers {
            request = request.header(name, value);
        }
        let status = match request.send().await {
            Ok(response) => Some(response.status()),
            Err(error) => {
                tracing::debug!(url = letter.url, %error, "webhook was not delivered");
                None
            }
        };
        self.write(Delivery {
            at: now_ms(),
            url: letter.url.clone(),
            event_id: letter.event_id.clone(),
            body: String::from_utf8_lossy(&letter.body).into_owned(),
            status: status.map(|status| status.as_u16()),
        });
        status.is_some_and(|status| status.is_success())
    }
}

/// Sends a webhook after a wait, with the vendor's retries and the twists of the task.
pub(crate) fn post<F>(desk: Arc<Desk>, wait: Duration, twists: Arc<Twists>, letter: F)
where
    F: FnOnce() -> Letter + Send + 'static,
{
    if twists.hook_lost {
        return;
    }
    let epoch = desk.epoch();
    tokio::spawn(async move {
        tokio::time::sleep(wait + twists.hook_late).await;
        // Written only now, so that its timestamp and its state are those of the sending.
        let letter = letter();
        for _ in 0..=twists.hook_copies {
            for retry in RETRY_AFTER_MS {
                if desk.epoch() != epoch || desk.courier.try_once(&letter).await {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(retry)).await;
            }
        }
    });
}
