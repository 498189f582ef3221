//! What the lines of a client leave unsaid: the topic that it speaks of, and the message that is answered.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::script::Words;
use crate::protocol::event;

/// The state of one client's lines.
#[derive(Debug, Default)]
pub struct Voice {
    topic: String,
    last_ref: String,
    labels: HashMap<String, String>,
}

impl Voice {
    /// The topic and the event that a line sends.
    ///
    /// # Errors
    /// Where it says no topic, and none was joined before.
    pub fn says<'w>(&self, words: &Words<'w>) -> Result<(String, &'w str)> {
        let event = match words.word {
            "join" => event::JOIN,
            "leave" => event::LEAVE,
            event => event,
        };
        let topic = words.topic.unwrap_or(&self.topic).to_owned();
        ensure!(!topic.is_empty(), "nothing was joined before; say `on TOPIC`");
        Ok((topic, event))
    }

    /// A line was sent, under this ref.
    pub fn said(&mut self, words: &Words<'_>, topic: String, reference: &str) {
        reference.clone_into(&mut self.last_ref);
        if let Some(label) = words.label {
            self.labels.insert(label.to_owned(), reference.to_owned());
        }
        if words.word == "join" {
            self.topic = topic;
        }
    }

    /// The frames of which a line expects one. `join_ref` knows the ref of the last join of each topic.
    ///
    /// # Errors
    /// Where its label is nobody's.
    pub fn expects(&self, words: Words<'_>, join_ref: impl Fn(&str) -> Option<String>) -> Result<Vec<Value>> {
        let topic = words.topic.unwrap_or(&self.topic);
        let join_ref = join_ref(topic);
        let reference = match words.label {
            Some(label) => self.labels.get(label).with_context(|| format!("nothing was sent as #{label}"))?,
            None => &self.last_ref,
        };
        let Words { word, status, payload, .. } = words;
        let reply = |join_ref: Option<&str>, status: &str, response: Value| json!([join_ref, reference, topic, "phx_reply", {"status": status, "response": response}]);
        Ok(match word {
            "ok" | "error" | "reply" => vec![reply(join_ref.as_deref(), status, payload)],
            "unmatched" => vec![reply(None, "error", json!({"reason": "unmatched topic"}))],
            "phx_close" => vec![json!([join_ref, join_ref, topic, "phx_close", {}])],
            "phx_error" => vec![json!([join_ref, join_ref, topic, "phx_error", {"reason": "channel_crash"}])],
            // A broadcast belongs to no join, a push to this one.
            event => vec![json!([null, null, topic, event, payload]), json!([join_ref, null, topic, event, payload])],
        })
    }
}
