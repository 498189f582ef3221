//! The lines of an export: a first line with the format, one line for each row, and a last line with the number of rows.
//!
//! ```json
//! {"format":"bennu-store","version":1}
//! {"plugin":"chat","key":"user:7","value":"ann"}
//! {"plugin":"chat","key_base64":"/wA=","value_base64":"gIE="}
//! {"plugin":"chat","room":"room:lobby","value":"{\"open\":true}"}
//! {"plugin":"chat","room_before":"room:lobby","value_base64":"AQAA.."}
//! {"rows":4}
//! ```
//!
//! The first line may also have `"ids_ms"`: a time in milliseconds since 1970 that no id in the rows has reached.
//!
//! UTF-8 is written as text, and other bytes as base64. Each has its own field name, so that a reader can distinguish them,
//! and both can be written by hand.

use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::space::{Kind, Place};

const FORMAT: &str = "bennu-store";
const VERSION: u64 = 1;

/// A line of an export.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ExportLine {
    /// The first line: the format. It has the id mark, if there is one, so that ids that are drawn after an import sort
    /// after the imported ones.
    Head { ids_ms: Option<u64> },
    /// A key, a room or the former state of a room, with its value. A room's name is its topic.
    Row { plugin: String, kind: Kind, name: Bytes, value: Bytes },
    /// The last line: the number of rows.
    End { rows: u64 },
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Fields {
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<String>,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<u64>,
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
            Self::Head { ids_ms } => {
                (fields.format, fields.version, fields.ids_ms) = (Some(FORMAT.to_owned()), Some(VERSION), ids_ms);
            }
            Self::End { rows } => fields.rows = Some(rows),
            Self::Row { plugin, kind, name, value } => {
                fields.plugin = Some(plugin);
                (fields.value, fields.value_base64) = text_or_base64(&value);
                match kind {
                    Kind::Keys => (fields.key, fields.key_base64) = text_or_base64(&name),
                    Kind::Rooms => fields.room = Some(topic(name)?),
                    Kind::Formers => fields.room_before = Some(topic(name)?),
                }
            }
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
            Fields { rows: Some(rows), plugin: None, format: None, version: None, .. } => Ok(Self::End { rows }),
            Fields { format: Some(format), version, ids_ms, plugin: None, rows: None, .. } => {
                ensure!(format == FORMAT, "its format is `{format}`, not `{FORMAT}`");
                let version = version.context("it has no `version`")?;
                ensure!(version == VERSION, "its version is {version}, and this bennu reads version {VERSION}");
                Ok(Self::Head { ids_ms })
            }
            Fields {
                plugin: Some(plugin),
                format: None,
                version: None,
                ids_ms: None,
                rows: None,
                key,
                key_base64,
                room,
                room_before,
                value,
                value_base64,
            } => {
                let (kind, name) = match (key, key_base64, room, room_before) {
                    (Some(key), None, None, None) => (Kind::Keys, key.into()),
                    (None, Some(key), None, None) => (Kind::Keys, from_base64(&key).context("its `key_base64`")?),
                    (None, None, Some(room), None) => (Kind::Rooms, room.into()),
                    (None, None, None, Some(room)) => (Kind::Formers, room.into()),
                    _ => bail!("it needs one of `key`, `key_base64`, `room` and `room_before`"),
                };
                let value = match (value, value_base64) {
                    (Some(value), None) => value.into(),
                    (None, Some(value)) => from_base64(&value).context("its `value_base64`")?,
                    _ => bail!("it needs one of `value` and `value_base64`"),
                };
                Ok(Self::Row { plugin, kind, name, value })
            }
            _ => bail!("it is no row: it needs `plugin`, a key or a room, and a value"),
        }
    }
}

fn topic(name: Bytes) -> Result<String> {
    String::from_utf8(name.into()).context("a topic is no UTF-8 text")
}

fn text_or_base64(bytes: &Bytes) -> (Option<String>, Option<String>) {
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

    #[test]
    fn lines_are_read_as_they_were_written() {
        for (line, text) in [
            (ExportLine::Head { ids_ms: None }, r#"{"format":"bennu-store","version":1}"#),
            (ExportLine::Head { ids_ms: Some(7) }, r#"{"format":"bennu-store","version":1,"ids_ms":7}"#),
            (row(Kind::Keys, b"a\0", b""), r#"{"plugin":"chat","key":"a\u0000","value":""}"#),
            (row(Kind::Keys, b"\xff\0", b"\x80"), r#"{"plugin":"chat","key_base64":"/wA=","value_base64":"gA=="}"#),
            (row(Kind::Rooms, "röom".as_bytes(), b"{}"), r#"{"plugin":"chat","room":"röom","value":"{}"}"#),
            (
                row(Kind::Formers, b"room", b"\x01\xff"),
                r#"{"plugin":"chat","room_before":"room","value_base64":"Af8="}"#,
            ),
            (ExportLine::End { rows: 3 }, r#"{"rows":3}"#),
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
            (r#"{"plugin":"chat","key":"a","value":"c","value_base64":""}"#, "one of `value`"),
            (r#"{"plugin":"chat","room":"a","room_before":"b","value":"c"}"#, "one of `key`"),
            (r#"{"plugin":"chat","key":"a","key":"b","value":"c"}"#, "duplicate"),
            (r#"{"plugin":"chat","key":"a","value":"c","ttl":1}"#, "unknown field `ttl`"),
            (r#"{"plugin":"chat","key_base64":"?","value":"c"}"#, "key_base64"),
            (r#"{"plugin":"chat","key":"a","value":"c","rows":1}"#, "it is no row"),
            (r#"{"format":"tar","version":1}"#, "its format is `tar`"),
            (r#"{"format":"bennu-store","version":2}"#, "reads version 1"),
        ] {
            let error = format!("{:#}", ExportLine::read(text.as_bytes()).unwrap_err());
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
