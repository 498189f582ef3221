//! The channel of `guest-examples/echo`, as a native behaviour.

use bennu::contract::{
    Answer, Behaviour, Call, CallFuture, CallInput, Callback, Decision, Effect, Fault, Outcome, Passing, Reply,
    TopicCall, Upgrade,
};
use bennu::protocol::Payload;
use bytes::Bytes;
use bytestring::ByteString;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The channel.
pub(crate) struct Echo;

/// The state of a member.
#[derive(Default, Serialize, Deserialize)]
struct Counted {
    count: u64,
}

impl Behaviour for Echo {
    fn call<'a>(&'a self, call: &'a Call, _: CallInput<'a>) -> CallFuture<'a, Outcome> {
        Box::pin(std::future::ready(answer(call)))
    }

    fn call_topic<'a>(&'a self, _: &'a TopicCall, _: CallInput<'a>) -> CallFuture<'a, Outcome> {
        Box::pin(std::future::ready(Err(Fault::failed("it handles only callbacks of members"))))
    }

    fn filter<'a>(&'a self, passing: &'a Passing) -> CallFuture<'a, Vec<Decision>> {
        Box::pin(std::future::ready(Ok(vec![Decision::Pass; passing.recipients.len()])))
    }

    fn upgrade<'a>(&'a self, _: &'a Upgrade) -> CallFuture<'a, Option<Bytes>> {
        Box::pin(std::future::ready(Ok(None)))
    }
}

fn answer(call: &Call) -> Result<Outcome, Fault> {
    // A plugin decodes and encodes the member's state in each call, so this does too.
    let mut state: Counted = if call.assigns.is_empty() { Counted::default() } else { read(&call.assigns)? };
    let mut outcome =
        Outcome { assigns: None, room: None, entries: None, draft: None, effects: Vec::new(), answer: Answer::None };
    match &call.callback {
        Callback::Join(_) => outcome.answer = Answer::Admit(Payload::EMPTY),
        Callback::In { event, payload, .. } => match &**event {
            "echo" => outcome.answer = reply(payload.clone()),
            "parse" => outcome.answer = reply(json(&parsed(payload)?)),
            "shout" => outcome.effects.push(Effect::Broadcast { event: event.clone(), payload: object(payload)? }),
            "whisper" => {
                outcome.effects.push(Effect::BroadcastFrom { event: event.clone(), payload: object(payload)? })
            }
            "count" => {
                state.count += 1;
                outcome.answer = reply(json(&json!({ "count": state.count, "build": "native" })));
            }
            "nothing" => {}
            _ => return Err(Fault::failed("no such event")),
        },
        Callback::Info(_) | Callback::Terminate(_) => {}
    }
    outcome.assigns = serde_json::to_vec(&state).ok().map(Bytes::from).filter(|bytes| *bytes != call.assigns);
    Ok(outcome)
}

/// A payload that clients accept in an event.
fn object(payload: &Payload) -> Result<Payload, Fault> {
    payload.check_object().map_err(|error| Fault::failed(error.to_string()))?;
    Ok(payload.clone())
}

fn reply(payload: Payload) -> Answer {
    Answer::Reply(Reply { status: ByteString::from_static("ok"), payload })
}

fn parsed(payload: &Payload) -> Result<Value, Fault> {
    match payload {
        Payload::Json(text) => read(text.as_bytes()),
        Payload::Binary(_) => Err(Fault::failed("the payload isn't JSON")),
    }
}

fn json(value: &Value) -> Payload {
    Payload::Json(value.to_string().into())
}

fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Fault> {
    serde_json::from_slice(bytes).map_err(|error| Fault::failed(error.to_string()))
}
