//! `bennu inspect`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

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
    show_store(&found["store"]);
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

/// What an operator should do something about.
fn show_store(store: &Value) {
    if let Some(since_ms) = store["trouble"]["since_ms"].as_u64() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let lasted = Duration::from_secs(now.as_secs().saturating_sub(since_ms / 1000));
        let reason = store["trouble"]["reason"].as_str().unwrap_or_default();
        println!("the store has failed, {lasted:?} ago: {}", reason.escape_debug());
    }
    for data in store["unclaimed"].as_array().into_iter().flatten() {
        let name = data["store"].as_str().unwrap_or_default();
        println!("no plugin's file stands for the data of `{}`: {} bytes", name.escape_debug(), data["bytes"]);
    }
}
