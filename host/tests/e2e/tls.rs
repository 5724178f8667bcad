//! TLS that the server ends itself: what is agreed on, what browsers are told, a certificate that is
//! renewed, and a browser's socket with nothing but its cookie.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use futures::{SinkExt as _, StreamExt as _};
use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use reqwest::{Certificate, StatusCode};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::ServerName,
    version::{TLS12, TLS13},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_tungstenite::{
    client_async,
    tungstenite::{Message, client::IntoClientRequest as _, http::HeaderValue},
};

use crate::{
    accounts::{PASSWORD, REGISTER, setup},
    support::{until, world::World},
};

type Made = CertifiedKey<KeyPair>;

fn certificate() -> Made {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    generate_simple_self_signed(names).expect("a certificate")
}

fn write(folder: &Path, made: &Made) {
    std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).expect("written");
    std::fs::write(folder.join("cert.pem"), made.cert.pem()).expect("written");
}

fn client(made: &Made) -> reqwest::Client {
    let root = Certificate::from_pem(made.cert.pem().as_bytes()).expect("a certificate");
    let builder = reqwest::Client::builder().no_proxy().tls_certs_only([root]);
    builder.pool_max_idle_per_host(0).build().expect("a client")
}

fn address(world: &World) -> SocketAddr {
    let port = reqwest::Url::parse(&world.server().url)
        .expect("an address")
        .port();
    SocketAddr::from(([127, 0, 0, 1], port.expect("a port")))
}

async fn connect(
    world: &World,
    made: &Made,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).expect("a root");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(address(world)).await?;
    let name = ServerName::try_from("localhost").expect("a name");
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_speaks_tls_itself() {
    let folder = tempfile::TempDir::with_prefix("genvid-tls-").expect("a folder");
    let made = certificate();
    write(folder.path(), &made);
    let file = |name: &str| folder.path().join(name).display().to_string();
    let setup = setup()
        .without_callbacks()
        .set("server.tls_certificate", file("cert.pem"))
        .set("server.tls_key", file("key.pem"));
    let mut world = setup.start().await;
    let url = world.server().url.clone();
    assert!(url.starts_with("https://127.0.0.1:"), "{url}");

    // Clients that connect and say nothing hold nobody up.
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(
            TcpStream::connect(address(&world))
                .await
                .expect("connected"),
        );
    }
    let http = client(&made);
    let answer = http
        .get(format!("{url}/livez"))
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.status(), StatusCode::OK);
    let hsts = answer.headers()["strict-transport-security"].to_str();
    assert_eq!(hsts.expect("text"), "max-age=31536000");
    drop(silent);

    // TLS 1.3, and nothing that is older or none.
    let stream = connect(&world, &made, &[&TLS13]).await.expect("TLS 1.3");
    let version = stream.get_ref().1.protocol_version();
    assert_eq!(version, Some(rustls::ProtocolVersion::TLSv1_3));
    drop(stream);
    connect(&world, &made, &[&TLS12])
        .await
        .expect_err("refused");
    let mut plain = TcpStream::connect(address(&world))
        .await
        .expect("connected");
    plain
        .write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await
        .expect("sent");
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(
        !answer.starts_with(b"HTTP"),
        "{}",
        String::from_utf8_lossy(&answer)
    );

    // Where a request comes from is known behind TLS, too.
    let input = json!({"email": "ann@example.com", "password": PASSWORD, "cookies": true});
    let answer = http
        .post(format!("{url}/graphql"))
        .header("x-genvid-csrf", "1")
        .header("x-forwarded-for", "203.0.113.1")
        .json(&json!({"query": REGISTER, "variables": {"input": input}}))
        .send()
        .await
        .expect("an answer");
    let cookies: Vec<String> = (answer.headers().get_all("set-cookie").iter())
        .map(|value| {
            value
                .to_str()
                .expect("text")
                .split(';')
                .next()
                .expect("one")
                .to_owned()
        })
        .collect();
    assert_eq!(cookies.len(), 2);
    let cookies = cookies.join("; ");
    let said = socket(&world, &made, &cookies, &url)
        .await
        .expect("the socket");
    assert_eq!(said["data"]["me"]["email"], "ann@example.com", "{said}");
    // A socket that another page opens, or no page, has nothing of the cookie.
    assert!(
        socket(&world, &made, &cookies, "https://evil.example")
            .await
            .is_none()
    );
    let said = socket(&world, &made, &cookies, "")
        .await
        .expect("the socket");
    assert!(said["data"]["me"].is_null(), "{said}");

    // A certificate that does not fit its key changes nothing; a renewed one is taken over.
    let renewed = certificate();
    std::fs::write(folder.path().join("cert.pem"), renewed.cert.pem()).expect("written");
    until("the files are looked at", || async {
        let log = world.server().log();
        log.contains("the changed certificate cannot be used")
            .then_some(())
    })
    .await;
    let answer = http.get(format!("{url}/livez")).send().await;
    assert_eq!(answer.expect("an answer").status(), StatusCode::OK);
    write(folder.path(), &renewed);
    let fresh = client(&renewed);
    until("the renewed certificate is there", || async {
        fresh.get(format!("{url}/livez")).send().await.ok()
    })
    .await;
    // Who has been here goes on with the keys of before, which no certificate is asked for again.
    let stranger = client(&made).get(format!("{url}/livez")).send().await;
    stranger.expect_err("the old one is gone");

    // What cannot be read stops the start, in words.
    world.kill();
    std::fs::write(folder.path().join("key.pem"), "no key").expect("written");
    let why = crate::support::server::Server::try_start(&world.launch).await;
    let why = why.expect_err("it does not start");
    assert!(
        why.contains("server.tls_key") && why.contains("key.pem"),
        "{why}"
    );
}

