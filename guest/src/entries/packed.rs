//! Packed lists: several keys, values or entries in one list of bytes. `wit/entries.wit` describes them.

/// The length that stands for the absence of a value.
const ABSENT: usize = u32::MAX as usize;

/// The bytes of the lengths of an entry.
const LENGTHS: usize = 8;

/// A packed list of entries, which is written.
#[derive(Default)]
pub(super) struct EntryList(Vec<u8>);

/// A packed list of entries, which the host returned.
#[derive(Default)]
pub(super) struct Page {
    list: Vec<u8>,
    /// The start of the entries that are left.
    at: usize,
    /// The key of the last entry that was taken.
    last: std::ops::Range<usize>,
    /// The number of entries that were taken.
    taken: usize,
}

impl EntryList {
    /// A list with room for this number of bytes.
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    /// Adds an entry. The parts of the key are joined, and `value` adds the bytes of the value. The entry isn't added if
    /// `is_needed` says so about these bytes.
    pub(super) fn push(
        &mut self,
        key: [&[u8]; 2],
        value: impl FnOnce(&mut Vec<u8>) -> Result<(), String>,
        is_needed: impl FnOnce(&[u8]) -> bool,
    ) -> Result<(), String> {
        let Self(list) = self;
        let start = list.len();
        list.extend_from_slice(&[0; LENGTHS]);
        key.into_iter().for_each(|part| list.extend_from_slice(part));
        let value_start = list.len();
        value(list)?;
        if !is_needed(&list[value_start..]) {
            list.truncate(start);
            return Ok(());
        }
        let value_length = list.len() - value_start;
        list[start..start + 4].copy_from_slice(&length(value_start - start - LENGTHS));
        list[start + 4..start + LENGTHS].copy_from_slice(&length(value_length));
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Page {
    pub(super) fn new(list: Vec<u8>) -> Self {
        Self { list, ..Self::default() }
    }

    /// Whether all entries were taken.
    pub(super) fn is_at_end(&self) -> bool {
        self.at == self.list.len()
    }

    /// Takes the next entry: its key and its value.
    pub(super) fn take(&mut self) -> Option<(&[u8], &[u8])> {
        let lengths = self.at..self.at + LENGTHS;
        let length = |at| read_length(self.list.get(at..)?);
        let (key, value) = (length(lengths.start)?, length(lengths.start + 4)?);
        self.last = lengths.end..lengths.end + key;
        self.at = self.last.end + value;
        self.taken += 1;
        Some((&self.list[self.last.clone()], &self.list[self.last.end..self.at]))
    }

    /// Returns the number of entries that were taken, and the key of the last one.
    pub(super) fn taken(&self) -> (usize, &[u8]) {
        (self.taken, &self.list[self.last.clone()])
    }

    /// Returns the bytes of the list.
    pub(super) fn bytes(&self) -> usize {
        self.list.len()
    }
}

/// Adds a key to a packed list of keys.
pub(super) fn push_key(list: &mut Vec<u8>, key: [&[u8]; 2]) {
    list.extend_from_slice(&length(key.iter().map(|part| part.len()).sum()));
    key.into_iter().for_each(|part| list.extend_from_slice(part));
}

/// Takes the first item of a packed list of keys or values, which isn't empty. None stands for the absence of a value.
pub(super) fn take_value<'l>(list: &mut &'l [u8]) -> Option<&'l [u8]> {
    let length = read_length(list).filter(|length| *length != ABSENT);
    let (value, rest) = list[4..].split_at(length.unwrap_or(0));
    *list = rest;
    length.map(|_| value)
}

/// The host refuses keys and values that are far shorter than 4 GiB.
fn length(bytes: usize) -> [u8; 4] {
    (bytes as u32).to_le_bytes()
}

fn read_length(list: &[u8]) -> Option<usize> {
    list.first_chunk().map(|length| u32::from_le_bytes(*length) as usize)
}
