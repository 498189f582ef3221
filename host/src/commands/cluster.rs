//! `bennu cluster`.

use std::time::Duration;

use anyhow::Result;
use bennu::terminal::shown;
use clap::Args;
use serde_json::Value;

use super::ask::Ask;

/// Show the nodes of a cluster as one of them knows them: who is alive, how long ago it was heard, what was lost, and the plugins that they
/// serve and prepare.
#[derive(Args)]
pub(super) struct Cluster {
    #[command(flatten)]
    ask: Ask,

    /// Print everything as JSON
    #[arg(long)]
    json: bool,
}

impl Cluster {
    pub(super) fn run(self) -> Result<()> {
        let found = self.ask.get("/api/cluster")?;
        if self.json {
            out_line!("{}", shown::pretty(&found)?);
        } else {
            lines(&found).iter().for_each(|line| out_line!("{line}"));
        }
        Ok(())
    }
}

/// The smallest difference of clocks that is shown, in milliseconds.
const CLOCK_SAID_MS: u64 = 5_000;

/// The lines about a cluster.
fn lines(found: &Value) -> Vec<String> {
    let mut lines = vec![lease(found)];
    let ahead = found["clock_ahead_ms"].as_i64().unwrap_or_default();
    if ahead.unsigned_abs() >= CLOCK_SAID_MS {
        let which = if ahead > 0 { "ahead of" } else { "behind" };
        lines.push(format!("its clock is {} {which} the database's", seconds(ahead.unsigned_abs())));
    }
    let nodes = found["nodes"].as_array().map_or(&[][..], Vec::as_slice);
    let widest = |key: &str| nodes.iter().map(|node| text(&node[key]).chars().count()).max().unwrap_or_default();
    let widths = (widest("name"), widest("version"));
    lines.extend(nodes.iter().map(|node| line(node, widths)));
    lines.extend(found["plugins"].as_object().into_iter().flatten().flat_map(|(name, cluster)| plugin(name, cluster)));
    let (sent, heard) = (&found["link"]["sent"], &found["link"]["heard"]);
    lines.push(format!(
        "messages: {} sent, {} heard; flushes sent again: {}",
        number(&sent["messages"]),
        number(&heard["messages"]),
        number(&sent["repeats"])
    ));
    let (losses, rejoined) = (number(&found["counts"]["losses"]), number(&found["counts"]["members_rejoined"]));
    if losses > 0 {
        lines.push(format!("messages were lost {losses} times, and {rejoined} members were told to join again"));
    }
    let dropped = number(&found["counts"]["messages_dropped"]);
    if dropped > 0 {
        lines.push(format!("{dropped} messages weren't sent, because too many waited or they were too large"));
    }
    lines.extend(database(found));
    let split = number(&found["split_topics"]);
    if split > 0 {
        lines.push(format!(
            "{split} sticky topics have members at this node and at others; the log names them (topics_split)"
        ));
    }
    lines
}

/// The lines about the database.
fn database(found: &Value) -> Vec<String> {
    let ids = found["transaction_ids_per_day"].as_u64();
    let mut lines: Vec<String> =
        ids.map(|ids| format!("ids of transactions of the database server: {ids} a day")).into_iter().collect();
    let unreadable = number(&found["counts"]["rows_unreadable"]) + number(&found["link"]["table"]["rows_unreadable"]);
    if unreadable > 0 {
        lines.push(format!(
            "rows of the database that this node can't read were left out {unreadable} times; the log names them"
        ));
    }
    lines
}

/// What the asked node says about its own lease.
fn lease(found: &Value) -> String {
    let (node, lease) = (text(&found["node"]), &found["lease"]);
    let ago = lease["renewed_ms_ago"].as_u64().map(|ms| format!("renewed {} ago", seconds(ms)));
    let ago = ago.unwrap_or_else(|| "over".into());
    let state = if found["is_good"] == true { "" } else { ", so it is suspended" };
    let why = lease["failure"].as_str().map(|why| format!(": {}", shown::name(why))).unwrap_or_default();
    format!("node {node}: lease of {} {ago}{state}{why}", seconds(number(&lease["length_ms"])))
}

