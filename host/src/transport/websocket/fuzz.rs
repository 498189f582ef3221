//! Fuzz targets of WebSocket: see `crate::fuzz`.

use axum::http::{HeaderMap, HeaderName, HeaderValue, Version};

use super::inflate::Inflation;
use super::reader::{ReadEvent, Reader};
use super::{extensions, handshake};
use crate::protocol::CloseCode;

/// The most bytes of a message of these targets.
const MESSAGE_BYTES: usize = 2_000;

/// What a reader makes of the bytes of a client, until it closes the connection.
type Events = Vec<Result<ReadEvent, CloseCode>>;

/// Reads bytes that come in pieces. Each event has a turn of its own.
fn events(bytes: &[u8], deflates: bool, piece: usize) -> Events {
    let (mut reader, mut inflation) = (Reader::new(MESSAGE_BYTES, deflates), Inflation::default());
    let (mut events, mut waiting) = (Vec::new(), Vec::new());
    for piece in bytes.chunks(piece) {
        waiting.extend_from_slice(piece);
        let mut input = &waiting[..];
        loop {
            inflation.begin_turn();
            match reader.next(&mut input, &mut inflation) {
                Ok(Some(ReadEvent::Postponed)) => {}
                Ok(Some(event)) => events.push(Ok(event)),
                Ok(None) => break,
                Err(code) => {
                    events.push(Err(code));
                    return events;
                }
            }
        }
        waiting = input.to_vec();
    }
    events
}

/// The first byte says whether compression was negotiated, and in what pieces the rest comes. The events are the same if it
/// comes at once.
pub(crate) fn websocket(bytes: &[u8]) -> bool {
    let Some((first, bytes)) = bytes.split_first() else { return false };
    let (deflates, piece) = (first % 2 == 1, usize::from(first / 2) + 1);
    let found = events(bytes, deflates, piece);
    assert_eq!(found, events(bytes, deflates, bytes.len().max(1)), "in pieces of {piece}");
    let is_message = |event: &_| match event {
        Ok(ReadEvent::Message(message)) => {
            assert!(message.len() <= MESSAGE_BYTES, "{} bytes", message.len());
            true
        }
        _ => false,
    };
    found.iter().filter(|event| is_message(event)).count() > 0
}

/// A compressed message. Afterwards the same memory inflates a valid one.
pub(crate) fn inflate(bytes: &[u8]) -> bool {
    let mut inflation = Inflation::default();
    let mut inflated = |bytes: &[u8]| {
        let mut inflating = inflation.begin(false, |compressed| compressed.extend_from_slice(bytes));
        let done = loop {
            inflation.begin_turn();
            match inflation.go_on(&mut inflating, MESSAGE_BYTES) {
                Ok(true) => break Ok(inflating.bytes().to_vec()),
                Ok(false) => assert!(inflation.is_used_up(), "a message is only postponed if no work is left"),
                Err(code) => break Err(code),
            }
        };
        inflation.take_back(inflating);
        done
    };
    let found = inflated(bytes);
    match &found {
        Ok(message) => assert!(message.len() <= MESSAGE_BYTES, "{} bytes", message.len()),
        Err(code) => assert!(matches!(code, CloseCode::TooBig | CloseCode::ProtocolError), "{code:?}"),
    }
    // "Hello", from RFC 7692, 7.2.3.1.
    let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    assert_eq!(inflated(&hello), Ok(b"Hello".to_vec()));
    found.is_ok()
}

/// The headers of a request for an upgrade, as lines of `NAME: VALUE`.
pub(crate) fn handshake(bytes: &[u8]) -> bool {
    let mut headers = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n').take(40) {
        let Some(at) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..at]);
        let value = HeaderValue::from_bytes(line[at + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    let chosen = extensions::choose(&headers);
    if let Ok(Some(answer)) = chosen {
        assert!(answer.starts_with("permessage-deflate; server_no_context_takeover; client_no_context_takeover"));
    }
    let accepted = handshake::check(Version::HTTP_11, &headers);
    if let Ok(accept) = &accepted {
        // The base64 of a SHA-1.
        assert!(accept.len() == 28 && accept.as_bytes().ends_with(b"="), "{accept:?}");
        assert!(handshake::check(Version::HTTP_10, &headers).is_err());
    }
    accepted.is_ok() && chosen.is_ok()
}
