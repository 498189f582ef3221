//! The keys that a call has read, as spans: single keys, and the ranges of its scans.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::engine::{Span, successor};
use super::space;

/// A set of spans that don't overlap or touch. A single key is the span from the key to its successor.
#[derive(Debug, Default)]
pub(super) struct Footprint {
    /// The end of each span, by its beginning.
    spans: BTreeMap<Bytes, Bytes>,
}

impl Footprint {
    pub(super) fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.spans.len()
    }

    /// Adds a key that was read. If there are more than `most` spans, neighbours are merged.
    pub(super) fn add_key(&mut self, key: &Bytes, most: usize) {
        if !self.holds(key) {
            self.add(Span { from: key.clone(), until: successor(key) }, most);
        }
    }

    /// Adds a span that was read. It includes keys that don't exist: creating one would change the result of the read.
    pub(super) fn add(&mut self, mut span: Span, most: usize) {
        if span.is_empty() {
            return;
        }
        while let Some((from, until)) = self.spans.range(..=span.until.clone()).next_back()
            && *until >= span.from
        {
            let from = from.clone();
            if let Some(until) = self.spans.remove(&from) {
                span.until = span.until.max(until);
            }
            span.from = span.from.min(from);
        }
        self.spans.insert(span.from, span.until);
        if self.spans.len() > most.max(2) {
            self.coarsen();
        }
    }

    /// Merges every two neighbours into one span. Spans of different kinds aren't merged, because the keys of all other
    /// plugins may lie between them.
    fn coarsen(&mut self) {
        let mut coarse: Vec<(Bytes, Bytes)> = Vec::with_capacity(self.spans.len() / 2 + 1);
        let mut is_single = false;
        for (from, until) in std::mem::take(&mut self.spans) {
            match coarse.last_mut() {
                Some((before, end)) if is_single && space::are_akin(before, &from) => {
                    *end = until;
                    is_single = false;
                }
                _ => {
                    coarse.push((from, until));
                    is_single = true;
                }
            }
        }
        self.spans.extend(coarse);
    }

    /// Whether a key was read.
    pub(super) fn holds(&self, key: &Bytes) -> bool {
        self.spans.range::<Bytes, _>(..=key).next_back().is_some_and(|(_, until)| key < until)
    }

    /// Returns the beginning and the end of each span, in order.
    pub(super) fn spans(&self) -> impl Iterator<Item = (&Bytes, &Bytes)> {
        self.spans.iter()
    }

    /// Returns the keys that were read, or none if some span isn't a single key.
    pub(super) fn keys(&self) -> Option<impl Iterator<Item = &Bytes>> {
        let is_key = |(from, until): (&Bytes, &Bytes)| {
            until.len() == from.len() + 1 && until.ends_with(&[0]) && until.starts_with(from)
        };
        self.spans().all(is_key).then(|| self.spans.keys())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(from: &'static str, until: &'static str) -> Span {
        Span { from: from.into(), until: until.into() }
    }

    fn shown(footprint: &Footprint) -> Vec<String> {
        let text = |bytes: &Bytes| bytes.escape_ascii().to_string();
        footprint.spans().map(|(from, until)| format!("{}..{}", text(from), text(until))).collect()
    }

    #[test]
    fn spans_that_touch_are_merged() {
        let mut footprint = Footprint::default();
        footprint.add(span("c", "e"), 10);
        footprint.add(span("g", "i"), 10);
        footprint.add(span("a", "b"), 10);
        footprint.add(span("x", "x"), 10);
        assert_eq!(shown(&footprint), ["a..b", "c..e", "g..i"]);
        footprint.add(span("b", "c"), 10);
        assert_eq!(shown(&footprint), ["a..e", "g..i"]);
        footprint.add(span("d", "h"), 10);
        assert_eq!(shown(&footprint), ["a..i"]);
        footprint.add(span("0", "z"), 10);
        assert_eq!(shown(&footprint), ["0..z"]);
        footprint.add(span("1", "2"), 10);
        assert_eq!(shown(&footprint), ["0..z"]);
    }

    #[test]
    fn a_key_is_the_span_to_its_successor() {
        let mut footprint = Footprint::default();
        for key in ["1a", "1a\0", "1c"] {
            footprint.add_key(&key.into(), 10);
        }
        assert_eq!(shown(&footprint), ["1a..1a\\x00\\x00", "1c..1c\\x00"]);
        assert!(footprint.holds(&"1a".into()) && footprint.holds(&"1a\0".into()) && footprint.holds(&"1c".into()));
        assert!(!footprint.holds(&"1".into()) && !footprint.holds(&"1a\0\0".into()) && !footprint.holds(&"1b".into()));
        assert!(footprint.keys().is_none());
        let mut footprint = Footprint::default();
        footprint.add_key(&"1a".into(), 10);
        assert_eq!(footprint.keys().map(|keys| keys.count()), Some(1));
    }

    #[test]
    fn past_the_limit_neighbours_are_merged_and_no_key_is_lost() {
        let mut footprint = Footprint::default();
        let keys: Vec<Bytes> = (0..100).map(|n| format!("{}{n:02}", 1 + n / 50).into()).collect();
        for key in &keys {
            footprint.add_key(key, 8);
        }
        assert!(footprint.len() <= 8 && keys.iter().all(|key| footprint.holds(key)));
        // Spans of different kinds aren't merged.
        assert!(!footprint.holds(&"1x".into()) && !footprint.holds(&"200".into()));
    }
}