/// Asks who is calling over a socket as a page of this origin opens it; nothing when it is not let in.
async fn socket(world: &World, made: &Made, cookies: &str, origin: &str) -> Option<Value> {
    let stream = connect(world, made, &[&TLS13]).await.expect("TLS 1.3");
    let url = world.server().url.replacen("https", "wss", 1);
    let mut request = format!("{url}/graphql")
        .into_client_request()
        .expect("an address");
    let headers = request.headers_mut();
    let protocol = HeaderValue::from_static("graphql-transport-ws");
    headers.insert("sec-websocket-protocol", protocol);
    headers.insert("cookie", HeaderValue::from_str(cookies).expect("a value"));
    if !origin.is_empty() {
        headers.insert("origin", HeaderValue::from_str(origin).expect("a value"));
    }
    let (mut socket, _) = client_async(request, stream).await.ok()?;
    let ask = json!({"id": "1", "type": "subscribe", "payload": {"query": "{ me { email } }"}});
    for message in [json!({"type": "connection_init"}), ask] {
        socket
            .send(Message::text(message.to_string()))
            .await
            .expect("sent");
    }
    loop {
        let said = tokio::time::timeout(Duration::from_secs(20), socket.next()).await;
        let said = said
            .expect("in time")
            .expect("a message")
            .expect("a message");
        let said: Value = serde_json::from_str(said.to_text().expect("text")).expect("JSON");
        match said["type"].as_str() {
            Some("next") => return Some(said["payload"].clone()),
            Some("connection_ack") => {}
            other => panic!("{other:?} {said}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn browsers_are_told_of_a_proxys_tls() {
    let setup = setup().without_callbacks();
    let world = setup
        .set("server.public_url", "https://genvid.example.com")
        .start()
        .await;
    let url = format!("http://127.0.0.1:{}/livez", world.launch.port);
    let answer = reqwest::get(&url).await.expect("an answer");
    assert_eq!(
        answer.headers()["strict-transport-security"],
        "max-age=31536000"
    );
    let plain = crate::accounts::setup().start().await;
    let answer = reqwest::get(format!("{}/livez", plain.server().url)).await;
    let answer = answer.expect("an answer");
    assert!(!answer.headers().contains_key("strict-transport-security"));
    for (key, value, word) in [
        ("SERVER__TLS_KEY", "key.pem", "server.tls_certificate"),
        ("SERVER__TLS_CERTIFICATE", "cert.pem", "server.tls_key"),
    ] {
        let mut launch = plain.launch.clone();
        launch.port = 0;
        launch
            .env
            .push((format!("GENVID__{key}"), value.to_owned()));
        let why = crate::support::server::Server::try_start(&launch).await;
        let why = why.expect_err("it does not start");
        assert!(why.contains(&format!("needs {word}, too")), "{why}");
    }
}
