//! The way to addresses that users give, the only one: public addresses, resolved once for each
//! request, no redirects, no proxy, no cookies, no decompression, bounds on time and size.

use std::{
    error::Error as _,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use futures::StreamExt as _;
use reqwest::{
    Client, Response, StatusCode,
    dns::{Addrs, Name, Resolve, Resolving},
    header::{HeaderMap, RETRY_AFTER},
    redirect::Policy,
};
use url::{Host, Url};

use crate::{
    input::is_public_host,
    time::Timestamp,
    webhooks::{Answer, EXCERPT, Parcel, Post, PostError},
};

/// Longest time for a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// Longest time for the body of an answer whose status is there.
const READ: Duration = Duration::from_secs(2);
/// What receivers see of who calls.
const AGENT: &str = concat!("Genvid/", env!("CARGO_PKG_VERSION"), " (webhooks)");

/// Sends to addresses that users give.
pub struct Web {
    client: Client,
    timeout: Duration,
    lenient: bool,
}

impl Web {
    /// A way out, with a bound on the time of a request. `lenient`: also to private addresses
    /// and over http, for development.
    ///
    /// # Errors
    /// When the system's certificates cannot be read.
    pub fn new(timeout: Duration, lenient: bool) -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .user_agent(AGENT)
            .redirect(Policy::none())
            .no_proxy()
            .dns_resolver(Arc::new(Checked { lenient }))
            // A connection that stays open would go on to an address that was looked at long ago.
            .pool_max_idle_per_host(0)
            .connect_timeout(CONNECT)
            .http1_only()
            .build()?;
        Ok(Self {
            client,
            timeout,
            lenient,
        })
    }

    /// What can be said of an address before anything is resolved. The library asks the
    /// resolver for names only, so literal addresses are looked at here.
    fn check(&self, url: &str) -> Result<Url, PostError> {
        let url = Url::parse(url).map_err(|_| PostError::Refused("the address is none"))?;
        let known = match url.scheme() {
            "https" => true,
            "http" => self.lenient,
            _ => false,
        };
        if !known {
            return Err(PostError::Refused("only https addresses are asked"));
        }
        let literal = !matches!(url.host(), Some(Host::Domain(_)));
        if literal && !self.lenient && !is_public_host(&url) {
            return Err(PostError::Refused(PRIVATE));
        }
        Ok(url)
    }
}

#[async_trait]
impl Post for Web {
    async fn post(&self, parcel: Parcel) -> Result<Answer, PostError> {
        let url = self.check(&parcel.url)?;
        let mut request = self.client.post(url).body(parcel.body);
        for (name, value) in parcel.headers {
            request = request.header(name, value);
        }
        let answer = match tokio::time::timeout(self.timeout, request.send()).await {
            Ok(answer) => answer.map_err(|error| why(&error))?,
            Err(_) => return Err(PostError::Timeout),
        };
        let status = answer.status();
        let retry_after = retry_after(answer.headers());
        // The status is the receiver's word; a body that never ends does not change it.
        let excerpt = tokio::time::timeout(READ, excerpt(answer)).await;
        Ok(Answer {
            status: StatusCode::as_u16(&status),
            retry_after,
            excerpt: excerpt.unwrap_or_default(),
        })
    }
}

/// What is said of addresses inside.
const PRIVATE: &str = "the address is not public";

/// A name leads to an address that nobody outside can reach.
#[derive(Debug, thiserror::Error)]
#[error("{PRIVATE}")]
struct Private;

/// Resolves names, and refuses one of whose addresses any is not public: the connection goes to
/// an address that was looked at, whatever the name leads to a moment later.
struct Checked {
    lenient: bool,
}

impl Resolve for Checked {
    fn resolve(&self, name: Name) -> Resolving {
        let lenient = self.lenient;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let found: Vec<SocketAddr> = found.collect();
            if !lenient && !all_public(found.iter().map(SocketAddr::ip)) {
                return Err(Private.into());
            }
            let found: Addrs = Box::new(found.into_iter());
            Ok(found)
        })
    }
}

fn all_public(mut addresses: impl Iterator<Item = IpAddr>) -> bool {
    addresses.all(genvid_runtime::is_public)
}

/// Plain words for the owner; nothing of the inside of this network.
fn why(error: &reqwest::Error) -> PostError {
    let mut cause = error.source();
    while let Some(error) = cause {
        if error.is::<Private>() {
            return PostError::Refused(PRIVATE);
        }
        cause = error.source();
    }
    if error.is_timeout() {
        PostError::Timeout
    } else if error.is_connect() {
        PostError::Failed("no connection could be made, or not a safe one")
    } else if error.is_builder() {
        PostError::Refused("the address is none")
    } else {
        PostError::Failed("the answer broke off or is no HTTP")
    }
}

/// The beginning of a body. Whatever comes behind it is not read.
pub(super) async fn excerpt(answer: Response) -> String {
    let mut bytes = Vec::with_capacity(EXCERPT);
    let mut body = answer.bytes_stream();
    while let Some(Ok(chunk)) = body.next().await {
        let room = EXCERPT - bytes.len();
        bytes.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if bytes.len() >= EXCERPT {
            break;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// How long the receiver asks to wait: seconds, or until a time (RFC 9110, 10.2.3).
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = chrono::DateTime::parse_from_rfc2822(text).ok()?;
    Some(Timestamp::from(until.to_utc()).since(crate::time::now()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nothing_inside_is_asked() {
        let web = Web::new(Duration::from_secs(5), false).expect("a client");
        for url in [
            "http://example.com/",
            "ftp://example.com/",
            "https://127.0.0.1/",
            "https://127.1/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://0.0.0.0/",
            "https://10.0.0.1/",
            "https://100.64.0.1/",
            "https://169.254.169.254/latest/meta-data/",
            "https://192.168.0.1/",
            "https://198.18.0.1/",
            "https://[::]/",
            "https://[::1]/",
            "https://[::ffff:127.0.0.1]/",
            "https://[::ffff:a9fe:a9fe]/",
            "https://[64:ff9b::7f00:1]/",
            "https://[fd00::1]/",
            "https://[fe80::1]/",
            // Names are looked up; these lead here by themselves.
            "https://localhost/",
            "https://LOCALHOST:8443/",
        ] {
            let parcel = Parcel {
                url: url.to_owned(),
                headers: Vec::new(),
                body: bytes::Bytes::new(),
            };
            let refused = web.post(parcel).await.expect_err(url);
            assert!(matches!(refused, PostError::Refused(_)), "{url}: {refused}");
        }
    }

    #[test]
    fn one_private_address_is_enough() {
        let mixed = ["8.8.8.8", "10.0.0.1"].map(|text| text.parse().expect("an address"));
        assert!(!all_public(mixed.into_iter()));
        assert!(all_public(mixed.into_iter().take(1)));
    }

    #[test]
    fn waits_are_read_in_both_forms() {
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().expect("a value"));
            retry_after(&headers)
        };
        assert_eq!(read("120"), Some(Duration::from_secs(120)));
        let past = read("Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(past, Some(Duration::ZERO));
        assert!(read("Fri, 31 Dec 2100 23:59:59 GMT") > Some(Duration::from_secs(1)));
        for bad in ["soon", "-1", ""] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
