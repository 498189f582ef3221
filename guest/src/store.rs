//! Storage that outlives the host: keys in the order of their bytes, each with a value. Each plugin has its own keys.
//!
//! All writes of a callback are stored in one transaction with its other changes, before any of its effects is visible.
//! If the callback fails, nothing is stored. A callback reads its own writes. If another commit changes the callback's
//! reads before the callback is committed, the host retries the callback. So a callback sees one state of the store. A
//! callback that has conflicts for 5 s is a fault `store`.
//!
//! A gatekeeper and `handle_out` may only read. In `upgrade` and `upgrade_room`, every call is a fault `failed`.
//!
//! Values are encoded in the same way as the member's state. So a new field with `#[serde(default)]` reads values that an earlier
//! build stored. [`get_bytes`] and [`put_bytes`] are for values in another encoding.
//!
//! # Limits
//!
//! - A key has 1 to 1,024 bytes (`store_key_bytes`), and a value at most 1 MiB (`store_value_bytes`). Otherwise the
//!   call is a fault `oversize`.
//! - A callback writes at most 1,024 keys (`store_writes_per_call`) and 4 MiB (`store_write_bytes_per_call`). Otherwise
//!   it is a fault `oversize`.
//! - A plugin stores at most 1 GiB (`store_bytes_per_plugin`), including its durable rooms. Otherwise the callback is a
//!   fault `store`.
//! - If the disk fails, a read or a write is a fault `store`.
//!
//! # A history
//!
//! Ids of [`unique_id`](crate::unique_id) sort in the order in which they were created. So they can be the keys of a
//! history: a new client reads the last messages, and a client that comes back reads the messages after the last one
//! that it has seen.
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
//!     // Ids are stored in the order in which they are created, so a client that catches up misses none.
//!     const TURNS: Turns = Turns::Topic;
//!
//!     fn join(socket: &mut Socket, params: Payload) -> Join<Self> {
//!         // In the keys, a slash ends the topic. So the topic must not contain one.
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
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bindings::bennu::channel::store::Order;
use crate::host::store;
use crate::key_range::{KeyRange, Page, successor};
use crate::{Error, state};

#[doc(inline)]
pub use crate::bindings::bennu::channel::store::Entry;

/// The default limit of a scan.
const LIMIT: usize = 1000;

/// Returns a key's value, if the key exists.
///
/// ```
/// use bennu_guest::prelude::*;
///
/// /// Counts the visits of a user in all topics.
/// fn count_visit(user: &str) -> Result<u64, Error> {
///     let key = format!("visits:{user}");
///     let visits = store::get::<u64>(&key)?.unwrap_or(0) + 1;
///     store::put(&key, visits);
///     Ok(visits)
/// }
/// ```
///
/// # Errors
///
/// The value isn't a `T`. With `?`, this is a fault `failed`.
pub fn get<T: DeserializeOwned>(key: impl AsRef<[u8]>) -> Result<Option<T>, Error> {
    let key = key.as_ref();
    store::get(key).map(|value| read(key, &value)).transpose()
}

/// Returns the bytes of a key's value, if the key exists.
pub fn get_bytes(key: impl AsRef<[u8]>) -> Option<Vec<u8>> {
    store::get(key.as_ref())
}

/// Stores a value under a key, and replaces an existing value.
///
/// # Panics
///
/// If the value can't be written as MessagePack.
#[track_caller]
pub fn put(key: impl AsRef<[u8]>, value: impl Serialize) {
    put_bytes(key, state::encode(&value).unwrap_or_else(|why| panic!("{why}")));
}

/// Stores a value under a key for a time, and replaces an existing value. Calls whose first use of the store is after that time
/// don't see the key, and the host deletes it within seconds. A later [`put`] of the key stores a value without a time.
///
/// ```
/// use bennu_guest::prelude::*;
///
/// /// Whether this is the first request with this id for an hour.
/// fn is_new(id: &str) -> bool {
///     let key = format!("seen:{id}");
///     let is_new = store::get_bytes(&key).is_none();
///     store::put_expiring(&key, true, Duration::from_secs(3600));
///     is_new
/// }
/// ```
///
/// # Panics
///
/// If the value can't be written as MessagePack.
#[track_caller]
pub fn put_expiring(key: impl AsRef<[u8]>, value: impl Serialize, time: Duration) {
    put_bytes_expiring(key, state::encode(&value).unwrap_or_else(|why| panic!("{why}")), time);
}

