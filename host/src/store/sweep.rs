//! Removes keys, and answers to requests, whose time to live is over.
//!
//! Each write of a row with a time to live writes a hint too: an empty row under its time. A sweep reads the hints whose time has
//! passed, from the earliest on. If the row has another time by then, or none, only the hint is removed. So nothing has to know
//! what a write replaces, and no sweep searches the keys.

use std::time::Duration;

use bennu_semantics::lifetime;
use bytes::Bytes;

use super::batch::CommitError;
use super::engine::{EngineError, ScanLimit, Span};
use super::handle::Store;
use super::space::{self, Kind, Owner, Place};

/// The most hints that one transaction removes.
const PAGE: ScanLimit = ScanLimit { rows: 500, bytes: 1 << 20 };

/// The time between two sweeps.
const SWEEP_EVERY: Duration = Duration::from_secs(10);

/// Returns the name of a hint: the time, and the key.
pub(super) fn expiry_name(expires_ms: u64, key: &[u8]) -> Vec<u8> {
    [&expires_ms.to_be_bytes(), key].concat()
}

/// Splits the name of a hint.
fn split(name: &Bytes) -> Option<(u64, Bytes)> {
    let (time, _) = name.split_first_chunk()?;
    Some((u64::from_be_bytes(*time), name.slice(size_of::<u64>()..)))
}

/// Returns the kind of the hints of rows that can expire.
fn hints_of(rows: Kind) -> Kind {
    if rows == Kind::Requests { Kind::RequestExpiries } else { Kind::Expiries }
}

impl Store {
    /// Removes expired keys until the store is closed.
    pub async fn keep_swept(&self, clock: impl Fn() -> u64) {
        loop {
            tokio::time::sleep(SWEEP_EVERY).await;
            if let Err(error) = self.sweep(clock()).await {
                tracing::debug!("expired keys can't be removed yet: {error}");
            }
        }
    }

    /// Removes the keys and answers that have expired by this time. Returns their number.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn sweep(&self, now_ms: u64) -> Result<usize, CommitError> {
        let mut removed = 0;
        for (rows, mut all) in space::all_expiries() {
            // Each plugin's hints are in the order of their times, so one read finds the next plugin.
            while let Some(owner) = self.first_owner(&all).await? {
                let expired = owner.span(hints_of(rows));
                loop {
                    let until = owner.place(hints_of(rows), &now_ms.saturating_add(1).to_be_bytes());
                    let span = Span { from: expired.from.clone(), until };
                    let Some(page) = self.sweep_page((&owner, rows), &span, now_ms).await? else { break };
                    removed += page;
                    // Other tasks are more urgent.
                    tokio::task::yield_now().await;
                }
                all.from = expired.until;
            }
        }
        Ok(removed)
    }

    /// The plugin of the first hint in a span.
    async fn first_owner(&self, span: &Span) -> Result<Option<Owner>, EngineError> {
        let first = self.seen().rows(span, ScanLimit { rows: 1, bytes: 1 << 10 }).await?;
        let owner = |(place, _): &(Bytes, Bytes)| Owner::new(&Place::read(place)?.plugin, u64::MAX).ok();
        Ok(first.rows.first().and_then(owner))
    }

    /// Removes the rows of a page of hints. Returns their number, or none if there is no hint.
    async fn sweep_page(
        &self,
        (owner, rows): (&Owner, Kind),
        span: &Span,
        now_ms: u64,
    ) -> Result<Option<usize>, CommitError> {
        let hints = self.seen().rows(span, PAGE).await?.rows;
        if hints.is_empty() {
            return Ok(None);
        }
        let (mut draft, mut removed) = (self.begin_at(owner, now_ms), 0);
        for (hint, _) in hints {
            if let Some((_, key)) = split(&owner.name_of(&hint)) {
                let place = owner.place(rows, &key);
                let stored = draft.seen.value(&place).await?;
                draft.footprint.add_key(&place, PAGE.rows);
                if stored.is_some_and(|stored| lifetime::is_expired(&stored, now_ms)) {
                    draft.writes.insert(place, None);
                    removed += 1;
                }
            }
            draft.writes.insert(hint, None);
        }
        self.commit(draft).await?;
        Ok(Some(removed))
    }
}
