//! The rows of the registry, as the database shows them: JSON.
//!
//! Whoever may write to the database can write any row, and a later version of bennu may write rows that this one can't read. So what is
//! read is bounded, and a record or a report that can't be read is told apart from the others, which are read.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::node::Epoch;
use crate::rollout::{
    LivingNode, NodeReport, PLUGINS_MAX, PluginRecord, Records, RegistryError, Report, UnreadableRow,
};

/// The most records that are read. A cluster has at most [`PLUGINS_MAX`], and there may be others that can't be read.
const RECORDS_MAX: usize = 2 * PLUGINS_MAX;

/// The most living nodes that are read. A node sends to at most 1,024 others.
const NODES_MAX: usize = 4_096;

/// The most reports that are read: those of living nodes, and of the last 100 dead ones, about each plugin.
const REPORTS_MAX: usize = 65_536;

/// The most bytes of a record as text, and of all together. The largest ones have the patterns of three builds, and why rollouts were
/// refused.
const RECORD_BYTES_MAX: usize = 1 << 20;
const RECORDS_BYTES_MAX: usize = 64 << 20;

/// The most bytes of a report as text, and of all together.
const REPORT_BYTES_MAX: usize = 256 << 10;
const REPORTS_BYTES_MAX: usize = 64 << 20;

/// The most characters of a plugin's name, which is the name of a file.
const NAME_CHARS_MAX: usize = 255;

/// The most reports that can't be read and are told.
const UNREAD_REPORTS_MAX: usize = 16;

/// The most characters of why a row can't be read. Whoever has written the row chooses some of them.
const WHY_CHARS_MAX: usize = 200;

/// Why a row has no value, after which an operator looks.
const TOO_LARGE: &str = "it is too large";

/// A record. None if it is too large, or JSON's null.
#[derive(Deserialize)]
struct RecordRow {
    name: String,
    record: Option<Box<RawValue>>,
    #[serde(default)]
    is_too_large: bool,
}

/// A living node.
#[derive(Deserialize)]
struct NodeText {
    epoch: i64,
    name: String,
}

/// A report. None if it is too large, or JSON's null.
#[derive(Deserialize)]
struct ReportRow {
    plugin: String,
    epoch: i64,
    report: Option<Box<RawValue>>,
    #[serde(default)]
    is_too_large: bool,
}

/// The records that can be read, and why others can't be, both by plugin.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct RecordsRead {
    pub(super) records: Records,
    pub(super) unread: BTreeMap<String, String>,
}

/// The reports that can be read, and those that can't be.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ReportsRead {
    pub(super) reports: Vec<NodeReport>,
    /// At most [`UNREAD_REPORTS_MAX`] of them.
    pub(super) unread: Vec<UnreadableRow>,
    /// How many there are. Those above [`REPORTS_MAX`] count as one: the statement shows only one of them.
    pub(super) unread_count: usize,
}

/// The statement that reads everything but the bytes at one moment. Its parameter is a known revision, of which the records are left out.
/// The columns are the revision, and JSON for [`records`], [`nodes`] and [`reports`].
pub(super) fn statement() -> String {
    let cut = NAME_CHARS_MAX + 1;
    let records = bounded(
        "plugin",
        &format!("jsonb_build_object('name', left(name, {cut}), 'record', content, 'is_too_large', is_too_large)"),
        ("name", "record"),
        (RECORDS_MAX, RECORD_BYTES_MAX, RECORDS_BYTES_MAX),
    );
    let reports = bounded(
        "plugin_report",
        &format!(
            "jsonb_build_object('plugin', left(plugin, {cut}), 'epoch', epoch, 'report', content, 'is_too_large', is_too_large)"
        ),
        ("plugin, epoch", "report"),
        (REPORTS_MAX, REPORT_BYTES_MAX, REPORTS_BYTES_MAX),
    );
    let nodes_max = NODES_MAX + 1;
    // The list of nodes leaves a row without an incarnation out. So nobody would ever declare it dead, and each rollout would wait for it.
    format!(
        "SELECT registry.revision, CASE WHEN registry.revision IS DISTINCT FROM $1 THEN {records} END, \
         (SELECT coalesce(jsonb_agg(jsonb_build_object('epoch', epoch, 'name', left(name, {cut})) ORDER BY epoch), '[]')::text FROM ( \
             SELECT epoch, name FROM $SCHEMA.node WHERE NOT is_dead AND octet_length(incarnation) = 16 \
                 ORDER BY epoch LIMIT {nodes_max} \
         ) AS living), {reports} FROM $SCHEMA.registry"
    )
}