/// Stores bytes under a key for a time, without encoding them. See [`put_expiring`].
pub fn put_bytes_expiring(key: impl AsRef<[u8]>, value: impl AsRef<[u8]>, time: Duration) {
    let milliseconds = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    store::put_expiring(key.as_ref(), value.as_ref(), milliseconds);
}

/// Stores bytes under a key without encoding them, and replaces an existing value.
pub fn put_bytes(key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
    store::put(key.as_ref(), value.as_ref());
}

/// Deletes a key. If the key doesn't exist, nothing happens.
pub fn delete(key: impl AsRef<[u8]>) {
    store::delete(key.as_ref());
}

/// Returns the entries whose keys begin with `prefix`: the first 1,000 in the order of the keys, unless the methods of
/// [`Scan`] change that.
///
/// ```
/// # use bennu_guest::prelude::*;
/// /// Ten players whose names come after `name`.
/// fn page(name: &str) -> Vec<String> {
///     let entries = store::scan("player:").after(format!("player:{name}")).limit(10);
///     entries.into_iter().map(|entry| entry.name("player:").into_owned()).collect()
/// }
/// ```
pub fn scan(prefix: impl AsRef<[u8]>) -> Scan {
    Scan(KeyRange::of_prefix(prefix.as_ref(), LIMIT))
}

/// A range of keys, with a direction and a limit. As an iterator it reads the entries on demand, up to 1,000 entries or
/// 1 MiB at a time.
#[derive(Clone, Debug)]
#[must_use]
pub struct Scan(KeyRange);

impl Scan {
    /// Begins the range with this key.
    pub fn from(mut self, key: impl Into<Vec<u8>>) -> Self {
        self.0.begin_with(key.into());
        self
    }

    /// Begins the range after this key.
    pub fn after(self, key: impl Into<Vec<u8>>) -> Self {
        self.from(successor(key.into()))
    }

    /// Ends the range before this key.
    pub fn before(mut self, key: impl Into<Vec<u8>>) -> Self {
        self.0.end_before(key.into());
        self
    }

    /// Returns the entries from the last to the first.
    pub fn backward(mut self) -> Self {
        self.0.is_backward = true;
        self
    }

    /// Returns at most this number of entries. `usize::MAX` means all.
    pub fn limit(mut self, limit: usize) -> Self {
        self.0.limit = limit;
        self
    }

    /// Returns the values without their keys. A value that isn't a `T` is an error; with `?`, it is a fault `failed`.
    pub fn values<T: DeserializeOwned>(self) -> impl Iterator<Item = Result<T, Error>> {
        self.into_iter().map(|entry| entry.read())
    }

    /// Reads the next entries from the host, and shortens the range by them.
    fn page(&mut self) -> Vec<Entry> {
        let Some(Page { start, end, limit }) = self.0.next_page() else { return Vec::new() };
        let order = if self.0.is_backward { Order::Backward } else { Order::Forward };
        let entries = store::scan(start, end, order, limit);
        self.0.advance(entries.len(), entries.last().map(|last| &*last.key));
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
    /// Decodes the value.
    ///
    /// # Errors
    ///
    /// The value isn't a `T`. With `?`, this is a fault `failed`.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Error> {
        read(&self.key, &self.value)
    }

    /// Returns the key as text, without a prefix.
    pub fn name(&self, prefix: &str) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(self.key.strip_prefix(prefix.as_bytes()).unwrap_or(&self.key))
    }
}

fn read<T: DeserializeOwned>(key: &[u8], value: &[u8]) -> Result<T, Error> {
    state::read(value).map_err(|error| {
        let key = String::from_utf8_lossy(key);
        Error::Failed(format!("the value under {key:?} in the store can't be read as a {}: {error}", type_name::<T>()))
    })
}
