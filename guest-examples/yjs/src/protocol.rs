//! The messages of y-protocols: bytes of variable-length numbers and of strings with their lengths.

use bennu_guest::prelude::*;
use serde::de::IgnoredAny;

use crate::reader::{NUMBER_MAX, Reader};

/// A message of the event `sync`.
#[derive(Debug, PartialEq)]
pub(crate) enum Sync<'a> {
    /// The sender's state vector. The answer is what the sender lacks.
    Step1(&'a [u8]),
    /// An update: the answer to a state vector (step 2), or a change.
    Update(&'a [u8]),
}

/// The state of one client in a message of the event `awareness`.
#[derive(Debug, PartialEq)]
pub(crate) struct Awareness {
    pub(crate) client: u64,
    pub(crate) clock: u64,
}

/// The kinds of messages of `sync`.
const STEP_1: u8 = 0;
const STEP_2: u8 = 1;
const UPDATE: u8 = 2;

/// The bytes of the state that a client may show to the others.
const STATE_BYTES_MAX: usize = 8 << 10;

/// Reads a message of `sync`.
pub(crate) fn read_sync(bytes: &[u8]) -> Result<Sync<'_>, Error> {
    let mut reader = Reader::new(bytes);
    match (reader.byte(), reader.counted(), reader.is_at_end()) {
        (Some(STEP_1), Some(state_vector), true) => Ok(Sync::Step1(state_vector)),
        (Some(STEP_2 | UPDATE), Some(update), true) => Ok(Sync::Update(update)),
        _ => malformed(),
    }
}

/// Writes the first step: a state vector.
pub(crate) fn step_1(state_vector: &[u8]) -> Vec<u8> {
    with_kind(STEP_1, state_vector)
}

/// Writes the second step: what a client lacks.
pub(crate) fn step_2(update: &[u8]) -> Vec<u8> {
    with_kind(STEP_2, update)
}

/// Writes a change.
pub(crate) fn update(update: &[u8]) -> Vec<u8> {
    with_kind(UPDATE, update)
}

fn with_kind(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(body.len() + 6);
    bytes.push(kind);
    put_number(&mut bytes, body.len() as u64);
    bytes.extend_from_slice(body);
    bytes
}

/// Reads a message of `awareness`, which may have the state of one client only.
pub(crate) fn read_awareness(bytes: &[u8]) -> Result<Awareness, Error> {
    let mut reader = Reader::new(bytes);
    let (Some(1), Some(client), Some(clock), Some(state), true) =
        (reader.number(), reader.number(), reader.number(), reader.text(), reader.is_at_end())
    else {
        return malformed();
    };
    if clock == NUMBER_MAX || serde_json::from_str::<IgnoredAny>(state).is_err() {
        return malformed();
    }
    if state.len() > STATE_BYTES_MAX {
        return refuse(json!({ "reason": format!("a state has at most {STATE_BYTES_MAX} bytes") }));
    }
    Ok(Awareness { client, clock })
}

/// Writes that a client is gone.
pub(crate) fn gone(Awareness { client, clock }: &Awareness) -> Vec<u8> {
    let mut bytes = vec![1];
    put_number(&mut bytes, *client);
    put_number(&mut bytes, clock + 1);
    bytes.extend_from_slice(b"\x04null");
    bytes
}

fn put_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    bytes.push(number.to_le_bytes()[0]);
}

fn malformed<T>() -> Result<T, Error> {
    refuse(json!({ "reason": "this is no message of y-protocols" }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_as_they_are_written() {
        let long = vec![7; 300];
        assert_eq!(read_sync(&step_1(&long)).unwrap(), Sync::Step1(&long));
        assert_eq!(read_sync(&step_2(&long)).unwrap(), Sync::Update(&long));
        assert_eq!(read_sync(&update(b"")).unwrap(), Sync::Update(b""));
        let gone = gone(&Awareness { client: NUMBER_MAX, clock: 127 });
        assert_eq!(read_awareness(&gone).unwrap(), Awareness { client: NUMBER_MAX, clock: 128 });
    }

    #[test]
    fn anything_else_is_refused() {
        for bytes in
            [&b""[..], b"\x02", b"\x02\x01", b"\x02\0\0", b"\x03\0", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\0"]
        {
            assert!(read_sync(bytes).is_err(), "{bytes:?}");
        }
        for bytes in [
            &b""[..],
            b"\x00",
            b"\x01\x01\x01\x02{]",
            b"\x02\x01\x01\x02{}",
            b"\x01\x01\x01\x03{}",
            b"\x01\x01\x01\x02{}\0",
        ] {
            assert!(read_awareness(bytes).is_err(), "{bytes:?}");
        }
        let long = format!("\"{}\"", "x".repeat(STATE_BYTES_MAX));
        let mut message = vec![1, 1, 1];
        put_number(&mut message, long.len() as u64);
        message.extend_from_slice(long.as_bytes());
        assert!(read_awareness(&message).is_err());
    }
}
