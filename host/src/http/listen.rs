//! Connections. TLS that this server ends itself: TLS 1.3 and nothing older, with a certificate that is read again
//! when its files change, since certificates are renewed while servers run.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use axum::serve::Listener;
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
    version::TLS13,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
    task::JoinHandle,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// How long a client may take to agree on keys.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Clients that agree at a time; more wait for their turn in the system's queue. Many, so that those who
/// say nothing hold up nobody else.
const AT_ONCE: usize = 4_096;
/// How often the files are looked at.
const EVERY: Duration = Duration::from_secs(5);

/// Where a certificate and its key lie, in PEM (RFC 7468).
#[derive(Debug, Clone)]
pub struct Files {
    /// The certificate, and those between it and an authority behind it.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl Files {
    fn read(&self) -> anyhow::Result<CertifiedKey> {
        let chain = CertificateDer::pem_file_iter(&self.certificate)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let chain = chain.with_context(|| {
            format!(
                "no certificate can be read from {}",
                self.certificate.display()
            )
        })?;
        anyhow::ensure!(
            !chain.is_empty(),
            "there is no certificate in {}",
            self.certificate.display()
        );
        let key = PrivateKeyDer::from_pem_file(&self.key)
            .with_context(|| format!("no private key can be read from {}", self.key.display()))?;
        let provider = aws_lc_rs::default_provider();
        CertifiedKey::from_der(chain, key, &provider).with_context(|| {
            format!(
                "the key in {} is not the one of the certificate in {}",
                self.key.display(),
                self.certificate.display()
            )
        })
    }

    /// When both were written; nothing while one of them is not there.
    fn written(&self) -> Option<(SystemTime, SystemTime)> {
        let at = |path: &Path| path.metadata().and_then(|file| file.modified()).ok();
        Some((at(&self.certificate)?, at(&self.key)?))
    }
}

/// The certificate of now.
#[derive(Debug)]
struct Present(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Present {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let present = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&present))
    }
}

/// Connections without TLS, for this machine and for proxies.
pub struct PlainListener(pub TcpListener);

impl Listener for PlainListener {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (stream, peer) = Listener::accept(&mut self.0).await;
        prompt(&stream);
        (stream, peer)
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.0.local_addr()
    }
}

/// Events are small frames: none of them waits for a fuller packet.
fn prompt(stream: &TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection sends in bursts");
    }
}

/// Connections that have agreed on keys. Those that do not, or not in time, never show up here.
pub struct TlsListener {
    agreed: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
    address: SocketAddr,
    tasks: [JoinHandle<()>; 2],
}

impl TlsListener {
    /// Over a listener.
    ///
    /// # Errors
    /// When the certificate or its key cannot be used.
    pub fn new(listener: TcpListener, files: Files) -> anyhow::Result<Self> {
        let written = files.written();
        let present = Arc::new(Present(RwLock::new(Arc::new(files.read()?))));
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .context("TLS 1.3 is not there")?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&present) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let address = listener.local_addr()?;
        let (sender, agreed) = mpsc::channel(1);
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Ok(Self {
            agreed,
            address,
            tasks: [
                tokio::spawn(accept(listener, acceptor, sender)),
                tokio::spawn(keep(files, written, present)),
            ],
        })
    }
}

impl Drop for TlsListener {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.agreed.recv().await {
            Some(agreed) => agreed,
            // Nothing is accepted any more; the server is about to stop.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        Ok(self.address)
    }
}

/// Lets clients agree, each by itself: one that says nothing holds up no other.
async fn accept(
    mut listener: TcpListener,
    acceptor: TlsAcceptor,
    agreed: mpsc::Sender<(TlsStream<TcpStream>, SocketAddr)>,
) {
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        let Ok(turn) = Arc::clone(&turns).acquire_owned().await else {
            return;
        };
        let (stream, peer) = Listener::accept(&mut listener).await;
        prompt(&stream);
        let (acceptor, agreed) = (acceptor.clone(), agreed.clone());
        tokio::spawn(async move {
            let stream = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await;
            drop(turn);
            match stream {
                // Nobody takes it any more when the server stops.
                Ok(Ok(stream)) => drop(agreed.send((stream, peer)).await),
                Ok(Err(error)) => tracing::debug!(%peer, %error, "a client does not agree on keys"),
                Err(_) => tracing::debug!(%peer, "a client agrees on no keys in time"),
            }
        });
    }
}

/// Takes over what is new in the files, once both fit together.
async fn keep(files: Files, mut written: Option<(SystemTime, SystemTime)>, present: Arc<Present>) {
    loop {
        tokio::time::sleep(EVERY).await;
        let looked = files.clone();
        let before = written;
        let looking = tokio::task::spawn_blocking(move || {
            let now = looked.written();
            let changed = now.is_some() && now != before;
            (now, changed.then(|| looked.read()))
        });
        let Ok((now, Some(read))) = looking.await else {
            continue;
        };
        written = now;
        match read {
            Ok(key) => {
                *(present.0.write()).unwrap_or_else(PoisonError::into_inner) = Arc::new(key);
                tracing::info!("the certificate was changed; new connections get the new one");
            }
            Err(error) => tracing::warn!(
                error = format!("{error:#}"),
                "the changed certificate cannot be used; the one before stays"
            ),
        }
    }
}