/// A line about a node.
fn line(node: &Value, (name, version): (usize, usize)) -> String {
    let state = match (text(&node["state"]).as_str(), node["is_draining"] == true) {
        ("own" | "up", true) => "stopping".to_owned(),
        (state, _) => state.to_owned(),
    };
    let mut line = format!("{:name$}  {:version$}  {state:8}", text(&node["name"]), text(&node["version"]));
    if node["state"] != "own" && node["state"] != "dead" {
        match node["heard_ms_ago"].as_u64() {
            Some(ms) => line += &format!("  heard {} ago", seconds(ms)),
            None => line += "  never heard",
        }
        if let Some(ms) = node["beat_ms_ago"].as_u64() {
            line += &format!("  lease renewed {} ago", seconds(ms));
        }
    }
    for (key, what) in [("behind", "flushes behind"), ("gaps", "gaps"), ("losses", "losses")] {
        let count = number(&node[key]);
        if count > 0 {
            line += &format!("  {count} {what}");
        }
    }
    line.trim_end().to_owned()
}

/// The lines about a plugin: what serves, what is prepared, and what a node can't load.
fn plugin(name: &str, cluster: &Value) -> Vec<String> {
    let nodes = || cluster["nodes"].as_array().into_iter().flatten();
    let names = |is_prepared: bool| -> Vec<String> {
        nodes().filter(|node| node["is_prepared"] == is_prepared).map(|node| text(&node["node"])).collect()
    };
    let mut lines = vec![format!("plugin {}: {}", shown::name(name), serving(&cluster["serving"]))];
    let rollout = &cluster["rollout"];
    if rollout.is_object() {
        let said = |names: Vec<String>, what| (!names.is_empty()).then(|| format!("{what} {}", names.join(", ")));
        let [ready, missing] = [said(names(true), "ready at"), said(names(false), "awaited from")];
        let nodes: Vec<String> = ready.into_iter().chain(missing).collect();
        let (number, by) = (number(&rollout["number"]), text(&rollout["by"]));
        lines.push(format!("  rollout {number}, begun at {by}: {}", nodes.join("; ")));
    }
    let troubles = nodes().filter_map(|node| Some((node, node["trouble"].as_str()?)));
    lines.extend(troubles.map(|(node, why)| format!("  not served at {}: {}", text(&node["node"]), shown::name(why))));
    if let Some(why) = cluster["last_refusal"].as_str() {
        lines.push(format!("  the last rollout was refused: {}", shown::name(why)));
    }
    lines
}

/// The build that serves in the cluster.
fn serving(serving: &Value) -> String {
    let Some(generation) = serving["generation"].as_u64() else { return "not served".to_owned() };
    let probation = &serving["probation"];
    let phase = match serving["phase"].as_str() {
        Some("on-probation") => format!(
            ", on probation: {} of {} calls, {} of {} tolerated faults",
            number(&probation["calls"]),
            number(&probation["calls_needed"]),
            number(&probation["faults"]),
            number(&probation["faults_tolerated"])
        ),
        Some("unproved") => ", unproved".to_owned(),
        _ => String::new(),
    };
    format!("generation {generation}{phase}")
}

fn text(value: &Value) -> String {
    shown::name(value.as_str().unwrap_or_default())
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}

