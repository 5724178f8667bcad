//! Which addresses the host may connect to: only those of the public internet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether an address belongs to the public internet, by the special-purpose registries of
/// IANA (iana-ipv4-special-registry, iana-ipv6-special-registry). Everything that may lead
/// inside is refused, also what only carries an IPv4 address inside an IPv6 one.
pub(crate) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = a == 0                                  // "this network"
        || a == 10                                        // private
        || (a == 100 && (64..128).contains(&b))           // shared, carrier-grade NAT
        || a == 127                                       // loopback
        || (a == 169 && b == 254)                         // link-local, cloud metadata
        || (a == 172 && (16..32).contains(&b))            // private
        || (a == 192 && b == 0 && c == 0)                 // IETF protocol assignments
        || (a == 192 && b == 0 && c == 2)                 // documentation
        || (a == 192 && b == 31 && c == 196)              // AS112
        || (a == 192 && b == 52 && c == 193)              // AMT
        || (a == 192 && b == 88 && c == 99)               // 6to4 relay
        || (a == 192 && b == 168)                         // private
        || (a == 192 && b == 175 && c == 48)              // AS112
        || (a == 198 && (b == 18 || b == 19))             // benchmarking
        || (a == 198 && b == 51 && c == 100)              // documentation
        || (a == 203 && b == 0 && c == 113)               // documentation
        || a >= 224; // multicast, reserved, broadcast
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    // Only 2000::/3 is global unicast; this leaves out loopback, unspecified, IPv4-mapped and
    // -compatible, NAT64 (64:ff9b::/96 and 64:ff9b:1::/48), unique local, link-local,
    // site-local, discard-only and multicast addresses.
    if segments[0] & 0xe000 != 0x2000 {
        return false;
    }
    let special = (segments[0] == 0x2001 && segments[1] < 0x0200) // Teredo, benchmarking, ORCHID
        || (segments[0] == 0x2001 && segments[1] == 0x0db8)       // documentation
        || segments[0] == 0x2002                                  // 6to4
        || (segments[0] == 0x2620 && segments[1] == 0x004f && segments[2] == 0x8000) // AS112
        || (segments[0] == 0x3fff && segments[1] < 0x1000); // documentation
    !special
}
