//! Jobs against plain models.

mod agenda;

use bytes::Bytes;

use super::*;
use crate::limits::JobLimits;
use crate::{Payload, Topic};

fn id(topic: &str, key: &str) -> JobId {
    JobId { plugin: "p".into(), kind: JobKind::Schedule, topic: Topic::new(topic), key: key.into() }
}

#[test]
fn a_name_is_read_as_it_was_written() {
    for kind in JobKind::ALL {
        for (topic, key) in [("", ""), ("room:1", "a"), ("röom", "clé"), (&"x".repeat(300), "k")] {
            let id = JobId { kind, ..id(topic, key) };
            assert_eq!(JobId::read("p".into(), &id.name()), Some(id));
        }
    }
    for damaged in [&b""[..], b"\0\0", b"\0\0\x05abc", b"\x09\0\0", b"\0\0\x01\xff"] {
        assert_eq!(JobId::read("p".into(), damaged), None);
    }
}

#[test]
fn a_row_is_read_as_it_was_written_and_never_panics() {
    let payloads = [Payload::EMPTY, Payload::Json("[1]".into()), Payload::Binary(Bytes::from_static(b"\xff"))];
    for payload in payloads {
        let row = JobRow::new(7, "remind".into(), payload);
        for row in [row.clone(), row.clone().failed(9, Some(3)), JobRow { next_ms: None, failures: 5, ..row }] {
            let stored = row.encode();
            assert_eq!(JobRow::decode(stored.clone()), Some(row));
            (0..stored.len()).for_each(|end| drop(JobRow::decode(stored.slice(..end))));
        }
    }
    assert_eq!(JobRow::decode(Bytes::from_static(b"\x02")), None);
}

#[test]
fn five_failures_give_a_job_up_and_the_delays_grow() {
    let mut row = JobRow::new(1000, "e".into(), Payload::EMPTY);
    for (failures, nominal) in [(1, 1000), (2, 5000), (3, 25_000), (4, 125_000)] {
        for random in [0, 1, 12_345, u64::MAX] {
            let next_ms = row.clone().failed(2000, Some(random)).next_ms.unwrap() - 2000;
            assert!((nominal * 3 / 4..=nominal * 5 / 4).contains(&next_ms), "{failures}: {next_ms}");
        }
        row = row.failed(2000, None);
        assert_eq!((row.failures, row.due_ms, row.next_ms), (failures, 1000, Some(2000 + nominal)));
    }
    row = row.failed(2000, None);
    assert_eq!((row.failures, row.next_ms), (TRIES_MAX, None));
    let row = row.retried(3000);
    assert_eq!((row.failures, row.next_ms, row.due_ms), (0, Some(3000), 1000));
}

#[test]
fn a_batch_is_counted_with_what_it_has_admitted_already() {
    let limits = JobLimits { per_topic: 2, per_plugin: 3, bytes_per_plugin: 100 };
    let mut agenda = Agenda::default();
    agenda.put(id("a", "1"), Some(1), 10);
    let mut tally = JobTally::default();
    let mut admit = |changes: &[(&str, &str, Option<u64>)]| {
        let changes = changes.iter().map(|(topic, key, bytes)| (id(topic, key), *bytes)).collect();
        tally.admit(&agenda, Some(&limits), changes)
    };
    assert_eq!(admit(&[("a", "2", Some(10))]), Ok(()));
    assert_eq!(admit(&[("a", "3", Some(10))]), Err(JobsFull::Topic { limit: 2 }));
    // A replacement isn't one more.
    assert_eq!(admit(&[("a", "2", Some(20)), ("a", "1", Some(10))]), Ok(()));
    assert_eq!(admit(&[("b", "1", Some(71))]), Err(JobsFull::Bytes { limit: 100 }));
    assert_eq!(admit(&[("b", "1", Some(70))]), Ok(()));
    assert_eq!(admit(&[("c", "1", Some(0))]), Err(JobsFull::Plugin { limit: 3 }));
    // A job that is removed in the same batch makes room, and removing is always allowed.
    assert_eq!(admit(&[("a", "1", None), ("a", "9", None)]), Ok(()));
    assert_eq!(admit(&[("c", "1", Some(0))]), Ok(()));
    let changes = (0..9).map(|key| (id("d", &key.to_string()), Some(50))).collect();
    assert_eq!(tally.admit(&agenda, None, changes), Ok(()), "the host's own changes have no limit");
}
