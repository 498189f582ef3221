//! Scans of the store's content with a call's own writes laid over it.

use bytes::Bytes;

use super::engine::{Direction, EngineError, Row, ScanLimit, Snapshot, Span, Writes};

/// The result of a scan.
pub(super) struct Overlaid {
    pub(super) rows: Vec<Row>,
    /// The part of the span that the result depends on.
    pub(super) seen: Span,
    /// The rest of the span; none if the scan reached the end.
    pub(super) rest: Option<Span>,
}

/// Reads the rows of a span as they will be once the writes are stored. All keys begin with the same `prefix` bytes, which
/// don't count for the limit.
///
/// # Errors
/// Those of the engine.
pub(super) async fn scan(
    snapshot: &dyn Snapshot,
    writes: &Writes,
    span: &Span,
    direction: Direction,
    limit: ScanLimit,
    prefix: usize,
) -> Result<Overlaid, EngineError> {
    let (mut rows, mut bytes): (Vec<Row>, usize) = (Vec::new(), 0);
    let mut unread = Some(span.clone()).filter(|span| !span.is_empty());
    while let Some(reading) = unread {
        let left = ScanLimit { rows: limit.rows - rows.len(), bytes: limit.bytes.saturating_sub(bytes) };
        let stored = snapshot.scan(&reading, direction, left).await?;
        let known;
        (known, unread) = stored.known(reading, direction);
        let written = within(writes, &known, direction).map(|(key, value)| (key.clone(), value.clone()));
        for row in merged(stored.rows.into_iter(), written, direction) {
            let size = row.0.len() - prefix + row.1.len();
            if !rows.is_empty() && bytes + size > limit.bytes {
                // The scan stops because of this row's size. So its result depends on this row too.
                let (seen, _) = span.split_after(&row.0, direction);
                let rest = rows.last().map(|(last, _)| span.split_after(last, direction).1);
                return Ok(Overlaid { rows, seen, rest });
            }
            bytes += size;
            rows.push(row);
            if rows.len() >= limit.rows
                && let Some((last, _)) = rows.last()
            {
                let (seen, rest) = span.split_after(last, direction);
                return Ok(Overlaid { rows, seen, rest: Some(rest).filter(|rest| !rest.is_empty()) });
            }
        }
    }
    Ok(Overlaid { rows, seen: span.clone(), rest: None })
}

/// Merges stored rows with writes, both in the given direction. A write replaces the stored row with the same key, or deletes
/// it.
pub(super) fn merged(
    stored: impl Iterator<Item = Row>,
    written: impl Iterator<Item = (Bytes, Option<Bytes>)>,
    direction: Direction,
) -> impl Iterator<Item = Row> {
    let (mut stored, mut written) = (stored.peekable(), written.peekable());
    std::iter::from_fn(move || {
        loop {
            let order = match (stored.peek(), written.peek()) {
                (Some((stored, _)), Some((written, _))) => direction.order(stored, written),
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, _) => std::cmp::Ordering::Greater,
            };
            if order.is_lt() {
                return stored.next();
            }
            if order.is_eq() {
                stored.next();
            }
            let (key, value) = written.next()?;
            if let Some(value) = value {
                return Some((key, value));
            }
        }
    })
}

fn within<'a>(
    writes: &'a Writes,
    span: &Span,
    direction: Direction,
) -> impl Iterator<Item = (&'a Bytes, &'a Option<Bytes>)> {
    // The bounds of an empty span can be in the wrong order. `BTreeMap::range` would panic for them.
    let until = if span.is_empty() { &span.from } else { &span.until };
    let mut range = writes.range::<Bytes, _>(&span.from..until);
    std::iter::from_fn(move || match direction {
        Direction::Forward => range.next(),
        Direction::Backward => range.next_back(),
    })
}
