//! From a URL to a connection: resolve, check every address, connect to a checked one.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls_platform_verifier::Verifier;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use url::{Host, Url};

use super::address::is_public;
use super::rules::Reroute;
use crate::error::Error;
use crate::meter::Meter;

/// Time for resolving, for each address, and for the TLS handshake.
const STEP: Duration = Duration::from_secs(10);

/// Most addresses that are tried.
const ADDRESSES: usize = 4;

/// Where a request really goes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Route {
    tls: bool,
    host: String,
    port: u16,
    /// The operator named this target, so that it may lie inside.
    anywhere: bool,
    /// Path in front of the request's own, without a slash at its end.
    pub(crate) prefix: String,
}

impl Route {
    /// The way to the host of `url`, or to where the operator reroutes it.
    pub(crate) fn to(url: &Url, reroutes: &[Reroute]) -> Result<Self, String> {
        let host = url.host_str().ok_or("a URL without a host")?;
        let reroute = reroutes
            .iter()
            .find(|reroute| reroute.pattern.matches(host));
        let target = reroute.map_or(url, |reroute| &reroute.target);
        let prefix = reroute.map_or("", |reroute| reroute.target.path().trim_end_matches('/'));
        let host = match target.host().ok_or("a URL without a host")? {
            Host::Domain(name) => name.to_owned(),
            Host::Ipv4(address) => address.to_string(),
            Host::Ipv6(address) => address.to_string(),
        };
        Ok(Self {
            tls: target.scheme() == "https",
            host,
            port: target
                .port_or_known_default()
                .ok_or("a URL without a port")?,
            anywhere: reroute.is_some(),
            prefix: prefix.to_owned(),
        })
    }
}

/// Why there is no connection. Nothing was sent.
#[derive(Debug)]
pub(crate) enum ConnectError {
    /// The address is not allowed.
    Refused(String),
    /// Nobody answers.
    Unreachable(String),
}

/// Opens connections.
#[derive(Clone)]
pub(crate) struct Connector {
    tls: TlsConnector,
}

impl Connector {
    /// Trusts the system's certificates and `extra_roots`, in DER.
    pub(crate) fn new(extra_roots: Vec<Vec<u8>>) -> Result<Self, Error> {
        let wrong = |error: rustls::Error| Error::Tls(error.to_string());
        // The provider is named here, so that it does not depend on what else is linked.
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let roots = extra_roots.into_iter().map(CertificateDer::from);
        let verifier =
            Verifier::new_with_extra_roots(roots, Arc::clone(&provider)).map_err(wrong)?;
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(wrong)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            tls: TlsConnector::from(Arc::new(config)),
        })
    }

    /// Resolves once, refuses when any address is not public, and connects to one of those
    /// that were checked.
    pub(crate) async fn connect(&self, route: &Route) -> Result<Watched, ConnectError> {
        let addresses = resolve(route).await?;
        let mut failure = String::new();
        for address in addresses.into_iter().take(ADDRESSES) {
            match tokio::time::timeout(STEP, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return self.secure(route, stream).await,
                Ok(Err(error)) => failure = error.to_string(),
                Err(_) => failure = "no answer in time".to_owned(),
            }
        }
        Err(ConnectError::Unreachable(format!(
            "cannot connect to {}: {failure}",
            route.host
        )))
    }

    async fn secure(&self, route: &Route, stream: TcpStream) -> Result<Watched, ConnectError> {
        let unreachable = |why: String| {
            ConnectError::Unreachable(format!(
                "cannot secure the connection to {}: {why}",
                route.host
            ))
        };
        stream
            .set_nodelay(true)
            .map_err(|error| unreachable(error.to_string()))?;
        if !route.tls {
            return Ok(Watched::new(Io::Plain(stream)));
        }
        let name = ServerName::try_from(route.host.clone())
            .map_err(|error| unreachable(error.to_string()))?;
        match tokio::time::timeout(STEP, self.tls.connect(name, stream)).await {
            Ok(Ok(stream)) => Ok(Watched::new(Io::Tls(Box::new(stream)))),
            Ok(Err(error)) => Err(unreachable(error.to_string())),
            Err(_) => Err(unreachable("no answer in time".to_owned())),
        }
    }
}

async fn resolve(route: &Route) -> Result<Vec<SocketAddr>, ConnectError> {
    let addresses: Vec<SocketAddr> = match route.host.parse::<IpAddr>() {
        Ok(address) => vec![SocketAddr::new(address, route.port)],
        Err(_) => {
            let lookup = tokio::net::lookup_host((route.host.as_str(), route.port));
            let unreachable = |why: String| {
                ConnectError::Unreachable(format!("cannot resolve {}: {why}", route.host))
            };
            tokio::time::timeout(STEP, lookup)
                .await
                .map_err(|_| unreachable("no answer in time".to_owned()))?
                .map_err(|error| unreachable(error.to_string()))?
                .collect()
        }
    };
    if addresses.is_empty() {
        let message = format!("{} has no address", route.host);
        return Err(ConnectError::Unreachable(message));
    }
    if !route.anywhere && !addresses.iter().all(|address| is_public(address.ip())) {
        let message = format!("{} leads to an address that is not public", route.host);
        return Err(ConnectError::Refused(message));
    }
    Ok(addresses)
}

/// Tells whether a request's first byte was handed over for sending.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wire(Arc<WireState>);

#[derive(Debug, Default)]
struct WireState {
    touched: AtomicBool,
    meter: Mutex<Option<Arc<Meter>>>,
}

impl Wire {
    /// Prepares for the next request; `meter` is told when its first byte goes.
    pub(crate) fn arm(&self, meter: Option<Arc<Meter>>) {
        *self.slot() = meter;
        self.0.touched.store(false, Ordering::Relaxed);
    }

    /// Whether a byte of the request may have left.
    pub(crate) fn touched(&self) -> bool {
        self.0.touched.load(Ordering::Relaxed)
    }

    /// Before each write. An error, and nothing leaves, when the request may not begin.
    fn touch(&self) -> io::Result<()> {
        if self.touched() {
            return Ok(());
        }
        let mut slot = self.slot();
        if slot.as_ref().is_some_and(|meter| !meter.begin()) {
            return Err(io::Error::other("the caller may not send it any more"));
        }
        *slot = None;
        self.0.touched.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<Arc<Meter>>> {
        match self.0.meter.lock() {
            Ok(slot) => slot,
            // The value is whole at any time.
            Err(poisoned) => poisoned.into_inner(),
        }
    }
}

enum Io {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A connection that notes when a request begins to leave. It sits above TLS, so that a
/// handshake does not count.
pub(crate) struct Watched {
    io: Io,
    wire: Wire,
}

impl Watched {
    fn new(io: Io) -> Self {
        Self {
            io,
            wire: Wire::default(),
        }
    }

    pub(crate) fn wire(&self) -> Wire {
        self.wire.clone()
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Io::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Err(why) = self.wire.touch() {
            return Poll::Ready(Err(why));
        }
        match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Io::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Err(why) = self.wire.touch() {
            return Poll::Ready(Err(why));
        }
        match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Io::Tls(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.io {
            Io::Plain(stream) => stream.is_write_vectored(),
            Io::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_flush(context),
            Io::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Io::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
