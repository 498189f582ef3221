//! The types of `upgrade_entry`: entries that another version of a channel wrote.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Encoding, RoomMap};
use crate::{Channel, Error};

/// The result of [`Channel::upgrade_entry`](crate::Channel::upgrade_entry). An [`Error`] of either kind refuses the entry,
/// which is a fault of the callback that reads the entry.
pub type UpgradedEntry = Result<NewEntry, Error>;

/// An entry in the encoding of this build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEntry {
    /// The value. None keeps the old value.
    pub(crate) value: Option<Vec<u8>>,
}

/// An entry that another version wrote.
#[derive(Clone, Copy, Debug)]
pub struct OldEntry<'a> {
    topic: &'a str,
    key: &'a [u8],
    version: u32,
    value: &'a [u8],
    encoding: Encoding,
}

impl<'a> OldEntry<'a> {
    /// An entry that is given to a channel.
    pub(crate) fn of<C: Channel>(topic: &'a str, key: &'a [u8], version: u32, value: &'a [u8]) -> Self {
        Self { topic, key, version, value, encoding: Encoding::of::<C>(key) }
    }

    /// Returns the topic that the entry belongs to.
    pub fn topic(&self) -> &str {
        self.topic
    }

    /// Returns the key: the prefix of a map, and the entry's name.
    pub fn key(&self) -> &[u8] {
        self.key
    }

    /// Returns the version of the entry. It may be earlier or later than this build's version.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Decodes the value as the type that the other version used: from JSON if the channel publishes the entry
    /// ([`PUBLISHES`](Channel::PUBLISHES)), and otherwise as a map without published entries writes it.
    ///
    /// # Errors
    ///
    /// The value isn't a `T`. With `?`, this refuses the entry.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Error> {
        self.encoding.read(self.key, self.value)
    }

    /// Decodes the value from JSON, if the other version published the entry, and this build doesn't.
    ///
    /// # Errors
    ///
    /// The value isn't a `T`. With `?`, this refuses the entry.
    pub fn read_json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        Encoding::Json.read(self.key, self.value)
    }

    /// Keeps the value, which serde can read as a value of this version.
    ///
    /// # Errors
    ///
    /// Never: this is the result of [`upgrade_entry`](crate::Channel::upgrade_entry).
    pub fn as_it_is(&self) -> UpgradedEntry {
        Ok(NewEntry { value: None })
    }
}

impl<T> RoomMap<T> {
    /// Returns the name of an old entry, if the entry belongs to this map.
    pub fn name_of<'a>(&self, old: &OldEntry<'a>) -> Option<&'a str> {
        old.key.strip_prefix(self.prefix.as_bytes()).and_then(|name| std::str::from_utf8(name).ok())
    }
}

impl<T: Serialize> RoomMap<T> {
    /// Replaces the value of an old entry of this map.
    ///
    /// # Errors
    ///
    /// The value can't be encoded. This refuses the entry.
    pub fn upgraded(&self, value: &T) -> UpgradedEntry {
        let mut bytes = Vec::new();
        self.encoding.encode_to(&mut bytes, value).map_err(Error::Failed)?;
        Ok(NewEntry { value: Some(bytes) })
    }
}
