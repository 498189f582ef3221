//! Upgrades of entries between two runs of a call.

use bennu_semantics::Fault;
use bennu_semantics::entries::{StaleEntry, StaleScan};

use super::call::CallEntries;

/// The entries to upgrade before a call runs again.
#[derive(Debug)]
pub struct StaleEntries {
    /// Those that the call needs. If one of them can't be upgraded, the call has a fault.
    pub needed: Vec<StaleEntry>,
    /// Some that the call may need next. If one of them can't be upgraded, it stays as it is.
    pub ahead: Vec<StaleEntry>,
}

impl CallEntries {
    /// Whether the call has ended because entries have to be upgraded before it runs again.
    #[must_use]
    pub fn needs_upgrade(&self) -> bool {
        self.overlay.needs_upgrade()
    }

    /// Discards the call's writes, and returns the entries to upgrade.
    ///
    /// # Errors
    /// Fault: store, if the store can't be read.
    pub async fn take_stale(&mut self) -> Result<StaleEntries, Fault> {
        let (keys, bytes) = self.overlay.rewind_to_upgrade();
        let (mut needed, mut ahead) = (Vec::with_capacity(keys.len()), Vec::new());
        for key in &keys {
            needed.extend(self.topic.run(&mut self.overlay, |overlay, table| Ok(overlay.stale(table, key))).await?);
        }
        let mut scan = StaleScan::beyond(&keys, bytes);
        let mut each = |stale| ahead.push(stale);
        let scanned =
            self.topic.run(&mut self.overlay, |overlay, table| Ok(overlay.scan_stale(table, &mut scan, &mut each)));
        scanned.await?;
        Ok(StaleEntries { needed, ahead })
    }

    /// Adds an entry that was upgraded. It is committed together with the call's writes.
    ///
    /// # Errors
    /// Fault: oversize or failed, if the value isn't allowed, or the call needs too many upgraded entries. Fault: store, if
    /// the store can't be read.
    pub async fn upgrade(&mut self, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        self.topic.run(&mut self.overlay, |overlay, table| overlay.upgrade(table, key, value)).await?;
        self.reserve()
    }
}
