//! Storage that outlives the host: keys in the order of their bytes, each plugin's its own.
//!
//! A key has 1 to 1,024 bytes and a value at most 1 MiB; a call writes at most 1,024 keys. What a callback writes is stored in
//! one transaction with all else that it changes, before any of its effects is seen, and not at all if it fails. It reads
//! what it has written itself. If another callback changes what it read before it is done, it is run again: it sees one state
//! of the storage. A gatekeeper and `handle_out` may only read; asking in `upgrade` is a fault.
//!
//! Values are encoded as the state is, so a field that is added with `#[serde(default)]` reads what an earlier build stored.
//! For values of another kind there are [`get_bytes`] and [`put_bytes`].
//!
//! # A history
//!
//! Ids that sort in the order in which they were drawn make a history: of the last messages, and of those since the last that
//! a client has seen.
//!
//! ```
//! use bennu_guest::prelude::*;
//!
//! #[derive(Serialize, Deserialize)]
//! struct Said {
//!     id: String,
//!     body: String,
//! }
//!
//! #[derive(Serialize, Deserialize)]
//! struct Chat;
//!
//! impl Channel for Chat {
//!     type Room = ();
//!     // An id that is drawn first is also stored first: a client that catches up misses none.
//!     const TURNS: Turns = Turns::Topic;
//!
//!     fn join(socket: &mut Socket, params: Payload) -> Join<Self> {
//!         // A slash ends the topic in the keys, so there may be none in it.
//!         if socket.topic().contains('/') {
//!             return refuse(json!({ "reason": "there is no such room" }));
//!         }
//!         let prefix = format!("{}/", socket.topic());
//!         let said: Vec<Said> = match params.field::<Option<String>>("last_seen")? {
//!             Some(id) => store::scan(&prefix).after(prefix + &id).limit(200).values().collect::<Result<_, _>>()?,
//!             None => {
//!                 let last = store::scan(&prefix).backward().limit(50).values();
//!                 let mut last = last.collect::<Result<Vec<_>, _>>()?;
//!                 last.reverse();
//!                 last
//!             }
//!         };
//!         socket.respond(json!({ "said": said }));
//!         Ok(Chat)
//!     }
//!
//!     fn handle_in(&mut self, socket: &mut Socket, _event: &str, payload: Payload) -> Handled {
//!         let said = Said { id: unique_id(), body: payload.field("body")? };
//!         store::put(format!("{}/{}", socket.topic(), said.id), &said);
//!         socket.broadcast("said", &said);
//!         reply(json!({ "id": said.id }))
//!     }
//! }
//!
//! let stage = testing::Stage::new().channel::<Chat>("room:*");
//! let mut alice = stage.join("room:1", json!({})).unwrap();
//! alice.push("say", json!({ "body": "one" }));
//! alice.push("say", json!({ "body": "two" }));
//! let bob = stage.join("room:1", json!({})).unwrap();
//! let said = bob.response().field::<Vec<Said>>("said").unwrap();
//! assert_eq!(said.iter().map(|said| said.body.as_str()).collect::<Vec<_>>(), ["one", "two"]);
//! let carol = stage.join("room:1", json!({ "last_seen": said[0].id })).unwrap();
//! assert_eq!(carol.response().field::<Vec<Said>>("said").unwrap().len(), 1);
//! ```

use std::any::type_name;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bindings::bennu::channel::store::Order;
use crate::host::store;
use crate::{Error, state};

#[doc(inline)]
pub use crate::bindings::bennu::channel::store::Entry;

/// The entries that a scan gives unless it is said otherwise, and that the host gives at once.
const PAGE: usize = 1000;

/// A key's value, if it has one.
///
/// # Errors
///
/// It isn't a `T`: with `?` that is a fault.
pub fn get<T: DeserializeOwned>(key: impl AsRef<[u8]>) -> Result<Option<T>, Error> {
    let key = key.as_ref();
    store::get(key).map(|value| read(key, &value)).transpose()
}

/// A key's value as it was put, if it has one.
pub fn get_bytes(key: impl AsRef<[u8]>) -> Option<Vec<u8>> {
    store::get(key.as_ref())
}

/// Stores a value under a key, in place of the one that is there.
///
/// # Panics
///
/// Where MessagePack has no form for the value.
#[track_caller]
pub fn put(key: impl AsRef<[u8]>, value: impl Serialize) {
    put_bytes(key, state::encode(&value).unwrap_or_else(|why| panic!("{why}")));
}

/// Stores bytes under a key as they are.
pub fn put_bytes(key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
    store::put(key.as_ref(), value.as_ref());
}

/// Removes a key. One that isn't there is ignored.
pub fn delete(key: impl AsRef<[u8]>) {
    store::delete(key.as_ref());
}

