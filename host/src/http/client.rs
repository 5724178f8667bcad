//! Where a request comes from. What proxies say of it is believed of those that the operator trusts,
//! and of nobody else: anybody can write a header.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::{
    extract::{ConnectInfo, Request, State, connect_info::Connected},
    http::HeaderMap,
    middleware::Next,
    response::Response,
    serve::IncomingStream,
};
use ipnet::IpNet;

use super::listen::{PlainListener, TlsListener};

/// Most entries of `X-Forwarded-For` that are looked at.
const MOST_HOPS: usize = 32;

/// Who is at the other end of the connection.
#[derive(Debug, Clone, Copy)]
pub struct Peer(SocketAddr);

impl Connected<IncomingStream<'_, PlainListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, PlainListener>) -> Self {
        Self(*stream.remote_addr())
    }
}

impl Connected<IncomingStream<'_, TlsListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, TlsListener>) -> Self {
        Self(*stream.remote_addr())
    }
}

/// The client's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

/// Notes it in the request.
pub(super) async fn note(
    State(proxies): State<Arc<[IpNet]>>,
    mut request: Request,
    next: Next,
) -> Response {
    let peer = request.extensions().get::<ConnectInfo<Peer>>();
    if let Some(ConnectInfo(Peer(peer))) = peer {
        let address = client(peer.ip(), request.headers(), &proxies);
        request.extensions_mut().insert(ClientAddress(address));
    }
    next.run(request).await
}

/// The last address that no trusted proxy has: each proxy appends whom it heard from.
fn client(peer: IpAddr, headers: &HeaderMap, proxies: &[IpNet]) -> IpAddr {
    let trusted = |address: IpAddr| proxies.iter().any(|network| network.contains(&address));
    let mut address = peer.to_canonical();
    let hops: Vec<&str> = (headers.get_all("x-forwarded-for").iter())
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .collect();
    for hop in hops.iter().rev().take(MOST_HOPS) {
        if !trusted(address) {
            break;
        }
        match parse(hop.trim()) {
            Some(before) => address = before,
            None => break,
        }
    }
    address
}

/// An address with or without a port, as proxies write them.
fn parse(hop: &str) -> Option<IpAddr> {
    let socket = || hop.parse::<SocketAddr>().map(|socket| socket.ip()).ok();
    let bare = hop.trim_start_matches('[').trim_end_matches(']');
    let address: Option<IpAddr> = bare.parse().ok();
    address
        .or_else(socket)
        .map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_trusted_proxies_are_believed() {
        let proxies: Vec<IpNet> = ["10.0.0.0/8", "::1/128"]
            .map(|network| network.parse().expect("a network"))
            .to_vec();
        let found = |peer: &str, forwarded: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in forwarded {
                headers.append("x-forwarded-for", value.parse().expect("a value"));
            }
            let peer = peer.parse().expect("an address");
            client(peer, &headers, &proxies).to_string()
        };
        assert_eq!(found("192.0.2.1", &["203.0.113.9"]), "192.0.2.1", "forged");
        assert_eq!(found("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(found("10.0.0.1", &["203.0.113.9"]), "203.0.113.9");
        assert_eq!(
            found("::ffff:10.0.0.1", &["203.0.113.9:4711"]),
            "203.0.113.9"
        );
        assert_eq!(found("::1", &["[2001:db8::7]:443"]), "2001:db8::7");
        // What the client itself wrote stands to the left of what the proxy saw.
        assert_eq!(
            found("10.0.0.1", &["1.1.1.1, 203.0.113.9, 10.2.3.4"]),
            "203.0.113.9"
        );
        assert_eq!(
            found("10.0.0.1", &["1.1.1.1", "203.0.113.9"]),
            "203.0.113.9"
        );
        assert_eq!(found("10.0.0.1", &["203.0.113.9, nonsense"]), "10.0.0.1");
    }
}
