//! Batches for the database, and its answers.

use tokio_postgres::Row;

use super::errors::explain;
use crate::store::draft::Draft;
use crate::store::engine::EngineError;
use crate::store::ledger::{Answer, DraftResult};
use crate::store::revision::Revision;

/// The drafts of a batch, as arrays. They are counted from 1.
#[derive(Debug, Default)]
pub(super) struct BatchRows<'a> {
    pub(super) seen: Vec<i64>,
    /// None: the draft isn't of a call.
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
        rows.generations.push(draft.owner().generation().map(i64::from));
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
    let results: Option<Vec<i32>> = row.try_get(1).map_err(unreadable)?;
    let Some(results) = results else { return Ok(None) };
    let (revision, sizes): (i64, Vec<i64>) = (row.try_get(0).map_err(unreadable)?, row.try_get(2).map_err(unreadable)?);
    let result = |(result, size): (i32, i64)| match result {
        0 => Ok(DraftResult::Stored),
        1 => Ok(DraftResult::Conflict),
        3 => Ok(DraftResult::OtherGeneration),
        2 => Ok(DraftResult::OverQuota(size.cast_unsigned())),
        other => Err(EngineError::new(format!(
            "the database gave the result {other}, which this version of bennu doesn't know"
        ))),
    };
    let results = results.into_iter().zip(sizes).map(result).collect::<Result<_, _>>()?;
    Ok(Some(Answer { revision: Revision(revision.cast_unsigned()), results }))
}
