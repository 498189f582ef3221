//! The sums of a topic's entries.

use crate::limits::ENTRY_WEIGHT;

/// The sums of all entries of a topic, also of those that aren't in the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EntrySums {
    /// The number of entries.
    pub entries: u64,
    /// The bytes of their keys and values.
    pub bytes: u64,
    /// The bytes of the published entries in the text of their JSON object.
    pub published: u64,
}

impl EntrySums {
    /// Adds an entry.
    pub fn add(&mut self, key: &[u8], value_bytes: usize, is_published: bool) {
        self.entries = self.entries.saturating_add(1);
        self.bytes = self.bytes.saturating_add((key.len() + value_bytes) as u64);
        if is_published {
            self.published = self.published.saturating_add(published_bytes(key, value_bytes));
        }
    }

    /// Removes an entry. Stored sums may be wrong if a file was damaged, so that the result is at least zero.
    pub fn remove(&mut self, key: &[u8], value_bytes: usize, is_published: bool) {
        self.entries = self.entries.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub((key.len() + value_bytes) as u64);
        if is_published {
            self.published = self.published.saturating_sub(published_bytes(key, value_bytes));
        }
    }

    /// Returns the bytes with which `entries_memory_bytes` counts the entries.
    #[must_use]
    pub fn weight(&self) -> u64 {
        self.bytes.saturating_add(self.entries.saturating_mul(ENTRY_WEIGHT as u64))
    }
}

/// The bytes of a field in the text of a JSON object: the key as a string, a colon, the value, a comma.
fn published_bytes(key: &[u8], value_bytes: usize) -> u64 {
    let escaped = |byte: &u8| match byte {
        b'"' | b'\\' | 0x08 | 0x09 | 0x0a | 0x0c | 0x0d => 2,
        0x00..0x20 => 6,
        _ => 1,
    };
    (2 + key.iter().map(escaped).sum::<usize>() + 1 + value_bytes + 1) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_bytes_are_those_of_the_object() {
        let keys: Vec<String> = (0..=0x7f_u8).map(|byte| format!("k{}é", char::from(byte))).collect();
        let mut sums = EntrySums::default();
        let mut object = serde_json::Map::new();
        for key in &keys {
            sums.add(key.as_bytes(), "[1,2]".len(), true);
            object.insert(key.clone(), serde_json::json!([1, 2]));
        }
        // The braces take the place of one comma and one byte more.
        let text = serde_json::Value::Object(object).to_string();
        assert_eq!(sums.published + 1, text.len() as u64);
        keys.iter().for_each(|key| sums.remove(key.as_bytes(), "[1,2]".len(), true));
        assert_eq!(sums, EntrySums::default());
    }
}
