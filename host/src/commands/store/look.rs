//! `bennu store get`, `scan` and `usage`: what is in the store.

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bennu::store::{RowSet, TopicBytes};
use bennu::terminal::{Out, Progress, Unit, shown};
use clap::Args;
use serde_json::Value;

use super::super::ask::Ask;
use super::source::Source;

/// The flags that say which rows are meant.
#[derive(Args)]
pub(super) struct Which {
    /// The name of the plugin's data
    #[arg(value_name = "PLUGIN")]
    plugin: String,
    /// The durable rooms, whose keys are topics
    #[arg(long, conflicts_with = "topic")]
    rooms: bool,
    /// The entries of the durable room of this topic
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
    /// The key or prefix on the command line is base64
    #[arg(long)]
    base64: bool,
}

impl Which {
    fn set(&self) -> RowSet {
        match &self.topic {
            Some(topic) => RowSet::Entries(topic.clone()),
            None if self.rooms => RowSet::Rooms,
            None => RowSet::Keys,
        }
    }

    fn bytes(&self, text: &str) -> Result<Vec<u8>> {
        match self.base64 {
            true => BASE64_STANDARD.decode(text).with_context(|| format!("`{text}` isn't base64")),
            false => Ok(text.as_bytes().to_vec()),
        }
    }
}

/// Prints a row as a line of an export, or only its value.
pub(super) async fn get(ask: &Ask, which: &Which, key: &str, is_raw: bool) -> Result<()> {
    let key = which.bytes(key)?;
    let source = Source::find(ask).await?;
    let row = source.row(&which.plugin, &which.set(), &key).await;
    source.close().await;
    let Some(row) = row? else { bail!("the store has no such row") };
    if !is_raw {
        out_line!("{}", shown::json(&row));
        return Ok(());
    }
    let row: Value = serde_json::from_str(&row)?;
    let value = match (row["value"].as_str(), row["value_base64"].as_str()) {
        (Some(text), _) => text.as_bytes().to_vec(),
        (None, base64) => BASE64_STANDARD.decode(base64.unwrap_or_default())?,
    };
    Out.write_all(&value)?;
    Ok(())
}

/// Prints the rows whose keys begin with a prefix.
pub(super) async fn scan(ask: &Ask, which: &Which, prefix: &str, limit: usize) -> Result<()> {
    let prefix = which.bytes(prefix)?;
    let source = Source::find(ask).await?;
    let (mut left, mut after) = (limit, None);
    let read = loop {
        match source.rows(&which.plugin, &which.set(), &prefix, after.as_deref(), left).await {
            Ok(page) => {
                left = left.saturating_sub(page.rows.len());
                page.rows.iter().for_each(|row| out_line!("{}", shown::json(row)));
                after = page.more_after;
            }
            Err(error) => break Err(error),
        }
        if left == 0 || after.is_none() {
            break Ok(());
        }
    };
    source.close().await;
    read?;
    if after.is_some() {
        error_line!("there are more rows; --limit shows more than {limit}");
    }
    Ok(())
}

/// Prints how many bytes each plugin has, or one of them. `largest` is how many topics of each are printed, the largest first.
pub(super) async fn usage(ask: &Ask, plugin: Option<&str>, largest: usize) -> Result<()> {
    let source = Source::find(ask).await?;
    let printed = print_usage(&source, plugin, largest).await;
    source.close().await;
    printed
}

async fn print_usage(source: &Source<'_>, plugin: Option<&str>, largest: usize) -> Result<()> {
    let mut usages = source.usages().await?;
    if let Some(plugin) = plugin {
        usages.retain(|(name, _)| name == plugin);
        ensure!(!usages.is_empty(), "`{plugin}` has nothing in the store; `bennu store usage` says who has");
    }
    for (plugin, bytes) in usages {
        let topics = if largest > 0 { largest_topics(source, &plugin, bytes, largest).await? } else { Vec::new() };
        out_line!("{}: {bytes} bytes", shown::name(&plugin));
        for TopicBytes { topic, room_bytes, entries, entries_bytes } in topics {
            let (topic, all) = (shown::name(&topic), room_bytes + entries_bytes);
            out_line!("  {topic}: {all} bytes, of which {entries_bytes} in {entries} entries");
        }
    }
    Ok(())
}

/// Returns the topics of a plugin with the most bytes. Reads all of them, and keeps only these.
async fn largest_topics(source: &Source<'_>, plugin: &str, bytes: u64, count: usize) -> Result<Vec<TopicBytes>> {
    let progress = Progress::default();
    // By size and by name, so the first one is the smallest.
    let mut largest = BTreeMap::new();
    let (mut after, mut read) = (None, 0);
    loop {
        let page = source.topics(plugin, after.as_deref()).await?;
        for topic in page.topics {
            let size = topic.room_bytes + topic.entries_bytes;
            read += size;
            largest.insert((size, topic.topic.clone()), topic);
            if largest.len() > count {
                largest.pop_first();
            }
        }
        progress.report("reading", read, bytes, Unit::Bytes);
        after = page.more_after;
        if after.is_none() {
            return Ok(largest.into_values().rev().collect());
        }
    }
}
