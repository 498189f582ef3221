//! Parses the address of a host's API from the command line or the configuration.

use std::net::{IpAddr, Ipv6Addr};

use anyhow::{Result, bail, ensure};

/// The address of the host if the user names none.
pub(super) const USUAL: &str = "127.0.0.1:4000";

/// The port if the address has none: the port that a host listens on by default.
const USUAL_PORT: u16 = 4000;

/// A name or an IP address, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    name: String,
    port: u16,
}

impl Address {
    /// Parses `ADDRESS:PORT`. Also accepts the URL of the host's root (`http://ADDRESS:PORT/`). Without a port, the port is
    /// 4000.
    ///
    /// # Errors
    /// Returns an error that says what is allowed if the text is neither.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let given = text.trim();
        let (scheme, rest) = given.split_once("://").map_or((None, given), |(scheme, rest)| (Some(scheme), rest));
        match scheme.map(str::to_ascii_lowercase).as_deref() {
            None | Some("http") => {}
            Some("https") => bail!(
                "the commands use plain HTTP, but `{text}` is an HTTPS address: give the ADDRESS:PORT that the host itself \
                 listens on, such as {USUAL}; from another machine, use a tunnel (`ssh -L 4000:{USUAL} MACHINE`)"
            ),
            Some(scheme) => {
                bail!("`{text}` is an address for `{scheme}`; give the host's ADDRESS:PORT, such as {USUAL}")
            }
        }
        let authority = rest.trim_end_matches('/');
        ensure!(!authority.is_empty(), "`{text}` doesn't name a host; give its ADDRESS:PORT, such as {USUAL}");
        ensure!(
            !authority.contains(['/', '?', '#', '@']),
            "`{text}` has more than an address: give only the host's ADDRESS:PORT, such as {USUAL}"
        );
        let (name, port) = parts(authority);
        let port = match port {
            None | Some("") => USUAL_PORT,
            Some(port) => match port.parse() {
                Ok(port) if port > 0 => port,
                _ => bail!("`{port}` in `{text}` is not a port: a port is a number from 1 to 65535"),
            },
        };
        let is_name = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        let is_ipv6 = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).is_some_and(is_ipv6);
        ensure!(
            is_ipv6 || (is_name(&name) && !name.is_empty()),
            "`{text}` is not an address; give the host's ADDRESS:PORT, such as {USUAL}, localhost:4000 or [::1]:4000"
        );
        Ok(Self { name, port })
    }

    /// Returns `NAME:PORT`, the authority of a URL.
    pub(super) fn authority(&self) -> String {
        format!("{}:{}", self.name, self.port)
    }

    /// Whether the address can only be this machine's: a loopback or unspecified IP address, or `localhost`. Any other name is
    /// resolved by DNS, so it may be another machine's.
    pub(super) fn is_this_machine(&self) -> bool {
        let bare = self.name.trim_start_matches('[').trim_end_matches(']');
        let is_own = |ip: IpAddr| ip.to_canonical().is_loopback() || ip.is_unspecified();
        bare.eq_ignore_ascii_case("localhost") || bare.parse().is_ok_and(is_own)
    }
}

/// Splits an authority into the name and the port, if there is one. An IPv6 address without a port gets brackets.
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
    fn an_address_may_be_written_in_several_ways() -> Result<()> {
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
    fn an_invalid_address_is_refused_with_a_reason() {
        let cases = [
            ("https://example.com", "plain HTTP"),
            ("ws://127.0.0.1:4000/socket", "an address for `ws`"),
            ("", "doesn't name a host"),
            ("http://", "doesn't name a host"),
            ("127.0.0.1:4000/api", "more than an address"),
            ("http://me:secret@127.0.0.1", "more than an address"),
            ("127.0.0.1:99999", "`99999`"),
            ("127.0.0.1:0", "is not a port"),
            ("127.0.0.1:http", "`http`"),
            (":4000", "is not an address"),
            ("a b:1", "is not an address"),
            ("[::1:4000", "is not an address"),
            ("[x]:4000", "is not an address"),
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
    fn loopback_addresses_are_this_machine() -> Result<()> {
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
