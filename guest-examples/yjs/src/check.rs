//! Checks the bytes of an update before anybody reads them: `yrs`, which reads more than Yjs does, and the other clients,
//! which a single update that Yjs can't read would stop for ever.
//!
//! An update consists of the new structs of each client, and of the ranges that are deleted (`encodeStateAsUpdate` in Yjs,
//! version 1 of the format).

use std::collections::BTreeMap;

use serde::de::IgnoredAny;

use crate::reader::Reader;

/// The largest clock of a client, at the end of a struct. It counts the client's changes, about one for each character.
const CLOCK_MAX: u64 = i32::MAX as u64;

/// How deep a value may be.
const LEVELS_MAX: u32 = 64;

/// The bits of a struct's first byte: what it has, and its kind.
const HAS_ORIGIN: u8 = 0x80;
const HAS_RIGHT_ORIGIN: u8 = 0x40;
const HAS_PARENT_SUB: u8 = 0x20;
const KIND: u8 = 0x1f;

/// The kind of a struct that was deleted and collected. There is also one for a gap, which no client sends: it has all
/// changes of another client up to the last one that it has.
const COLLECTED: u8 = 0;

/// What an update has and needs.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    /// The clocks of the new structs of each client: the first one, and the one after the last.
    pub(crate) new: BTreeMap<u64, (u64, u64)>,
    /// The number of structs of each client that it builds upon.
    pub(crate) needed: BTreeMap<u64, u64>,
}

/// Returns what an update has and needs. None if Yjs can't read the bytes, or if the update has gaps.
pub(crate) fn summary(bytes: &[u8]) -> Option<Summary> {
    let (mut reader, mut summary) = (Reader::new(bytes), Summary::default());
    reader.each(|reader| structs(reader, &mut summary))?;
    reader.each(|reader| deleted(reader, &mut summary))?;
    reader.is_at_end().then_some(summary)
}

/// Whether Yjs can read the bytes as a state vector: the clock of each client.
pub(crate) fn is_state_vector(bytes: &[u8]) -> bool {
    let mut reader = Reader::new(bytes);
    reader.each(|reader| reader.id().map(|_| ())).is_some() && reader.is_at_end()
}

/// Reads the structs of one client.
fn structs(reader: &mut Reader<'_>, summary: &mut Summary) -> Option<()> {
    let (count, client, first) = (reader.number()?, reader.number()?, reader.number()?);
    let mut clock = first;
    for _ in 0..count {
        let length = one_struct(reader, (client, clock), summary)?;
        clock += length;
        if length == 0 || clock > CLOCK_MAX {
            return None;
        }
    }
    summary.new.insert(client, (first, clock)).is_none().then_some(())
}

/// Reads the struct of a client at a clock, and returns its length.
fn one_struct(reader: &mut Reader<'_>, own: (u64, u64), summary: &mut Summary) -> Option<u64> {
    let info = reader.byte()?;
    if info & KIND == COLLECTED {
        return reader.number().filter(|length| *length <= CLOCK_MAX);
    }
    let mut id = |reader: &mut Reader<'_>| {
        let (client, clock) = reader.id()?;
        // Yjs relies on the order of a client's own structs.
        let is_earlier = client != own.0 || clock < own.1;
        summary.needs(client, clock + 1).filter(|()| is_earlier)
    };
    if info & HAS_ORIGIN != 0 {
        id(reader)?;
    }
    if info & HAS_RIGHT_ORIGIN != 0 {
        id(reader)?;
    }
    if info & (HAS_ORIGIN | HAS_RIGHT_ORIGIN) == 0 {
        match reader.number()? {
            1 => reader.text().map(|_| ())?,
            0 => id(reader)?,
            _ => return None,
        }
        if info & HAS_PARENT_SUB != 0 {
            reader.text()?;
        }
    }
    content(reader, info & KIND)
}

