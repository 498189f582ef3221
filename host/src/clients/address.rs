//! The addresses of clients.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A client's address and port. It is smaller than a [`SocketAddr`], because each socket has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ClientAddress {
    ip: [u8; 16],
    port: [u8; 2],
}

impl From<SocketAddr> for ClientAddress {
    fn from(address: SocketAddr) -> Self {
        let ip = match address.ip() {
            IpAddr::V4(address) => address.to_ipv6_mapped(),
            IpAddr::V6(address) => address,
        };
        Self { ip: ip.octets(), port: address.port().to_be_bytes() }
    }
}

impl ClientAddress {
    pub(super) fn get(self) -> SocketAddr {
        SocketAddr::new(Ipv6Addr::from(self.ip).to_canonical(), u16::from_be_bytes(self.port))
    }

    pub(super) fn key(self) -> AddressKey {
        match Ipv6Addr::from(self.ip).to_canonical() {
            IpAddr::V4(address) => AddressKey::V4(address.to_bits()),
            IpAddr::V6(address) => AddressKey::V6((address.to_bits() >> 64) as u64),
        }
    }
}

/// The addresses that count as one. Of IPv6 these are the 2⁶⁴ addresses with the same prefix of 64 bits, because a client may
/// choose any of them for each connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AddressKey {
    /// An address of IPv4.
    V4(u32),
    /// The first 64 bits of an address of IPv6.
    V6(u64),
}

impl From<SocketAddr> for AddressKey {
    fn from(address: SocketAddr) -> Self {
        ClientAddress::from(address).key()
    }
}

impl fmt::Display for AddressKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::V4(bits) => write!(f, "{}", Ipv4Addr::from_bits(bits)),
            Self::V6(bits) => write!(f, "{}/64", Ipv6Addr::from_bits(u128::from(bits) << 64)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_network_of_64_bits_counts_as_one_address() {
        let address = |text: &str| ClientAddress::from(text.parse::<SocketAddr>().expect("an address"));
        let key = |text: &str| address(text).key().to_string();
        assert_eq!(key("203.0.113.7:1"), "203.0.113.7");
        assert_eq!(key("[::ffff:203.0.113.7]:1"), "203.0.113.7");
        assert_eq!(key("[2001:db8:1:2:3:4:5:6]:1"), "2001:db8:1:2::/64");
        assert_eq!(key("[2001:db8:1:2::9]:2"), "2001:db8:1:2::/64");
        assert_ne!(key("[2001:db8:1:3::9]:2"), "2001:db8:1:2::/64");
        for text in ["203.0.113.7:80", "[2001:db8::1]:80"] {
            assert_eq!(address(text).get().to_string(), text);
        }
        assert_eq!(size_of::<ClientAddress>(), 18);
    }
}
