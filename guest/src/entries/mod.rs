//! The entries of a topic: a map from names to values, next to the topic's room.

use std::any::type_name;
use std::borrow::Borrow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Bound, RangeBounds};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::host::entries;
use crate::key_range::{self, KeyRange, successor};
use crate::{Channel, Error, state};

mod packed;
mod scan;
#[cfg(test)]
mod tests;
mod upgrade;

use packed::{EntryList, Page, push_key, take_value};
pub use scan::Entries;
use scan::Pages;
pub use upgrade::{NewEntry, OldEntry, UpgradedEntry};

/// An ordered map from names to values of the type `T`, which all members of a topic share. A channel that has
/// [`ENTRIES`](crate::Channel::ENTRIES) can use it in each callback that gets the [`Socket`](crate::Socket) or the
/// [`Topic`](crate::Topic).
///
/// A map is for a room that is large, or that changes often. A callback that uses the [`Room`](crate::Channel::Room) reads
/// all of it, and writes all of it after a change. A map reads and writes single entries.
///
/// ```
/// use bennu_guest::prelude::*;
///
/// #[derive(Serialize, Deserialize)]
/// struct Note {
///     author: String,
///     text: String,
/// }
///
/// const NOTES: RoomMap<Note> = RoomMap::new("note/");
/// /// The number of notes of each author.
/// const COUNTS: RoomMap<u32> = RoomMap::new("count/");
///
/// #[derive(Serialize, Deserialize)]
/// struct Board {
///     user: String,
/// }
///
/// impl Channel for Board {
///     type Room = ();
///     const ENTRIES: bool = true;
///
///     fn join(socket: &mut Socket, params: Payload) -> Join<Self> {
///         // The last ten notes, the newest first. Ids sort in the order in which they were created.
///         let last = NOTES.iter().backward().limit(10).collect::<Result<Vec<_>, _>>()?;
///         socket.respond(json!({ "notes": last }));
///         Ok(Board { user: params.field("user")? })
///     }
///
///     fn handle_in(&mut self, socket: &mut Socket, event: &str, payload: Payload) -> Handled {
///         match event {
///             "add" => {
///                 let note = Note { author: self.user.clone(), text: payload.field("text")? };
///                 NOTES.insert(unique_id(), &note);
///                 COUNTS.update(&self.user, |count| *count += 1)?;
///                 socket.broadcast("added", &note);
///                 ok()
///             }
///             "count" => reply(json!({ "count": COUNTS.get(&self.user)?.unwrap_or(0) })),
///             _ => unknown_event(event),
///         }
///     }
/// }
///
/// let stage = testing::Stage::new().channel::<Board>("board:*");
/// let mut alice = stage.join("board:1", json!({ "user": "alice" })).unwrap();
/// alice.push("add", json!({ "text": "hi" }));
/// let count = alice.push("count", json!({}));
/// alice.assert_reply(&count, "ok", json!({ "count": 1 }));
/// let bob = stage.join("board:1", json!({ "user": "bob" })).unwrap();
/// let notes: Vec<(String, Note)> = bob.response().field("notes").unwrap();
/// assert_eq!(notes[0].1.text, "hi");
/// ```
///
/// The key of an entry is the map's prefix, followed by the entry's name. Entries are in the order of the bytes of their
/// names. A topic can have several maps. No map's prefix may begin with the prefix of another map of the topic; otherwise
/// the maps share entries.
///
/// A callback reads its own writes. The writes are committed together with the callback's other changes. If the callback
/// fails, none of them is committed. The entries live as long as the room: until some time after the last member has ended
/// ([`LINGER`](crate::Channel::LINGER)).
///
/// Values are encoded in the same way as the member's state, or as JSON in a [published](RoomMap::published) map. So a new
/// field with `#[serde(default)]` reads values that an earlier build wrote. If serde can't read them,
/// [`upgrade_entry`](crate::Channel::upgrade_entry) converts them.
///
/// # Limits
///
/// - A key has 1 to 255 bytes, and a value at most 1 MiB (`entry_bytes`).
/// - A callback writes at most 4,096 entries (`entry_writes_per_call`) and 4 MiB (`entry_write_bytes_per_call`).
/// - The entries of a topic have at most 1 GiB (`entries_bytes_per_topic`). The entries of all rooms in memory have at most
///   256 MiB (`entries_memory_bytes`), where each entry counts with 64 bytes more.
///
/// More is a fault `oversize`. In [`handle_out`](crate::Channel::handle_out), [`upgrade`](crate::Channel::upgrade),
/// [`upgrade_room`](crate::Channel::upgrade_room) and [`upgrade_entry`](crate::Channel::upgrade_entry), and in a channel
/// without [`ENTRIES`](crate::Channel::ENTRIES), each use of a map is a fault `failed`.
pub struct RoomMap<T> {
    prefix: &'static str,
    encoding: Encoding,
    /// The map has no `T`, so it may be used on any thread.
    values: PhantomData<fn() -> T>,
}

