//! `bennu inspect`.

use std::time::Duration;

use anyhow::Result;
use clap::Args;
use serde_json::Value;

use super::ask::Ask;
use super::plugins;

/// Show what runs on a host: plugins, sockets, channels, topics.
#[derive(Args)]
pub(super) struct Inspect {
    #[command(flatten)]
    ask: Ask,

    /// Print all of it as JSON
    #[arg(long)]
    json: bool,
}

/// Topics in the summary; `--json` has more.
const TOPICS_SHOWN: usize = 20;

impl Inspect {
    pub(super) fn run(self) -> Result<()> {
        let found = self.ask.get("/api/inspect")?;
        if self.json {
            println!("{}", serde_json::to_string_pretty(&found)?);
        } else {
            show(&found);
        }
        Ok(())
    }
}

fn show(found: &Value) {
    let number = |key: &str| found[key].as_u64().unwrap_or_default();
    let uptime = Duration::from_secs(number("uptime_ms") / 1000);
    println!("bennu {}, up {uptime:?}", found["version"].as_str().unwrap_or_default());
    let (sockets, channels) = (number("sockets"), number("channels"));
    println!("{sockets} sockets, {channels} channels, {} topics, {} faults", number("topic_count"), number("faults"));
    for what in ["refused", "closed"] {
        show_counts(what, &found[what]);
    }
    for (name, plugin) in found["plugins"].as_object().into_iter().flatten() {
        plugins::show(name, plugin);
    }
    let topics = found["topics"].as_array().map_or(&[][..], Vec::as_slice);
    for topic in topics.iter().take(TOPICS_SHOWN) {
        println!("topic {}: {} members", topic["topic"].as_str().unwrap_or_default(), topic["members"]);
    }
    if topics.len() > TOPICS_SHOWN {
        println!("… and more; --json shows up to a thousand");
    }
}

/// The reasons for which there was somebody at all.
fn show_counts(what: &str, counts: &Value) {
    let counts = counts.as_object().into_iter().flatten();
    let some: Vec<String> = counts
        .filter(|(_, count)| count.as_u64().is_some_and(|count| count > 0))
        .map(|(reason, count)| format!("{reason} {count}"))
        .collect();
    if !some.is_empty() {
        println!("{what}: {}", some.join(", "));
    }
}
