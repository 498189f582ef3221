//! Topic messages with an idempotency key, which take effect once.

use std::sync::Arc;

use crate::support::{Notes, Part, Stage, nothing, replied};
use bennu::channel::{Delivered, IdempotentRequest, LateAnswer, Undelivered};
use bennu::contract::{CallFuture, Fault, FaultKind, Outcome, Reply, TopicCall, TopicCallback};
use bennu::protocol::Payload;

/// A topic with a durable room that counts its messages. The event `crash` fails, and `quiet` gives no reply.
fn counter(notes: &Notes) -> Part {
    let notes = notes.clone();
    let mut part = Part::new("desk:*", |_| std::future::ready(Ok(nothing())));
    part.options = &[("room", "durable")];
    part.on_topic_call = Some(Arc::new(move |call: TopicCall, _| -> CallFuture<'static, Outcome> {
        let TopicCallback::Message { event, .. } = &call.callback else { panic!("no topic has a tick") };
        notes.add(format!("{} {event}", call.topic));
        let count = call.room.as_ref().map_or(1, |room| room.len() + 1);
        let room = Some("x".repeat(count).into());
        let outcome = match &**event {
            "crash" => Err(Fault::new(FaultKind::Trap, "asked to")),
            "quiet" => Ok(Outcome { room, ..nothing() }),
            _ => Ok(Outcome { room, ..replied(&count.to_string()) }),
        };
        Box::pin(std::future::ready(outcome))
    }));
    part
}

async fn send(stage: &Stage, topic: &str, event: &str, (key, digest): (&str, u8)) -> Delivered {
    let request = IdempotentRequest { key: key.into(), part: 0, digest: [digest; 32], lifetime_ms: 60_000 };
    let node = &stage.endpoint.node;
    node.send_once(topic, event.into(), Payload::EMPTY, Arc::new(request), LateAnswer::Ignored).await
}

fn count(count: u32) -> Delivered {
    Ok(Some(Reply { status: "ok".into(), payload: Payload::Json(count.to_string().into()) }))
}

#[tokio::test(start_paused = true)]
async fn a_key_and_the_room_are_stored_together() {
    let notes = Notes::default();
    let stage = Stage::new([counter(&notes)]);
    for _ in 0..2 {
        assert_eq!(send(&stage, "desk:1", "add", ("a", 1)).await, count(1));
        assert_eq!(send(&stage, "desk:1", "quiet", ("b", 1)).await, Ok(None));
    }
    assert_eq!(send(&stage, "desk:1", "add", ("a", 2)).await, Err(Undelivered::KeyReused));
    assert_eq!(send(&stage, "desk:2", "add", ("a", 2)).await, Err(Undelivered::KeyReused), "in another topic");
    assert_eq!(send(&stage, "nowhere", "add", ("c", 1)).await, Err(Undelivered::Unrouted));
    assert_eq!(notes.all(), ["desk:1 add", "desk:1 quiet"]);
    // Another host with the same store, as after a restart.
    let stage = stage.again([counter(&notes)]);
    assert_eq!(send(&stage, "desk:1", "add", ("a", 1)).await, count(1));
    assert_eq!(send(&stage, "desk:1", "add", ("d", 1)).await, count(3));
    assert_eq!(notes.all().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_fails_leaves_no_key() {
    let notes = Notes::default();
    let stage = Stage::new([counter(&notes)]);
    for _ in 0..2 {
        let crashed = send(&stage, "desk:1", "crash", ("a", 1)).await;
        assert!(matches!(crashed, Err(Undelivered::Fault(fault)) if fault.kind == FaultKind::Trap));
    }
    assert_eq!(send(&stage, "desk:1", "add", ("a", 2)).await, count(1));
    assert_eq!(notes.all(), ["desk:1 crash", "desk:1 crash", "desk:1 add"]);
}

#[tokio::test(start_paused = true)]
async fn a_plugin_whose_quota_is_used_up_handles_nothing_with_a_key() {
    let notes = Notes::default();
    let part = Part { quota_bytes: 40, ..counter(&notes) };
    let stage = Stage::new([part]);
    let full = send(&stage, "desk:1", "add", ("a", 1)).await;
    assert!(matches!(full, Err(Undelivered::Fault(fault)) if fault.kind == FaultKind::Store));
    let sent = stage.endpoint.node.send("desk:1", "add".into(), Payload::EMPTY).await;
    assert_eq!(sent, count(1), "nothing of the first message happened");
}
