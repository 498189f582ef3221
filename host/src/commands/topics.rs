//! `bennu topics` and `bennu presence`.

use anyhow::Result;
use clap::Args;
use serde_json::Value;

use super::ask::{Ask, in_path};
use super::output::out_line;

/// List the topics that somebody has joined, with how many members each has.
#[derive(Args)]
pub(super) struct Topics {
    #[command(flatten)]
    ask: Ask,

    /// Only those that begin so
    #[arg(default_value = "")]
    prefix: String,

    /// Print them as JSON
    #[arg(long)]
    json: bool,
}

/// Show who is online in a topic.
#[derive(Args)]
pub(super) struct Presence {
    #[command(flatten)]
    ask: Ask,

    /// The topic
    topic: String,

    /// Print all of it as JSON
    #[arg(long)]
    json: bool,
}

impl Topics {
    pub(super) fn run(self) -> Result<()> {
        let mut after = String::new();
        let mut all = Vec::new();
        loop {
            let path = format!("/api/topics?prefix={}{after}", in_path(&self.prefix));
            let page = self.ask.get(&path)?["topics"].as_array().cloned().unwrap_or_default();
            let Some(last) = page.last() else { break };
            after = format!("&after={}", in_path(last["topic"].as_str().unwrap_or_default()));
            all.extend(page);
        }
        if self.json {
            out_line!("{}", serde_json::to_string_pretty(&all)?);
        }
        for topic in all.iter().filter(|_| !self.json) {
            out_line!("{:>7}  {}", topic["members"].to_string(), topic["topic"].as_str().unwrap_or_default());
        }
        Ok(())
    }
}

impl Presence {
    pub(super) fn run(self) -> Result<()> {
        let found = self.ask.get(&format!("/api/topics/{}/presence", in_path(&self.topic)))?;
        if self.json {
            out_line!("{}", serde_json::to_string_pretty(&found)?);
            return Ok(());
        }
        for (key, entry) in found.as_object().into_iter().flatten() {
            let metas = entry["metas"].as_array().into_iter().flatten().map(Value::to_string);
            out_line!("{key}  {}", metas.collect::<Vec<_>>().join(" "));
        }
        Ok(())
    }
}
