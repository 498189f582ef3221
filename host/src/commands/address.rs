//! The address of a host's API, as people write it.

use std::net::{IpAddr, Ipv6Addr};

use anyhow::{Result, bail, ensure};

/// The address that is asked unless another is named.
pub(super) const USUAL: &str = "127.0.0.1:4000";

/// The port where none is given: the one that a host listens at by default.
const USUAL_PORT: u16 = 4000;

/// A name or an IP address, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    name: String,
    port: u16,
}

impl Address {
    /// Reads `ADDRESS:PORT`. A URL of the host's root is taken too; without a port it is 4000.
    ///
    /// # Errors
    /// Says what is allowed.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let given = text.trim();
        let (scheme, rest) = given.split_once("://").map_or((None, given), |(scheme, rest)| (Some(scheme), rest));
        match scheme.map(str::to_ascii_lowercase).as_deref() {
            None | Some("http") => {}
            Some("https") => bail!(
                "the commands speak plain HTTP, and not the HTTPS of `{text}`: give the ADDRESS:PORT at which the host itself \
                 listens, such as {USUAL}; from another machine use a tunnel (`ssh -L 4000:{USUAL} MACHINE`)"
            ),
            Some(scheme) => {
                bail!("`{text}` is an address for `{scheme}`; give the host's ADDRESS:PORT, such as {USUAL}")
            }
        }
        let authority = rest.trim_end_matches('/');
        ensure!(!authority.is_empty(), "`{text}` names no host; give its ADDRESS:PORT, such as {USUAL}");
        ensure!(
            !authority.contains(['/', '?', '#', '@']),
            "`{text}` has more than an address: give the host's ADDRESS:PORT alone, such as {USUAL}"
        );
        let (name, port) = parts(authority);
        let port = match port {
            None | Some("") => USUAL_PORT,
            Some(port) => match port.parse() {
                Ok(port) if port > 0 => port,
                _ => bail!("`{port}` in `{text}` is no port: a port is a number from 1 to 65535"),
            },
        };
        let is_name = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        let is_ipv6 = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).is_some_and(is_ipv6);
        ensure!(
            is_ipv6 || (is_name(&name) && !name.is_empty()),
            "`{text}` is no address; give the host's ADDRESS:PORT, such as {USUAL}, localhost:4000 or [::1]:4000"
        );
        Ok(Self { name, port })
    }

    /// As a URL has it.
    pub(super) fn authority(&self) -> String {
        format!("{}:{}", self.name, self.port)
    }

    /// Whether it can only be this machine. A name is looked up by others, so `localhost` is the only one.
    pub(super) fn is_this_machine(&self) -> bool {
        let bare = self.name.trim_start_matches('[').trim_end_matches(']');
        let is_own = |ip: IpAddr| ip.to_canonical().is_loopback() || ip.is_unspecified();
        bare.eq_ignore_ascii_case("localhost") || bare.parse().is_ok_and(is_own)
    }
}

/// The name, in brackets if it is an IPv6 address, and the port if there is one.
fn parts(authority: &str) -> (String, Option<&str>) {
    if is_ipv6(authority) {
        return (format!("[{authority}]"), None);
    }
    match authority.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name.to_owned(), Some(port)),
        _ => (authority.to_owned(), None),
    }
}

fn is_ipv6(text: &str) -> bool {
    text.parse::<Ipv6Addr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_in_the_ways_that_people_write_it() -> Result<()> {
        let cases = [
            ("127.0.0.1:4000", "127.0.0.1:4000"),
            ("http://127.0.0.1:4000", "127.0.0.1:4000"),
            ("http://127.0.0.1:4000/", "127.0.0.1:4000"),
            ("HTTP://localhost:80//", "localhost:80"),
            ("localhost", "localhost:4000"),
            ("http://localhost", "localhost:4000"),
            ("localhost:", "localhost:4000"),
            (" my-host.example:1 ", "my-host.example:1"),
            ("[::1]:5", "[::1]:5"),
            ("[::1]", "[::1]:4000"),
            ("::1", "[::1]:4000"),
            ("0.0.0.0:4000", "0.0.0.0:4000"),
        ];
        for (text, expected) in cases {
            assert_eq!(Address::parse(text)?.authority(), expected, "{text}");
        }
        Ok(())
    }

    #[test]
    fn what_is_no_address_is_explained() {
        let cases = [
            ("https://example.com", "plain HTTP"),
            ("ws://127.0.0.1:4000/socket", "an address for `ws`"),
            ("", "names no host"),
            ("http://", "names no host"),
            ("127.0.0.1:4000/api", "more than an address"),
            ("http://me:secret@127.0.0.1", "more than an address"),
            ("127.0.0.1:99999", "`99999`"),
            ("127.0.0.1:0", "is no port"),
            ("127.0.0.1:http", "`http`"),
            (":4000", "is no address"),
            ("a b:1", "is no address"),
            ("[::1:4000", "is no address"),
            ("[x]:4000", "is no address"),
        ];
        for (text, words) in cases {
            let error = Address::parse(text).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(
                error.contains(words) && error.contains("127.0.0.1:4000") || error.contains("65535"),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn this_machine_is_known_by_its_addresses() -> Result<()> {
        for (text, expected) in [
            ("127.0.0.1", true),
            ("127.9.9.9:1", true),
            ("::1", true),
            ("[::ffff:127.0.0.1]:4000", true),
            ("0.0.0.0:4000", true),
            ("LOCALHOST", true),
            ("192.0.2.1", false),
            ("localhost.example", false),
            ("127.0.0.1.example", false),
        ] {
            assert_eq!(Address::parse(text)?.is_this_machine(), expected, "{text}");
        }
        Ok(())
    }
}
