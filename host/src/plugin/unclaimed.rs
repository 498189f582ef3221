//! What is stored, and no plugin's file stands for.

use std::collections::BTreeSet;

use serde::Serialize;

use super::PluginStatuses;
use crate::store::{EngineError, Store};

/// Data under a name that no plugin has: the file of its plugin was renamed or removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unclaimed {
    /// The name.
    pub store: String,
    /// Bytes of its keys, values and durable rooms.
    pub bytes: u64,
}

/// All data that no plugin of the host has. Those that are refused or unloaded have theirs.
///
/// # Errors
/// Where the store can't be read.
pub async fn unclaimed(store: &Store, statuses: &PluginStatuses) -> Result<Vec<Unclaimed>, EngineError> {
    let usages = store.usages().await?;
    let claimed: BTreeSet<String> = statuses.all().into_values().filter_map(|status| status.store).collect();
    let usages = usages.into_iter().filter(|(store, _)| !claimed.contains(store));
    Ok(usages.map(|(store, bytes)| Unclaimed { store, bytes }).collect())
}
