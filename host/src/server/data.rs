//! Opens the data directory at the start of a host, and logs its place, its permissions, and data that belongs to no plugin.

use anyhow::{Context, Result};

use super::Config;
use crate::plugin::{PluginStatuses, unclaimed};
use crate::store::{Store, absolute, open_to_others};

/// Opens the store, and logs what operators should know about the data directory.
pub(super) async fn open(config: &Config) -> Result<Store> {
    let store = Store::open(&config.data, config.limits.store()).await.context("`data` can't be used")?;
    let is_empty = store.usages().await.context("`data` can't be used")?.is_empty();
    let remark = if is_empty { "; no plugin has stored anything in it yet" } else { "" };
    tracing::info!("the data directory is {}{remark}", absolute(&config.data).display());
    match open_to_others(&config.data) {
        Ok(None) => {}
        Ok(Some(command)) => tracing::warn!(
            "other users of this machine can read the data directory, which contains what plugins store; to prevent that, \
             run: {command}"
        ),
        Err(error) => tracing::warn!("the permissions of the data directory can't be read: {error}"),
    }
    match store.keep_ids().await {
        Ok(None) => {}
        Ok(Some(behind)) => {
            tracing::warn!(
                "the clock is {behind:?} behind the ids that were drawn here before; new ids continue after the last one"
            );
        }
        // The next write to the store tries this again.
        Err(refusal) => tracing::error!("after a kill, new ids may sort before the ids that are drawn now: {refusal}"),
    }
    Ok(store)
}

/// Logs a warning that names stored data without a plugin. A plugin whose file was renamed starts without its data, and this
/// warning gives the reason.
pub(super) async fn log_unclaimed(store: &Store, statuses: &PluginStatuses) {
    match unclaimed(store, statuses).await {
        Ok(unclaimed) if unclaimed.is_empty() => {}
        Ok(unclaimed) => {
            let named = unclaimed.iter().map(|data| format!("`{}` ({} bytes)", data.store.escape_debug(), data.bytes));
            tracing::warn!(
                "stored data belongs to no plugin: {}; if a plugin's file was renamed, name the data in the plugin's table \
                 (`store = \"OLD\"` in `plugins.NEW`), or stop the host and run `bennu store rename OLD NEW`",
                named.collect::<Vec<_>>().join(", ")
            );
        }
        Err(error) => tracing::error!("the store can't be read: {error}"),
    }
}
