//! Each limit of docs/limits.md counts how often it is reached, or a reason says why not.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use bennu_tests::{TestHost, eventually};

use crate::documents;
use crate::metrics::scrape;

/// The rows without a count, by their beginnings, with the reason.
const UNCOUNTED: [(&str, &str); 41] = [
    ("`socket`", "its keys have counts"),
    ("`user`", "its keys have counts"),
    ("`address`", "its keys have counts"),
    ("`connects_burst`", "the rate counts"),
    ("`joins_burst`", "the rate counts"),
    ("`messages_burst`", "the rate counts"),
    ("`bytes_burst`", "the rate counts"),
    (
        "addresses of proxies",
        "only a client makes such a header, and it gains nothing: its address is then that of a proxy",
    ),
    ("the content of a long-poll response", "what doesn't fit is in the next response"),
    ("topics, members or people in one answer", "a page of an answer"),
    ("a static file whose", "it is served all the same"),
    ("time to write the log", "nothing is scraped after the end"),
    ("the time in which queued turns", "this process ends, or serves the turns after all"),
    ("the time for which rooms", "it lengthens the times of rooms and seats, whose ends are ordinary"),
    ("rooms and seats that are kept", "all are kept"),
    ("schedules and cron lines that run", "the others run as soon as one has ended"),
    ("the time that a member waits", "the message was handled, and the client has given up long before"),
    ("deliveries that are sent at the same time", "the others are sent as soon as one has ended"),
    ("the delay before a delivery is sent again", "each failed attempt counts"),
    ("names that are looked up at once", "a lookup that takes too long is a failure of its request, which counts"),
    ("connections that wait for a next request", "the next request makes a new connection"),
    ("a room without members", "that is the usual end of a room"),
    ("result of one scan of entries", "a page of an answer"),
    ("entries that one delete-range", "a page of the work"),
    ("texts of the same change", "a further member gets the state instead of the change"),
    ("seats that a call changes", "the last one counts, as for a variable that is set twice"),
    ("changes of one seat", "the handler is told the last ones, and the state of the seat is right"),
    ("members that have ended", "a client ignores what it sees again"),
    ("compiled functions", "a cache"),
    ("compiled components", "a cache"),
    ("threads that compile", "a share of the machine"),
    ("components that are read", "a queue of the start, and of operators"),
    ("plugins without a file", "a cache of records"),
    ("saved states of durable rooms", "all are kept until the probation ends"),
    ("delay before the result of a probation", "the failures of the store count"),
    ("result of one scan of the store", "a page of an answer"),
    ("a commit that goes", "it is stored all the same"),
    ("delay before a store", "each write meanwhile is a fault, which counts"),
    ("a key in a [store on PostgreSQL]", "no host runs"),
    ("the name of a [store's schema]", "no host runs"),
    ("unreadable lists", "no host runs"),
];

/// How the rows of a table of the document name their counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Table {
    /// By their keys.
    ByKey,
    /// In a column.
    InColumn,
    /// `GET /api/cluster` has the counts of the messages between nodes, and the bus of a cluster has no count yet.
    OfCluster,
    /// It isn't about limits.
    Other,
}

impl Table {
    /// The kind of a table with this head, after this line of text.
    fn of(head: &[&str], before: &str) -> Self {
        match (head.first().copied(), head.last().copied()) {
            (Some("key" | "what"), Some("counted as")) => Self::InColumn,
            (Some("key"), _) => Self::ByKey,
            (Some("what"), _) if before.contains("[cluster]") => Self::OfCluster,
            _ => Self::Other,
        }
    }
}

/// A row about a limit: its first cell, and the names of its counts.
struct Row<'a> {
    what: &'a str,
    counts: Vec<&'a str>,
}

/// The rows of all tables about limits. A row whose first cell is empty goes on with the one before.
fn rows(document: &str) -> Result<Vec<Row<'_>>> {
    let (mut rows, mut table, mut before) = (Vec::new(), None, "");
    for line in document.lines() {
        if !line.starts_with('|') {
            table = None;
            before = if line.is_empty() { before } else { line };
            continue;
        }
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let Some(kind) = table else {
            let kind = Table::of(&cells, before);
            ensure!(
                kind != Table::Other || cells[0] != "what",
                "no column says what counts the limits after: {before}"
            );
            table = Some(kind);
            continue;
        };
        let is_row = !cells[0].starts_with("---");
        let counts = match kind {
            Table::ByKey if is_row && !cells[0].is_empty() => vec![cells[0].trim_matches('`')],
            Table::InColumn if is_row => {
                cells.last().copied().unwrap_or_default().split('`').skip(1).step_by(2).collect()
            }
            _ => continue,
        };
        rows.push(Row { what: cells[0], counts });
    }
    Ok(rows)
}

/// Stops a host whose limits were reached, and checks that each of them was counted.
pub(crate) async fn stop_after_hits(host: TestHost, limits: &[&str]) -> Result<()> {
    are_counted(&host, limits).await?;
    host.stop().await?;
    Ok(())
}

/// Waits until each of these limits was counted: some are counted after the client has its answer.
pub(crate) async fn are_counted(host: &TestHost, limits: &[&str]) -> Result<()> {
    for limit in limits {
        eventually(&format!("`{limit}` is counted"), async || {
            let hits = scrape(host).await?.sum("bennu_limit_hits_total", &[("limit", limit)]);
            Ok((hits >= 1.0).then_some(()))
        })
        .await?;
    }
    Ok(())
}

/// Every limit of docs/limits.md has a count in a scrape, and every count of a limit is in the document.
#[tokio::test]
async fn every_limit_has_a_count() -> Result<()> {
    let host = TestHost::start(&["echo"]).await?;
    let scrape = scrape(&host).await?;
    host.stop().await?;
    let counted = scrape.labels("bennu_limit_hits_total", "limit");
    let (mut documented, mut findings, mut excused) = (BTreeSet::new(), Vec::new(), BTreeSet::new());
    let document = documents::read("limits.md")?;
    for Row { what, counts } in rows(&document)? {
        let excuse = UNCOUNTED.iter().map(|(row, _)| *row).find(|row| what.starts_with(row));
        excused.extend(excuse);
        // The tables in the table of keys are rows of keys whose own rows count.
        let counts = if excuse.is_some() && what.starts_with('`') { Vec::new() } else { counts };
        if counts.is_empty() != excuse.is_some() {
            findings
                .push(format!("the row `{what}` must name its count, or have a reason why it has none, but not both"));
        }
        for name in counts {
            if !counted.contains(name) && !scrape.types.contains_key(name) {
                findings.push(format!("nothing counts `{name}` of the row `{what}`"));
            }
            documented.insert(name.to_owned());
        }
    }
    findings.extend(counted.difference(&documented).map(|name| format!("`{name}` isn't in docs/limits.md")));
    let gone = UNCOUNTED.iter().filter(|(row, why)| !excused.contains(row) || why.is_empty());
    findings.extend(gone.map(|(row, _)| format!("no row begins with `{row}`, or it has no reason")));
    ensure!(findings.is_empty() && documented.len() > 90, "{}", findings.join("\n"));
    Ok(())
}
