//! A row of the table of nodes, as the database shows it.
//!
//! Whoever may write to the database can write any row. So texts are cut, numbers are clamped, and a row that can't be one of a node is
//! left out, without the others.

use std::time::Duration;

use tokio_postgres::{Error, Row};

use crate::node::{Epoch, Incarnation, NodeId, Speaks};
use crate::settings::NodeSettings;
use crate::table::NodeRow;

/// The most rows that are read. A node sends to at most 1,024 others, and a node that starts removes all but the last 100 dead ones.
pub(super) const ROWS_MAX: usize = 4_096;

/// The columns of a row, in the order of [`RawNodeRow::of`]. Texts are cut at 256 characters, which no name or version has, and bytes at
/// one more than they may have.
pub(super) const COLUMNS: &str = "epoch, substr(incarnation, 1, 17), left(name, 256), left(version, 256), speaks_from, \
     speaks_to, beat, is_dead, is_draining, lease_ms, left(bus, 256), substr(secret_mark, 1, 9)";

/// The columns of a row.
pub(super) struct RawNodeRow<'a> {
    pub(super) epoch: i64,
    pub(super) incarnation: &'a [u8],
    pub(super) name: &'a str,
    pub(super) version: &'a str,
    /// The oldest and the newest version of the protocol.
    pub(super) speaks: (i32, i32),
    pub(super) beat: i64,
    pub(super) is_dead: bool,
    pub(super) is_draining: bool,
    pub(super) lease_ms: i64,
    pub(super) bus: &'a str,
    pub(super) secret_mark: Option<&'a [u8]>,
}

impl<'a> RawNodeRow<'a> {
    /// Takes the columns of a row.
    ///
    /// # Errors
    /// If they have other types. Then the table isn't the one that this version of bennu makes, so no row of it can be read.
    pub(super) fn of(row: &'a Row) -> Result<Self, Error> {
        Ok(Self {
            epoch: row.try_get(0)?,
            incarnation: row.try_get(1)?,
            name: row.try_get(2)?,
            version: row.try_get(3)?,
            speaks: (row.try_get(4)?, row.try_get(5)?),
            beat: row.try_get(6)?,
            is_dead: row.try_get(7)?,
            is_draining: row.try_get(8)?,
            lease_ms: row.try_get(9)?,
            bus: row.try_get(10)?,
            secret_mark: row.try_get(11)?,
        })
    }

    /// The row of a node. None if the incarnation can't be one: then the row belongs to no living node, because the functions in the
    /// database compare the incarnation, too, and refuse whoever has another one. That holds for the reader's own row as well: without
    /// it, the reader counts itself as dead, as its next renewal would tell it. All other fields of a row are shown or compared only, so a
    /// wrong one is no reason to leave its node out, which the others would take for a death.
    pub(super) fn node(&self) -> Option<NodeRow> {
        let incarnation = Incarnation(self.incarnation.try_into().ok()?);
        let (from, to) = self.speaks;
        let secret_mark = self.secret_mark.and_then(|mark| mark.try_into().ok());
        let lease = Duration::from_millis(u64::try_from(self.lease_ms).unwrap_or_default());
        Some(NodeRow {
            id: NodeId { epoch: Epoch(self.epoch.cast_unsigned()), incarnation },
            name: self.name.to_owned(),
            version: self.version.to_owned(),
            speaks: Speaks { from: version(from), to: version(to) },
            settings: NodeSettings { lease, bus: self.bus.to_owned(), secret_mark },
            beat: self.beat.cast_unsigned(),
            is_dead: self.is_dead,
            is_draining: self.is_draining,
        })
    }
}

/// The nearest version that there can be.
fn version(value: i32) -> u16 {
    u16::try_from(value.max(0)).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: RawNodeRow<'_> = RawNodeRow {
        epoch: 7,
        incarnation: &[9; 16],
        name: "one",
        version: "0.1.0",
        speaks: (1, 2),
        beat: 3,
        is_dead: false,
        is_draining: true,
        lease_ms: 10_000,
        bus: "postgres",
        secret_mark: Some(&[7; 8]),
    };

    #[test]
    fn a_row_is_read_as_it_was_written() {
        let settings =
            NodeSettings { lease: Duration::from_secs(10), bus: "postgres".to_owned(), secret_mark: Some([7; 8]) };
        let expected = NodeRow {
            id: NodeId { epoch: Epoch(7), incarnation: Incarnation([9; 16]) },
            name: "one".to_owned(),
            version: "0.1.0".to_owned(),
            speaks: Speaks { from: 1, to: 2 },
            settings,
            beat: 3,
            is_dead: false,
            is_draining: true,
        };
        assert_eq!(ROW.node(), Some(expected));
    }

    #[test]
    fn a_row_without_an_incarnation_is_left_out_and_other_wrong_fields_are_not() {
        for incarnation in [&[][..], &[9; 15], &[9; 17]] {
            assert_eq!(RawNodeRow { incarnation, ..ROW }.node(), None);
        }
        let odd = RawNodeRow { speaks: (-1, i32::MAX), lease_ms: -1, secret_mark: Some(&[7; 9]), ..ROW };
        let read = odd.node().expect("a row of a node");
        assert_eq!(read.speaks, Speaks { from: 0, to: u16::MAX });
        assert_eq!((read.settings.lease, read.settings.secret_mark), (Duration::ZERO, None));
    }
}
