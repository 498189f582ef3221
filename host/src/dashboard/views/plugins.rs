//! The plugins, with their builds, probations and instances.

use serde_json::{Map, Value, json};

use crate::api::Api;

pub(super) fn see(api: &Api) -> Value {
    let plugins = api.statuses.all().into_iter().map(|(name, status)| {
        let usage = status.usage.counts();
        let (published, refused) = (status.loads.published, status.loads.refused);
        let rollbacks = status.loads.taken_back + status.loads.rolled_back;
        let mut shown = json!(status);
        shown["loads"] = json!({ "published": published, "refused": refused, "rollbacks": rollbacks });
        shown["waits"] = json!(usage.waits);
        (name, shown)
    });
    json!({ "plugins": plugins.collect::<Map<_, _>>() })
}
