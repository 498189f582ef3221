//! The entries of memory rooms, on their way from one host to another.

use bennu_semantics::entries::Packed;

use super::topic::TopicEntries;

impl TopicEntries {
    /// Calls `each` with the entries of a memory room from a key on, in their order, until it returns false.
    pub fn each_in_memory(&self, from: &[u8], each: impl FnMut(&[u8], u32, &[u8]) -> bool) {
        self.state().table.each_from(from, each);
    }

    /// Takes entries of another host over: their keys, versions and values. They were within the limits there.
    pub fn take_over<'e>(&self, entries: impl Iterator<Item = (&'e [u8], u32, &'e [u8])>) {
        let mut state = self.locked();
        let mut sums = state.sums.unwrap_or_default();
        for (key, version, value) in entries {
            // A key that isn't allowed was never written.
            let Ok(packed) = Packed::new(key, value) else { continue };
            sums.add(key, value.len(), false);
            state.table.write(packed, Some(version), true);
        }
        state.sums = Some(sums);
        state.hold(sums.weight());
    }
}