/// The rows of a table as JSON, at most one more than `rows`. A content of more than `bytes`, or with which all contents before have more
/// than `all_bytes`, is null and `is_too_large`.
fn bounded(
    table: &str,
    object: &str,
    (order, content): (&str, &str),
    (rows, bytes, all_bytes): (usize, usize, usize),
) -> String {
    let rows = rows + 1;
    format!(
        "(SELECT coalesce(jsonb_agg({object}), '[]')::text FROM ( \
             SELECT {order}, CASE WHEN fits THEN {content} END AS content, NOT fits AS is_too_large FROM ( \
                 SELECT {order}, {content}, \
                     size <= {bytes} AND sum(least(size, {bytes})) OVER (ORDER BY {order}) <= {all_bytes} AS fits FROM ( \
                     SELECT {order}, {content}, octet_length({content}::text) AS size FROM $SCHEMA.{table} ORDER BY {order} LIMIT {rows} \
                 ) AS sized \
             ) AS fitting \
         ) AS contents)"
    )
}

/// Reads the records.
///
/// # Errors
/// If there are too many: the rest would count as forgotten, and be unloaded.
pub(super) fn records(text: &str) -> Result<RecordsRead, RegistryError> {
    let rows: Vec<RecordRow> = parsed(text)?;
    not_too_many(rows.len(), RECORDS_MAX, "plugins")?;
    let mut read = RecordsRead::default();
    for RecordRow { name, record, is_too_large } in rows {
        match content::<PluginRecord>(&name, record.as_deref(), is_too_large) {
            Ok(record) => drop(read.records.insert(name, record)),
            Err(why) => drop(read.unread.insert(name, why)),
        }
    }
    Ok(read)
}

/// Reads the living nodes.
///
/// # Errors
/// If there are too many. All nodes have to prepare a build before it serves, so none may be left out.
pub(super) fn nodes(text: &str) -> Result<Vec<LivingNode>, RegistryError> {
    let rows: Vec<NodeText> = parsed(text)?;
    not_too_many(rows.len(), NODES_MAX, "living nodes")?;
    let node = |NodeText { epoch, name }| LivingNode { epoch: Epoch(epoch.cast_unsigned()), name };
    Ok(rows.into_iter().map(node).collect())
}

/// Reads the reports. One that can't be read is left out, and so are those above [`REPORTS_MAX`]. So its node counts as not ready, for
/// which a rollout waits until it is refused; and of a probation, the calls and faults of that node are missing until it reports again.
///
/// # Errors
/// If the text isn't a list of reports.
pub(super) fn reports(text: &str) -> Result<ReportsRead, RegistryError> {
    let mut rows: Vec<ReportRow> = parsed(text)?;
    let mut read = ReportsRead::default();
    if rows.len() > REPORTS_MAX {
        rows.truncate(REPORTS_MAX);
        let why = format!("there are more than {REPORTS_MAX} reports; the others are left out");
        read.leave_out(|| "the table of reports".to_owned(), why);
    }
    for ReportRow { plugin, epoch, report, is_too_large } in rows {
        let epoch = Epoch(epoch.cast_unsigned());
        match content::<Report>(&plugin, report.as_deref(), is_too_large) {
            Ok(report) => read.reports.push(NodeReport { plugin, epoch, report }),
            Err(why) => read.leave_out(
                || format!("the report of the node with the epoch {epoch} about the plugin {plugin:?}"),
                why,
            ),
        }
    }
    Ok(read)
}

impl ReportsRead {
    /// Counts a report that can't be read, and tells it if few were told before.
    fn leave_out(&mut self, row: impl FnOnce() -> String, why: String) {
        self.unread_count += 1;
        if self.unread.len() < UNREAD_REPORTS_MAX {
            self.unread.push(UnreadableRow { row: row(), why });
        }
    }
}

/// The content of a row about a plugin, or why it can't be read.
fn content<T: DeserializeOwned>(plugin: &str, content: Option<&RawValue>, is_too_large: bool) -> Result<T, String> {
    if plugin.chars().count() > NAME_CHARS_MAX {
        return Err(format!("its name has more than {NAME_CHARS_MAX} characters"));
    }
    if is_too_large {
        return Err(TOO_LARGE.to_owned());
    }
    // serde would read a list as the fields in their order, and an empty one as the defaults.
    let object = content.map(RawValue::get).filter(|content| content.starts_with('{'));
    let object = object.ok_or_else(|| "it isn't an object".to_owned())?;
    serde_json::from_str(object).map_err(|error| harmless(&error.to_string()))
}

/// The beginning of a sentence that quotes what somebody has written. Nothing in it begins another line of a log.
fn harmless(why: &str) -> String {
    let mut shown = String::new();
    for character in why.chars().take(WHY_CHARS_MAX) {
        match character {
            '"' | '\'' => shown.push(character),
            _ => shown.extend(character.escape_debug()),
        }
    }
    shown
}

fn not_too_many(found: usize, most: usize, what: &str) -> Result<(), RegistryError> {
    let refused = || RegistryError::Refused(format!("the registry has more than {most} {what}, which no cluster has"));
    (found <= most).then_some(()).ok_or_else(refused)
}

