//! How much is stored, and whether the store works. The rows themselves are read by calls of the API.

use serde_json::{Value, json};

use crate::api::Api;

/// The most plugins that are listed.
const PLUGINS_SHOWN: usize = 200;

pub(super) async fn see(api: &Api) -> Value {
    let trouble = api.node.store.trouble();
    match api.node.store.usages().await {
        Ok(usages) => {
            let shown =
                usages.iter().take(PLUGINS_SHOWN).map(|(store, bytes)| json!({ "store": store, "bytes": bytes }));
            json!({ "stores": shown.collect::<Vec<_>>(), "trouble": trouble, "log": api.store_log() })
        }
        Err(error) => json!({ "stores": [], "trouble": trouble, "error": error.to_string() }),
    }
}
