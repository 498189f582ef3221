//! One topic: its members and presences, a page of each.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::ROWS_MAX;
use crate::api::Api;
use crate::protocol::{Payload, Topic};

/// The most members that are compared with the text.
const COMPARED_MAX: usize = 10_000;

/// The most metas of a key that are shown, and the most bytes of each.
const METAS_MAX: usize = 5;
const META_BYTES_MAX: usize = 1_000;

/// Which topic, and which of its members.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Query {
    topic: String,
    /// A text in the user, the socket's id or the number of a member, or in the key of a presence.
    #[serde(default)]
    search: String,
    /// The first member and the first presence of the page.
    #[serde(default)]
    from: usize,
}

pub(super) fn see(api: &Api, query: &Query) -> Value {
    let wanted = query.search.to_lowercase();
    let fits = |text: &str| wanted.is_empty() || text.to_lowercase().contains(&wanted);
    let members = api.node.pubsub.audience(&query.topic).map_or(0, |audience| audience.len());
    let mut people = api.node.people(&query.topic, COMPARED_MAX);
    people.retain(|person| {
        let texts = [person.user.as_deref(), person.socket_id.as_deref()];
        texts.into_iter().flatten().any(fits) || fits(&person.member.to_string())
    });
    people.sort_unstable_by_key(|person| person.member);
    let found = people.len();
    let shown = people
        .iter()
        .skip(query.from)
        .take(ROWS_MAX)
        .map(|person| json!({ "member": person.member, "user": person.user, "socket_id": person.socket_id }));
    let presences = presences(api, &query.topic);
    let keys: Vec<_> = presences.iter().filter(|(key, _)| fits(key)).collect();
    let online = keys.iter().skip(query.from).take(ROWS_MAX).map(|(key, presence)| {
        let metas = presence["metas"].as_array().map(Vec::as_slice).unwrap_or_default();
        let texts: Vec<_> = metas.iter().take(METAS_MAX).map(|meta| beginning(meta.to_string())).collect();
        json!({ "key": key, "count": metas.len(), "metas": texts })
    });
    let routes = api.node.routes.current();
    let route = routes.find(&query.topic);
    json!({
        "members": members,
        "people_found": found,
        "people": shown.collect::<Vec<_>>(),
        "presences": presences.len(),
        "presences_found": keys.len(),
        "online": online.collect::<Vec<_>>(),
        "plugin": route.map(|route| &*route.plugin),
        "generation": route.map(|route| route.generation),
        "pattern": route.map(|route| route.spec.pattern.to_string()),
        "has_room": route.is_some_and(|route| route.spec.has_room()),
        "rows": ROWS_MAX,
    })
}

fn presences(api: &Api, topic: &str) -> Map<String, Value> {
    match api.node.presence.state(&Topic::new(topic)) {
        Payload::Json(text) => serde_json::from_str(&text).unwrap_or_default(),
        Payload::Binary(_) => Map::new(),
    }
}

/// The beginning of a text that may be long.
fn beginning(mut text: String) -> String {
    if text.len() > META_BYTES_MAX {
        text.truncate(text.floor_char_boundary(META_BYTES_MAX));
        text.push('…');
    }
    text
}