/// Reads the content of an item, and returns its length.
fn content(reader: &mut Reader<'_>, kind: u8) -> Option<u64> {
    match kind {
        // Deleted.
        1 => reader.number().filter(|length| *length <= CLOCK_MAX),
        // JSON, in an old encoding.
        2 => counted(reader, |reader| {
            let text = reader.text()?;
            (text == "undefined" || is_json(text)).then_some(())
        }),
        // Bytes.
        3 => reader.counted().map(|_| 1),
        4 => reader.text().map(|text| text.encode_utf16().count() as u64),
        // An embedded object.
        5 => reader.text().filter(|text| is_json(text)).map(|_| 1),
        // A format: its name and its value.
        6 => {
            reader.text()?;
            reader.text().filter(|text| is_json(text)).map(|_| 1)
        }
        // A shared type. An element and a hook of XML have a name.
        7 => match reader.number()? {
            0 | 1 | 2 | 4 | 6 => Some(1),
            3 | 5 => reader.text().map(|_| 1),
            _ => None,
        },
        8 => counted(reader, |reader| reader.any(LEVELS_MAX)),
        // Another document: its id and its options.
        9 => {
            reader.text()?;
            reader.any(LEVELS_MAX).map(|()| 1)
        }
        _ => None,
    }
}

/// Reads elements, and returns their number.
fn counted(reader: &mut Reader<'_>, mut read: impl FnMut(&mut Reader<'_>) -> Option<()>) -> Option<u64> {
    let mut count = 0;
    reader.each(|reader| {
        count += 1;
        read(reader)
    })?;
    Some(count)
}

/// Reads the deleted ranges of one client.
fn deleted(reader: &mut Reader<'_>, summary: &mut Summary) -> Option<()> {
    let client = reader.number()?;
    reader.each(|reader| {
        let (clock, length) = (reader.number()?, reader.number()?);
        summary.needs(client, clock.checked_add(length)?)
    })
}

impl Summary {
    /// Notes that the update builds upon so many structs of a client.
    fn needs(&mut self, client: u64, clock: u64) -> Option<()> {
        let needed = self.needed.entry(client).or_default();
        *needed = clock.max(*needed);
        (clock <= CLOCK_MAX).then_some(())
    }
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

#[cfg(test)]
mod tests {
    use yrs::{Any, Array, Doc, Map, ReadTxn, StateVector, Text, Transact};

    use super::*;

    #[test]
    fn an_update_is_read_as_it_was_written() {
        let doc = Doc::with_client_id(5);
        let (text, map, list) = (doc.get_or_insert_text("t"), doc.get_or_insert_map("m"), doc.get_or_insert_array("a"));
        let mut transaction = doc.transact_mut();
        text.insert(&mut transaction, 0, "a bird \u{1F426}");
        text.remove_range(&mut transaction, 2, 3);
        map.insert(&mut transaction, "k", Any::from_json(r#"{"a": [1, -2.5, null, true, "b"]}"#).unwrap());
        list.push_back(&mut transaction, Any::Buffer([1, 2].as_slice().into()));
        drop(transaction);
        let update = doc.transact().encode_diff_v1(&StateVector::default());
        let Summary { new, needed } = summary(&update).expect("an update");
        assert_eq!((new.get(&5), needed.contains_key(&5)), (Some(&(0, 11)), true), "{update:?}");
        assert!((0..update.len()).all(|end| summary(&update[..end]).is_none()));
    }

    #[test]
    fn what_yjs_would_not_read_is_refused() {
        // One struct of the client 1 at the clock 0, in the text "t", without deletions.
        let item = |info: u8, content: &[u8]| [&[1, 1, 1, 0, info, 1, 1, b't'][..], content, &[0]].concat();
        assert!(summary(&item(4, b"\x01x")).is_some());
        for (info, content) in [
            (4, &b"\x01\xff"[..]),
            (4, b"\x00"),
            (1, b"\x00"),
            (1, b"\xff\xff\xff\xff\x7f"),
            (2, b"\x01\x02{]"),
            (5, b"\x01{"),
            (7, b"\x07"),
            (8, b"\x01\x10"),
            (11, b"\x01x"),
        ] {
            assert!(summary(&item(info, content)).is_none(), "{info} {content:?}");
        }
        assert!(summary(b"\x01\x01\x01\x00\x0a\x01\x00").is_none(), "a gap");
        assert!(summary(b"\x01\x01\x01\x00\x84\x01\x00\x01x\x00").is_none(), "a struct that follows itself");
        assert!(summary(b"\x02\x01\x01\x00\x00\x01\x01\x01\x00\x00\x01\x00").is_none(), "a client that comes twice");
        let deep = [[117, 1].repeat(65), vec![126]].concat();
        assert!(summary(&item(8, &[&[1][..], &deep].concat())).is_none());
    }
}
