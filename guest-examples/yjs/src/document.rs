//! A document: how it is stored, read and changed.
//!
//! The entries of the topic have the document as one update, in pieces (`part/`), and the changes since then (`change/`),
//! each as it came. So a change writes only its own bytes. From time to time, everything is written again as one update,
//! without the text that was deleted ([`is_due`](Head::is_due)).
//!
//! An instance keeps the documents that it has read last, because reading a large one takes long. The room names the last
//! change by a random number, so a kept document is used only if it is the stored one.

use std::cell::RefCell;

use bennu_guest::prelude::*;
use serde::de::{Error as _, Visitor};
use serde::{Deserializer, Serializer};
use yrs::block::ClientID;
use yrs::updates::decoder::Decode;
use yrs::updates::encoder::Encode;
use yrs::{Doc, Options, ReadTxn, StateVector, Transact, Update};

use crate::check::{Summary, is_state_vector, summary};

const PARTS: RoomMap<Bytes> = RoomMap::new("part/");
const CHANGES: RoomMap<Bytes> = RoomMap::new("change/");

/// The bytes of a piece. An entry has at most 1 MiB.
const PART_BYTES: usize = 512 << 10;

/// The changes after which a document is written again as one update, and the fewest bytes of them.
const CHANGES_MAX: u32 = 500;
const CHANGES_BYTES_MIN: usize = 64 << 10;

/// The documents that an instance keeps, and their bytes as updates. In memory, a document may have thirty times as many.
const KEPT_MAX: usize = 16;
const KEPT_BYTES_MAX: usize = 1 << 20;

/// The topic's room: what its entries contain.
#[derive(Default, Clone, Serialize, Deserialize)]
pub(crate) struct Head {
    /// The last change. 0 is an empty document.
    last: u64,
    /// The pieces of the document, and their bytes.
    parts: u32,
    part_bytes: usize,
    /// The changes since then, and their bytes.
    changes: u32,
    change_bytes: usize,
}

impl Head {
    /// The bytes that the document has in its entries.
    fn bytes(&self) -> usize {
        self.part_bytes + self.change_bytes
    }

    /// Whether the document must be written again as one update, with a change of so many bytes. With the share of its
    /// bytes, writing costs each change only a few times its own bytes.
    fn is_due(&self, bytes: usize) -> bool {
        self.changes >= CHANGES_MAX || self.change_bytes + bytes >= CHANGES_BYTES_MIN.max(self.part_bytes / 2)
    }
}

/// A document in memory.
pub(crate) struct Document {
    doc: Doc,
    topic: String,
    last: u64,
    bytes: usize,
}

thread_local! {
    /// The documents that this instance has used last, the latest at the end.
    static KEPT: RefCell<Vec<Document>> = const { RefCell::new(Vec::new()) };
}

/// What became of an update.
#[derive(Debug, PartialEq)]
pub(crate) enum Applied {
    /// The document has changed.
    Changed,
    /// The document already had all of it.
    Known,
    /// It builds upon changes that the document doesn't have.
    Incomplete,
    /// It isn't an update.
    Unreadable,
}

impl Document {
    /// Takes the document of a topic out of those that are kept, or reads it.
    pub(crate) fn open(topic: &str, head: &Head) -> Result<Self, Error> {
        let kept = KEPT.with_borrow_mut(|kept| {
            let at = kept.iter().position(|document| document.topic == topic)?;
            Some(kept.remove(at)).filter(|document| document.last == head.last)
        });
        if let Some(kept) = kept {
            return Ok(kept);
        }
        let mut document = Self { doc: empty(), topic: topic.to_owned(), last: head.last, bytes: head.bytes() };
        let mut whole = Vec::with_capacity(head.part_bytes);
        for part in PARTS.iter() {
            whole.extend_from_slice(&part?.1.0);
        }
        if !whole.is_empty() {
            document.read(&whole)?;
        }
        for change in CHANGES.iter() {
            document.read(&change?.1.0)?;
        }
        Ok(document)
    }

    /// Applies stored bytes.
    fn read(&mut self, stored: &[u8]) -> Result<(), Error> {
        match self.apply(stored) {
            Applied::Changed | Applied::Known => Ok(()),
            other => fail(format!("a stored update of {} can't be read: {other:?}", self.topic)),
        }
    }

