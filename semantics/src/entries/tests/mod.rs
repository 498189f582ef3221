//! Tests of entries.

mod table;

use bennu_test_tiers::Noise;

use super::slot::{Slot, State};
use super::*;

fn entry_of(key: &[u8], version: u32, value: &[u8]) -> StoredEntry {
    StoredEntry::new(key, version, value).expect("an allowed key")
}
