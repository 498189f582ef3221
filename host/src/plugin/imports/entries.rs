//! Imports of entries: reads and writes of the topic's entries, through the call's own writes.

use wasmtime::Result;

use bennu_semantics::entries::{PackedEntries, PackedKeys, pack_entry, pack_value};

use super::super::bindings::bennu::channel::entries::{self, Order};
use super::super::guest::{EntryAccess, Guest};
use super::waited;
use crate::contract::{Effect, Fault};
use crate::entries::{self as rules, CallEntries};

impl Guest {
    /// Returns the call's view of the entries. It is made at the first use, because many calls don't use entries.
    fn call_entries(&mut self) -> Result<&mut CallEntries, Fault> {
        if let EntryAccess::Unused { input, has_upgrade } = &self.entries {
            self.entries = EntryAccess::Used(Box::new(CallEntries::new(input.clone(), *has_upgrade)));
        }
        match &mut self.entries {
            EntryAccess::Used(entries) => Ok(entries),
            EntryAccess::Closed | EntryAccess::Unused { .. } => Err(Fault::no_entries()),
        }
    }

    /// The same for a write.
    fn entries_to_write(&mut self) -> Result<&mut CallEntries, Fault> {
        self.record.check_undiscarded()?;
        self.call_entries()
    }
}

impl entries::Host for Guest {
    async fn get(&mut self, key: Vec<u8>) -> Result<Option<Vec<u8>>> {
        let (value, has_waited) = waited(self.call_entries()?.get(&key)).await;
        self.has_waited |= has_waited;
        Ok(value?)
    }

    async fn get_many(&mut self, keys: Vec<u8>) -> Result<Vec<u8>> {
        let mut values = Vec::new();
        let each = |value: Option<&[u8]>| pack_value(&mut values, value);
        let (read, has_waited) = waited(self.call_entries()?.get_many(PackedKeys::new(&keys)?, each)).await;
        self.has_waited |= has_waited;
        read?;
        Ok(values)
    }

    async fn scan(
        &mut self,
        start: Option<Vec<u8>>,
        end: Option<Vec<u8>>,
        order: Order,
        limit: u32,
    ) -> Result<Vec<u8>> {
        let order = match order {
            Order::Forward => rules::Order::Forward,
            Order::Backward => rules::Order::Backward,
        };
        let mut found = Vec::new();
        let each = |key: &[u8], value: &[u8]| pack_entry(&mut found, key, value);
        let range = (start.as_deref(), end.as_deref());
        let (scanned, has_waited) = waited(self.call_entries()?.scan(range, order, limit, each)).await;
        self.has_waited |= has_waited;
        scanned?;
        Ok(found)
    }

    async fn put(&mut self, key: Vec<u8>, value: Vec<u8>) -> Result<()> {
        let (put, has_waited) = waited(self.entries_to_write()?.put(&key, &value)).await;
        self.has_waited |= has_waited;
        Ok(put?)
    }

    async fn put_many(&mut self, entries: Vec<u8>) -> Result<()> {
        let (put, has_waited) = waited(self.entries_to_write()?.put_many(PackedEntries::new(&entries)?)).await;
        self.has_waited |= has_waited;
        Ok(put?)
    }

    async fn delete(&mut self, key: Vec<u8>) -> Result<()> {
        let (deleted, has_waited) = waited(self.entries_to_write()?.delete(&key)).await;
        self.has_waited |= has_waited;
        Ok(deleted?)
    }

    async fn delete_range(&mut self, start: Option<Vec<u8>>, end: Option<Vec<u8>>, limit: u32) -> Result<u32> {
        let range = (start.as_deref(), end.as_deref());
        let (deleted, has_waited) = waited(self.entries_to_write()?.delete_range(range, limit)).await;
        self.has_waited |= has_waited;
        Ok(deleted?)
    }

    async fn follow(&mut self, prefix: String) -> Result<()> {
        self.ask(Effect::Follow { prefix: prefix.into() })
    }

    async fn unfollow(&mut self, prefix: String) -> Result<()> {
        self.ask(Effect::Unfollow { prefix: prefix.into() })
    }
}
