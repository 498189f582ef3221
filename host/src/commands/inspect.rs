//! `bennu inspect`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use bennu::terminal::shown;
use clap::Args;
use serde_json::Value;

use super::ask::Ask;
use super::plugins;

/// Show the state of a host: plugins, sockets, channels, topics.
#[derive(Args)]
pub(super) struct Inspect {
    #[command(flatten)]
    ask: Ask,

    /// Print everything as JSON
    #[arg(long)]
    json: bool,
}

/// The maximum number of topics in the summary. `--json` prints more.
const TOPICS_SHOWN: usize = 20;

/// The maximum number of rooms in the summary. `--json` prints more.
const ROOMS_SHOWN: usize = 5;

impl Inspect {
    pub(super) fn run(self) -> Result<()> {
        let found = self.ask.get("/api/inspect")?;
        if self.json {
            out_line!("{}", shown::pretty(&found)?);
        } else {
            show(&found);
        }
        Ok(())
    }
}

fn show(found: &Value) {
    let number = |key: &str| found[key].as_u64().unwrap_or_default();
    let version = shown::name(found["version"].as_str().unwrap_or_default());
    out_line!("bennu {version}, up {}", duration(Duration::from_millis(number("uptime_ms"))));
    let (sockets, channels) = (number("sockets"), number("channels"));
    out_line!("{sockets} sockets, {channels} channels, {} topics, {} faults", number("topic_count"), number("faults"));
    if let Some(failure) = found["failure"].as_str() {
        out_line!("{}", shown::name(failure));
    }
    if number("log_lines_lost") > 0 {
        out_line!("{} lines of the log were lost because they could not be written in time", number("log_lines_lost"));
    }
    show_store(&found["store"]);
    for (what, key) in [("refused", "refused"), ("closed", "closed"), ("droppable messages", "droppable")] {
        show_counts(what, &found[key]);
    }
    show_counts("limits of users and addresses", &found["limited"]["counts"]);
    found["limited"]["now"].as_array().into_iter().flatten().for_each(show_limited);
    show_counts("requests by HTTP that failed", &found["http"]["failed"]);
    show_compression(&found["compression"]);
    show_history(&found["history"]);
    for (name, plugin) in found["plugins"].as_object().into_iter().flatten() {
        plugins::show(name, plugin);
    }
    let topics = found["topics"].as_array().map_or(&[][..], Vec::as_slice);
    for topic in topics.iter().take(TOPICS_SHOWN) {
        out_line!("topic {}: {} members", shown::name(topic["topic"].as_str().unwrap_or_default()), topic["members"]);
    }
    if topics.len() > TOPICS_SHOWN {
        out_line!("… and more; --json shows up to 1,000 topics");
    }
    let rooms = found["largest_rooms"].as_array().map_or(&[][..], Vec::as_slice);
    rooms.iter().take(ROOMS_SHOWN).for_each(show_room);
}

/// Prints who is refused now.
fn show_limited(limited: &Value) {
    let text = |key: &str| shown::name(limited[key].as_str().unwrap_or_default());
    let plugin = limited["plugin"].as_str().filter(|plugin| limited["who"] != *plugin);
    let plugin = plugin.map(|plugin| format!(" by {}", shown::name(plugin))).unwrap_or_default();
    let rest = match limited["rest_ms"].as_u64().unwrap_or_default() {
        0 => String::new(),
        ms => format!(", for {} more", duration(Duration::from_millis(ms))),
    };
    out_line!("limited: {} {}{plugin}, because of {}{rest}", text("by"), text("who"), text("limit"));
}

/// Prints the sizes of a room. A host of an earlier version has no list of rooms.
fn show_room(room: &Value) {
    let (topic, kind) = (room["topic"].as_str().unwrap_or_default(), room["room"].as_str().unwrap_or_default());
    let entries = match (room["entries"].as_u64(), room["entries_bytes"].as_u64()) {
        (Some(0), _) => String::new(),
        (Some(entries), Some(bytes)) => format!(", {entries} entries with {bytes} bytes"),
        _ => ", entries that aren't counted yet".to_owned(),
    };
    let rollback = match room["rollback"].as_str() {
        Some("possible") => "; a rollback of its build restores it",
        Some("given up") => "; a rollback of its build leaves it as it is, because too much was changed",
        _ => "",
    };
    out_line!("{} room {}: {} bytes{entries}{rollback}", shown::name(kind), shown::name(topic), room["room_bytes"]);
}

