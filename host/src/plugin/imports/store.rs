//! Imports of the store: reads and writes go into the call's draft.

use bytes::Bytes;
use wasmtime::Result;

use super::super::bindings::bennu::channel::store::{self, Entry, Order};
use super::super::guest::{Guest, Storage};
use super::super::repeat;
use super::waited;
use crate::contract::{Fault, FaultKind};
use crate::store::{Direction, Draft, ReadError, Scan};

impl Guest {
    /// Returns the call's draft. It is created at the first use, because most calls don't use the store.
    pub(super) fn draft(&mut self, wants_to_write: bool) -> Result<&mut Draft, Fault> {
        self.check_evaluated()?;
        let Storage::Open { may_write, draft, now_ms } = &mut self.storage else {
            return Err(Fault::no_store());
        };
        if wants_to_write && !*may_write {
            return Err(Fault::read_only());
        }
        if wants_to_write {
            self.record.check_undiscarded()?;
        }
        let context = &self.context;
        Ok(draft.get_or_insert_with(|| {
            // The time is read before: a call that is run twice holds a lock while it begins the draft.
            let now_ms = now_ms.unwrap_or_else(|| context.surroundings.now_ms());
            let begin = || context.store.begin_at(&context.origin.owner, now_ms);
            Box::new(if context.repeats_calls { repeat::draft(begin) } else { begin() })
        }))
    }

    /// Reads the time by which the call judges what has expired, if the call hasn't used the store yet. A call reads it before it
    /// waits: so nothing expires because of the wait. It isn't read at each call's start, because most calls need no time.
    pub(super) fn note_time(&mut self) {
        if let Storage::Open { draft: None, now_ms, .. } = &mut self.storage {
            now_ms.get_or_insert_with(|| self.context.surroundings.now_ms());
        }
    }
}

impl store::Host for Guest {
    async fn get(&mut self, key: Vec<u8>) -> Result<Option<Vec<u8>>> {
        let (read, has_waited) = waited(self.draft(false)?.get(&key)).await;
        self.has_waited |= has_waited;
        Ok(read.map_err(|error| read_fault(&error))?.map(Vec::from))
    }

    async fn scan(
        &mut self,
        start: Option<Vec<u8>>,
        end: Option<Vec<u8>>,
        order: Order,
        limit: u32,
    ) -> Result<Vec<Entry>> {
        let draft = self.draft(false)?;
        if limit == 0 {
            return Ok(Vec::new());
        }
        let direction = match order {
            Order::Forward => Direction::Forward,
            Order::Backward => Direction::Backward,
        };
        let (from, until) = (start.map(Bytes::from).unwrap_or_default(), end.map(Bytes::from));
        let scan = Scan { from, until, ..Scan::all(direction).limit(limit as usize) };
        let (read, has_waited) = waited(draft.scan(&scan)).await;
        self.has_waited |= has_waited;
        let page = read.map_err(|error| read_fault(&error))?;
        Ok(page.rows.into_iter().map(|(key, value)| Entry { key: key.into(), value: value.into() }).collect())
    }

    fn put(&mut self, key: Vec<u8>, value: Vec<u8>) -> Result<()> {
        let put = self.draft(true)?.put(&key, value.into());
        Ok(put.map_err(|oversize| Fault::oversize(oversize.to_string()))?)
    }

    fn put_expiring(&mut self, key: Vec<u8>, value: Vec<u8>, milliseconds: u64) -> Result<()> {
        let put = self.draft(true)?.put_expiring(&key, &value, milliseconds);
        Ok(put.map_err(|oversize| Fault::oversize(oversize.to_string()))?)
    }

    fn delete(&mut self, key: Vec<u8>) -> Result<()> {
        let deleted = self.draft(true)?.delete(&key);
        Ok(deleted.map_err(|oversize| Fault::oversize(oversize.to_string()))?)
    }
}

pub(super) fn read_fault(error: &ReadError) -> Fault {
    match error {
        ReadError::Oversize(oversize) => Fault::oversize(oversize.to_string()),
        ReadError::Failed(failed) if failed.is_outdated() => Fault::outdated(error.to_string()),
        ReadError::Failed(_) => Fault::new(FaultKind::Store, error.to_string()),
    }
}
