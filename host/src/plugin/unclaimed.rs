//! Stored data that belongs to no plugin's file.

use std::collections::BTreeSet;

use serde::Serialize;

use super::PluginStatuses;
use crate::store::{EngineError, Store};

/// Data under a name that no plugin has, because the plugin's file was renamed or removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unclaimed {
    /// The name.
    pub store: String,
    /// The size of its keys, values and durable rooms, in bytes.
    pub bytes: u64,
}

/// Returns all data that no plugin of the host uses. Refused and unloaded plugins count as users of their data.
///
/// # Errors
/// Returns an error if the store can't be read.
pub async fn unclaimed(store: &Store, statuses: &PluginStatuses) -> Result<Vec<Unclaimed>, EngineError> {
    let usages = store.usages().await?;
    let claimed: BTreeSet<String> = statuses.all().into_values().filter_map(|status| status.store).collect();
    let usages = usages.into_iter().filter(|(store, _)| !claimed.contains(store));
    Ok(usages.map(|(store, bytes)| Unclaimed { store, bytes }).collect())
}