impl<T> RoomMap<T> {
    /// The map of all entries whose keys begin with `prefix`. It may be empty: then the map has all entries of the topic.
    pub const fn new(prefix: &'static str) -> Self {
        Self { prefix, encoding: Encoding::MessagePack, values: PhantomData }
    }

    /// The map of all entries whose keys begin with `prefix`, which has to begin with a prefix that the channel publishes
    /// ([`PUBLISHES`](crate::Channel::PUBLISHES)). Its values are encoded as JSON, because clients get them. A value must
    /// not be null, such as `None` or `()`: remove the entry instead.
    pub const fn published(prefix: &'static str) -> Self {
        Self { prefix, encoding: Encoding::Json, values: PhantomData }
    }

    /// A map with the same entries.
    fn copy(&self) -> Self {
        Self { prefix: self.prefix, encoding: self.encoding, values: PhantomData }
    }

    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn prefix(&self) -> &'static str {
        self.prefix
    }

    fn key(&self, name: &str) -> Vec<u8> {
        [self.prefix.as_bytes(), name.as_bytes()].concat()
    }

    /// Whether there is an entry with this name. The host copies its value, as for [`get`](RoomMap::get).
    #[track_caller]
    pub fn contains(&self, name: impl AsRef<str>) -> bool {
        entries::get(&self.key(name.as_ref())).is_some()
    }

    /// Removes the entry with this name. If there is none, nothing happens.
    #[track_caller]
    pub fn remove(&self, name: impl AsRef<str>) {
        entries::delete(&self.key(name.as_ref()));
    }

    /// Removes up to `limit` entries, from the first. Returns their number. Each removed entry counts as a write of the
    /// callback, so a large map is cleared in several callbacks.
    ///
    /// ```
    /// # use bennu_guest::prelude::*;
    /// # const NOTES: RoomMap<String> = RoomMap::new("note/");
    /// /// Removes a part of the notes. Returns whether some may be left.
    /// fn remove_some_notes() -> bool {
    ///     NOTES.clear(1_000) == 1_000
    /// }
    /// ```
    #[track_caller]
    pub fn clear(&self, limit: usize) -> usize {
        let mut range = KeyRange::of_prefix(self.prefix.as_bytes(), limit);
        // The entries at the start are gone after each page, so the bounds stay.
        while let Some(key_range::Page { start, end, limit }) = range.next_page() {
            let (deleted, wanted) = (entries::delete_range(start, end, limit), limit);
            range.limit -= deleted as usize;
            if deleted < wanted {
                break;
            }
        }
        limit - range.limit
    }
}

impl<T: DeserializeOwned> RoomMap<T> {
    /// Returns the value of a name, if there is such an entry.
    ///
    /// # Errors
    ///
    /// The value isn't a `T`. With `?`, this is a fault `failed`.
    #[track_caller]
    pub fn get(&self, name: impl AsRef<str>) -> Result<Option<T>, Error> {
        let key = self.key(name.as_ref());
        entries::get(&key).map(|value| self.encoding.read(&key, &value)).transpose()
    }

