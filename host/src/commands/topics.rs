//! `bennu topics` and `bennu presence`.

use std::collections::BTreeMap;

use anyhow::Result;
use bennu::terminal::shown;
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::ask::{Ask, in_path};

/// List the topics that have members, with the number of members.
#[derive(Args)]
pub(super) struct Topics {
    #[command(flatten)]
    ask: Ask,

    /// List only topics that begin with this text
    #[arg(default_value = "")]
    prefix: String,

    /// Print the topics as JSON
    #[arg(long)]
    json: bool,
}

/// Show who is online in a topic: its presences.
#[derive(Args)]
pub(super) struct Presence {
    #[command(flatten)]
    ask: Ask,

    /// The topic
    topic: String,

    /// Print everything as JSON
    #[arg(long)]
    json: bool,
}

/// The presences of one key. Their metas are raw text, so that they are printed as the plugin wrote them.
#[derive(Deserialize, Serialize)]
struct Online {
    metas: Vec<Box<RawValue>>,
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
            out_line!("{}", shown::pretty(&all)?);
        }
        for topic in all.iter().filter(|_| !self.json) {
            let name = shown::name(topic["topic"].as_str().unwrap_or_default());
            out_line!("{:>7}  {name}", topic["members"].to_string());
        }
        Ok(())
    }
}

impl Presence {
    pub(super) fn run(self) -> Result<()> {
        let path = format!("/api/topics/{}/presence", in_path(&self.topic));
        let found: BTreeMap<String, Online> = self.ask.get_as(&path)?;
        if self.json {
            out_line!("{}", shown::pretty(&found)?);
            return Ok(());
        }
        for (key, online) in &found {
            let metas: Vec<_> = online.metas.iter().map(|meta| shown::json(meta.get())).collect();
            out_line!("{}  {}", shown::name(key), metas.join(" "));
        }
        Ok(())
    }
}
