//! Proxies in front of the host: which ones are trusted, and how they give the client's address.
//!
//! A client can write any header itself. So an address that a request gives is believed only if the connection comes from a
//! trusted proxy. The addresses of a header are read from right to left, because each proxy appends the address from which
//! it got the request. The first one that isn't a trusted proxy's is the client's: what is left of it may be a lie.

mod headers;
mod network;
mod protocol;

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, HeaderName};
use serde::Deserialize;

pub use network::Network;
pub(super) use protocol::read;

/// The most addresses of a request that are read. The request is then attributed to the last of them.
const HOPS_MAX: usize = 32;

/// How trusted proxies give the client's address. Exactly one way is believed: a proxy that writes one header passes on the
/// other as the client has sent it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AddressSource {
    /// In the header `X-Forwarded-For`.
    #[default]
    XForwardedFor,
    /// In the header `Forwarded` (RFC 7239).
    Forwarded,
    /// Before the first byte of a connection, by the PROXY protocol, version 1 or 2.
    ProxyProtocol,
}

/// The trusted proxies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    /// The networks in which they are.
    pub trusted: Vec<Network>,
    /// How they give the client's address.
    pub source: AddressSource,
}

impl Proxies {
    /// Whether a connection from this address begins with a header of the PROXY protocol.
    pub(super) fn announces(&self, peer: IpAddr) -> bool {
        self.source == AddressSource::ProxyProtocol && self.trusts(peer)
    }

    /// Returns the address of the client whose request came on a connection from `peer`. The port is 0 if the proxy doesn't
    /// give it. IPv4 addresses that are written as IPv6 become IPv4.
    pub(super) fn client_of(&self, peer: SocketAddr, headers: &HeaderMap) -> SocketAddr {
        let peer = plain(peer);
        if !self.trusts(peer.ip()) {
            return peer;
        }
        match self.source {
            AddressSource::XForwardedFor => {
                let name = HeaderName::from_static("x-forwarded-for");
                self.last_untrusted(peer, headers.get_all(name).iter().rev().flat_map(headers::x_forwarded_for))
            }
            AddressSource::Forwarded => {
                let lines = headers.get_all(axum::http::header::FORWARDED);
                self.last_untrusted(peer, lines.iter().rev().flat_map(headers::forwarded))
            }
            AddressSource::ProxyProtocol => peer,
        }
    }

    /// Returns the first address that isn't a trusted proxy's. If one can't be read, nothing before it counts: the address is
    /// that of the proxy that has written it.
    fn last_untrusted(&self, peer: SocketAddr, addresses: impl Iterator<Item = Option<SocketAddr>>) -> SocketAddr {
        let mut client = peer;
        for address in addresses.take(HOPS_MAX).map_while(|address| address) {
            client = plain(address);
            if !self.trusts(client.ip()) {
                break;
            }
        }
        client
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(address))
    }
}

/// The same address, as IPv4 if it is an IPv4 address that is written as IPv6.
pub(super) fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(source: AddressSource, peer: &str, lines: &[(&'static str, &str)]) -> String {
        let networks = ["10.0.0.0/8", "2001:db8:f::/48"];
        let trusted = networks.iter().map(|network| network.parse().expect("a network")).collect();
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().expect("a header's value"));
        }
        Proxies { trusted, source }.client_of(peer.parse().expect("an address"), &headers).to_string()
    }

    #[test]
    fn the_last_address_that_is_no_proxy_s_is_the_client_s() {
        let found = |peer, lines: &[&str]| {
            let lines: Vec<_> = lines.iter().map(|line| ("x-forwarded-for", *line)).collect();
            client(AddressSource::XForwardedFor, peer, &lines)
        };
        for (lines, expected) in [
            (&["203.0.113.7"][..], "203.0.113.7:0"),
            (&["203.0.113.7:1234"], "203.0.113.7:1234"),
            (&["1.1.1.1, 203.0.113.7"], "203.0.113.7:0"),
            (&["1.1.1.1, 203.0.113.7, 10.9.9.9"], "203.0.113.7:0"),
            (&["1.1.1.1", "203.0.113.7 ,10.9.9.9", "2001:db8:f::1"], "203.0.113.7:0"),
            (&["::ffff:203.0.113.7"], "203.0.113.7:0"),
            (&["[2001:db8::1]:99"], "[2001:db8::1]:99"),
            (&["2001:db8::1"], "[2001:db8::1]:0"),
            // All are proxies: the first one has sent the request itself.
            (&["10.1.1.1, 10.2.2.2"], "10.1.1.1:0"),
            (&[], "10.0.0.1:80"),
            // What can't be read, and everything before it, doesn't count.
            (&["203.0.113.7, unknown"], "10.0.0.1:80"),
            (&["203.0.113.7, 10.2.2.2 10.3.3.3"], "10.0.0.1:80"),
            (&["203.0.113.7, garbage, 10.2.2.2"], "10.2.2.2:0"),
            (&["203.0.113.7,"], "10.0.0.1:80"),
            (&["203.0.113.07"], "10.0.0.1:80"),
            (&["203.0.113.7:"], "10.0.0.1:80"),
            (&["203.0.113.7:70000"], "10.0.0.1:80"),
            (&["[2001:db8::1"], "10.0.0.1:80"),
            (&["fe80::1%eth0"], "10.0.0.1:80"),
        ] {
            assert_eq!(found("10.0.0.1:80", lines), expected, "{lines:?}");
        }
        assert_eq!(
            found("[::ffff:10.0.0.1]:80", &["203.0.113.7"]),
            "203.0.113.7:0",
            "a proxy on a dual-stack listener"
        );
        assert_eq!(found("11.0.0.1:80", &["203.0.113.7"]), "11.0.0.1:80", "an untrusted peer changes nothing");
        assert_eq!(found("[::ffff:11.0.0.1]:80", &[]), "11.0.0.1:80");
        let long = vec!["10.1.1.1"; HOPS_MAX + 1].join(",");
        assert_eq!(found("10.0.0.1:80", &["203.0.113.7", &long]), "10.1.1.1:0", "the number of proxies is bounded");
    }

    #[test]
    fn only_the_configured_way_is_believed() {
        let both = [("x-forwarded-for", "203.0.113.1"), ("forwarded", "for=203.0.113.2")];
        for (source, expected) in [
            (AddressSource::XForwardedFor, "203.0.113.1:0"),
            (AddressSource::Forwarded, "203.0.113.2:0"),
            (AddressSource::ProxyProtocol, "10.0.0.1:80"),
        ] {
            assert_eq!(client(source, "10.0.0.1:80", &both), expected);
        }
    }
}
