//! The lines of an export: a first line with the format, one line for each row, and a last line with the number of rows.
//!
//! ```json
//! {"format":"bennu-store","version":2}
//! {"plugin":"chat","key":"user:7","value":"ann"}
//! {"plugin":"chat","key_base64":"/wA=","value_base64":"gIE="}
//! {"plugin":"chat","room":"room:lobby","value":"{\"open\":true}"}
//! {"plugin":"chat","room_before":"room:lobby","value_base64":"AQAA.."}
//! {"version":1,"plugin":"chat","topic":"room:lobby","entry":"stroke/7","value":"[0,1]"}
//! {"plugin":"chat","topic":"room:lobby","entry_before":"stroke/7","value_base64":"AAAA.."}
//! {"plugin":"shop","topic":"order:7","schedule":"remind","due_ms":1790000000000,"event":"remind","value":"{}"}
//! {"plugin":"shop","key":"session:7","value":"{}","expires_ms":1790000000000}
//! {"rows":8,"sha256":"9f86d0.."}
//! ```
//!
//! A key with a time to live has `expires_ms`.
//! A schedule that failed has `failures`, and `next_ms` unless it was given up. Its payload is `value`, or `value_base64` if it
//! is binary. A time of a cron line has `cron` in place of `schedule`, and a failure message of a
//! delivery has `undelivered`.
//!
//! `sha256` is the digest of all lines before the last one, as in `head -n -1 FILE | sha256sum`. Version 1 has none, and is still
//! read.
//!
//! The first line may also have `"ids_ms"`: a time in milliseconds since 1970 that no id in the rows has reached.
//!
//! UTF-8 is written as text, and other bytes as base64. Each has its own field name, so that a reader can distinguish them,
//! and both can be written by hand.

use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bennu_semantics::deliveries::DeliveryRow;
use bennu_semantics::jobs::{JobId, JobKind, JobRow};
use bennu_semantics::{NAME_BYTES_MAX, Payload, lifetime};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::entry_rows::{entry_row, split};
use super::space::{Kind, Place, entry_name, split_entry_name};

const FORMAT: &str = "bennu-store";

/// The version that is written. Version 1 had no digest.
pub(super) const VERSION: u64 = 2;

/// A line of an export.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ExportLine {
    /// The first line: the format. It has the id mark, if there is one, so that ids that are drawn after an import sort
    /// after the imported ones.
    Head { version: u64, ids_ms: Option<u64> },
    /// A key, a room, an entry, a job, or the state of a room or an entry from before, with its stored value. The name is that
    /// of [`Place`].
    Row { plugin: String, kind: Kind, name: Bytes, value: Bytes },
    /// The last line: the number of rows, and the digest of the lines before.
    End { rows: u64, sha256: Option<String> },
    /// The last line of an export that a host couldn't complete: the reason.
    Failed { error: String },
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Fields {
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<String>,
    /// The version of the export's format, or the version of the plugin that wrote an entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ids_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    plugin: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    room: Option<String>,
    /// The topic of a row that is a room's former state, from before a build on probation upgraded the room.
    #[serde(skip_serializing_if = "Option::is_none")]
    room_before: Option<String>,
    /// The topic of an entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entry: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entry_base64: Option<String>,
    /// The key of a row that is an entry's before-image, from before a build on probation changed the entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    entry_before: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entry_before_base64: Option<String>,
    /// When a key expires.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_ms: Option<u64>,
    /// The key of a schedule.
    #[serde(skip_serializing_if = "Option::is_none")]
    schedule: Option<String>,
    /// The key of a time of a cron line.
    #[serde(skip_serializing_if = "Option::is_none")]
    cron: Option<String>,
    /// The id of the delivery of a failure message, which waits for its topic.
    #[serde(skip_serializing_if = "Option::is_none")]
    undelivered: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    due_ms: Option<u64>,
    /// The id of a delivery. Its value is the stored row.
    #[serde(skip_serializing_if = "Option::is_none")]
    delivery: Option<String>,
    /// The number of failed tries of a job.
    #[serde(skip_serializing_if = "Option::is_none")]
    failures: Option<u32>,
    /// When a job that has failed is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    /// Why an export that is sent over the network has ended early.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl ExportLine {
    /// Creates the line for a row.
    pub(super) fn row(place: Place, value: Bytes) -> Self {
        let Place { plugin, kind, name } = place;
        Self::Row { plugin, kind, name, value }
    }

    /// Returns the line's bytes, with the line feed.
    ///
    /// # Errors
    /// If a topic isn't UTF-8. The store never contains such a topic.
    pub(super) fn write(self) -> Result<Vec<u8>> {
        let mut fields = Fields::default();
        match self {
            Self::Head { version, ids_ms } => {
                (fields.format, fields.version, fields.ids_ms) = (Some(FORMAT.to_owned()), Some(version), ids_ms);
            }
            Self::End { rows, sha256 } => (fields.rows, fields.sha256) = (Some(rows), sha256),
            Self::Failed { error } => fields.error = Some(error),
            Self::Row { plugin, kind, name, value } => fields.set_row(plugin, kind, &name, &value)?,
        }
        let mut line = serde_json::to_vec(&fields)?;
        line.push(b'\n');
        Ok(line)
    }

    /// Reads a line.
    ///
    /// # Errors
    /// If it isn't a valid line. The error gives the reason.
    pub(super) fn read(line: &[u8]) -> Result<Self> {
        // Without this check, serde would also accept an array with the fields' values.
        ensure!(line.trim_ascii_start().starts_with(b"{"), "it is no JSON object");
        match serde_json::from_slice(line)? {
            Fields { error: Some(error), .. } => Ok(Self::Failed { error }),
            Fields { rows: Some(rows), sha256, plugin: None, format: None, version: None, .. } => {
                Ok(Self::End { rows, sha256 })
            }
            Fields { format: Some(format), version, ids_ms, plugin: None, rows: None, .. } => {
                ensure!(format == FORMAT, "its format is `{format}`, not `{FORMAT}`");
                let version = version.context("it has no `version`")?;
                ensure!(
                    (1..=VERSION).contains(&version),
                    "its version is {version}, and this bennu reads the versions 1 to {VERSION}"
                );
                Ok(Self::Head { version, ids_ms })
            }
            fields @ Fields { plugin: Some(_), format: None, ids_ms: None, rows: None, sha256: None, .. } => {
                fields.into_row()
            }
            _ => bail!("it is no row: it needs `plugin`, a key or a room, and a value"),
        }
    }
}

