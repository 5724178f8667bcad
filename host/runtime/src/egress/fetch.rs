//! The host's own download of a result.

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use http::header::{self, HeaderMap};
use http::{Method, Request};
use url::Url;

use super::Egress;
use super::connect::Route;
use super::exchange::{Answer, ExchangeError, Outgoing, exchange};
use super::headers;
use super::request::is_redirect;
use crate::error::FetchError;

const REDIRECTS: usize = 5;
/// Until the head of an answer.
const HEAD: Duration = Duration::from_secs(30);
/// Between two pieces of a body.
const PIECE: Duration = Duration::from_secs(60);
/// For the whole body.
const WHOLE: Duration = Duration::from_secs(3_600);

/// A result on its way.
pub struct Fetched {
    /// Media type as the vendor says it, without parameters.
    pub mime: Option<String>,
    /// Length in bytes, if the vendor says it.
    pub size: Option<u64>,
    /// The bytes; an error when they stop, come too slowly or are too many.
    pub body: BoxStream<'static, io::Result<Bytes>>,
}

impl fmt::Debug for Fetched {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Fetched")
            .field("mime", &self.mime)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

impl Egress {
    pub(crate) async fn fetch(&self, url: &str, max_bytes: u64) -> Result<Fetched, FetchError> {
        let refused = |why: String| FetchError::NotPermitted(why);
        let mut url =
            Url::parse(url).map_err(|why| refused(format!("the URL is not valid: {why}")))?;
        for _ in 0..=REDIRECTS {
            url.set_fragment(None);
            self.rules.media(&url).map_err(refused)?;
            let answer = tokio::time::timeout(HEAD, self.get(&url))
                .await
                .map_err(|_| FetchError::Unavailable("no answer in time".to_owned()))??;
            let status = answer.head.status;
            if is_redirect(status) {
                url = answer
                    .head
                    .headers
                    .get(header::LOCATION)
                    .and_then(|location| location.to_str().ok())
                    .and_then(|location| url.join(location).ok())
                    .ok_or_else(|| refused("a redirect that leads nowhere".to_owned()))?;
                continue;
            }
            // Without a range in the request, 206 would be a part for the whole.
            if status != http::StatusCode::OK {
                return Err(FetchError::Status(status.as_u16()));
            }
            let size = answer.announced();
            if let Some(size) = size
                && size > max_bytes
            {
                return Err(FetchError::TooLarge {
                    size,
                    limit: max_bytes,
                });
            }
            let mime = headers::mime_of(&answer.head.headers);
            return Ok(Fetched {
                mime,
                size,
                body: body(answer, max_bytes),
            });
        }
        Err(FetchError::NotPermitted(format!(
            "more than {REDIRECTS} redirects"
        )))
    }

    async fn get(&self, url: &Url) -> Result<Answer, FetchError> {
        let headers = self
            .base_headers(url, &HeaderMap::new(), None)
            .map_err(|why| FetchError::NotPermitted(why.message))?;
        let route = Route::to(url, &self.reroutes).map_err(FetchError::NotPermitted)?;
        let target = match url.query() {
            Some(query) => format!("{}{}?{query}", route.prefix, url.path()),
            None => format!("{}{}", route.prefix, url.path()),
        };
        let make = || {
            let request = Request::builder().method(Method::GET).uri(target.as_str());
            let built = request.body(Outgoing::empty()).map(|mut request| {
                *request.headers_mut() = headers.clone();
                request
            });
            std::future::ready(built.map_err(|why| why.to_string()))
        };
        exchange(&self.client.connector, &self.pool, &route, true, None, make)
            .await
            .map_err(|why| match why {
                ExchangeError::Refused(why) => FetchError::NotPermitted(why),
                ExchangeError::Unsent(why) | ExchangeError::Lost(why) => {
                    FetchError::Unavailable(why)
                }
            })
    }
}

fn body(answer: Answer, max_bytes: u64) -> BoxStream<'static, io::Result<Bytes>> {
    let end = Instant::now() + WHOLE;
    stream::unfold(Some((answer, max_bytes)), move |state| async move {
        let (mut answer, left) = state?;
        let late = (Instant::now() + PIECE).min(end);
        let chunk = match tokio::time::timeout_at(late.into(), answer.chunk()).await {
            Ok(Ok(Some(chunk))) => chunk,
            Ok(Ok(None)) => return None,
            Ok(Err(why)) => return Some((Err(io::Error::other(why)), None)),
            Err(_) => return Some((Err(io::Error::from(io::ErrorKind::TimedOut)), None)),
        };
        match left.checked_sub(chunk.len() as u64) {
            Some(left) => Some((Ok(chunk), Some((answer, left)))),
            None => {
                let why = format!("more than {max_bytes} bytes");
                Some((Err(io::Error::new(io::ErrorKind::FileTooLarge, why)), None))
            }
        }
    })
    .boxed()
}
