//! Reads of a topic's published entries.

use std::sync::Arc;

use bennu_semantics::Fault;
use bennu_semantics::entries::{EntryRules, EntrySums, Followed, Order, WholeText};

use sha2::{Digest as _, Sha256};

use super::call::CallEntries;
use super::topic::TopicEntries;
use crate::store::{Direction, Scan};

/// The entries that are read at once.
const PAGE: u32 = 1000;

/// Handles an entry: its key and its value.
type OnEntry<'a> = dyn FnMut(&[u8], &[u8]) -> Result<(), Fault> + Send + 'a;

impl TopicEntries {
    /// Passes the prefixes of published entries, if there are some.
    pub fn with_published(&self, each: impl FnOnce(&Arc<[Box<str>]>)) {
        let state = self.state();
        if !state.rules.publishes.is_empty() {
            each(&state.rules.publishes);
        }
    }

    /// Returns the bytes of the published entries, as JSON.
    #[must_use]
    pub fn published_bytes(&self) -> u64 {
        self.state().sums.unwrap_or_default().published
    }

    /// Publishes the entries with these prefixes from now on, and no others. The entries are checked and counted, unless the
    /// store has the sum for the same prefixes.
    ///
    /// # Errors
    /// Fault: failed, if one of the entries isn't JSON. Fault: oversize, if they have too many bytes. Then nothing changes.
    /// Fault: store, if they can't be read.
    pub async fn publish(self: &Arc<Self>, prefixes: &Arc<[Box<str>]>) -> Result<(), Fault> {
        self.load_sums().await?;
        let (hash, is_counted) = {
            let (hash, state) = (hash(prefixes), self.state());
            (hash, hash == 0 || hash == state.published || hash == state.stored.prefixes)
        };
        let limits = self.node().rules().limits;
        let checked = EntryRules { publishes: Arc::clone(prefixes), ..EntryRules::default() };
        let mut counted = EntrySums::default();
        for prefix in prefixes.iter().filter(|_| !is_counted) {
            let mut check = |key: &[u8], value: &[u8]| {
                checked.read_published(key, value)?;
                counted.add(key, value.len(), true);
                limits.check_published(counted.published)
            };
            self.each(prefix, &mut check).await?;
        }
        let mut state = self.state();
        if !is_counted {
            state.sums.get_or_insert_default().published = counted.published;
            // The next commit stores it.
            (state.stored.prefixes, state.has_stored_sums) = (0, false);
        }
        state.published = hash;
        state.rules = Arc::new(EntryRules { publishes: Arc::clone(prefixes), ..EntryRules::clone(&state.rules) });
        Ok(())
    }

    /// Returns the text of the object of the published entries that a member follows, or of all of them.
    ///
    /// # Errors
    /// Fault: store, if they can't be read.
    pub async fn whole(self: &Arc<Self>, followed: Option<&Followed>) -> Result<String, Fault> {
        let (rules, sums) = {
            let state = self.state();
            (Arc::clone(&state.rules), state.sums.unwrap_or_default())
        };
        // A member follows few of the entries, as a rule.
        let bytes = if followed.is_none() { usize::try_from(sums.published).unwrap_or_default() } else { 0 };
        let mut text = WholeText::with_capacity(bytes + 2);
        for prefix in prefixes(&rules.publishes, followed) {
            self.each(prefix, &mut |key, value| {
                text.add(key, value);
                Ok(())
            })
            .await?;
        }
        Ok(text.finish())
    }

    /// Returns the values of these keys, in their order.
    ///
    /// # Errors
    /// Fault: store, if they can't be read.
    pub async fn values(self: &Arc<Self>, keys: &[Box<str>]) -> Result<Vec<Option<Vec<u8>>>, Fault> {
        let mut entries = CallEntries::committed(self);
        let mut values = Vec::with_capacity(keys.len());
        for key in keys {
            values.push(entries.get(key.as_bytes()).await?);
        }
        Ok(values)
    }

    /// Calls `each` with the entries whose keys begin with a prefix, in their order.
    async fn each(self: &Arc<Self>, prefix: &str, each: &mut OnEntry<'_>) -> Result<(), Fault> {
        let mut entries = CallEntries::committed(self);
        let Scan { from, until, .. } = Scan::prefix(prefix.as_bytes(), Direction::Forward);
        let mut start = from.to_vec();
        loop {
            let (mut last, mut result) = (None, Ok(()));
            let each = |key: &[u8], value: &[u8]| {
                if result.is_ok() {
                    result = each(key, value);
                }
                last = Some(key.to_vec());
            };
            entries.scan((Some(&start), until.as_deref()), Order::Forward, PAGE, each).await?;
            result?;
            // A page also ends after 1 MiB.
            let Some(last) = last else { return Ok(()) };
            start = last;
            start.push(0);
        }
    }
}

/// The published prefixes, or those parts of them that a member follows. No prefix begins with another one.
fn prefixes<'a>(publishes: &'a [Box<str>], followed: Option<&'a Followed>) -> Vec<&'a str> {
    let all = publishes.iter().map(|prefix| &**prefix);
    let Some(followed) = followed else { return all.collect() };
    let inside = |prefix: &'a str| {
        let both = followed.prefixes().iter().map(|followed| &**followed);
        both.filter_map(move |followed| match () {
            () if followed.starts_with(prefix) => Some(followed),
            // The member has followed more, when a build before published more.
            () if prefix.starts_with(followed) => Some(prefix),
            () => None,
        })
    };
    all.flat_map(inside).collect()
}

/// A number that stands for prefixes in the stored sums. 0 stands for no prefix.
fn hash(prefixes: &[Box<str>]) -> u64 {
    if prefixes.is_empty() {
        return 0;
    }
    let mut hash = Sha256::new();
    for prefix in prefixes {
        hash.update(prefix.as_bytes());
        // No text contains the byte 0xff, so it separates the prefixes.
        hash.update([u8::MAX]);
    }
    let start = hash.finalize().first_chunk().copied().unwrap_or_default();
    u64::from_be_bytes(start).max(1)
}
