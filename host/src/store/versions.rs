//! The values that a key had, by the number of the batch that wrote them.

use bytes::Bytes;

/// A key's values, the latest last, with the number of the batch that wrote them. None if the batch deleted the key.
pub(super) type Versions = Vec<(u64, Option<Bytes>)>;

/// Returns a key's value after a batch. Returns none if neither that batch nor an earlier one has written the key.
pub(super) fn version_at(versions: &[(u64, Option<Bytes>)], batch: u64) -> Option<&Option<Bytes>> {
    // Most keys have few versions, and most readers want the last one.
    match versions.last() {
        Some((written, value)) if *written <= batch => Some(value),
        _ => {
            let written = versions.partition_point(|(written, _)| *written <= batch);
            versions[..written].last().map(|(_, value)| value)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_sees_the_last_version_before_it() {
        let versions: Versions = vec![(2, Some("a".into())), (5, None), (6, Some("b".into()))];
        let seen: Vec<_> = (1..8).map(|batch| version_at(&versions, batch).map(|value| value.as_deref())).collect();
        let (a, b) = (Some(Some(&b"a"[..])), Some(Some(&b"b"[..])));
        assert_eq!(seen, [None, a, a, a, Some(None), b, b]);
        assert_eq!(version_at(&[], 1), None);
    }
}
