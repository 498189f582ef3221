//! A network of addresses, such as `10.0.0.0/8`.

use std::net::IpAddr;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Error};

/// The addresses with the same beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    /// The number of bits that an address has in common with the network's.
    bits: u8,
}

impl Network {
    /// Whether an address is in the network. An IPv4 address that is written as IPv6 counts as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => same_beginning(own.octets(), other.octets(), self.bits),
            (IpAddr::V6(own), IpAddr::V6(other)) => same_beginning(own.octets(), other.octets(), self.bits),
            _ => false,
        }
    }
}

fn same_beginning<const BYTES: usize>(one: [u8; BYTES], other: [u8; BYTES], bits: u8) -> bool {
    let (whole, rest) = (usize::from(bits / 8), u32::from(bits % 8));
    let mask = 0xff_u8.checked_shl(8 - rest).unwrap_or(0);
    one[..whole] == other[..whole]
        && one.get(whole).zip(other.get(whole)).is_none_or(|(one, other)| one & mask == other & mask)
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let wrong = || format!("`{text}` isn't a network; write an address, or one with a prefix such as 10.0.0.0/8");
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        if address != address.to_canonical() {
            return Err(format!("`{text}` is an IPv4 network that is written as IPv6; write it as IPv4"));
        }
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => most,
            Some(bits) if bits.bytes().all(|byte| byte.is_ascii_digit()) => bits.parse().map_err(|_| wrong())?,
            Some(_) => return Err(wrong()),
        };
        if bits > most {
            return Err(format!("`{text}` has a prefix of {bits} bits; at most {most} are possible"));
        }
        let network = Self { address, bits };
        if !network.is_plain() {
            // It may be a typing error, after which other addresses than intended would be trusted.
            return Err(format!("`{text}` has bits after its prefix of {bits} bits; they must be zero"));
        }
        Ok(network)
    }
}

impl Network {
    fn is_plain(&self) -> bool {
        let (bits, all) = match self.address {
            IpAddr::V4(address) => (u128::from(address.to_bits()) << 96, u32::from(self.bits)),
            IpAddr::V6(address) => (address.to_bits(), u32::from(self.bits)),
        };
        bits.checked_shl(all).unwrap_or(0) == 0
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_contains_the_addresses_with_its_prefix() {
        let contains = |network: &str, address: &str| {
            let network: Network = network.parse().expect("a network");
            network.contains(address.parse().expect("an address"))
        };
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("10.0.0.0/8", "::ffff:10.0.0.1", "::ffff:11.0.0.1"),
            ("192.168.4.0/22", "192.168.7.255", "192.168.8.0"),
            ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
            ("0.0.0.0/0", "1.2.3.4", "::1"),
            ("2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::1"),
            ("::/0", "2001:db8::1", "::ffff:1.2.3.4"),
            ("::1", "::1", "127.0.0.1"),
        ] {
            assert!(contains(network, inside), "{network} {inside}");
            assert!(!contains(network, outside), "{network} {outside}");
        }
    }

    #[test]
    fn anything_else_is_refused_with_a_reason() {
        for (text, reason) in [
            ("10.0.0.0/33", "at most 32"),
            ("::/129", "at most 128"),
            ("10.0.0.1/8", "must be zero"),
            ("2001:db8::1/64", "must be zero"),
            ("::ffff:10.0.0.0/104", "write it as IPv4"),
            ("10.0.0.0/+8", "isn't a network"),
            ("10.0.0.0/", "isn't a network"),
            ("10.0.0/8", "isn't a network"),
            ("proxy.example", "isn't a network"),
            ("", "isn't a network"),
        ] {
            let refused = text.parse::<Network>().expect_err(text);
            assert!(refused.contains(reason), "{refused}");
        }
    }
}
