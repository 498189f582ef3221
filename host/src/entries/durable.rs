//! Makes the entries of a memory room durable.

use std::sync::Arc;

use bennu_semantics::entries::{Found, Packed};
use bennu_semantics::limits::{ENTRIES_AT_ONCE_MAX, ENTRY_BYTES_AT_ONCE_MAX};
use bennu_semantics::{Fault, FaultKind};

use super::topic::TopicEntries;
use crate::store::Store;

/// A part of a memory room's entries.
#[derive(Default)]
struct Part {
    entries: Vec<(Packed, u32)>,
    bytes: usize,
}

impl TopicEntries {
    /// Stores the entries of a memory room, over those that the topic has in the store. Returns the entries of the durable
    /// room.
    ///
    /// They are stored in parts of about 1 MiB, so that a large room doesn't delay other commits. If the host is killed
    /// meanwhile, some of them are stored; without the change, all of them would be gone.
    ///
    /// # Errors
    /// Fault: store, if they can't be stored. The room is still a memory room then, and the caller may try again.
    pub async fn make_durable(&self, store: &Store) -> Result<Arc<Self>, Fault> {
        let durable = Self::durable(self.node(), self.owner(), self.name(), store);
        durable.load_sums().await?;
        let mut from = Some(Box::default());
        while let Some(first) = from.take() {
            let part = self.part(&first);
            from = part.entries.last().map(|(packed, _)| [packed.key(), &[0]].concat().into());
            if !part.entries.is_empty() {
                durable.store_part(store, part).await?;
            }
        }
        durable.take_over_rollback(self);
        Ok(durable)
    }

    /// Returns the entries from a key on, as far as they are stored together.
    fn part(&self, first: &[u8]) -> Part {
        let mut part = Part::default();
        self.state().table.each_from(first, |key, version, value| {
            let has_room = part.entries.len() < ENTRIES_AT_ONCE_MAX && part.bytes < ENTRY_BYTES_AT_ONCE_MAX;
            if has_room && let Ok(packed) = Packed::new(key, value) {
                part.bytes += packed.bytes();
                part.entries.push((packed, version));
            }
            has_room
        });
        part
    }

    /// Stores entries of the memory room over the stored ones.
    async fn store_part(&self, store: &Store, part: Part) -> Result<(), Fault> {
        if self.state().sums.is_some_and(|sums| sums.entries > 0) {
            self.load(part.entries.iter().map(|(packed, _)| packed.key().into()).collect()).await?;
        }
        let mut draft = store.begin(self.owner());
        {
            let mut state = self.locked();
            let mut sums = state.sums.unwrap_or_default();
            for (packed, version) in part.entries {
                let is_published = self.node().rules().is_published(packed.key());
                if let Found::Entry { value, .. } = state.table.get(packed.key()) {
                    sums.remove(packed.key(), value.len(), is_published);
                }
                sums.add(packed.key(), packed.value().len(), is_published);
                state.table.write(packed, Some(version), false);
            }
            state.sums = Some(sums);
        }
        let commit = self.begin_commit(None, None).await?;
        commit.write(&mut draft, None).map_err(|oversize| Fault::oversize(oversize.to_string()))?;
        let committed = store.commit(draft).await;
        let revision = committed.map_err(|error| Fault::new(FaultKind::Store, error.to_string()))?;
        commit.is_stored(revision, None);
        Ok(())
    }
}
