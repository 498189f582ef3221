//! The topics that have members: a page of the list, in the order of their names.

use serde::Deserialize;
use serde_json::{Value, json};

use super::ROWS_MAX;
use crate::api::Api;

/// The most topics that are compared with the text for one page of the list.
const COMPARED_MAX: usize = 50_000;

/// So many topics are read at once.
const READ_AT_ONCE: usize = 1_000;

/// Which topics are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Query {
    /// A text in the names of the topics, in any case of its letters.
    #[serde(default)]
    pub(super) search: String,
    /// The `next` of an earlier page.
    #[serde(default)]
    pub(super) after: Option<String>,
}

pub(super) fn see(api: &Api, query: &Query) -> Value {
    let wanted = query.search.to_lowercase();
    let (mut found, mut after, mut compared) = (Vec::new(), query.after.clone(), 0);
    let next = 'read: loop {
        let some = api.node.pubsub.topics_under("", after.as_deref(), READ_AT_ONCE);
        for (topic, members) in &some {
            if found.len() == ROWS_MAX {
                break 'read after;
            }
            if wanted.is_empty() || topic.as_str().to_lowercase().contains(&wanted) {
                let route = api.node.routes.current().find(topic.as_str()).map(|route| route.plugin.to_string());
                found.push(json!({ "topic": topic.as_str(), "members": members, "plugin": route }));
            }
            after = Some(topic.as_str().to_owned());
        }
        compared += some.len();
        if some.len() < READ_AT_ONCE {
            break None;
        }
        if compared >= COMPARED_MAX {
            break after;
        }
    };
    json!({ "topics": found, "next": next })
}
