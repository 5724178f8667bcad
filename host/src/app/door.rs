//! Listening: with TLS of this server's own, or for a proxy that has it.

use std::net::SocketAddr;

use anyhow::Context as _;
use axum::{
    Router,
    extract::connect_info::Connected,
    serve::{IncomingStream, Listener},
};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use crate::{
    config,
    http::{
        Peer,
        listen::{Files, PlainListener, TlsListener},
    },
};

/// What this server speaks TLS with itself, if it does.
pub(super) fn tls(server: &config::Server) -> Option<Files> {
    (!server.tls_certificate.is_empty()).then(|| Files {
        certificate: server.tls_certificate.clone().into(),
        key: server.tls_key.clone().into(),
    })
}

/// Answers until it is to stop.
///
/// # Errors
/// When the certificate or its key cannot be used.
pub(super) fn open(
    listener: TcpListener,
    tls: Option<Files>,
    router: Router,
    stopping: watch::Receiver<bool>,
) -> anyhow::Result<JoinHandle<std::io::Result<()>>> {
    Ok(match tls {
        Some(files) => {
            let listener = TlsListener::new(listener, files);
            let listener = listener.context("server.tls_certificate and server.tls_key")?;
            tokio::spawn(serve(listener, router, stopping))
        }
        None => tokio::spawn(serve(PlainListener(listener), router, stopping)),
    })
}

async fn serve<L>(
    listener: L,
    router: Router,
    mut stopping: watch::Receiver<bool>,
) -> std::io::Result<()>
where
    L: Listener<Addr = SocketAddr>,
    Peer: for<'a> Connected<IncomingStream<'a, L>>,
{
    let router = router.into_make_service_with_connect_info::<Peer>();
    axum::serve(listener, router)
        .with_graceful_shutdown(async move {
            // An error means that the app is gone, which is a stop too.
            let _ = stopping.wait_for(|stop| *stop).await;
        })
        .await
}
