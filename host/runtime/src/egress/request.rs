//! One request of a guest, from its words to the head of the answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt;
use hmac::{Hmac, KeyInit, Mac};
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, StatusCode};
use secrecy::ExposeSecret;
use sha2::Sha256;
use tokio::time::timeout_at;
use url::Url;

use super::Egress;
use super::connect::Route;
use super::credential::Filled;
use super::exchange::{Answer, ExchangeError, exchange};
use super::outgoing::{Plan, PlanError};
use super::scrub::Scrubber;
use super::{headers, rules};
use crate::assets::AssetStore;
use crate::contract::generated::genvid::provider::http as guest;
use crate::contract::types::{Error, ErrorKind};
use crate::meter::Meter;
use crate::pace::Pass;

/// Most redirects that are followed.
const REDIRECTS: usize = 5;

const LONGEST_URL: usize = 8 * 1024;

/// What a request works for.
pub(super) struct Job {
    pub(super) meter: Arc<Meter>,
    pub(super) assets: Arc<dyn AssetStore>,
    /// When the whole call ends.
    pub(super) deadline: Instant,
}

/// An answer whose body is still to come.
pub(super) struct Begun {
    pub(super) answer: Answer,
    pub(super) scrubber: Arc<Scrubber>,
    pub(super) safe: bool,
    /// When the request ends.
    pub(super) deadline: Instant,
    pub(super) meter: Arc<Meter>,
}

impl Begun {
    /// The next piece of the body, before the deadline.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        let chunk = timeout_at(self.deadline.into(), self.answer.chunk()).await;
        match chunk {
            Ok(Ok(chunk)) => Ok(chunk),
            Ok(Err(why)) => Err(lost(self.safe, format!("the answer broke off: {why}"))),
            Err(_) => Err(lost(self.safe, "the answer did not end in time".to_owned())),
        }
    }

    /// The whole answer is here.
    pub(super) fn complete(&self) {
        if !self.safe {
            self.meter.answered();
        }
    }
}

pub(super) fn error(kind: ErrorKind, message: impl Into<String>) -> Error {
    Error {
        kind,
        message: message.into(),
        vendor_code: None,
    }
}

pub(super) fn refused(message: impl Into<String>) -> Error {
    error(ErrorKind::NotPermitted, message)
}

/// A request that was sent and has no whole answer.
pub(super) fn lost(safe: bool, message: String) -> Error {
    error(
        if safe {
            ErrorKind::Unavailable
        } else {
            ErrorKind::OutcomeUnknown
        },
        message,
    )
}

fn unsent(message: String) -> Error {
    error(ErrorKind::Unavailable, message)
}

/// A request in the making; redirects change it.
struct Draft {
    method: Method,
    url: Url,
    headers: HeaderMap,
    plan: Plan,
}

impl Egress {
    /// Checks and sends a request and waits for the head of the answer.
    pub(super) async fn begin(&self, job: &Job, request: guest::Request) -> Result<Begun, Error> {
        let deadline = self.deadline(job, request.timeout_ms)?;
        let before = job.meter.begun_count();
        match timeout_at(deadline.into(), self.hops(job, request, deadline)).await {
            Ok(result) => result,
            // What was being done is dropped, so that nothing more leaves.
            Err(_) if job.meter.begun_count() > before => {
                Err(lost(false, "the vendor did not answer in time".to_owned()))
            }
            Err(_) => Err(unsent("the vendor did not answer in time".to_owned())),
        }
    }

    /// The request's own limit, but early enough before the end of the call for the guest to
    /// deal with it.
    fn deadline(&self, job: &Job, timeout_ms: Option<u32>) -> Result<Instant, Error> {
        let whole = Duration::from_millis(self.limits.call_timeout_ms.into());
        let reserve = (whole / 10).min(Duration::from_secs(1));
        let latest = job.deadline.checked_sub(reserve).unwrap_or(job.deadline);
        match timeout_ms {
            None => Ok(latest),
            Some(timeout) if (100..=600_000).contains(&timeout) => {
                Ok(latest.min(Instant::now() + Duration::from_millis(timeout.into())))
            }
            Some(timeout) => Err(refused(format!(
                "a timeout of {timeout} ms; 100 to 600,000 are allowed"
            ))),
        }
    }

