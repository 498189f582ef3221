//! The data directory at the start of a host: where it is, who may look into it, and whose data no plugin's file stands for.

use anyhow::{Context, Result};

use super::Config;
use crate::plugin::{PluginStatuses, unclaimed};
use crate::store::{Store, absolute, open_to_others};

/// Opens the store, and says what operators should know of its directory.
pub(super) async fn open(config: &Config) -> Result<Store> {
    let store = Store::open(&config.data, config.limits.store()).await.context("`data` can't be used")?;
    let is_empty = store.usages().await.context("`data` can't be used")?.is_empty();
    let remark = if is_empty { "; no plugin has stored anything in it yet" } else { "" };
    tracing::info!("the data directory is {}{remark}", absolute(&config.data).display());
    match open_to_others(&config.data) {
        Ok(None) => {}
        Ok(Some(command)) => tracing::warn!(
            "other users of this machine may read in the data directory, which holds what plugins store; this closes it: {command}"
        ),
        Err(error) => tracing::warn!("it can't be seen who may read in the data directory: {error}"),
    }
    match store.keep_ids().await {
        Ok(None) => {}
        Ok(Some(behind)) => {
            tracing::warn!(
                "the clock is {behind:?} behind the ids that were drawn here before; they go on from the last one"
            );
        }
        // It is tried again with whatever is stored next.
        Err(refusal) => tracing::error!("after a kill, new ids may sort before those that are drawn now: {refusal}"),
    }
    Ok(store)
}

/// Names the data that no plugin has: else a plugin whose file was renamed would begin anew, and nobody would know why.
pub(super) async fn tell_of_unclaimed(store: &Store, statuses: &PluginStatuses) {
    match unclaimed(store, statuses).await {
        Ok(unclaimed) if unclaimed.is_empty() => {}
        Ok(unclaimed) => {
            let named = unclaimed.iter().map(|data| format!("`{}` ({} bytes)", data.store.escape_debug(), data.bytes));
            tracing::warn!(
                "no plugin's file stands for the data of {}; if a file was renamed, give its plugin the name of its data \
                 (`store = \"NAME\"` in its table `plugins.NAME`), or stop the host and run `bennu store rename OLD NEW`",
                named.collect::<Vec<_>>().join(", ")
            );
        }
        Err(error) => tracing::error!("the store can't be read: {error}"),
    }
}
