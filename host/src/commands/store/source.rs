//! Where the commands read a store: from the host that uses the data directory, or from the directory of a stopped host.

use std::io::Read;

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bennu::store::{InUse, Owner, QUOTA_BYTES, RowPage, RowSet, Store as Storage, StorePlace, TopicBytes, TopicPage};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::ask::{Ask, in_path};

/// The store that a command reads.
pub(super) enum Source<'a> {
    /// That of a running host, through its API.
    Host(&'a Ask),
    /// That of a data directory or a database that no host uses.
    Stopped(Storage),
}

/// The answer of `GET /api/store/usage`.
#[derive(Deserialize)]
struct Usage {
    plugins: Vec<PluginUsage>,
}

#[derive(Deserialize)]
struct PluginUsage {
    plugin: String,
    bytes: u64,
}

/// The answer of `GET /api/store/rows`.
#[derive(Deserialize)]
struct Rows {
    rows: Vec<Box<RawValue>>,
    next: Option<String>,
}

/// The answer of `GET /api/store/topics`.
#[derive(Deserialize)]
struct Topics {
    topics: Vec<Topic>,
    next: Option<String>,
}

#[derive(Deserialize)]
struct Topic {
    topic: String,
    room_bytes: u64,
    entries: u64,
    entries_bytes: u64,
}

impl<'a> Source<'a> {
    /// Finds the store: that of the host that `--host` names, or that of the data directory. If a host uses the directory, it is asked.
    pub(super) async fn find(ask: &'a Ask) -> Result<Self> {
        if ask.names_host() {
            return Ok(Self::Host(ask));
        }
        let config = ask.configured()?;
        let place = config.store_place()?;
        if let StorePlace::Directory(data) = &place
            && !data.is_dir()
        {
            bail!(
                "there is no data directory {}; name it with --data or --config, or a running host with --host",
                data.display()
            );
        }
        match Storage::open_at(&place, config.limits.store()).await {
            Ok(store) => Ok(Self::Stopped(store)),
            Err(error) if error.is::<InUse>() => Ok(Self::Host(ask)),
            Err(error) => Err(error),
        }
    }

    /// Returns how many bytes each plugin has.
    pub(super) async fn usages(&self) -> Result<Vec<(String, u64)>> {
        match self {
            Self::Host(ask) => {
                let Usage { plugins } = ask.get_as("/api/store/usage")?;
                Ok(plugins.into_iter().map(|PluginUsage { plugin, bytes }| (plugin, bytes)).collect())
            }
            Self::Stopped(store) => Ok(store.usages().await?),
        }
    }

    /// Begins an export of all data, or of that of a plugin. It must be read on a thread of its own.
    pub(super) fn export(&self, plugin: Option<&str>) -> Result<Box<dyn Read + Send>> {
        match self {
            Self::Host(ask) => {
                let query = plugin.map(|name| format!("?plugin={}", in_path(name))).unwrap_or_default();
                Ok(Box::new(ask.stream(&format!("/api/store/export{query}"))?))
            }
            Self::Stopped(store) => {
                let owner = plugin.map(owner).transpose()?;
                Ok(Box::new(store.exporter(owner.as_ref()).into_read()))
            }
        }
    }

    /// Returns a row in JSON, or none if there is no such row.
    pub(super) async fn row(&self, plugin: &str, set: &RowSet, key: &[u8]) -> Result<Option<String>> {
        match self {
            Self::Host(ask) => {
                let query = query(plugin, set, "key_base64", key);
                let row: Option<Box<RawValue>> = ask.find(&format!("/api/store/row{query}"))?;
                Ok(row.map(|row| row.get().to_owned()))
            }
            Self::Stopped(store) => store.stored_row(&owner(plugin)?, set, key).await,
        }
    }

    /// Returns rows whose keys begin with a prefix, after a key.
    pub(super) async fn rows(
        &self,
        plugin: &str,
        set: &RowSet,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<RowPage> {
        match self {
            Self::Host(ask) => {
                let query = query(plugin, set, "prefix_base64", prefix);
                let after = after.map(|after| format!("&after={}", in_path(&BASE64_STANDARD.encode(after))));
                let path = format!("/api/store/rows{query}{}&limit={limit}", after.unwrap_or_default());
                let Rows { rows, next } = ask.get_as(&path)?;
                let more_after = next.map(|next| BASE64_STANDARD.decode(next)).transpose().context("the answer")?;
                let rows = rows.iter().map(|row| row.get().to_owned()).collect();
                Ok(RowPage { rows, more_after: more_after.map(Into::into) })
            }
            Self::Stopped(store) => store.stored_rows(&owner(plugin)?, set, prefix, after, limit).await,
        }
    }

    /// Returns the sizes of some topics after one.
    pub(super) async fn topics(&self, plugin: &str, after: Option<&str>) -> Result<TopicPage> {
        match self {
            Self::Host(ask) => {
                let after = after.map(|after| format!("&after={}", in_path(after))).unwrap_or_default();
                let path = format!("/api/store/topics?plugin={}{after}", in_path(plugin));
                let Topics { topics, next: more_after } = ask.get_as(&path)?;
                let topic = |Topic { topic, room_bytes, entries, entries_bytes }| TopicBytes {
                    topic,
                    room_bytes,
                    entries,
                    entries_bytes,
                };
                Ok(TopicPage { topics: topics.into_iter().map(topic).collect(), more_after })
            }
            Self::Stopped(store) => store.topic_bytes(&owner(plugin)?, after).await,
        }
    }

    /// Closes the store of a directory.
    pub(super) async fn close(self) {
        if let Self::Stopped(store) = self {
            store.close().await;
        }
    }
}

fn owner(plugin: &str) -> Result<Owner> {
    Owner::new(plugin, QUOTA_BYTES).with_context(|| format!("the name `{plugin}`"))
}

/// Returns the query that names rows.
fn query(plugin: &str, set: &RowSet, name: &str, bytes: &[u8]) -> String {
    let set = match set {
        RowSet::Keys => String::new(),
        RowSet::Rooms => "&rooms=true".to_owned(),
        RowSet::Entries(topic) => format!("&topic={}", in_path(topic)),
    };
    format!("?plugin={}{set}&{name}={}", in_path(plugin), in_path(&BASE64_STANDARD.encode(bytes)))
}
