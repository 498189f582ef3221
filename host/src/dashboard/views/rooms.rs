//! The largest rooms.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::Api;

/// The most rooms that are listed.
const ROOMS_SHOWN: usize = 100;

/// Which rooms are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Query {
    /// A text in the names of their topics.
    #[serde(default)]
    search: String,
}

pub(super) async fn see(api: &Api, query: &Query) -> Value {
    let wanted = query.search.to_lowercase();
    let mut rooms = api.largest_rooms(ROOMS_SHOWN).await;
    rooms.retain(|room| room["topic"].as_str().is_some_and(|topic| topic.to_lowercase().contains(&wanted)));
    json!({ "rooms": rooms, "most": ROOMS_SHOWN, "entries": api.entries() })
}
