//! Several hosts as nodes of a cluster. The network between them delivers when a test says so, so each order can be tested.

mod asking;
mod broadcasts;
mod loss;
mod network;
mod presences;
mod split;
mod together;

use bennu::contract::{Call, Callback, Effect, Fault, Outcome};
use bennu::protocol::{Payload, Topic};
use bennu::pubsub::{Broadcast, Except};
use serde_json::Value;

use crate::support::{Client, Notes, Part, admitted, nothing, replied};

/// A route whose members do what their clients ask for.
fn rooms(notes: &Notes) -> Part {
    let notes = notes.clone();
    Part::new("room:*", move |call| std::future::ready(handle(call, &notes)))
}

fn handle(call: Call, notes: &Notes) -> Result<Outcome, Fault> {
    match call.callback {
        Callback::Join(_) => Ok(admitted()),
        Callback::In { event, payload, .. } => {
            let Payload::Json(text) = payload else { return Ok(replied("{}")) };
            let given: Value = serde_json::from_str(&text).expect("JSON");
            let effects = vec![effect(&event, &given)];
            Ok(Outcome { effects, ..replied("{}") })
        }
        Callback::Info(message) => {
            notes.add(format!("{} {} {}", message.source.as_str(), message.topic, message.event));
            Ok(nothing())
        }
        Callback::Terminate(ending) => {
            notes.add(format!("terminate {}", ending.cause()));
            Ok(nothing())
        }
    }
}

/// The effect that an event asks for.
fn effect(event: &str, given: &Value) -> Effect {
    let payload = Payload::Json(given.to_string().into());
    let topic = || Topic::new(given["topic"].as_str().unwrap_or("room:a"));
    let meta = || given["meta"].to_string();
    match event {
        "shout" => Effect::Broadcast { event: "said".into(), payload },
        "whisper" => Effect::BroadcastFrom { event: "said".into(), payload },
        "cursor" => Effect::BroadcastDroppable { key: "k".into(), event: "cursor".into(), payload },
        "publish" => Effect::Publish { topic: topic(), event: "said".into(), payload },
        "subscribe" => Effect::Subscribe { topic: topic() },
        "member" => {
            let member = given["member"].as_u64().expect("a number");
            Effect::SendMember { topic: topic(), member, event: "hello".into(), payload }
        }
        "socket" => Effect::PushToSocket { topic: topic(), socket_id: "user:1".into(), event: "news".into(), payload },
        "disconnect" => Effect::Disconnect { socket_id: "user:1".into() },
        "track" => Effect::Track { key: given["key"].as_str().expect("a key").into(), meta: meta().into() },
        "update" => Effect::UpdatePresence { key: given["key"].as_str().expect("a key").into(), meta: meta().into() },
        "untrack" => Effect::Untrack { key: given["key"].as_str().expect("a key").into() },
        other => panic!("no effect has the name {other}"),
    }
}

/// Has a client send an event, and returns the frames that it gets before the reply to it.
async fn push(client: &mut Client, topic: &str, event: &str, payload: &Value) -> Vec<String> {
    client.send(&serde_json::json!(["1", "9", topic, event, payload]).to_string());
    let mut before = Vec::new();
    loop {
        let frame = client.next().await;
        if frame.contains("phx_reply") {
            return before;
        }
        before.push(frame);
    }
}

/// The events of frames, and their payloads.
fn events(frames: &[String]) -> Vec<(String, Value)> {
    let read = |frame: &String| {
        let frame: Value = serde_json::from_str(frame).unwrap_or_else(|_| panic!("a frame of JSON: {frame}"));
        (frame[3].as_str().expect("an event").to_owned(), frame[4].clone())
    };
    frames.iter().map(read).collect()
}

/// A broadcast of a program outside.
fn broadcast(topic: &str, event: &'static str, except: Except) -> Broadcast {
    let (topic, payload) = (Topic::new(topic), Payload::EMPTY);
    Broadcast { topic, event: event.into(), payload, except, droppable: None, number: None }
}