impl Fields {
    fn set_row(&mut self, plugin: String, kind: Kind, name: &Bytes, stored: &Bytes) -> Result<()> {
        let (mut version, mut value) = (None, &stored[..]);
        match kind {
            Kind::Keys => {
                (self.key, self.key_base64) = text_or_base64(name);
                let (plain, expires_ms) = lifetime::open(stored.clone());
                self.expires_ms = expires_ms;
                (self.plugin, (self.value, self.value_base64)) = (Some(plugin), text_or_base64(&plain));
                return Ok(());
            }
            Kind::Rooms => self.room = Some(topic(name)?),
            Kind::Formers => self.room_before = Some(topic(name)?),
            Kind::Entries => {
                let key = self.set_topic(name)?;
                (self.entry, self.entry_base64) = text_or_base64(&key);
                let (of, bytes) = split(stored).map_err(anyhow::Error::msg)?;
                (version, value) = (Some(u64::from(of)), bytes);
            }
            Kind::EntryFormers => {
                let key = self.set_topic(name)?;
                (self.entry_before, self.entry_before_base64) = text_or_base64(&key);
            }
            Kind::Jobs => return self.set_job(plugin, name, stored),
            Kind::Deliveries => {
                self.delivery = Some(topic(name)?);
                (self.plugin, self.value_base64) = (Some(plugin), Some(STANDARD.encode(stored)));
                return Ok(());
            }
            Kind::EntrySums | Kind::Expiries | Kind::Requests | Kind::RequestExpiries => {
                bail!("sums, times of expiry and answers to requests aren't exported")
            }
        }
        (self.plugin, self.version) = (Some(plugin), version);
        (self.value, self.value_base64) = text_or_base64(value);
        Ok(())
    }

    fn set_job(&mut self, plugin: String, name: &Bytes, stored: &Bytes) -> Result<()> {
        let id = JobId::read(plugin.as_str().into(), name).context("the name of a job is damaged")?;
        let row = JobRow::decode(stored.clone()).context("a job is damaged")?;
        let key = Some(String::from(id.key));
        match id.kind {
            JobKind::Schedule => self.schedule = key,
            JobKind::Cron => self.cron = key,
            JobKind::Undelivered => self.undelivered = key,
        }
        (self.plugin, self.topic) = (Some(plugin), Some(id.topic.to_string()));
        (self.due_ms, self.event) = (Some(row.due_ms), Some(row.event.to_string()));
        if row.failures > 0 {
            (self.failures, self.next_ms) = (Some(row.failures), row.next_ms);
        }
        match row.payload {
            Payload::Json(text) => self.value = Some(text.to_string()),
            Payload::Binary(bytes) => self.value_base64 = Some(STANDARD.encode(bytes)),
        }
        Ok(())
    }

