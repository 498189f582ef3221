//! A client that follows published entries, and a channel that publishes them.

use std::time::Duration;

use bennu::contract::{Call, Callback, Effect, Fault, Outcome};
use bennu::entries::{CallEntries, EntryInput};
use bennu::protocol::Payload;
use bennu_semantics::{merge, read_value};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::support::{Client, Notes, Part, Stage, admitted, nothing, replied};

pub(crate) const OPTIONS: &[(&str, &str)] =
    &[("room", "memory"), ("on-fault", "keep"), ("publishes", "p/"), ("publishes", "q/")];

/// The payload of an event, or the params of a join, may have these fields: `put`, an object of entries (null deletes one);
/// `raw`, entries whose values are texts; `follow` and `unfollow`, lists of prefixes.
pub(crate) async fn publishing(call: &Call, entries: Option<EntryInput>, notes: &Notes) -> Result<Outcome, Fault> {
    let (payload, outcome) = match &call.callback {
        Callback::Join(params) => (params, admitted()),
        Callback::In { payload, .. } => (payload, replied("{}")),
        Callback::Info(_) | Callback::Terminate(_) => return Ok(nothing()),
    };
    let Payload::Json(text) = payload else { return Ok(outcome) };
    let wanted = read_value(text).expect("a client's payload");
    let mut entries = CallEntries::new(entries.expect("the topic has entries"), false);
    let fields = |name: &str| wanted[name].as_object().cloned().unwrap_or_default();
    for (key, value) in fields("put") {
        let done = match value {
            Value::Null => entries.delete(key.as_bytes()).await,
            value => entries.put(key.as_bytes(), value.to_string().as_bytes()).await,
        };
        done.inspect_err(|fault| notes.add(fault.to_string()))?;
    }
    for (key, value) in fields("raw") {
        let done = entries.put(key.as_bytes(), value.as_str().unwrap_or_default().as_bytes()).await;
        done.inspect_err(|fault| notes.add(fault.to_string()))?;
    }
    let prefixes = |name: &str| wanted[name].as_array().cloned().unwrap_or_default();
    let prefix = |prefix: Value| prefix.as_str().unwrap_or_default().into();
    let follows = prefixes("follow").into_iter().map(|value| Effect::Follow { prefix: prefix(value) });
    let unfollows = prefixes("unfollow").into_iter().map(|value| Effect::Unfollow { prefix: prefix(value) });
    let effects = follows.chain(unfollows).collect();
    Ok(Outcome { entries: entries.into_pending(), effects, ..outcome })
}

pub(crate) fn board(notes: &Notes) -> Part {
    let notes = notes.clone();
    let on_call = move |call: Call, entries| {
        let notes = notes.clone();
        async move { publishing(&call, entries, &notes).await }
    };
    Part { options: OPTIONS, ..Part::with_entries("board:*", on_call) }
}

/// A client that follows the published entries by the rule of the client module.
pub(crate) struct Follower {
    pub(crate) client: Client,
    pub(crate) state: Option<Value>,
    pub(crate) number: u64,
    /// The events and numbers of the messages.
    pub(crate) seen: Vec<String>,
}

impl Follower {
    pub(crate) fn connect(stage: &Stage) -> Self {
        Self { client: stage.connect(), state: None, number: 0, seen: Vec::new() }
    }

    pub(crate) async fn join(stage: &Stage, params: Value) -> Self {
        let mut new = Self::connect(stage);
        new.client.send(&format!(r#"["1","1","board:1","phx_join",{params}]"#));
        new.until_replied().await;
        new.read();
        new
    }

    /// Sends an event, and reads all messages up to its reply. Returns the status of the reply.
    pub(crate) async fn ask(&mut self, payload: Value) -> String {
        self.client.send(&format!(r#"["1","2","board:1","do",{payload}]"#));
        let status = self.until_replied().await;
        self.read();
        status
    }

    pub(crate) async fn until_replied(&mut self) -> String {
        loop {
            let frame = self.client.next().await;
            if let Some(status) = self.take(&frame) {
                return status;
            }
        }
    }

    /// Reads what has arrived.
    pub(crate) fn read(&mut self) {
        for frame in self.client.now() {
            self.take(&frame);
        }
    }

    /// Handles a frame. Returns the status of a reply.
    pub(crate) fn take(&mut self, frame: &str) -> Option<String> {
        let message = read_value(frame).unwrap_or_else(|error| panic!("{frame}: {error}"));
        let (event, payload) = (message[3].as_str().unwrap_or_default(), &message[4]);
        let number = payload["n"].as_u64().unwrap_or_default();
        match event {
            "phx_reply" => return Some(payload["status"].as_str().unwrap_or_default().to_owned()),
            "room_state" => {
                merge(self.state.insert(json!({})), &payload["state"]);
                self.number = number;
            }
            "room_diff" => {
                assert_eq!(number, self.number + 1, "the client ignores {frame}");
                merge(self.state.as_mut().expect("the whole state comes first"), &payload["patch"]);
                self.number = number;
            }
            _ => {}
        }
        let what = if event == "room_diff" && payload["patch"] == json!({}) { "empty" } else { event };
        self.seen.push(format!("{what} {number}"));
        None
    }

    /// The events and numbers of the messages since the last time.
    pub(crate) fn seen(&mut self) -> Vec<String> {
        self.read();
        std::mem::take(&mut self.seen)
    }

    pub(crate) fn state(&mut self) -> Value {
        self.read();
        self.state.clone().unwrap_or_default()
    }

    /// Waits until slow members have caught up.
    pub(crate) async fn caught_up(&mut self) {
        self.read();
        sleep(Duration::from_millis(600)).await;
        self.read();
    }
}