    /// Returns the values of several names, in their order. There are at most 1,000 names, and the values have at most 1
    /// MiB. More is a fault `oversize`.
    ///
    /// # Errors
    ///
    /// A value isn't a `T`. With `?`, this is a fault `failed`.
    #[track_caller]
    pub fn get_many(&self, names: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Vec<Option<T>>, Error> {
        let mut keys = Vec::new();
        for name in names {
            push_key(&mut keys, [self.prefix.as_bytes(), name.as_ref().as_bytes()]);
        }
        let values = entries::get_many(&keys);
        let (mut keys, mut values) = (&keys[..], &values[..]);
        let mut read_all = Vec::new();
        while !keys.is_empty() {
            let key = take_value(&mut keys).unwrap_or_default();
            read_all.push(take_value(&mut values).map(|value| self.encoding.read(key, value)).transpose()?);
        }
        Ok(read_all)
    }

    /// Reads an entry of this map.
    pub(crate) fn read<'k>(&self, key: &'k [u8], value: &[u8]) -> Result<(&'k str, T), Error> {
        let value = self.encoding.read(key, value)?;
        // A map writes only UTF-8, but another build may have written other keys.
        let name = str::from_utf8(&key[self.prefix.len()..]).map_err(|_| {
            let name = String::from_utf8_lossy(&key[self.prefix.len()..]);
            Error::Failed(format!("the name {name:?} of an entry under {:?} isn't UTF-8", self.prefix))
        })?;
        Ok((name, value))
    }

    /// Returns all entries, in the order of their names. The methods of [`Entries`] change the order, and limit their
    /// number.
    pub fn iter(&self) -> Entries<T> {
        Entries::of(self, KeyRange::of_prefix(self.prefix.as_bytes(), usize::MAX))
    }

    /// Returns the entries whose names are in this range.
    ///
    /// ```
    /// # use bennu_guest::prelude::*;
    /// use std::ops::Bound;
    ///
    /// const NOTES: RoomMap<String> = RoomMap::new("note/");
    ///
    /// /// The next ten notes after the note with this id.
    /// fn page(id: &str) -> Result<Vec<(String, String)>, Error> {
    ///     NOTES.range((Bound::Excluded(id), Bound::Unbounded)).limit(10).collect()
    /// }
    ///
    /// /// All notes from `a` up to, but without, `c`.
    /// fn first() -> Result<Vec<(String, String)>, Error> {
    ///     NOTES.range("a".."c").collect()
    /// }
    /// ```
    pub fn range<'n>(&self, names: impl RangeBounds<&'n str>) -> Entries<T> {
        let mut range = KeyRange::of_prefix(self.prefix.as_bytes(), usize::MAX);
        match names.start_bound() {
            Bound::Included(name) => range.begin_with(self.key(name)),
            Bound::Excluded(name) => range.begin_with(successor(self.key(name))),
            Bound::Unbounded => {}
        }
        match names.end_bound() {
            Bound::Included(name) => range.end_before(successor(self.key(name))),
            Bound::Excluded(name) => range.end_before(self.key(name)),
            Bound::Unbounded => {}
        }
        Entries::of(self, range)
    }
}

impl<T: Serialize> RoomMap<T> {
    /// Sets the value of a name, and replaces an existing value.
    ///
    /// # Panics
    ///
    /// If the value can't be encoded.
    #[track_caller]
    pub fn insert(&self, name: impl AsRef<str>, value: &T) {
        entries::put(&self.key(name.as_ref()), &self.encoding.encoded(value));
    }

    /// Sets the values of several names at once, which is faster than [`insert`](RoomMap::insert) for each.
    ///
    /// ```
    /// # use bennu_guest::prelude::*;
    /// const CARDS: RoomMap<u8> = RoomMap::new("card/");
    ///
    /// fn deal() {
    ///     CARDS.insert_many((0..52).map(|number| (format!("{number:02}"), number % 13)));
    /// }
    /// ```
    ///
    /// # Panics
    ///
    /// If a value can't be encoded.
    #[track_caller]
    pub fn insert_many(&self, values: impl IntoIterator<Item = (impl AsRef<str>, impl Borrow<T>)>) {
        let mut all = EntryList::default();
        for (name, value) in values {
            self.add(&mut all, name.as_ref(), value.borrow(), None);
        }
        entries::put_many(all.as_bytes());
    }

    /// Adds an entry to a list, unless its value has these old bytes.
    #[track_caller]
    fn add(&self, list: &mut EntryList, name: &str, value: &T, old: Option<&[u8]>) {
        let key = [self.prefix.as_bytes(), name.as_bytes()];
        let added = list.push(key, |bytes| self.encoding.encode_to(bytes, value), |new| old != Some(new));
        added.unwrap_or_else(|why| panic!("{why}"));
    }
}

