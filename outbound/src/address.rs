//! The rules for addresses: which ones a request may be sent to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Who can be reached at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reachability {
    /// A host of the Internet.
    Public,
    /// This machine, or a network of its operator: loopback, private, shared (100.64.0.0/10), unique local.
    Private,
    /// No single host of either: link-local, multicast, unspecified, reserved, for documentation, for benchmarks.
    Special,
}

/// The addresses that a grant allows, apart from public ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AddressRule {
    /// Only public addresses.
    Public,
    /// Public addresses, and this machine.
    Loopback,
    /// Public and private addresses.
    Private,
    /// This address, which the grant names itself.
    Exactly(IpAddr),
}

impl AddressRule {
    /// Whether a request may be sent to an address.
    #[must_use]
    pub fn allows(self, address: IpAddr) -> bool {
        let address = plain(address);
        let reachability = reachability(address);
        match self {
            Self::Public => reachability == Reachability::Public,
            Self::Loopback => reachability == Reachability::Public || address.is_loopback(),
            Self::Private => reachability != Reachability::Special,
            // The operator has written the address. One that no host can have would only be a mistake.
            Self::Exactly(named) => plain(named) == address && !address.is_multicast() && !address.is_unspecified(),
        }
    }
}

/// Says who can be reached at an address. An IPv6 address that stands for an IPv4 address counts as that one.
#[must_use]
pub fn reachability(address: IpAddr) -> Reachability {
    match plain(address) {
        IpAddr::V4(address) => of_v4(address),
        IpAddr::V6(address) => of_v6(address),
    }
}

/// The IPv4 address that an IPv6 address stands for, or else the same address.
fn plain(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => embedded(v6).map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}

/// The IPv4 address that a router or the operating system may take an IPv6 address for.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let segments = address.segments();
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    match segments {
        // ::ffff:0:0/96, mapped, and ::ffff:0:0:0/96, translated.
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0, 0, 0, 0, 0xffff, 0, high, low] => Some(v4(high, low)),
        // 64:ff9b::/96, NAT64.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(v4(high, low)),
        // 2002::/16, 6to4.
        [0x2002, high, low, ..] => Some(v4(high, low)),
        // ::/96, compatible: without `::` and `::1`, which are addresses of their own.
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => Some(v4(high, low)),
        _ => None,
    }
}

fn of_v4(address: Ipv4Addr) -> Reachability {
    let [a, b, c, _] = address.octets();
    match (a, b, c) {
        (10 | 127, ..) | (172, 16..=31, _) | (192, 168, _) | (100, 64..=127, _) => Reachability::Private,
        // "This network", link-local, and multicast with all that is reserved above it.
        (0, ..) | (169, 254, _) | (224.., ..) => Reachability::Special,
        // Protocol assignments, documentation, the former 6to4 relays, AS112, AMT, and benchmarks.
        (192, 0, 0 | 2) | (198, 51, 100) | (203, 0, 113) | (192, 88, 99) => Reachability::Special,
        (192, 31, 196) | (192, 52, 193) | (192, 175, 48) | (198, 18 | 19, _) => Reachability::Special,
        _ => Reachability::Public,
    }
}

fn of_v6(address: Ipv6Addr) -> Reachability {
    if address.is_loopback() {
        return Reachability::Private;
    }
    match address.segments() {
        // fc00::/7, unique local.
        [0xfc00..=0xfdff, ..] => Reachability::Private,
        // 2001::/23, which includes Teredo, benchmarks and ORCHID; 2001:db8::/32 and 3fff::/20 for documentation.
        [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Reachability::Special,
        // 2000::/3 are all addresses that were given to hosts.
        [0x2000..=0x3fff, ..] => Reachability::Public,
        // Everything else: unspecified, 64:ff9b:1::/48 of a local NAT64, 100::/64, 5f00::/16, fe80::/10, fec0::/10, ff00::/8.
        _ => Reachability::Special,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const PUBLIC: [&str; 10] = [
        "1.1.1.1",
        "8.8.8.8",
        "172.15.0.1",
        "172.32.0.1",
        "100.63.255.255",
        "100.128.0.0",
        "223.255.255.255",
        "2606:4700::1111",
        "::ffff:8.8.8.8",
        "64:ff9b::808:808",
    ];

    const PRIVATE: [&str; 16] = [
        "127.0.0.1",
        "127.255.255.254",
        "10.0.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "100.64.0.1",
        "100.127.255.255",
        "::1",
        "fc00::1",
        "fd12:3456::1",
        "::ffff:127.0.0.1",
        "::ffff:0:10.0.0.1",
        "64:ff9b::7f00:1",
        "2002:c0a8:101::1",
        "::10.0.0.1",
    ];

    const SPECIAL: [&str; 34] = [
        "0.0.0.0",
        "0.1.2.3",
        "169.254.169.254",
        "169.254.0.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "192.0.0.1",
        "192.0.2.1",
        "198.51.100.1",
        "203.0.113.1",
        "198.18.0.1",
        "198.19.255.255",
        "192.88.99.1",
        "::",
        "::2",
        "fe80::1",
        "febf::1",
        "fec0::1",
        "ff02::1",
        "2001:db8::1",
        "3fff::1",
        "2001::1",
        "2001:2::1",
        "2001:20::1",
        "100::1",
        "5f00::1",
        "4000::1",
        "64:ff9b:1::1",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
        "::ffff:0.0.0.0",
    ];

    fn parse(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_is_public_private_or_special() {
        for (addresses, expected) in [
            (&PUBLIC[..], Reachability::Public),
            (&PRIVATE[..], Reachability::Private),
            (&SPECIAL[..], Reachability::Special),
        ] {
            for address in addresses {
                assert_eq!(reachability(parse(address)), expected, "{address}");
            }
        }
    }

    #[test]
    fn a_rule_allows_what_it_says() {
        let all = || PUBLIC.iter().chain(&PRIVATE).chain(&SPECIAL);
        for address in all() {
            let (is_public, is_private) = (PUBLIC.contains(address), PRIVATE.contains(address));
            assert_eq!(AddressRule::Public.allows(parse(address)), is_public, "{address}");
            assert_eq!(AddressRule::Private.allows(parse(address)), is_public || is_private, "{address}");
        }
        for address in ["127.0.0.1", "::1", "::ffff:127.0.0.1", "8.8.8.8"] {
            assert!(AddressRule::Loopback.allows(parse(address)), "{address}");
        }
        for address in ["10.0.0.1", "192.168.1.1", "fd00::1", "169.254.169.254", "0.0.0.0"] {
            assert!(!AddressRule::Loopback.allows(parse(address)), "{address}");
        }
        let exactly = AddressRule::Exactly(parse("169.254.169.254"));
        assert!(exactly.allows(parse("169.254.169.254")) && exactly.allows(parse("::ffff:169.254.169.254")));
        assert!(!exactly.allows(parse("169.254.169.253")) && !exactly.allows(parse("8.8.8.8")));
        assert!(!AddressRule::Exactly(parse("0.0.0.0")).allows(parse("0.0.0.0")));
    }
}
