//! Writes and reads the values of a record: of a hand-over, or of a message between hosts.

use std::fmt;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use bytestring::ByteString;

/// A record isn't what its kind and version promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a record is malformed")
    }
}

impl std::error::Error for Malformed {}

/// The bytes of a record that is written. Numbers are big-endian. Bytes and lists begin with their length in 4 bytes.
#[derive(Default)]
pub(crate) struct Writer(BytesMut);

/// The rest of a record that is read. Its bytes are slices of the record.
pub(crate) struct Reader(Bytes);

impl Writer {
    pub(crate) fn finish(self) -> Bytes {
        self.0.freeze()
    }

    pub(crate) fn u8(&mut self, value: u8) {
        self.0.put_u8(value);
    }

    pub(crate) fn flag(&mut self, value: bool) {
        self.u8(value.into());
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.0.put_u32(value);
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.0.put_u64(value);
    }

    pub(crate) fn bytes(&mut self, value: &[u8]) {
        // No state of a host has 4 GiB: the limits of rooms and entries are far below, and a frame that is too long is refused.
        self.u32(u32::try_from(value.len()).unwrap_or(u32::MAX));
        self.0.put_slice(value);
    }

    pub(crate) fn text(&mut self, value: &str) {
        self.bytes(value.as_bytes());
    }

    pub(crate) fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.flag(value.is_some());
        if let Some(value) = value {
            write(self, value);
        }
    }

    pub(crate) fn list<T>(&mut self, values: &[T], mut write: impl FnMut(&mut Self, &T)) {
        self.u32(u32::try_from(values.len()).unwrap_or(u32::MAX));
        values.iter().for_each(|value| write(self, value));
    }
}

impl Reader {
    pub(crate) fn new(record: Bytes) -> Self {
        Self(record)
    }

    /// Ends the reading. Nothing may be left.
    pub(crate) fn finish(self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed) }
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        self.0.try_get_u8().map_err(|_| Malformed)
    }

    pub(crate) fn flag(&mut self) -> Result<bool, Malformed> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed),
        }
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        self.0.try_get_u32().map_err(|_| Malformed)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        self.0.try_get_u64().map_err(|_| Malformed)
    }

    pub(crate) fn bytes(&mut self) -> Result<Bytes, Malformed> {
        let length = self.u32()? as usize;
        if length > self.0.len() { Err(Malformed) } else { Ok(self.0.split_to(length)) }
    }

    pub(crate) fn text(&mut self) -> Result<ByteString, Malformed> {
        ByteString::try_from(self.bytes()?).map_err(|_| Malformed)
    }

    pub(crate) fn option<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Option<T>, Malformed> {
        if self.flag()? { read(self).map(Some) } else { Ok(None) }
    }

    pub(crate) fn list<T>(
        &mut self,
        mut read: impl FnMut(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        let length = self.u32()?;
        // Without a capacity from the length, which may be wrong. Each value takes at least a byte, so the record bounds them.
        (0..length).map(|_| if self.0.is_empty() { Err(Malformed) } else { read(self) }).collect()
    }
}
