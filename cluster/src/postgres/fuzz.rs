//! Fuzz targets: read any bytes as what the database shows.

use std::time::Duration;

use serde_json::{Value, json};

use super::node_row::RawNodeRow;
use super::pieces::{PieceReader, Received, cut};
use super::registry_rows::{ReportsRead, records, reports};
use crate::bus::Lane;
use crate::node::Epoch;
use crate::pieces::FLUSH_BYTES_MAX;
use crate::rollout::{
    Facts, LivingNode, LocalPlugin, NodeReport, RecordedTerms, SeenSince, decide, next_step, probation_counts,
};

/// The node that reads.
const ME: Epoch = Epoch(7);

/// Reads each line as a notification of the bus. A flush that is whole is cut and put together again. Returns whether there was a piece
/// of a flush.
///
/// # Panics
///
/// If that doesn't hold.
#[must_use]
pub fn fuzz_notification(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let (mut reader, mut is_read) = (PieceReader::new(ME), false);
    for line in text.split('\n') {
        match reader.read(line) {
            Received::Flush(flush) => {
                assert!(flush.len() <= FLUSH_BYTES_MAX, "a flush has a bound");
                let pieces = cut(ME, 1, Lane::Node(ME), &flush).expect("it isn't too large");
                let (mut again, mut last) = (PieceReader::new(ME), Received::Ignored);
                for piece in &pieces {
                    last = again.read(piece);
                }
                assert_eq!(last, Received::Flush(flush), "a flush is put together as it was cut");
                is_read = true;
            }
            Received::Piece | Received::Elsewhere => is_read = true,
            Received::Ignored => {}
        }
    }
    is_read
}

/// Reads the bytes as a row of the table of nodes: the epoch, the beat and the lease in 8 bytes each, two versions in 4 bytes each,
/// flags, the lengths of the incarnation and of the mark of the secret, both of these, and a text. Exactly the rows with an incarnation
/// are rows of nodes. Returns whether it was one.
///
/// # Panics
///
/// If that doesn't hold.
#[must_use]
pub fn fuzz_node_row(bytes: &[u8]) -> bool {
    let Some((head, rest)) = bytes.split_first_chunk::<35>() else { return false };
    let long = |at: usize| i64::from_be_bytes(std::array::from_fn(|byte| head[at + byte]));
    let short = |at: usize| i32::from_be_bytes(std::array::from_fn(|byte| head[at + byte]));
    let has = |flag: u8| head[32] & flag != 0;
    let (incarnation, rest) = rest.split_at(rest.len().min(usize::from(head[33])));
    let (mark, rest) = rest.split_at(rest.len().min(usize::from(head[34])));
    let Ok(text) = std::str::from_utf8(rest) else { return false };
    let row = RawNodeRow {
        epoch: long(0),
        incarnation,
        name: text,
        version: text,
        speaks: (short(24), short(28)),
        beat: long(8),
        is_dead: has(1),
        is_draining: has(2),
        lease_ms: long(16),
        bus: text,
        secret_mark: has(4).then_some(mark),
    };
    let Some(node) = row.node() else {
        assert_ne!(incarnation.len(), 16, "an incarnation is read");
        return false;
    };
    assert_eq!((&node.id.incarnation.0[..], node.name.as_str()), (incarnation, text));
    assert!(node.settings.differences(&node.settings).is_empty(), "a node has the settings that it has");
    true
}

/// Reads the bytes as the list of the records of plugins. Those that can be read are written and read again unchanged, and all that a node
/// decides of them is decided. Returns whether a record was read.
///
/// # Panics
///
/// If one of these doesn't hold.
#[must_use]
pub fn fuzz_records(bytes: &[u8]) -> bool {
    let Some(read) = std::str::from_utf8(bytes).ok().and_then(|text| records(text).ok()) else { return false };
    let rows: Vec<Value> =
        read.records.iter().map(|(name, record)| json!({ "name": name, "record": record })).collect();
    let again = records(&json!(rows).to_string()).expect("a list");
    assert_eq!((&again.records, again.unread.len()), (&read.records, 0), "what was read is written and read again");
    for record in read.records.values() {
        let _ = next_step(Some(record), &LocalPlugin::default());
    }
    let mut seen = SeenSince::default();
    seen.note(&read.records, &[], Duration::ZERO);
    let nodes = [LivingNode { epoch: ME, name: "one".to_owned() }];
    let terms = RecordedTerms { time_ms: 1, calls: 1, faults: 1 };
    let facts = Facts {
        me: ME,
        nodes: &nodes,
        reports: &[],
        reads_all: read.unread.is_empty(),
        seen: &seen,
        now: Duration::from_secs(3_600),
        terms,
        now_ms: 1,
    };
    let _ = decide(&read.records, &facts);
    !read.records.is_empty()
}

/// Reads the bytes as the list of the reports of nodes. Those that can be read are written and read again unchanged, and their calls and
/// faults are added up. Returns whether a report was read.
///
/// # Panics
///
/// If one of these doesn't hold.
#[must_use]
pub fn fuzz_reports(bytes: &[u8]) -> bool {
    let Some(found) = std::str::from_utf8(bytes).ok().and_then(|text| reports(text).ok()) else { return false };
    assert!(found.unread.len() <= found.unread_count, "what is told is counted");
    let read = found.reports;
    let row = |read: &NodeReport| {
        let NodeReport { plugin, epoch, report } = read;
        json!({ "plugin": plugin, "epoch": epoch.0.cast_signed(), "report": report })
    };
    let rows: Vec<Value> = read.iter().map(row).collect();
    let ReportsRead { reports: again, unread_count, .. } = reports(&json!(rows).to_string()).expect("a list");
    assert_eq!((&again, unread_count), (&read, 0), "what was read is written and read again");
    for report in &read {
        let generation = report.report.serving.unwrap_or_default();
        let _ = probation_counts(&report.plugin, generation, &read);
    }
    !read.is_empty()
}
