//! The addresses in `X-Forwarded-For` and in `Forwarded` (RFC 7239), from the last one to the first.
//!
//! An address that can't be read is `None`. There is no tolerance for other notations: each proxy writes one of these, and
//! anything else comes from the client.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::http::HeaderValue;

/// The addresses of one line of `X-Forwarded-For`.
pub(super) fn x_forwarded_for(line: &HeaderValue) -> impl Iterator<Item = Option<SocketAddr>> {
    line.as_bytes().rsplit(|byte| *byte == b',').map(|address| node(str::from_utf8(address.trim_ascii()).ok()?))
}

/// The addresses of one line of `Forwarded`. A line that breaks the grammar is one that can't be read.
pub(super) fn forwarded(line: &HeaderValue) -> impl Iterator<Item = Option<SocketAddr>> {
    let elements = line.to_str().ok().and_then(elements).unwrap_or_else(|| vec![None]);
    elements.into_iter().rev().map(|node_text| node(&node_text?))
}

/// Reads an address as these headers have it, with or without a port. Several proxies write an IPv6 address without
/// brackets in `X-Forwarded-For`.
fn node(text: &str) -> Option<SocketAddr> {
    if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        let address: Ipv6Addr = address.parse().ok()?;
        let port = if port.is_empty() { 0 } else { number(port.strip_prefix(':')?)? };
        return Some(SocketAddr::new(address.into(), port));
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(SocketAddr::new(address, 0));
    }
    let (address, port) = text.split_once(':')?;
    Some(SocketAddr::new(IpAddr::V4(address.parse().ok()?), number(port)?))
}

/// A port: digits only, because `parse` alone would accept a sign.
fn number(port: &str) -> Option<u16> {
    port.bytes().all(|byte| byte.is_ascii_digit()).then(|| port.parse().ok()).flatten()
}

/// The value of `for` of each element of a line; `None` if an element has no `for`. Returns none if the line breaks the
/// grammar.
fn elements(line: &str) -> Option<Vec<Option<String>>> {
    let mut found = Vec::new();
    let mut rest = line;
    loop {
        let mut address = None;
        loop {
            rest = rest.trim_start_matches([' ', '\t']);
            let (name, after) = rest.split_once('=')?;
            if name.is_empty() || !name.bytes().all(is_token) {
                return None;
            }
            let (value, after) = value(after)?;
            // A parameter occurs at most once in an element (RFC 7239, 4).
            if name.eq_ignore_ascii_case("for") && address.replace(value).is_some() {
                return None;
            }
            rest = after.trim_start_matches([' ', '\t']);
            match rest.strip_prefix(';') {
                Some(next) => rest = next,
                None => break,
            }
        }
        found.push(address);
        match rest.strip_prefix(',') {
            Some(next) => rest = next,
            None if rest.is_empty() => return Some(found),
            None => return None,
        }
    }
}

/// Reads a token or a quoted string. Returns its content, and the text after it.
fn value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.bytes().position(|byte| !is_token(byte)).unwrap_or(text.len());
        return (end > 0).then(|| (text[..end].to_owned(), &text[end..]));
    };
    let (mut content, mut characters) = (String::new(), quoted.char_indices());
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((content, &quoted[at + 1..])),
            '\\' => content.push(characters.next()?.1),
            other => content.push(other),
        }
    }
    None
}

/// Whether a byte may be in a token (RFC 9110, 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_forwarded_is_read_from_its_end() {
        let read = |line: &'static str| -> Vec<String> {
            let line = HeaderValue::from_static(line);
            forwarded(&line).map(|address| address.map_or("?".into(), |address| address.to_string())).collect()
        };
        let cases: [(&str, &[&str]); 12] = [
            ("for=192.0.2.60;proto=http;by=203.0.113.43", &["192.0.2.60:0"]),
            ("for=192.0.2.43, for=198.51.100.17", &["198.51.100.17:0", "192.0.2.43:0"]),
            ("For=\"[2001:db8:cafe::17]:4711\"", &["[2001:db8:cafe::17]:4711"]),
            ("proto=https ; FOR=\"192.0.2.1:80\" , by=x", &["?", "192.0.2.1:80"]),
            ("for=unknown, for=_hidden, for=192.0.2.1", &["192.0.2.1:0", "?", "?"]),
            ("for=\"a\\\"b,for=1.1.1.1\"", &["?"]),
            // A quote that is never closed would otherwise hide what a proxy appends.
            ("for=\", for=192.0.2.1", &["?"]),
            ("for=1.1.1.1;for=2.2.2.2", &["?"]),
            ("for=1.1.1.1,", &["?"]),
            ("for", &["?"]),
            ("", &["?"]),
            ("for=[2001:db8::1]", &["?"]),
        ];
        for (line, expected) in cases {
            assert_eq!(read(line), expected, "{line}");
        }
    }

    #[test]
    fn arbitrary_bytes_are_no_addresses() {
        for line in [&b"\xff\xfe"[..], b"for=\xc3\xa9", b",,,,", b"\"\"\"", b"=;=,=", b"[", b"]:", b"[]:", b":", b":1"]
        {
            let line = HeaderValue::from_bytes(line).expect("a header's value");
            assert!(forwarded(&line).all(|address| address.is_none()), "{line:?}");
            assert!(x_forwarded_for(&line).all(|address| address.is_none()), "{line:?}");
        }
    }
}
