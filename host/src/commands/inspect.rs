//! `bennu inspect`.

use std::time::Duration;

use anyhow::Result;
use clap::Args;
use serde_json::Value;

use super::ask::Ask;
use super::output::out_line;
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
            out_line!("{}", serde_json::to_string_pretty(&found)?);
        } else {
            show(&found);
        }
        Ok(())
    }
}

fn show(found: &Value) {
    let number = |key: &str| found[key].as_u64().unwrap_or_default();
    let uptime = Duration::from_secs(number("uptime_ms") / 1000);
    out_line!("bennu {}, up {uptime:?}", found["version"].as_str().unwrap_or_default());
    let (sockets, channels) = (number("sockets"), number("channels"));
    out_line!("{sockets} sockets, {channels} channels, {} topics, {} faults", number("topic_count"), number("faults"));
    if let Some(failure) = found["failure"].as_str() {
        out_line!("{failure}");
    }
    if number("log_lines_lost") > 0 {
        out_line!("{} lines of the log were lost, as they could not be written in time", number("log_lines_lost"));
    }
    for (name, plugin) in found["plugins"].as_object().into_iter().flatten() {
        plugins::show(name, plugin);
    }
    let topics = found["topics"].as_array().map_or(&[][..], Vec::as_slice);
    for topic in topics.iter().take(TOPICS_SHOWN) {
        out_line!("topic {}: {} members", topic["topic"].as_str().unwrap_or_default(), topic["members"]);
    }
    if topics.len() > TOPICS_SHOWN {
        out_line!("… and more; --json shows up to a thousand");
    }
}