impl<T: Serialize + DeserializeOwned> RoomMap<T> {
    /// Changes all values, in the order of their names. Only values that `change` makes different are written. This is the
    /// fastest way to change many entries, for example at a tick.
    ///
    /// ```
    /// # use bennu_guest::prelude::*;
    /// #[derive(Serialize, Deserialize)]
    /// struct Ball {
    ///     at: (f64, f64),
    ///     speed: (f64, f64),
    /// }
    ///
    /// const BALLS: RoomMap<Ball> = RoomMap::new("ball/");
    ///
    /// fn move_balls(tick: &Tick) -> Result<(), Error> {
    ///     let seconds = tick.elapsed().as_secs_f64();
    ///     BALLS.update_all(|_name, ball| {
    ///         ball.at.0 += ball.speed.0 * seconds;
    ///         ball.at.1 += ball.speed.1 * seconds;
    ///     })
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// A value isn't a `T`. With `?`, this is a fault `failed`.
    ///
    /// # Panics
    ///
    /// If a value can't be encoded.
    #[track_caller]
    pub fn update_all(&self, mut change: impl FnMut(&str, &mut T)) -> Result<(), Error> {
        let mut pages = Pages::new(KeyRange::of_prefix(self.prefix.as_bytes(), usize::MAX));
        let mut page = Page::default();
        while let Some(next) = pages.next(&page) {
            page = next;
            let mut changed = EntryList::with_capacity(page.bytes());
            while let Some((key, old)) = page.take() {
                let (name, mut value) = self.read(key, old)?;
                change(name, &mut value);
                self.add(&mut changed, name, &value, Some(old));
            }
            if !changed.is_empty() {
                entries::put_many(changed.as_bytes());
            }
        }
        Ok(())
    }
}

impl<T: Default + Serialize + DeserializeOwned> RoomMap<T> {
    /// Changes the value of a name, or the default value if there is no such entry. Returns the result of `change`. Nothing
    /// is written if the value stays the same.
    ///
    /// ```
    /// # use bennu_guest::prelude::*;
    /// /// The ids of each user's drawings, the newest last.
    /// const DRAWN: RoomMap<Vec<String>> = RoomMap::new("drawn/");
    ///
    /// /// Takes the user's last drawing back.
    /// fn undo(user: &str) -> Result<Option<String>, Error> {
    ///     DRAWN.update(user, Vec::pop)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// The value isn't a `T`. With `?`, this is a fault `failed`.
    ///
    /// # Panics
    ///
    /// If the value can't be encoded.
    #[track_caller]
    pub fn update<R>(&self, name: impl AsRef<str>, change: impl FnOnce(&mut T) -> R) -> Result<R, Error> {
        let key = self.key(name.as_ref());
        let found = entries::get(&key);
        let (mut value, old) = match found {
            Some(bytes) => (self.encoding.read(&key, &bytes)?, bytes),
            None => (T::default(), self.encoding.encoded(&T::default())),
        };
        let result = change(&mut value);
        let new = self.encoding.encoded(&value);
        if new != old {
            entries::put(&key, &new);
        }
        Ok(result)
    }
}

impl<T> fmt::Debug for RoomMap<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("RoomMap").field(&self.prefix).finish()
    }
}

/// The encoding of a map's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    MessagePack,
    Json,
}

impl Encoding {
    /// The encoding of an entry of a channel.
    pub(crate) fn of<C: Channel>(key: &[u8]) -> Self {
        let is_published = C::PUBLISHES.iter().any(|prefix| key.starts_with(prefix.as_bytes()));
        if is_published { Self::Json } else { Self::MessagePack }
    }

    #[track_caller]
    pub(crate) fn encoded(self, value: &impl Serialize) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.encode_to(&mut bytes, value).unwrap_or_else(|why| panic!("{why}"));
        bytes
    }

    fn encode_to<T: Serialize>(self, bytes: &mut Vec<u8>, value: &T) -> Result<(), String> {
        match self {
            Self::MessagePack => state::encode_to(bytes, value),
            Self::Json => serde_json::to_writer(bytes, value)
                .map_err(|error| format!("a {} can't be written as JSON: {error}", type_name::<T>())),
        }
    }

    pub(crate) fn read<T: DeserializeOwned>(self, key: &[u8], value: &[u8]) -> Result<T, Error> {
        let failed = |error: &dyn fmt::Display| {
            let key = String::from_utf8_lossy(key);
            Error::Failed(format!("the entry {key:?} can't be read as a {}: {error}", type_name::<T>()))
        };
        match self {
            Self::MessagePack => state::read(value).map_err(|error| failed(&error)),
            Self::Json => serde_json::from_slice(value).map_err(|error| failed(&error)),
        }
    }
}
