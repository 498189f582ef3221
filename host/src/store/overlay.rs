//! What a call has written, laid over what the store holds.

use bytes::Bytes;

use super::engine::{Direction, EngineError, Row, ScanLimit, Snapshot, Span, Writes};

/// What a scan found, and how far it looked.
pub(super) struct Overlaid {
    pub(super) rows: Vec<Row>,
    /// What the outcome depends on.
    pub(super) seen: Span,
    /// What is left of the span; none if it came to the end.
    pub(super) rest: Option<Span>,
}

/// Reads the rows of a span as they will be once the writes are there. So many bytes at the beginning of each key, which are
/// the same for all, don't count.
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
        // Of what lies beyond the last stored row, nothing is known yet.
        let told = match stored.rows.last() {
            Some((last, _)) if !stored.ended => {
                let (told, beyond) = reading.split_after(last, direction);
                unread = Some(beyond);
                told
            }
            _ => {
                unread = None;
                reading
            }
        };
        for row in merged(stored.rows, writes, &told, direction) {
            let size = row.0.len() - prefix + row.1.len();
            if !rows.is_empty() && bytes + size > limit.bytes {
                // It stops for the size of this row, so it has seen it.
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

/// The rows of a span: the stored ones where nothing was written, and what was written.
fn merged(stored: Vec<Row>, writes: &Writes, span: &Span, direction: Direction) -> impl Iterator<Item = Row> {
    let mut stored = stored.into_iter().peekable();
    let mut written = within(writes, span, direction).peekable();
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
                return Some((key.clone(), value.clone()));
            }
        }
    })
}

fn within<'a>(
    writes: &'a Writes,
    span: &Span,
    direction: Direction,
) -> impl Iterator<Item = (&'a Bytes, &'a Option<Bytes>)> {
    // An empty span has its bounds the wrong way round, which a map doesn't take.
    let until = if span.is_empty() { &span.from } else { &span.until };
    let mut range = writes.range::<Bytes, _>(&span.from..until);
    std::iter::from_fn(move || match direction {
        Direction::Forward => range.next(),
        Direction::Backward => range.next_back(),
    })
}