    async fn hops(
        &self,
        job: &Job,
        request: guest::Request,
        deadline: Instant,
    ) -> Result<Begun, Error> {
        let mut draft = self.draft(job, request).await?;
        for hop in 0..=REDIRECTS {
            let rule = self.rules.api(&draft.method, &draft.url).map_err(refused)?;
            let credential = self.credential(rule)?;
            if hop > 0 && credential.is_some() {
                return Err(refused(
                    "a redirect to where credentials are needed is not allowed",
                ));
            }
            let begun = self.hop(job, &draft, credential, deadline).await?;
            let status = begun.answer.head.status;
            if !is_redirect(status) {
                return Ok(begun);
            }
            begun.complete();
            if credential.is_some() {
                return Err(refused(format!(
                    "status {}: redirects of requests with credentials are not followed",
                    status.as_u16()
                )));
            }
            redirect(
                &mut draft,
                status,
                begun.answer.head.headers.get(header::LOCATION),
            )?;
        }
        Err(refused(format!("more than {REDIRECTS} redirects")))
    }

    /// Checks everything that does not depend on where the request goes in the end.
    async fn draft(&self, job: &Job, request: guest::Request) -> Result<Draft, Error> {
        let method = match request.method {
            guest::Method::Get => Method::GET,
            guest::Method::Head => Method::HEAD,
            guest::Method::Post => Method::POST,
            guest::Method::Put => Method::PUT,
            guest::Method::Patch => Method::PATCH,
            guest::Method::Delete => Method::DELETE,
        };
        if request.url.len() > LONGEST_URL {
            return Err(refused(format!("a URL longer than {LONGEST_URL} bytes")));
        }
        let mut url = Url::parse(&request.url)
            .map_err(|why| refused(format!("the URL is not valid: {why}")))?;
        url.set_fragment(None);
        if let Some((name, _)) = url
            .query_pairs()
            .find(|(name, _)| self.own_parameters.iter().any(|own| own == name))
        {
            return Err(refused(format!(
                "the query parameter `{name}` is the host's own"
            )));
        }
        // Before anything is read from storage for a request that may not be made.
        self.rules.api(&method, &url).map_err(refused)?;
        let headers = headers::from_guest(&request.headers, &self.own_headers).map_err(refused)?;
        let plan = Plan::new(request.body, job.assets.as_ref())
            .await
            .map_err(|why| match why {
                PlanError::Refused(why) => refused(why),
                PlanError::NoAsset(name) => error(
                    ErrorKind::NotFound,
                    format!("this job has no asset `{name}`"),
                ),
                PlanError::Storage(why) => unsent(format!("an asset cannot be read: {why}")),
            })?;
        if matches!(method, Method::GET | Method::HEAD) && !plan.is_empty() {
            return Err(refused(format!("a {method} request has no body")));
        }
        Ok(Draft {
            method,
            url,
            headers,
            plan,
        })
    }

    fn credential(&self, rule: &rules::Rule) -> Result<Option<&Filled>, Error> {
        let Some(name) = &rule.credential else {
            return Ok(None);
        };
        self.credentials.get(name).map(Some).ok_or_else(|| {
            let why = format!("the operator gave no secret for the credential `{name}`");
            error(ErrorKind::Unauthorized, why)
        })
    }

    /// When the next request may go.
    async fn turn(&self, deadline: Instant) -> Option<Instant> {
        let now = Instant::now();
        let share = match &self.client.pace {
            None => 1,
            Some(pace) => {
                let within = deadline.saturating_duration_since(now);
                let most = self.limits.requests_per_second;
                match pace.take(&self.plugin, most, within).await {
                    Pass::After(wait) => return Some(Instant::now() + wait),
                    Pass::TooLate => return None,
                    Pass::Share(share) => share,
                }
            }
        };
        self.rate.take(now, deadline, share)
    }

