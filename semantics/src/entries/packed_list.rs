//! The packed lists of the contract: several items in one list of bytes, each after its lengths.

use crate::Fault;

/// The length that stands for the absence of a value. No component has a memory with room for such a value.
const ABSENT: u32 = u32::MAX;

/// The keys of a packed list.
#[derive(Clone, Debug)]
pub struct PackedKeys<'a>(&'a [u8]);

/// The entries of a packed list, each as its key and its value.
#[derive(Clone, Debug)]
pub struct PackedEntries<'a>(&'a [u8]);

impl<'a> PackedKeys<'a> {
    /// Reads a list of a component.
    ///
    /// # Errors
    /// Fault: failed, if the list ends within an item.
    pub fn new(list: &'a [u8]) -> Result<Self, Fault> {
        check(Self(list), |keys| keys.0)?;
        Ok(Self(list))
    }
}

impl<'a> PackedEntries<'a> {
    /// Reads a list of a component.
    ///
    /// # Errors
    /// Fault: failed, if the list ends within an item.
    pub fn new(list: &'a [u8]) -> Result<Self, Fault> {
        check(Self(list), |entries| entries.0)?;
        Ok(Self(list))
    }
}

impl<'a> Iterator for PackedKeys<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<Self::Item> {
        let (length, rest) = take_length(self.0)?;
        let (key, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(key)
    }
}

impl<'a> Iterator for PackedEntries<'a> {
    type Item = (&'a [u8], &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let (key, rest) = take_length(self.0)?;
        let (value, rest) = take_length(rest)?;
        let (key, rest) = rest.split_at_checked(key)?;
        let (value, rest) = rest.split_at_checked(value)?;
        self.0 = rest;
        Some((key, value))
    }
}

/// Adds an entry to a packed list of entries.
#[inline]
pub fn pack_entry(list: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    list.reserve(8 + key.len() + value.len());
    list.extend_from_slice(&length(key).to_le_bytes());
    list.extend_from_slice(&length(value).to_le_bytes());
    list.extend_from_slice(key);
    list.extend_from_slice(value);
}

/// Adds a value, or the absence of one, to a packed list of values.
pub fn pack_value(list: &mut Vec<u8>, value: Option<&[u8]>) {
    list.extend_from_slice(&value.map_or(ABSENT, length).to_le_bytes());
    list.extend_from_slice(value.unwrap_or_default());
}

/// The length of a key or a value. The limits of both are far below 4 GiB.
fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(ABSENT - 1)
}

#[inline]
fn take_length(list: &[u8]) -> Option<(usize, &[u8])> {
    let (length, rest) = list.split_first_chunk()?;
    Some((usize::try_from(u32::from_le_bytes(*length)).ok()?, rest))
}

/// Checks that the items end with the list.
fn check<'a, I: Iterator>(mut items: I, rest: impl Fn(&I) -> &'a [u8]) -> Result<(), Fault> {
    items.by_ref().for_each(drop);
    if rest(&items).is_empty() {
        return Ok(());
    }
    Err(Fault::failed("a packed list of `entries` ends within an item"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_its_items_in_order() {
        let rows: [(&[u8], &[u8]); 3] = [(b"a", b"1"), (b"", b""), (b"bc", b"234")];
        let mut list = Vec::new();
        for (key, value) in rows {
            pack_entry(&mut list, key, value);
        }
        assert!(PackedEntries::new(&list).is_ok_and(|entries| entries.eq(rows)));
        let keys = b"\x01\0\0\0a\0\0\0\0\x02\0\0\0bc";
        assert!(PackedKeys::new(keys).is_ok_and(|keys| keys.eq(rows.map(|(key, _)| key))));
        let mut values = Vec::new();
        pack_value(&mut values, Some(b"ab"));
        pack_value(&mut values, None);
        assert_eq!(values, b"\x02\0\0\0ab\xff\xff\xff\xff");
    }

    #[test]
    fn a_list_that_ends_within_an_item_is_a_fault() {
        let mut list = Vec::new();
        pack_entry(&mut list, b"key", b"value");
        let text = "failed: a packed list of `entries` ends within an item";
        for end in 1..list.len() {
            let fault = PackedEntries::new(&list[..end]).map(drop).map_err(|fault| fault.to_string());
            assert_eq!(fault, Err(text.to_owned()), "{end}");
        }
        let keys: [&[u8]; 3] = [b"\x02\0\0\0a", b"\xff\xff\xff\xff", b"\0"];
        for keys in keys {
            assert_eq!(PackedKeys::new(keys).map(drop).map_err(|fault| fault.to_string()), Err(text.to_owned()));
        }
        assert!(PackedEntries::new(&[]).is_ok() && PackedKeys::new(&[]).is_ok());
    }
}
