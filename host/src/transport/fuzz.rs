//! Fuzz targets of the transports: see `crate::fuzz`.

use axum::http::{HeaderMap, HeaderValue};
use bytes::Bytes;
use futures_util::FutureExt as _;

use super::proxies::{AddressSource, Proxies, plain, read};
use super::{longpoll, params, subprotocol};

pub(crate) use super::websocket::fuzz::{handshake, inflate, websocket};

/// The values of a header, one in each line. Lines that a header can't have are left out.
fn values(bytes: &[u8]) -> impl Iterator<Item = HeaderValue> {
    bytes.split(|byte| *byte == b'\n').filter_map(|line| HeaderValue::from_bytes(line).ok())
}

/// The query of a connect request in the first line, and its `Sec-WebSocket-Protocol` in the second.
pub(crate) fn connect(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let (query, offered) = text.split_once('\n').unwrap_or((text, ""));
    let params = params::read(query);
    assert!(params.keys().all(|name| !name.is_empty()), "{query}");
    let configured = ["chat".to_owned()];
    let choice = subprotocol::choose(offered, &configured, true).unwrap_or_default();
    if let Some(protocol) = choice.protocol {
        let is_offered = offered.split(',').any(|item| item.trim() == protocol);
        assert!(is_offered, "the answer names a subprotocol that the client offers: {offered}");
    }
    !params.is_empty() || choice.auth_token.is_some()
}

/// The body of a long-poll request. If the first byte is even, it is a batch.
pub(crate) fn longpoll(bytes: &[u8]) -> bool {
    const FRAME_BYTES: usize = 200;
    let Some((first, body)) = bytes.split_first() else { return false };
    let content_type = (first % 2 == 0).then_some(&b"application/x-ndjson"[..]);
    let Ok(frames) = longpoll::read_body(&Bytes::copy_from_slice(body), content_type, FRAME_BYTES) else {
        return false;
    };
    assert!(frames.iter().all(|frame| frame.len() <= FRAME_BYTES) && frames.len() <= 100);
    assert!(content_type.is_some() || frames.len() == 1);
    true
}

/// The proxies of these targets, which give addresses by this header.
fn proxies(source: AddressSource) -> Proxies {
    let trusted = ["10.0.0.0/8", "2001:db8:f::/48"].map(|network| network.parse().expect("a network"));
    Proxies { trusted: trusted.into(), source }
}

/// Checks the client's address for these values of a header, which a client may have sent, and then for the same values with
/// the one that a trusted proxy appends: only that one counts.
fn check_address(source: AddressSource, name: &'static str, bytes: &[u8], appended: &'static str) -> bool {
    let (proxies, mut headers) = (proxies(source), HeaderMap::new());
    for value in values(bytes).take(40) {
        headers.append(name, value);
    }
    let proxy = "10.0.0.1:80".parse().expect("an address");
    let stranger = "203.0.113.9:80".parse().expect("an address");
    assert_eq!(proxies.client_of(stranger, &headers), stranger, "a header of an untrusted peer changes nothing");
    let found = proxies.client_of(proxy, &headers);
    assert_eq!(plain(found), found, "an IPv4 address is written as one");
    headers.append(name, HeaderValue::from_static(appended));
    assert_eq!(proxies.client_of(proxy, &headers).to_string(), "198.51.100.1:0");
    found != proxy
}

/// Values of `X-Forwarded-For`, one in each line.
pub(crate) fn x_forwarded_for(bytes: &[u8]) -> bool {
    check_address(AddressSource::XForwardedFor, "x-forwarded-for", bytes, "198.51.100.1")
}

/// Values of `Forwarded`, one in each line.
pub(crate) fn forwarded(bytes: &[u8]) -> bool {
    check_address(AddressSource::Forwarded, "forwarded", bytes, "for=198.51.100.1")
}

/// The beginning of a connection from a proxy. Exactly the header is read, so what follows it doesn't matter.
pub(crate) fn proxy_protocol(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    let Some(Ok(client)) = read(&mut rest).now_or_never() else { return false };
    let header = &bytes[..bytes.len() - rest.len()];
    let other = [header, b"GET /socket HTTP/1.1"].concat();
    let mut rest = &other[..];
    let again = read(&mut rest).now_or_never().expect("a slice has no pauses").expect("it was read before");
    assert_eq!((again, rest), (client, &b"GET /socket HTTP/1.1"[..]));
    true
}
