//! TLS: what is trusted and what is not.
//!
//! The files in `tls/` are an authority, a certificate of its for 127.0.0.1, and that one's key
//! (PKCS #8), all DER, ECDSA on P-256, good for 100 years, made with `openssl req -x509`,
//! `openssl x509 -req` and `openssl pkcs8`. They protect nothing.

use std::sync::Arc;

use genvid_runtime::{Options, Plugin};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::support::{exchange, grant, guest, post, runtime};

const AUTHORITY: &[u8] = include_bytes!("tls/ca.der");
const CERTIFICATE: &[u8] = include_bytes!("tls/leaf.der");
const KEY: &[u8] = include_bytes!("tls/leaf.key.der");

/// Answers one request on each connection; answers its port.
async fn server() -> u16 {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(KEY));
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![CertificateDer::from(CERTIFICATE)], key)
        .expect("a certificate");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    return;
                };
                let mut buffer = [0; 4_096];
                if stream.read(&mut buffer).await.is_ok_and(|count| count > 0) {
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                    stream.write_all(answer).await.expect("the client listens");
                    stream.shutdown().await.expect("an end");
                }
            });
        }
    });
    port
}

async fn plugin(vendor: &str, extra_roots: Vec<Vec<u8>>) -> Plugin {
    let runtime = runtime(Options {
        max_instances: 2,
        extra_roots,
        ..Options::default()
    });
    let component = runtime.load(guest()).await.expect("the guest loads");
    component.configure(grant(vendor)).expect("the grant fits")
}

#[tokio::test]
async fn a_trusted_certificate_of_the_right_name_is_accepted() {
    let vendor = format!("https://127.0.0.1:{}", server().await);
    let plugin = plugin(&vendor, vec![AUTHORITY.to_vec()]).await;
    for _ in 0..2 {
        let (came, trace) = exchange(&plugin, post("/v1/x", "{}")).await;
        assert_eq!(came["status"], 200, "{came}");
        assert!(trace.sent && !trace.unanswered);
    }
}

#[tokio::test]
async fn other_certificates_are_refused_before_anything_is_sent() {
    let port = server().await;
    for (vendor, roots) in [
        (
            format!("https://localhost:{port}"),
            vec![AUTHORITY.to_vec()],
        ),
        (format!("https://127.0.0.1:{port}"), Vec::new()),
    ] {
        let plugin = plugin(&vendor, roots).await;
        let (came, trace) = exchange(&plugin, post("/v1/x", "{}")).await;
        assert_eq!(came["kind"], "ErrorKind::Unavailable");
        let message = came["message"].as_str().expect("a message");
        assert!(message.contains("invalid peer certificate"), "{message}");
        assert!(!trace.sent && !trace.unanswered);
    }
}