/// The entries whose keys begin so, from the first to the last and at most 1,000, unless it is said otherwise:
///
/// ```
/// # use bennu_guest::prelude::*;
/// /// The players whose names come after `name`, ten of them.
/// fn page(name: &str) -> Vec<String> {
///     let entries = store::scan("player:").after(format!("player:{name}")).limit(10);
///     entries.into_iter().map(|entry| entry.name("player:").into_owned()).collect()
/// }
/// ```
pub fn scan(prefix: impl AsRef<[u8]>) -> Scan {
    let prefix = prefix.as_ref();
    Scan { start: prefix.to_vec(), end: end_of(prefix), order: Order::Forward, limit: PAGE }
}

/// A range of keys, and how it is gone through. As an iterator it reads entries when they are asked for, some at a time.
#[derive(Clone, Debug)]
#[must_use]
pub struct Scan {
    /// The first key that may be in it.
    start: Vec<u8>,
    /// The first that isn't any more; none where the last there is belongs to it.
    end: Option<Vec<u8>>,
    order: Order,
    limit: usize,
}

impl Scan {
    /// From this key on.
    pub fn from(mut self, key: impl Into<Vec<u8>>) -> Self {
        self.start = self.start.max(key.into());
        self
    }

    /// From the first key that comes after this one.
    pub fn after(self, key: impl Into<Vec<u8>>) -> Self {
        self.from(successor(key.into()))
    }

    /// Up to the last key that comes before this one.
    pub fn before(mut self, key: impl Into<Vec<u8>>) -> Self {
        let key = key.into();
        self.end = Some(self.end.map_or_else(|| key.clone(), |end| end.min(key.clone())));
        self
    }

    /// From the last to the first.
    pub fn backward(mut self) -> Self {
        self.order = Order::Backward;
        self
    }

    /// So many at most.
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// The values, without their keys. One that isn't a `T` is an error: with `?` a fault.
    pub fn values<T: DeserializeOwned>(self) -> impl Iterator<Item = Result<T, Error>> {
        self.into_iter().map(|entry| entry.read())
    }

    /// What the host gives of it at once, which is taken from it.
    fn page(&mut self) -> Vec<Entry> {
        if self.limit == 0 || self.end.as_ref().is_some_and(|end| *end <= self.start) {
            return Vec::new();
        }
        let most = self.limit.min(PAGE);
        let start = Some(self.start.as_slice()).filter(|start| !start.is_empty());
        let entries = store::scan(start, self.end.as_deref(), self.order, most as u32);
        self.limit = if entries.is_empty() { 0 } else { self.limit.saturating_sub(entries.len()) };
        if let Some(last) = entries.last() {
            match self.order {
                Order::Forward => self.start = successor(last.key.clone()),
                Order::Backward => self.end = Some(last.key.clone()),
            }
        }
        entries
    }
}

impl IntoIterator for Scan {
    type Item = Entry;
    type IntoIter = Entries;

    fn into_iter(self) -> Entries {
        Entries { page: Vec::new().into_iter(), rest: self }
    }
}

/// The entries of a [`Scan`].
#[derive(Debug)]
pub struct Entries {
    page: std::vec::IntoIter<Entry>,
    rest: Scan,
}

impl Iterator for Entries {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        if self.page.len() == 0 {
            self.page = self.rest.page().into_iter();
        }
        self.page.next()
    }
}

impl Entry {
    /// The value.
    ///
    /// # Errors
    ///
    /// It isn't a `T`: with `?` that is a fault.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Error> {
        read(&self.key, &self.value)
    }

    /// The text of the key behind a prefix.
    pub fn name(&self, prefix: &str) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(self.key.strip_prefix(prefix.as_bytes()).unwrap_or(&self.key))
    }
}

fn read<T: DeserializeOwned>(key: &[u8], value: &[u8]) -> Result<T, Error> {
    state::read(value).map_err(|error| {
        let key = String::from_utf8_lossy(key);
        Error::Failed(format!("what is stored under {key:?} can't be read as a {}: {error}", type_name::<T>()))
    })
}

/// The first key that comes after this one.
fn successor(mut key: Vec<u8>) -> Vec<u8> {
    key.push(0);
    key
}

/// The first key that comes after all that begin so.
fn end_of(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_where_no_key_begins_with_it() {
        assert_eq!(end_of(b"a"), Some(b"b".to_vec()));
        assert_eq!(end_of(b"a\xff\xff"), Some(b"b".to_vec()));
        assert_eq!((end_of(b""), end_of(b"\xff")), (None, None));
    }

    #[test]
    fn a_range_lies_within_its_prefix() {
        let range = |scan: Scan| (scan.start, scan.end.unwrap_or_default());
        assert_eq!(range(scan("b").from("a").before("c")), (b"b".to_vec(), b"c".to_vec()));
        assert_eq!(range(scan("b").after("b1").before("b7")), (b"b1\0".to_vec(), b"b7".to_vec()));
        assert_eq!(range(scan("").before("b")), (b"".to_vec(), b"b".to_vec()));
    }
}