    fn into_job(self) -> Result<ExportLine> {
        let (kind, key) = match (self.schedule, self.cron, self.undelivered) {
            (Some(key), None, None) => (JobKind::Schedule, key),
            (None, Some(key), None) => (JobKind::Cron, key),
            (None, None, Some(key)) => (JobKind::Undelivered, key),
            _ => bail!("it needs one of `schedule`, `cron` and `undelivered`"),
        };
        let payload = match (self.value, self.value_base64) {
            (Some(text), None) => Payload::Json(text.into()),
            (None, Some(base64)) => Payload::Binary(from_base64(&base64).context("its `value_base64`")?),
            _ => bail!("it needs one of `value` and `value_base64`"),
        };
        payload.check_value().context("its `value`")?;
        let due_ms = self.due_ms.context("it has no `due_ms`")?;
        let failures = self.failures.unwrap_or(0);
        let next_ms = if failures == 0 { Some(due_ms) } else { self.next_ms };
        let event = self.event.context("it has no `event`")?;
        ensure!(event.len() <= NAME_BYTES_MAX, "its `event` has more than {NAME_BYTES_MAX} bytes");
        let topic = self.topic.context("it has no `topic`")?;
        let row = JobRow { due_ms, next_ms, failures, event: event.into(), payload };
        let name = JobId::name_of(kind, &topic, &key).into();
        Ok(ExportLine::Row { plugin: self.plugin.unwrap_or_default(), kind: Kind::Jobs, name, value: row.encode() })
    }

    /// Sets the topic of an entry, and returns the key.
    fn set_topic(&mut self, name: &Bytes) -> Result<Bytes> {
        let (topic, key) = split_entry_name(name).context("the place of an entry is damaged")?;
        self.topic = Some(topic.to_owned());
        Ok(key)
    }

    fn into_row(self) -> Result<ExportLine> {
        if self.schedule.is_some() || self.cron.is_some() || self.undelivered.is_some() {
            return self.into_job();
        }
        if let Some(id) = self.delivery {
            let stored = from_base64(&self.value_base64.context("it has no `value_base64`")?);
            let value: Bytes = stored.context("its `value_base64`")?;
            ensure!(DeliveryRow::decode(value.clone()).is_some(), "its `value_base64` is no delivery");
            let (plugin, kind) = (self.plugin.unwrap_or_default(), Kind::Deliveries);
            return Ok(ExportLine::Row { plugin, kind, name: id.into(), value });
        }
        ensure!(
            self.due_ms.is_none() && self.event.is_none(),
            "a schedule, and no other row, has `due_ms` and `event`"
        );
        let value = match (self.value, self.value_base64) {
            (Some(value), None) => value.into(),
            (None, Some(value)) => from_base64(&value).context("its `value_base64`")?,
            _ => bail!("it needs one of `value` and `value_base64`"),
        };
        let key = text_or(self.key, self.key_base64, "`key_base64`")?;
        let entry = text_or(self.entry, self.entry_base64, "`entry_base64`")?;
        let before = text_or(self.entry_before, self.entry_before_base64, "`entry_before_base64`")?;
        ensure!(
            self.topic.is_some() == (entry.is_some() || before.is_some()),
            "an entry, and no other row, needs `topic`"
        );
        ensure!(self.version.is_some() == entry.is_some(), "an entry, and no other row, needs `version`");
        ensure!(self.expires_ms.is_none() || key.is_some(), "a key, and no other row, has `expires_ms`");
        let topic = self.topic.unwrap_or_default();
        let (kind, name, value) = match (key, self.room, self.room_before, entry, before) {
            (Some(key), None, None, None, None) => {
                let value: Bytes = value;
                let stored = match self.expires_ms {
                    Some(expires_ms) => lifetime::seal(&value, expires_ms),
                    None => lifetime::plain(value),
                };
                (Kind::Keys, key, stored)
            }
            (None, Some(room), None, None, None) => (Kind::Rooms, room.into(), value),
            (None, None, Some(room), None, None) => (Kind::Formers, room.into(), value),
            (None, None, None, Some(key), None) => {
                let version = u32::try_from(self.version.unwrap_or_default()).context("its `version`")?;
                (Kind::Entries, entry_name(&topic, &key)?, entry_row(version, &value))
            }
            (None, None, None, None, Some(key)) => (Kind::EntryFormers, entry_name(&topic, &key)?, value),
            _ => bail!(
                "it needs one of `key`, `room`, `room_before`, `entry` and `entry_before`, perhaps with `_base64`"
            ),
        };
        Ok(ExportLine::Row { plugin: self.plugin.unwrap_or_default(), kind, name, value })
    }
}

