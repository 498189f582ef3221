//! `bennu broadcast`, `bennu send`, `bennu kick` and `bennu disconnect`.

use anyhow::{Context, Result, ensure};
use bennu::terminal::shown;
use clap::Args;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::ask::Ask;

/// Send an event to all members of a topic.
#[derive(Args)]
pub(super) struct Broadcast {
    #[command(flatten)]
    ask: Ask,

    /// The topic
    topic: String,

    /// The event
    event: String,

    /// The payload, a JSON object
    #[arg(default_value = "{}")]
    payload: String,

    /// Leave out all sockets with this id, such as `user_socket:42`
    #[arg(long, value_name = "ID")]
    except: Option<String>,

    /// Make the event droppable: a slow client gets only the last one with this key
    #[arg(long, value_name = "KEY")]
    droppable: Option<String>,
}

/// Send an event to a topic's `handle_message`, and print the reply.
#[derive(Args)]
pub(super) struct Send {
    #[command(flatten)]
    ask: Ask,

    /// The topic. It may be without members
    topic: String,

    /// The event
    event: String,

    /// The payload, any JSON
    #[arg(default_value = "{}")]
    payload: String,

    /// Make the host handle the message once, although the command is run several times with this key within a day
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,

    /// Wait so long for an answer that comes after the callback
    #[arg(long, value_name = "MILLISECONDS")]
    wait_ms: Option<u64>,
}

/// End members of a topic, or of all topics. Their clients get `phx_close`, and don't join again by themselves.
#[derive(Args)]
pub(super) struct Kick {
    #[command(flatten)]
    ask: Ask,

    /// The topic [default: all topics]
    topic: Option<String>,

    #[command(flatten)]
    selected: Selected,

    /// The reason, which the plugin gets in `terminate`
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
}

/// Which members.
#[derive(Args)]
#[group(required = true, multiple = false)]
struct Selected {
    /// The member with this number
    #[arg(long, value_name = "NUMBER")]
    member: Option<u64>,

    /// The members whose sockets have this id, such as `user_socket:42`
    #[arg(long, value_name = "ID")]
    socket_id: Option<String>,

    /// The members of this user, as the token or the gatekeeper named it
    #[arg(long, value_name = "USER")]
    user: Option<String>,
}

/// Close every socket with an id. Its client then reconnects.
#[derive(Args)]
pub(super) struct Disconnect {
    #[command(flatten)]
    ask: Ask,

    /// The id, such as `user_socket:42`
    id: String,
}

/// The answer of `POST /api/send`.
#[derive(Deserialize)]
struct Sent {
    reply: Option<Reply>,
}

/// The plugin's reply. Its JSON is raw text, so that it is printed as the plugin wrote it.
#[derive(Deserialize)]
struct Reply {
    status: String,
    response: Option<Box<RawValue>>,
    response_base64: Option<String>,
}

impl Broadcast {
    pub(super) fn run(self) -> Result<()> {
        let has_except = self.except.is_some();
        let more: String = [("except", self.except), ("droppable", self.droppable)]
            .into_iter()
            .filter_map(|(name, value)| Some(format!(",\"{name}\":{}", Value::from(value?))))
            .collect();
        let body = body(&self.topic, &self.event, &self.payload, &more)?;
        let answer: Value = self.ask.post("/api/broadcast", &body)?;
        let topic = shown::name(&self.topic);
        match answer["receivers"].as_u64() {
            Some(0) if !has_except => out_line!("nobody is subscribed to {topic}, so nobody received the event"),
            Some(0) => out_line!("nobody else is subscribed to {topic}, so nobody received the event"),
            Some(1) => out_line!("sent to 1 member of {topic}"),
            Some(members) => out_line!("sent to {members} members of {topic}"),
            None => out_line!("sent to all members of {topic}"),
        }
        Ok(())
    }
}

impl Send {
    pub(super) fn run(self) -> Result<()> {
        let wait = self.wait_ms.map(|wait_ms| format!(",\"wait_ms\":{wait_ms}")).unwrap_or_default();
        let body = body(&self.topic, &self.event, &self.payload, &wait)?;
        let Sent { reply } = self.ask.post_with("/api/send", &body, self.idempotency_key.as_deref())?;
        let Some(Reply { status, response, response_base64 }) = reply else { return Ok(()) };
        let bytes = response_base64.map(|text| Value::from(text).to_string());
        out_line!("{}", shown::json(response.as_ref().map(|json| json.get()).or(bytes.as_deref()).unwrap_or("null")));
        ensure!(status == "ok", "the reply has the status `{}`", shown::name(&status));
        Ok(())
    }
}

impl Kick {
    pub(super) fn run(self) -> Result<()> {
        let Self { topic, selected: Selected { member, socket_id, user }, reason, .. } = &self;
        let body = json!({ "topic": topic, "member": member, "socket_id": socket_id, "user": user, "reason": reason });
        let answer: Value = self.ask.post("/api/kick", &body.to_string())?;
        match &answer["members"] {
            members if *members == 1 => out_line!("kicked 1 member"),
            members => out_line!("kicked {members} members"),
        }
        Ok(())
    }
}

impl Disconnect {
    pub(super) fn run(self) -> Result<()> {
        let answer: Value = self.ask.post("/api/disconnect", &json!({ "id": self.id }).to_string())?;
        out_line!("{} sockets", answer["sockets"]);
        Ok(())
    }
}

/// Makes the JSON body of a request. The payload stays exactly as it was written. `more` is the text of further fields.
fn body(topic: &str, event: &str, payload: &str, more: &str) -> Result<String> {
    let payload: &RawValue = serde_json::from_str(payload)
        .with_context(|| format!("the payload must be JSON, such as '{{\"body\": \"hi\"}}'; this is not: {payload}"))?;
    let (topic, event) = (Value::from(topic), Value::from(event));
    Ok(format!("{{\"topic\":{topic},\"event\":{event},\"payload\":{payload}{more}}}"))
}