/// Milliseconds as seconds with one digit after the point.
fn seconds(milliseconds: u64) -> String {
    format!("{:.1} s", Duration::from_millis(milliseconds).as_secs_f64())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(name: &str, state: &str, heard_ms_ago: Option<u64>) -> Value {
        json!({
            "name": name, "epoch": 1, "version": "0.1.0", "state": state, "is_draining": false,
            "heard_ms_ago": heard_ms_ago, "beat_ms_ago": 1_400, "behind": 0, "gaps": 0, "losses": 0,
        })
    }

    fn cluster(nodes: &[Value]) -> Value {
        json!({
            "node": "one", "epoch": 1, "is_good": true, "nodes": nodes, "topics_elsewhere": 0,
            "lease": { "length_ms": 10_000, "renewed_ms_ago": 1_240, "failure": null },
            "counts": { "losses": 0, "members_rejoined": 0, "messages_dropped": 0 },
            "link": { "sent": { "messages": 12, "repeats": 0 }, "heard": { "messages": 34 } },
        })
    }

    #[test]
    fn each_node_has_a_line_with_its_state() {
        let mut stopping = node("three", "up", Some(90));
        stopping["is_draining"] = json!(true);
        stopping["gaps"] = json!(2);
        let nodes = [
            node("one", "own", None),
            stopping,
            node("two", "silent", Some(6_000)),
            node("four", "unheard", None),
            node("five", "dead", Some(1)),
        ];
        let expected = [
            "node one: lease of 10.0 s renewed 1.2 s ago",
            "one    0.1.0  own",
            "three  0.1.0  stopping  heard 0.1 s ago  lease renewed 1.4 s ago  2 gaps",
            "two    0.1.0  silent    heard 6.0 s ago  lease renewed 1.4 s ago",
            "four   0.1.0  unheard   never heard  lease renewed 1.4 s ago",
            "five   0.1.0  dead",
            "messages: 12 sent, 34 heard; flushes sent again: 0",
        ];
        assert_eq!(lines(&cluster(&nodes)), expected);
    }

    #[test]
    fn plugins_have_lines_with_what_serves_what_is_prepared_and_who_can_not_load_it() {
        let node = |name: &str, is_prepared: Value, trouble: Value| json!({ "node": name, "generation": 2, "is_prepared": is_prepared, "calls": 0, "faults": 0, "trouble": trouble });
        let mut found = cluster(&[]);
        found["clock_ahead_ms"] = json!(-61_000);
        found["plugins"] = json!({
            "chat": {
                "serving": { "generation": 2, "digest": "", "phase": "on-probation", "probation": {
                    "instead": 1, "calls": 12, "calls_needed": 100, "faults": 1, "faults_tolerated": 3, "length_ms": 1,
                } },
                "rollout": { "number": 3, "digest": "", "by": "two" },
                "last_refusal": null, "rejected": [],
                "nodes": [
                    node("one", json!(true), Value::Null),
                    node("two", json!(false), Value::Null),
                    node("three", json!(false), json!("no memory \u{1b}[2J")),
                ],
            },
            "gate": {
                "serving": { "generation": 1, "digest": "", "phase": null, "probation": null },
                "rollout": null, "last_refusal": "the node one can't load it: no", "rejected": [], "nodes": [],
            },
            "idle": { "serving": null, "rollout": null, "last_refusal": null, "rejected": [], "nodes": [] },
        });
        let expected = [
            "its clock is 61.0 s behind the database's",
            "plugin chat: generation 2, on probation: 12 of 100 calls, 1 of 3 tolerated faults",
            "  rollout 3, begun at two: ready at one; awaited from two, three",
            r"  not served at three: no memory \u{1b}[2J",
            "plugin gate: generation 1",
            "  the last rollout was refused: the node one can't load it: no",
            "plugin idle: not served",
        ];
        assert_eq!(lines(&found)[1..8], expected);
    }

    #[test]
    fn what_the_database_and_the_balancer_do_is_said() {
        let mut found = cluster(&[]);
        found["transaction_ids_per_day"] = json!(129_600);
        found["split_topics"] = json!(2);
        found["counts"]["rows_unreadable"] = json!(3);
        found["link"]["table"] = json!({ "rows_unreadable": 4 });
        let expected = [
            "ids of transactions of the database server: 129600 a day",
            "rows of the database that this node can't read were left out 7 times; the log names them",
            "2 sticky topics have members at this node and at others; the log names them (topics_split)",
        ];
        assert_eq!(lines(&found)[2..], expected);
    }

    #[test]
    fn a_suspended_node_and_losses_are_said() {
        let mut found = cluster(&[]);
        found["is_good"] = json!(false);
        found["lease"]["failure"] = json!("the table of nodes can't be reached: \u{1b}[2J");
        found["counts"] = json!({ "losses": 2, "members_rejoined": 7, "messages_dropped": 3 });
        let lines = lines(&found);
        assert_eq!(
            lines[0],
            r"node one: lease of 10.0 s renewed 1.2 s ago, so it is suspended: the table of nodes can't be reached: \u{1b}[2J"
        );
        assert_eq!(lines[2], "messages were lost 2 times, and 7 members were told to join again");
        assert_eq!(lines[3], "3 messages weren't sent, because too many waited or they were too large");
        found["lease"]["renewed_ms_ago"] = Value::Null;
        assert!(super::lines(&found)[0].contains("lease of 10.0 s over, so it is suspended"));
    }
}