/// Reads what the statement makes itself.
fn parsed<T: DeserializeOwned>(text: &str) -> Result<T, RegistryError> {
    let unread = |error| RegistryError::Refused(format!("the registry can't be read: {error}"));
    serde_json::from_str(text).map_err(unread)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn record(last: u32) -> Value {
        let record = PluginRecord { last, ..PluginRecord::default() };
        json!({ "name": format!("p{last}"), "record": record, "is_too_large": false })
    }

    #[test]
    fn a_record_that_can_not_be_read_hides_no_other_one() {
        let odd = [
            json!({ "name": "null", "record": null }),
            json!({ "name": "list", "record": [] }),
            json!({ "name": "text", "record": { "last": "one" } }),
            json!({ "name": "later", "record": { "serving": { "build": {} } } }),
            json!({ "name": "x".repeat(NAME_CHARS_MAX + 1), "record": {} }),
            json!({ "name": "large", "record": null, "is_too_large": true }),
        ];
        let text = json!([record(1), odd[0], odd[1], odd[2], record(2), odd[3], odd[4], odd[5]]).to_string();
        let RecordsRead { records, unread } = records(&text).expect("a list");
        assert_eq!(
            records.iter().map(|(name, record)| (&**name, record.last)).collect::<Vec<_>>(),
            [("p1", 1), ("p2", 2)]
        );
        let names = unread.keys().map(String::as_str).collect::<Vec<_>>();
        assert_eq!(names[..5], ["large", "later", "list", "null", "text"]);
        assert_eq!((&*unread["null"], &*unread["large"], unread.len()), ("it isn't an object", TOO_LARGE, 6));
    }

    /// What somebody has written is part of why it can't be read, and of a line of the log.
    #[test]
    fn why_a_row_can_not_be_read_is_short_and_begins_no_line() {
        let result = json!({ format!("a\nERROR \u{2028}\"{}", "x".repeat(100_000)): "" });
        let report = json!({ "prepared": { "number": 1, "result": result } });
        let rows = json!([{ "plugin": "chat", "epoch": 1, "report": report }]);
        let ReportsRead { unread, .. } = reports(&rows.to_string()).expect("a list");
        let why = &unread[0].why;
        assert!(why.contains("a\\nERROR \\u{2028}\"xxx"), "{why}");
        assert!(why.len() < 2 * WHY_CHARS_MAX && !why.contains('\n'), "{why}");
    }

    #[test]
    fn a_list_of_records_or_nodes_that_is_too_long_is_refused_as_a_whole() {
        let some: Vec<Value> = (0..=RECORDS_MAX).map(|at| record(u32::try_from(at).unwrap_or_default())).collect();
        assert!(records(&json!(some).to_string()).is_err());
        assert!(records(&json!(some[1..]).to_string()).is_ok());
        let some: Vec<Value> = (0..=NODES_MAX).map(|at| json!({ "epoch": at, "name": "n" })).collect();
        assert!(nodes(&json!(some).to_string()).is_err());
        assert_eq!(nodes(&json!(some[1..]).to_string()).map(|nodes| nodes.len()), Ok(NODES_MAX));
        assert!(records("{}").is_err() && nodes("").is_err() && reports("[1]").is_err());
    }

    #[test]
    fn a_report_that_can_not_be_read_hides_no_other_one() {
        let good = json!({ "plugin": "chat", "epoch": -1, "report": { "serving": 3, "calls": 7 } });
        let odd = json!({ "plugin": "chat", "epoch": 2, "report": { "calls": -7 } });
        let mut rows = vec![odd.clone(), good];
        rows.extend(std::iter::repeat_n(odd, 2 * UNREAD_REPORTS_MAX));
        let ReportsRead { reports: read, unread, unread_count } = reports(&json!(rows).to_string()).expect("a list");
        let report = Report { serving: Some(3), calls: 7, ..Report::default() };
        assert_eq!(read, [NodeReport { plugin: "chat".to_owned(), epoch: Epoch(u64::MAX), report }]);
        assert_eq!((unread.len(), unread_count), (UNREAD_REPORTS_MAX, 1 + 2 * UNREAD_REPORTS_MAX));
        assert_eq!(unread[0].row, "the report of the node with the epoch 2 about the plugin \"chat\"");
    }

    #[test]
    fn reports_above_the_limit_are_left_out_and_told() {
        let row = |epoch: usize| json!({ "plugin": "chat", "epoch": epoch, "report": {} });
        let rows: Vec<Value> = (0..=REPORTS_MAX).map(row).collect();
        let ReportsRead { reports: read, unread, unread_count } = reports(&json!(rows).to_string()).expect("a list");
        assert_eq!((read.len(), unread.len(), unread_count), (REPORTS_MAX, 1, 1));
        assert!(unread[0].why.contains("more than 65536 reports"), "{unread:?}");
        let ReportsRead { reports: read, unread, unread_count } =
            reports(&json!(rows[1..]).to_string()).expect("a list");
        assert_eq!((read.len(), unread.len(), unread_count), (REPORTS_MAX, 0, 0));
    }

    #[test]
    fn the_statement_names_the_schema_at_each_table() {
        let text = statement();
        assert_eq!(text.matches("FROM $SCHEMA.").count(), 4, "{text}");
        assert!(!text.contains('{'), "{text}");
    }
}
