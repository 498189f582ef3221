//! Where the commands read a store: from the host that uses the data directory, or from the directory of a stopped host.

use std::io::Read;

use anyhow::{Context, Result, bail};
use bennu::server::Config;
use bennu::store::{InUse, Owner, QUOTA_BYTES, Store as Storage};
use serde::Deserialize;

use super::super::ask::{Ask, in_path};

/// The store that a command reads.
pub(super) enum Source<'a> {
    /// That of a running host, through its API.
    Host(&'a Ask),
    /// That of a data directory that no host uses.
    Directory(Storage),
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

impl<'a> Source<'a> {
    /// Finds the store: that of the host that `--host` names, or that of the data directory. If a host uses the directory, it is asked.
    pub(super) async fn find(ask: &'a Ask) -> Result<Self> {
        if ask.names_host() {
            return Ok(Self::Host(ask));
        }
        let Config { data, limits, .. } = ask.configured()?;
        if !data.is_dir() {
            bail!(
                "there is no data directory {}; name it with --data or --config, or a running host with --host",
                data.display()
            );
        }
        match Storage::open(&data, limits.store()).await {
            Ok(store) => Ok(Self::Directory(store)),
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
            Self::Directory(store) => Ok(store.usages().await?),
        }
    }

    /// Begins an export of all data, or of that of a plugin. It must be read on a thread of its own.
    pub(super) fn export(&self, plugin: Option<&str>) -> Result<Box<dyn Read + Send>> {
        match self {
            Self::Host(ask) => {
                let query = plugin.map(|name| format!("?plugin={}", in_path(name))).unwrap_or_default();
                Ok(Box::new(ask.stream(&format!("/api/store/export{query}"))?))
            }
            Self::Directory(store) => {
                let owner = plugin.map(|name| Owner::new(name, QUOTA_BYTES)).transpose().context("--plugin")?;
                Ok(Box::new(store.exporter(owner.as_ref()).into_read()))
            }
        }
    }

    /// Closes the store of a directory.
    pub(super) async fn close(self) {
        if let Self::Directory(store) = self {
            store.close().await;
        }
    }
}
