//! A key and a value in one allocation.

use std::borrow::Borrow;
use std::cmp::Ordering;

use super::key::check_key;
use crate::Fault;

/// A key and a value in one allocation: the length of the key (two bytes), the key, the value. It is compared by its
/// key only.
///
/// A put makes it, and it moves into the table when the call is committed. So an entry is copied and allocated once.
#[derive(Clone, Debug)]
pub struct Packed(Box<[u8]>);

/// The bytes of the length.
const HEAD: usize = 2;

impl Packed {
    /// Packs a key and a value.
    ///
    /// # Errors
    /// Fault: oversize, if the key is empty or too long.
    #[inline]
    pub fn new(key: &[u8], value: &[u8]) -> Result<Self, Fault> {
        check_key(key)?;
        Ok(Self::pack(key, value))
    }

    /// Packs a checked key, or the bound of a range, and a value.
    pub(super) fn pack(key: &[u8], value: &[u8]) -> Self {
        // A bound has up to 256 bytes, so the length needs two bytes.
        let length = u16::try_from(key.len()).expect("keys and bounds are checked");
        // The capacity is exact, so that making the box doesn't allocate again.
        let mut bytes = Vec::with_capacity(HEAD + key.len() + value.len());
        bytes.extend_from_slice(&length.to_ne_bytes());
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(value);
        Self(bytes.into_boxed_slice())
    }

    /// Returns the key.
    #[must_use]
    #[inline]
    pub fn key(&self) -> &[u8] {
        &self.0[HEAD..self.value_at()]
    }

    /// Returns the value.
    #[must_use]
    #[inline]
    pub fn value(&self) -> &[u8] {
        &self.0[self.value_at()..]
    }

    /// Returns the bytes of the key and the value.
    #[must_use]
    #[inline]
    pub fn bytes(&self) -> usize {
        self.0.len() - HEAD
    }

    #[inline]
    fn value_at(&self) -> usize {
        HEAD + usize::from(u16::from_ne_bytes([self.0[0], self.0[1]]))
    }
}

impl Borrow<[u8]> for Packed {
    #[inline]
    fn borrow(&self) -> &[u8] {
        self.key()
    }
}

impl PartialEq for Packed {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Packed {}

impl PartialOrd for Packed {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Packed {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(other.key())
    }
}