    /// Applies an update. Unless the document has changed or the update is known, the document must not be used any more.
    pub(crate) fn apply(&mut self, update: &[u8]) -> Applied {
        let Some(Summary { new, needed }) = summary(update) else { return Applied::Unreadable };
        let Ok(update) = Update::decode_v1(update) else { return Applied::Unreadable };
        let mut transaction = self.doc.transact_mut();
        let clock = |state: &StateVector, client: u64| u64::from(state.get(&ClientID::new(client)));
        let before = transaction.state_vector();
        if new.iter().any(|(client, (first, _))| *first > clock(&before, *client)) {
            return Applied::Incomplete;
        }
        if transaction.apply_update(update).is_err() {
            return Applied::Unreadable;
        }
        transaction.commit();
        // Yjs would wait for what is missing. `yrs` leaves some of it out.
        let after = transaction.state_vector();
        let ends = new.iter().map(|(client, (_, end))| (client, end));
        if transaction.has_missing_updates() || ends.chain(&needed).any(|(client, end)| *end > clock(&after, *client)) {
            return Applied::Incomplete;
        }
        if transaction.has_changes() { Applied::Changed } else { Applied::Known }
    }

    /// Returns the state vector of the document.
    pub(crate) fn state_vector(&self) -> Vec<u8> {
        self.doc.transact().state_vector().encode_v1()
    }

    /// Returns what a client with this state vector lacks. None if it isn't a state vector.
    pub(crate) fn since(&self, state_vector: &[u8]) -> Option<Vec<u8>> {
        let state_vector = is_state_vector(state_vector).then(|| StateVector::decode_v1(state_vector).ok())??;
        Some(self.doc.transact().encode_diff_v1(&state_vector))
    }

    /// Stores the last change. Refuses it if the document would have more bytes than `most`.
    pub(crate) fn store(&mut self, change: &[u8], head: &mut Head, most: usize) -> Result<(), Error> {
        let is_due = head.is_due(change.len()) || head.bytes() + change.len() > most;
        head.last = random() | 1;
        if is_due {
            self.compact(head, most)?;
        } else {
            CHANGES.insert(name(head.changes), &Bytes(change.to_vec()));
            head.changes += 1;
            head.change_bytes += change.len();
        }
        (self.last, self.bytes) = (head.last, head.bytes());
        Ok(())
    }

    /// Writes the whole document as one update.
    fn compact(&self, head: &mut Head, most: usize) -> Result<(), Error> {
        let whole = self.doc.transact().encode_diff_v1(&StateVector::default());
        if whole.len() > most {
            let reason = format!("the document is full: it has at most {most} bytes");
            return refuse(json!({ "reason": reason }));
        }
        // What is deleted below would be lost if the document couldn't be read again.
        let mut again = Self { doc: empty(), topic: self.topic.clone(), last: 0, bytes: 0 };
        again.read(&whole)?;
        if again.state_vector_of() != self.state_vector_of() {
            return fail(format!("{} isn't the same when it is read again", self.topic));
        }
        let mut parts = 0;
        for part in whole.chunks(PART_BYTES) {
            PARTS.insert(name(parts), &Bytes(part.to_vec()));
            parts += 1;
        }
        (parts..head.parts).for_each(|at| PARTS.remove(name(at)));
        (0..head.changes).for_each(|at| CHANGES.remove(name(at)));
        *head = Head { last: head.last, parts, part_bytes: whole.len(), changes: 0, change_bytes: 0 };
        Ok(())
    }

    fn state_vector_of(&self) -> StateVector {
        self.doc.transact().state_vector()
    }

    /// Keeps the document for the next call.
    pub(crate) fn keep(self) {
        KEPT.with_borrow_mut(|kept| {
            kept.push(self);
            while kept.len() > KEPT_MAX
                || kept.len() > 1 && kept.iter().map(|it| it.bytes).sum::<usize>() > KEPT_BYTES_MAX
            {
                kept.remove(0);
            }
        });
    }
}

/// The name of an entry by its number. Names are in the order of the numbers.
fn name(at: u32) -> String {
    format!("{at:06}")
}

/// An empty document. It needs no id, because the server makes no changes of its own.
fn empty() -> Doc {
    Doc::with_options(Options::with_guid_and_client_id("document".into(), ClientID::new(0)))
}

/// Bytes that are stored as they are.
struct Bytes(Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AsBytes;
        impl Visitor<'_> for AsBytes {
            type Value = Bytes;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes(bytes.to_vec()))
            }
        }
        deserializer.deserialize_bytes(AsBytes).map_err(D::Error::custom)
    }
}
