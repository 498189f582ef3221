//! Imports of entries: reads and writes of the topic's entries, through the call's own writes.

use std::sync::Arc;

use wasmtime::Result;

use bennu_semantics::entries::{PackedEntries, PackedKeys, pack_entry, pack_value};

use super::super::bindings::bennu::channel::entries::{self, Order};
use super::super::guest::{EntryAccess, Guest};
use crate::contract::{Effect, Fault};
use crate::entries::{self as rules, CallEntries};

impl Guest {
    /// Returns the call's view of the entries. It is made at the first use, because many calls don't use entries.
    fn call_entries(&mut self) -> Result<&mut CallEntries, Fault> {
        if let EntryAccess::Unused(topic) = &self.entries {
            self.entries = EntryAccess::Used(CallEntries::new(Arc::clone(topic)));
        }
        match &mut self.entries {
            EntryAccess::Used(entries) => Ok(entries),
            EntryAccess::Closed | EntryAccess::Unused(_) => Err(Fault::no_entries()),
        }
    }
}

impl entries::Host for Guest {
    fn get(&mut self, key: Vec<u8>) -> Result<Option<Vec<u8>>> {
        Ok(self.call_entries()?.get(&key)?)
    }

    fn get_many(&mut self, keys: Vec<u8>) -> Result<Vec<u8>> {
        let mut values = Vec::new();
        self.call_entries()?.get_many(PackedKeys::new(&keys)?, |value| pack_value(&mut values, value))?;
        Ok(values)
    }

    fn scan(&mut self, start: Option<Vec<u8>>, end: Option<Vec<u8>>, order: Order, limit: u32) -> Result<Vec<u8>> {
        let order = match order {
            Order::Forward => rules::Order::Forward,
            Order::Backward => rules::Order::Backward,
        };
        let mut found = Vec::new();
        let each = |key: &[u8], value: &[u8]| pack_entry(&mut found, key, value);
        self.call_entries()?.scan((start.as_deref(), end.as_deref()), order, limit, each)?;
        Ok(found)
    }

    fn put(&mut self, key: Vec<u8>, value: Vec<u8>) -> Result<()> {
        Ok(self.call_entries()?.put(&key, &value)?)
    }

    fn put_many(&mut self, entries: Vec<u8>) -> Result<()> {
        Ok(self.call_entries()?.put_many(PackedEntries::new(&entries)?)?)
    }

    fn delete(&mut self, key: Vec<u8>) -> Result<()> {
        Ok(self.call_entries()?.delete(&key)?)
    }

    fn delete_range(&mut self, start: Option<Vec<u8>>, end: Option<Vec<u8>>, limit: u32) -> Result<u32> {
        Ok(self.call_entries()?.delete_range((start.as_deref(), end.as_deref()), limit)?)
    }

    fn follow(&mut self, prefix: String) -> Result<()> {
        self.ask(Effect::Follow { prefix: prefix.into() })
    }

    fn unfollow(&mut self, prefix: String) -> Result<()> {
        self.ask(Effect::Unfollow { prefix: prefix.into() })
    }
}
