//! Batches for the database, and its answers.

use tokio_postgres::Row;

use super::errors::explain;
use crate::store::draft::Draft;
use crate::store::engine::EngineError;
use crate::store::ledger::{Answer, Verdict};
use crate::store::revision::Revision;

/// The drafts of a batch, as arrays. They are counted from 1.
#[derive(Debug, Default)]
pub(super) struct BatchRows<'a> {
    pub(super) seen: Vec<i64>,
    /// None: no generation is set in the cluster.
    pub(super) generations: Vec<Option<i64>>,
    pub(super) quotas: Vec<Option<i64>>,
    pub(super) span_drafts: Vec<i32>,
    pub(super) span_froms: Vec<&'a [u8]>,
    pub(super) span_untils: Vec<&'a [u8]>,
    pub(super) write_drafts: Vec<i32>,
    pub(super) write_places: Vec<&'a [u8]>,
    pub(super) write_contents: Vec<Option<&'a [u8]>>,
}

/// Returns drafts as arrays.
pub(super) fn rows_of(drafts: &[Draft]) -> BatchRows<'_> {
    let mut rows = BatchRows::default();
    for (number, draft) in (1..).zip(drafts) {
        rows.seen.push(number_of(draft.since()));
        rows.generations.push(None);
        rows.quotas.push(i64::try_from(draft.owner().quota_bytes()).ok());
        for (from, until) in draft.footprint.spans() {
            rows.span_drafts.push(number);
            rows.span_froms.push(from);
            rows.span_untils.push(until);
        }
        for (place, content) in &draft.writes {
            rows.write_drafts.push(number);
            rows.write_places.push(place);
            rows.write_contents.push(content.as_deref());
        }
    }
    rows
}

/// Returns a revision as the database has it. One that wasn't read is later than all of them.
pub(super) fn number_of(revision: Revision) -> i64 {
    i64::try_from(revision.0).unwrap_or(i64::MAX)
}

/// Returns the answer to a batch, or none if it was refused because its answer was lost.
///
/// # Errors
/// If it isn't one that this version knows.
pub(super) fn answer(row: &Row) -> Result<Option<Answer>, EngineError> {
    let unreadable = |error: tokio_postgres::Error| EngineError::new(explain(&error));
    let verdicts: Option<Vec<i32>> = row.try_get(1).map_err(unreadable)?;
    let Some(verdicts) = verdicts else { return Ok(None) };
    let (revision, sizes): (i64, Vec<i64>) = (row.try_get(0).map_err(unreadable)?, row.try_get(2).map_err(unreadable)?);
    let verdict = |(verdict, size): (i32, i64)| match verdict {
        0 => Ok(Verdict::Stored),
        // 3: after the switch, the call runs again on the other generation.
        1 | 3 => Ok(Verdict::Conflict),
        2 => Ok(Verdict::OverQuota(size.cast_unsigned())),
        other => Err(EngineError::new(format!(
            "the database gave the verdict {other}, which this version of bennu doesn't know"
        ))),
    };
    let verdicts = verdicts.into_iter().zip(sizes).map(verdict).collect::<Result<_, _>>()?;
    Ok(Some(Answer { revision: Revision(revision.cast_unsigned()), verdicts }))
}
