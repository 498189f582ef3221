//! The context of one client's lines: the topic that a line is about, and the message that a reply answers.

use std::collections::HashMap;

use crate::protocol::event;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::script::Words;

/// The state of one client's lines.
#[derive(Debug, Default)]
pub struct LineContext {
    topic: String,
    last_ref: String,
    labels: HashMap<String, String>,
}

impl LineContext {
    /// The topic and event of a message that a line sends.
    ///
    /// # Errors
    /// If the line has no topic and no topic was joined before.
    pub fn message<'w>(&self, words: &Words<'w>) -> Result<(String, &'w str)> {
        let event = match words.word {
            "join" => event::JOIN,
            "leave" => event::LEAVE,
            event => event,
        };
        let topic = words.topic.unwrap_or(&self.topic).to_owned();
        ensure!(!topic.is_empty(), "no topic was joined before; add `on TOPIC`");
        Ok((topic, event))
    }

    /// Records that a line was sent with this ref.
    pub fn record_sent(&mut self, words: &Words<'_>, topic: String, reference: &str) {
        reference.clone_into(&mut self.last_ref);
        if let Some(label) = words.label {
            self.labels.insert(label.to_owned(), reference.to_owned());
        }
        if words.word == "join" {
            self.topic = topic;
        }
    }

    /// The frames that satisfy a line: any one of them. `join_ref` returns the ref of the last join of a topic.
    ///
    /// # Errors
    /// If no message was sent with the line's label.
    pub fn expected_frames(&self, words: Words<'_>, join_ref: impl Fn(&str) -> Option<String>) -> Result<Vec<Value>> {
        let topic = words.topic.unwrap_or(&self.topic);
        let join_ref = join_ref(topic);
        let reference = match words.label {
            Some(label) => {
                self.labels.get(label).with_context(|| format!("no message was sent with the label #{label}"))?
            }
            None => &self.last_ref,
        };
        let Words { word, status, payload, .. } = words;
        let reply = |join_ref: Option<&str>, status: &str, response: Value| json!([join_ref, reference, topic, "phx_reply", {"status": status, "response": response}]);
        Ok(match word {
            "ok" | "error" | "reply" => vec![reply(join_ref.as_deref(), status, payload)],
            "unmatched" => vec![reply(None, "error", json!({"reason": "unmatched topic"}))],
            "phx_close" => vec![json!([join_ref, join_ref, topic, "phx_close", {}])],
            "phx_error" => vec![json!([join_ref, join_ref, topic, "phx_error", {"reason": "channel_crash"}])],
            // A broadcast has no join ref, and a push has the one of this join.
            event => vec![json!([null, null, topic, event, payload]), json!([join_ref, null, topic, event, payload])],
        })
    }
}