/// Prints problems of the store that an operator should solve.
fn show_store(store: &Value) {
    if let Some(since_ms) = store["trouble"]["since_ms"].as_u64() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let lasted = Duration::from_secs(now.as_secs().saturating_sub(since_ms / 1000));
        let reason = shown::name(store["trouble"]["reason"].as_str().unwrap_or_default());
        out_line!("the store has failed, {} ago: {reason}", duration(lasted));
    }
    for data in store["unclaimed"].as_array().into_iter().flatten() {
        let name = shown::name(data["store"].as_str().unwrap_or_default());
        out_line!("stored data belongs to no plugin: `{name}` ({} bytes)", data["bytes"]);
    }
}

/// Prints how many broadcasts are kept for clients that join again, if a topic has a history. A host of an earlier version
/// has no such counts.
fn show_history(found: &Value) {
    let number = |key: &str| found[key].as_u64().unwrap_or_default();
    if number("topics") > 0 || number("recovered") + number("missed") > 0 {
        let (topics, broadcasts, bytes) = (number("topics"), number("broadcasts"), number("bytes"));
        let (recovered, missed) = (number("recovered"), number("missed"));
        out_line!(
            "history: {topics} topics, {broadcasts} broadcasts, {bytes} bytes; {recovered} recovered, {missed} missed"
        );
    }
}

/// Prints how much messages were compressed, if any were.
fn show_compression(found: &Value) {
    let number = |key: &str| found[key].as_u64().unwrap_or_default();
    if number("messages") > 0 {
        let (messages, before, after) = (number("messages"), number("bytes_before"), number("bytes_after"));
        let saved = number("bytes_saved");
        out_line!("compressed: {messages} messages, {before} to {after} bytes; {saved} bytes fewer were sent");
    }
    if number("inflated") > 0 {
        let (before, after) = (number("inflated_bytes_before"), number("inflated_bytes_after"));
        out_line!("inflated: {} messages of clients, {before} to {after} bytes", number("inflated"));
    }
}

/// Formats a duration in its two largest units, and a duration below 10 s in tenths of a second.
fn duration(time: Duration) -> String {
    let (seconds, minutes, hours) = (time.as_secs(), time.as_secs() / 60, time.as_secs() / 3600);
    match (hours / 24, hours, minutes) {
        (0, 0, 0) if seconds < 10 => format!("{}.{}s", seconds, time.subsec_millis() / 100),
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, minutes) => format!("{minutes}m {}s", seconds % 60),
        (0, hours, _) => format!("{hours}h {}m", minutes % 60),
        (days, ..) => format!("{days}d {}h", hours % 24),
    }
}

/// Prints the counts that aren't zero, on one line after `what`.
fn show_counts(what: &str, counts: &Value) {
    let counts = counts.as_object().into_iter().flatten();
    let some: Vec<String> = counts
        .filter(|(_, count)| count.as_u64().is_some_and(|count| count > 0))
        .map(|(reason, count)| format!("{reason} {count}"))
        .collect();
    if !some.is_empty() {
        out_line!("{what}: {}", some.join(", "));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_its_two_largest_units() {
        let cases = [
            (0, "0.0s"),
            (40, "0.0s"),
            (450, "0.4s"),
            (9_999, "9.9s"),
            (10_000, "10s"),
            (60_000, "1m 0s"),
            (3_599_000, "59m 59s"),
            (3_660_000, "1h 1m"),
            (90_000_000, "1d 1h"),
        ];
        for (ms, expected) in cases {
            assert_eq!(duration(Duration::from_millis(ms)), expected);
        }
    }
}
