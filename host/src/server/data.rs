//! Opens the data directory and the store at the start of a host, and logs their place, the permissions, and data that belongs to no
//! plugin.

use anyhow::{Context, Result};
use bennu_cluster::NodeId;

use super::Config;
use crate::plugin::{PluginStatuses, unclaimed};
use crate::store::{DirectoryLock, Store, StorePlace, absolute, has_store, open_to_others};

/// Opens the store, and logs what operators should know about the data directory.
pub(super) async fn open(config: &Config, shared: Option<(NodeId, DirectoryLock)>) -> Result<Store> {
    let place = config.store_place()?;
    let key = if matches!(place, StorePlace::Directory(_)) { "`data` can't be used" } else { "`store` can't be used" };
    let limits = config.limits.store();
    let opened = match (&place, shared) {
        (StorePlace::Postgres(database), Some((id, lock))) => {
            Store::open_shared(database, id, Some(lock), limits).await
        }
        _ => Store::open_beside(&place, &config.data, limits).await,
    };
    let store = opened.context(key)?;
    let is_empty = store.usages().await.context(key)?.is_empty();
    let remark = if is_empty { "; no plugin has stored anything in it yet" } else { "" };
    let directory = absolute(&config.data);
    if let StorePlace::Directory(_) = place {
        tracing::info!("the data directory is {}{remark}", directory.display());
    } else {
        tracing::info!("the data directory is {}; the store is in {place}{remark}", directory.display());
        if is_empty && has_store(&config.data) {
            tracing::warn!(
                "the data directory has a store of its own, which isn't used; to move it into the database, stop the host and \
                 run `bennu store import --directory {}`",
                directory.display()
            );
        }
    }
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