    async fn hop(
        &self,
        job: &Job,
        draft: &Draft,
        credential: Option<&Filled>,
        deadline: Instant,
    ) -> Result<Begun, Error> {
        if job.meter.requests() >= self.limits.requests_per_call {
            let most = self.limits.requests_per_call;
            return Err(refused(format!("more than {most} requests in one call")));
        }
        let at = self
            .turn(deadline)
            .await
            .ok_or_else(|| unsent("this plugin's requests per second are used up".to_owned()))?;
        if at > Instant::now() {
            tokio::time::sleep_until(at.into()).await;
        }
        job.meter.request();

        let mut url = draft.url.clone();
        let mut headers = self.base_headers(&url, &draft.headers, draft.plan.mime.as_deref())?;
        let mut made = Vec::new();
        if let Some(credential) = credential {
            let now = crate::state::now_ms() / 1_000;
            let signature = sign(credential, now, &draft.plan, &job.assets).await?;
            made = credential
                .apply(&mut headers, &mut url, now, signature.as_deref())
                .map_err(refused)?;
        }
        let route = Route::to(&url, &self.reroutes).map_err(refused)?;
        let target = match url.query() {
            Some(query) => format!("{}{}?{query}", route.prefix, url.path()),
            None => format!("{}{}", route.prefix, url.path()),
        };
        let safe = matches!(draft.method, Method::GET | Method::HEAD);
        let started = Instant::now();
        let make = || {
            let request = Request::builder()
                .method(draft.method.clone())
                .uri(target.as_str());
            let built = request
                .body(draft.plan.body(&job.assets))
                .map(|mut request| {
                    *request.headers_mut() = headers.clone();
                    request
                });
            std::future::ready(built.map_err(|why| why.to_string()))
        };
        let connector = &self.client.connector;
        let sent = exchange(connector, &self.pool, &route, safe, Some(&job.meter), make).await;
        let host = url.host_str().unwrap_or_default();
        let answer = sent.map_err(|why| {
            tracing::debug!(method = %draft.method, host, path = url.path(), ?why, "no answer");
            let why = match why {
                ExchangeError::Refused(why) => refused(why),
                ExchangeError::Unsent(why) => unsent(why),
                ExchangeError::Lost(why) => lost(safe, format!("sent but not answered: {why}")),
            };
            Error {
                message: self.scrubber.with(&made).text(why.message),
                ..why
            }
        })?;
        let status = answer.head.status.as_u16();
        job.meter.status(status);
        tracing::debug!(
            method = %draft.method, host, path = url.path(), status,
            milliseconds = started.elapsed().as_millis(), "answered"
        );
        let scrubber = self.scrubber.with(&made);
        Ok(Begun {
            answer,
            scrubber,
            safe,
            deadline,
            meter: Arc::clone(&job.meter),
        })
    }

    pub(super) fn base_headers(
        &self,
        url: &Url,
        given: &HeaderMap,
        mime: Option<&str>,
    ) -> Result<HeaderMap, Error> {
        let mut all = given.clone();
        // The vendor's own name, also when an operator sends the request elsewhere.
        let host = HeaderValue::from_str(url.host_str().unwrap_or_default())
            .map_err(|_| refused("the host does not fit into a header"))?;
        all.insert(header::HOST, host);
        all.insert(header::USER_AGENT, self.client.user_agent.clone());
        // No compression: sizes are what they seem, and nothing small unfolds into much.
        all.insert(
            header::ACCEPT_ENCODING,
            HeaderValue::from_static("identity"),
        );
        if !all.contains_key(header::ACCEPT) {
            all.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
        }
        if let Some(mime) = mime
            && (!all.contains_key(header::CONTENT_TYPE) || mime.starts_with("multipart/"))
        {
            let mime = HeaderValue::from_str(mime)
                .map_err(|_| refused("a media type does not fit into a header"))?;
            all.insert(header::CONTENT_TYPE, mime);
        }
        Ok(all)
    }
}

pub(super) fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Points the request to where the answer says, by RFC 9110, section 15.4.
fn redirect(
    draft: &mut Draft,
    status: StatusCode,
    location: Option<&HeaderValue>,
) -> Result<(), Error> {
    let target = location
        .and_then(|location| location.to_str().ok())
        .filter(|location| location.len() <= LONGEST_URL)
        .and_then(|location| draft.url.join(location).ok())
        .ok_or_else(|| refused("a redirect that leads nowhere"))?;
    let keeps_method =
        matches!(status.as_u16(), 307 | 308) || matches!(draft.method, Method::GET | Method::HEAD);
    if !keeps_method {
        draft.method = Method::GET;
        draft.plan = Plan::default();
        draft.headers.remove(header::CONTENT_TYPE);
    }
    if target.host_str() != draft.url.host_str() {
        // What was meant for one host is not told to another.
        let kept = [
            header::ACCEPT,
            header::ACCEPT_LANGUAGE,
            header::CONTENT_TYPE,
            header::RANGE,
        ];
        let headers = std::mem::take(&mut draft.headers);
        for name in kept {
            if let Some(value) = headers.get(&name) {
                draft.headers.insert(name, value.clone());
            }
        }
    }
    draft.url = target;
    draft.url.set_fragment(None);
    Ok(())
}

/// The signature over the body, for recipes that sign it.
async fn sign(
    credential: &Filled,
    now: u64,
    plan: &Plan,
    assets: &Arc<dyn AssetStore>,
) -> Result<Option<String>, Error> {
    if !credential.signs_body() {
        return Ok(None);
    }
    let key = credential.secret.expose_secret().as_bytes();
    let mut mac = Hmac::<Sha256>::new_from_slice(key)
        .expect("HMAC takes keys of any length (RFC 2104, section 2)");
    mac.update(credential.signed_prefix(now).as_bytes());
    let mut body = plan.stream(assets);
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|why| unsent(format!("an asset cannot be read: {why}")))?;
        mac.update(&chunk);
    }
    Ok(Some(hex::encode(mac.finalize().into_bytes())))
}
