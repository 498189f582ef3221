//! The stages that scripts can be played on.

use std::path::Path;
use std::time::Duration;

use crate::contract::{HttpResult, Identity};
use crate::protocol::Payload;
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::client::{Client, Received};
use super::stage::{Join, Stage};

/// A host on which scripts are played.
pub trait ScriptStage {
    /// Connects a client. `described` is its identity as a script writes it.
    ///
    /// # Errors
    /// If the identity isn't valid.
    fn connect(&self, described: Option<&Value>) -> Result<Box<dyn ScriptClient>>;

    /// Advances the clock.
    fn pass(&self, time: Duration);

    /// Sends an event to all members of a topic.
    fn broadcast(&self, topic: &str, event: &str, payload: Value);

    /// Sends a topic message. Returns the answer: `"none"`, or an array of the status and the payload.
    ///
    /// # Errors
    /// If the answer can't be written as JSON.
    fn send(&self, topic: &str, event: &str, payload: Value) -> Result<Value>;

    /// Sets the answer to each request by HTTP with this method and URL.
    fn http(&self, method: &str, url: &str, result: HttpResult);

    /// Disconnects all sockets with this id, and returns their number.
    fn disconnect(&self, id: &str) -> usize;

    /// Loads another build of a plugin.
    ///
    /// # Errors
    /// If the stage has no files, or the build can't be loaded.
    fn reload(&self, plugin: &str, file: &Path) -> Result<()>;
}

/// A client of a [`ScriptStage`].
pub trait ScriptClient {
    /// Sends a message, and returns its ref.
    fn push(&mut self, topic: &str, event: &str, payload: &Value) -> String;

    /// Sends a text frame.
    fn send(&mut self, text: &str);

    /// Takes the next received frame, if there is one: the JSON of a text frame, an array of the bytes of a binary frame, or
    /// `{"closed": code}` at the end of the connection.
    fn next(&mut self) -> Option<Value>;

    /// Returns the ref of the last join of a topic.
    fn join_ref(&self, topic: &str) -> Option<String>;

    /// Closes the connection.
    fn close(self: Box<Self>);
}

impl ScriptStage for Stage {
    fn connect(&self, described: Option<&Value>) -> Result<Box<dyn ScriptClient>> {
        let join = described.map(read_join).transpose()?.unwrap_or_default();
        Ok(Box::new(self.connect(&join)))
    }

    fn pass(&self, time: Duration) {
        self.pass(time);
    }

    fn broadcast(&self, topic: &str, event: &str, payload: Value) {
        self.broadcast(topic, event, payload);
    }

    fn send(&self, topic: &str, event: &str, payload: Value) -> Result<Value> {
        Ok(match self.send(topic, event, payload) {
            Ok(None) => json!("none"),
            Ok(Some(reply)) => match &reply.payload {
                Payload::Json(text) => json!([&*reply.status, serde_json::from_str::<Value>(text)?]),
                Payload::Binary(bytes) => json!([&*reply.status, bytes.to_vec()]),
            },
            Err(undelivered) => json!(["error", format!("{undelivered:?}")]),
        })
    }

    fn http(&self, method: &str, url: &str, result: HttpResult) {
        self.http(method, url, result);
    }

    fn disconnect(&self, id: &str) -> usize {
        self.disconnect(id)
    }

    fn reload(&self, plugin: &str, file: &Path) -> Result<()> {
        self.reload_as(plugin, file)
    }
}

impl ScriptClient for Client {
    fn push(&mut self, topic: &str, event: &str, payload: &Value) -> String {
        self.push(topic, event, payload)
    }

    fn send(&mut self, text: &str) {
        self.send(text);
    }

    fn next(&mut self) -> Option<Value> {
        Some(match self.next()? {
            Received::Json(frame) => frame,
            Received::Binary(bytes) => bytes.into(),
            Received::Closed(code) => json!({ "closed": code }),
        })
    }

    fn join_ref(&self, topic: &str) -> Option<String> {
        self.join_ref(topic).map(str::to_owned)
    }

    fn close(mut self: Box<Self>) {
        Client::close(&mut self);
    }
}

/// `{"user": .., "socket_id": .., "claims": {..}, "params": {..}}`.
fn read_join(described: &Value) -> Result<Join> {
    let fields = described.as_object().context("a client's identity must be a JSON object")?;
    let mut join = Join::default();
    for (key, value) in fields {
        let text = || value.as_str().map(Into::into).with_context(|| format!("`{key}` must be a string"));
        match key.as_str() {
            "user" => join.identity.user = Some(text()?),
            "socket_id" => join.identity.socket_id = Some(text()?),
            "claims" => join.identity = Identity { claims: value.to_string().into(), ..join.identity },
            "params" => join.params = value.clone(),
            _ => bail!("a client's identity can have `user`, `socket_id`, `claims` and `params`, not `{key}`"),
        }
    }
    Ok(join)
}