fn topic(name: &Bytes) -> Result<String> {
    String::from_utf8(name.to_vec()).context("a topic is no UTF-8 text")
}

/// Returns the bytes of a field that is text, or base64 under another name.
fn text_or(text: Option<String>, base64: Option<String>, name: &str) -> Result<Option<Bytes>> {
    match (text, base64) {
        (None, None) => Ok(None),
        (Some(text), None) => Ok(Some(text.into())),
        (None, Some(base64)) => from_base64(&base64).with_context(|| format!("its {name}")).map(Some),
        (Some(_), Some(_)) => bail!("it has both a text and {name}"),
    }
}

fn text_or_base64(bytes: &[u8]) -> (Option<String>, Option<String>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (Some(text.to_owned()), None),
        Err(_) => (None, Some(STANDARD.encode(bytes))),
    }
}

fn from_base64(text: &str) -> Result<Bytes> {
    Ok(STANDARD.decode(text)?.into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn row(kind: Kind, name: &'static [u8], value: &'static [u8]) -> ExportLine {
        ExportLine::Row { plugin: "chat".into(), kind, name: name.into(), value: value.into() }
    }

    /// A delivery to nowhere: its format, and zeros.
    const DELIVERY: &[u8] = &{
        let mut row = [0; 55];
        row[0] = 1;
        row
    };

    fn entry(kind: Kind, key: &[u8], value: &'static [u8]) -> ExportLine {
        let name = entry_name("röom", key).unwrap();
        ExportLine::Row { plugin: "chat".into(), kind, name, value: value.into() }
    }

    fn job(row: &JobRow) -> ExportLine {
        let name = JobId::name_of(JobKind::Schedule, "röom", "k").into();
        ExportLine::Row { plugin: "chat".into(), kind: Kind::Jobs, name, value: row.encode() }
    }

    #[test]
    fn lines_are_read_as_they_were_written() {
        for (line, text) in [
            (ExportLine::Head { version: 1, ids_ms: None }, r#"{"format":"bennu-store","version":1}"#),
            (ExportLine::Head { version: 2, ids_ms: Some(7) }, r#"{"format":"bennu-store","version":2,"ids_ms":7}"#),
            (row(Kind::Keys, b"a\0", b""), r#"{"plugin":"chat","key":"a\u0000","value":""}"#),
            (row(Kind::Keys, b"\xff\0", b"\x80"), r#"{"plugin":"chat","key_base64":"/wA=","value_base64":"gA=="}"#),
            (
                ExportLine::Row {
                    plugin: "chat".into(),
                    kind: Kind::Keys,
                    name: "a".into(),
                    value: lifetime::seal(b"b", 7),
                },
                r#"{"plugin":"chat","key":"a","expires_ms":7,"value":"b"}"#,
            ),
            (
                job(&JobRow::new(7, "ring".into(), Payload::Json("[1]".into()))),
                r#"{"plugin":"chat","topic":"röom","schedule":"k","due_ms":7,"event":"ring","value":"[1]"}"#,
            ),
            (
                job(&JobRow::new(7, "ring".into(), Payload::Binary(b"\xff"[..].into())).failed(9, None)),
                r#"{"plugin":"chat","topic":"röom","schedule":"k","due_ms":7,"failures":1,"next_ms":1009,"event":"ring","value_base64":"/w=="}"#,
            ),
            (
                job(&JobRow { next_ms: None, failures: 5, ..JobRow::new(7, "ring".into(), Payload::EMPTY) }),
                r#"{"plugin":"chat","topic":"röom","schedule":"k","due_ms":7,"failures":5,"event":"ring","value":"{}"}"#,
            ),
            (
                ExportLine::Row {
                    plugin: "chat".into(),
                    kind: Kind::Deliveries,
                    name: "0dq".into(),
                    value: Bytes::from_static(DELIVERY),
                },
                r#"{"plugin":"chat","delivery":"0dq","value_base64":"AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=="}"#,
            ),
            (row(Kind::Rooms, "röom".as_bytes(), b"{}"), r#"{"plugin":"chat","room":"röom","value":"{}"}"#),
            (
                row(Kind::Formers, b"room", b"\x01\xff"),
                r#"{"plugin":"chat","room_before":"room","value_base64":"Af8="}"#,
            ),
            (
                entry(Kind::Entries, b"a", b"\0\0\0\x07[1]"),
                r#"{"version":7,"plugin":"chat","topic":"röom","entry":"a","value":"[1]"}"#,
            ),
            (
                entry(Kind::Entries, b"\xff", b"\0\0\0\0\x80"),
                r#"{"version":0,"plugin":"chat","topic":"röom","entry_base64":"/w==","value_base64":"gA=="}"#,
            ),
            (
                entry(Kind::EntryFormers, b"a", b"\x80"),
                r#"{"plugin":"chat","topic":"röom","entry_before":"a","value_base64":"gA=="}"#,
            ),
            (ExportLine::End { rows: 3, sha256: None }, r#"{"rows":3}"#),
            (ExportLine::End { rows: 3, sha256: Some("0f".into()) }, r#"{"rows":3,"sha256":"0f"}"#),
            (ExportLine::Failed { error: "the disk".into() }, r#"{"error":"the disk"}"#),
        ] {
            assert_eq!(ExportLine::read(text.as_bytes()).unwrap(), line);
            assert_eq!(String::from_utf8(line.write().unwrap()).unwrap(), format!("{text}\n"));
        }
    }

    #[test]
    fn an_invalid_line_is_refused_with_the_reason() {
        for (text, reason) in [
            ("", "no JSON object"),
            ("{", "EOF"),
            ("[]", "no JSON object"),
            ("{}", "it is no row"),
            (r#"{"plugin":"chat","key":"a"}"#, "one of `value`"),
            (r#"{"plugin":"chat","value":"a"}"#, "one of `key`"),
            (r#"{"plugin":"chat","key":"a","room":"b","value":"c"}"#, "one of `key`"),
            (r#"{"plugin":"chat","key":"a","key_base64":"YQ==","value":"c"}"#, "both a text and `key_base64`"),
            (r#"{"plugin":"chat","entry":"a","version":0,"value":"c"}"#, "needs `topic`"),
            (r#"{"plugin":"chat","topic":"t","entry":"a","value":"c"}"#, "needs `version`"),
            (r#"{"plugin":"chat","topic":"t","entry":"","version":0,"value":"c"}"#, "at least one byte"),
            (r#"{"plugin":"chat","topic":"t","entry":"a","version":4294967296,"value":"c"}"#, "its `version`"),
            (r#"{"plugin":"chat","key":"a","version":0,"value":"c"}"#, "no other row, needs `version`"),
            (r#"{"plugin":"chat","key":"a","value":"c","value_base64":""}"#, "one of `value`"),
            (r#"{"plugin":"chat","room":"a","room_before":"b","value":"c"}"#, "one of `key`"),
            (r#"{"plugin":"chat","key":"a","key":"b","value":"c"}"#, "duplicate"),
            (r#"{"plugin":"chat","key":"a","value":"c","ttl":1}"#, "unknown field `ttl`"),
            (r#"{"plugin":"chat","key_base64":"?","value":"c"}"#, "key_base64"),
            (r#"{"plugin":"chat","key":"a","value":"c","rows":1}"#, "it is no row"),
            (r#"{"plugin":"chat","room":"a","value":"c","expires_ms":1}"#, "no other row, has `expires_ms`"),
            (r#"{"plugin":"chat","key":"a","value":"c","due_ms":1}"#, "no other row, has `due_ms`"),
            (r#"{"plugin":"chat","topic":"t","schedule":"k","event":"e","value":"{}"}"#, "no `due_ms`"),
            (r#"{"plugin":"chat","topic":"t","schedule":"k","event":"e","due_ms":1,"value":"{"}"#, "its `value`"),
            (r#"{"format":"tar","version":1}"#, "its format is `tar`"),
            (r#"{"format":"bennu-store","version":3}"#, "reads the versions 1 to 2"),
        ] {
            let error = format!("{:#}", ExportLine::read(text.as_bytes()).unwrap_err());
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
