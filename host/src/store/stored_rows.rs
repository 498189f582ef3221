//! Single rows, pages of rows, and sizes of topics, for operators. A row is shown as a line of an export.

use bytes::Bytes;

use anyhow::{Context, Result};

use super::draft::Seen;
use super::engine::{Direction, Row, Rows, ScanLimit, Span, successor};
use super::entry_sums::StoredSums;
use super::export_line::ExportLine;
use super::handle::Store;
use super::scan::Scan;
use super::space::{Kind, Owner, Place, split_entry_name};

/// The most rows and bytes of one page.
const PAGE: ScanLimit = ScanLimit { rows: 1000, bytes: 256 << 10 };

/// A set of rows of a plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowSet {
    /// Its keys.
    Keys,
    /// Its durable rooms, by their topics.
    Rooms,
    /// The entries of the durable room of a topic.
    Entries(String),
}

/// Some rows of a set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowPage {
    /// The rows in JSON, in the order of their keys.
    pub rows: Vec<String>,
    /// The key of the last row, if there are more rows after it.
    pub more_after: Option<Bytes>,
}

/// The stored bytes of a topic with a durable room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicBytes {
    /// The topic.
    pub topic: String,
    /// The bytes of the room.
    pub room_bytes: u64,
    /// The number of entries.
    pub entries: u64,
    /// The bytes of their keys and values.
    pub entries_bytes: u64,
}

/// The sizes of some topics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicPage {
    /// The topics, in the order of their bytes.
    pub topics: Vec<TopicBytes>,
    /// A topic, if there may be more after it.
    pub more_after: Option<String>,
}

impl RowSet {
    fn place(&self, owner: &Owner, key: &[u8]) -> Bytes {
        match self {
            Self::Keys => owner.place(Kind::Keys, key),
            Self::Rooms => owner.place(Kind::Rooms, key),
            Self::Entries(topic) => owner.entry_place(Kind::Entries, topic, key),
        }
    }

    /// Returns the span of the rows whose keys begin with a prefix.
    fn span(&self, owner: &Owner, prefix: &[u8]) -> Span {
        let until = Scan::prefix(prefix, Direction::Forward).until;
        match self {
            Self::Keys | Self::Rooms => {
                let kind = if *self == Self::Keys { Kind::Keys } else { Kind::Rooms };
                let until = until.map_or(owner.span(kind).until, |until| owner.place(kind, &until));
                Span { from: owner.place(kind, prefix), until }
            }
            Self::Entries(topic) => owner.entry_span(topic, prefix, until.as_deref()),
        }
    }

    /// Returns the key of a row.
    fn key_of(&self, owner: &Owner, place: &Bytes) -> Option<Bytes> {
        let name = owner.name_of(place);
        match self {
            Self::Keys | Self::Rooms => Some(name),
            Self::Entries(_) => split_entry_name(&name).map(|(_, key)| key),
        }
    }
}

impl Store {
    /// Returns a row in JSON, or none if there is no such row.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn stored_row(&self, owner: &Owner, set: &RowSet, key: &[u8]) -> Result<Option<String>> {
        let place = set.place(owner, key);
        let value = self.seen().value(&place).await.context("reading the store")?;
        value.map(|value| shown((place, value))).transpose()
    }

    /// Returns the first rows whose keys begin with a prefix, after a key: at most `limit`, and at most about 256 KiB.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn stored_rows(
        &self,
        owner: &Owner,
        set: &RowSet,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<RowPage> {
        let mut span = set.span(owner, prefix);
        if let Some(after) = after {
            span.from = span.from.max(successor(&set.place(owner, after)));
        }
        let limit = ScanLimit { rows: limit.clamp(1, PAGE.rows), ..PAGE };
        let Rows { rows, ended } = self.seen().rows(&span, limit).await.context("reading the store")?;
        let more_after = rows.last().filter(|_| !ended).and_then(|(place, _)| set.key_of(owner, place));
        Ok(RowPage { rows: rows.into_iter().map(shown).collect::<Result<_>>()?, more_after })
    }

    /// Returns the stored bytes of the topics after one, some hundreds at a time. A topic that has only entries is there, too.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn topic_bytes(&self, owner: &Owner, after: Option<&str>) -> Result<TopicPage> {
        let seen = self.seen();
        let rooms = topics_after(&seen, owner, Kind::Rooms, after).await?;
        let sums = topics_after(&seen, owner, Kind::EntrySums, after).await?;
        // Up to this topic, all rows of both kinds are known.
        let last = |rows: &Rows| rows.rows.last().filter(|_| !rows.ended).map(|(place, _)| owner.name_of(place));
        let until = last(&rooms).into_iter().chain(last(&sums)).min();
        let known = |(place, _): &Row| until.as_ref().is_none_or(|until| owner.name_of(place) <= *until);
        let mut topics = std::collections::BTreeMap::<Bytes, TopicBytes>::new();
        for (place, value) in rooms.rows.into_iter().filter(known) {
            topics.entry(owner.name_of(&place)).or_default().room_bytes = value.len() as u64;
        }
        for (place, value) in sums.rows.into_iter().filter(known) {
            let stored = StoredSums::decode(value).unwrap_or_default().sums;
            let topic = topics.entry(owner.name_of(&place)).or_default();
            (topic.entries, topic.entries_bytes) = (stored.entries, stored.bytes);
        }
        let text = |name: Bytes| String::from_utf8(name.to_vec()).context("the store is damaged: a topic is no text");
        let topics = topics.into_iter().map(|(name, topic)| Ok(TopicBytes { topic: text(name)?, ..topic }));
        Ok(TopicPage { topics: topics.collect::<Result<_>>()?, more_after: until.map(text).transpose()? })
    }
}

/// Reads the rows of a kind that has one for each topic.
async fn topics_after(seen: &Seen, owner: &Owner, kind: Kind, after: Option<&str>) -> Result<Rows> {
    let mut span = owner.span(kind);
    if let Some(after) = after {
        span.from = successor(&owner.place(kind, after.as_bytes()));
    }
    seen.rows(&span, PAGE).await.context("reading the store")
}

/// Returns a row in JSON, without a line feed.
fn shown((place, value): Row) -> Result<String> {
    let place = Place::read(&place).context("the store is damaged: a key belongs to no plugin")?;
    let line = ExportLine::row(place, value).write()?;
    Ok(String::from_utf8(line)?.trim_end().to_owned())
}
